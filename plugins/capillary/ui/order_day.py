"""The day of the trigger form that names a run's occasion: with another one a new run plans for another occasion."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, timedelta
from typing import Final

from capillary.campaign.occasion import Occasion, OccasionInvalid
from capillary.ui.airflow_facts import CampaignDag, RunFacts


class OrderImpossible(Exception):
    """This cannot be ordered for this run; the message says why."""


#: How far a run's own moment may be from the day that its campaign's time zone has.
_NEAR: Final = tuple(timedelta(days=days) for days in (0, -1, 1))


def day_of(dag: CampaignDag, facts: RunFacts, occasion: str) -> dict[str, str]:
    """Return the form's day that names this run's occasion; nothing where the campaign has only one.

    On another day everybody would be planned for another occasion. Which zone the campaign counts its days in need not
    be known: the occasion's own name says whether the day is right. Without that name, the run's own day, where the
    days beside it are of the same occasion.

    Raises:
        OrderImpossible: no day can be named for certain.
    """
    if "occasion_day" not in dag.fields:
        return {}
    told = _told_day(facts)
    near = [facts.moment.date() + days for days in _NEAR]
    with suppress(OccasionInvalid):
        pattern = Occasion(dag.occasion)
        if not occasion:
            days = near if told is None else [told]
            if len({pattern.resolve_day(day).name for day in days}) == 1:
                return {"occasion_day": days[0].isoformat()}
            raise OrderImpossible(
                "The occasion of this run is not known: the run does not say, or you may not read it, and the days "
                f"around it belong to different occasions. Trigger {dag.dag_id} by hand, and give Occasion of day."
            )
        for day in near if told is None else [told, *near]:
            if pattern.resolve_day(day).name == occasion:
                return {"occasion_day": day.isoformat()}
    raise OrderImpossible(
        f"No day near this run is of its occasion {occasion!r}: the campaign's occasion was changed since. Trigger "
        f"{dag.dag_id} by hand, and give Occasion of day."
    )


def _told_day(facts: RunFacts) -> date | None:
    with suppress(TypeError, ValueError):
        return date.fromisoformat(str(facts.conf.get("occasion_day")))
    return None
