"""What `python -m capillary check` looks at before a run: files, queries, connections, badges. It changes nothing."""
