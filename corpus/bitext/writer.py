"""Writing of bitext, whole or not at all: Parquet, TSV or TMX, as the suffix says.

A TSV has no quoting, since a `csv` writer would double every quotation mark of the text.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.bitext.directions import direction_by_name
from corpus.bitext.tmx_writer import TmxWriter
from corpus.errors import UserError
from corpus.files import atomic_path, open_binary
from corpus.languages import Direction

BITEXT_SUFFIXES = (".parquet", ".tsv", ".tsv.gz", ".tsv.zst", ".tmx", ".tmx.gz", ".tmx.zst")
_ROW_GROUP = 1 << 16


def check_bitext_name(path: Path, direction: Direction | None = None) -> None:
    """Refuse a path that bitext cannot be written to; called before the work starts.

    Args:
        path: Where it would go.
        direction: Of the pairs, where it is known; TMX names its languages.

    Raises:
        UserError: If the suffix is of no format, the path is a directory, or the languages of a
            TMX are not known.
    """
    if not path.name.endswith(BITEXT_SUFFIXES):
        raise UserError(f"{path}: bitext is written as {', '.join(BITEXT_SUFFIXES)}")
    if path.is_dir():
        raise UserError(f"{path} is a directory; bitext is written to a file")
    if _is_tmx(path) and direction is None and direction_by_name(path) is None:
        raise UserError(
            f"{path}: a TMX names its languages; let the file name them, as eng_Latn-fra_Latn.tmx"
        )


@contextmanager
def bitext_writer(
    path: Path, schema: pa.Schema, direction: Direction | None = None
) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that appends tables of `schema` to a file that appears whole or not at all.

    Parquet with a row group per table, TSV with a header, or TMX, as the suffix says.

    Args:
        path: The file.
        schema: Of all tables.
        direction: For TMX, whose languages the file's name does not tell.

    Raises:
        UserError: As of `check_bitext_name`.
    """
    check_bitext_name(path, direction)
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
                yield functools.partial(writer.write_table, row_group_size=_ROW_GROUP)
        elif _is_tmx(path):
            known = direction or direction_by_name(path)
            assert known is not None
            with open_binary(temporary, "wb") as file:
                tmx = TmxWriter(file.write, known)
                yield tmx.write_table
                tmx.finish()
        else:
            with open_binary(temporary, "wb") as file:
                file.write("\t".join(schema.names).encode("utf-8") + b"\n")
                yield lambda table: _write_rows(file.write, table)


def _is_tmx(path: Path) -> bool:
    return path.name.endswith((".tmx", ".tmx.gz", ".tmx.zst"))


def _write_rows(write: Callable[[bytes], object], table: pa.Table) -> None:
    columns = [_cells(column) for column in table.columns]
    for row in zip(*columns, strict=True):
        write("\t".join(row).encode("utf-8", "replace") + b"\n")


def _cells(column: pa.ChunkedArray) -> list[str]:
    """Return a column as text; what would end a cell or a line becomes a space."""
    text = [cell or "" for cell in column.cast(pa.string()).to_pylist()]
    if not pa.types.is_string(column.type):
        return text
    return [cell.replace("\t", " ").replace("\n", " ") for cell in text]
