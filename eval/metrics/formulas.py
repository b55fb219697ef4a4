"""Scores of summed statistics, for many at once: chrF, BLEU and TER with sacrebleu's arithmetic.

Popović 2015 and 2017 for chrF and chrF++, Papineni et al. 2002 for BLEU; sacrebleu 2.6 for what
papers leave open: effective orders in chrF, `exp` smoothing and the stop at empty orders in BLEU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Integers = NDArray[Any]

_BETA_SQUARED = 4.0
_TOKEN_ORDER = 4


def expand_chrf(counts: Integers, references: Integers) -> NDArray[np.int64]:
    """Return sacrebleu's statistics of counts: hypothesis, reference, matches of each order.

    Args:
        counts: [..., N, 10], as `eval.metrics.counts.count_chrf` gives them.
        references: Characters and words of the references, [N, 2].

    Returns:
        [..., N, 24]: six orders of characters, two of words. chrF's are the first 18.
    """
    out = np.empty((*counts.shape[:-1], 24), np.int64)
    column = 0
    for own, theirs, first, order in ((0, 0, 1, 6), (7, 1, 8, 2)):
        for n in range(order):
            reference = np.maximum(references[:, theirs] - n, 0)
            hypothesis = np.maximum(counts[..., own] - n, 0)
            # sacrebleu counts no n-grams of an order that the reference lacks.
            out[..., column] = np.where(reference > 0, hypothesis, 0)
            out[..., column + 1] = reference
            out[..., column + 2] = counts[..., first + n]
            column += 3
    return out


def expand_bleu(counts: Integers, references: Integers) -> NDArray[np.int64]:
    """Return sacrebleu's statistics of counts: lengths, matches, n-grams of the hypothesis.

    Args:
        counts: [..., N, 5], as `eval.metrics.counts.count_bleu` gives them.
        references: Tokens of the references, [N, 1].

    Returns:
        [..., N, 10].
    """
    out = np.empty((*counts.shape[:-1], 10), np.int64)
    out[..., 0] = counts[..., 0]
    out[..., 1] = references[:, 0]
    out[..., 2:6] = counts[..., 1:]
    out[..., 6:10] = np.maximum(counts[..., :1] - np.arange(_TOKEN_ORDER), 0)
    return out


def chrf_scores(statistics: NDArray[Any]) -> Float64:
    """Return chrF (18 columns) or chrF++ (24) of each row of statistics, 0-100.

    Precision and recall are averaged over the orders that both sides have; F has beta 2.
    """
    values = np.asarray(statistics, np.float64)
    hypothesis, reference, matches = values[..., 0::3], values[..., 1::3], values[..., 2::3]
    effective = (hypothesis > 0) & (reference > 0)
    orders = np.maximum(effective.sum(axis=-1), 1)
    precision = _ratio_sum(matches, hypothesis, effective) / orders
    recall = _ratio_sum(matches, reference, effective) / orders
    below = _BETA_SQUARED * precision + recall
    above = 100 * (1 + _BETA_SQUARED) * precision * recall
    scores: Float64 = np.divide(above, below, out=np.zeros_like(below), where=below > 0)
    return scores


def bleu_scores(statistics: NDArray[Any], effective_order: bool = False) -> Float64:
    """Return BLEU-4 of each row of 10 statistics, 0-100, smoothed by `exp`.

    Args:
        statistics: [..., 10].
        effective_order: Leave out orders that the hypothesis is too short for, as one does for
            single sentences.
    """
    values = np.asarray(statistics, np.float64)
    own, reference = values[..., 0], values[..., 1]
    correct, total = values[..., 2:6], values[..., 6:10]
    there = np.logical_and.accumulate(total > 0, axis=-1)
    missed = there & (correct == 0)
    smoothing = 2.0 ** np.cumsum(missed, axis=-1)
    safe = np.where(there, total, 1.0)
    precision = np.where(missed, 100.0 / (smoothing * safe), 100.0 * correct / safe)
    logs = np.log(np.where(there, precision, 1.0)).sum(axis=-1)
    orders = there.sum(axis=-1)
    penalty = np.exp(np.minimum(0.0, 1.0 - reference / np.where(own > 0, own, 1.0)))
    value = penalty * np.exp(logs / np.maximum(orders, 1))
    enough = orders > 0 if effective_order else orders == _TOKEN_ORDER
    return np.where(enough & (correct.sum(axis=-1) > 0) & (own > 0), value, 0.0)


def ter_scores(statistics: NDArray[Any]) -> Float64:
    """Return TER of each row of edits and reference length, 0 upwards; lower is better."""
    values = np.asarray(statistics, np.float64)
    edits, length = values[..., 0], values[..., 1]
    ratio = np.divide(edits, length, out=np.where(edits > 0, 1.0, 0.0), where=length > 0)
    return 100.0 * ratio


def _ratio_sum(above: Float64, below: Float64, where: NDArray[np.bool_]) -> Float64:
    ratios = np.divide(above, below, out=np.zeros_like(above), where=where)
    total: Float64 = ratios.sum(axis=-1)
    return total
