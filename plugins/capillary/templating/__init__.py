"""What Airflow renders for us.

In reading order:

- ``query``: the query: only `sql` may be a file
- ``text``: what is text by nature
- ``values``: what an expression came out as
"""
