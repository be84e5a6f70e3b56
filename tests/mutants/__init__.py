"""Mutation testing: every small change to the code that must not be wrong has to make a test fail."""
