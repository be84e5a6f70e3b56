"""Real Airflow under fire: on PostgreSQL, with its processes killed at random while requests are in flight.

Reading order: `campaigns` (what is submitted), `stack` (Airflow, databases and sandbox as processes), `airflow` (its
REST API and its books), `kills` (who dies), `weather` (what goes wrong with the platform), `judge` (what must hold
at the end), `storm` (the run), `people` (what people do to runs), `__main__` (the command).
"""
