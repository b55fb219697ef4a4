"""Test sets that are tables: JSON lines, Parquet, or TSV with a header.

- FLORES+ (https://huggingface.co/datasets/openlanguagedata/flores_plus): `<split>/<language>.jsonl`
  or `.parquet`, a segment per row: `id`, `iso_639_3`, `iso_15924`, `glottocode`, `text`, `url`,
  `domain`, `topic`, `has_image`, `has_hyperlink`, `last_updated`, in some releases `variety`.
- BOUQuET (https://huggingface.co/datasets/facebook/bouquet):
  `data/{sentence,paragraph}_level/<split>/<language>.parquet` and
  `benchmark_data/…/<split>/<source>-<target>.parquet`: `src_lang`, `tgt_lang`, `src_text`,
  `tgt_text`, `uniq_id`, `par_id`, `domain`, `register`, …
- WMT24++ (https://huggingface.co/datasets/google/wmt24pp): `en-de_DE.jsonl`: `lp`, `domain`,
  `document_id`, `segment_id`, `is_bad_source`, `source`, `target`, `original_target`. Rows with
  `is_bad_source` are not scored, as the authors say.
- TICO-19 (https://tico-19.github.io): `{dev,test}/{dev,test}.en-am.tsv`: `sourceLang`,
  `targetLang`, `sourceString`, `targetString`, `stringID`, `url`, `license`, `translator_ID`.
- Any other with a column of sources and one or more of references.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corpus.errors import DataError
from corpus.files import open_lines, read_lines
from corpus.parquet import iterate_batches, open_parquet
from corpus.test_sets.test_set import Side

MAX_ROWS = 1_000_000
"""More rows than any test set has; training data given by mistake is refused."""

TEXT_COLUMNS = ("text", "sentence")
_MAX_CHARACTERS = 1 << 28
"""Of a table whose packed form is small; FLORES+ has 60 million in all languages."""
_SOURCES = ("source", "src", "src_text", "source_text", "sourcestring", "source_string")
_TARGETS = (
    "target", "tgt", "trg", "ref", "reference", "tgt_text", "target_text", "reference_text",
    "targetstring", "target_string",
)  # fmt: skip
_NUMBERED_TARGET = re.compile(r"(?:ref|reference|target)[_-]?(?:[a-h]|\d)")
_IDS = (
    "id", "uniq_id", "stringid", "string_id", "segment_id", "seg_id", "sent_id", "line_id", "index",
)  # fmt: skip
_BAD = "is_bad_source"
_LANGUAGES = {
    "source": ("src_lang", "sourcelang", "source_lang", "source_language"),
    "target": ("tgt_lang", "targetlang", "target_lang", "target_language", "trg_lang"),
}
_PAIR = "lp"
_ISO = ("iso_639_3", "iso_15924")
_NOT_TOLD = frozenset({
    "original_target", "license", "last_updated", "glottocode", "translatorid", "translator_id",
    "split", "dataset",
})  # fmt: skip

TABLE_SUFFIXES = (".jsonl", ".ndjson", ".parquet", ".tsv")


class Table(NamedTuple):
    """Columns by lower-case name, N rows each."""

    path: Path
    columns: dict[str, list[str]]

    def find(self, names: Sequence[str]) -> str | None:
        """Return the first of some columns that is there."""
        return next((name for name in names if name in self.columns), None)


class PairTable(NamedTuple):
    """A table of sources and references."""

    source: str
    """The code of the source as the table or the file's name has it; may be empty."""
    target: str
    sides: tuple[Side, Side]
    has_ids: bool
    """Whether its ids come from a column, so that tables align by them."""


def plain_suffix(path: Path) -> str:
    """Return a file's suffix in lower case, without that of a compression."""
    return Path(re.sub(r"\.(gz|zst)$", "", path.name.casefold())).suffix


def plain_stem(path: Path) -> str:
    """Return a file's name without its suffix and that of a compression."""
    return Path(re.sub(r"\.(gz|zst)$", "", path.name)).stem


def column_names(path: Path) -> list[str]:
    """Return the columns of a table in lower case; nothing if the file is not a table with names.

    Raises:
        DataError: If the file cannot be read.
    """
    suffix = plain_suffix(path)
    if suffix == ".parquet":
        with open_parquet(path, path) as file:
            return [name.casefold() for name in file.schema_arrow.names]
    first = next((line for line in open_lines(path)), "")
    if suffix in (".jsonl", ".ndjson"):
        row = _row(path, 1, first) if first.strip() else {}
        return [name.casefold() for name in row]
    return [cell.strip().casefold() for cell in first.split("\t")]


def read_table(path: Path) -> Table:
    """Read a table; every value becomes text on one line.

    Raises:
        DataError: If it cannot be read, its rows differ in columns, or it has more than 1,000,000.
    """
    suffix = plain_suffix(path)
    if suffix == ".parquet":
        return Table(path, _read_parquet(path))
    if suffix in (".jsonl", ".ndjson"):
        return Table(path, _read_json_lines(path))
    return Table(path, _read_tsv(path))


def _read_parquet(path: Path) -> dict[str, list[str]]:
    with open_parquet(path, path) as file:
        if file.metadata.num_rows > MAX_ROWS:
            raise DataError(f"{path} has {file.metadata.num_rows:,} rows; it is not a test set")
        columns: dict[str, list[str]] = {name.casefold(): [] for name in file.schema_arrow.names}
        room, row = _MAX_CHARACTERS, 0
        for table in iterate_batches(file, path, None, 1 << 12):
            for name in table.column_names:
                try:
                    values = [_text(value) for value in table.column(name).to_pylist()]
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{path}: column `{name}` is not UTF-8 in one of the rows {row + 1:,} to"
                        f" {row + table.num_rows:,}: {error}"
                    ) from None
                columns[name.casefold()] += values
                room -= sum(map(len, values))
            row += table.num_rows
            if room < 0:
                raise DataError(
                    f"{path} has more than {_MAX_CHARACTERS:,} characters; it is not a test set"
                )
    return columns


def _row(path: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}:{number}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise DataError(f"{path}:{number}: a row is an object; this is {line[:60]!r}")
    return row


def _read_json_lines(path: Path) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = {}
    count = 0
    for number, line in enumerate(open_lines(path), 1):
        if not line.strip():
            continue
        if count >= MAX_ROWS:
            raise DataError(f"{path} has more than {MAX_ROWS:,} rows; it is not a test set")
        for name, value in _row(path, number, line).items():
            values = columns.setdefault(name.casefold(), [])
            values += [""] * (count - len(values))
            values.append(_text(value))
        count += 1
    for values in columns.values():
        values += [""] * (count - len(values))
    return columns


def _read_tsv(path: Path) -> dict[str, list[str]]:
    lines = read_lines(path)
    header = [cell.strip().casefold() for cell in lines[0].split("\t")] if lines else []
    if len(set(header)) < len(header):
        raise DataError(f"{path}:1: two columns have one name: {', '.join(header)}")
    columns: dict[str, list[str]] = {name: [] for name in header}
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != len(header):
            raise DataError(
                f"{path}:{number}: {len(cells)} columns where the header has {len(header)}"
            )
        for name, cell in zip(header, cells, strict=True):
            columns[name].append(cell)
    return columns


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes):
        value = value.decode("utf-8")
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return re.sub(r"[\r\n]+", " ", str(value)).strip("\r\n")


def is_mono(names: Sequence[str]) -> bool:
    """Whether columns are those of one language's segments, as FLORES+ has them."""
    return any(name in names for name in TEXT_COLUMNS) and not is_pair(names)


def is_pair(names: Sequence[str]) -> bool:
    """Whether columns have sources and references."""
    return any(name in names for name in _SOURCES) and bool(_target_columns(names))


def _target_columns(names: Sequence[str]) -> list[str]:
    first = [name for name in _TARGETS if name in names][:1]
    return first + sorted(name for name in names if _NUMBERED_TARGET.fullmatch(name))


def read_mono(path: Path) -> dict[str, Side]:
    """Read a table of segments; return the languages in it by their codes.

    The code is the file's name where that is one language, else the ISO columns.

    Raises:
        DataError: If there is no column of text or of ids, or an id is there twice.
    """
    table = read_table(path)
    text = table.find(TEXT_COLUMNS)
    ids = table.find(_IDS)
    if text is None or ids is None:
        raise DataError(f"{path} needs the columns `text` and `id`; it has {_listed(table)}")
    columns = table.columns
    count = len(columns[text])
    codes = [plain_stem(path)] * count
    if all(name in columns for name in _ISO):
        parts = [columns[name] for name in (*_ISO, "variety") if name in columns]
        found = ["_".join(filter(None, row)) for row in zip(*parts, strict=True)]
        if len(set(found)) > 1:
            codes = found
    places: dict[str, list[int]] = {}
    for place, code in enumerate(codes):
        places.setdefault(code, []).append(place)
    return {
        code: _side(table, rows, ids, [text], {text, ids, *_ISO, "variety"})
        for code, rows in places.items()
    }


def _side(
    table: Table, rows: Sequence[int], ids: str | None, texts: Sequence[str], used: set[str]
) -> Side:
    columns = table.columns
    numbers = [columns[ids][row] if ids else str(row + 1) for row in rows]
    if len(set(numbers)) < len(numbers):
        twice = next(one for one in numbers if numbers.count(one) > 1)
        raise DataError(f"{table.path}: the {ids} `{twice}` is there more than once")
    for name in texts:
        if rows and not any(columns[name][row].strip() for row in rows):
            raise DataError(f"{table.path}: the column `{name}` is empty in all {len(rows):,} rows")
    told = {
        name: [values[row] for row in rows]
        for name, values in columns.items()
        if name not in used and name not in _NOT_TOLD and name != _BAD
    }
    kept = (
        [columns[_BAD][row].casefold() not in ("yes", "true", "1") for row in rows]
        if (_BAD in columns)
        else None
    )
    return Side(numbers, [[columns[name][row] for row in rows] for name in texts], told, kept)


def read_pair_table(path: Path) -> PairTable:
    """Read a table of sources and references.

    Raises:
        DataError: If it has no such columns, several directions, or an id twice.
    """
    table = read_table(path)
    source = table.find(_SOURCES)
    targets = _target_columns(list(table.columns))
    if source is None or not targets:
        raise DataError(
            f"{path} needs a column of sources (source, src_text, …) and one of references"
            f" (target, tgt_text, ref, …); it has {_listed(table)}"
        )
    ids = next((name for name in _IDS if name in table.columns and _are_different(table, name)), "")
    used = {source, *targets, ids, _PAIR, *(one for names in _LANGUAGES.values() for one in names)}
    rows = range(len(table.columns[source]))
    left, right = (_side(table, rows, ids or None, texts, used) for texts in ([source], targets))
    codes = _codes(table)
    return PairTable(codes[0], codes[1], (left, right), bool(ids))


def _are_different(table: Table, name: str) -> bool:
    values = table.columns[name]
    return all(values) and len(set(values)) == len(values)


def _codes(table: Table) -> tuple[str, str]:
    """Return the codes of both sides, from the columns or else from the file's name."""
    found = []
    for names in _LANGUAGES.values():
        column = table.find(names)
        codes = sorted(set(table.columns[column])) if column else []
        if len(codes) > 1:
            raise DataError(
                f"{table.path} holds several directions ({column}: {', '.join(codes[:5])}); a file"
                " holds one"
            )
        found += codes or [""]
    if all(found):
        return found[0], found[1]
    pairs = sorted(set(table.columns.get(_PAIR, [])))
    if len(pairs) == 1:
        return pair_of(pairs[0]) or ("", "")
    return pair_of(plain_stem(table.path)) or ("", "")


_PAIR_NAME = re.compile(
    r"(?:^|[._-])(?P<source>[a-z]{2,3}(?:_[A-Z][a-z]{3})?(?:[_-](?:[A-Z]{2}|\d{3}))?"
    r"(?:_[a-z]{4}\d{4})?)"
    r"(?:-|2|_to_)(?P<target>[a-z]{2,3}(?:[_-](?:[A-Z][a-z]{3}|[A-Z]{2}|\d{3}))*"
    r"(?:_[a-z]{4}\d{4})?)(?=$|[._])"
)


def pair_of(name: str) -> tuple[str, str] | None:
    """Return the two codes in a file's name, such as `test.en-es-LA` or `wmttest2024.en-de.all`."""
    match = _PAIR_NAME.search(name)
    return (match["source"], match["target"]) if match else None


def _listed(table: Table) -> str:
    return ", ".join(table.columns) or "none"
