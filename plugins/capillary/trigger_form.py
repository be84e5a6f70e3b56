"""The trigger form of a campaign's DAG: its fields, and what a person may say in them about one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, TypeAlias

from airflow.sdk import Param
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from capillary.errors import TerminalError
from capillary.ledger.schema import RETRYABLE
from capillary.wrong_fields import sentences


class TriggerFormInvalid(TerminalError):
    """What was given when the run was triggered cannot be used. Nothing was planned."""


def _checked_outcome(word: str) -> str:
    if word not in RETRYABLE:
        raise ValueError(f"no customer may be planned again after {word!r}")
    return word


def _day_of(value: object) -> object:
    return date.fromisoformat(value) if isinstance(value, str) else value


_Count: TypeAlias = Annotated[int, Field(ge=1)]
_Day: TypeAlias = Annotated[date, BeforeValidator(_day_of)]
_Retried: TypeAlias = Annotated[str, AfterValidator(_checked_outcome)]


class TriggerForm(BaseModel):
    """What a person may say about one run; the names are those of the DAG's params."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dry_run: bool = Field(description="true or false")
    canary: bool = Field(description="true or false")
    occasion_day: _Day | None = Field(default=None, description="a day such as 2026-11-23, or nothing")
    customer_cap: _Count | None = Field(default=None, description="1 or more customers, or nothing")
    retry_outcomes: Sequence[_Retried] = Field(default=(), description=f"some of {', '.join(RETRYABLE)}")
    override_guards: bool = Field(default=False, description="true or false")
    note: str | None = Field(default=None, description="a text, or nothing")

    @classmethod
    def read(cls, params: Mapping[str, object]) -> TriggerForm:
        """Read the params of a run.

        Raises:
            TriggerFormInvalid: a field is unknown or wrong; every one is named, with what to give instead.
        """
        try:
            return cls.model_validate(dict(params))
        except ValidationError as error:
            raise TriggerFormInvalid("\n".join(f"Trigger form, {each}" for each in sentences(error, cls))) from None


def form_fields(*, live: bool, canary: bool, recurs: bool) -> dict[str, Param]:
    """Return the fields of the trigger form: those without a section stand open, the others under Advanced."""
    day = Param(
        None,
        title="Occasion of day",
        description="A day in the campaign's time zone: plan its occasion in place of the run's own.",
        type=["string", "null"],
        format="date",
    )
    return {
        "dry_run": Param(
            not live,
            title="Dry run",
            description="Count who would be planned, write nothing. A campaign that is not live is always a dry run.",
            type="boolean",
        ),
        **({"occasion_day": day} if recurs else {}),
        "customer_cap": Param(
            None,
            title="Customer cap",
            description="Plan at most so many customers, in the query's order; the campaign's own cap holds as well.",
            type=["integer", "null"],
            minimum=1,
        ),
        "retry_outcomes": Param(
            [],
            title="Retry outcomes",
            description="Plan customers again whose last attempt on this occasion ended so.",
            type="array",
            items={"type": "string", "enum": list(map(str, RETRYABLE))},
            examples=list(map(str, RETRYABLE)),
            section="Advanced",
        ),
        "canary": Param(
            canary,
            title="Canary",
            description="Hold the run at ten customers while its configuration is unproven.",
            type="boolean",
            section="Advanced",
        ),
        "override_guards": Param(
            False,
            title="Override guards",
            description="You have looked at the customers: let the plan pass whatever the guards say.",
            type="boolean",
            section="Advanced",
        ),
        "note": Param(
            None,
            title="Note",
            description="Your words about this run, kept in the ledger; no customer ids, please.",
            type=["string", "null"],
            format="multiline",
            section="Advanced",
        ),
    }
