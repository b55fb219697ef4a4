"""Tables as TSV with a header: columns go by name, and an empty cell is a value that is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from corpus.errors import DataError
from corpus.files import read_lines, write_lines

_SHOWN = 200
"""Characters of a header that a message quotes: a file that is not a table may be one long line."""


def read_rows(path: Path, required: Sequence[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield the line number and the cells of each row that is not blank, by column.

    Raises:
        UserError: If there is no such file.
        DataError: If the header lacks a required column or has one twice, or a row has more or
            fewer cells than the header; the message names the line.
    """
    if path.is_dir():
        raise DataError(f"{path} is a directory; a table is a TSV file")
    lines = read_lines(path)
    header = lines[0].split("\t") if lines else []
    if not set(required) <= set(header):
        shown = " ".join(header)
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
        raise DataError(
            f"{path} needs the columns {', '.join(required)}, separated by tabs; its header is"
            f" `{shown}`"
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{path}:1: the header has {', '.join(f'`{one}`' for one in twice)} twice")
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != len(header):
            raise DataError(
                f"{path}:{number}: {len(cells)} columns where the header has {len(header)}"
            )
        yield number, dict(zip(header, cells, strict=True))


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table, whole or not at all; None is an empty cell."""
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
