"""What Airflow's connections say: of the platform, the warehouse and the ledger."""
