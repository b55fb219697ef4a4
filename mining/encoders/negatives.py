"""Hard negatives: sentences that are near those of a batch and mean something else."""

import numpy as np
import torch
from torch import Tensor

from corpus.languages import Direction
from mining.encoders.bitext import Int64
from mining.encoders.features import TokenRows
from mining.encoders.learners import Learner

_NEIGHBORS = 8
_REFRESHES = (0.25, 0.5, 0.75)
_BLOCK = 1024
_STREAM = 3


class HardNegatives:
    """Neighbors of each source sentence among all source sentences of its language.

    A crawl holds many sentences that share all words but one with a true translation, and the
    other pairs of a batch hold none. A direction with few pairs gains most: its targets are told
    from the sources of all directions.
    """

    def __init__(self, training: dict[Direction, Int64], count: int, seed: int) -> None:
        self._count = count
        self._seed = seed
        by_language: dict[str, list[Int64]] = {}
        for direction, rows in training.items():
            by_language.setdefault(direction.source, []).append(rows[:, 0])
        self._pools = {
            language: np.unique(np.concatenate(parts)) for language, parts in by_language.items()
        }
        self._neighbors: dict[str, Int64] = {}

    def refresh_points(self, updates: int) -> frozenset[int]:
        """Return the updates before which the neighbors are recomputed."""
        return (
            frozenset(int(share * updates) for share in _REFRESHES) if self._count else frozenset()
        )

    def refresh(self, learner: Learner, tokens: TokenRows) -> None:
        """Find each sentence's neighbors with the current encoder."""
        for language, pool in self._pools.items():
            vectors = torch.from_numpy(learner.encode_tokens(tokens.take(pool)))
            count = min(_NEIGHBORS + 1, len(pool))
            found = [
                (block @ vectors.T).topk(count, dim=1).indices
                for block in torch.split(vectors, _BLOCK)
            ]
            self._neighbors[language] = pool[torch.cat(found).numpy()]

    def draw(self, direction: Direction, rows: Int64, number: int) -> Int64:
        """Return negatives for a batch of pairs, update `number`; none before the first refresh."""
        neighbors = self._neighbors.get(direction.source)
        if neighbors is None:
            return np.empty(0, np.int64)
        near = neighbors[np.searchsorted(self._pools[direction.source], rows[:, 0])]
        candidates = np.setdiff1d(near, rows[:, 0])
        rng = np.random.default_rng((self._seed, _STREAM, number))
        return rng.permutation(candidates)[: self._count]

    def state(self) -> dict[str, Tensor]:
        """Return the neighbors found last."""
        return {language: torch.from_numpy(found) for language, found in self._neighbors.items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take up the neighbors found last."""
        self._neighbors = {language: found.numpy() for language, found in state.items()}
