"""Minimum Bayes risk: of some drawn translations, the one that is most like the others.

Eikema and Aziz 2020, "Is MAP Decoding All You Need?", with sentence-level chrF++ as the utility
(Popović 2017; sacrebleu's definition, without smoothing). A sentence's candidates share one table
of n-gram counts, so that a candidate is compared with all others at once.
"""

import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_CHARACTER_ORDER = 6
_WORD_ORDER = 2
_BETA_SQUARED = 4


def most_agreeing(texts: Sequence[str]) -> int:
    """Return the number of the text with the highest mean chrF++ against all; the first of equals.

    Args:
        texts: The candidates, one at least; one that was drawn twice counts twice.
    """
    times = Counter(texts)
    distinct = list(times)
    if len(distinct) == 1:
        return 0
    weights = np.array([times[text] for text in distinct], np.float64)
    utility = pairwise_chrf(distinct) @ weights
    return texts.index(distinct[int(utility.argmax())])


def pairwise_chrf(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return chrF++ of each text (row) against each as its reference (column), 0 to 100, [N, N]."""
    counted = [_ngrams(text) for text in texts]
    precision = np.zeros((len(texts), len(texts)))
    recall = np.zeros_like(precision)
    orders = np.zeros_like(precision)
    for order in range(_CHARACTER_ORDER + _WORD_ORDER):
        column: dict[str, int] = {}
        for counts in counted:
            for ngram in counts[order]:
                column.setdefault(ngram, len(column))
        table = np.zeros((len(texts), len(column)), np.int32)
        for row, counts in enumerate(counted):
            for ngram, times in counts[order].items():
                table[row, column[ngram]] = times
        matches = np.stack([np.minimum(row, table).sum(axis=1) for row in table])
        totals = table.sum(axis=1)
        both = (totals[:, None] > 0) & (totals[None, :] > 0)
        precision += np.divide(matches, totals[:, None], where=both, out=np.zeros(both.shape))
        recall += np.divide(matches, totals[None, :], where=both, out=np.zeros(both.shape))
        orders += both
    orders = np.maximum(orders, 1)
    precision, recall = precision / orders, recall / orders
    divisor = _BETA_SQUARED * precision + recall
    score = 100 * (1 + _BETA_SQUARED) * precision * recall
    return np.divide(score, divisor, where=divisor > 0, out=np.zeros_like(score))


def _ngrams(text: str) -> list[Counter[str]]:
    """Return counts of the n-grams of each order, characters and then words."""
    characters = "".join(text.split())
    words = [word for token in text.split() for word in _split_punctuation(token)]
    return [
        Counter(characters[i : i + n] for i in range(len(characters) - n + 1))
        for n in range(1, _CHARACTER_ORDER + 1)
    ] + [
        Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
        for n in range(1, _WORD_ORDER + 1)
    ]


def _split_punctuation(word: str) -> list[str]:
    """Cut off one mark, at the end rather than at the beginning, as chrF++ does."""
    if len(word) > 1 and word[-1] in string.punctuation:
        return [word[:-1], word[-1]]
    if len(word) > 1 and word[0] in string.punctuation:
        return [word[0], word[1:]]
    return [word]
