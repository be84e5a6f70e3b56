"""Render a task's templates as for a run that starts now, and tell what of them would fail: where, and why."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from airflow.sdk import DAG, BaseOperator, Context, XComArg
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError, ParamValidationError
from airflow.sdk.log import redact  # type: ignore[attr-defined] # Airflow's tasks import it from there
from jinja2 import Environment, Template, TemplateError, TemplateSyntaxError, UndefinedError

from capillary.check.finding import Finding, Verdict
from capillary.check.sample_run import (
    KnownWhenItRuns,
    SampleRun,
    VariableMissing,
    asks_the_supervisor,
    without_value,
)
from capillary.check.template_place import place_of
from capillary.connections.errors import ConnectionMissing
from capillary.errors import CapillaryError
from capillary.templating.query import OF_EXPRESSIONS, InParameter
from capillary.templating.text import holds_jinja

_WHEN_IT_RUNS: Final = "is known when it runs"
#: What names things, and repeats no value.
_IN_PLAIN_WORDS: Final = (
    TemplateError,
    AirflowException,
    AirflowRuntimeError,
    CapillaryError,
    KnownWhenItRuns,
    VariableMissing,
)
#: Jinja's words of what a value does not have.
_LACKS: Final = re.compile(r"has no attribute '(\w+)'")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A copy of a task with its templates rendered; what is wrong with them, or not known yet, is told.

    Attributes:
        task: the copy.
        context: what Airflow would hand to it; empty where that is not known.
        findings: what is wrong with its templates, or not known before it runs.
        outputs: the fields that other tasks give, which stay as they are.
        had_jinja: whether there was anything to render.
    """

    task: BaseOperator
    context: Context
    findings: tuple[Finding, ...]
    outputs: tuple[str, ...]
    had_jinja: bool

    @property
    def is_whole(self) -> bool:
        """Whether every field holds what a run would find in it, other tasks' outputs apart."""
        return not self.findings


def rendered(task: BaseOperator, dag: DAG, file: Path, where: str, run: SampleRun) -> Rendered:
    """Return a copy of a task, rendered field by field.

    Args:
        task: of the DAG.
        dag: of the file.
        file: is named, with the line, where a template fails.
        where: stands in findings.
        run: renders it.
    """
    copy = task.prepare_for_execution()
    outputs = tuple(name for name in copy.template_fields if _is_output(getattr(copy, name, None)))
    fields = [name for name in copy.template_fields if name not in outputs]
    had_jinja = any(holds_jinja(getattr(copy, name, None)) for name in fields)
    try:
        context = run.context(copy, dag)
    except ParamValidationError as error:
        return Rendered(copy, Context(), (_unknown_parameters(error, copy, dag, where),), outputs, had_jinja)
    rendering = _Rendering(copy, dag, file, where, run, context)
    findings = [finding for name in fields for finding in rendering.field(name)]
    return Rendered(copy, context, tuple(findings), outputs, had_jinja)


def redacted(words: str) -> str:
    """Return words without what Airflow hides in logs, such as a variable whose name says that it is a secret."""
    return str(redact(words))


def _unknown_parameters(error: ParamValidationError, task: BaseOperator, dag: DAG, where: str) -> Finding:
    if missing := without_value(task, dag):
        words = f"parameter {', '.join(missing)} has no default: whoever triggers a run gives it"
        return Finding(Verdict.NOT_CHECKED, where, "template", words)
    return Finding(Verdict.FAILS, where, "params", f"{str(error).splitlines()[0]}. Correct its default or schema")


@dataclass(frozen=True, slots=True)
class _Rendering:
    """Renders one task's fields."""

    task: BaseOperator
    dag: DAG
    file: Path
    where: str
    run: SampleRun
    context: Context

    def field(self, name: str) -> Iterator[Finding]:
        """Render one field in its place; yield why it fails."""
        given, environment = getattr(self.task, name, None), self.task.get_template_env()
        try:
            self.task._do_render_template_fields(self.task, [name], self.context, environment, set())  # noqa: SLF001
        except Exception as error:  # noqa: BLE001 - a template runs whatever it names
            yield self._told(name, self._wrong_text(given, environment), error)

    def _told(self, name: str, text: str, error: Exception) -> Finding:
        cause = _cause(error)
        verdict = _verdict(cause, text, self.dag)
        place = place_of(text, _line(cause), self.file, self.dag)
        said = str(error)
        if asks_the_supervisor(cause):
            said = f"what it names {_WHEN_IT_RUNS}"
        elif verdict is Verdict.NOT_CHECKED:
            said = f"what it names {_WHEN_IT_RUNS}: {_words_of(error)}"
        elif not isinstance(error, AirflowException):  # not in this package's words yet
            said = f"argument {name!r}: {_words_of(error)}"
        hint = self._hint(cause, text) if verdict is Verdict.FAILS else ""
        return Finding(verdict, self.where, f"template{place}", redacted(f"{said}{hint} ({self.run})"))

    def _wrong_text(self, given: object, environment: Environment) -> str:
        """Return the text that cannot be rendered, of one or of several in a mapping or list."""
        if isinstance(given, str):
            return given
        inner = given.values() if isinstance(given, Mapping) else given if isinstance(given, list | tuple) else ()
        texts = [each for each in inner if holds_jinja(each)]
        if len(texts) == 1:
            return self._wrong_text(texts[0], environment)
        for each in texts:
            try:
                self.task.render_template(each, self.context, environment)
            except Exception:  # noqa: BLE001 - it is what was looked for
                return self._wrong_text(each, environment)
        return ""

    def _hint(self, cause: BaseException, text: str) -> str:
        """Return what it is that a value lacks, where Jinja says it with Python's words alone."""
        lacks = _LACKS.search(str(cause)) if isinstance(cause, UndefinedError) else None
        if lacks is None:
            return ""
        name = lacks.group(1)
        if re.search(rf"\bparams(\.|\[.){name}\b", text):
            close = difflib.get_close_matches(name, self.context["params"], n=1)
            meant = f" Did you mean {close[0]}?" if close else f" Declare it: params={{{name!r}: …}} of the DAG."
            return f" The DAG has no parameter {name!r}.{meant}"
        return f" Airflow has no macro {name!r}." if re.search(rf"\bmacros\.{name}\b", text) else ""


def _cause(error: BaseException) -> BaseException:
    """Return what a template raised; this package's operators say it in words of their own."""
    cause = error.__context__ if isinstance(error, AirflowException) and error.__context__ else error
    return cause.__cause__ if isinstance(cause, InParameter) and cause.__cause__ else cause


def _words_of(error: Exception) -> str:
    """Return the words of Jinja's, Airflow's and our own errors; any other's may hold a value: its class alone."""
    return str(error) if isinstance(error, _IN_PLAIN_WORDS) else f"it raised {type(error).__name__}"


def _verdict(cause: BaseException, text: str, dag: DAG) -> Verdict:
    """Return what it means that a template cannot be rendered: its own fault, or a fact that a run alone knows."""
    if isinstance(cause, VariableMissing | ConnectionMissing):
        return Verdict.FAILS
    if isinstance(cause, KnownWhenItRuns | CapillaryError) or asks_the_supervisor(cause):
        return Verdict.NOT_CHECKED
    if "conf" in text and dag.schedule is None and not isinstance(cause, TemplateSyntaxError):
        return Verdict.NOT_CHECKED  # who triggers a run gives the conf
    return Verdict.FAILS if isinstance(cause, (TemplateError, *OF_EXPRESSIONS)) else Verdict.NOT_CHECKED


def _line(cause: BaseException) -> int | None:
    """Return the line of a template at which it failed."""
    if isinstance(cause, TemplateSyntaxError):
        return cause.lineno
    line, traceback = None, cause.__traceback__
    while traceback is not None:
        template = traceback.tb_frame.f_globals.get("__jinja_template__")
        if isinstance(template, Template):  # its frame counts the lines of the Python that Jinja makes of it
            line = template.get_corresponding_lineno(traceback.tb_lineno)
        traceback = traceback.tb_next
    return line


def _is_output(value: Any) -> bool:  # noqa: ANN401 - whatever a person gave
    if isinstance(value, Mapping):
        return any(map(_is_output, value.values()))
    if isinstance(value, Collection) and not isinstance(value, str | bytes):
        return any(map(_is_output, value))
    return isinstance(value, XComArg)
