"""Loyalty badges from a warehouse to customers, through a human approval.

In reading order: ``errors`` (may it be tried again?), ``api`` (the platform's words and one client), ``ledger``
(who was sent where, and how it ended), ``engine`` (what moves customers forward). Then, with Airflow: ``hooks`` and
``access`` (connections, failures), ``field_types``, ``arguments`` and ``checked_operator`` (what people give, checked),
``planning``, ``operators``, ``sensors``, ``triggers`` and ``upkeep`` (what a task does), ``occasions``, ``campaign``
and its fields (what a DAG file says), ``ledger_import`` (a command), ``provider_info`` and ``links`` (what the UI
shows). Imports run that way only.
"""
