"""Where the names (`:name`) of a query stand: in code, in quotes or in a comment, as its database reads it.

Databases differ in what quotes, escapes and comments. A name that is looked for with one rule for all of them is found
in a comment, or missed after a quote that another database ends elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final, NamedTuple


class Kind(StrEnum):
    """What a piece of SQL is."""

    NAME = "name"  #: `:name` in code, where a value is bound
    QUOTED = "quoted"  #: text or an identifier, in quotes of any kind
    COMMENT = "comment"
    SPACE = "space"
    WORD = "word"  #: a keyword, an identifier or a number
    SIGN = "sign"  #: anything else, one character (a cast `::` is one, too)


class Token(NamedTuple):
    """A piece of SQL; the texts of all tokens make up the query."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Grammar:
    """What a database quotes and comments, beside `'text'`, `"identifier"`, `--` and `/* */`.

    Attributes:
        backslash: a backslash escapes the next character in every text.
        e_quotes: it does so in `E'text'` alone.
        dollar: `$$text$$` and `$tag$text$tag$`.
        nested: comments in comments.
        backtick: identifiers in backticks.
        bracket: identifiers in square brackets.
        line_comment: a regular expression for what begins a comment up to the end of the line.
        triple: texts in three quotes.
        q_quotes: Oracle's `q'[text]'`.
    """

    backslash: bool = False
    e_quotes: bool = False
    dollar: bool = False
    nested: bool = False
    backtick: bool = False
    bracket: bool = False
    line_comment: str = "--"
    triple: bool = False
    q_quotes: bool = False


STANDARD: Final = Grammar()
_POSTGRESQL: Final = Grammar(e_quotes=True, dollar=True, nested=True)
_MYSQL: Final = Grammar(backslash=True, backtick=True, line_comment=r"--(?=\s|\Z)|\#")
_SPARK: Final = Grammar(backslash=True, backtick=True, nested=True)
#: Grammars by SQLAlchemy's name of the dialect; `STANDARD` for any other.
GRAMMARS: Final[Mapping[str, Grammar]] = {
    "postgresql": _POSTGRESQL,
    "cockroachdb": _POSTGRESQL,
    "redshift": _POSTGRESQL,
    "duckdb": _POSTGRESQL,
    "sqlite": Grammar(backtick=True, bracket=True),
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "bigquery": Grammar(backslash=True, backtick=True, line_comment=r"--|\#", triple=True),
    "snowflake": Grammar(backslash=True, dollar=True, line_comment="--|//"),
    "clickhouse": Grammar(backslash=True, backtick=True),
    "databricks": _SPARK,
    "hive": _SPARK,
    "mssql": Grammar(bracket=True, nested=True),
    "oracle": Grammar(q_quotes=True),
}

#: What looks like a name in quotes: not `12:30`, not `\:name`, and not `":1`, which is JSON.
QUOTED_NAME: Final = re.compile(r"(?<![:\w\\]):([^\W\d]\w*)")
_COMMENT_ENDS: Final = re.compile(r"/\*|\*/")


def tokens(sql: str, grammar: Grammar) -> Iterator[Token]:
    """Yield the pieces of a query, in order; what is not closed runs to the end."""
    pattern = _pattern(grammar)
    at = 0
    while at < len(sql):
        match = pattern.match(sql, at)
        if match is None:
            raise AssertionError(at)  # the last alternative takes any character
        kind, end = Kind(str(match.lastgroup)), match.end()
        if grammar.nested and match.group().startswith("/*"):
            end = _end_of_comment(sql, at)
        yield Token(kind, sql[at:end])
        at = end


def open_comment(pieces: Sequence[Token], grammar: Grammar) -> tuple[int, int] | None:
    """Return line and column, from 1, of a `/*` that nothing closes; None where every comment is closed.

    It runs to the end: SQLite takes that without a word, conditions that were written after it included.
    """
    if not pieces or pieces[-1].kind is not Kind.COMMENT or not pieces[-1].text.startswith("/*"):
        return None
    last = pieces[-1].text
    if _depth(last) == 0 if grammar.nested else last.endswith("*/") and len(last) >= len("/**/"):
        return None
    before = "".join(each.text for each in pieces[:-1])
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _depth(comment: str) -> int:
    return sum(1 if each == "/*" else -1 for each in _COMMENT_ENDS.findall(comment))


@cache
def _pattern(grammar: Grammar) -> re.Pattern[str]:
    """Return what matches the next piece; the name of its group is the piece's kind."""
    escaped, plain = (r"\\.", r"\\") if grammar.backslash else (r"(?!)", "")
    quoted = [rf"{mark}(?:{escaped}|{mark * 2}|[^{mark}{plain}])*(?:{mark}|\Z)" for mark in ("'", '"')]
    if grammar.triple:
        quoted[:0] = [r"'''(?:\\.|[^\\])*?(?:'''|\Z)", r'"""(?:\\.|[^\\])*?(?:"""|\Z)']
    if grammar.q_quotes:
        quoted.insert(0, r"(?<!\w)[nN]?[qQ]'(?:\[.*?\]|\{.*?\}|\(.*?\)|<.*?>|(?P<q>[^\s\[{(<]).*?(?P=q))'")
    if grammar.e_quotes:
        quoted.insert(0, r"(?<!\w)[eE]'(?:\\.|''|[^'\\])*(?:'|\Z)")
    if grammar.dollar:
        quoted.append(r"(?<![\w$])(?P<tag>\$(?:[^\W\d]\w*)?\$).*?(?:(?P=tag)|\Z)")
    if grammar.backtick:
        quoted.append(r"`[^`]*(?:`|\Z)")
    if grammar.bracket:
        quoted.append(r"\[[^\]]*(?:\]|\Z)")
    return re.compile(
        rf"(?P<comment>(?:{grammar.line_comment})[^\n]*|/\*.*?(?:\*/|\Z))"
        rf"|(?P<quoted>{'|'.join(quoted)})"
        r"|(?P<name>(?<![:\w\\]):\w+)|(?P<space>\s+)|(?P<word>\w+)|(?P<sign>::|.)",
        re.DOTALL,
    )


def _end_of_comment(sql: str, at: int) -> int:
    depth = 0
    for match in _COMMENT_ENDS.finditer(sql, at):
        depth += 1 if match.group() == "/*" else -1
        if depth == 0:
            return match.end()
    return len(sql)
