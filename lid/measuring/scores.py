"""Scores of an identifier's answers, of one model or of two, from counts of lines.

The comparison's tests: McNemar 1947 over lines, in its exact form, and approximate randomization
of the difference in macro-F1 (Riezler and Maxwell 2005).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lid.config import group_codes

Confusions = Counter[tuple[str, str]]
"""Lines by (language, answer)."""

PairedAnswers = Counter[tuple[str, str, str]]
"""Lines by (language, answer of the first model, answer of the second)."""

Counts = NDArray[np.float64]

_BLOCK_CELLS = 2_000_000  # trials × kinds of lines held at once
_TOLERANCE = 1e-12  # differences this close are equal but for rounding


def score_languages(
    answers: Mapping[tuple[str, str], int], languages: Iterable[str]
) -> dict[str, dict[str, float | int]]:
    """Return f1, precision, recall, false-positive rate and n of each language.

    precision = right / answered, recall = right / n, fpr = wrongly answered / lines of others;
    a ratio over nothing is 0.
    """
    lines: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    for (language, answer), count in answers.items():
        lines[language] += count
        answered[answer] += count
    total = lines.total()
    scores: dict[str, dict[str, float | int]] = {}
    for language in languages:
        right = answers.get((language, language), 0)
        wrong = answered[language] - right
        both = answered[language] + lines[language]
        others = total - lines[language]
        scores[language] = {
            "f1": 2 * right / both if both else 0.0,
            "precision": right / answered[language] if answered[language] else 0.0,
            "recall": right / lines[language] if lines[language] else 0.0,
            "fpr": wrong / others if others else 0.0,
            "n": lines[language],
        }
    return scores


def micro_f1(answers: Confusions, languages: Sequence[str]) -> float:
    """Return 2 · right / (lines + lines answered with one of the languages), all together."""
    right = sum(answers[language, language] for language in languages)
    tested = set(languages)
    answered = sum(count for (_, answer), count in answers.items() if answer in tested)
    return 2 * right / (answers.total() + answered)


def merge_groups(
    answers: Confusions, languages: Sequence[str], groups: Sequence[str]
) -> dict[str, Any]:
    """Return macro_f1 and macro_fpr with each group as one language, and the groups' own F1."""
    names = {code: group for group in groups for code in group_codes(group)}
    merged: Confusions = Counter()
    for (language, answer), count in answers.items():
        merged[names.get(language, language), names.get(answer, answer)] += count
    members = Counter(names.get(language, language) for language in languages)
    scores = score_languages(merged, members)
    return {
        "macro_f1": mean_score(scores, "f1"),
        "macro_fpr": mean_score(scores, "fpr"),
        "languages": len(members),
        "groups": {name: scores[name]["f1"] for name, count in members.items() if count > 1},
    }


def mean_score(languages: Mapping[str, Mapping[str, float | int]], key: str) -> float:
    """Return the mean of a score over languages."""
    return sum(scores[key] for scores in languages.values()) / len(languages)


def compare(
    answers: PairedAnswers, languages: Sequence[str], trials: int, seed: int
) -> dict[str, Any]:
    """Compare two models on the same lines.

    Args:
        answers: Lines by language and both models' answers.
        languages: The languages of those lines.
        trials: Trials of `randomization_p_value`.
        seed: Its seed.

    Returns:
        `macro_f1` of the first model, `other_macro_f1`, `difference` (first less second); the
        lines that only one gets right, with `mcnemar_p`; `randomization_p` of the difference;
        under `languages` f1, other_f1 and difference of each.
    """
    own: Confusions = Counter()
    other: Confusions = Counter()
    only_own = only_other = 0
    for (language, first, second), count in answers.items():
        own[language, first] += count
        other[language, second] += count
        only_own += count * (first == language != second)
        only_other += count * (second == language != first)
    scores, other_scores = score_languages(own, languages), score_languages(other, languages)
    macro, other_macro = mean_score(scores, "f1"), mean_score(other_scores, "f1")
    return {
        "lines": answers.total(),
        "macro_f1": macro,
        "other_macro_f1": other_macro,
        "difference": macro - other_macro,
        "only_right": only_own,
        "only_other_right": only_other,
        "mcnemar_p": mcnemar_p_value(only_own, only_other),
        "randomization_p": randomization_p_value(answers, languages, trials, seed),
        "trials": trials,
        "languages": {
            code: {
                "f1": scores[code]["f1"],
                "other_f1": other_scores[code]["f1"],
                "difference": scores[code]["f1"] - other_scores[code]["f1"],
            }
            for code in languages
        },
    }


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of McNemar's test.

    Of n lines that only one model gets right, each is as likely to be either's:
    p = min(1, 2 · sum over k ≤ min of C(n, k) / 2^n). The sum goes down from its largest term,
    relative to it; that term's logarithm keeps thousands of lines from underflowing early.
    """
    total, least = only_first + only_second, min(only_first, only_second)
    if 2 * least >= total:
        return 1.0
    log_largest = (
        math.lgamma(total + 1)
        - math.lgamma(least + 1)
        - math.lgamma(total - least + 1)
        - total * math.log(2)
    )
    term = relative = 1.0
    for k in range(least, 0, -1):
        term *= k / (total - k + 1)
        relative += term
        if term < relative * 1e-17:
            break
    return min(1.0, 2 * math.exp(log_largest + math.log(relative)))


def randomization_p_value(
    answers: PairedAnswers, languages: Sequence[str], trials: int, seed: int
) -> float:
    """Return the two-sided p-value of the difference in macro-F1.

    Each trial swaps the two models' answers to a random half of the lines. Macro-F1 knows lines
    by language and answers only, so the swapped ones among n lines of one kind are drawn at once,
    binomial with n and 1/2. p = (1 + trials with at least the observed difference) / (1 + trials).
    """
    kinds = [kind for kind in answers if kind[1] != kind[2]]
    if not kinds:
        return 1.0
    place = {code: index for index, code in enumerate(languages)}
    size = len(languages)
    lines, right, answered = np.zeros(size), np.zeros((2, size)), np.zeros((2, size))
    for (language, *both), number in answers.items():
        lines[place[language]] += number
        for model, answer in enumerate(both):
            right[model, place[language]] += number * (answer == language)
            if answer in place:
                answered[model, place[answer]] += number
    count = np.array([answers[kind] for kind in kinds])
    # Answers outside the languages fall into one more place, which `_sum_by` drops.
    truth, first, second = (
        np.array([place.get(kind[i], size) for kind in kinds]) for i in range(3)
    )
    gained = (truth == second).astype(np.int64) - (truth == first)
    observed = abs(
        _macro_f1(right[0], answered[0], lines) - _macro_f1(right[1], answered[1], lines)
    )
    generator = np.random.default_rng(seed)
    block = max(1, _BLOCK_CELLS // len(kinds))
    extreme = 0
    for start in range(0, trials, block):
        swapped = generator.binomial(count, 0.5, (min(block, trials - start), len(kinds)))
        more_right = _sum_by(truth, swapped * gained, size)
        more_answered = _sum_by(second, swapped, size) - _sum_by(first, swapped, size)
        own = _macro_f1(right[0] + more_right, answered[0] + more_answered, lines)
        other = _macro_f1(right[1] - more_right, answered[1] - more_answered, lines)
        extreme += int((np.abs(own - other) >= observed - _TOLERANCE).sum())
    return (1 + extreme) / (1 + trials)


def _macro_f1(right: Counts, answered: Counts, lines: Counts) -> Counts:
    """Return the mean over the last axis, languages, of 2 · right / (lines + answered)."""
    means: Counts = (2 * right / np.maximum(lines + answered, 1)).mean(axis=-1)
    return means


def _sum_by(place: NDArray[np.int64], values: NDArray[np.int64], size: int) -> Counts:
    """Sum each row's values, [T, K], by the place of their column, [K]; return [T, size]."""
    cells = np.arange(len(values))[:, None] * (size + 1) + place
    weights = values.ravel().astype(np.float64)
    sums = np.bincount(cells.ravel(), weights, len(values) * (size + 1)).astype(np.float64)
    return sums.reshape(len(values), size + 1)[:, :size]
