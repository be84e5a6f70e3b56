"""The values of a query's names (`:name`): each is bound as its author meant it, or refused by name.

SQLAlchemy's `text()` takes a name for one wherever it stands, in quotes and comments too, and a driver takes a list
as it likes: `NOT IN (:excluded)` lets everybody pass on PostgreSQL, where the list becomes one text. So the query is
read as its database reads it, and what would find nobody, or everybody, without a word is an error before it runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from sqlalchemy import Dialect, TextClause, bindparam, text

from capillary.engine.bindable import as_bound, is_nan, is_table, listed, unbindable
from capillary.engine.sql_tokens import GRAMMARS, QUOTED_NAME, STANDARD, Grammar, Kind, Token, open_comment, tokens
from capillary.errors import TerminalError

#: Values of a list in IN, where each becomes a bind of its own; databases take 32,766 or 65,535 in all.
MAX_LISTED: Final = 10_000

#: Where a database's dialect is not known, a query is wrong if these agree: the ones that differ most.
_OPPOSITES: Final = tuple(GRAMMARS[name] for name in ("postgresql", "sqlite", "mysql"))
_QUERY_WORDS: Final = frozenset({"select", "with", "values", "table"})
_ARRAY_WORDS: Final = frozenset({"any", "all", "some"})
_COLON: Final = re.compile(r"(\\*):")
_LOOKS_LIKE_A_LIST: Final = re.compile(r"^\s*[\[({]|,")
_NAN: Final = ("its value is not a number (NaN)", "Give a number, or leave the condition out")
CLOSE_COMMENT: Final = "Close it with */, or write -- for a comment of one line"
_WRITE_COLON: Final = r"or write \: for a colon that starts no name"


class ParameterMissing(TerminalError):
    """The query names parameters that nobody gives."""

    def __init__(self, *, missing: Sequence[str], given: Sequence[str]) -> None:
        self.missing = tuple(missing)
        super().__init__(
            f"The query needs {', '.join(f':{name}' for name in missing)}; given: {', '.join(given) or 'none'}. "
            f"Add it to the campaign's parameters, {_WRITE_COLON}."
        )


class ParameterInvalid(TerminalError):
    """A parameter of the query cannot be bound where the query has it, or not by this driver. No value is repeated."""

    def __init__(self, problem: Problem) -> None:
        self.name = problem.name
        super().__init__(f"Parameter :{problem.name}: {problem.what}. {problem.remedy}.")


class CommentOpen(TerminalError):
    """A comment of the query has no end. SQLite reads it up to the end, conditions included, and finds everybody.

    Attributes:
        place: line and column of its `/*`, from 1.
    """

    def __init__(self, place: tuple[int, int]) -> None:
        self.place = place
        super().__init__(f"The query has a comment without end: {begun_at(place)}. {CLOSE_COMMENT}.")


class Problem(NamedTuple):
    """What is wrong with a parameter, and what to do."""

    name: str
    what: str
    remedy: str


class Use(StrEnum):
    """Where a name stands; it decides what a list means there."""

    IN = "in"  #: alone after IN, with brackets or without
    AMONG = "among"  #: one of several in the brackets of an IN
    WITHIN = "within"  #: somewhere in the brackets of an IN, such as in a function's call
    ARRAY = "array"  #: alone in ANY, ALL or SOME, or with a cast of its own: the database takes an array there
    ELSEWHERE = "elsewhere"


class Mention(NamedTuple):
    """A name in the query's code: the place of its token, and of the brackets that an expanded list replaces."""

    name: str
    use: Use
    at: int
    brackets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """A query as its database reads it."""

    tokens: tuple[Token, ...]
    mentions: tuple[Mention, ...]

    @classmethod
    def read(cls, sql: str, grammar: Grammar) -> Query:
        """Read a query; a byte order mark at its begin is not a part of it."""
        pieces = tuple(tokens(sql.removeprefix("\ufeff"), grammar))
        return cls(pieces, tuple(_mentions(pieces)))

    @property
    def names(self) -> list[str]:
        """The names that want a value, each once, in order."""
        return list(dict.fromkeys(mention.name for mention in self.mentions))

    def in_quotes(self) -> Iterator[Problem]:
        """Yield the names that stand in quotes, where no value can be bound."""
        quoted = (token.text for token in self.tokens if token.kind is Kind.QUOTED)
        for name in dict.fromkeys(name for each in quoted for name in QUOTED_NAME.findall(each)):
            yield Problem(
                name,
                "it stands in quotes, where it is text and no value is bound",
                f"Take it out of the quotes (in place of interval ':{name} days': :{name} * interval '1 day'), "
                rf"or write \:{name} where the text is meant",
            )

    def misused(self, parameters: Mapping[str, object]) -> Iterator[Problem]:
        """Yield the lists that would find nobody, or everybody, where they stand."""
        for mention in self.mentions:
            if mention.name not in parameters:
                continue
            if is_table(parameters[mention.name]):
                yield Problem(
                    mention.name, "its value is a table", "Give one column of it as a list: df['id'].tolist()"
                )
                continue
            values = listed(parameters[mention.name])
            found = _of_scalar(mention, parameters[mention.name]) if values is None else _of_list(mention, values)
            if found:
                yield Problem(mention.name, *found)

    def bound(self, parameters: Mapping[str, object], dialect: Dialect) -> tuple[TextClause, dict[str, object]]:
        """Return the statement and its values; a name that stands in several uses has a bind for each."""
        written = [_COLON.sub(_escaped, token.text) for token in self.tokens]
        values: dict[str, object] = {}
        expanding = []
        for mention in self.mentions:
            several = listed(parameters[mention.name])
            if several is None:
                key, value, sql = f"v_{mention.name}", as_bound(parameters[mention.name], dialect), ":{}"
            elif mention.use is Use.IN:
                key, value, sql = f"in_{mention.name}", [as_bound(each, dialect) for each in several], ":{}"
                for bracket in mention.brackets:
                    written[bracket] = " "
                expanding.append(key)
            else:
                key, value, sql = f"v_{mention.name}", several, ":{}"  # an array
                if mention.use is Use.ELSEWHERE and all(isinstance(each, str) for each in several):
                    # Untyped it would become one text, which nothing equals.
                    sql = "CAST(:{} AS text[])"
            written[mention.at] = f" {sql.format(key)} "
            values[key] = value
        statement = text("".join(written))
        return statement.bindparams(*(bindparam(key, expanding=True) for key in dict.fromkeys(expanding))), values


def prepare(sql: str, parameters: Mapping[str, object], dialect: Dialect) -> tuple[TextClause, dict[str, object]]:
    """Return a query as a statement with its values; parameters that it does not name are left out.

    Raises:
        ParameterMissing: the query names a parameter that is not given.
        ParameterInvalid: a name stands in quotes, or a value cannot be bound where its name stands.
        CommentOpen: a comment has no end.
    """
    if (place := open_comment_of(sql, GRAMMARS.get(dialect.name))) is not None:
        raise CommentOpen(place)
    query = Query.read(sql, GRAMMARS.get(dialect.name, STANDARD))
    for problem in query.in_quotes():
        raise ParameterInvalid(problem)
    if missing := [name for name in query.names if name not in parameters]:
        raise ParameterMissing(missing=missing, given=list(parameters))
    for problem in [*query.misused(parameters), *_for_driver(query, parameters, dialect)]:
        raise ParameterInvalid(problem)
    return query.bound(parameters, dialect)


def open_comment_of(sql: str, grammar: Grammar | None = None) -> tuple[int, int] | None:
    """Return line and column, from 1, of a comment without end; None where there is none.

    Args:
        sql: the query.
        grammar: of its database; where it is not known, all must read it so.
    """
    first, *others = (
        open_comment(Query.read(sql, each).tokens, each) for each in (_OPPOSITES if grammar is None else (grammar,))
    )
    return first if all(other == first for other in others) else None


def begun_at(place: tuple[int, int]) -> str:
    """Return the words for where a comment without end begins."""
    line, column = place
    return f"/* in line {line}, column {column}; all that follows would be left out"


def names_of(sql: str) -> list[str]:
    """Return the names that want a value whichever database reads the query, in order."""
    first, *others = (Query.read(sql, grammar).names for grammar in _OPPOSITES)
    return [name for name in first if all(name in other for other in others)]


def problems_of(sql: str, parameters: Mapping[str, object]) -> list[Problem]:
    """Return what is wrong with a query's names whichever database reads it: its dialect is not known yet."""
    readings = [Query.read(sql, grammar) for grammar in _OPPOSITES]
    first, *others = ([*query.in_quotes(), *query.misused(parameters)] for query in readings)
    return [problem for problem in first if all(problem in other for other in others)]


def _mentions(pieces: Sequence[Token]) -> Iterator[Mention]:
    """Yield the names in code, with their use."""
    code = [(at, token) for at, token in enumerate(pieces) if token.kind not in {Kind.SPACE, Kind.COMMENT}]
    words = [token.text.casefold() if token.kind in {Kind.WORD, Kind.SIGN} else "" for _, token in code]
    opened: list[int] = []
    for index, (at, token) in enumerate(code):
        if words[index] == "(":
            opened.append(index)
        elif words[index] == ")" and opened:
            opened.pop()
        elif token.kind is Kind.NAME:
            use, brackets = _use(words, index, opened)
            yield Mention(token.text[1:], use, at, tuple(code[each][0] for each in brackets))


def _use(words: Sequence[str], index: int, opened: Sequence[int]) -> tuple[Use, tuple[int, ...]]:
    def word(at: int) -> str:
        return words[at] if 0 <= at < len(words) else ""

    is_alone = word(index - 1) == "(" and word(index + 1) == ")"
    if word(index - 1) == "in":
        return Use.IN, ()
    if is_alone and word(index - 2) == "in":
        return Use.IN, (index - 1, index + 1)
    for bracket in reversed(opened):
        if word(bracket + 1) in _QUERY_WORDS:
            break
        if word(bracket - 1) == "in":
            return Use.AMONG if bracket == opened[-1] else Use.WITHIN, ()
    if (is_alone and word(index - 2) in _ARRAY_WORDS) or word(index + 1) == "::":
        return Use.ARRAY, ()
    return Use.ELSEWHERE, ()


def _of_scalar(mention: Mention, value: object) -> tuple[str, str] | None:
    """Return what is wrong with one value where its name stands, and what to do."""
    if is_nan(value):
        return _NAN
    if mention.use is Use.IN and not mention.brackets and value is not None:
        return (
            f"its value is one {'text' if isinstance(value, str) else 'value'}, and IN without brackets needs a list",
            f"Give a list, or write = :{mention.name} for one value",
        )
    if mention.use is Use.IN and isinstance(value, str) and _LOOKS_LIKE_A_LIST.search(value):
        return (
            "its text looks like a list, and IN would take it for one value",
            f"Give a list, or write = :{mention.name} for one text",
        )
    if mention.use in {Use.IN, Use.AMONG} and value is None:
        return "it is None, and NULL in NOT IN finds nobody", "Give a value, or leave the condition out"
    return None


def _of_list(mention: Mention, values: Sequence[object]) -> tuple[str, str] | None:
    """Return what is wrong with a list where its name stands, and what to do."""
    if not values:
        return "its list is empty, which finds nobody, or everybody", "Give a value, or leave the condition out"
    parts = [part for each in values for part in (listed(each) or [each])]
    if any(map(is_nan, parts)):
        return _NAN
    if any(part is None for part in parts):
        return "its list holds None, and NULL in NOT IN finds nobody", "Leave None out of the list"
    if mention.use in {Use.AMONG, Use.WITHIN}:
        return (
            "its value is a list, and is in IN beside something else",
            f"Let it stand alone: IN (:{mention.name})",
        )
    return _of_list_in_in(values, len(parts)) if mention.use is Use.IN else None


def _of_list_in_in(values: Sequence[object], parts: int) -> tuple[str, str] | None:
    rows = [len(each) if isinstance(each, tuple) else -1 for each in values if listed(each) is not None]
    if rows and (len(rows) < len(values) or len({*rows}) > 1 or rows[0] < 1):
        return "its list holds lists", "Give one list of values; for rows of values tuples of one length"
    if parts > MAX_LISTED:
        return f"its list has {parts} values, more than {MAX_LISTED}", "Put them into a table of the warehouse"
    return None


def _for_driver(query: Query, parameters: Mapping[str, object], dialect: Dialect) -> Iterator[Problem]:
    """Yield what this database and its driver cannot bind."""
    takes_lists = dialect.name == "postgresql"
    for mention in query.mentions:
        value = parameters[mention.name]
        values = listed(value)
        if values is not None and mention.use is not Use.IN and not takes_lists:
            what = f"its value is a list, and only IN takes one on {dialect.name}"
            yield Problem(mention.name, what, f"Write IN (:{mention.name}), with nothing else in the brackets")
            continue
        binds: list[object] = [value] if values is None else values if mention.use is Use.IN else [values]
        if found := unbindable(binds, dialect):
            yield Problem(mention.name, *found)


def _escaped(match: re.Match[str]) -> str:
    """Return a colon that `text()` takes for a colon; an odd backslash before it is its author's escape."""
    backslashes = match.group(1)
    return match.group() if len(backslashes) % 2 else rf"{backslashes}\:"
