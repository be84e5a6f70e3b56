"""What a lost reply does to those who submit badge requests: scripts, tools, and this project, in one run.

In reading order: `__main__` (the command), `fault` (what goes wrong), `scene` (a platform, a warehouse and one
fault), `contenders` (who submits), `request_body`, `script_httpx`, `dlt_destination`, `stock_dag` (the contenders as
their users write them), `stock_airflow` (a real Airflow for the stock DAG), `ours` (this project's tasks), `verdict`
(what the platform's books say), `page` (the table in docs/faults.md).
"""
