"""JSON lines: an object a line, with the sides under names of columns, or in `translation`.

`{"source": …, "target": …}`, `{"translation": {"en": …, "fr": …}}`, `{"sentence_eng_Latn": …}` and
what else `corpus.bitext_columns` understands. A structure's values are columns of their own, as
`translation.en`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from corpus.bitext.places import Place
from corpus.bitext.tables import FIRST_LINES, number_array, text_array, unique_names
from corpus.bitext_columns import SCORE, SIDES, named_columns, remedy
from corpus.errors import DataError
from corpus.files import write_lines
from corpus.languages import Direction

_LONGEST_OBJECT = 8 << 20
"""Characters of a line; as Python objects they can take twenty times as much memory."""
_BATCH_CHARACTERS = 8 << 20
_BATCH_LINES = 1 << 10
_SEPARATOR = ",\n0,\n"
"""Between the objects of lines that are parsed together. No object reaches over it: `0` is not a
key, and a line break stands in no string."""

Key = tuple[str] | tuple[str, str]


class JsonLinesFormat:
    """The pairs of a file of JSON lines; a side that is null is empty.

    Columns are those of the first lines. All are text but `score`; values that are no text are
    written as JSON.

    Raises:
        DataError: If a line is not an object, or has no text for a side; the message names it.
    """

    def __init__(
        self, place: Place, rows: int, columns: Mapping[str, str], direction: Direction | None
    ) -> None:
        self._place = place
        self._rows = rows
        keys = first_keys(place)
        names = [".".join(key) for key in keys]
        chosen = named_columns(place, names, columns, direction) if keys else {}
        if chosen is None:
            raise DataError(
                f"{place}: no keys are known to be source and target; the first lines have"
                f" {', '.join(names)}. {remedy(1)}"
            )
        self._keys = {name: keys[i] for name, i in unique_names(names, chosen).items()}
        for name in SIDES:  # of an empty file
            self._keys.setdefault(name, (name,))
        self.schema = pa.schema(
            (name, pa.float32() if name == SCORE else pa.string()) for name in self._keys
        )

    def tables(self) -> Iterator[pa.Table]:
        """Yield the pairs in order."""
        waiting: list[pa.Table] = []
        size = 0
        for numbers, objects in self._objects():
            waiting.append(self._table(numbers, objects))
            size += len(objects)
            while size >= self._rows:
                table = pa.concat_tables(waiting).combine_chunks()
                yield table.slice(0, self._rows)
                waiting, size = [table.slice(self._rows)], size - self._rows
            if sum(table.nbytes for table in waiting) > _BATCH_CHARACTERS:
                yield pa.concat_tables(waiting).combine_chunks()
                waiting, size = [], 0
        if size:
            yield pa.concat_tables(waiting).combine_chunks()

    def count(self) -> int:
        """Return the number of pairs."""
        return sum(1 for _ in _lines(self._place))

    def copy_first(self, folder: Path, direction: Direction, pairs: int) -> int:
        """Copy the first lines unchanged."""
        lines = [line for _, line in islice(_lines(self._place), pairs)]
        return write_lines(folder / f"{direction}.jsonl", lines)

    def _objects(self) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
        numbers: list[int] = []
        lines: list[str] = []
        room = _BATCH_CHARACTERS
        for number, line in _lines(self._place):
            numbers.append(number)
            lines.append(line)
            room -= len(line)
            if room < 0 or len(lines) == _BATCH_LINES:
                yield numbers, _parse(self._place, numbers, lines)
                numbers, lines, room = [], [], _BATCH_CHARACTERS
        if lines:
            yield numbers, _parse(self._place, numbers, lines)

    def _table(self, numbers: list[int], objects: list[dict[str, Any]]) -> pa.Table:
        columns = []
        for name, key in self._keys.items():
            if name in SIDES:
                columns.append(self._side(numbers, objects, name, key))
                continue
            cells = [_as_text(_value(one, key)) for one in objects]
            is_score = name == SCORE
            columns.append(
                number_array(cells, self._place, numbers, name) if is_score else text_array(cells)
            )
        return pa.Table.from_arrays(columns, schema=self.schema)

    def _side(
        self, numbers: list[int], objects: list[dict[str, Any]], name: str, key: Key
    ) -> pa.Array:
        try:
            if len(key) == 1:
                values = [one[key[0]] for one in objects]
            else:
                values = [one[key[0]][key[1]] for one in objects]
            if None in values:
                values = ["" if value is None else value for value in values]
            if set(map(type, values)) <= {str}:
                return text_array(values)
        except (KeyError, TypeError):
            pass
        for number, one in zip(numbers, objects, strict=True):
            try:
                value = _required(one, key)
            except (KeyError, TypeError):
                raise DataError(
                    f"{self._place}:{number}: there is no `{'.'.join(key)}`, the {name} of the"
                    " lines before"
                ) from None
            if value is not None and not isinstance(value, str):
                raise DataError(
                    f"{self._place}:{number}: `{'.'.join(key)}` holds {json.dumps(value)[:40]}, not"
                    " text"
                )
        raise AssertionError


def first_keys(place: Place) -> list[Key]:
    """Return the keys of the values in a file's first objects, in order; two levels at most.

    Raises:
        DataError: If a line is not an object.
    """
    keys: dict[Key, None] = {}
    first = dict(islice(_lines(place), FIRST_LINES))
    for one in _parse(place, list(first), list(first.values())):
        for key, value in one.items():
            if isinstance(value, dict):
                keys.update(dict.fromkeys((key, inner) for inner in value))
            else:
                keys[key,] = None
    structures = {key[:1] for key in keys if len(key) > 1}  # which may be null elsewhere
    return [key for key in keys if key not in structures]


def _lines(place: Place) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(place.lines(), 1):
        if len(line) > _LONGEST_OBJECT:
            raise DataError(
                f"{place}:{number}: an object of {len(line):,} characters; a pair has at most"
                f" {_LONGEST_OBJECT:,}"
            )
        if line and not line.isspace():
            yield number, line


def _parse(place: Place, numbers: Sequence[int], lines: Sequence[str]) -> list[dict[str, Any]]:
    """Return the objects of lines: parsed together, which is faster, or else one by one."""
    try:
        values = _load(f"[{_SEPARATOR.join(lines)}]") if lines else []
        objects = values[::2]
        is_one_each = len(values) == max(0, 2 * len(lines) - 1)
        if is_one_each and set(map(type, objects)) <= {dict}:
            return objects
    except (ValueError, RecursionError):
        pass
    return [_parse_line(place, *numbered) for numbered in zip(numbers, lines, strict=True)]


def _parse_line(place: Place, number: int, line: str) -> dict[str, Any]:
    try:
        value = _load(line)
    except RecursionError:
        raise DataError(f"{place}:{number}: its JSON is nested too deeply") from None
    except ValueError as error:
        if number == 1 and line.strip() in ("[", "{"):
            raise DataError(
                f"{place} is one JSON value over many lines, not an object a line; convert it, as"
                " with `jq -c '.[]'`"
            ) from None
        raise DataError(f"{place}:{number}: not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise DataError(
            f"{place}:{number}: a line of JSON is an object, such as"
            f' {{"source": "…", "target": "…"}}; this is {line[:40]}'
        )
    return value


def _load(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_with_distinct_keys)


def _with_distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; of a key that it has twice, readers disagree which value counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has the key `{twice}` twice")
    return found


def _required(one: Any, key: Key) -> Any:
    for part in key:
        one = one[part]
    return one


def _value(one: Any, key: Key) -> Any:
    for part in key:
        one = one.get(part) if isinstance(one, dict) else None
    return one


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)
