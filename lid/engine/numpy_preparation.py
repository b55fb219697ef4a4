"""`lid.engine.preparation` for many lines at once, in NumPy: used without a compiled pass.

Lines are joined by line breaks, every character is looked up once in one table, and what goes or
changes is found by masks over all of them.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lid.engine.characters import (
    CHINESE_SCRIPTS,
    DIGIT,
    HAN,
    LETTER,
    MARK,
    SCRIPT_SHIFT,
    SPACE,
    UNSPACED_FLAG,
    WORD,
    character_tables,
    script_numbers,
)
from lid.engine.preparation import MAX_CHARACTERS, PIECE_CHARACTERS, defuse, fold

_CODE_POINTS = 0x110000
_BREAK, _BLANK, _ZERO = ord("\n"), ord(" "), ord("0")
_SCRIPT_MASK = np.uint32(0x3F)


class Scan(NamedTuple):
    """What the characters of N lines are."""

    has_letters: NDArray[np.bool_]
    """Whether a line holds a letter of any script, [N]."""

    scripts: NDArray[np.uint64]
    """Bit s for each script of the line, numbered as in `lid.engine.characters`, [N]."""

    writable: NDArray[np.uint64]
    """Of these the bits of which a class needs one: Chinese is in the script that more of its
    characters are in only, [N]."""


@functools.cache
def _tables() -> tuple[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.uint32]]:
    """Return kind, script bit and lower case of every code point."""
    tables = character_tables()
    known = len(tables.flags)
    kinds = np.zeros(_CODE_POINTS, np.uint8)
    kinds[:known] = tables.flags & 0xFF
    scripts = np.zeros(_CODE_POINTS, np.uint64)
    numbers = tables.flags >> SCRIPT_SHIFT & _SCRIPT_MASK
    scripts[:known] = np.where(numbers > 0, np.uint64(1) << numbers.astype(np.uint64), 0)
    lower = np.arange(_CODE_POINTS, dtype=np.uint32)
    lower[:known] = tables.lower
    lower[ord("ς")] = ord("σ")
    return kinds, scripts, lower


def prepare_many(lines: Sequence[str]) -> list[str]:
    """Prepare lines exactly as `lid.engine.preparation.prepare` does one.

    Args:
        lines: Text of any content and length.

    Returns:
        The prepared lines, in order.
    """
    if not lines:
        return []
    kinds, _, lower = _tables()
    points = lower[_code_points(lines)]
    kind = kinds[points]
    breaks = np.flatnonzero(points == _BREAK)
    np.putmask(points, kind & SPACE != 0, _BLANK)
    points[breaks] = _BREAK
    np.putmask(points, kind & DIGIT != 0, _ZERO)
    # Of a run of spaces, of digits, or of one mark, only the first stays.
    goes = kind[1:] & kind[:-1] & (DIGIT | SPACE) != 0
    goes |= (points[1:] == points[:-1]) & (kind[1:] & (WORD | SPACE) == 0)
    goes[breaks[1:] - 1] = False
    text = np.concatenate([points[:1], points[1:][~goes]])
    is_last_space = (text[:-1] == _BLANK) & (text[1:] == _BREAK)
    if is_last_space.any():
        text = text[np.append(~is_last_space, True)]
    whole = _as_text(text)
    prepared = whole[1:-1].split("\n")
    kinds_of_lines = np.bitwise_or.reduceat(kind, breaks[:-1])
    unspaced = np.flatnonzero(kinds_of_lines & UNSPACED_FLAG).tolist()
    cut = _cut_unspaced([prepared[row] for row in unspaced])
    for row, line in zip(unspaced, cut, strict=True):
        prepared[row] = line
    if "__" in whole or "</s>" in whole:
        prepared = [defuse(line) for line in prepared]
    return prepared


def _code_points(lines: Sequence[str]) -> NDArray[np.uint32]:
    """Return the code points of lines in NFC, a line break before, between and after them."""
    # Line by line: most lines pass the quick check for NFC, and their whole would not.
    composed = [
        unicodedata.normalize("NFC", fold(line[:MAX_CHARACTERS]).strip()).replace("\n", " ")
        for line in lines
    ]
    # The one character whose lower case is two.
    whole = "\n".join(composed).replace("İ", "i\u0307")
    return np.frombuffer(f"\n{whole}\n".encode("utf-32-le", "replace"), np.uint32)


def _as_text(points: NDArray[np.uint32]) -> str:
    return points.tobytes().decode("utf-32-le")


def _cut_unspaced(lines: Sequence[str]) -> list[str]:
    """Cut runs of scripts without spaces into pieces, as `preparation.cut_unspaced` does."""
    if not lines:
        return []
    kinds, _, _ = _tables()
    points = np.frombuffer("\n".join(lines).encode("utf-32-le"), np.uint32)
    kind = kinds[points]
    is_unspaced, is_mark = kind & UNSPACED_FLAG != 0, kind & MARK != 0
    place = np.arange(len(points))
    # A mark of no script belongs to the letter before it.
    owner = np.maximum.accumulate(np.where(is_mark & ~is_unspaced, 0, place))
    inside = is_unspaced[owner]
    was_inside = np.append(False, inside[:-1])
    begins = is_unspaced & ~(is_mark & was_inside)
    number = np.cumsum(begins)
    number -= np.maximum.accumulate(np.where(inside & ~was_inside, number - 1, 0))
    # After the last mark of every fourth letter, where the line goes on without a space.
    goes_on = np.append(kind[1:] & SPACE == 0, False)
    next_begins = np.append(begins[1:] | ~inside[1:], True)
    is_end = inside & next_begins & goes_on & (number % PIECE_CHARACTERS == 0)
    return _as_text(np.insert(points, np.flatnonzero(is_end) + 1, _BLANK)).split("\n")


def scan(texts: Sequence[str]) -> Scan:
    """Return which of some prepared lines hold letters, and of which scripts."""
    if not texts:
        return Scan(np.zeros(0, bool), np.zeros(0, np.uint64), np.zeros(0, np.uint64))
    kinds, scripts, _ = _tables()
    whole = "\n".join(texts) + "\n"
    points = np.frombuffer(whole.encode("utf-32-le"), np.uint32)
    sizes = np.fromiter(map(len, texts), np.int64, len(texts)) + 1
    starts = np.cumsum(sizes) - sizes
    found = np.bitwise_or.reduceat(scripts[points], starts)
    return Scan(
        np.bitwise_or.reduceat(kinds[points], starts) & LETTER != 0,
        found,
        _writable(texts, found),
    )


def _writable(texts: Sequence[str], scripts: NDArray[np.uint64]) -> NDArray[np.uint64]:
    han, simplified, traditional = (
        np.uint64(1 << script_numbers()[code]) for code in (HAN, *CHINESE_SCRIPTS)
    )
    both = simplified | traditional
    kinds = scripts & both
    kinds[(kinds == 0) & (scripts & han != 0)] = both
    rows = np.flatnonzero(scripts & both == both)
    mixed = [texts[row] for row in rows.tolist()]
    first, second = (
        count_in_scripts(mixed, np.full(len(mixed), one)) for one in (simplified, traditional)
    )
    kinds[rows] = np.where(first == second, both, np.where(first > second, simplified, traditional))
    return np.asarray(scripts & ~(han | both) | kinds)


def count_in_scripts(texts: Sequence[str], wanted: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Return how many characters of each prepared line are in the scripts wanted for it, [N].

    Args:
        texts: Prepared lines, none empty.
        wanted: Bits of scripts, [N].
    """
    if not texts:
        return np.zeros(0, np.int32)
    _, scripts, _ = _tables()
    points = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    is_in = (scripts[points] & np.repeat(wanted, sizes)) != 0
    return np.add.reduceat(is_in, np.cumsum(sizes) - sizes, dtype=np.int32)
