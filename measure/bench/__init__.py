"""What a campaign costs: seconds, memory, calls. Measured against bounds, and against a floor of the same minute.

In reading order: `__main__` (the command), `million` and `polls` (the parts), `tasks` and `triggerer` (what their
processes do), `floor` (the least that any program must do), `surroundings` (databases, platform, connections),
`measured` (one process and its cost), `figures` (the table), `machine` (where it was measured).
"""
