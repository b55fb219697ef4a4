"""Sparse features of a sentence: subwords, and character n-grams hashed into buckets."""

import functools
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from anyascii import anyascii

from corpus.text import normalize

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]

# FNV-1a's prime and offset, mixed over code points instead of bytes, then finished as in
# MurmurHash3, so that the low bits, which choose the bucket, depend on all characters.
_PRIME = np.uint64(0x100000001B3)
_BASIS = np.uint64(0xCBF29CE484222325)
_FINISH = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT = np.uint64(33)


class SubwordModel(Protocol):
    """What is used of a SentencePiece processor."""

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Return the pieces of each text."""
        ...


class TokenRows(NamedTuple):
    """Token or feature ids of N sentences, one sentence after the other."""

    ids: Int32
    """[F]; features of `bag` are pieces, then n-grams."""

    starts: Int64
    """[N + 1]: sentence i has `ids[starts[i]:starts[i + 1]]`."""

    def take(self, rows: Int64) -> "TokenRows":
        """Return the tokens of some sentences."""
        lengths = self.starts[rows + 1] - self.starts[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        positions = np.arange(starts[-1]) - np.repeat(starts[:-1] - self.starts[rows], lengths)
        return TokenRows(self.ids[positions], starts)

    def drop(self, share: float, rng: np.random.Generator) -> "TokenRows":
        """Return a copy without a random share of the tokens; a sentence may become empty."""
        if not share:
            return self
        is_kept = rng.random(len(self.ids), np.float32) >= share
        before = np.concatenate([[0], np.cumsum(is_kept)])
        return TokenRows(self.ids[is_kept], before[self.starts])


class FeatureExtractor:
    """Turns sentences into feature ids: pieces, then `buckets` rows of n-grams."""

    def __init__(
        self,
        subwords: SubwordModel,
        *,
        vocabulary_size: int,
        buckets: int,
        min_n: int,
        max_n: int,
        max_characters: int,
        romanize: bool = False,
    ) -> None:
        self._subwords = subwords
        self._vocabulary_size = vocabulary_size
        self._buckets = buckets
        self._orders = range(min_n, max_n + 1)
        self._max_characters = max_characters
        self._romanize = romanize

    @property
    def rows(self) -> int:
        """Number of distinct feature ids."""
        return self._vocabulary_size + self._buckets

    def extract(self, sentences: Sequence[str]) -> TokenRows:
        """Return the features of sentences; every sentence has at least one."""
        texts = [prepare(sentence, self._max_characters) for sentence in sentences]
        pieces = self._subwords.encode(texts)
        ngrams, owners = self._hash_ngrams(texts)
        if self._romanize:
            latin = [romanize(text) for text in texts]
            rows = np.array([i for i, text in enumerate(texts) if latin[i] != text], np.int64)
            more, places = self._hash_ngrams([latin[row] for row in rows])
            ngrams = np.concatenate([ngrams, more])
            owners = np.concatenate([owners, rows[places]])
        piece_counts = np.array([len(row) for row in pieces], np.int64)
        piece_ids = np.array([piece for row in pieces for piece in row], np.int64)
        piece_owners = np.repeat(np.arange(len(texts)), piece_counts)
        ids = np.concatenate([piece_ids, ngrams + self._vocabulary_size])
        owner = np.concatenate([piece_owners, owners])
        order = np.argsort(owner, kind="stable")
        counts = np.bincount(owner, minlength=len(texts))
        return TokenRows(ids[order].astype(np.int32), np.concatenate([[0], np.cumsum(counts)]))

    def _hash_ngrams(self, texts: Sequence[str]) -> tuple[Int64, Int64]:
        """Return the bucket and the sentence of every character n-gram of `" text "`."""
        padded = [f" {text} " for text in texts]
        lengths = np.array([len(text) for text in padded], np.int64)
        owners = np.repeat(np.arange(len(texts)), lengths)
        points = np.frombuffer("".join(padded).encode("utf-32-le"), np.uint32).astype(np.uint64)
        buckets, sentences = [], []
        running: UInt64 = np.full(len(points), _BASIS)
        for n in range(1, self._orders.stop):
            if n > len(points):
                break
            stop = len(points) - n + 1
            running = (running[:stop] ^ points[n - 1 :]) * _PRIME
            if n not in self._orders:
                continue
            is_within = owners[:stop] == owners[n - 1 :]
            hashed = running[is_within]
            hashed = (hashed ^ (hashed >> _SHIFT)) * _FINISH
            hashed ^= hashed >> _SHIFT
            buckets.append((hashed % np.uint64(self._buckets)).astype(np.int64))
            sentences.append(owners[:stop][is_within])
        if not buckets:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        return np.concatenate(buckets), np.concatenate(sentences)


def prepare(sentence: str, max_characters: int) -> str:
    """Return a sentence as the encoder reads it: normalized, without case, cut."""
    cut = normalize(sentence).casefold()[:max_characters]
    return cut.encode("utf-8", "replace").decode("utf-8")


_romanized_character = functools.lru_cache(maxsize=1 << 16)(anyascii)


def romanize(text: str) -> str:
    """Return text in ASCII letters: names and numbers then look alike in all scripts.

    Character by character, by anyascii's table; `Москва` is `moskva`, `é` is `e`.
    """
    return "".join(map(_romanized_character, text)).casefold()
