"""Sentences and bitext as files: schemas, readers, writers. See docs/formats.md."""

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from corpus import stores
from corpus.bitext import BitextReader, bitext_files, bitext_writer
from corpus.errors import DataError, UserError
from corpus.files import atomic_path
from corpus.jobs.receipts import recorded_outputs
from corpus.languages import Direction, find_language, is_language, language_choices, parse_language
from corpus.parquet import (
    MAX_TABLE_BYTES,
    checked_text,
    is_text_type,
    iterate_batches,
    open_parquet,
    read_columns,
)

logger = logging.getLogger(__name__)

SENTENCES_SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("lid_score", pa.float32()),
        ("document", pa.string()),
        ("position", pa.int32()),
        ("hash", pa.uint64()),
    ]
)
"""A sentence of a shard: its document (URL or id) and its position there, from 0."""

BITEXT_SCHEMA = pa.schema(
    [
        ("score", pa.float32()),
        ("source", pa.string()),
        ("target", pa.string()),
        ("source_document", pa.string()),
        ("target_document", pa.string()),
    ]
)
"""A sentence pair with its margin score and where both sides come from."""

_TEXT_SUFFIXES = (".txt", ".txt.gz", ".txt.zst")
_SHOWN = 10
"""Files that are named in one message."""

_BATCH_ROWS = 4096
_STREAMED_ROWS = 1 << 14


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as Parquet, whole or not at all; equal tables give equal bytes."""
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_as_written(path: Path, columns: Sequence[str]) -> pa.Table:
    """Read columns of a file that `write_table` wrote; it may be damaged, but is of no other kind.

    Unlike `read_table`, it imports no pyarrow.compute, which takes a third of a second.

    Raises:
        DataError: If it is not Parquet, or lacks a column.
    """
    with open_parquet(path, path) as file:
        missing = set(columns) - set(file.schema_arrow.names)
        if missing:
            raise DataError(f"{path} is damaged: it lacks the columns {', '.join(sorted(missing))}")
        return file.read(list(columns), use_threads=False)


def read_table(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file that has at least the columns of `schema`; all of them, or some.

    Raises:
        UserError: If the file does not exist.
        DataError: If it is not Parquet, or lacks a column or holds something else in it.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist")
    with open_parquet(path, path) as file:
        _check_columns(path, file.schema_arrow, schema)
        table = read_columns(file, path, columns or file.schema_arrow.names)
        return in_types_of(path, table, schema)


def in_types_of(path: Path, table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with its columns in the types of a schema.

    pandas and polars write `large_string`, dictionaries and 64-bit integers.

    Raises:
        DataError: If a number does not fit, or text is not UTF-8.
    """
    columns = []
    for name, column in zip(table.schema.names, table.columns, strict=True):
        if name in schema.names:
            kind = schema.field(name).type
            try:
                is_text = pa.types.is_string(kind)
                column = checked_text(column) if is_text else column.cast(kind)
            except pa.ArrowInvalid as error:
                raise DataError(f"{path}: column `{name}` is damaged: {error}") from None
        columns.append(column)
    return pa.Table.from_arrays(columns, names=table.schema.names)


def _without_nulls(path: Path, table: pa.Table) -> pa.Table:
    """Return a table with empty text for null.

    Raises:
        DataError: If a number is null.
    """
    for place, field in enumerate(table.schema):
        column = table.column(place)
        if column.null_count and not pa.types.is_string(field.type):
            raise DataError(f"{path}: column `{field.name}` holds nulls, and a value is needed")
        if column.null_count:
            table = table.set_column(place, field, column.fill_null(""))
    return table


def _is_readable_as(there: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_dictionary(there):
        there = there.value_type
    return bool(
        there == wanted
        or (pa.types.is_string(wanted) and is_text_type(there))
        or (pa.types.is_integer(wanted) and pa.types.is_integer(there))
        or (pa.types.is_floating(wanted) and pa.types.is_floating(there))
    )


def _check_columns(path: Path, there: pa.Schema, wanted: pa.Schema) -> None:
    """Refuse a file without some columns, or with other things in them.

    Raises:
        DataError: Naming them.
    """
    missing = [name for name in wanted.names if name not in there.names]
    if missing:
        raise DataError(
            f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(there.names)}"
        )
    for field in wanted:
        if there.names.count(field.name) > 1:
            raise DataError(f"{path} has the column `{field.name}` twice")
        if not _is_readable_as(there.field(field.name).type, field.type):
            raise DataError(
                f"{path}: column `{field.name}` holds {there.field(field.name).type}, not"
                f" {field.type}"
            )


def sentence_batches(
    path: Path, columns: Sequence[str], rows: int = _STREAMED_ROWS
) -> Iterator[pa.RecordBatch]:
    """Yield columns of a sentence shard, so many rows at a time.

    Raises:
        DataError: If it is not whole, or lacks a column or holds something else in it.
    """
    with open_parquet(path, path) as file:
        wanted = pa.schema([SENTENCES_SCHEMA.field(name) for name in columns])
        _check_columns(path, file.schema_arrow, wanted)
        for table in iterate_batches(file, path, columns, rows):
            table = in_types_of(path, table.select(columns), wanted)
            yield from _without_nulls(path, table).to_batches()


def take_sentences(
    path: Path, columns: Sequence[str], rows: npt.NDArray[np.integer[Any]]
) -> pa.Table:
    """Return some rows of a sentence shard, in the order asked for, without holding the others.

    Raises:
        DataError: As `sentence_batches`.
    """
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    parts = [pa.schema([SENTENCES_SCHEMA.field(name) for name in columns]).empty_table()]
    begin = start = 0
    for batch in sentence_batches(path, columns):
        end = int(np.searchsorted(ordered, start + batch.num_rows))
        if end > begin:
            parts.append(pa.Table.from_batches([batch]).take(ordered[begin:end] - start))
        begin, start = end, start + batch.num_rows
    back = np.empty(len(rows), np.int64)
    back[order] = np.arange(len(rows))
    return pa.concat_tables(parts).take(back)


def count_rows(path: Path) -> int:
    """Return the number of rows of a Parquet file, from its footer.

    Raises:
        DataError: If it is not Parquet.
    """
    place = stores.place_of(path)
    if place is not None and not path.exists():
        with place.file.open() as source, open_parquet(source, place.file) as file:
            return int(file.metadata.num_rows)
    with open_parquet(path, path) as file:
        return int(file.metadata.num_rows)


def read_first_rows(path: Path, schema: pa.Schema, rows: int) -> pa.Table:
    """Read the first rows of a Parquet file, or all where it has fewer, without the others.

    Raises:
        DataError: If it is not Parquet or lacks a column.
    """
    with open_parquet(path, path) as file:
        _check_columns(path, file.schema_arrow, schema)
        tables, left = [schema.empty_table()], rows
        for table in iterate_batches(file, path, schema.names, min(_BATCH_ROWS, max(1, rows))):
            tables.append(in_types_of(path, table.slice(0, left).select(schema.names), schema))
            left -= tables[-1].num_rows
            if left <= 0:
                break
    return pa.concat_tables(tables)


def read_bitext(
    path: Path, columns: Mapping[str, str] | None = None, direction: Direction | None = None
) -> pa.Table:
    """Read a whole bitext; see `BitextReader`, which reads it batch by batch."""
    reader = BitextReader(path, columns=columns, direction=direction)
    tables: list[pa.Table] = []
    size = 0
    for table in reader:
        size += table.nbytes
        if size > MAX_TABLE_BYTES:
            raise DataError(
                f"{path} holds more than {MAX_TABLE_BYTES / 1e9:.1f} GB; split it, or check whether"
                " it is damaged"
            )
        tables.append(table)
    return pa.concat_tables(tables) if tables else reader.schema.empty_table()


def write_bitext(path: Path, table: pa.Table) -> None:
    """Write sentence pairs as Parquet, or as TSV with a header, as the suffix says."""
    with bitext_writer(path, table.schema) as write:
        write(table)


def labeled_text_files(directory: Path) -> dict[str, Path]:
    """Return the `<language>.txt[.gz|.zst]` files of a directory by language, sorted.

    Other files are listed in a warning.

    Raises:
        UserError: If the directory is missing or holds none, or if a name means several languages
            or a language is there twice.
    """
    if not directory.is_dir():
        raise UserError(f"text directory {directory} does not exist")
    found: dict[str, Path] = {}
    others: list[str] = []
    for path in sorted(directory.iterdir()):
        suffix = next((one for one in _TEXT_SUFFIXES if path.name.endswith(one)), "")
        name = path.name.removesuffix(suffix)
        if not suffix or not language_choices(name):
            others += [] if is_by_product(path) else [path.name]
            continue
        try:
            language = parse_language(name).code
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        if language in found:
            raise UserError(
                f"{directory} holds {language} twice: {found[language].name}, {path.name}"
            )
        found[language] = path
    expected = f"<language>{', '.join(_TEXT_SUFFIXES)}"
    if not found:
        there = f"; it has {_listed(others)}" if others else ""
        raise UserError(f"{directory} holds no file named {expected}{there}")
    if others:
        warn_of_others(directory, tuple(others), f"text is in {expected}")
    return dict(sorted(found.items()))


def is_by_product(path: Path) -> bool:
    """Whether a file or directory beside input is known not to be one."""
    return (
        path.name.startswith(".")
        or path.name in ("receipts", "rejects", "report.html")
        or path.name.endswith("config.yaml")
    )


@functools.cache
def warn_of_others(directory: Path, names: tuple[str, ...], expected: str) -> None:
    """Log what is left out of a directory, once per run."""
    logger.warning("%s: left out because of the name: %s; %s", directory, _listed(names), expected)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"


def sentence_shards(directory: Path, language: str) -> list[Path]:
    """Return the sentence shards of a language, sorted by name.

    Raises:
        UserError: If there are none.
    """
    shards = _shards_in(directory / language)
    if stores.place_of(directory) is not None:
        # What a killed run uploaded before it wrote the receipt is no result.
        results = recorded_outputs(directory)
        shards = [shard for shard in shards if not results or shard in results]
    if not shards:
        there = [name for name in stores.names_in(directory) if is_language(name)]
        other = find_language(language, there)
        hint = f"; it has them as `{other}`" if other not in (None, language) else ""
        raise UserError(f"{stores.shown(directory)} holds no sentences of `{language}`{hint}")
    return shards


def _shards_in(folder: Path) -> list[Path]:
    # Not those that a killed run left half-written under a hidden name.
    return [
        folder / name
        for name in stores.names_in(folder)
        if name.endswith(".parquet") and not name.startswith(".")
    ]


def sentence_languages(directory: Path) -> Iterator[str]:
    """Yield the languages that a sentences directory has shards of, sorted.

    Other directories with shards are listed in a warning.
    """
    names = stores.names_in(directory)
    if not names and not directory.is_dir():
        raise UserError(f"sentences directory {stores.shown(directory)} does not exist")
    with_shards = [
        name for name in names if not name.startswith(".") and _shards_in(directory / name)
    ]
    others = tuple(name for name in with_shards if not is_language(name))
    if others:
        warn_of_others(directory, others, "sentences are in <language>, as eng_Latn")
    yield from (name for name in with_shards if is_language(name))


__all__ = [
    "BITEXT_SCHEMA",
    "SENTENCES_SCHEMA",
    "bitext_files",
    "labeled_text_files",
    "read_bitext",
    "read_table",
    "sentence_languages",
    "sentence_shards",
    "write_bitext",
    "write_table",
]
