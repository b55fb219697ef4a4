"""Sentences of evaluation sets in other text: the same sentence, or large parts of one.

Sentences are compared by their key (no case, no punctuation, numbers as `0`), parts of them by
character n-grams of the key without spaces, since words cannot be counted in every script. The
n-grams of evaluation sentences are taken at a stride, all those of the other text are looked up,
so that every common stretch of n + stride - 1 characters is found. Cutting, hashing and looking up
are array operations over a batch.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from corpus.errors import DataError
from corpus.evaluation_files import evaluation_sentences
from corpus.text import key_hash, sentence_key

UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]

SAME, CONTAINED = "evaluation_overlap", "evaluation_containment"
_BASE = 0x9E3779B97F4A7C15 | 1
_MIX = 0xBF58476D1CE4E5B9
_WORD = (1 << 64) - 1
_BATCH = 1 << 13
"""Evaluation sentences that are cut at a time; bounds memory."""
_BITS_PER_GRAM = 16
_BITS = np.left_shift(1, np.arange(8)).astype(np.uint8)
_MAX_OWNERS = 64
"""Maximum evaluation sentences per n-gram; n-grams with more are names and phrases."""


class Matches(NamedTuple):
    """Texts that have something in common with an evaluation sentence, one entry per two: M."""

    texts: Int64
    """Place of the text, [M]."""
    sentences: Int64
    """Number of the evaluation sentence, [M]."""
    covered: Int64
    """Characters in common, spaces left out: those of the sentence where the two are the same, at
    most as many otherwise, [M]."""
    is_same: npt.NDArray[np.bool_]


class _Grams(NamedTuple):
    n: int
    stride: int


_ALPHABET_GRAMS = _Grams(24, 6)
"""About five words of English, a fifth of a usual FLORES sentence."""
_DENSE_GRAMS = _Grams(10, 2)
"""The same for scripts that write a syllable or a word per character: Han, kana, Hangul."""
_KINDS = ((_ALPHABET_GRAMS, False), (_DENSE_GRAMS, True))
_DENSE_RANGES = ((0x3040, 0x30FF), (0x3400, 0x9FFF), (0xAC00, 0xD7AF), (0x20000, 0x3FFFF))


class EvaluationSentences:
    """The sentences of evaluation sets, to be looked for in other text."""

    def __init__(self, sentences: Iterable[str]) -> None:
        hashes: dict[int, None] = {}
        lengths: list[Int64] = []
        found: list[list[tuple[UInt64, Int64]]] = [[] for _ in _KINDS]
        for keys in _batches(_new_keys(sentences, hashes)):
            texts = _Texts.of(keys)
            for kind, (grams, dense) in zip(found, _KINDS, strict=True):
                cut, owners = texts.grams(grams.n, grams.stride, dense)
                kind.append((cut, owners + len(lengths) * _BATCH))
            lengths.append(texts.lengths)
        given = np.fromiter(hashes, np.uint64, len(hashes))
        self._numbers = np.argsort(given, kind="stable")
        self._hashes = given[self._numbers]
        self.lengths: Int64 = np.concatenate(lengths) if lengths else np.empty(0, np.int64)
        """Characters of each sentence, spaces left out; sentences are numbered as they were given,
        each once."""
        self._parts = [
            _GramIndex(grams, dense, self.lengths, kind)
            for kind, (grams, dense) in zip(found, _KINDS, strict=True)
            if lengths
        ]

    @classmethod
    def read(cls, files: Sequence[Path]) -> "EvaluationSentences":
        """Read files of evaluation sets; see `corpus.evaluation_files`.

        Raises:
            DataError: If one cannot be read, or none holds a sentence.
        """
        found = cls(text for path in files for text in evaluation_sentences(path))
        if not len(found._hashes):
            raise DataError(
                f"{', '.join(map(str, files[:5]))}: the evaluation sets hold no sentence, so that"
                " nothing would be removed"
            )
        return found

    def reasons(self, keys: Sequence[str], max_containment: float) -> list[str]:
        """Return for each sentence key why it must be removed; empty if it may stay.

        A key that is an evaluation sentence is the same. One is contained where
        (m - 1) × stride + n characters, m being the n-grams in common with one evaluation sentence,
        are more than `max_containment` of the shorter of the two. Sentences shorter than n are
        compared as wholes only.
        """
        if not len(self._hashes):
            return [""] * len(keys)
        is_same = self.find(keys) >= 0
        is_contained = np.zeros(len(keys), bool)
        texts = _Texts.of(keys)
        for part in self._parts:
            is_contained[part.contained(texts, max_containment)] = True
        return [
            SAME if same else CONTAINED if contained else ""
            for same, contained in zip(is_same.tolist(), is_contained.tolist(), strict=True)
        ]

    def find(self, keys: Sequence[str]) -> Int64:
        """Return the number of the sentence that each key is, -1 where it is none, [N]."""
        if not len(self._hashes):
            return np.full(len(keys), -1, np.int64)
        hashes = np.array([key_hash(key) for key in keys], np.uint64)
        place = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        return np.where(self._hashes[place] == hashes, self._numbers[place], -1)

    def matches(self, keys: Sequence[str]) -> Matches:
        """Return what keys have in common with sentences: whole ones, and n-grams of one.

        Where a key has m n-grams of a sentence in common, (m - 1) × stride + n characters are.
        """
        numbers = self.find(keys)
        same = np.flatnonzero(numbers >= 0)
        found = [(same, numbers[same], self.lengths[numbers[same]])]
        if len(self._hashes):
            texts = _Texts.of(keys)
            found += [part.overlaps(texts) for part in self._parts]
        places, sentences, covered = (np.concatenate(parts) for parts in zip(*found, strict=True))
        covered = np.minimum(covered, self.lengths[sentences])
        # Of a pair found twice the larger part is kept: first in this order.
        order = np.lexsort((-covered, sentences, places))
        places, sentences, covered = places[order], sentences[order], covered[order]
        is_first = np.ones(len(order), bool)
        is_first[1:] = (places[1:] != places[:-1]) | (sentences[1:] != sentences[:-1])
        places, sentences, covered = places[is_first], sentences[is_first], covered[is_first]
        return Matches(places, sentences, covered, numbers[places] == sentences)

    def pair_reasons(self, keys: Sequence[Sequence[str]], max_containment: float) -> list[str]:
        """Return for each pair why it must be removed, by either side; see `reasons`.

        Args:
            keys: Sentence keys of the sources, and of the targets.
            max_containment: As for `reasons`.
        """
        source, target = (self.reasons(side, max_containment) for side in keys)
        return [
            SAME if SAME in pair else CONTAINED if CONTAINED in pair else ""
            for pair in zip(source, target, strict=True)
        ]


def _new_keys(sentences: Iterable[str], hashes: dict[int, None]) -> Iterator[str]:
    """Yield the keys of sentences, each once; add their hashes."""
    for key in map(sentence_key, sentences):
        value = key_hash(key)
        if key and value not in hashes:
            hashes[value] = None
            yield key


def _batches(keys: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(itertools.islice(keys, _BATCH)):
        yield batch


class _Texts(NamedTuple):
    """Keys without spaces, end to end, as code points."""

    codes: npt.NDArray[np.uint32]
    starts: Int64
    lengths: Int64
    is_dense: npt.NDArray[np.bool_]
    """Of each character."""

    @classmethod
    def of(cls, keys: Sequence[str]) -> "_Texts":
        solid = [key.replace(" ", "") for key in keys]
        lengths = np.array([len(text) for text in solid], np.int64)
        codes = np.frombuffer("".join(solid).encode("utf-32-le", "replace"), np.uint32)
        is_dense = np.zeros(len(codes), bool)
        for first, last in _DENSE_RANGES:
            is_dense |= (codes >= first) & (codes <= last)
        return cls(codes, np.cumsum(lengths) - lengths, lengths, is_dense)

    def grams(self, n: int, stride: int, dense: bool) -> tuple[UInt64, Int64]:
        """Return the hashes of n-grams at every `stride`th place of a text, and whose they are.

        Only of those that begin with a character of a dense script, or only of the others.
        """
        owners = np.repeat(np.arange(len(self.lengths)), self.lengths)
        places = np.arange(len(self.codes)) - self.starts[owners]
        wanted = (places + n <= self.lengths[owners]) & (self.is_dense == dense)
        if stride > 1:
            wanted &= places % stride == 0
        at = np.flatnonzero(wanted)
        return _rolling_hashes(self.codes, n)[at] if len(at) else np.empty(0, np.uint64), owners[at]


def _rolling_hashes(codes: npt.NDArray[np.uint32], n: int) -> UInt64:
    """Return Σ mix(code[i + j]) × B^(n-1-j) modulo 2^64 for every i, [N - n + 1].

    By doubling: the hash of 2k characters is that of the first k times B^k plus that of the others.
    """
    mixed = (codes.astype(np.uint64) + np.uint64(1)) * np.uint64(_MIX)
    power, width = mixed ^ (mixed >> np.uint64(29)), 1
    result, done = None, 0
    while True:
        if n & width:
            if result is None:
                result = power
            else:
                shift = np.uint64(pow(_BASE, width, _WORD + 1))
                size = len(codes) - done - width + 1
                result = result[:size] * shift + power[done : done + size]
            done += width
        if done == n:
            return result if result is not None else power
        factor = np.uint64(pow(_BASE, width, _WORD + 1))
        power = power[:-width] * factor + power[width:]
        width *= 2


class _GramIndex:
    """The n-grams of the evaluation sentences of one kind of script."""

    def __init__(
        self, grams: _Grams, dense: bool, lengths: Int64, found: list[tuple[UInt64, Int64]]
    ) -> None:
        self._grams = grams
        self._dense = dense
        self._lengths = lengths
        hashes, owners = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.argsort(hashes, kind="stable")
        hashes, owners = hashes[order], owners[order]
        rank = np.arange(len(hashes)) - np.searchsorted(hashes, hashes, "left")
        self._hashes, self._owners = hashes[rank < _MAX_OWNERS], owners[rank < _MAX_OWNERS]
        # One bit says for most n-grams that they are in no evaluation set.
        self._shift = np.uint64(64 - max(16, (len(hashes) * _BITS_PER_GRAM).bit_length()))
        places = self._hashes >> self._shift
        self._bits = np.zeros(1 << (61 - int(self._shift)), np.uint8)
        np.bitwise_or.at(self._bits, places >> np.uint64(3), _bit(places))

    def contained(self, texts: _Texts, max_share: float) -> Int64:
        """Return which texts share too much with an evaluation sentence."""
        sentences, owners, covered = self.overlaps(texts)
        shorter = np.minimum(texts.lengths[sentences], self._lengths[owners])
        return np.unique(sentences[covered > max_share * shorter])

    def overlaps(self, texts: _Texts) -> tuple[Int64, Int64, Int64]:
        """Return texts, evaluation sentences and how many characters they have in common, [M]."""
        hashes, sentences = texts.grams(self._grams.n, 1, self._dense)
        places = hashes >> self._shift
        maybe = np.flatnonzero(self._bits[places >> np.uint64(3)] & _bit(places))
        hashes, sentences = hashes[maybe], sentences[maybe]
        left = np.searchsorted(self._hashes, hashes, "left")
        found = np.searchsorted(self._hashes, hashes, "right") - left
        # Every look-up fans out to the entries of its hash; each entry counts once a sentence.
        sentences = np.repeat(sentences, found)
        within = np.arange(len(sentences)) - np.repeat(np.cumsum(found) - found, found)
        entries = np.repeat(left, found) + within
        sentences, entries = _unique_pairs(sentences, entries, len(self._hashes))[:2]
        owners, size = self._owners[entries], len(self._lengths)
        sentences, owners, counts = _unique_pairs(sentences, owners, size)
        return sentences, owners, (counts - 1) * self._grams.stride + self._grams.n


def _unique_pairs(left: Int64, right: Int64, right_size: int) -> tuple[Int64, Int64, Int64]:
    """Return the distinct pairs of two arrays and how often each is there."""
    pairs, counts = np.unique(left * max(1, right_size) + right, return_counts=True)
    return *np.divmod(pairs, max(1, right_size)), counts


def _bit(places: UInt64) -> npt.NDArray[np.uint8]:
    return _BITS[(places & np.uint64(7)).astype(np.int64)]
