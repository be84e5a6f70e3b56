"""docker-compose.yml as a cluster: every service a process in namespaces of its own, as a container engine has it.

Reading order: `needed` (of the machine), `services` (what the file says), `images` (root file systems), `network`,
`container` (one container), `engine` (all of them: order, health, restarts), `manual` (the manual's commands),
`cluster` (Airflow, ledger, warehouse and platform in it), `memory`, `short`, `upkeep` and `long` (what is done to it),
`__main__` (the command).
"""
