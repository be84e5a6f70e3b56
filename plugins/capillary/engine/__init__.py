"""What moves customers forward, without Airflow. Clock, sleep and randomness come from outside (``runtime``).

In reading order: ``eligibility`` (rows of the warehouse), ``submit`` (send what was planned), ``platform_list``
(read the platform's list), ``watch`` (record what it shows), ``doubt`` (what was sent and never answered),
``settle`` with ``outcomes`` (what a reply means), ``polling`` (when a worker is called), ``verdict``. What is asked of
the ledger's tables is asked in ``capillary.ledger``.
"""
