"""Batches from tokenized pairs: directions by temperature, lengths in buckets, exact small state.

Pairs are drawn in rounds. A round draws some thousand pairs, directions by their shares and pairs
in the order of the direction's own shuffled epochs; sorts them by length; cuts the sorted list into
batches of so many tokens; and deals the batches in random order. A round depends on the seed, its
number, its phase and how far each direction's epochs had come: that is the whole state. Where a
phase of the curriculum begins, what is left of the round is not dealt.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.languages import Direction
from nmt.bitext import DirectionPairs, TokenizedBitext
from nmt.config import BatchConfig
from nmt.curriculum import Curriculum
from nmt.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

_SOURCE_EXTRA = 3
_TARGET_EXTRA = 2


@dataclass(frozen=True)
class Batch:
    """Padded token indices, int64 [N, S], and lengths."""

    source: NDArray[np.int64]
    """`__src__ [tag] text </s>`"""

    source_lengths: NDArray[np.int64]

    target: NDArray[np.int64]
    """`</s> __tgt__ text </s>`; the input lacks a row's last token, the output its first."""

    target_lengths: NDArray[np.int64]


class Rows:
    """Assembles batches from sentences of a tokenized bitext."""

    def __init__(self, bitext: TokenizedBitext, vocabulary: Vocabulary) -> None:
        self._pad_index = vocabulary.pad_index
        self._end_index = vocabulary.end_index
        self._tokens = bitext.tokens
        self._offsets = bitext.offsets

    def lengths(self, sentences: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tokens of each sentence, without anything added."""
        return self._offsets[sentences + 1] - self._offsets[sentences]

    def assemble(
        self,
        prefixes: Sequence[NDArray[np.int64]],
        sentences: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return rows of `prefix… sentence </s>`, padded, and their lengths.

        Args:
            prefixes: Token index per row; -1 leaves the place out.
            sentences: Sentence per row.
        """
        lengths = self.lengths(sentences)
        begins = np.zeros_like(lengths)
        for prefix in prefixes:
            begins += prefix >= 0
        totals = begins + lengths + 1
        rows = np.full((len(sentences), int(totals.max())), self._pad_index, np.int64)
        row = np.arange(len(sentences))
        place = np.zeros_like(lengths)
        for prefix in prefixes:
            there = prefix >= 0
            rows[row[there], place[there]] = prefix[there]
            place += there
        within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        rows[np.repeat(row, lengths), np.repeat(begins, lengths) + within] = self._tokens[
            np.repeat(self._offsets[sentences], lengths) + within
        ]
        rows[row, totals - 1] = self._end_index
        return rows, totals


def cut(
    source_lengths: NDArray[np.int64], target_lengths: NDArray[np.int64], max_tokens: int
) -> list[NDArray[np.int64]]:
    """Sort pairs by length and cut them into batches of at most `max_tokens` padded positions.

    Each batch takes as many of the next pairs as fit, one at least.
    """
    order = np.lexsort((source_lengths, target_lengths))
    source, target = source_lengths[order], target_lengths[order]
    batches: list[NDArray[np.int64]] = []
    begin = 0
    while begin < len(order):
        # Lengths only grow along a batch, so that its first pair says how many fit at most.
        most = max(1, max_tokens // max(1, int(source[begin] + target[begin])))
        widest = np.maximum.accumulate(source[begin : begin + most])
        widest += target[begin : begin + most]  # sorted: the last is the longest
        positions = widest * np.arange(1, len(widest) + 1)
        end = begin + max(1, int(np.searchsorted(positions, max_tokens, "right")))
        batches.append(order[begin:end])
        begin = end
    return batches


class BatchStream:
    """An endless stream of training batches that can be resumed exactly.

    There is one sequence of batches, the same on every process. At each step process `rank` of
    `world_size` takes the batch of that place among the next `world_size`. So all processes have
    the same state, and another number of processes can go on from it: no batch is lost or repeated.

    Attributes:
        num_batches: Batches that all processes together have taken.
    """

    def __init__(
        self,
        bitext: TokenizedBitext,
        pairs: Mapping[Direction, DirectionPairs],
        vocabulary: Vocabulary,
        curriculum: Curriculum,
        config: BatchConfig,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        batches_per_update: int = 1,
    ) -> None:
        """Begin the sequence.

        Args:
            bitext: Tokenized pairs.
            pairs: What there is to train for each direction.
            vocabulary: Gives languages and tags their tokens.
            curriculum: Says which directions an update draws from.
            config: Size of batches and rounds, temperature.
            seed: Decides the whole sequence.
            rank: This process among those that train together, from 0.
            world_size: How many there are.
            batches_per_update: Batches that each of them takes in an update.
        """
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is none of {world_size} processes")
        self._rank = rank
        self._world_size = world_size
        self._batches_per_update = batches_per_update
        self._rows = Rows(bitext, vocabulary)
        self._end_index = vocabulary.end_index
        self._pairs = pairs
        self._numbers = {direction: i for i, direction in enumerate(pairs)}
        self._languages = {
            direction: (
                vocabulary.language_index(direction.source),
                vocabulary.language_index(direction.target),
            )
            for direction in pairs
        }
        self._curriculum = curriculum
        self._config = config
        self._seed = seed
        self.num_batches = 0
        self._steps = 0
        self._round = -1
        self._phase = -1
        self._cursors = dict.fromkeys(pairs, 0)
        self._cursors_before = dict(self._cursors)
        self._dealt: list[NDArray[np.int64]] = []
        self._drawn: NDArray[np.int64] = np.empty((5, 0), np.int64)
        self._position = 0

    def __next__(self) -> Batch:
        # The stream counts for itself: the trainer reads a batch before it counts the update.
        phase = self._curriculum.phase(self._steps // self._batches_per_update)
        batch = None
        for place in range(self._world_size):
            if phase != self._phase or self._position == len(self._dealt):
                self._begin_round(self._round + 1, phase)
            if place == self._rank:
                batch = self._assemble(self._dealt[self._position])
            self._position += 1
        self._steps += 1
        self.num_batches += self._world_size
        assert batch is not None
        return batch

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs: plain numbers, the same on every process."""
        return {
            "world_size": self._world_size,
            "updates": self._steps // self._batches_per_update,
            "batch_of_update": self._steps % self._batches_per_update,
            "num_batches": self.num_batches,
            "round": self._round,
            "phase": self._phase,
            "position": self._position,
            "cursors": {str(d): cursor for d, cursor in self._cursors_before.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken, also by another number of processes.

        The sequence of batches goes on at the same place. Between updates that is all; within one,
        a process goes on at the same place of its update if as many batches make one.
        """
        self._cursors = {d: int(state["cursors"][str(d)]) for d in self._pairs}
        if state["round"] >= 0:
            self._begin_round(int(state["round"]), int(state["phase"]))
        self._position = int(state["position"])
        self.num_batches = int(state["num_batches"])
        within = min(int(state["batch_of_update"]), self._batches_per_update - 1)
        self._steps = int(state["updates"]) * self._batches_per_update + within
        before = int(state["world_size"])
        if before != self._world_size and self._rank == 0:
            logger.info(
                "update %s: %d processes took the batches so far, %d go on from batch %s of the"
                " same sequence; none is lost or repeated",
                f"{int(state['updates']):,}", before, self._world_size, f"{self.num_batches:,}",
            )  # fmt: skip

    def _begin_round(self, number: int, phase: int) -> None:
        self._round, self._phase, self._position = number, phase, 0
        self._cursors_before = dict(self._cursors)
        generator = np.random.default_rng([self._seed, 0, number])
        parts = []
        for direction, count in self._counts(phase, generator):
            pairs = self._pairs[direction]
            chosen = self._next_pairs(direction, count)
            source, target = self._languages[direction]
            parts.append(
                np.stack(
                    [
                        pairs.source_sentences[chosen],
                        pairs.target_sentences[chosen],
                        pairs.tag_indices[chosen],
                        np.full(count, source),
                        np.full(count, target),
                    ]
                )
            )
        drawn = np.concatenate(parts, axis=1)
        self._drawn = drawn[:, generator.permutation(drawn.shape[1])]
        batches = cut(
            self._rows.lengths(self._drawn[0]) + _SOURCE_EXTRA,
            self._rows.lengths(self._drawn[1]) + _TARGET_EXTRA,
            self._config.max_tokens,
        )
        self._dealt = [batches[i] for i in generator.permutation(len(batches))]

    def _counts(
        self, phase: int, generator: np.random.Generator
    ) -> Iterable[tuple[Direction, int]]:
        """Return how many pairs of each direction a round draws, p ∝ n^(1/temperature)."""
        directions = self._curriculum.directions(phase)
        sizes = np.array([len(self._pairs[d]) for d in directions], np.float64)
        shares = (sizes / sizes.sum()) ** (1 / self._config.temperature)
        size = min(self._config.round_size, int(sizes.sum()))
        counts = generator.multinomial(size, shares / shares.sum())
        return ((d, int(n)) for d, n in zip(directions, counts, strict=True) if n)

    def _next_pairs(self, direction: Direction, count: int) -> NDArray[np.int64]:
        """Take the next pairs of a direction; its epochs are shuffled each by itself."""
        size = len(self._pairs[direction])
        cursor = self._cursors[direction]
        self._cursors[direction] = cursor + count
        parts = []
        while count:
            epoch, begin = divmod(cursor, size)
            seed = [self._seed, 1, self._numbers[direction], epoch]
            taken = np.random.default_rng(seed).permutation(size)[begin : begin + count]
            parts.append(taken)
            cursor += len(taken)
            count -= len(taken)
        return np.concatenate(parts)

    def _assemble(self, chosen: NDArray[np.int64]) -> Batch:
        source, target, tag, source_language, target_language = self._drawn[:, chosen]
        end = np.full(len(chosen), self._end_index, np.int64)
        return Batch(
            *self._rows.assemble([source_language, tag], source),
            *self._rows.assemble([end, target_language], target),
        )
