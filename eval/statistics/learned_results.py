"""What `tongues eval learned` wrote beside scores: systems and directions by learned metric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from corpus.errors import DataError
from eval.statistics.averages import Average, write_averages
from eval.statistics.system_table import FILE as SYSTEMS
from eval.statistics.system_table import SystemScore, read_systems
from eval.tables import read_rows

FOLDER = "learned"
"""Directory in the output; a directory per metric in it."""

AVERAGES = "averages.tsv"


class LearnedResults(NamedTuple):
    """Learned scores, as the tables of other metrics have them."""

    table: Sequence[SystemScore] = ()
    averages: Sequence[Average] = ()
    """Means over the buckets of directions; those that the model does not cover are missing."""


def learned_files(output: Path) -> list[Path]:
    """Return the files that `read_learned` reads, sorted by metric."""
    return sorted(
        path
        for name in (SYSTEMS, AVERAGES)
        for path in (output / FOLDER).glob(f"*/{name}")
        if path.is_file()
    )


def read_learned(output: Path) -> LearnedResults:
    """Read the learned scores of a directory of scores; nothing where there are none.

    Raises:
        DataError: If a file is damaged.
    """
    folders = dict.fromkeys(path.parent for path in learned_files(output))
    table = [one for folder in folders for one in read_systems(folder)]
    averages = [one for folder in folders for one in _read_averages(folder / AVERAGES)]
    return LearnedResults(table, averages)


def write_learned_averages(folder: Path, averages: Sequence[Average]) -> None:
    """Write the means of a learned metric."""
    write_averages(folder / AVERAGES, averages)


def _read_averages(path: Path) -> list[Average]:
    if not path.is_file():
        return []
    found = []
    for number, cells in read_rows(path, Average._fields[:-1]):
        try:
            mean, low, high = (
                float(cells[name]) if cells[name] else None for name in ("mean", "low", "high")
            )
            n, n_missing = int(cells["n"]), int(cells["n_missing"])
        except ValueError as error:
            raise DataError(f"{path}:{number}: not a mean of scores: {error}") from None
        system, metric, bucket = (cells[name] for name in ("system", "metric", "bucket"))
        found.append(Average(system, metric, bucket, mean, n, n_missing, low, high))
    return found
