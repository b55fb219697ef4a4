"""Tables of the checks: TSV in which an empty cell is what could not be measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from corpus.files import write_lines


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a TSV with a header, whole or not at all; None is an empty cell."""
    table = ("\t".join(map(_cell, row)) for row in rows)
    write_lines(path, ["\t".join(columns), *table])


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return repr(value)  # keeps every bit
    return str(value).replace("\t", " ").replace("\n", " ")


def rate(count: int | None, n: int) -> float | None:
    """Return count / n; None where there is nothing to divide."""
    return None if count is None or n == 0 else count / n


def mean(values: Sequence[float | None]) -> dict[str, Any]:
    """Return the plain mean of what is there, with how much is there and how much is not."""
    there = [value for value in values if value is not None]
    return {
        "mean": sum(there) / len(there) if there else None,
        "n": len(there),
        "n_missing": len(values) - len(there),
    }
