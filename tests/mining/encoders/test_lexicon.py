"""IBM Model 1 on a handful of sentences."""

import numpy as np
import pytest

from mining.encoders.lexicon import Lexicon, learn_lexicon

NULL, HOUSE, BOOK, GREEN = 9, 1, 2, 3
THE_EN, HOUSE_EN, BOOK_EN, GREEN_EN = 100, 101, 102, 103
SOURCES = [[NULL, HOUSE], [NULL, BOOK], [NULL, GREEN, HOUSE], [NULL, GREEN, BOOK, BOOK]]
TARGETS = [
    [THE_EN, HOUSE_EN], [THE_EN, BOOK_EN], [THE_EN, GREEN_EN, HOUSE_EN],
    [THE_EN, GREEN_EN, BOOK_EN],
]  # fmt: skip


def best(lexicon: Lexicon, token: int) -> int:
    rows = np.flatnonzero(lexicon.source == token)
    return int(lexicon.target[rows[lexicon.probability[rows].argmax()]])


def test_words_find_their_translations_and_what_translates_nothing_goes_to_the_empty_word() -> None:
    lexicon = learn_lexicon(SOURCES, TARGETS, seed=1)
    found = {token: best(lexicon, token) for token in (NULL, HOUSE, BOOK, GREEN)}
    assert found == {NULL: THE_EN, HOUSE: HOUSE_EN, BOOK: BOOK_EN, GREEN: GREEN_EN}
    assert np.bincount(lexicon.source, weights=lexicon.probability)[[1, 2, 3, 9]] == pytest.approx(
        1
    )


def test_two_rounds_of_expectation_are_those_by_hand() -> None:
    # Pairs "a b" - "x y" and "a" - "x". Round 1: of x in pair 1 a and b have half each, of y too,
    # and of x in pair 2 a has all: counts ax 1.5, ay .5, bx .5, by .5.
    # Round 2, from p(x|a) .75, p(y|a) .25, p(x|b) .5, p(y|b) .5: of x a has .6, of y 1/3.
    lexicon = learn_lexicon([[1, 2], [1]], [[5, 6], [5]], seed=1, iterations=2)
    found = {(row[0], row[1]): row[2] for row in zip(*lexicon, strict=True)}
    assert found[1, 5] == pytest.approx(1.6 / (1.6 + 1 / 3))
    assert found[2, 5] == pytest.approx(0.4 / (0.4 + 2 / 3))


def test_pairs_beyond_the_limit_are_not_read() -> None:
    lexicon = learn_lexicon(SOURCES, TARGETS, seed=1, max_links=1)
    assert len(np.unique(lexicon.source)) <= 3
