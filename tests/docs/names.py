"""Dotted names that pages mention: whether the code has what they name."""

from __future__ import annotations

from importlib import import_module


def leads_somewhere(dotted: str) -> bool:
    """Return whether a dotted name leads to a module, or to something in one."""
    module, rest = dotted.split("."), list[str]()
    while module:
        try:
            found: object = import_module(".".join(module))
        except ModuleNotFoundError:
            rest.insert(0, module.pop())
            continue
        for name in rest:
            # A field without a default is no attribute of its class.
            if name in getattr(found, "model_fields", {}) or name in getattr(found, "__dataclass_fields__", {}):
                return name == rest[-1]
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False
