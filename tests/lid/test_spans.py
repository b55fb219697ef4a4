"""Spans over a model of few words: what is a part, and where it begins and ends."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from lid.cli import group
from lid.engine.kernel import CHARACTERS, COUNTS, EMPTY, NO_LETTERS, SECOND, Answers
from lid.identifier import LanguageIdentifier
from lid.spans import SpanIdentifier, best_path

CLASSES = ["eng_Latn", "fra_Latn", "rus_Cyrl", "zxx"]
ENGLISH = "the water flows under small houses near green rivers"
FRENCH = "les maisons petites restent toujours sous une nuit verte"
RUSSIAN = "вода течёт под маленькими домами всегда"
KNOWN = {i: set(text.split()) for i, text in enumerate((ENGLISH, FRENCH, RUSSIAN))}


class ByWords:
    """Gives each class the share of a line's words that it knows; other words say nothing."""

    def identify(self, lines: Sequence[str], top: int = 1) -> Answers:
        scores = np.zeros((len(lines), len(CLASSES)), np.float32)
        counts = np.zeros((len(lines), COUNTS), np.int32)
        for row, line in enumerate(lines):
            has_letters = any(map(str.isalpha, line))
            counts[row, CHARACTERS] = len(line) if has_letters else NO_LETTERS if line else EMPTY
            if has_letters:
                words = line.split()
                scores[row, :3] = [
                    sum(word in known for word in words) + 0.01 for known in KNOWN.values()
                ]
                scores[row] /= scores[row].sum()
        labels = np.argsort(-scores, axis=1, kind="stable").astype(np.int32)
        counts[:, SECOND] = labels[:, 1]
        ranked = np.take_along_axis(scores, labels.astype(np.int64), 1)
        return Answers(labels[:, :top], ranked[:, :top], counts)


@pytest.fixture(scope="module")
def spans() -> SpanIdentifier:
    return SpanIdentifier(LanguageIdentifier(ByWords(), CLASSES, {}, {}))


def parts(spans: SpanIdentifier, line: str) -> list[tuple[str, str]]:
    return [(one.language, line[one.start : one.end]) for one in spans.identify_spans([line])[0]]


@pytest.mark.parametrize(
    "expected",
    [
        [("eng_Latn", ENGLISH)],
        [("eng_Latn", ENGLISH), ("fra_Latn", FRENCH)],
        [("rus_Cyrl", RUSSIAN), ("eng_Latn", ENGLISH), ("rus_Cyrl", RUSSIAN)],
    ],
)
def test_parts_begin_and_end_where_the_language_changes(
    spans: SpanIdentifier, expected: list[tuple[str, str]]
) -> None:
    line = "  ".join(text for _, text in expected)
    assert parts(spans, line) == expected
    assert parts(spans, f" {line} ") == expected


def test_few_words_of_another_language_are_no_part(spans: SpanIdentifier) -> None:
    line = f"{ENGLISH} les maisons petites {ENGLISH}"
    assert parts(spans, line) == [("eng_Latn", line)]


def test_capitalized_words_weigh_little(
    spans: SpanIdentifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = "les maisons petites restent toujours sous"
    both = f"{ENGLISH} {names}"
    assert [language for language, _ in parts(spans, both)] == ["eng_Latn", "fra_Latn"]
    monkeypatch.setitem(KNOWN, 1, KNOWN[1] | set(names.title().split()))
    line = f"{ENGLISH} {names.title()}"
    assert parts(spans, line) == [("eng_Latn", line)]


def test_line_without_words_has_one_span(spans: SpanIdentifier) -> None:
    assert spans.identify_spans([""]) == [[("und", 0.0, 0, 0)]]
    assert spans.identify_spans([" 12 345 "]) == [[("zxx", 1.0, 1, 7)]]
    assert spans.identify_spans([]) == []


@given(line=st.text(max_size=60))
def test_spans_of_any_text_are_in_order_and_inside_it(spans: SpanIdentifier, line: str) -> None:
    found = spans.identify_spans([line, ENGLISH])
    assert [one.language for one in found[1]] == ["eng_Latn"]
    ends = [0, *(place for one in found[0] for place in (one.start, one.end)), len(line)]
    assert ends == sorted(ends)


def test_best_path_pays_for_its_changes() -> None:
    # By hand: two words prefer each class by 3; changing gains 6 and staying costs nothing.
    scores = np.array([[0.0, -3.0], [0.0, -3.0], [-3.0, 0.0], [-3.0, 0.0]])
    assert best_path(scores, 5.9).tolist() == [0, 0, 1, 1]
    assert len(set(best_path(scores, 6.1).tolist())) == 1


def test_command_writes_where_each_part_begins_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identifier = LanguageIdentifier(ByWords(), CLASSES, {}, {})
    monkeypatch.setattr(LanguageIdentifier, "load", lambda *_, **__: identifier)
    arguments = ["identify", "--model", str(tmp_path), "--spans"]
    result = CliRunner().invoke(group, arguments, input=f"{ENGLISH} {RUSSIAN}\n\n")
    first, second = (line.split("\t") for line in result.stdout.splitlines())
    end = len(ENGLISH)
    assert [first[i] for i in (0, 2, 3, 4, 6, 7)] == [
        "eng_Latn", "0", str(end), "rus_Cyrl", str(end + 1), str(end + 1 + len(RUSSIAN)),
    ]  # fmt: skip
    assert second == ["und", "0.0000", "0", "0"]
