"""Loyalty badges from a warehouse to customers, through a human approval.

The rooms, from the plain to what people see; imports run that way only (docs/design.md, "Rooms"): ``api`` (the
platform's words and one client), ``ledger`` (who was sent where, and how it ended), ``engine`` (what moves customers
forward), ``campaign`` (what a DAG file says), ``connections`` and ``templating`` (what Airflow hands us), ``check`` and
``commands`` (``python -m capillary``), ``ui`` (the pages).

The modules beside them, in reading order. Of no room, imported by all:

- ``errors``: may it be tried again?
- ``counted``: numbers with what they count
- ``missing_value``: texts that a template makes of a missing value
- ``visible_text``: characters that nobody sees
- ``zone_names``: time zones that mean another one on each machine
- ``wrong_fields``: one line for each wrong field

What Airflow imports:

- ``hooks``: connections, for Airflow's form and for DAGs
- ``wiring``: what a task opens
- ``failure_reason``: why a task failed, for the pages
- ``airflow_errors``: errors of these modules, and all errors in Airflow's terms
- ``arguments``: what operators take
- ``default_args``: misspelt names in them
- ``checked_operator``: arguments are checked before anything is written
- ``plan_reference``: what one task hands to the next
- ``plan_preview``: what a dry run shows
- ``airflow_run``: what Airflow says of a task's run
- ``lost_xcom``: a plan whose XCom is gone
- ``base_operator``: planning
- ``operators``: plan, issue, report
- ``ledger_changes``: a wait meets an update
- ``sensors``: wait
- ``triggers``: wait without a worker
- ``upkeep``: housekeeping
- ``links``: links on a task's page
- ``provider_info``: the connection type and its form
"""
