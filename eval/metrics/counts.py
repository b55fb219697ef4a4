"""Matched n-grams per segment, of many hypotheses of one target language at once.

Compiled where there was a compiler (`eval/metrics/kernel.cpp`), in NumPy otherwise
(`eval/metrics/counts_numpy.py`); the integers are the same, and they are sacrebleu's.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.native import load_library
from eval.metrics import counts_numpy

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Symbols = NDArray[np.uint32]

CHARACTER_ORDER = 6
WORD_ORDER = 2
TOKEN_ORDER = 4

CHRF_COLUMNS = 2 + CHARACTER_ORDER + WORD_ORDER
"""Characters, matched 1- to 6-grams, words, matched 1- and 2-grams of words."""

BLEU_COLUMNS = 1 + TOKEN_ORDER
"""Tokens, matched 1- to 4-grams."""

_INTERFACE = 1
"""That of the compiled part; see `corpus.native.load_library`."""

_SPACE_LIMIT = 0x3001
"""All that `str.isspace` holds lies below; a test looks at every code point."""


class Counts(NamedTuple):
    """Counts of H hypotheses of N segments, and the lengths of their references."""

    hypotheses: Int32
    """[H, N, CHRF_COLUMNS] or [H, N, BLEU_COLUMNS]."""

    references: Int32
    """Characters and words, [N, 2]; or tokens, [N, 1]."""


class TokenIds(NamedTuple):
    """Numbered tokens of N lines: line i is `ids[offsets[i]:offsets[i + 1]]`."""

    ids: Symbols
    offsets: Int64


@functools.cache
def _library() -> ctypes.CDLL | None:
    library = load_library("eval.metrics", "_kernel", _INTERFACE)
    if library is not None:
        for function in (library.tongues_chrf, library.tongues_bleu, library.tongues_bleu_ids):
            function.restype = None
    return library


def is_compiled() -> bool:
    """Whether the compiled counting is there."""
    return _library() is not None


@functools.cache
def space_flags() -> NDArray[np.uint8]:
    """Return which of the first code points `str.split` takes for space."""
    return np.array([chr(point).isspace() for point in range(_SPACE_LIMIT)], np.uint8)


def count_chrf(references: Sequence[str], hypotheses: Sequence[Sequence[str]]) -> Counts:
    """Count what chrF and chrF++ need; characters leave spaces out, as sacrebleu's do.

    Raises:
        ValueError: If a system has another number of lines than the references.
    """
    _check_sizes(len(references), [len(lines) for lines in hypotheses])
    library = _library()
    if library is None:
        return Counts(*counts_numpy.count_chrf(references, hypotheses))
    return _count_text(library.tongues_chrf, references, hypotheses, CHRF_COLUMNS, 2)


def count_bleu(references: Sequence[str], hypotheses: Sequence[Sequence[str]]) -> Counts:
    """Count what BLEU needs, over tokens that stand between spaces.

    Raises:
        ValueError: If a system has another number of lines than the references.
    """
    _check_sizes(len(references), [len(lines) for lines in hypotheses])
    library = _library()
    if library is None:
        return Counts(*counts_numpy.count_bleu(references, hypotheses))
    return _count_text(library.tongues_bleu, references, hypotheses, BLEU_COLUMNS, 1)


def count_bleu_ids(references: TokenIds, hypotheses: Sequence[TokenIds]) -> Counts:
    """Count what BLEU needs, over numbered tokens.

    Raises:
        ValueError: If a system has another number of lines than the references.
    """
    lines = len(references.offsets) - 1
    _check_sizes(lines, [len(own.offsets) - 1 for own in hypotheses])
    lengths = np.diff(references.offsets).astype(np.int32)[:, None]
    library = _library()
    if library is None:
        rows = [counts_numpy.count_ids(*references, *own) for own in hypotheses]
        return Counts(counts_numpy.stack(rows, lines, BLEU_COLUMNS), lengths)
    out = np.zeros((len(hypotheses), lines, BLEU_COLUMNS), np.int32)
    library.tongues_bleu_ids(
        _pointer(references.ids),
        _pointer(references.offsets),
        ctypes.c_int64(lines),
        ctypes.c_int64(len(hypotheses)),
        _pointers([own.ids for own in hypotheses]),
        _pointers([own.offsets for own in hypotheses]),
        _pointer(out),
    )
    return Counts(out, lengths)


def _check_sizes(wanted: int, sizes: Sequence[int]) -> None:
    for size in sizes:
        if size != wanted:
            raise ValueError(f"{size} hypotheses for {wanted} references")


def _count_text(
    function: Any,
    references: Sequence[str],
    hypotheses: Sequence[Sequence[str]],
    columns: int,
    reference_columns: int,
) -> Counts:
    lines = len(references)
    own, own_offsets = _encode(references)
    texts = [_encode(system) for system in hypotheses]
    flags = space_flags()
    out = np.zeros((len(hypotheses), lines, columns), np.int32)
    lengths = np.zeros((lines, reference_columns), np.int32)
    function(
        _pointer(flags),
        ctypes.c_int64(len(flags)),
        own,
        _pointer(own_offsets),
        ctypes.c_int64(lines),
        ctypes.c_int64(len(hypotheses)),
        (ctypes.c_char_p * len(texts))(*(data for data, _ in texts)),
        _pointers([offsets for _, offsets in texts]),
        _pointer(out),
        _pointer(lengths),
    )
    return Counts(out, lengths)


def _encode(lines: Sequence[str]) -> tuple[bytes, Int64]:
    r"""Return lines as one UTF-8 text and where each begins; a final `\n` is a space to us."""
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    offsets = np.zeros(len(lines) + 1, np.int64)
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    if len(ends) == len(lines) - 1:
        offsets[1:-1] = ends + 1
        offsets[-1] = len(data)
        return data, offsets
    parts = [line.encode("utf-8", "surrogatepass") for line in lines]  # some line holds a `\n`
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    return b"".join(parts), offsets


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _pointers(arrays: Sequence[NDArray[Any]]) -> Any:
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
