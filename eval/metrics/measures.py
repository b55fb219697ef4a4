"""Counts of a segment: one block of integers from which all scores of a kind are computed.

chrF and chrF++ share a measure, and each tokenization of BLEU has its own. A measure's key names
all that its integers depend on beside the text.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import sacrebleu
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.ter import TER

from eval.metrics.counts import Counts, count_bleu, count_bleu_ids, count_chrf
from eval.metrics.formulas import expand_bleu, expand_chrf
from eval.metrics.sentencepiece_models import PieceTokenizer

Statistics = NDArray[np.int64]

_COUNTS_VERSION = 1
"""Raised when counting changes, so that stored statistics of before are not taken."""


class Measure(Protocol):
    """A way to count."""

    key: str
    """All that the counts depend on beside the text."""

    chains: tuple[int, ...]
    """Lengths of the runs of columns in which no number is larger than the one before."""

    reference_columns: int
    """Lengths that it counts of a reference."""

    def count(
        self, references: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]]
    ) -> Counts:
        """Count the segments of several systems; references are counted once.

        Args:
            references: A text or more, [references][N]; only `PeerMeasure` takes more than one.
            hypotheses: A text of each system, [H][N].
        """
        ...

    def expand(self, counts: NDArray[Any], references: NDArray[Any]) -> Statistics:
        """Return sacrebleu's statistics, [..., N, S]."""
        ...


class ChrfMeasure:
    """Characters up to 6-grams and words up to 2-grams: chrF and chrF++."""

    key = f"chrf/{_COUNTS_VERSION}"
    chains: tuple[int, ...] = (7, 3)
    reference_columns = 2

    def count(
        self, references: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]]
    ) -> Counts:
        """Count the segments of several systems."""
        (own,) = references
        return count_chrf(own, hypotheses)

    def expand(self, counts: NDArray[Any], references: NDArray[Any]) -> Statistics:
        """Return sacrebleu's statistics, [..., N, 24]; chrF's are the first 18."""
        return expand_chrf(counts, references)


class PieceMeasure:
    """SentencePiece pieces up to 4-grams: spBLEU."""

    chains: tuple[int, ...] = (5,)
    reference_columns = 1

    def __init__(self, tokenizer: PieceTokenizer) -> None:
        """Count over the pieces of a model."""
        self._tokenizer = tokenizer
        self.key = f"pieces/{_COUNTS_VERSION}/{tokenizer.sha256}"

    def count(
        self, references: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]]
    ) -> Counts:
        """Count the segments of several systems."""
        (own,) = references
        numbered = self._tokenizer.number(own)
        return count_bleu_ids(numbered, [self._tokenizer.number(lines) for lines in hypotheses])

    def expand(self, counts: NDArray[Any], references: NDArray[Any]) -> Statistics:
        """Return sacrebleu's statistics, [..., N, 10]."""
        return expand_bleu(counts, references)


class TokenMeasure:
    """Tokens of one of sacrebleu's tokenizers, up to 4-grams: BLEU."""

    chains: tuple[int, ...] = (5,)
    reference_columns = 1

    def __init__(self, tokenizer: str) -> None:
        """Count over the tokens of sacrebleu's tokenizer of that name."""
        # `force` only silences the guess that text is tokenized already.
        self._metric = BLEU(tokenize=tokenizer, force=True)
        name = self._metric.tokenizer_signature  # of MeCab, with its version
        self.key = f"tokens/{_COUNTS_VERSION}/{name}/sacrebleu-{sacrebleu.__version__}"

    def count(
        self, references: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]]
    ) -> Counts:
        """Count the segments of several systems."""
        (own,) = references
        return count_bleu(self._split(own), [self._split(lines) for lines in hypotheses])

    def expand(self, counts: NDArray[Any], references: NDArray[Any]) -> Statistics:
        """Return sacrebleu's statistics, [..., N, 10]."""
        return expand_bleu(counts, references)

    def _split(self, lines: Sequence[str]) -> list[str]:
        return [self._metric._preprocess_segment(line) for line in lines]


class EditMeasure:
    """Edits with shifts: TER, counted by sacrebleu itself, which takes seconds a direction."""

    key = f"edits/{_COUNTS_VERSION}/sacrebleu-{sacrebleu.__version__}"
    chains: tuple[int, ...] = (1,)
    reference_columns = 1

    def count(
        self, references: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]]
    ) -> Counts:
        """Count the segments of several systems."""
        (own,) = references
        metric = TER(references=[own])
        lengths = [len(info["ref_words"][0]) for info in metric._ref_cache or []]
        rows = np.zeros((len(hypotheses), len(own), 1), np.int32)
        for system, lines in enumerate(hypotheses):
            if len(lines) != len(own):
                raise ValueError(f"{len(lines)} hypotheses for {len(own)} references")
            found = metric._extract_corpus_statistics(list(lines), None)
            rows[system, :, 0] = [edits for edits, _ in found]
        return Counts(rows, np.array(lengths, np.int32)[:, None])

    def expand(self, counts: NDArray[Any], references: NDArray[Any]) -> Statistics:
        """Return edits and reference length, [..., N, 2]."""
        out = np.empty((*counts.shape[:-1], 2), np.int64)
        out[..., 0], out[..., 1] = counts[..., 0], references[:, 0]
        return out


class PeerMeasure:
    """Several references: the statistics of sacrebleu itself.

    chrF takes the reference that a segment scores best against, BLEU the largest count of each
    n-gram and the closest length, TER the fewest edits and the mean length. Few test sets have
    several references and none has many directions, so a compiled way would save seconds.
    """

    reference_columns = 0

    def __init__(self, peer: Any, key: str, columns: int, averages_length: bool = False) -> None:
        """Count with a metric of sacrebleu.

        Args:
            peer: The metric.
            key: All that its counts depend on beside the text.
            columns: How many statistics a segment has.
            averages_length: Whether they hold a mean over references; all are multiplied by the
                number of references then, which keeps them whole and their ratios.
        """
        self._peer = peer
        self.key = f"sacrebleu-{sacrebleu.__version__}/{key}"
        self.chains: tuple[int, ...] = (1,) * columns
        self._averages_length = averages_length

    def count(
        self, references: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]]
    ) -> Counts:
        """Count the segments of several systems."""
        size = len(references[0])
        scale = len(references) if self._averages_length else 1
        self._peer._ref_cache = self._peer._cache_references(references)
        rows = np.zeros((len(hypotheses), size, len(self.chains)), np.int32)
        for system, lines in enumerate(hypotheses):
            if len(lines) != size:
                raise ValueError(f"{len(lines)} hypotheses for {size} references")
            found = self._peer._extract_corpus_statistics(list(lines), None)
            rows[system] = np.rint(np.array(found, np.float64) * scale).astype(np.int32)
        return Counts(rows, np.zeros((size, 0), np.int32))

    def expand(self, counts: NDArray[Any], references: NDArray[Any]) -> Statistics:
        """Return the statistics, [..., N, S]."""
        return counts.astype(np.int64)


@functools.lru_cache(maxsize=4)
def piece_tokenizer(path: Path) -> PieceTokenizer:
    """Return the tokenizer of a SentencePiece model, loaded once."""
    return PieceTokenizer(path)


def pack_counts(counts: NDArray[np.int32], chains: Sequence[int]) -> bytes:
    """Return the counts of one hypothesis, [N, C], in few bytes: `unpack_counts` is its inverse.

    Columns, one after the other: the width in bytes (1, 2 or 4), then N little-endian integers. In
    a chain each column but the first is written as its difference from the one before.
    """
    parts = []
    column = 0
    for length in chains:
        for place in range(length):
            values = counts[:, column]
            if place:
                values = counts[:, column - 1] - values
            largest = int(values.max(initial=0))
            width = 1 if largest < 1 << 8 else 2 if largest < 1 << 16 else 4
            parts += [bytes([width]), values.astype(f"<u{width}").tobytes()]
            column += 1
    return b"".join(parts)


def unpack_counts(packed: bytes, lines: int, chains: Sequence[int]) -> NDArray[np.int32]:
    """Return the counts that `pack_counts` wrote, [N, C]."""
    out = np.empty((lines, sum(chains)), np.int32)
    at = column = 0
    for length in chains:
        for place in range(length):
            width = packed[at]
            values = np.frombuffer(packed, f"<u{width}", lines, at + 1)
            out[:, column] = out[:, column - 1] - values if place else values
            at += 1 + width * lines
            column += 1
    return out
