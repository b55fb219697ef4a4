"""Calibration: temperature scaling of probabilities, and thresholds of answers.

Temperature scaling (Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 4.2) divides the
logits by one number chosen on held-out lines. fastText's logits are linear in its class vectors,
so these are divided instead and every reader of the model gets the tempered probabilities.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.console import Progress
from lid.config import CalibrationConfig, group_codes
from lid.directory import SPECIAL_CLASSES, Threshold
from lid.identifier import LanguageIdentifier

BINS = 15
"""Bins of the expected calibration error (Guo et al. 2017)."""

_LOWEST_TEMPERATURE, _HIGHEST_TEMPERATURE = 0.2, 5.0
_SEARCH_STEPS = 40
_TINY = 1e-12
_FEW_LINES = 50
"""Classes with fewer held-out lines count less, lest one line speak for a whole language."""


@dataclass(frozen=True)
class HeldOut:
    """Probabilities of held-out lines."""

    probabilities: NDArray[np.float32]
    """[N, C]."""

    truth: NDArray[np.int64]
    """Class number of each line, [N]."""

    weights: NDArray[np.float64]
    """Weight of each line: every language with enough lines counts the same, [N]."""

    classes: Sequence[str]

    @property
    def best(self) -> NDArray[np.int64]:
        """Number of the most probable class of each line, [N]."""
        return np.asarray(self.probabilities.argmax(axis=1))

    def count_answers(self) -> Counter[tuple[str, str]]:
        """Count the lines by class and best class."""
        pairs = zip(self.truth.tolist(), self.best.tolist(), strict=True)
        return Counter((self.classes[true], self.classes[answer]) for true, answer in pairs)


def predict_held_out(identifier: LanguageIdentifier, lines: Mapping[str, Sequence[str]]) -> HeldOut:
    """Return the model's probabilities of labeled lines; classes without lines are left out."""
    classes = list(dict.fromkeys(identifier.classes))
    numbers = {name: number for number, name in enumerate(classes)}
    # Several labels of an imported model may have one answer: their probabilities add up.
    gather = np.zeros((len(identifier.classes), len(classes)), np.float32)
    for row, name in enumerate(identifier.classes):
        gather[row, numbers[name]] = 1
    parts, truth, weights = [], [], []
    with Progress(len(lines), "predicting", "classes") as progress:
        for name, own in lines.items():
            if own and name in numbers:
                parts.append(identifier.probabilities(own) @ gather)
                truth += [numbers[name]] * len(own)
                weights += [1 / max(len(own), _FEW_LINES)] * len(own)
            progress.update()
    return HeldOut(
        np.concatenate(parts) if parts else np.zeros((0, len(classes)), np.float32),
        np.array(truth, np.int64),
        np.array(weights) / max(sum(weights), _TINY),
        classes,
    )


def _logits(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return logarithms; -inf for classes that were left out because of their script."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(probabilities.astype(np.float64)))


def choose_temperature(held: HeldOut) -> float:
    """Return the temperature with the least negative log-likelihood, in [0.2, 5]."""
    if not len(held.truth):
        return 1.0
    logits = _logits(held.probabilities)
    logits[np.arange(len(logits)), held.truth] = np.maximum(
        logits[np.arange(len(logits)), held.truth], math.log(_TINY)
    )

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        highest = scaled.max(axis=1)
        whole = highest + np.log(np.exp(scaled - highest[:, None]).sum(axis=1))
        right = scaled[np.arange(len(scaled)), held.truth]
        return float(((whole - right) * held.weights).sum())

    return math.exp(_minimize(loss, math.log(_LOWEST_TEMPERATURE), math.log(_HIGHEST_TEMPERATURE)))


def _minimize(function: Callable[[float], float], low: float, high: float) -> float:
    """Return the minimum of a unimodal function by golden-section search."""
    golden = (math.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(_SEARCH_STEPS):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = function(right)
    return (low + high) / 2


@dataclass(frozen=True)
class Reliability:
    """How far confidence is from accuracy."""

    ece: float
    """Expected calibration error: mean distance of confidence and accuracy over the bins."""

    bins: Sequence[Mapping[str, float]]
    """`confidence`, `accuracy` and `n` of each bin with lines."""


def measure_reliability(held: HeldOut) -> Reliability:
    """Compare the probability of the best class with its accuracy, bin by bin."""
    if not len(held.truth):
        return Reliability(float("nan"), [])
    best = held.best
    confidence = held.probabilities[np.arange(len(best)), best]
    right = best == held.truth
    number = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins: list[Mapping[str, float]] = []
    error = 0.0
    for bin_number in range(BINS):
        inside = number == bin_number
        share = float(held.weights[inside].sum())
        if share > 0:
            weights = held.weights[inside] / share
            mean = float((confidence[inside] * weights).sum())
            accuracy = float((right[inside] * weights).sum())
            error += share * abs(mean - accuracy)
            bins.append({"confidence": mean, "accuracy": accuracy, "n": int(inside.sum())})
    return Reliability(error, bins)


def choose_thresholds(held: HeldOut, config: CalibrationConfig) -> dict[str, Threshold]:
    """Choose for each class the lowest score from which its answers reach the target precision.

    Precision counts every true class the same, however many lines it has here, and an answer from
    the line's own group as right. Scores are held between min_threshold and max_threshold; a class
    that never reaches the target needs max_threshold, one that reaches it with all its answers,
    or has none, min_threshold.
    """
    best = held.best
    confidence = held.probabilities[np.arange(len(best)), best]
    names = {code: group for group in config.groups for code in group_codes(group)}
    group_of = np.array([names.get(name, name) for name in held.classes])
    thresholds = {}
    for number, name in enumerate(held.classes):
        mine = np.flatnonzero(best == number)
        order = mine[np.argsort(-confidence[mine], kind="stable")]
        score = config.min_threshold
        if len(order):
            weights = held.weights[order]
            precision = np.cumsum(
                weights * (group_of[held.truth[order]] == group_of[number])
            ) / np.cumsum(weights)
            reached = np.flatnonzero(precision >= config.target_precision)
            last = int(reached[-1]) if len(reached) else -1
            if last < 0:
                score = 1.0
            elif last < len(order) - 1:
                score = float(confidence[order[last]])
        least = float("-inf") if name in SPECIAL_CLASSES else config.min_familiarity
        thresholds[name] = Threshold(
            min(max(score, config.min_threshold), config.max_threshold), least
        )
    return thresholds


def choose_familiarity(
    identifier: LanguageIdentifier, lines: Mapping[str, Sequence[str]], share: float
) -> dict[str, float]:
    """Return the familiarity of which a share of each language's own lines fall short.

    Only lines whose best class is their language count. With few of them, the need is drawn towards
    that of all languages.
    """
    found = {}
    for name, own in lines.items():
        if name not in SPECIAL_CLASSES:
            ranked = identifier.rank(own)
            found[name] = np.array([one.familiarity for one in ranked if one.language == name])
    whole = np.concatenate([np.zeros(0), *found.values()])
    if not len(whole):
        return {}
    usual = float(np.quantile(whole, share))
    return {
        name: (len(own) * float(np.quantile(own, share)) + _FEW_LINES * usual)
        / (len(own) + _FEW_LINES)
        for name, own in found.items()
        if len(own)
    }


def trace_thresholds(held: HeldOut) -> list[dict[str, float]]:
    """Return for thresholds from 0 to .99 what is kept and how precise that is."""
    if not len(held.truth):
        return []
    best = held.best
    confidence = held.probabilities[np.arange(len(best)), best]
    right = best == held.truth
    curve = []
    for threshold in (*np.arange(0, 1, 0.05).round(2).tolist(), 0.99):
        kept = confidence >= threshold
        share = float(held.weights[kept].sum())
        precise = float(held.weights[kept & right].sum()) / share if share else 1.0
        curve.append({"threshold": threshold, "kept": share, "precision": precise})
    return curve
