"""The languages of the parts of a line.

fastText's score of a text is linear in the mean of its n-gram vectors, and n-grams do not reach
across words: the scores of a text's words, weighted, add up to those of any stretch of it. So every
word is scored once, and the best way through the words is a Viterbi path in which a change of
language costs `CHANGE_COST`. Settings were chosen on FLORES-200 dev (docs/experiments.md).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import regex
from numpy.typing import NDArray

from corpus.languages import is_language, script_of
from corpus.protocols import Prediction
from corpus.protocols import Span as Span
from lid.engine.preparation import MAX_CHARACTERS, PIECE_CHARACTERS, UNSPACED
from lid.identifier import LanguageIdentifier

CHANGE_COST = 26.0
"""Log-probability, weighted by words, that a change of language must gain."""

CAPITALIZED_WEIGHT = 0.25
"""Weight of capitalized words: most splits of lines in one language were at foreign names."""

WEIGHTED_LETTERS = 8
"""A word's weight is the square root of its letters, of so many at most."""

LEAST_PROBABILITY, LEAST_AT_CHANGE = 1e-3, 1e-7
"""A class's probability for a word counts as at least this, lest a single word decide; the second
where only the place of a change is sought."""

MIN_WORDS = 5
"""A part has so many words if its neighbor is in the same script; shorter ones are mostly names."""

MIN_LETTERS = 8
"""Letters that any part has."""

_BATCH_LINES = 200
_NO_LANGUAGE_SCORE = -1e3

_WORD = regex.compile(rf"(?:{UNSPACED}\p{{M}}*+){{1,{PIECE_CHARACTERS}}}+|(?:(?!{UNSPACED})\S)+")
"""A word, or a piece of a text without spaces."""

Scores = NDArray[np.float64]


class _Part(NamedTuple):
    """Words from `start` to before `end`."""

    language: str
    start: int
    end: int


class _Line(NamedTuple):
    text: str
    words: list[tuple[int, int]]

    def part(self, part: _Part) -> str:
        if part.start == 0 and part.end == len(self.words):
            return self.text
        return self.text[self.words[part.start][0] : self.words[part.end - 1][1]]


class SpanIdentifier:
    """Finds the parts of lines that are in different languages."""

    def __init__(self, identifier: LanguageIdentifier) -> None:
        """Wrap an identifier."""
        self._identifier = identifier
        self._classes = identifier.classes
        self._special = np.array([not is_language(name) for name in self._classes])

    @property
    def languages(self) -> list[str]:
        """The languages that the model knows, sorted."""
        return self._identifier.languages

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        """Return one answer per line, as the identifier alone gives it."""
        return self._identifier.identify(lines)

    def identify_spans(self, lines: Sequence[str]) -> list[list[Span]]:
        """Return the parts of each line, one at least, in order.

        Of a line beyond 2,000 characters the first are looked at. Between parts there may be
        space; a line in one language has one part, from its first word to its last.
        """
        return [
            spans
            for start in range(0, len(lines), _BATCH_LINES)
            for spans in self._identify(lines[start : start + _BATCH_LINES])
        ]

    def _identify(self, texts: Sequence[str]) -> list[list[Span]]:
        cut = [text[:MAX_CHARACTERS] for text in texts]
        lines = [_Line(text, [match.span() for match in _WORD.finditer(text)]) for text in cut]
        parts = self._rank(lines, self._split(lines))
        parts = [_join_short(line, own) for line, own in zip(lines, parts, strict=True)]
        parts = self._rank(lines, parts)
        answers = iter(
            self._identifier.identify(
                [line.part(part) for line, own in zip(lines, parts, strict=True) for part in own]
            )
        )
        return [
            [Span(*next(answers), *_characters(line, part)) for part in own]
            for line, own in zip(lines, parts, strict=True)
        ]

    def _rank(self, lines: Sequence[_Line], parts: Sequence[Sequence[_Part]]) -> list[list[_Part]]:
        """Return parts with the best language of each as a whole; neighbors that agree join."""
        ranked = iter(
            self._identifier.rank(
                [line.part(part) for line, own in zip(lines, parts, strict=True) for part in own]
            )
        )
        return [
            _join_equal([part._replace(language=next(ranked).language) for part in own])
            for own in parts
        ]

    def _split(self, lines: Sequence[_Line]) -> list[list[_Part]]:
        """Return the parts of each line by the scores of its words."""
        words = [line.text[start:end] for line in lines for start, end in line.words]
        numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
        probabilities = self._identifier.probabilities(list(numbers)).astype(np.float64)
        weights = np.array([_weight(word) for word in numbers])
        if len(numbers):
            weights[probabilities.max(axis=1) == 0] = 0
        robust = np.log(np.maximum(probabilities, LEAST_PROBABILITY)) * weights[:, None]
        robust[:, self._special] = _NO_LANGUAGE_SCORE
        sharp = np.log(np.maximum(probabilities, LEAST_AT_CHANGE)) * weights[:, None]
        found = []
        rows = iter(numbers[word] for word in words)
        for line in lines:
            own = list(itertools.islice(rows, len(line.words)))
            found.append(self._split_line(robust[own], sharp[own]))
        return found

    def _split_line(self, robust: Scores, sharp: Scores) -> list[_Part]:
        if not len(robust):
            return [_Part("", 0, 0)]
        path = best_path(robust, CHANGE_COST)
        bounds = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)]
        labels = [int(path[start]) for start in bounds[:-1]]
        for i, (left, right) in enumerate(itertools.pairwise(labels), 1):
            # Where the left part ends, among all words of both: each keeps one at least.
            inside = slice(bounds[i - 1], bounds[i + 1] - 1)
            gain = np.cumsum(sharp[inside, left] - sharp[inside, right])
            bounds[i] = bounds[i - 1] + 1 + int(gain.argmax())
        return [
            _Part(self._classes[label], start, end)
            for label, (start, end) in zip(labels, itertools.pairwise(bounds), strict=True)
        ]


def best_path(scores: Scores, change_cost: float) -> NDArray[np.int64]:
    """Return the class of each word on the best path (Viterbi), where a change has a cost.

    Args:
        scores: Log-probability of each class for each word, [W, C], W at least 1.
        change_cost: What any change of class takes from the sum of the scores.
    """
    words, classes = scores.shape
    before = np.empty((words, classes), np.int32)
    own = np.arange(classes)
    total = scores[0].copy()
    for word in range(1, words):
        best = int(total.argmax())
        changed = total[best] - change_cost
        stays = total >= changed
        before[word] = np.where(stays, own, best)
        total = np.where(stays, total, changed) + scores[word]
    path = np.empty(words, np.int64)
    path[-1] = total.argmax()
    for word in range(words - 1, 0, -1):
        path[word - 1] = before[word, path[word]]
    return path


def _weight(word: str) -> float:
    letters = [character for character in word if character.isalpha()]
    if not letters:
        return 0.0
    weight = float(np.sqrt(min(len(letters), WEIGHTED_LETTERS)))
    return weight * CAPITALIZED_WEIGHT if letters[0].isupper() or letters[0].istitle() else weight


def _join_equal(parts: Sequence[_Part]) -> list[_Part]:
    joined = [parts[0]]
    for part in parts[1:]:
        if part.language == joined[-1].language:
            joined[-1] = joined[-1]._replace(end=part.end)
        else:
            joined.append(part)
    return joined


def _join_short(line: _Line, parts: list[_Part]) -> list[_Part]:
    """Join parts that are too short to a neighbor, the shortest first."""
    while len(parts) > 1:
        short = [i for i in range(len(parts)) if _is_short(line, parts, i)]
        if not short:
            break
        place = min(short, key=lambda i: _letters(line.part(parts[i])))
        other = _neighbor(parts, place)
        low, high = sorted((place, other))
        whole = _Part(parts[other].language, parts[low].start, parts[high].end)
        parts = _join_equal([*parts[:low], whole, *parts[high + 1 :]])
    return parts


def _is_short(line: _Line, parts: Sequence[_Part], place: int) -> bool:
    part = parts[place]
    if _letters(line.part(part)) < MIN_LETTERS or not is_language(part.language):
        return True
    neighbors = [parts[i] for i in (place - 1, place + 1) if 0 <= i < len(parts)]
    return part.end - part.start < MIN_WORDS and any(
        _script(other) == _script(part) for other in neighbors
    )


def _neighbor(parts: Sequence[_Part], place: int) -> int:
    """Return the neighbor a part joins: the one before, or one after that alone has its script."""
    before, after = place - 1, place + 1
    if before < 0:
        return after
    if after == len(parts) or _script(parts[before]) == _script(parts[place]):
        return before
    return after if _script(parts[after]) == _script(parts[place]) else before


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))


def _script(part: _Part) -> str:
    return script_of(part.language)


def _characters(line: _Line, part: _Part) -> tuple[int, int]:
    """Return where a part begins and ends in its line."""
    if not line.words:
        return 0, len(line.text)
    return line.words[part.start][0], line.words[part.end - 1][1]
