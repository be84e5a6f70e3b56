"""No page and no text of a module uses a word that this project does not use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.plain_words import ROOT, UNUSED, modules, pages, texts_of, unused_words


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_in_plain_words(page: Path) -> None:
    assert unused_words(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("module", modules(), ids=lambda module: str(module.relative_to(ROOT)))
def test_a_modules_messages_and_docstrings_are_in_plain_words(module: Path) -> None:
    assert [(line, found) for line, text in texts_of(module) if (found := unused_words(text))] == []


def test_every_place_that_people_read_is_looked_at() -> None:
    names = {str(page.relative_to(ROOT)) for page in pages()}
    assert {"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/runbook.md"} <= names
    assert {module.relative_to(ROOT).parts[0] for module in modules()} == {
        "dags",
        "local_airflow",
        "plugins",
        "sandbox",
    }


@pytest.mark.parametrize(
    "sentence",
    [
        "it is planned anew",
        "the answer is no\n    JSON",
        "These are no ids",
        "the state is read meanwhile",
        "Of whom are they?",
        "if it shall wait",
        "Mean it, or use one token",
        "the connection broke off",
        "once and for ever",
        "what mends it",
        "26 deeds",
    ],
)
def test_a_word_that_is_not_used_is_found(sentence: str) -> None:
    assert len(unused_words(sentence)) == 1


@pytest.mark.parametrize(
    "sentence",
    [
        "there is no answer",
        "it is no longer there",
        "nothing is sent again",
        "an amendment",
        "indeed",
        "a recommended way",
    ],
)
def test_a_plain_sentence_passes(sentence: str) -> None:
    assert unused_words(sentence) == []


def test_a_message_is_read_as_it_is_printed(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('raise ValueError(f"row {row} " "is no "\n"id")\n', encoding="utf-8")
    [(line, text)] = texts_of(module)
    assert (line, text) == (1, "row … is no id")
    assert unused_words(text)


def test_every_word_has_another_in_its_place() -> None:
    assert all(instead.strip() for instead in UNUSED.values())
