"""Loyalty badges from a warehouse to customers, through a human approval.

In reading order: ``errors`` (may it be tried again?), ``api`` (the platform's words and one client), ``ledger``
(who was sent where, and how it ended), ``engine`` (what moves customers forward); then, with Airflow, ``hooks``,
``provider_info`` and ``links``. Imports run that way only.
"""
