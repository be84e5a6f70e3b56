"""Where a template stands: a line of the DAG file that holds it, or of the `.sql` file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from airflow.sdk import DAG

from capillary.campaign.errors import SqlInvalid
from capillary.campaign.sql_file import names_a_file, text_of
from capillary.check.dag_files import shown


def place_of(text: str, line: int | None, file: Path, dag: DAG) -> str:
    """Return where a template's line stands, as far as the files tell: `, line 12` of the DAG file, ` in vips.sql`.

    Args:
        text: the template.
        line: of the template, from 1; None where it is not known.
        file: of the DAG.
        dag: names the folders of templates.
    """
    at = f", line {line}" if line else ""
    texts = list(_texts(file))
    for sql in _sql_files(file, dag, {each.value for each in texts if isinstance(each.value, str)}):
        if _holds(sql, text):
            return f" in {shown(sql)}{at}"
    found = [each for each in texts if each.value == text]
    if not text or len(found) != 1:
        return f", its line {line}" if line and "\n" in text else ""
    (literal,) = found
    spans = (literal.end_lineno or literal.lineno) - literal.lineno
    # Of a text in triple quotes each line is one of the file's.
    within = (line or 1) - 1 if spans == text.count("\n") else 0
    return f", line {literal.lineno + within}"


def _texts(file: Path) -> Iterator[ast.Constant]:
    try:
        source = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):  # such as one of an archive
        return
    yield from (each for each in ast.walk(source) if isinstance(each, ast.Constant) and isinstance(each.value, str))


def _sql_files(file: Path, dag: DAG, names: set[str]) -> Iterator[Path]:
    searched = dag.template_searchpath
    folders = [file.parent, *map(Path, [searched] if isinstance(searched, str) else searched or ())]
    for name in sorted(filter(names_a_file, names)):
        yield from (folder / name.strip() for folder in folders)


def _holds(sql: Path, text: str) -> bool:
    try:
        return sql.is_file() and text_of(sql, sql.name) == text
    except SqlInvalid:
        return False
