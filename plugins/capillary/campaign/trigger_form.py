"""The trigger form of a campaign's DAG: its fields, and what a person may say in them about one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from airflow.sdk import Param
from pydantic import BaseModel, ConfigDict, ValidationError

from capillary.campaign.errors import TriggerFormInvalid
from capillary.campaign.field_types import MOST, NOTE_LIMIT, Cap, CodesOrNone, Day, Flag, Note, OutcomesOrNone
from capillary.engine.remedies import NO_CODE, offered
from capillary.ledger.status import RETRYABLE
from capillary.wrong_fields import WrongField, shown, wrong_fields

#: Where the form's other fields stand; Airflow's own "Advanced Options" stand below it.
SECTION: Final = "Retry, canary, guards, note"
#: Airflow's own tick on the form of a paused DAG, whose id stands where the dots do; it is ticked at first.
UNPAUSE: Final = "Unpause … on trigger"


class TriggerForm(BaseModel):
    """What a person may set for one run; the names are those of the DAG's params."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dry_run: Flag
    canary: Flag
    occasion_day: Day = None
    customer_cap: Cap = None
    retry_outcomes: OutcomesOrNone = ()
    retry_codes: CodesOrNone = ()
    override_guards: Flag = False
    note: Note = None

    @classmethod
    def read(cls, params: Mapping[str, object], conf: Mapping[str, object] | None = None) -> TriggerForm:
        """Read what a person said about a run.

        Args:
            params: the run's parameters.
            conf: the run's own configuration. Airflow puts it into the parameters, unless it is told not to.

        Raises:
            TriggerFormInvalid: a field is unknown or wrong, or did not reach the parameters; every one is named.
        """
        if conf is not None and not isinstance(conf, Mapping):
            # Airflow keeps what JSON holds.
            remedy = "Give an object of the form's fields, or nothing"
            raise TriggerFormInvalid("Trigger form, ", [WrongField("conf", f"it is {shown(conf)}", remedy)])
        wrong = list(_not_taken_over(params, conf or {}))
        try:
            form = cls.model_validate(dict(params))
        except ValidationError as error:
            wrong += wrong_fields(error, cls.model_fields)
        if wrong:
            raise TriggerFormInvalid("Trigger form, ", wrong)
        return form


def _not_taken_over(params: Mapping[str, object], conf: Mapping[str, object]) -> Iterator[WrongField]:
    """Yield what the run's configuration says and its parameters do not.

    A dry run would submit: with `dag_run_conf_overrides_params` off, Airflow shows the form and passes over its values.
    """
    for name, value in conf.items():
        # True is 1 for Python, and no number for this form.
        if name not in params or (params[name], type(params[name])) != (value, type(value)):
            yield WrongField(
                name,
                f"the run was given {shown(value)}, and Airflow does not pass it on",
                "Turn [core] dag_run_conf_overrides_params on, or trigger the run without a configuration",
            )


def form_fields(*, live: bool, canary: bool, recurs: bool, once_on: str = "") -> dict[str, Param]:
    """Return the fields of the trigger form: those without a section stand open, the others under `SECTION`.

    Args:
        live: whether *Dry run* is off at first.
        canary: whether *Canary* is on at first.
        recurs: its occasion has days to choose from.
        once_on: what else starts when the DAG is turned on, in sentences.
    """
    day = Param(
        None,
        title="Occasion of day",
        description=(
            "A day in the campaign's time zone: plan its occasion in place of the run's own. Your browser leaves out a "
            "day that does not exist, such as 31 February, without a word: the run is then for its own day."
        ),
        type=["string", "null"],
        format="date",
    )
    return {
        "dry_run": Param(
            not live,
            title="Dry run",
            description=(
                "Count who would be planned, write nothing. A campaign that is not live is always a dry run. "
                f"Triggering turns a paused DAG on, unless you clear the tick {UNPAUSE} on this form: then the run "
                f"waits until the DAG is on. {once_on}"
            ).rstrip(),
            type="boolean",
        ),
        **({"occasion_day": day} if recurs else {}),
        "customer_cap": Param(
            None,
            title="Customer cap",
            description="Plan at most so many customers, in the query's order; the campaign's own cap holds as well.",
            type=["integer", "null"],
            minimum=1,
            maximum=MOST,
        ),
        "retry_outcomes": Param(
            [],
            title="Retry outcomes",
            description="Plan customers again whose last attempt on this occasion ended so.",
            type=["array", "null"],  # null is what the form makes of a list that a person has emptied
            items={"type": "string", "enum": list(map(str, RETRYABLE))},
            examples=list(map(str, RETRYABLE)),
            section=SECTION,
        ),
        "retry_codes": Param(
            [],
            title="Retry codes",
            description="Of those, only customers whose last attempt ended with one of these codes; nothing: any code.",
            type=["array", "null"],
            items={"type": ["string", "integer"], "pattern": f"^([1-9][0-9]{{0,9}}|{NO_CODE})$", "minimum": 1},
            examples=list(offered()),
            values_display=offered(),
            section=SECTION,
        ),
        "canary": Param(
            canary,
            title="Canary",
            description="Hold the run at ten customers while its configuration is unproven.",
            type="boolean",
            section=SECTION,
        ),
        "override_guards": Param(
            False,
            title="Override guards",
            description="You have looked at the customers: let the plan pass whatever the guards say.",
            type="boolean",
            section=SECTION,
        ),
        "note": Param(
            None,
            title="Note for the ledger",
            description=(
                "Your words about this run, kept in the ledger; no customer ids, please. The run's header shows "
                "Airflow's own Dag Run Note, under Advanced Options below."
            ),
            type=["string", "null"],
            format="multiline",
            maxLength=NOTE_LIMIT,
            section=SECTION,
        ),
    }
