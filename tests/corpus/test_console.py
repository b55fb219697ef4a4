"""Tables on a terminal: columns are aligned by what is shown, in any script."""

import pytest

from corpus.console import format_table

FIRST_STRONG, POP = "\u2068", "\u2069"


def test_wide_and_combining_characters_are_counted_as_a_terminal_shows_them() -> None:
    rows = [["中文", 1], ["e\u0301cole", 2], ["plain", 30]]
    lines = format_table(["name", "n"], rows).split("\n")
    assert lines == ["name    n", "-----  --", "中文    1", "e\u0301cole   2", "plain  30"]


def test_right_to_left_text_is_isolated_on_a_terminal_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [["نظام", 1.5], ["ours", 2.5]]
    assert FIRST_STRONG not in format_table(["system", "score"], rows)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    lines = format_table(["system", "score"], rows).split("\n")
    assert lines[2] == f"{FIRST_STRONG}نظام{POP}    1.500"
    assert lines[3] == "ours    2.500"
