"""Operators check what they are given, before anything is written or sent.

What is known when the DAG file is read is checked there, which the UI shows as an import error; what a template or
another task gives, when the task runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TypeVar

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.mappedoperator import MappedOperator, OperatorPartial
from airflow.sdk.definitions.xcom_arg import PlainXComArg
from airflow.sdk.exceptions import AirflowFailException
from pydantic import ValidationError

from capillary.api.request_workflow import Entity
from capillary.arguments import Arguments
from capillary.default_args import misspelt, of_partial, unknown
from capillary.templating.text import TextOperator, holds_jinja, is_known_later
from capillary.wrong_fields import FieldsInvalid, WrongField, shown, wrong_fields

#: The attribute of an operator that keeps an argument, where Airflow has a method of the argument's name.
_ATTRIBUTES: Final = {"dry_run": "is_dry_run"}
#: Left out where they are empty, as by default: "it is missing" says more than a pattern.
_NEEDED: Final = frozenset({"badge_id", "owner_type", "reference_id", "entity"})
#: Where Jinja that was not rendered would be taken for an id.
_RENDERED: Final = _NEEDED | {"occasion", "campaign", "capillary_conn_id", "ledger_conn_id", "warehouse_conn_id"}


class ArgumentInvalid(FieldsInvalid, AirflowFailException):
    """Arguments of an operator are missing or wrong. One line for each; no retry can help.

    Airflow makes the operator of a mapped task when it runs, outside `airflow_failures`: so this is Airflow's, too.
    """

    def __init__(self, task_id: str, wrong: Sequence[WrongField]) -> None:
        self.wrong = tuple(wrong)
        lines = [f"Task {task_id!r}, argument {each.name!r}: {each.said}" for each in wrong]
        AirflowFailException.__init__(self, "\n".join(lines))


A = TypeVar("A", bound=Arguments)


class _CheckedPartial:
    """`partial` of an operator, which looks at `default_args`, too."""

    def __get__(self, task: BaseOperator | None, operator: type[BaseOperator]) -> Callable[..., OperatorPartial]:
        airflows: Callable[..., OperatorPartial] = vars(BaseOperator)["partial"].__get__(task, operator)
        if task is not None:
            return airflows

        def partial(*, task_id: str, **kwargs: Any) -> OperatorPartial:  # noqa: ANN401 - any operator's
            kwargs, wrong = of_partial(operator, kwargs)
            if wrong:
                raise ArgumentInvalid(task_id, wrong)
            return airflows(task_id=task_id, **kwargs)

        return partial


class CheckedOperator(TextOperator):
    """An operator whose arguments are checked: at once what is known, and the rest when the task runs."""

    if not TYPE_CHECKING:
        partial = _CheckedPartial()

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - what every operator of Airflow takes
        # Airflow hands them over merged: the DAG's, the task group's and the task's own.
        default_args = kwargs.get("default_args") or {}
        wrong = [
            *unknown(type(self), kwargs),
            *misspelt(default_args, kwargs.get("dag"), kwargs.get("task_group")),
        ]
        if wrong:
            raise ArgumentInvalid(str(kwargs.get("task_id")), wrong)
        super().__init__(**kwargs)

    def check_now(self, model: type[Arguments], *more: WrongField) -> None:
        """Check what is known when the DAG file is read: what no template and no other task gives.

        Args:
            model: the arguments.
            more: what else is wrong.

        Raises:
            ArgumentInvalid: naming every wrong one.
        """
        check(self.task_id, model, _all_given(self, model, {}), known_later=self.template_fields, more=more)

    def read_arguments(self, model: type[A], in_place: Mapping[str, object] | None = None) -> A:
        """Return the arguments when the task runs, each in its type.

        Args:
            model: the arguments.
            in_place: values of this run, by argument, in place of what the operator was given.

        Raises:
            ArgumentInvalid: naming every wrong one.
        """
        given = _all_given(self, model, in_place or {})
        unrendered = [
            WrongField(name, "it holds Jinja, which was not rendered", "Give a text, or a dict of texts")
            for name in given
            if name in _RENDERED and holds_jinja(asdict(each) if isinstance(each := given[name], Entity) else each)
        ]
        try:
            read = model.model_validate(given)
        except ValidationError as error:
            raise ArgumentInvalid(self.task_id, [*wrong_fields(error, model.model_fields), *unrendered]) from None
        if unrendered:
            raise ArgumentInvalid(self.task_id, unrendered)
        return read

    def invalid(self, argument: str, problem: str, remedy: str) -> ArgumentInvalid:
        """Return the error that names an argument of this task."""
        return ArgumentInvalid(self.task_id, [WrongField(argument, problem, remedy)])


def given_to(operator: BaseOperator, argument: str) -> Any:  # noqa: ANN401 - whatever a person gave
    """Return what an operator was given as an argument."""
    return getattr(operator, _ATTRIBUTES.get(argument, argument))


def _all_given(operator: BaseOperator, model: type[Arguments], in_place: Mapping[str, object]) -> dict[str, Any]:
    given = {name: given_to(operator, name) for name in model.model_fields} | dict(in_place)
    return {
        name: value
        for name, value in given.items()
        if name not in _NEEDED or not (value is None or (isinstance(value, str) and not value))
    }


def _uncalled(value: object) -> Iterator[object]:
    """Yield what is callable and Airflow's own: a method, or a task of a function, given in place of what it returns.

    Airflow calls a function in a template field with the run's context; one of its own takes none.
    """
    if isinstance(value, Mapping):
        yield from (found for each in value.values() for found in _uncalled(each))
    elif callable(value) and type(getattr(value, "__self__", value)).__module__.partition(".")[0] == "airflow":
        yield value


def check(
    task_id: str,
    model: type[Arguments],
    given: Mapping[str, Any],
    *,
    known_later: Collection[str],
    more: Sequence[WrongField] = (),
) -> None:
    """Check arguments when the DAG file is read.

    Args:
        task_id: the task.
        model: its arguments.
        given: their values.
        known_later: those that a template or another task may give; what they then hold is left to the task.
        more: what else is wrong.

    Raises:
        ArgumentInvalid: naming every wrong one.
    """
    later = {name for name in known_later if is_known_later(given.get(name))}
    wrong = [
        WrongField(
            name,
            "it is the list of all plans of a mapped task",
            f"Map this task, too: .partial(…).expand({name}=….output)",
        )
        for name in later
        if isinstance(given[name], PlainXComArg) and isinstance(given[name].operator, MappedOperator)
    ]
    wrong += [
        WrongField(name, f"it is {shown(each)}", "Call it, and give what comes back: of a task that is its output")
        for name in later
        for each in _uncalled(given[name])
    ]
    try:
        model.model_validate(dict(given))
    except ValidationError as error:
        wrong += [each for each in wrong_fields(error, model.model_fields) if each.name not in later]
    if wrong or more:
        raise ArgumentInvalid(task_id, [*wrong, *more])
