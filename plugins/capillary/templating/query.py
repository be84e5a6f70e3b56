"""How Airflow renders an operator's texts: only `sql` may be a file, and what cannot be rendered fails with words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import render_template_to_string
from airflow.sdk.exceptions import AirflowFailException
from jinja2 import Environment, StrictUndefined, TemplateError, TemplateNotFound, TemplateSyntaxError, UndefinedError
from jinja2.nativetypes import NativeEnvironment

from capillary.campaign.errors import SqlInvalid
from capillary.campaign.sql_file import names_a_file, parsed, query_of
from capillary.failure_reason import kept
from capillary.templating.text import holds_jinja
from capillary.templating.values import NoText, assert_one_value, assert_sql

if TYPE_CHECKING:
    from airflow.sdk import Context

#: What Airflow leaves out where a run has no logical date: triggered without one, through the API, or by an asset.
OF_LOGICAL_DATE: Final = frozenset(
    {
        "logical_date",
        "ds",
        "ds_nodash",
        "ts",
        "ts_nodash",
        "ts_nodash_with_tz",
        "data_interval_start",
        "data_interval_end",
        "prev_data_interval_start_success",
        "prev_data_interval_end_success",
    }
)
#: What Python raises in an expression such as {{ 1/0 }} or {{ none + 1 }}: another try raises the same.
OF_EXPRESSIONS: Final = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError)
_UNDEFINED: Final = re.compile(r"'(\w+)' is undefined")


class InParameter(TemplateError):
    """The template of one parameter cannot be rendered; its cause says why."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


class TemplateFailures(BaseOperator):
    """An operator whose texts either render or fail at once, by name: another try renders the same."""

    def _do_render_template_fields(
        self,
        parent: Any,  # noqa: ANN401 - Airflow's signature
        template_fields: Iterable[str],
        context: Context,
        jinja_env: Environment,
        seen_oids: set[int],
    ) -> None:
        for name in template_fields:
            try:
                self.render_field(name, parent, context, jinja_env, seen_oids)
            except TemplateError as error:
                raise self._failed(name, _why(error, context)) from None  # `check` asks for its context
            except OF_EXPRESSIONS as error:
                if not holds_jinja(getattr(parent, name, None)):
                    raise
                # Its words may hold a value.
                why = f"an expression of its template raised {type(error).__name__}. Correct the template."
                raise self._failed(name, why) from None

    def _failed(self, name: str, why: str) -> AirflowFailException:
        return AirflowFailException(f"Task {self.task_id!r}, argument {name!r}: {why}")

    def render_field(
        self,
        name: str,
        parent: Any,  # noqa: ANN401 - Airflow's
        context: Context,
        jinja_env: Environment,
        seen_oids: set[int],
    ) -> None:
        """Render one template field in its place."""
        super()._do_render_template_fields(parent, [name], context, jinja_env, seen_oids)


class QueryTemplate(TemplateFailures):
    """An operator with a query: `sql` is text, or the name of a `.sql` file; no other field is ever read as a file."""

    sql: str
    parameters: Any

    def resolve_template_files(self) -> None:
        """Put the file's text in place of its name, when the DAG file is read.

        Raises:
            SqlInvalid: the file is missing or no UTF-8 text, or the query's Jinja cannot be parsed.
        """
        try:
            self._read_file(self.get_template_env())
        except SqlInvalid as error:
            raise SqlInvalid(f"Task {self.task_id!r}, argument 'sql': {error.problem}", error.remedy) from None
        self.prepare_template()

    def render_field(
        self,
        name: str,
        parent: Any,  # noqa: ANN401 - Airflow's
        context: Context,
        jinja_env: Environment,
        seen_oids: set[int],
    ) -> None:
        """Render one template field; what is not text is refused within the query, and in parameters that are text."""
        if parent is self and name == "sql" and isinstance(self.sql, str):
            self._read_file_of_mapped(jinja_env)
            template = jinja_env.overlay(finalize=assert_sql).from_string(self.sql)
            self.sql = str(render_template_to_string(template, context))
        elif parent is self and name == "parameters" and isinstance(self.parameters, dict):
            if not self._gives_objects(jinja_env):
                jinja_env = jinja_env.overlay(finalize=assert_one_value)
            self.parameters = {
                key: self._rendered(key, value, context, jinja_env, seen_oids) for key, value in self.parameters.items()
            }
        else:
            super().render_field(name, parent, context, jinja_env, seen_oids)

    def _rendered(
        self, key: str, value: object, context: Context, jinja_env: Environment, seen_oids: set[int]
    ) -> object:
        try:
            rendered = self.render_template(value, context, jinja_env, seen_oids)
            if isinstance(rendered, StrictUndefined):  # natively, a name that is not defined comes out as itself
                str(rendered)
        except TemplateError as error:
            raise InParameter(key) from error
        return rendered

    def _gives_objects(self, jinja_env: Environment) -> bool:
        """Return whether templates give what they stand for, as None and lists, and not its text."""
        return isinstance(jinja_env, NativeEnvironment) or bool(getattr(self, "render_template_as_native_obj", None))

    def _read_file_of_mapped(self, jinja_env: Environment) -> None:
        """Read the file where nobody has: a mapped operator has no fields when its DAG file is read."""
        try:
            self._read_file(jinja_env)
        except SqlInvalid as error:
            raise AirflowFailException(kept(f"Task {self.task_id!r}, argument 'sql': {error}")) from None

    def _read_file(self, jinja_env: Environment) -> None:
        if not isinstance(self.sql, str):
            return
        name, loader = self.sql.strip(), jinja_env.loader
        folders = [Path(each) for each in getattr(loader, "searchpath", ())]
        if not names_a_file(name):
            self.sql = parsed(self.sql, "it", jinja_env)
        elif folders or loader is None:
            folder = next((each for each in folders if (each / name).is_file()), (*folders, Path())[0])
            beside = f"in {folder}, or in the DAG's template_searchpath"
            self.sql = query_of(name, folder, beside=beside, environment=jinja_env)
        else:  # a loader that the DAG brought along
            try:
                self.sql = parsed(loader.get_source(jinja_env, name)[0], f"the file {name!r}", jinja_env)
            except TemplateNotFound:
                raise SqlInvalid(f"the DAG's Jinja loader has no {name!r}", "Correct the name") from None


def _why(error: TemplateError, context: Context) -> str:
    """Return why a template could not be rendered, and what to do."""
    if isinstance(error, InParameter) and isinstance(error.__cause__, TemplateError):
        return f":{error.name}: {_why(error.__cause__, context)}"
    undefined = _UNDEFINED.search(str(error)) if isinstance(error, UndefinedError) else None
    if undefined and undefined.group(1) in OF_LOGICAL_DATE and not context.get("logical_date"):
        name = undefined.group(1)
        return (
            f"this run has no logical date, so that {{{{ {name} }}}} has no value: it was triggered without one, or by "
            "an asset. Use {{ dag_run.run_after }}, or :period_start and :period_end of a campaign whose occasion "
            "recurs, or trigger the run again with a logical date."
        )
    if isinstance(error, NoText):
        return str(error)
    if isinstance(error, TemplateSyntaxError):
        return f"Jinja cannot read its line {error.lineno}: {error.message}. Correct the template."
    return f"its template cannot be rendered: {error}. Correct the template, or give what it asks for."
