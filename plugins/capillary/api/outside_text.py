"""Text from outside, made harmless where a person reads it: in a log, an error, a command to copy."""

from __future__ import annotations

import shlex


def on_one_line(text: str) -> str:
    r"""Return the text with every character that does not print written as an escape, such as `\n` for a new line.

    A log line ends where the log's writer ends it, and a terminal obeys nothing that stands in it.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def shell_word(text: str) -> str:
    """Return the text as one word of a shell's command line: nothing in it is run, and it stays on one line.

    What does not print is written in the shell's own quoting with escapes, which bash, zsh and POSIX of 2024 read.
    """
    if text.isprintable():
        return shlex.quote(text)
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{''.join(map(_escaped_for_shell, quoted))}'"


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def _escaped_for_shell(character: str) -> str:
    return character if character.isprintable() else f"\\U{ord(character):08x}"
