"""The text of a campaign's query: from the `.sql` file beside it, or as it was given; its Jinja parsed."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

from airflow.sdk import DAG
from jinja2 import Environment, TemplateSyntaxError

from capillary.campaign.errors import SqlInvalid
from capillary.engine.query_parameters import CLOSE_COMMENT, begun_at, open_comment_of
from capillary.ledger.bounds import unstorable
from capillary.wrong_fields import shown

SUFFIX: Final = ".sql"
#: What begins Jinja: an expression, a statement, a comment.
_JINJA: Final = ("{{", "{%", "{#")
#: Arguments of Airflow's DAG that change what its Jinja can read.
_OF_JINJA: Final = ("user_defined_filters", "user_defined_macros", "jinja_environment_kwargs", "template_searchpath")

Folder: TypeAlias = Path | zipfile.Path


def names_a_file(sql: str) -> bool:
    """Return whether this is the name of a file and not a query: a query has a blank in it."""
    return sql.strip().endswith(SUFFIX) and not any(map(str.isspace, sql.strip()))


def holds_jinja(query: str) -> bool:
    """Return whether Airflow renders something in the query before it is run."""
    return any(sign in query for sign in _JINJA)


def query_of(sql: str, place: Path, *, beside: str, environment: Environment | None = None) -> str:
    """Return the query: what was given, or what stands in the file of that name.

    Args:
        sql: a query, or the name of a file.
        place: the folder of the file, which may be a zip archive or lie in one.
        beside: what the folder is called in an error.
        environment: the Jinja that renders it; default: that of a campaign.

    Raises:
        SqlInvalid: it is neither, the file is missing or no UTF-8 text, or its Jinja cannot be parsed.
    """
    if not names_a_file(sql):
        if not any(map(str.isspace, sql.strip())):
            raise SqlInvalid(
                f"{shown(sql)} is neither the name of a .sql file nor a query",
                "Give the name of a .sql file, or a SELECT",
            )
        return parsed(sql, "it", environment)
    name, folder = sql.strip(), _opened(place)
    file = folder / name
    if not file.is_file():
        there = ", ".join(sorted(each.name for each in _listed(folder) if each.name.endswith(SUFFIX))) or "none"
        raise SqlInvalid(
            f"there is no file {name!r} {beside} (there: {there})",
            "Give the name of a .sql file there, or a SELECT; where another module makes the campaign, give "
            "folder=Path(__file__).parent of the DAG file",
        )
    return parsed(text_of(file, name), f"the file {name!r}", environment)


def text_of(file: Folder, name: str) -> str:
    """Return the text of a file without its byte order mark.

    Raises:
        SqlInvalid: it is empty, or no UTF-8 text.
    """
    try:
        query = file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SqlInvalid(
            f"{name!r} cannot be read as UTF-8 text ({type(error).__name__})", "Save the file as UTF-8"
        ) from None
    if "\0" in query:
        raise SqlInvalid(f"{name!r} holds NUL characters, as a text in UTF-16 does", "Save the file as UTF-8")
    if not query.strip():
        raise SqlInvalid(f"the file {name!r} is empty", "Write the SELECT into it")
    return query.replace("\r\n", "\n").replace("\r", "\n")


def parsed(query: str, called: str, environment: Environment | None = None) -> str:
    """Return the query as it is, once Jinja could parse it.

    Raises:
        SqlInvalid: it cannot; with the line. Or it holds a character that no database takes, or a comment without end.
    """
    if unstorable(query):
        line = next(at for at, each in enumerate(query.split("\n"), start=1) if unstorable(each))
        raise SqlInvalid(
            f"{called} holds a character in its line {line} that no database takes (NUL, or half of a pair)",
            "Remove it; if the text comes from a file, save the file as UTF-8",
        )
    try:
        (environment or _environment()).from_string(query)
    except TemplateSyntaxError as error:
        raise SqlInvalid(
            f"Airflow renders {called} by Jinja, which cannot read its line {error.lineno}: "
            f"{(error.message or '').rstrip('.')}",
            "Correct the Jinja; put what is not Jinja between {% raw %} and {% endraw %}, in SQL comments, too",
        ) from None
    # Jinja may close it, or be what is in it.
    if not holds_jinja(query) and (place := open_comment_of(query)) is not None:
        raise SqlInvalid(f"{called} has a comment without end: {begun_at(place)}", CLOSE_COMMENT)
    return query


def environment_of(dag_args: Mapping[str, Any]) -> Environment | None:
    """Return the Jinja of a campaign whose DAG is given filters, macros or settings of its own; None for any other."""
    given = {name: dag_args[name] for name in _OF_JINJA if dag_args.get(name)}
    if not given:
        return None
    return DAG(dag_id="query", schedule=None, **given).get_template_env(force_sandboxed=True)


@cache
def _environment() -> Environment:
    """Return the Jinja of a DAG that says nothing of its own, as a campaign's is."""
    return DAG(dag_id="query", schedule=None).get_template_env(force_sandboxed=True)


def _opened(place: Path) -> Folder:
    """Return a folder, in its archive where it lies in one: Airflow loads DAGs from a zip as from a folder."""
    for archive in (place, *place.parents):
        if archive.is_file() and zipfile.is_zipfile(archive):
            inside = place.relative_to(archive).as_posix()
            return zipfile.Path(archive, "" if inside == "." else f"{inside}/")
    return place


def _listed(folder: Folder) -> Iterable[Folder]:
    return folder.iterdir() if folder.is_dir() else ()
