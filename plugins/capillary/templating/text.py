"""How Airflow renders what is text by nature: as text, also where the DAG wants native objects.

`render_template_as_native_obj` reads every rendered text as Python: the reference `1_000` became 1000, and the id of a
till a number. Here a text stays one; a template that gives None gives None, as it does natively.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import render_template_to_string
from jinja2 import Environment, Template
from jinja2.nativetypes import NativeEnvironment

from capillary.templating.values import assert_name

if TYPE_CHECKING:
    from airflow.sdk import DAG, Context

#: Stands for None within a rendered text; no database keeps it.
_NONE: Final = "\x00None\x00"
#: What begins Jinja: an expression, a statement, a comment.
_SIGNS: Final = ("{{", "{%", "{#")


def holds_jinja(value: object) -> bool:
    """Return whether a text holds Jinja, or something in a mapping or list does."""
    if isinstance(value, str):
        return any(sign in value for sign in _SIGNS)
    if isinstance(value, Mapping):
        return any(map(holds_jinja, value.values()))
    return isinstance(value, list | tuple | set) and any(map(holds_jinja, value))


def is_known_later(value: object) -> bool:
    """Return whether a template field's value is known when its task runs: Jinja, another task's output, a callable."""
    if isinstance(value, Mapping):
        return any(map(is_known_later, value.values()))
    if isinstance(value, list | tuple | set):
        return any(map(is_known_later, value))
    return holds_jinja(value) or (not isinstance(value, type) and (callable(value) or hasattr(value, "resolve")))


def _as_text(value: object) -> str:
    """Return what stands for a value within a text that an environment of native objects renders."""
    return _NONE if value is None else str(assert_name(value))


class TextOperator(BaseOperator):
    """An operator that renders what is text as text; a text without Jinja stays as it was given, whatever it is for."""

    #: Those of `template_fields` that are text.
    text_fields: ClassVar[frozenset[str]] = frozenset()
    #: Those that are mappings of texts. A template in place of the whole mapping gives one natively only.
    text_mappings: ClassVar[frozenset[str]] = frozenset()

    def render_template(
        self,
        content: Any,  # noqa: ANN401 - Airflow's signature
        context: Context,
        jinja_env: Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:  # noqa: ANN401 - same
        """Render a value; one without Jinja is not read as Python, either."""
        env = jinja_env or self.get_template_env()
        is_plain = isinstance(content, str) and not _begins_jinja(content, env)
        # A text that ends so is the name of a file, which is rendered.
        if is_plain and isinstance(env, NativeEnvironment) and not content.endswith(tuple(self.template_ext)):
            return content
        return super().render_template(content, context, env, seen_oids)

    def _do_render_template_fields(
        self,
        parent: object,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: Environment,
        seen_oids: set[int],
    ) -> None:
        fields = list(template_fields)
        text = [
            name
            for name in fields
            if name in self.text_fields
            or (name in self.text_mappings and isinstance(getattr(parent, name, None), Mapping))
        ]
        rest = [name for name in fields if name not in text]
        super()._do_render_template_fields(parent, rest, context, jinja_env, seen_oids)
        is_native = isinstance(jinja_env, NativeEnvironment)
        jinja_env = jinja_env.overlay(finalize=_as_text if is_native else assert_name)
        super()._do_render_template_fields(parent, text, context, jinja_env, seen_oids)

    def _render(self, template: Template, context: Context, dag: DAG | None = None) -> Any:  # noqa: ANN401 - Airflow's
        if template.environment.finalize is not _as_text:
            return super()._render(template, context, dag)
        rendered = render_template_to_string(template, context)
        return None if rendered == _NONE else rendered.replace(_NONE, str(None))


def _begins_jinja(text: str, env: Environment) -> bool:
    """Return whether a text holds what this environment renders; a DAG may have signs of its own."""
    signs = (env.variable_start_string, env.block_start_string, env.comment_start_string)
    return any(sign in text for sign in signs) or bool(env.line_statement_prefix or env.line_comment_prefix)
