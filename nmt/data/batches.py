"""Batches from tokenized pairs: directions by temperature, lengths in buckets, exact small state.

Pairs are drawn in rounds. A round draws thousands of pairs, directions by their shares and pairs in
the order of the direction's own shuffled epochs; sorts them by length; cuts the sorted list into
batches of at most `max_tokens`; and deals the batches in random order. A round depends on the seed,
its number, its phase and how far each direction's epochs had come: that is the whole state. Where a
phase of the curriculum begins, what is left of the round is not dealt.
"""

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.languages import Direction
from nmt.data.config import BatchConfig, MonolingualConfig
from nmt.data.monolingual import Denoising
from nmt.data.phases import Curriculum
from nmt.data.sampling import DENOISE, PREDICT, TRANSLATE, Pool, datasets, share_round
from nmt.data.token_files import pick
from nmt.data.tokenize import DirectionPairs, TokenizedBitext, language_text
from nmt.vocabulary.vocabulary import Vocabulary

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
    """Makes padded rows of sentences."""

    def __init__(
        self, tokens: NDArray[Any], offsets: NDArray[np.int64], vocabulary: Vocabulary
    ) -> None:
        """Take sentences.

        Args:
            tokens: All of them end to end.
            offsets: Where each begins; one more at the end.
            vocabulary: Has the tokens of padding and end.
        """
        self._tokens = tokens
        self._offsets = offsets
        self._pad_index = vocabulary.pad_index
        self._end_index = vocabulary.end_index

    def lengths(self, sentences: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tokens of each sentence, without anything added."""
        return self._offsets[sentences + 1] - self._offsets[sentences]

    def texts(self, sentences: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tokens of sentences, concatenated."""
        return pick(self._tokens, self._offsets[sentences], self.lengths(sentences)).astype(
            np.int64
        )

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
        return self.pad(prefixes, self.texts(sentences), self.lengths(sentences))

    def pad(
        self,
        prefixes: Sequence[NDArray[np.int64]],
        texts: NDArray[np.int64],
        lengths: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return rows as `assemble` does, from concatenated texts of the given lengths."""
        begins = np.zeros_like(lengths)
        for prefix in prefixes:
            begins += prefix >= 0
        totals = begins + lengths + 1
        rows = np.full((len(lengths), int(totals.max())), self._pad_index, np.int64)
        row = np.arange(len(lengths))
        place = np.zeros_like(lengths)
        for prefix in prefixes:
            there = prefix >= 0
            rows[row[there], place[there]] = prefix[there]
            place += there
        firsts = row * rows.shape[1] + begins - (np.cumsum(lengths) - lengths)
        rows.reshape(-1)[np.repeat(firsts, lengths) + np.arange(len(texts))] = texts
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
    the same state, from which another number of processes can resume: no batch is lost or repeated.

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
        monolingual: MonolingualConfig | None = None,
        rank: int = 0,
        world_size: int = 1,
        batches_per_update: int = 1,
    ) -> None:
        """Begin the sequence.

        Args:
            bitext: Tokenized pairs, and text.
            pairs: What there is to train for each direction.
            vocabulary: Gives languages and tags their tokens.
            curriculum: Says which directions an update draws from.
            config: Size of batches and rounds, temperature.
            seed: Decides the whole sequence.
            monolingual: What the text is for; none by default.
            rank: This process among those that train together, from 0.
            world_size: How many there are.
            batches_per_update: Batches that each of them takes in an update.
        """
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is none of {world_size} processes")
        self._rank = rank
        self._world_size = world_size
        self._batches_per_update = batches_per_update
        self._shards = bitext.shards
        self._vocabulary = vocabulary
        self._curriculum = curriculum
        self._config = config
        self._seed = seed
        self._datasets = datasets(pairs, language_text(bitext), vocabulary, monolingual, seed)
        self._denoising = None
        if any(dataset.objective == DENOISE for dataset in self._datasets):
            assert monolingual is not None
            self._denoising = Denoising(monolingual, vocabulary.mask_index, vocabulary.text_indices)
        self._pool = Pool(bitext.shards, self._datasets)
        self.num_batches = 0
        self._steps = 0
        self._round = -1
        self._phase = -1
        self._cursors_before = dict(self._pool.cursors)
        self._dealt: list[NDArray[np.int64]] = []
        self._position = 0

    def __next__(self) -> Batch:
        # The stream counts for itself: the trainer reads a batch before it counts the update.
        phase = self._curriculum.phase(self._steps // self._batches_per_update)
        batch = None
        for place in range(self._world_size):
            if phase != self._phase or self._position == len(self._dealt):
                self._begin_round(self._round + 1, phase, first=self._rank - place)
            if place == self._rank:
                batch = self._assemble(self._dealt[self._position], self.num_batches + place)
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
            "cursors": dict(self._cursors_before),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Resume from `state`, possibly with another number of processes.

        The sequence of batches continues at the same place; a process that stopped within an update
        continues within it if an update has the same number of batches.
        """
        self._pool.cursors = {name: int(state["cursors"][name]) for name in self._pool.cursors}
        position = int(state["position"])
        if state["round"] >= 0:
            self._begin_round(int(state["round"]), int(state["phase"]), position + self._rank)
        self._position = position
        self.num_batches = int(state["num_batches"])
        within = min(int(state["batch_of_update"]), self._batches_per_update - 1)
        self._steps = int(state["updates"]) * self._batches_per_update + within
        before = int(state["world_size"])
        if before != self._world_size and self._rank == 0:
            logger.info(
                "update %s: the training had %d processes and resumes with %d at batch %s of the"
                " same sequence; no batch is lost or repeated",
                f"{int(state['updates']):,}",
                before,
                self._world_size,
                f"{self.num_batches:,}",
            )

    def _begin_round(self, number: int, phase: int, first: int) -> None:
        """Draw a round, and read what this process has of it, shard by shard.

        Args:
            number: Of the round.
            phase: Of the curriculum.
            first: Where its first batch is; below 0 others have as many before the next turn.
        """
        self._round, self._phase, self._position = number, phase, 0
        self._cursors_before = dict(self._pool.cursors)
        generator = np.random.default_rng([self._seed, 0, number])
        directions = set(self._curriculum.directions(phase))
        languages = {language for direction in directions for language in direction}
        there = [
            dataset
            for dataset in self._datasets
            if (
                dataset.pairs.direction in directions
                if dataset.objective == TRANSLATE
                else dataset.pairs.direction.source in languages
            )
        ]
        config = self._config
        counts = share_round(there, config, generator)
        self._drawn = self._pool.draw(counts, generator)
        batches = cut(
            self._drawn.source_lengths + _SOURCE_EXTRA,
            self._drawn.target_lengths + _TARGET_EXTRA,
            config.positions,
        )
        self._dealt = [batches[i] for i in generator.permutation(len(batches))]
        mine = self._dealt[first if first >= 0 else first + self._world_size :: self._world_size]
        self._read(np.concatenate(mine) if mine else np.empty(0, np.int64))

    def _read(self, wanted: NDArray[np.int64]) -> None:
        """Read the sentences of some of the pairs drawn."""
        wanted = wanted[np.lexsort((self._drawn.starts[wanted], self._drawn.shards[wanted]))]
        chosen = self._drawn.take(wanted)
        self._places = np.full(len(self._drawn.shards), -1, np.int64)
        self._places[wanted] = np.arange(len(wanted))
        lengths = chosen.first_lengths + chosen.second_lengths
        bounds = np.flatnonzero(np.diff(chosen.shards, prepend=-1, append=-1))
        tokens = [
            pick(
                self._shards.tokens(int(chosen.shards[begin])),
                chosen.starts[begin:end],
                lengths[begin:end],
            )
            for begin, end in itertools.pairwise(bounds.tolist())
        ]
        sides = np.stack([chosen.first_lengths, chosen.second_lengths], 1)
        self._rows = Rows(
            np.concatenate(tokens) if tokens else np.empty(0, np.int64),
            np.concatenate([[0], np.cumsum(sides)]),
            self._vocabulary,
        )

    def _assemble(self, chosen: NDArray[np.int64], number: int) -> Batch:
        drawn, first = self._drawn.take(chosen), 2 * self._places[chosen]
        is_pair = drawn.objectives == TRANSLATE
        source = first + drawn.source_sides
        target = np.where(is_pair, first + 1 - drawn.source_sides, first)
        end = np.full(len(chosen), self._vocabulary.end_index, np.int64)
        source_prefixes = [drawn.source_indices, drawn.tags]
        target_rows = self._rows.assemble([end, drawn.target_indices], target)
        if is_pair.all():
            return Batch(*self._rows.assemble(source_prefixes, source), *target_rows)
        generator = np.random.default_rng([self._seed, 2, number])
        texts = np.split(self._rows.texts(source), np.cumsum(self._rows.lengths(source))[:-1])
        for i in np.flatnonzero(~is_pair):
            if drawn.objectives[i] == PREDICT:
                texts[i] = texts[i][:0]
            else:
                assert self._denoising is not None
                texts[i] = self._denoising.mask(texts[i], generator)
        lengths = np.array([len(text) for text in texts], np.int64)
        rows = self._rows.pad(source_prefixes, np.concatenate(texts), lengths)
        return Batch(*rows, *target_rows)
