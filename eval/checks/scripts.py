"""In which script a line is written, for many lines at once."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence

import numpy as np
import regex
from numpy.typing import NDArray

from corpus.text import script_parts, scripts_by_code

_SHARED = 0
_NEWLINE = 10


def lines_in_other_script(lines: Sequence[str], script: str, min_share: float) -> int:
    """Count the lines whose letters belong less than `min_share` to a language's script.

    Characters that all scripts share (digits, punctuation, marks) are left out; a line of nothing
    else is in no other script. Letters of scripts the package does not know count as another.

    Args:
        lines: Lines without newlines.
        script: ISO 15924 code, as in a language's code; `Jpan` is Han and kana.
        min_share: In (0, 1].
    """
    if not lines:
        return 0
    table, numbers = _script_table()
    own = [numbers[part] for part in script_parts(script) if part in numbers]
    text = "\n".join(line.replace("\n", " ") for line in lines)
    characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    scripts = table[characters]
    line_of = np.cumsum(characters == _NEWLINE)
    letters = np.bincount(line_of[scripts != _SHARED], minlength=len(lines))
    inside = np.bincount(line_of[np.isin(scripts, own)], minlength=len(lines))
    return int(((letters > 0) & (inside < min_share * letters)).sum())


@functools.cache
def _script_table() -> tuple[NDArray[np.uint8], dict[str, int]]:
    """Return the script number of every code point, 0 for shared ones, and the numbers by code."""
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    table = np.zeros(sys.maxunicode + 1, dtype=np.uint8)
    names = scripts_by_code()
    numbers = {code: number for number, code in enumerate(names, 1)}
    unknown = len(names) + 1
    for run in regex.finditer(r"\p{L}+", everything):
        table[run.start() : run.end()] = unknown
    for shared in (r"\p{Script=Common}+", r"\p{Script=Inherited}+"):
        for run in regex.finditer(shared, everything):
            table[run.start() : run.end()] = _SHARED
    for code, name in names.items():
        for run in regex.finditer(rf"\p{{Script={name}}}+", everything):
            table[run.start() : run.end()] = numbers[code]
    return table, numbers
