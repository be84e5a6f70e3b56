"""What moves customers forward: decisions and their order. No Airflow, and no SQL but the warehouse's.

Clock, sleep and randomness come from outside (``runtime``).

In reading order.

What all of it uses:

- ``runtime``: time, chance and threads
- ``errors``: why the engine stops

From the warehouse to a plan:

- ``warehouse``: stream the campaign's query
- ``query_parameters``: the values of its names
- ``sql_tokens``: where the names stand
- ``bindable``: what a driver can bind
- ``query_probe``: ask whether a query can run, without a row
- ``query_errors``: what a warehouse's failure means
- ``login_errors``: whether it refused the login
- ``driver_codes``: the codes that a driver's error carries
- ``customer_id``: read an id exactly
- ``preflight``: can this badge be enrolled for now
- ``second_attempt``: whether a customer may be asked for again
- ``plan``: from rows to a plan

Sending:

- ``pace``: the account's call budget
- ``submit``: send what one run planned
- ``send``: one request, one POST: pace, credential, body, claim, send
- ``may_send``: whether a run may send at all
- ``next_batch``: how many requests may go out while others are in doubt
- ``hold``: what submit does while doubt holds it back
- ``second_look``: look again at what was just accepted
- ``before_sending``: the reading before the first send

Reading the platform's list:

- ``history``: an account's first reading
- ``first_reading``: how many calls that takes at least
- ``platform_list``: read the platform's list to its end
- ``watch``: one reading for the whole account
- ``states_in_doubt``: states that read as an end and are none
- ``sightings``: what its rows say of our requests
- ``list_controls``: what a reading should have shown
- ``lean_list``: rows without key and customers
- ``unreadable_rows``: rows that are damaged
- ``keyless``: rows that show customers and no key
- ``single_read``: read one request by its id

What is in doubt:

- ``absence``: when absence may be judged
- ``doubt``: what was sent and never answered
- ``lookalikes``: rows that may be a request in doubt
- ``answered``: the request that an unusable reply named

Outcomes:

- ``settle``: a reply becomes outcomes
- ``outcomes``: what a decided request says of every customer: the rule for `unconfirmed`

Waiting and housekeeping:

- ``polling``: when the list is read, and a worker called
- ``wait``: what a worker does when a wait resumes
- ``upkeep``: whatever has no living run
- ``import_requests``: a ledger learns what it has forgotten

What people are told:

- ``verdict``: pass or fail of a run, in words
- ``next_run``: what is said of a later run
- ``given_back``: what to do about customers that a run gave back, and about auto-approval
- ``remedies``: what a person does about failures, by outcome and code
- ``attention``: what a matter that needs a person means, and the one thing to do
"""
