"""The scores of updates: which one becomes the model, and when training stops.

A score is the mean of a validation over directions. Where a training replays directions of the
model that it started from, the mean is that of the other directions, and if it is chrF++, updates
whose replayed directions lost no more than is allowed come before all others: the best update is
the one that learned the most among those that forgot little enough, or among all if there are none.

Likelihood sets no limit: that of references falls as soon as replay trains towards the model's own
translations, on Multi30k by .3 to .4 per token after the first hundred updates.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from corpus.languages import Direction
from nmt.data.tokenize import DirectionPairs
from nmt.training.curves import Curves, mean_scores
from nmt.training.sections import SelectionConfig

_OUTWEIGHS = 1e4
"""What an update gains by keeping to the limit: more than any score differs from another."""


@dataclass(frozen=True)
class UpdateScores:
    """Scores updates by their validation."""

    config: SelectionConfig
    replayed: frozenset[str]
    """Directions whose pairs are all replayed; none where there is nothing else to select by."""

    @property
    def needs_start(self) -> bool:
        """Whether the start has to be validated, too."""
        return bool(self.replayed) and self.config.needs_validation and self._is_limited

    @property
    def _is_limited(self) -> bool:
        return self.config.score == "chrf++"

    def of(self, curves: Curves) -> list[tuple[int, float]]:
        """Return updates with their scores, higher is better; the start is none of them."""
        score = self.config.score
        learned = mean_scores(curves, score, lambda direction: direction not in self.replayed)
        learned = [(update, value) for update, value in learned if update > 0]
        if not self.replayed or not self._is_limited:
            return learned
        kept = dict(mean_scores(curves, score, self.replayed.__contains__))
        least = kept.get(0, -math.inf) - self.config.max_loss
        return [(u, value + _OUTWEIGHS * (kept[u] >= least)) for u, value in learned]


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
