"""The ledger: which customer was sent where, and how it ended. Every query of its tables. No Airflow.

In reading order.

What a row is:

- ``schema``: the tables
- ``status``: the words in their columns
- ``bounds``: what a column holds
- ``errors``: what the ledger refuses

Opening a ledger:

- ``database``: a connection that can be trusted
- ``opening``: why a ledger cannot be opened
- ``soundness``: whether a database can keep the promises
- ``one_place``: where the tables are found, and how their rows are numbered
- ``server``: which server it is: a failover or a restore
- ``libpq``: parameters of a PostgreSQL connection
- ``startup_options``: settings that a pooler may drop

Its version:

- ``migrate``: make the tables, or bring them up to date
- ``revision``: which version the code needs
- ``upsert``: INSERT that lets a row be, on both databases

Planning:

- ``spec``: the frozen configuration, and the request key
- ``locked_rows``: occasion and spec, found or made, and locked
- ``staging``: rows of the query, in a file of the task's own
- ``candidates``: which customers an occasion may take
- ``guards``: when a plan is refused
- ``canary``: which open request holds a run
- ``occasion_mark``: how an occasion stood when a dry run counted, and what has changed since
- ``preview``: what a dry run shows: the guards, the run before, a masked sample
- ``plan``: customers become requests, in one transaction
- ``cut``: requests with exactly their customers
- ``plan_id``: which plan a task acts for

A request, from planned to settled:

- ``request_rows``: every change of a request
- ``request_content``: what a request was planned with
- ``sends``: when requests were sent
- ``doubts``: requests in doubt
- ``holders``: which request a row of the platform is, or may be
- ``sightings``: what was seen of requests on the platform
- ``settle``: every customer gets an outcome
- ``counts``: outcomes, counted once
- ``conditions``: conditions that several queries share

What holds an account back:

- ``stops``: the emergency stop
- ``stop_ends``: which stops are in force now, and who released the others
- ``auto_approval``: what the platform executed without a human
- ``given_back``: what a run planned and gave back unsent
- ``pace``: the account's call budget
- ``scans``: who reads the platform's list, and whether it is trusted
- ``history``: an account's first reading
- ``unknown_keys``: keys that the ledger does not know
- ``import_requests``: write back what the ledger has forgotten

Runs: what they wait for and how they end:

- ``runs``: what is open, whoever planned it
- ``run_wait``: what one run waits for
- ``reports``: how far one run is, and its funnel

What people ask:

- ``questions``: the daily questions
- ``answers``: what is asked in them, and the rows of their answers
- ``retried``: attempts that a later one followed
- ``outstanding``: which runs left customers that nobody has asked for again
- ``retryable``: which customers a retry on an occasion may take
- ``occasion_now``: where the customers of an occasion stand
- ``dag_plans``: which runs of a DAG have planned
- ``left_over``: which campaigns a canary holds, and what is left behind a run
- ``matters``: one thing that needs a person, and the order of several
- ``attention``: what needs a person now
- ``overview``: every campaign and every account at a glance
- ``since_then``: what became since of customers who ended without the badge
- ``run_page``: one run, its requests and its failed customers

Care: check, erase, move:

- ``check``: the ledger held against itself
- ``erase``: one customer taken out
- ``copy_target``: which database a ledger is copied into, and what stands there
- ``copy_refused``: why it is not copied there
- ``unfit_rows``: rows that PostgreSQL would alter
- ``moved``: the mark of a SQLite ledger that was copied
- ``move``: from SQLite into PostgreSQL, whole or not at all
"""
