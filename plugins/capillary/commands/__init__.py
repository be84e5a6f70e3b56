"""The subcommands of `python -m capillary`, one module each."""
