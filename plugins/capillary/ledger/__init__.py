"""The ledger: which customer was sent where, and how it ended. No Airflow here.

In reading order: ``schema`` (tables), ``status`` (words), ``conditions`` (what several questions share), ``database``
(a connection that can be trusted), ``plan``
(customers become requests), ``requests`` (every change a request can go through), ``settle`` (outcomes),
``pace`` and ``scans`` (what an account shares), ``views`` (questions people ask).
"""
