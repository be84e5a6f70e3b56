"""A stand-in for the loyalty platform: its workflow, its badges, a checker's page and switchable faults.

Reading order: ``settings`` (who may do what, and every behaviour that can be switched), ``replies``
(envelopes and error codes), ``books`` (what the platform remembers), ``badges`` and ``badge_engine`` (the
wrapped call), ``payloads``, ``request_list`` and ``workflow`` (create, decide, read, list), ``platform`` (all
of it together, to assert on), ``faults`` and ``gate`` (what goes wrong on the way), ``app``, ``checker`` and
``admin`` (the routes), ``server`` (running it).

Beside it stand the ``warehouse`` modules: the example warehouse, which has nothing to do with the platform.

It is an independent reading of the platform's public documentation and shares no code with the client.
README.md says where that documentation leaves room and what is assumed here.
"""
