"""Real Airflow on one machine: `make run` and `make up`.

Reading order: `home` (what is kept in .airflow), `environment` (how processes are configured), `processes`
(starting and ending them), `startup` (in which order, and when they count as started), `airflow_api`
(Airflow's REST API), `follow` (watching a run), `summary` (its result), `campaign` (one campaign from trigger
to verdict), `__main__` (the commands).
"""
