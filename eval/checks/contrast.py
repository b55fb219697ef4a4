"""Contrast sets: which of two versions of a sentence a system writes, as in gender and register.

A set is a TSV with the columns `source`, `right`, `wrong` and, if wanted, `group`. As MT-GenEval
(Currey et al. 2022) does it, only the words that one version has and the other lacks count: a
translation is wrong with any word that only the wrong version has, right with one that only the
right version has, and else undecided.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Literal, NamedTuple

import regex

from corpus.errors import DataError
from corpus.text import UNSPACED_SCRIPTS, normalize
from eval.tables import read_rows

Outcome = Literal["right", "wrong", "undecided"]
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}'’]+")


class Pair(NamedTuple):
    """A row of a contrast set."""

    source: str
    right: str
    wrong: str
    group: str
    """Empty where the set has none."""


class Preference(NamedTuple):
    """What a system wrote, in one group or over all."""

    group: str
    """`all` for all."""
    n: int
    right: int
    wrong: int
    undecided: int
    accuracy: float | None
    """right / (right + wrong)."""
    low: float | None
    high: float | None


def read_pairs(path: Path) -> list[Pair]:
    """Read a contrast set.

    Raises:
        UserError: If it does not exist.
        DataError: If a column is missing, or the versions of a row do not differ in any word.
    """
    pairs = []
    for number, cells in read_rows(path, ["source", "right", "wrong"]):
        pair = Pair(cells["source"], cells["right"], cells["wrong"], cells.get("group", ""))
        if normalize(pair.right).casefold() == normalize(pair.wrong).casefold():
            raise DataError(f"{path}:{number}: `right` and `wrong` are the same")
        pairs.append(pair)
    if not pairs:
        raise DataError(f"{path} has a header and no rows")
    return pairs


def judge(hypothesis: str, pair: Pair, target: str) -> Outcome:
    """Return which version a translation follows."""
    ours, right, wrong = (_units(text, target) for text in (hypothesis, pair.right, pair.wrong))
    if ours & (wrong - right):
        return "wrong"
    return "right" if ours & (right - wrong) else "undecided"


def _units(text: str, target: str) -> set[str]:
    """Return the words of a text, or its pairs of characters in scripts without spaces."""
    plain = normalize(text).casefold()
    if target[4:8] in UNSPACED_SCRIPTS:
        letters = "".join(_WORD.findall(plain))
        return {letters[start : start + 2] for start in range(max(1, len(letters) - 1))}
    return set(_WORD.findall(plain))


def count_outcomes(
    pairs: Sequence[Pair], outcomes: Sequence[Outcome], confidence: float
) -> list[Preference]:
    """Return the counts over all rows and, where the set has groups, of each."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for pair, outcome in zip(pairs, outcomes, strict=True):
        groups["all"].append(outcome)
        if pair.group:
            groups[pair.group].append(outcome)
    return [_count(group, own, confidence) for group, own in groups.items()]


def _count(group: str, outcomes: Sequence[Outcome], confidence: float) -> Preference:
    right, wrong = outcomes.count("right"), outcomes.count("wrong")
    decided = right + wrong
    low, high = wilson(right, decided, confidence) if decided else (None, None)
    return Preference(
        group, len(outcomes), right, wrong, outcomes.count("undecided"),
        right / decided if decided else None, low, high,
    )  # fmt: skip


def wilson(count: int, n: int, confidence: float) -> tuple[float, float]:
    """Return Wilson's (1927) interval of a share, count of n, n above 0."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = count / n
    middle = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
