"""Text from outside on one line of a log, and as one word of a command."""

from __future__ import annotations

import subprocess

import pytest

from capillary.api.envelope import presentable
from capillary.api.outside_text import on_one_line, shell_word


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cb1.vip.0123", "cb1.vip.0123"),
        ("Prüfung läuft", "Prüfung läuft"),
        ("cb1.a\nERROR all is lost", r"cb1.a\nERROR all is lost"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("a\u2028b\u202ec", r"a\u2028b\u202ec"),
    ],
)
def test_what_does_not_print_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert on_one_line(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "cb1.vip.0123",
        "cb1.$(touch x)",
        "cb1.`touch x`; touch x",
        'it\'s \\ "quoted"',
        "--since",
        "",
        "cb1.a\nit's $(touch x)\\",
        "\x1b[2J\u2028é\U000e0001",
    ],
)
def test_a_shell_gives_a_word_back_as_it_was(text: str) -> None:
    word = shell_word(text)
    assert word.isprintable()
    command = ["bash", "-c", f"printf %s {word}"]
    echoed = subprocess.run(command, capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}, timeout=30)  # noqa: S603 - the text is the test's own
    assert echoed.stdout.decode() == text


def test_the_platforms_words_stay_on_one_line_and_command_no_terminal() -> None:
    assert presentable("no\nroom \x1b[31mhere\u202e", []) == r"no room \x1b[31mhere\u202e"
