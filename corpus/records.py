"""Sentences and bitext as files: schemas, readers, writers. See docs/formats.md."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.errors import DataError, UserError
from corpus.files import atomic_path, read_lines, write_lines
from corpus.languages import Direction, is_language

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

_BITEXT_SUFFIXES = (".parquet", ".tsv", ".tsv.gz", ".tsv.zst")


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as Parquet, whole or not at all; equal tables give equal bytes."""
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a Parquet file that has at least the columns of `schema`.

    Raises:
        UserError: If the file does not exist.
        DataError: If it is not Parquet or lacks a column.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from error
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise DataError(
            f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(table.column_names)}"
        )
    return table


def read_bitext(path: Path) -> pa.Table:
    """Read sentence pairs; the table has at least `source` and `target`.

    Parquet; TSV (plain, `.gz`, `.zst`) with a header that names both; or TSV without a header,
    whose first two columns are source and target.

    Raises:
        UserError: If the file does not exist.
        DataError: If it is damaged or a line lacks a column; the message names the line.
    """
    if path.suffix == ".parquet":
        return read_table(path, pa.schema([("source", pa.string()), ("target", pa.string())]))
    rows = [line.split("\t") for line in read_lines(path)]
    first = 0
    columns = {"source": 0, "target": 1}
    if rows and {"source", "target"} <= set(rows[0]):
        columns = {name: i for i, name in enumerate(rows[0])}
        first = 1
    width = max(columns["source"], columns["target"]) + 1
    for number, row in enumerate(rows[first:], first + 1):
        if len(row) < width:
            raise DataError(f"{path}:{number}: {len(row)} columns where a pair needs {width}")
    table: dict[str, pa.Array] = {
        name: pa.array([row[i] if i < len(row) else "" for row in rows[first:]], pa.string())
        for name, i in columns.items()
    }
    if "score" in table:
        try:
            table["score"] = table["score"].cast(pa.float32())
        except pa.ArrowInvalid as error:
            raise DataError(f"{path}: column `score` holds what is not a number: {error}") from None
    return pa.table(table)


def write_bitext(path: Path, table: pa.Table) -> None:
    """Write sentence pairs as Parquet, or as TSV with a header, as the suffix says."""
    if path.suffix == ".parquet":
        write_table(path, table)
        return
    if not path.name.endswith((".tsv", ".tsv.gz", ".tsv.zst")):
        raise UserError(f"{path}: bitext is written as .parquet, .tsv, .tsv.gz or .tsv.zst")
    columns = [table.column(name).to_pylist() for name in table.column_names]
    lines = ["\t".join(table.column_names)]
    lines += ["\t".join(_tsv_cell(cell) for cell in row) for row in zip(*columns, strict=True)]
    write_lines(path, lines)


def _tsv_cell(value: object) -> str:
    return "" if value is None else str(value).replace("\t", " ").replace("\n", " ")


def bitext_files(directory: Path) -> dict[Direction, Path]:
    """Return the `<source>-<target>` bitext files of a directory by direction, sorted.

    Raises:
        UserError: If the directory is missing, holds none, or holds a direction twice.
    """
    if not directory.is_dir():
        raise UserError(f"bitext directory {directory} does not exist")
    found: dict[Direction, Path] = {}
    for path in sorted(directory.iterdir()):
        direction = _direction_of(path)
        if direction is None:
            continue
        if direction in found:
            raise UserError(
                f"{directory} holds {direction} twice: {found[direction].name}, {path.name}"
            )
        found[direction] = path
    if not found:
        raise UserError(
            f"{directory} holds no bitext; files are named <source>-<target> and end in"
            f" {', '.join(_BITEXT_SUFFIXES)}"
        )
    return found


def _direction_of(path: Path) -> Direction | None:
    for suffix in _BITEXT_SUFFIXES:
        stem = path.name.removesuffix(suffix)
        if stem != path.name and stem.count("-") == 1:
            source, target = stem.split("-")
            if is_language(source) and is_language(target):
                return Direction(source, target)
    return None


def labeled_text_files(directory: Path) -> dict[str, Path]:
    """Return the `<language>.txt[.gz|.zst]` files of a directory by language, sorted.

    Raises:
        UserError: If the directory is missing, holds none, or names a language nobody knows.
    """
    if not directory.is_dir():
        raise UserError(f"text directory {directory} does not exist")
    found: dict[str, Path] = {}
    for path in sorted(directory.iterdir()):
        for suffix in (".txt", ".txt.gz", ".txt.zst"):
            language = path.name.removesuffix(suffix)
            if language == path.name or "." in language or path.name.startswith("."):
                continue
            if language in found:
                raise UserError(
                    f"{directory} holds {language} twice: {found[language].name}, {path.name}"
                )
            found[language] = path
    if not found:
        raise UserError(f"{directory} holds no file named <language>.txt, .txt.gz or .txt.zst")
    return found


def sentence_shards(directory: Path, language: str) -> list[Path]:
    """Return the sentence shards of a language, sorted by name.

    Raises:
        UserError: If there are none.
    """
    shards = sorted((directory / language).glob("*.parquet"))
    if not shards:
        raise UserError(f"{directory} holds no sentences of `{language}`")
    return shards


def sentence_languages(directory: Path) -> Iterator[str]:
    """Yield the languages that a sentences directory has shards of, sorted."""
    if not directory.is_dir():
        raise UserError(f"sentences directory {directory} does not exist")
    for folder in sorted(directory.iterdir()):
        if is_language(folder.name) and any(folder.glob("*.parquet")):
            yield folder.name


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
