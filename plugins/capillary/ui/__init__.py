"""The pages in Airflow's UI: what needs a person, what became of a run, what happened to a customer.

The API server alone imports this room, but for ``plugin``. Start with ``app``; each page is a route that asks, a view
that gathers, and a template that shows.

- ``plugin``: by which Airflow finds the pages; every process of Airflow imports it
- ``app``: the application under /capillary, and what it says when something is refused
- ``access``: who looks, and what Airflow lets them see and do
- ``errors``: why a page cannot be shown now
- ``reading``: four looks into the ledger at a time, none longer than three seconds
- ``rendering``: templates, addresses, and the headers of every page
- ``badges_routes``: the page Badges, and one customer
- ``badges_view``: what the page Badges shows, from the ledger and from Airflow
- ``matters_view``: one thing that needs a person, in words, and what its reader may do
- ``run_routes``: one run, its failed customers as CSV, and what may be ordered about it
- ``failed_csv``: the rows of that file, in which no cell becomes a formula
- ``run_view``: what the page of a run shows
- ``run_known``: what the ledger knows of it
- ``run_orders``: what may be ordered about it
- ``run_parts``: a run of several accounts or occasions, part by part
- ``plan_view``: what a dry run shows
- ``stop_routes``: *Stop sending* and *Resume*
- ``report_view``: what a run's own report tells, as far as it is understood
- ``other_dags``: a report without the names that its reader may not see
- ``orders``: what a person may order, as one call of Airflow's own API
- ``order_requests``: in how many requests an order's customers come to the checker
- ``not_now``: why an order cannot be given now
- ``since_count``: what has changed since a dry run has counted
- ``active_runs``: runs that Airflow has not ended, and an order that was given already
- ``hindrances``: what stands in the way of a run that submits
- ``order_day``: the day of the trigger form that names a run's occasion
- ``airflow_facts``: campaigns and runs in Airflow's own database
- ``once_on``: what starts by itself once a paused DAG is turned on
- ``failed_tasks``: the task that made a run fail, and its reason
- ``failed_runs``: runs that failed and that nothing since has made good
- ``import_errors``: files of the DAGs folder that do not load
- ``page_words``: a log's sentence without what has a button here
- ``failed_now``: why a task failed, as of now: a stop may have ended since
- ``queued_run``: why Airflow has not started a run
- ``run_now``: what is so now of a run that its report cannot know
- ``aftermath``: what became of a run's customers since it ended, and what to do now
- ``aftermath_row``: the same for a campaign's row on the page Badges
- ``canary_shown``: which canary held a run, and where its page leads
- ``headline``: a run in one sentence
- ``state_words``: where a request or an attempt stands, in words
- ``platforms_clock``: a time as the platform shows it, with its offset where that is known
- ``since_words``: what became since of customers without the badge, in words
- ``funnel_picture``: the funnel as a picture whose steps add up

In `templates/` is the HTML. In `static/` are the style sheet, the icon, and `shell.js`, the one module that shows the
pages inside Airflow's UI.
"""
