"""What is cheap to know about a pair, as numbers that a classifier weighs."""

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from corpus.languages import Direction
from corpus.protocols import LanguageIdentifier
from corpus.renamed_identifier import RenamedIdentifier
from corpus.text import sentence_key
from mining.bitext.config import FilterConfig
from mining.bitext.numbers import number_agreement
from mining.bitext.pairs import trigram_overlap
from mining.search.margin import Float32

Float64 = npt.NDArray[np.float64]

VECTOR_FEATURES = ("margin", "cosine", "source_rival", "target_rival")
"""From embeddings: margin, cosine, and how much closer each side is to the other than to its best
rival."""

TEXT_FEATURES = ("length", "shortness", "numbers", "digits", "copy", "ending")
"""Length against the usual ratio, brevity, numbers and digits in common, common trigrams, and
whether both sides end alike."""

LANGUAGE_FEATURES = ("source_language", "target_language")
"""Probability that a side is in its language."""

FEATURES = (*VECTOR_FEATURES, *TEXT_FEATURES, *LANGUAGE_FEATURES)

_LENGTH_SLACK = 5
_ENDINGS = {
    mark: kind for kind, marks in enumerate(("?？؟;՞፧", "!！", ":：", "…")) for mark in marks
}
_CLOSING = frozenset({"Pe", "Pf", "Pi"})


class Rivals(NamedTuple):
    """A pair's similarity, and those of each side to the nearest others of the other language."""

    cosine: Float32
    """[P]"""

    source: Float32
    """Of the source to other targets, best first, [P, k]."""

    target: Float32
    """Of the target to other sources, best first, [P, k]."""


def vector_features(rivals: Rivals) -> Float64:
    """Return the features of `VECTOR_FEATURES`, [P, 4].

    The neighborhood of a side is its k nearest of the others and its partner, whether or not that
    is among the sentences that the others were found in: known pairs are measured as mined ones.
    """
    cosine = rivals.cosine.astype(np.float64)
    k = rivals.source.shape[1]
    means = [
        -np.sort(-np.column_stack([side, rivals.cosine]), axis=1)[:, :k].mean(axis=1)
        for side in (rivals.source, rivals.target)
    ]
    margin = cosine / np.maximum((means[0] + means[1]) / 2, 1e-3)
    gaps = [cosine - side[:, 0] for side in (rivals.source, rivals.target)]
    return np.column_stack([margin, cosine, *gaps])


def text_features(
    sources: Sequence[str], targets: Sequence[str], length_ratio: float, direction: Direction | None
) -> Float64:
    """Return the features of `TEXT_FEATURES`, [P, 6].

    Args:
        sources: [P]
        targets: [P]
        length_ratio: Median length of a target by that of its source.
        direction: The languages; some write numbers as words.
    """
    in_words = direction is not None and not set(direction).isdisjoint(
        FilterConfig.numbers_in_words
    )
    rows = []
    for source, target in zip(sources, targets, strict=True):
        ratio = (len(target) + _LENGTH_SLACK) / (len(source) + _LENGTH_SLACK)
        rows.append(
            (
                abs(math.log(ratio / length_ratio)),
                1.0 / math.log(math.e + min(len(source), len(target))),
                1.0 - number_agreement(source, target, one_side_may_have_none=in_words),
                1.0 - _digits_in_common(source, target),
                trigram_overlap(sentence_key(source), sentence_key(target)),
                float(_ending(source) != _ending(target)),
            )
        )
    return np.array(rows, np.float64).reshape(-1, len(TEXT_FEATURES))


def language_features(
    sides: tuple[Sequence[str], Sequence[str]],
    identifier: LanguageIdentifier | None,
    direction: Direction | None,
    config: FilterConfig,
) -> Float64:
    """Return the features of `LANGUAGE_FEATURES`, [P, 2]; ones where nothing can tell."""
    found = np.ones((len(sides[0]), 2))
    if identifier is None or direction is None:
        return found
    renamed = RenamedIdentifier(identifier, direction)
    for side, (texts, language) in enumerate(zip(sides, direction, strict=True)):
        accepted = config.sisters_of(language)
        for row, prediction in enumerate(renamed.identify(list(texts))):
            is_own = prediction.language in accepted
            found[row, side] = prediction.score if is_own else 1.0 - prediction.score
    return found


def _digits_in_common(source: str, target: str) -> float:
    """Return the share of all digits that both sides have, of the side with more; 1 for none."""
    left, right = (
        Counter(unicodedata.digit(one) for one in text if unicodedata.category(one) == "Nd")
        for text in (source, target)
    )
    most = max(left.total(), right.total())
    return (left & right).total() / most if most else 1.0


def _ending(text: str) -> int:
    """Return the kind of mark that a text ends with, before closing quotes and brackets, or -1."""
    for character in reversed(text[-4:]):
        if unicodedata.category(character) not in _CLOSING and character not in "\"' ":
            return _ENDINGS.get(character, -1)
    return -1
