"""Thresholds from held-out lines: how sure the model must be of each language."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lid.config import TrainConfig
from lid.model import LanguageIdentifier


@dataclass(frozen=True)
class Calibration:
    """What the held-out lines say about a model."""

    thresholds: Mapping[str, float]
    """The score each class needs, in [0, 1]."""

    recall: Mapping[str, float]
    """Share of each class's held-out lines whose best class is right; nan without lines."""

    confusions: Counter[tuple[str, str]]
    """How often a class was taken for another."""


def calibrate(
    identifier: LanguageIdentifier, validation: Mapping[str, Sequence[str]], config: TrainConfig
) -> Calibration:
    """Choose for each class the highest threshold that keeps enough of its own lines.

    The threshold is the (1 - kept_share) quantile of the scores of its rightly identified lines,
    held between min_threshold and max_threshold; without any such line it is min_threshold.
    """
    thresholds: dict[str, float] = {}
    recall: dict[str, float] = {}
    confusions: Counter[tuple[str, str]] = Counter()
    for name, lines in validation.items():
        best = identifier.rank(lines)
        right = [prediction.score for prediction in best if prediction.language == name]
        confusions.update((name, other.language) for other in best if other.language != name)
        recall[name] = len(right) / len(lines) if lines else float("nan")
        wanted = float(np.quantile(right, 1 - config.kept_share)) if right else 0.0
        thresholds[name] = min(max(wanted, config.min_threshold), config.max_threshold)
    return Calibration(thresholds, recall, confusions)
