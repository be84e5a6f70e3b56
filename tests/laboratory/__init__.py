"""What the fault laboratories share: crashes, simulation, states, fire, integration.

- ``rules``: the promises by their short names, as docs/design.md defines them
- ``both_books``: the platform's books against the ledger's when nothing is under way, for real processes
- ``planting``: a planted bug, and how it is planted and pulled out again
- ``transition_bugs``: bugs in the ledger's transitions, planted by more than one laboratory
- ``engine_on_sandbox``: senders with a ledger in a file, against the sandbox over a real socket

What each keeps for itself is different on purpose: the seeded worlds judge at every moment and draw their faults, the
exploration judges an abstract state, and each has the transport that its own kind of fault needs.
"""
