"""What is publicly known against the pinned dependencies."""
