"""Writing of bitext, whole or not at all: Parquet, TSV or TMX, as the suffix says.

A TSV has no quoting, since a `csv` writer would double every quotation mark of the text.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.errors import UserError
from corpus.files import atomic_path, open_binary

BITEXT_SUFFIXES = (".parquet", ".tsv", ".tsv.gz", ".tsv.zst")
_ROW_GROUP = 1 << 16


def check_bitext_name(path: Path) -> None:
    """Refuse a path that bitext cannot be written to; called before the work starts.

    Raises:
        UserError: If the suffix is of no format, or the path is a directory.
    """
    if not path.name.endswith(BITEXT_SUFFIXES):
        raise UserError(f"{path}: bitext is written as {', '.join(BITEXT_SUFFIXES)}")
    if path.is_dir():
        raise UserError(f"{path} is a directory; bitext is written to a file")


@contextmanager
def bitext_writer(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that appends tables of `schema` to a file that appears whole or not at all.

    Parquet with a row group per table, or TSV with a header, as the suffix says.

    Raises:
        UserError: If the suffix is of neither.
    """
    check_bitext_name(path)
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
                yield functools.partial(writer.write_table, row_group_size=_ROW_GROUP)
        else:
            with open_binary(temporary, "wb") as file:
                file.write("\t".join(schema.names).encode("utf-8") + b"\n")
                yield lambda table: _write_rows(file.write, table)


def _write_rows(write: Callable[[bytes], object], table: pa.Table) -> None:
    columns = [_cells(column) for column in table.columns]
    for row in zip(*columns, strict=True):
        write("\t".join(row).encode("utf-8", "replace") + b"\n")


def _cells(column: pa.ChunkedArray) -> list[str]:
    """Return a column as text; what would end a cell or a line becomes a space."""
    text = pc.fill_null(column.cast(pa.string()), "")
    if not pa.types.is_string(column.type):
        return text.to_pylist()  # type: ignore[no-any-return]
    return [cell.replace("\t", " ").replace("\n", " ") for cell in text.to_pylist()]
