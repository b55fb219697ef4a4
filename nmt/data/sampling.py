"""Sampling for a round of batches: which pairs and sentences are drawn, and their lengths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.languages import Direction
from nmt.data.config import BatchConfig, MonolingualConfig
from nmt.data.shuffling import ShuffledEpochs
from nmt.data.token_files import TokenShards
from nmt.data.tokenize import DirectionPairs, Part
from nmt.vocabulary.vocabulary import Vocabulary

TRANSLATE, DENOISE, PREDICT = range(3)
"""Objectives: to translate, to restore a masked sentence, to predict a sentence from nothing."""

Int64 = NDArray[np.int64]

_REPLAY = ":replay"
"""Marks the name of a dataset of replayed pairs."""

_PURPOSES = {
    (TRANSLATE, False): 1, (DENOISE, False): 3, (PREDICT, False): 4, (TRANSLATE, True): 5,
}  # fmt: skip
"""Parts of a dataset's seed."""


@dataclass(frozen=True)
class Dataset:
    """Pairs or sentences that are drawn for one objective, in shuffled epochs."""

    name: str
    """As the state has it."""

    pairs: DirectionPairs
    objective: int
    is_replay: bool
    source_index: int
    """Token of the source language."""

    target_index: int
    weight: float
    """What is drawn for all datasets of this objective, against translation."""

    seed: tuple[int, ...]
    """Decides the epochs."""


def datasets(
    pairs: Mapping[Direction, DirectionPairs],
    text: Mapping[str, DirectionPairs],
    vocabulary: Vocabulary,
    monolingual: MonolingualConfig | None,
    seed: int,
) -> list[Dataset]:
    """Return the datasets that a run samples from.

    Args:
        pairs: Pairs of each direction.
        text: Sentences of each language.
        vocabulary: Has the languages' tokens.
        monolingual: Weights of the objectives that take text; none by default.
        seed: Of the run.
    """
    weights = [
        (TRANSLATE, 1.0, "", [own.of(is_replay=False) for own in pairs.values()]),
        (TRANSLATE, 1.0, _REPLAY, [own.of(is_replay=True) for own in pairs.values()]),
    ]
    if monolingual is not None:
        sentences = list(text.values())
        weights += [
            (DENOISE, monolingual.denoising_weight, ":denoising", sentences),
            (PREDICT, monolingual.causal_weight, ":causal", sentences),
        ]
    return [
        Dataset(
            name=f"{own.direction}{suffix}",
            pairs=own,
            objective=objective,
            is_replay=suffix == _REPLAY,
            source_index=vocabulary.language_index(own.direction.source),
            target_index=vocabulary.language_index(own.direction.target),
            weight=weight,
            # The purposes 0 and 2 are those of rounds and of masks.
            seed=(seed, _PURPOSES[objective, suffix == _REPLAY], number),
        )
        for objective, weight, suffix, owns in weights
        if weight > 0
        for number, own in enumerate(owns)
        if objective != TRANSLATE or len(own)
    ]


class Drawn(NamedTuple):
    """Pairs and sentences of a round, [N] each; of a sentence alone the second length is 0."""

    shards: Int64
    starts: Int64
    """Where the first sentence begins in its shard's tokens; the second follows."""

    first_lengths: Int64
    second_lengths: Int64
    source_sides: Int64
    """Which of the two is the source."""

    tags: Int64
    source_indices: Int64
    target_indices: Int64
    objectives: Int64

    @property
    def source_lengths(self) -> Int64:
        """Tokens of the source text."""
        lengths = np.where(self.source_sides == 0, self.first_lengths, self.second_lengths)
        return np.where(self.objectives == PREDICT, 0, lengths)

    @property
    def target_lengths(self) -> Int64:
        """Tokens of the target text."""
        is_first = (self.source_sides == 1) | (self.objectives != TRANSLATE)
        return np.where(is_first, self.first_lengths, self.second_lengths)

    def take(self, chosen: Int64) -> "Drawn":
        """Return some of them, in that order."""
        return Drawn(*(column[chosen] for column in self))


class Pool:
    """Draws from datasets; remembers how far the epochs of each have come.

    Attributes:
        cursors: What was drawn of each dataset so far, over all epochs.
    """

    def __init__(self, shards: TokenShards, datasets: Sequence[Dataset]) -> None:
        self._shards = shards
        self._datasets = {dataset.name: dataset for dataset in datasets}
        self._epochs = {
            dataset.name: ShuffledEpochs(len(dataset.pairs), dataset.seed) for dataset in datasets
        }
        self.cursors = {dataset.name: 0 for dataset in datasets}

    def draw(self, counts: Mapping[str, int], generator: np.random.Generator) -> Drawn:
        """Draw so many of each dataset, the next of its epochs, and shuffle all."""
        drawn = np.concatenate([self._next(name, count) for name, count in counts.items()], axis=1)
        return Drawn(*drawn[:, generator.permutation(drawn.shape[1])])

    def _next(self, name: str, count: int) -> Int64:
        dataset = self._datasets[name]
        chosen = self._epochs[name].items(self.cursors[name], count)
        self.cursors[name] += count
        parts = dataset.pairs.parts
        firsts = np.cumsum([0, *(part.size for part in parts)])
        owners = np.searchsorted(firsts, chosen, "right") - 1
        drawn = np.empty((len(Drawn._fields), count), np.int64)
        for number in range(len(parts)):
            mine = np.flatnonzero(owners == number)
            if mine.size:
                items = chosen[mine] - firsts[number]
                drawn[:6, mine] = self._located(parts[number], items, dataset)
        drawn[6:] = np.array([[dataset.source_index], [dataset.target_index], [dataset.objective]])
        return drawn

    def _located(self, part: Part, items: Int64, dataset: Dataset) -> Int64:
        """Return the first six columns of `Drawn` for items of one shard."""
        offsets = self._shards.offsets(part.shard)
        located = np.empty((6, len(items)), np.int64)
        if dataset.objective == TRANSLATE:
            rows = part.rows(items)
            starts, middles, ends = (offsets[2 * rows + i] for i in range(3))
        else:
            starts, middles = offsets[items], offsets[items + 1]
            ends = middles
        located[:4] = np.full(len(items), part.shard), starts, middles - starts, ends - middles
        located[4:] = np.array([[part.source_side], [part.tag_index]])
        return located


def share_round(
    datasets: Sequence[Dataset], config: BatchConfig, generator: np.random.Generator
) -> dict[str, int]:
    """Return how many items of each dataset a round draws.

    Within an objective p ∝ n^(1/temperature), n the dataset's pairs or sentences; the objectives
    share by their weights, replayed pairs having their share of what is drawn for translation. A
    round is no larger than what there is.
    """
    sizes = np.array([len(dataset.pairs) for dataset in datasets], np.float64)
    kinds = [(dataset.objective, dataset.is_replay) for dataset in datasets]
    shares = np.zeros(len(datasets))
    for kind in set(kinds):
        own = np.array([other == kind for other in kinds])
        powers = (sizes[own] / sizes[own].sum()) ** (1 / config.temperature)
        weight = next(s.weight for s, other in zip(datasets, kinds, strict=True) if other == kind)
        if {(TRANSLATE, False), (TRANSLATE, True)} <= set(kinds) and kind[0] == TRANSLATE:
            weight *= config.replay_share if kind[1] else 1 - config.replay_share
        shares[own] = powers / powers.sum() * weight
    counts = generator.multinomial(min(config.round_size, int(sizes.sum())), shares / shares.sum())
    return {s.name: int(n) for s, n in zip(datasets, counts, strict=True) if n}
