"""Lines of a language in text that an identifier labeled which does not know it.

The identifier takes the new language for its relatives: of what it labeled Slovak, four fifths may
be Czech. The language's own lines are found by naive Bayes with expectation-maximization (Nigam et
al. 2000, section 5), hard assignments: models of character 5-grams of the new language, at first of
known text only, and of each label; each line goes to the likelier of its label and the new
language; the models are counted again, until next to nothing moves. A line is left out of the
counts that it is judged by: otherwise each is likeliest where it is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lid.engine.familiarity import hash_lines

logger = logging.getLogger(__name__)

_BITS = 18
_SMOOTHING = 0.05
"""Added to the count of each of the 2^18 hashed 5-grams. From .02 to .1, with n-grams of up to 3, 4
or 5, 46 to 49 % of the Czech lines under other labels are found, and 98.4 to 99.1 % of those moved
are Czech (docs/experiments.md)."""

_MOST_ROUNDS = 30
_SETTLED = 0.001
"""Share of the lines of which no more move when it is done: a few go back and forth for ever."""


class _Lines:
    """The distinct 5-grams of some lines with their counts, and which lines are taken."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.number = len(lines)
        bits, rows, _, _ = hash_lines(lines, _BITS)
        keys, counts = np.unique((rows << _BITS) | bits, return_counts=True)
        self._bits, self._rows = keys & ((1 << _BITS) - 1), keys >> _BITS
        self._counts = counts.astype(np.float64)
        self.taken = np.zeros(len(lines), bool)

    def count(self, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return how often each hashed 5-gram occurs in the lines that are chosen, [2^bits]."""
        weights = self._counts * chosen[self._rows]
        return np.bincount(self._bits, weights, minlength=1 << _BITS).astype(np.float64)

    def log_likelihood(
        self, counts: NDArray[np.float64], counted: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return that of each line, [N]; lines that were counted are taken out of the counts."""
        others = counts[self._bits] - self._counts * counted[self._rows]
        total = counts.sum() + _SMOOTHING * (1 << _BITS)
        terms = self._counts * np.log((others + _SMOOTHING) / total)
        return np.bincount(self._rows, terms, minlength=self.number).astype(np.float64)


def find_own_lines(
    known: Sequence[str], labeled: Mapping[str, Sequence[str]]
) -> dict[str, NDArray[np.bool_]]:
    """Return which lines of each label are in the language of `known`.

    Args:
        known: Prepared lines of the language.
        labeled: Distinct prepared lines by label, of labels that the language may be taken for.
    """
    everything = {label: _Lines(lines) for label, lines in labeled.items()}
    given = _Lines(known)
    sure = given.count(np.ones(given.number, bool))
    for number in range(_MOST_ROUNDS):
        own = sure + sum(one.count(one.taken) for one in everything.values())
        moved = 0
        for one in everything.values():
            left = ~one.taken
            difference = one.log_likelihood(own, one.taken)
            difference -= one.log_likelihood(one.count(left), left)
            moved += int(np.count_nonzero((difference > 0) != one.taken))
            one.taken = difference > 0
        logger.info("round %d: %s lines moved", number + 1, f"{moved:,}")
        if moved <= _SETTLED * sum(one.number for one in everything.values()):
            break
    return {label: one.taken for label, one in everything.items()}
