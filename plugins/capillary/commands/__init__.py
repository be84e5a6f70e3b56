"""The subcommands of `python -m capillary`, one module each.

In reading order:

- ``check``: `check`: look before a run
- ``ledger``: `ledger`: make it, and say what is not ours
- ``import_requests``: `ledger import`: what it has forgotten
- ``ledger_copy``: `ledger copy`: from SQLite into PostgreSQL
- ``stop``: `stop`, `resume`, `stopped`
- ``questions``: `failed`, `waiting`, `customer`, `runs`
- ``question_rows``: what each of them shows
- ``output_formats``: tables, CSV and JSON
"""
