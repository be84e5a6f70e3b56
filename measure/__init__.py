"""What the project costs, and what a fault does to it beside others: measured, not tested.

In reading order: `bench` (`make bench`: seconds, memory and calls of a campaign, against bounds), `faults`
(`make faults`: what a lost reply does to scripts, tools and this project, into docs/faults.md).
"""
