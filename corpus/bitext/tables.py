"""Parts that the formats share: bounded batches, text as Arrow arrays, names of columns."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from corpus.bitext_columns import SIDES
from corpus.errors import DataError
from corpus.languages import Direction

BATCH_ROWS = 1 << 14
"""Pairs in memory at a time; also the row group of what is written."""

BATCH_CHARACTERS = 32 << 20
"""Text in memory at a time, besides one pair."""

FIRST_LINES = 100
"""Lines or units from which the columns and languages of a file are recognized."""

PAIR_SCHEMA = pa.schema([(name, pa.string()) for name in SIDES])


class PairFormat(Protocol):
    """The pairs of one file, or of several that belong together."""

    schema: pa.Schema

    def tables(self) -> Iterator[pa.Table]:
        """Yield the pairs in order, from the beginning."""
        ...

    def count(self) -> int:
        """Return the number of pairs."""
        ...

    def copy_first(self, folder: Path, direction: Direction, pairs: int) -> int:
        """Copy the first pairs to a folder, in a file named by a direction; return how many.

        What the config key `columns` names has the same names there.
        """
        ...


def text_array(texts: Sequence[str | None]) -> pa.Array:
    """Return texts as an array; half a surrogate pair, which JSON can hold, becomes U+FFFD."""
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        return pa.array(
            [text and text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
             for text in texts],
            pa.string(),
        )  # fmt: skip


def number_array(
    cells: Sequence[str], place: object, numbers: Sequence[int], name: str
) -> pa.Array:
    """Return cells as 32-bit floats; an empty cell is null.

    Args:
        cells: Of one column.
        place: Their file, for messages.
        numbers: Of their lines.
        name: Of the column.

    Raises:
        DataError: If one is not a number; the message names the line.
    """
    column = pa.array([cell or None for cell in cells], pa.string())
    try:
        return column.cast(pa.float32())
    except pa.ArrowInvalid as error:
        number = numbers[next(i for i, cell in enumerate(cells) if cell and not _casts(cell))]
        raise DataError(
            f"{place}:{number}: column `{name}` holds what is not a number: {error}"
        ) from None


def _casts(cell: str) -> bool:
    try:
        pa.array([cell]).cast(pa.float32())
    except pa.ArrowInvalid:
        return False
    return True


def unique_names(names: Sequence[str], chosen: Mapping[str, int]) -> dict[str, int]:
    """Return the place of each column by name, our names for those that were chosen."""
    ours = {place: name for name, place in chosen.items()}
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        plain = ours.get(place) or name.strip().strip('"') or f"column_{place + 1}"
        same = 1
        unique = plain
        while place not in ours and (unique in places or unique in chosen):
            same += 1
            unique = f"{plain}_{same}"
        places[unique] = place
    return places
