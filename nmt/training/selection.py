"""The scores of updates: which one becomes the model, and when training stops.

A score is the mean of a validation over directions. Where a training replays directions of the
model that it started from, the mean is that of the other directions, and what the replayed ones
lost against the start counts as far as it is more than is allowed: the best update is the one that
learned the most among those that forgot little enough, or else the one that forgot the least.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from corpus.languages import Direction
from nmt.data.tokenize import DirectionPairs
from nmt.training.curves import Curves, mean_scores
from nmt.training.sections import SelectionConfig

_NLL_OF_CHRF = 0.02
"""Negative log-likelihood per token that goes with a point of chrF++."""

_OUTWEIGHS = 1e4
"""Factor of what is lost beyond the limit: more than any score differs from another."""


@dataclass(frozen=True)
class UpdateScores:
    """Scores updates by their validation."""

    config: SelectionConfig
    replayed: frozenset[str]
    """Directions whose pairs are all replayed; none where there is nothing else to select by."""

    @property
    def needs_start(self) -> bool:
        """Whether the start has to be validated, too."""
        return bool(self.replayed) and self.config.needs_validation

    def of(self, curves: Curves) -> list[tuple[int, float]]:
        """Return updates with their scores, higher is better; the start is none of them."""
        score = self.config.score
        learned = mean_scores(curves, score, lambda direction: direction not in self.replayed)
        learned = [(update, value) for update, value in learned if update > 0]
        if not self.replayed:
            return learned
        kept = dict(mean_scores(curves, score, self.replayed.__contains__))
        begin = kept.get(0, math.inf)
        return [(u, value - _OUTWEIGHS * self._excess(begin, kept[u])) for u, value in learned]

    def _excess(self, begin: float, now: float) -> float:
        """Return what replayed directions lost beyond the limit; 0 where the start is unknown."""
        limit = self.config.max_loss * (1.0 if self.config.score == "chrf++" else _NLL_OF_CHRF)
        return max(begin - now - limit, 0.0) if math.isfinite(begin) else 0.0


def update_scores(
    config: SelectionConfig,
    pairs: Mapping[Direction, DirectionPairs],
    measured: Callable[[Direction], bool],
) -> UpdateScores:
    """Return what scores the updates of a training.

    Args:
        config: The selection.
        pairs: What is trained.
        measured: Whether the score of a direction is measured.
    """
    learned = learned_directions(pairs)
    replayed = {str(d) for d in pairs if measured(d) and d not in learned}
    return UpdateScores(config, frozenset(replayed if any(map(measured, learned)) else ()))


def learned_directions(pairs: Mapping[Direction, DirectionPairs]) -> list[Direction]:
    """Return the directions that have other pairs than replayed ones."""
    return [direction for direction, own in pairs.items() if len(own.of(is_replay=False))]
