import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.joined_lines import JoinedLines
from lid.engine.kernel import join_lines

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=9)


@given(TEXTS, st.integers(-12, 12), st.integers(-12, 12))
def test_lines_and_slices_are_those_of_a_list(lines: list[str], first: int, end: int) -> None:
    joined = JoinedLines.join(lines)
    assert list(joined) == lines
    assert [joined[number] for number in range(len(joined))] == lines
    assert list(joined[first:end]) == lines[first:end]
    assert list(joined[first:][:end]) == lines[first:][:end]
    assert [joined[-number] for number in range(1, len(lines) + 1)] == lines[::-1]


@given(TEXTS, TEXTS)
def test_lines_are_appended(first: list[str], second: list[str]) -> None:
    assert list(JoinedLines.join(first).append(JoinedLines.join(second))) == first + second


@given(TEXTS, st.integers(0, 9))
def test_the_identifier_gets_the_same_text(lines: list[str], first: int) -> None:
    text, bounds = join_lines(JoinedLines.join(lines)[first:])
    other_text, other = join_lines(lines[first:])
    parts = zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    other_parts = zip(other[:-1].tolist(), other[1:].tolist(), strict=True)
    assert [text[a:b] for a, b in parts] == [other_text[a:b] for a, b in other_parts]


def test_there_is_nothing_after_the_last_line() -> None:
    with pytest.raises(IndexError):
        JoinedLines.join(["a"])[1]
