"""The ledger: which customer was sent where, and how it ended. No Airflow here.

In reading order: ``schema`` (tables and words), ``database`` (a connection that can be trusted), ``plan``
(customers become requests), ``requests`` (every change a request can go through), ``settle`` (outcomes),
``pace`` and ``scans`` (what an account shares), ``views`` (questions people ask).
"""
