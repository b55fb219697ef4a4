"""The compiled pass over lines, called through ctypes; see `lid/engine/kernel.cpp`.

Arrays given to it must outlive it: the C structures here hold addresses, and each object holds the
arrays that its addresses point into.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.errors import DataError
from corpus.joined_lines import JoinedLines
from corpus.native import load_library
from lid.engine.characters import character_tables
from lid.engine.preparation import MAX_CHARACTERS

(
    KNOWN_GRAMS,
    GRAMS,
    KNOWN_WORDS,
    WORDS,
    CHARACTERS,
    OTHERS_GRAMS,
    OTHERS_WORDS,
    FOREIGN,
    SECOND,
) = range(9)
"""Columns of a line's counts: 5-grams that the best class knows, and all; words likewise;
characters; 5-grams and words that the second best class knows, counted in doubtful lines only;
characters in scripts that the best class is not written in; number of the second best class, -1
where there is none."""

COUNTS = 9
"""How many counts a line has."""

_INTERFACE = 3
"""That of the compiled part; see `corpus.native.load_library`."""

_CLASSES_AT_ONCE = 16
"""Classes whose vectors lie side by side for the compiled pass."""

EMPTY, NO_LETTERS = 0, -1
"""What `CHARACTERS` of a line is where there is nothing to ask about."""


class _Tables(ctypes.Structure):
    _fields_ = [
        *(
            (name, ctypes.c_void_p)
            for name in ("flags", "lower", "decomposed", "decomposed_at", "pairs", "composed")
        ),
        ("pair_count", ctypes.c_uint64),
        ("code_points", ctypes.c_uint64),
    ]


class _Model(ctypes.Structure):
    _fields_ = [
        *(
            (name, ctypes.c_void_p)
            for name in ("tables", "rows", "row_scale", "output", "scripts", "profiles", "typical")
        ),
        *(
            (name, ctypes.c_int64)
            for name in (
                "buckets",
                "dim",
                "classes",
                "min_ngram",
                "max_ngram",
                "profile_bits",
                "max_characters",
            )
        ),
    ]


@dataclass(frozen=True)
class Weights:
    """Arrays of a model that the compiled pass reads."""

    rows: NDArray[np.int8]
    """Quantized n-gram vectors, [buckets, dim]; may be memory-mapped."""

    row_scale: NDArray[np.float32]
    """What each row is multiplied with, [buckets]."""

    output: NDArray[np.float32]
    """Class vectors, [classes, dim]."""

    scripts: NDArray[np.uint64]
    """Script bits of each class, [classes]; 0 for a class of any script."""

    profiles: NDArray[np.uint8] | None
    """Familiar n-grams and words of each class, [classes, 2^bits / 8]."""

    min_ngram: int
    max_ngram: int


class Answers(NamedTuple):
    """Answers to N lines."""

    labels: NDArray[np.int32]
    """Best classes, best first, [N, top]; -1 where there is no more."""

    scores: NDArray[np.float32]
    """Their probabilities, [N, top]."""

    counts: NDArray[np.int32]
    """What the characters, 5-grams and words of each line are, [N, COUNTS]."""


@functools.cache
def kernel_library() -> ctypes.CDLL | None:
    """Return the compiled part, or None where there is none."""
    library = load_library("lid.engine", "_kernel", _INTERFACE)
    if library is not None:
        library.tongues_prepare.restype = ctypes.c_int64
        library.tongues_identify.restype = None
        library.tongues_learn.restype = None
    return library


def is_compiled() -> bool:
    """Whether the compiled pass is available."""
    return kernel_library() is not None


@functools.cache
def _tables() -> tuple[_Tables, Any]:
    arrays = character_tables()
    structure = _Tables(
        *(array.ctypes.data for array in arrays), len(arrays.pairs), len(arrays.flags)
    )
    return structure, arrays


class Kernel:
    """A model in the form the compiled pass reads. Calls from several threads are safe."""

    def __init__(self, weights: Weights, typical: NDArray[np.float64]) -> None:
        """Keep the arrays alive and hand their addresses to the compiled pass.

        `typical` is [classes, 5]; see `lid.engine.familiarity`.
        """
        self._library = kernel_library()
        assert self._library is not None
        _check(weights)
        self._weights, self._typical = weights, np.ascontiguousarray(typical)
        self._output = _side_by_side(weights.output)
        self._rows = in_large_pages(weights.rows)
        self._scales = in_large_pages(weights.row_scale)
        assert self._typical.shape == (len(weights.scripts), 5)
        tables, _ = _tables()
        buckets, dim = weights.rows.shape
        profiles = weights.profiles
        self._model = _Model(
            ctypes.addressof(tables),
            self._rows.ctypes.data,
            self._scales.ctypes.data,
            self._output.ctypes.data,
            weights.scripts.ctypes.data,
            None if profiles is None else profiles.ctypes.data,
            self._typical.ctypes.data,
            buckets,
            dim,
            len(weights.output),
            weights.min_ngram,
            weights.max_ngram,
            0 if profiles is None else (profiles.shape[1] * 8).bit_length() - 1,
            MAX_CHARACTERS,
        )

    def identify(self, lines: Sequence[str], top: int = 1) -> Answers:
        """Prepare and identify lines of any content."""
        text, offsets = join_lines(lines)
        answers = Answers(
            np.empty((len(lines), top), np.int32),
            np.empty((len(lines), top), np.float32),
            np.empty((len(lines), COUNTS), np.int32),
        )
        assert self._library is not None
        self._library.tongues_identify(
            ctypes.byref(self._model),
            text,
            pointer(offsets),
            ctypes.c_int64(len(lines)),
            ctypes.c_int64(top),
            *map(pointer, answers),
        )
        return answers


def _check(weights: Weights) -> None:
    """Refuse arrays that do not fit each other: the compiled pass would read beyond them."""
    buckets, dim = weights.rows.shape
    classes = len(weights.scripts)
    wanted: list[tuple[str, NDArray[Any] | None, type[Any], tuple[int, ...]]] = [
        ("rows", weights.rows, np.int8, (buckets, dim)),
        ("row_scale", weights.row_scale, np.float32, (buckets,)),
        ("output", weights.output, np.float32, (classes, dim)),
        ("scripts", weights.scripts, np.uint64, (classes,)),
    ]
    if weights.profiles is not None:
        size = int(np.prod(weights.profiles.shape[1:]))
        wanted.append(("profiles", weights.profiles, np.uint8, (classes, size)))
        if size < 1 or size & (size - 1):
            raise DataError(
                f"the model's profiles have {size} bytes per class, not a power of two. Train it"
                " again."
            )
    for name, array, kind, shape in wanted:
        assert array is not None
        if array.shape != shape or array.dtype != kind or not array.flags.c_contiguous:
            raise DataError(
                f"the model's {name} are {array.dtype} {list(array.shape)}, not"
                f" {np.dtype(kind)} {list(shape)}: its files do not belong together. Train"
                " it again."
            )


def _side_by_side(output: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return class vectors in blocks of 16, [ceil(classes / 16), dim, 16], zeros after the last."""
    classes, dim = output.shape
    blocks = -(-classes // _CLASSES_AT_ONCE)
    whole = np.zeros((blocks * _CLASSES_AT_ONCE, dim), np.float32)
    whole[:classes] = output
    return np.ascontiguousarray(whole.reshape(blocks, _CLASSES_AT_ONCE, dim).transpose(0, 2, 1))


_LARGE_PAGE = 1 << 21
_LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def in_large_pages(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy in memory of large pages, where Linux has them; else the array itself.

    Every n-gram's row is in another place, and with pages of 4 KB finding the page of each takes
    longer than reading it. Processes forked from this one share the copy.
    """
    try:
        is_off = "[never]" in _LARGE_PAGES.read_text(encoding="ascii")
    except OSError:
        return array
    if is_off or array.nbytes < _LARGE_PAGE:
        return array
    memory = mmap.mmap(-1, array.nbytes + _LARGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(memory, np.uint8)
    start = -whole.ctypes.data % _LARGE_PAGE
    copy = whole[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def prepare_lines(lines: Sequence[str]) -> list[str]:
    """Prepare lines as `lid.engine.preparation.prepare` does, compiled.

    Raises:
        RuntimeError: If the compiled pass is not there; see `is_compiled`.
    """
    library = kernel_library()
    if library is None:
        raise RuntimeError("the compiled pass is not available")
    text, offsets = join_lines(lines)
    # A space for every four characters at most, and a ligature never triples its bytes.
    room = 3 * len(text) + 16
    out = ctypes.create_string_buffer(room)
    out_offsets = np.zeros(len(lines) + 1, np.int64)
    tables, _ = _tables()
    done = library.tongues_prepare(
        ctypes.byref(tables),
        text,
        pointer(offsets),
        ctypes.c_int64(len(lines)),
        ctypes.c_int64(MAX_CHARACTERS),
        out,
        ctypes.c_int64(room),
        pointer(out_offsets),
    )
    assert done == len(lines)
    bounds = out_offsets.tolist()
    data = ctypes.string_at(out, bounds[-1])
    return [data[start:stop].decode("utf-8") for start, stop in itertools.pairwise(bounds)]


def join_lines(lines: Sequence[str]) -> tuple[bytes, NDArray[np.int64]]:
    """Return lines as one UTF-8 text and their offsets; lone surrogates become `?`."""
    if isinstance(lines, JoinedLines):
        return lines.data, np.ascontiguousarray(lines.bounds)
    encoded = [line[:MAX_CHARACTERS].encode("utf-8", "replace") for line in lines]
    offsets = np.zeros(len(lines) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, encoded), np.int64, len(lines)), out=offsets[1:])
    return b"".join(encoded), offsets


def pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    """Return the address of an array's values."""
    return ctypes.c_void_p(array.ctypes.data)
