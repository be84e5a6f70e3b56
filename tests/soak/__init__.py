"""A month of virtual time in one world: what each day takes, and whether that grows."""
