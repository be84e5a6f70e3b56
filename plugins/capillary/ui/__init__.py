"""The pages in Airflow's UI: what needs a person, what became of a run, what happened to a customer.

The API server alone imports this room. Start with `app`; each page is a route that asks, a view that gathers, and a
template that shows.

- `app`: the application under /capillary, and what it says when something is refused.
- `access`: who looks, and what Airflow lets them see and do.
- `reading`: four looks into the ledger at a time, none longer than three seconds.
- `rendering`: templates, addresses, and the headers of every page.
- `badges_routes`, `badges_view`: the page Badges, and one customer.
- `run_routes`, `run_view`, `plan_view`: one run, its failed customers as CSV, and what may be ordered about it.
- `stop_routes`: *Stop sending* and *Resume*.
- `orders`: what a person may order, as one call of Airflow's own API.
- `airflow_facts`: campaigns and runs in Airflow's own database.
- `headline`, `state_words`, `funnel_picture`: a run in one sentence, states in words, the funnel as a picture.

In `templates/` is the HTML. In `static/` are the style sheet, the icons, and `shell.js`, the one module that shows the
pages inside Airflow's UI.
"""
