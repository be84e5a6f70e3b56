"""What `python -m capillary check` looks at before a run.

In reading order:

- ``before_run``: the whole check
- ``finding``: what was found
- ``dag_files``: load DAG files as Airflow does
- ``dag_discovery``: files that Airflow passes over
- ``unreached``: code that never runs
- ``plans``: the tasks that plan or send
- ``sample_run``: a run that starts now
- ``rendering``: its templates
- ``template_place``: the line of a template
- ``answers``: what the connections answer
- ``connections``: whether each leads where it should
- ``one_plan``: badge, stop and query of one task
- ``sending``: what would keep a run from sending
- ``pools``: the pools that tasks name
- ``airflow_database``: Airflow's own database, only read
- ``dry_run``: count who would be planned
"""
