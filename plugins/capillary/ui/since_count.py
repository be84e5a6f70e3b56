"""What has changed since a dry run has counted, in sentences: its numbers do not hold any more."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from capillary.counted import counted
from capillary.ledger.occasion_mark import Mark, SinceMark
from capillary.plan_preview import PREVIEW

#: Said of a dry run of which nobody can tell whether it holds.
UNKNOWN: Final = (
    "This dry run does not tell how its occasion stood when it counted (an older version made it), so nobody can say "
    "whether its numbers still hold."
)
_LARGEST: Final = 2**63


def mark_of(output: Mapping[str, Any] | None) -> Mark | None:
    """Return how the occasion stood, as the task that planned has told; None where it is missing or not understood."""
    told = (output or {}).get(PREVIEW)
    preview = told.get("preview") if isinstance(told, Mapping) else None
    mark = preview.get("mark") if isinstance(preview, Mapping) else None
    if not isinstance(mark, Mapping):
        return None
    try:
        counted_at = datetime.fromisoformat(mark["counted_at"])
        words = [mark[name] for name in ("account", "occasion", "spec")] + list(mark["retry"])
        numbers = [mark[name] for name in ("last_plan", "held")]
        canary = mark["canary"]
    except (LookupError, TypeError, ValueError):
        return None
    known = (
        counted_at.utcoffset() is not None
        and all(isinstance(each, str) for each in words)
        and all(type(each) is int and 0 <= each < _LARGEST for each in numbers)
        and isinstance(canary, bool)
    )
    if not known:
        return None
    account, occasion, spec, *retry = words
    return Mark(account, occasion, spec, canary, tuple(retry), counted_at, *numbers)


def changed_since(since: SinceMark, *, planned: int, left: int, dag_ids: Collection[str]) -> Iterator[str]:
    """Yield what has changed since a dry run has counted, a sentence each.

    Args:
        since: what the ledger says of it.
        planned: customers that the dry run would plan.
        left: customers that it would leave for later.
        dag_ids: the DAGs that the reader may read.
    """
    if since.customers:
        were = counted(since.customers, "customer", "was", "were")
        yield f"{were} planned on its occasion since, {_by(since, dag_ids)}."
    if since.given_back:
        were = counted(since.given_back, "customer", "was", "were")
        yield f"{were} given back unsent since, and may be planned again."
    if since.ended:
        yield f"{counted(since.ended, 'customer')} ended without the badge since, and may be planned again."
    if since.proven_at is not None and left:
        yield (
            f"Its configuration is proven since {since.proven_at:%Y-%m-%d %H:%M} UTC: a run now is not a canary, "
            f"and may take more than {planned:,} of {counted(planned + left, 'customer')}."
        )
    if since.waits_for is not None:
        said = since.waits_for.told_to(dag_ids)
        yield f"{said[:1].upper()}{said[1:]}: a run now plans nobody."


def _by(since: SinceMark, dag_ids: Collection[str]) -> str:
    """Name the last run that planned since, for whoever may read its DAG."""
    dag_id, run_id = since.last_run or ("", "")
    named = f"run {run_id} of {dag_id}" if dag_id in dag_ids else "a run of another DAG"
    return f"by {named}" if since.runs == 1 else f"in {counted(since.runs, 'run')}, the last of them {named}"
