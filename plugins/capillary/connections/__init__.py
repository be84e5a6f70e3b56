"""What Airflow's connections say: of the platform, the warehouse and the ledger.

In reading order:

- ``errors``: why one cannot be used
- ``lookup``: find a connection, or say why not
- ``fields``: how a field is read, and a wrong one named
- ``as_typed``: what a person typed, before Airflow reads it
- ``platform_connection``: the platform's settings
- ``http_connection``: what it says about HTTP
- ``http_session``: what Airflow's HTTP hook makes of it
- ``ledger``: the ledger's address
- ``warehouse``: an engine for the warehouse
- ``sqlite_file``: the file of a SQLite warehouse
"""
