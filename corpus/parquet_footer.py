"""The columns in a Parquet file's footer, read without pyarrow's metadata classes.

pyarrow's `RowGroupMetaData.column` checks statistics in C++ and ends the process where they are
damaged, which no `except` catches (seen with pyarrow 26; reading the columns raises an error). So
the few fields that bound memory are read here: the footer is a `FileMetaData` in Thrift's compact
encoding (parquet-format, `parquet.thrift`; thrift, `doc/specs/thrift-compact-protocol.md`).
"""

from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

_MAGIC = b"PAR1"
_TAIL_BYTES = 8
_BYTE_ARRAY = 6
_MAX_DEPTH = 16

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)

_ROW_GROUPS, _COLUMNS, _META_DATA = 4, 1, 3
_TYPE, _PATH, _UNPACKED, _PACKED, _DICTIONARY, _STATISTICS = 1, 3, 6, 7, 11, 12
_HIGHEST, _LOWEST = 5, 6
"""Numbers of the fields in `FileMetaData`, `RowGroup`, `ColumnChunk`, `ColumnMetaData` and
`Statistics`."""


class ColumnChunk(NamedTuple):
    """A column of a row group."""

    name: str
    """The top-level column that it belongs to."""

    path: str
    unpacked: int
    """Bytes of its pages when decompressed."""

    packed: int
    """Bytes in the file."""

    dictionary: int | None
    """Where its dictionary page begins; only of text and bytes."""

    lowest: bytes | None = None
    """Bound below its values, as they are stored; None where the file has none."""

    highest: bytes | None = None
    """Bound above them."""


def read_footer(file: BinaryIO) -> list[list[ColumnChunk]]:
    """Return the columns of each row group.

    Raises:
        pa.ArrowInvalid: If the footer is damaged.
    """
    end = file.seek(0, 2)
    file.seek(max(0, end - _TAIL_BYTES))
    tail = file.read(_TAIL_BYTES)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > end - _TAIL_BYTES:
        raise pa.ArrowInvalid("no footer at its end")
    file.seek(end - _TAIL_BYTES - length)
    try:
        footer, _ = _read_struct(file.read(length), 0, 0)
        return [
            [_describe(chunk[_META_DATA]) for chunk in group[_COLUMNS]]
            for group in footer[_ROW_GROUPS]
        ]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise pa.ArrowInvalid("its footer is damaged") from error


def _describe(column: dict[int, Any]) -> ColumnChunk:
    path = [part.decode("utf-8") for part in column[_PATH]]
    dictionary = column.get(_DICTIONARY) if column[_TYPE] == _BYTE_ARRAY else None
    statistics = column.get(_STATISTICS, {})
    return ColumnChunk(
        lowest=_bytes(statistics.get(_LOWEST)),
        highest=_bytes(statistics.get(_HIGHEST)),
        name=path[0],
        path=".".join(path),
        unpacked=int(column[_UNPACKED]),
        packed=int(column[_PACKED]),
        dictionary=None if dictionary is None else int(dictionary),
    )


def _bytes(value: Any) -> bytes | None:
    return value if isinstance(value, bytes) else None


def _read_struct(data: bytes, place: int, depth: int) -> tuple[dict[int, Any], int]:
    """Return the fields of a struct by number, and where it ends."""
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deep")
    fields: dict[int, Any] = {}
    number = 0
    while data[place] != 0:
        kind, delta = data[place] & 0x0F, data[place] >> 4
        place += 1
        if delta:
            number += delta
        else:
            number, place = _read_integer(data, place)
        if kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        else:
            fields[number], place = _read_value(data, place, kind, depth)
    return fields, place + 1


def _read_value(data: bytes, place: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in _INTEGERS:
        return _read_integer(data, place)
    if kind == _BINARY:
        length, place = _read_unsigned(data, place)
        if length > len(data) - place:
            raise ValueError("cut off")
        return data[place : place + length], place + length
    if kind in (_LIST, _SET):
        return _read_list(data, place, depth)
    if kind == _STRUCT:
        return _read_struct(data, place, depth + 1)
    if kind in (_TRUE, _FALSE, _BYTE):  # in a list, one byte each
        return data[place], place + 1
    if kind == _DOUBLE:
        return data[place : place + 8], place + 8
    raise ValueError(f"a value of kind {kind}")  # Parquet's footer has no maps


def _read_list(data: bytes, place: int, depth: int) -> tuple[list[Any], int]:
    kind, count = data[place] & 0x0F, data[place] >> 4
    place += 1
    if count == 0x0F:
        count, place = _read_unsigned(data, place)
    if count > len(data) - place:
        raise ValueError("cut off")
    values = []
    for _ in range(count):
        value, place = _read_value(data, place, kind, depth + 1)
        values.append(value)
    return values, place


def _read_unsigned(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("an integer of more than 64 bits")


def _read_integer(data: bytes, place: int) -> tuple[int, int]:
    value, place = _read_unsigned(data, place)
    return (value >> 1) ^ -(value & 1), place
