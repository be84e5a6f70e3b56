"""How Airflow renders an operator's texts: only `sql` may be a file, and what cannot be rendered fails with words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import render_template_to_string
from airflow.sdk.exceptions import AirflowFailException
from jinja2 import Environment, TemplateError, TemplateNotFound, TemplateSyntaxError, UndefinedError

from capillary.missing_value import reads_like_none
from capillary.sql_file import SqlInvalid, names_a_file, parsed, query_of

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
_UNDEFINED: Final = re.compile(r"'(\w+)' is undefined")


class _CameOutNone(TemplateError):
    """An expression within a query came out as None, which would become the text None."""


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
                raise AirflowFailException(
                    f"Task {self.task_id!r}, argument {name!r}: {_why(error, context)}"
                ) from None

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
        """Render one template field; None within the query is refused, since it would become the text None."""
        if parent is not self or name not in {"sql", "parameters"}:
            super().render_field(name, parent, context, jinja_env, seen_oids)
            return
        if name == "sql" and isinstance(self.sql, str):
            self._read_file_of_mapped(jinja_env)
            template = jinja_env.overlay(finalize=_assert_value).from_string(self.sql)
            self.sql = str(render_template_to_string(template, context))
            return
        before = self.parameters
        super().render_field(name, parent, context, jinja_env, seen_oids)
        if (at := _became_none(before, self.parameters)) is not None:
            raise _CameOutNone(f"its template for {at} came out as None")

    def _read_file_of_mapped(self, jinja_env: Environment) -> None:
        """Read the file where nobody has: a mapped operator has no fields when its DAG file is read."""
        try:
            self._read_file(jinja_env)
        except SqlInvalid as error:
            raise AirflowFailException(f"Task {self.task_id!r}, argument 'sql': {error}") from None

    def _read_file(self, jinja_env: Environment) -> None:
        if not isinstance(self.sql, str):
            return
        if not names_a_file(self.sql):
            parsed(self.sql, "it", jinja_env)
            return
        name = self.sql.strip()
        try:
            source = jinja_env.loader.get_source(jinja_env, name)[0] if jinja_env.loader else ""
        except (TemplateNotFound, UnicodeDecodeError):
            source = ""
        if source.strip("\ufeff \t\r\n"):
            self.sql = parsed(source.removeprefix("\ufeff"), f"the file {name!r}", jinja_env)
            return
        # In a zip, or missing, empty or no text: read it ourselves, or say what is wrong with it.
        dag = self.get_dag()
        folder = Path(dag.folder if dag else "")
        self.sql = query_of(name, folder, beside=f"in {folder}, or in the DAG's template_searchpath")


def _assert_value(value: object) -> str:
    """Return what an expression within a query came out as; a proxy of Airflow's prints what it stands for."""
    if value is None or (not isinstance(value, str) and str(value) == "None"):
        raise _CameOutNone("an expression of its template came out as None")
    return str(value)  # a native environment joins what it is given


def _became_none(before: object, after: object) -> str | None:
    """Return which text of a mapping came out as the text None, as any template of Jinja makes it of no value."""
    if isinstance(before, dict) and isinstance(after, dict):
        return next((str(key) for key in before if _became_none(before[key], after.get(key)) is not None), None)
    if isinstance(before, list | tuple) and isinstance(after, list | tuple):
        return next((str(at) for at, pair in enumerate(zip(before, after, strict=False)) if _became_none(*pair)), None)
    became = isinstance(before, str) and isinstance(after, str) and before != after and reads_like_none(after)
    return "it" if became else None


def _why(error: TemplateError, context: Context) -> str:
    """Return why a template could not be rendered, and what to do."""
    undefined = _UNDEFINED.search(str(error)) if isinstance(error, UndefinedError) else None
    if undefined and undefined.group(1) in OF_LOGICAL_DATE and not context.get("logical_date"):
        name = undefined.group(1)
        return (
            f"this run has no logical date, so that {{{{ {name} }}}} has no value: it was triggered without one, or by "
            "an asset. Use {{ dag_run.run_after }}, or :period_start and :period_end of a campaign whose occasion "
            "recurs, or trigger the run again with a logical date."
        )
    if isinstance(error, _CameOutNone):
        return f"{error}, and would become the text None. Give it a value, or a default: {{{{ … or 'a value' }}}}."
    if isinstance(error, TemplateSyntaxError):
        return f"Jinja cannot read its line {error.lineno}: {error.message}. Correct the template."
    return f"its template cannot be rendered: {error}. Correct the template, or give what it asks for."
