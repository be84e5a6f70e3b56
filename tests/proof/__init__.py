"""The table of docs/proof.md: each row is a command, and what it printed when it was last run."""
