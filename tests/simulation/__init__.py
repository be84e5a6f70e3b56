"""A deterministic simulation of everything between the warehouse and the checker, judged by the platform's books.

The real engines, driven by simulated workers, triggers, upkeep, checker and operator on one virtual clock,
against the sandbox's platform in-process. One number, the seed, decides everything; days pass in milliseconds.

In reading order: ``virtual_time`` (the loop), ``shape`` (what a seed draws), ``processes`` (what can be killed or
frozen, and the ledger they share), ``platform_side`` (the sandbox, its checker, its nodes and its odd replies),
``network`` (calls and what goes wrong with them), ``wire`` (what was really sent, and the rules of sending),
``books`` (the invariants read off the platform's books and the ledger), ``world`` (all of it together),
``actors`` (DAG runs, upkeep, operator), ``scenario`` (one seed from start to verdict), ``bugs`` (planted faults
that the invariants must catch). ``python -m tests.simulation`` runs many seeds, or one again.
"""
