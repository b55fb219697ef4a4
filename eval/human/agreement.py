"""Agreement of annotators: Krippendorff's alpha (Krippendorff 2011, Computing alpha-reliability).

alpha = 1 - observed / expected disagreement, over all pairs of values that different annotators
gave to one item; items with one value pair nothing. Missing values need no special care.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Level = Literal["nominal", "ordinal", "interval"]
Floats = NDArray[np.float64]


class Coincidences:
    """How often values meet in one item, item by item."""

    def __init__(self, items: Sequence[Sequence[float]]) -> None:
        """Count the values of each item.

        Args:
            items: For each item, the values that its annotators gave, in any order.
        """
        paired = [values for values in items if len(values) > 1]
        self.values: Floats = np.unique(np.concatenate([*map(np.asarray, paired), np.empty(0)]))
        self._counts = np.zeros((len(paired), len(self.values)))
        for row, values in zip(self._counts, paired, strict=True):
            np.add.at(row, np.searchsorted(self.values, values), 1.0)

    @property
    def items(self) -> int:
        """How many items have at least two values."""
        return len(self._counts)

    def alpha(self, level: Level, weights: Floats | None = None) -> float | None:
        """Return alpha; None where all values are equal, or there is no pair.

        Args:
            level: How values are compared: equal or not, by rank, or by difference.
            weights: How often each item counts, [items]; a bootstrap sample.
        """
        weights = np.ones(self.items) if weights is None else weights
        kept = self._counts * weights[:, None]
        sizes = self._counts.sum(axis=1)
        # Pairs within an item, each item counting as many values as it has.
        scale = weights / np.maximum(sizes - 1, 1)
        together = (self._counts * scale[:, None]).T @ self._counts
        together[np.diag_indices_from(together)] -= (self._counts * scale[:, None]).sum(axis=0)
        margins = kept.sum(axis=0)
        distance = _distances(level, self.values, margins)
        expected = float(margins @ distance @ margins)
        if expected == 0:
            return None
        return 1 - (float(margins.sum()) - 1) * float((together * distance).sum()) / expected

    def interval(
        self, level: Level, trials: int, seed: int, confidence: float
    ) -> tuple[float, float] | None:
        """Return the percentile bootstrap interval of alpha over items."""
        if self.items < 2:
            return None
        generator = np.random.default_rng(seed)
        found = []
        for _ in range(trials):
            drawn = generator.integers(0, self.items, self.items)
            value = self.alpha(level, np.bincount(drawn, minlength=self.items).astype(np.float64))
            if value is not None:
                found.append(value)
        return percentile_interval(found, confidence)


def percentile_interval(
    values: Sequence[float] | Floats, confidence: float
) -> tuple[float, float] | None:
    """Return the interval that holds the middle share `confidence` of bootstrap values."""
    if not len(values):
        return None
    tail = 50 * (1 - confidence)
    low, high = np.percentile(np.asarray(values), [tail, 100 - tail])
    return float(low), float(high)


def _distances(level: Level, values: Floats, margins: Floats) -> Floats:
    """Return the squared difference of each two values, [V, V]."""
    if level == "nominal":
        return 1.0 - np.eye(len(values))
    if level == "interval":
        return np.asarray((values[:, None] - values[None, :]) ** 2)
    # By rank: how many values lie between, half of each end included.
    middle = np.cumsum(margins) - margins / 2
    return np.asarray((middle[:, None] - middle[None, :]) ** 2)
