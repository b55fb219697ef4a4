"""Buckets of directions: by resource level, pivot, script, family, supervision, any own column.

Resource levels are NLLB's: with c the smaller of the two languages' training sentences, high is a
million or more, low less, and very low, which is inside low and counted in both, a hundred thousand
or less. Counts sit near these limits for several languages, so they come from a named version:
`nllb-200` is what facebookresearch/fairseq published with NLLB-200 (branch nllb,
examples/nllb/modeling/evaluation/train_example_count/flores200_public.py, commit 7e2a8ea, MIT).
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from corpus.errors import DataError, UserError
from corpus.files import read_lines
from corpus.languages import (
    Direction,
    check_language,
    find_language,
    known_languages,
    parse_direction,
)
from eval.config import LATEST_COUNTS, ScoreConfig
from eval.tables import read_rows

VERY_LOW, LOW, HIGH = "very_low", "low", "high"
LEVELS = (VERY_LOW, LOW, HIGH)
"""Resource levels from poor to rich."""

ALL = "all"

_PIVOT = "pivot"
"""The language that all bitext shares; it has the most, so its level is high."""

_HIGH_FROM, _VERY_LOW_TO = 1_000_000, 100_000
_MEMBERS: Mapping[str, Collection[str]] = {
    HIGH: (HIGH,),
    LOW: (LOW, VERY_LOW),
    VERY_LOW: (VERY_LOW,),
}
_OWN_COLUMNS = ("language", "name", "resource", "sentences")


@dataclass(frozen=True)
class LanguageTable:
    """What is known of languages, for buckets."""

    levels: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Value of each language, by column: `family` and any other."""
    sentences: Mapping[str, int] = field(default_factory=dict)
    """Training sentences of each language, where they are known."""
    published_with: str = ""
    """What the built-in counts were published with; empty for a person's own table."""


def count_level(sentences: int) -> str:
    """Return the resource level of a number of training sentences."""
    if sentences >= _HIGH_FROM:
        return HIGH
    return VERY_LOW if sentences <= _VERY_LOW_TO else LOW


@functools.cache
def built_in_table(version: str = LATEST_COUNTS) -> LanguageTable:
    """Return what is known of FLORES-200's languages, with one version of the counts.

    Raises:
        UserError: If there is no such version.
    """
    text = (resources.files("eval.statistics") / "languages.tsv").read_text(encoding="utf-8")
    header, *rows = [line.split("\t") for line in text.split("\n") if line]
    if version not in header[1:]:
        raise UserError(f"no counts `{version}`; there are {', '.join(header[1:])}")
    column = header.index(version)
    sentences = {row[0]: int(row[column]) for row in rows if row[column]}
    return LanguageTable(
        {code: count_level(count) for code, count in sentences.items()},
        {"family": {code: language.family for code, language in known_languages().items()}},
        sentences,
        version.upper(),
    )


def read_language_table(path: Path) -> LanguageTable:
    """Read a TSV with a header: `language`, then `resource` or `sentences`, then any others.

    Raises:
        DataError: If a needed column is missing, a row is short, a level is none of `LEVELS`, or a
            count is not a number.
    """
    levels: dict[str, str] = {}
    sentences: dict[str, int] = {}
    columns: dict[str, dict[str, str]] = {}
    for number, values in read_rows(path, ["language"]):
        code = values["language"]
        if code in levels:
            raise DataError(f"{path}:{number}: `{code}` is listed twice")
        levels[code] = _read_level(values, f"{path}:{number}")
        if values.get("sentences", "").isdecimal():
            sentences[code] = int(values["sentences"])
        for name, value in values.items():
            if name not in _OWN_COLUMNS:
                columns.setdefault(name, {})[code] = value
    return LanguageTable(levels, columns, sentences)


def _read_level(values: Mapping[str, str], place: str) -> str:
    if "sentences" not in values and "resource" not in values:
        raise DataError(
            f"{place}: a language needs the column `resource` or `sentences` beside `language`"
        )
    if "resource" not in values:
        try:
            return count_level(int(values["sentences"]))
        except ValueError:
            raise DataError(
                f"{place}: sentences is `{values['sentences']}`; it must be a whole number"
            ) from None
    level = values.get("resource", "").lower().replace(" ", "_")
    level = HIGH if level == _PIVOT else level
    if level not in LEVELS:
        raise DataError(f"{place}: resource is `{level}`; it must be one of {', '.join(LEVELS)}")
    return level


def read_levels(path: Path) -> dict[str, str]:
    """Read the resource level of each language from a TSV; see `read_language_table`."""
    return dict(read_language_table(path).levels)


def read_directions(path: Path) -> frozenset[Direction]:
    """Read directions, one a line; the first column of a table counts.

    Raises:
        DataError: If a line is not a direction.
    """
    found = set()
    for number, line in enumerate(read_lines(path), 1):
        text = line.split("\t")[0].strip()
        if not text or (number == 1 and text == "direction"):
            continue
        try:
            found.add(parse_direction(text))
        except UserError as error:
            raise DataError(f"{path}:{number}: {error}") from None
    return frozenset(found)


def _value(values: Mapping[str, str], language: str) -> str | None:
    """Return what a table has for a language, by whatever name."""
    if language in values:
        return values[language]
    return values.get(find_language(language, values) or "")


def direction_level(direction: Direction, levels: Mapping[str, str]) -> str | None:
    """Return the level of a direction's poorer language; None if one of them has no level."""
    both = [_value(levels, language) for language in direction]
    known = [LEVELS.index(level) for level in both if level is not None]
    return LEVELS[min(known)] if len(known) == len(both) else None


def make_buckets(
    directions: Iterable[Direction],
    table: LanguageTable,
    pivot: str | None = None,
    supervised: Collection[Direction] | None = None,
) -> dict[str, frozenset[Direction]]:
    """Return the directions of each bucket; empty ones are left out.

    `all`, `high`, `low`, `very_low`; from, into and beside the pivot as `eng-xx`, `xx-eng` and
    `xx-yy`, each also as `eng-xx/low` and so on; `supervised` and `zero-shot`; by the target
    language, `script:Latn` and `<column>:<value>`.

    Args:
        directions: All directions that a complete system has.
        table: What is known of languages.
        pivot: Language whose directions get buckets of their own, if it has any.
        supervised: Directions that had training data; None if this is not known.
    """
    every = sorted(set(directions))
    if not any(pivot in direction for direction in every):
        pivot = None  # all directions would be beside it
    buckets: dict[str, set[Direction]] = {ALL: set(every)}
    for direction in every:
        level = direction_level(direction, table.levels)
        sizes = [name for name, inside in _MEMBERS.items() if level in inside]
        names = list(sizes)
        if pivot is not None:
            side = _pivot_side(direction, pivot)
            names += [side, *(f"{side}/{size}" for size in sizes)]
        if supervised is not None:
            names.append("supervised" if direction in supervised else "zero-shot")
        names.append(f"script:{check_language(direction.target).script}")
        names += [
            f"{column}:{value}"
            for column, values in table.columns.items()
            if (value := _value(values, direction.target))
        ]
        for name in names:
            buckets.setdefault(name, set()).add(direction)
    return {name: frozenset(buckets[name]) for name in sorted(buckets, key=_order)}


def is_main(bucket: str) -> bool:
    """Whether a bucket is shown on a terminal: those by script, family and column are many."""
    return ":" not in bucket


def _pivot_side(direction: Direction, pivot: str) -> str:
    short = pivot.split("_")[0]
    if direction.source == pivot:
        return f"{short}-xx"
    return f"xx-{short}" if direction.target == pivot else "xx-yy"


def _order(bucket: str) -> tuple[int, str]:
    first: Sequence[str] = (ALL, HIGH, LOW, VERY_LOW)
    return (first.index(bucket), "") if bucket in first else (len(first) + (":" in bucket), bucket)


def find_buckets(
    directions: set[Direction], config: ScoreConfig
) -> dict[str, frozenset[Direction]]:
    """Return the buckets that a config asks for."""
    supervised = read_directions(config.supervised) if config.supervised is not None else None
    return make_buckets(directions, find_table(config), config.pivot, supervised)


def find_table(config: ScoreConfig) -> LanguageTable:
    """Return what is known of languages: a person's own table, or the built-in one."""
    if config.languages is not None:
        return read_language_table(config.languages)
    return built_in_table(config.counts)
