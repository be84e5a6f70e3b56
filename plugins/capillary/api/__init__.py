"""The platform: everything that knows its addresses, words and replies. No Airflow, no ledger.

In reading order: `settings` (a connection), `request_workflow` and `badges` (words, bodies, replies),
`errors`, `client` (what can be asked), then what it stands on: `calls`, `answers`,
`replies` (what an answer means), `patience` (retry), `credential`, `transport`, `envelope`, `json_fields`.
"""
