"""Which campaigns Airflow passes over without a word: files that it does not read, campaigns without a DAG.

Read from the files' text alone, so that it costs no start of Airflow and runs nothing of theirs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from capillary.check.unreached import Reach, Unreached

#: What Airflow looks for before it reads a file (`airflow.utils.file.might_contain_dag_via_default_heuristic`).
_WORD: Final = b"airflow"
_ONE_OF: Final = (b"dag", b"asset")
_CLASS: Final = "BadgeCampaign"
_PACKAGE: Final = "capillary"


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A file of which Airflow makes no DAG, though a campaign is written in it.

    Attributes:
        file: the Python file.
        campaigns: names of its campaigns, as far as they are written out in it.
        sentence: what is so.
        remedy: what to write.
    """

    file: Path
    campaigns: tuple[str, ...]
    sentence: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file.name}: {self.sentence}. {self.remedy}."


def passed_over(folder: Path, *, safe_mode: bool = True) -> list[PassedOver]:
    """Return what Airflow passes over of a folder, in the order of the files' names.

    Files that an `.airflowignore` leaves out are meant to be passed over, and files that cannot be parsed are import
    errors: neither is told.

    Args:
        folder: the DAGs folder, or one file of it.
        safe_mode: Airflow's `[core] dag_discovery_safe_mode`, which leaves out files without two words.
    """
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.py"))
    contents = {file: _content(file) for file in files}
    # Parsing is slow: only what holds the class, or the name of a module that does.
    worth = {_CLASS.encode(), *(file.stem.encode() for file, content in contents.items() if _CLASS.encode() in content)}
    found = [
        each
        for file, content in contents.items()
        if any(word in content for word in worth)
        for each in _of_file(file, content, folder, _Neighbours(file, contents), safe_mode=safe_mode)
    ]
    if not found or folder.is_file():
        return found
    not_ignored = _looked_at(folder)
    return [each for each in found if each.file in not_ignored]


def _content(file: Path) -> bytes:
    """Return what stands in a file; nothing where it cannot be read, which is an import error of Airflow's."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _looked_at(folder: Path) -> set[Path]:
    """Return the files that Airflow looks at. Importing it costs seconds, so it is asked where there is a doubt."""
    from airflow.utils.file import find_dag_file_paths  # noqa: PLC0415 - see above

    return {Path(path) for path in find_dag_file_paths(str(folder), safe_mode=False)}


def campaigns_made(file: Path) -> list[str]:
    """Return where campaigns are written in a file that are made whenever it is read, such as `line 12`.

    Args:
        file: a Python file that can be parsed.
    """
    campaigns = _campaigns(ast.parse(_content(file)), _Neighbours(file, {}))
    return [f"line {each.line}" for each in campaigns if each.runs_here]


class _Neighbours:
    """The files beside one, which may call what stands in it."""

    def __init__(self, file: Path, contents: dict[Path, bytes]) -> None:
        self._file = file
        self._contents = contents

    def mention(self, name: str) -> bool:
        """Return whether one of them holds the name of this file's module and of a function of it."""
        words = [re.compile(rb"\b%s\b" % re.escape(each.encode())) for each in (self._file.stem, name)]
        return any(all(word.search(content) for word in words) for content in self._others())

    def _others(self) -> Iterable[bytes]:
        """Return their contents; those of the folder above as well, where one file alone is looked at."""
        if len(self._contents) > 1:
            return (content for file, content in self._contents.items() if file != self._file)
        here = self._file.parent
        files = chain(here.rglob("*.py"), here.parent.glob("*.py"))
        return (_content(each) for each in files if each != self._file)


def _of_file(
    file: Path, content: bytes, folder: Path, neighbours: _Neighbours, *, safe_mode: bool
) -> Iterator[PassedOver]:
    try:
        source = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):
        return
    campaigns = list(_campaigns(source, neighbours))
    made = [each for each in campaigns if each.runs_here]
    names = tuple(each.name for each in made if each.name)
    if safe_mode and not _has_words(content) and (made or _calls_a_factory(source, folder)):
        yield PassedOver(
            file,
            names,
            "Airflow ignores this file without a warning, because it does not contain both words airflow and dag",
            'Write them into its docstring, as in """Gold tier: an Airflow DAG."""',
        )
    for each in campaigns:
        # A file without the words that makes nothing by itself is one for others to import.
        if each.never is not None and (made or _has_words(content)):
            yield PassedOver(
                file,
                (each.name,) if each.name else (),
                f"the campaign {f'{each.name!r} ' if each.name else ''}of line {each.line} makes no DAG, so "
                f"Airflow never runs it: it {each.never.reason}",
                f"{each.never.remedy}; or delete it",
            )
    forgotten = [each for each in made if not each.within_function and not each.has_dag]
    if forgotten:
        lost = ", ".join(repr(each.name) for each in forgotten if each.name) or "its campaign"
        yield PassedOver(
            file,
            tuple(each.name for each in forgotten if each.name),
            f"{lost} makes no DAG, so Airflow never runs it",
            "Write dag = BadgeCampaign(…).dag()",
        )


def _has_words(content: bytes) -> bool:
    lower = content.lower()
    return _WORD in lower and any(word in lower for word in _ONE_OF)


@dataclass(frozen=True, slots=True)
class _Campaign:
    """A call of BadgeCampaign; `name` where it is written out, `never` where it is never made."""

    name: str
    line: int
    within_function: bool
    has_dag: bool
    runs_here: bool
    never: Unreached | None


def _campaigns(source: ast.Module, neighbours: _Neighbours) -> Iterator[_Campaign]:
    called = _names_of_class(source)
    reach = Reach(source, neighbours.mention)
    parents = {child: node for node in ast.walk(source) for child in ast.iter_child_nodes(node)}
    # `.dag` of whatever the file has: which campaign a name stands for in a loop, nobody can tell from the text.
    dags = [
        node.func.value
        for node in ast.walk(source)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "dag"
    ]
    for node in ast.walk(source):
        if not isinstance(node, ast.Call) or _called(node) not in called:
            continue
        above = list(_above(node, parents))
        yield _Campaign(
            name=next(
                (
                    str(each.value.value)
                    for each in node.keywords
                    if each.arg == "name" and isinstance(each.value, ast.Constant)
                ),
                "",
            ),
            line=node.lineno,
            within_function=any(
                isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) for each in above
            ),
            has_dag=_has_dag(node, above, dags),
            runs_here=reach.runs_here(node),
            never=reach.never(node),
        )


def _has_dag(call: ast.Call, above: list[ast.AST], dags: list[ast.expr]) -> bool:
    """Whether a campaign's `.dag()` is called: right there, by the name it was given, or by what it was handed to."""
    if call in dags:
        return True
    statement = next((each for each in above if isinstance(each, ast.stmt)), None)
    if isinstance(statement, ast.Expr) and statement.value is call:
        return False
    targets = statement.targets if isinstance(statement, ast.Assign) and statement.value is call else []
    names = {each.id for each in targets if isinstance(each, ast.Name)}
    if names and len(names) == len(targets):
        return _is_used(names, above[-1], dags)
    return bool(dags) or not isinstance(statement, ast.Assign | ast.AnnAssign)


def _is_used(names: set[str], source: ast.AST, dags: list[ast.expr]) -> bool:
    """Whether `.dag()` is called on a name, or the name is handed to what may do so; `campaign.dag` alone does not."""
    looked_at = {id(node.value) for node in ast.walk(source) if isinstance(node, ast.Attribute)} - set(map(id, dags))
    return any(
        isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Load) and id(node) not in looked_at
        for node in ast.walk(source)
    )


def _above(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> Iterator[ast.AST]:
    while node in parents:
        node = parents[node]
        yield node


def _names_of_class(source: ast.Module) -> set[str]:
    """Return the names under which a file knows the class."""
    names = {_CLASS}
    for node in ast.walk(source):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == _PACKAGE:
            names |= {each.asname for each in node.names if each.name == _CLASS and each.asname}
    return names


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _calls_a_factory(source: ast.Module, folder: Path) -> bool:
    """Whether a file calls what it imports from a module of the folder that makes campaigns in a function."""
    for node in source.body:
        if not isinstance(node, ast.ImportFrom) or node.level or not node.module:
            continue
        module = folder.joinpath(*node.module.split(".")).with_suffix(".py")
        imported = {each.asname or each.name for each in node.names}
        calls = (call for call in ast.walk(source) if isinstance(call, ast.Call) and _called(call) in imported)
        if module.is_file() and any(calls) and _CLASS.encode() in module.read_bytes():
            return True
    return False
