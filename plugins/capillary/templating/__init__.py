"""What Airflow renders for us: the query, its values, and texts."""
