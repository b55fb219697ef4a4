"""Content that is missing, added or left as it was, by simple rules that count.

Numbers of two digits or more are compared as digits, whatever their script and their separators.
Addresses and placeholders have to come through unchanged. Names are capitalized words within a
sentence, in directions between languages in Latin script whose references keep them. A line whose
length is far from what the references make of such a source omits or adds; a stretch of the
source's words that stands in the line as it was is untranslated. The same rules on the references
say how often each errs; numbers that languages write in words or count in ten thousands are most of
it.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import regex

from corpus.files import write_json
from corpus.languages import Direction
from corpus.text import UNSPACED_SCRIPTS
from eval.checks.batches import Batch, found_by_direction, mean, rate, read_text, run_batches
from eval.checks.config import ContentConfig
from eval.tables import write_table

CHECK = "content"
RULES = (
    "number_missing", "number_added", "placeholder", "name_missing", "omission", "addition",
    "untranslated",
)  # fmt: skip
LINE_COLUMNS = ("system", "direction", "line", "rules", "found")

_GROUPED = re.compile(
    r"(?<!\d)\d{1,3}(?:[.,'’٬\u00a0\u202f ]\d{3})+(?!\d)"
    r"|(?<!\d)\d{1,2}(?:,\d{2})+,\d{3}(?!\d)"
)
"""A number with groups of thousands, or of hundreds as in India."""
_NOT_DIGITS = re.compile(r"\D+")
_DIGITS = re.compile(r"\d+")
_ADDRESS = r"https?://[^\s<>\"'“”«»）)]+|www\.[^\s<>\"'“”«»）)]+"
_MAIL = r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
_MARKUP = r"|\$?\{\{?[\w .:-]*\}?\}|%(?:\d+\$)?[sdif@](?!\w)|%\(\w+\)[sd]|</?[a-zA-Z][^<>]*>"
_PLACEHOLDER = regex.compile(_ADDRESS + _MAIL + _MARKUP)
_PLACEHOLDER_BUT_MAIL = regex.compile(_ADDRESS + _MARKUP)
"""Finds the same in a line without `@`, and does not look for one from every letter."""
_MAY_HAVE_PLACEHOLDER = re.compile(r"[@{%<]|://|www\.")
_TRAILING = ".,;:!?…。、"
_WORD = regex.compile(r"[\p{L}\p{M}][\p{L}\p{M}\p{N}'’-]*")
_SENTENCE_ENDS = frozenset('.!?:;…"“”‘([–—-')
_SHORTEST_NUMBER = 2
_SHORTEST_NAME = 4
_NAME_STEM = 4
"""Letters of a name that have to be kept: its end may be inflected."""
_FEWEST_NAMES = 2
_KEPT_SHARE = 0.5
"""Of the names in the sources that references must keep for names to be checked."""
_MIN_DEVIATION = 0.1
_keep = functools.lru_cache(maxsize=1 << 13)
"""What is found in a line is kept: the source is looked at with hypotheses and with references."""


class Content(NamedTuple):
    """Lines of a direction of a system that break each rule, and lines of its references."""

    system: str
    direction: Direction
    n: int
    """Lines of the hypotheses that are not empty."""
    suspect: int
    suspect_rate: float | None
    reference_rate: float | None
    counts: dict[str, int | None]
    """By rule; None where it cannot be applied."""
    reference_counts: dict[str, int | None]


@_keep
def numbers(line: str) -> Counter[str]:
    """Return the numbers of a line, as digits without leading zeros, and how often each is there.

    A number with decimals is two; those of one digit are left out, as they are often words.
    """
    if _DIGITS.search(line) is None:
        return Counter()
    plain = _GROUPED.sub(lambda found: _NOT_DIGITS.sub("", found.group()), line)
    runs = (
        (run if run.isascii() else "".join(str(int(digit)) for digit in run)).lstrip("0")
        for run in _DIGITS.findall(plain)
    )
    return Counter(run for run in runs if len(run) >= _SHORTEST_NUMBER)


@_keep
def placeholders(line: str) -> Counter[str]:
    """Return the addresses, tags and placeholders of a line, and how often each is there."""
    pattern = _placeholder_pattern(line)
    if pattern is None:
        return Counter()
    return Counter(found.rstrip(_TRAILING) for found in pattern.findall(line))


def _placeholder_pattern(line: str) -> regex.Pattern[str] | None:
    """Return what finds the placeholders of a line; None where it cannot have any."""
    if _MAY_HAVE_PLACEHOLDER.search(line) is None:
        return None
    return _PLACEHOLDER if "@" in line else _PLACEHOLDER_BUT_MAIL


@_keep
def names(line: str) -> list[str]:
    """Return the capitalized words of a line that do not begin a sentence, each once."""
    found = dict.fromkeys(
        match.group()
        for match in _WORD.finditer(line)
        if match.group()[0].isupper()
        and len(match.group()) >= _SHORTEST_NAME
        and match.start() > 0
        and line[: match.start()].rstrip()[-1:] not in _SENTENCE_ENDS
    )
    return list(found)


@_keep
def _name_stems(line: str) -> list[str]:
    """Return the beginning of each name of a line in lower case: its end may be inflected."""
    return [name.casefold()[: max(_NAME_STEM, len(name) * 2 // 3)] for name in names(line)]


@_keep
def _words(line: str) -> list[str]:
    found: list[str] = _WORD.findall(line)
    return found


@_keep
def _source_words(line: str) -> tuple[list[str], list[str]]:
    """Return the words of a line, and the same in lower case."""
    there = _words(line)
    return there, [word.casefold() for word in there]


@_keep
def _letters(line: str) -> str:
    return "".join(_WORD.findall(line))


@_keep
def _without_placeholders(line: str) -> str:
    pattern = _placeholder_pattern(line)
    return line if pattern is None else str(pattern.sub(" ", line))


def _has_stretch(parts: Sequence[str], line: str, length: int) -> bool:
    """Whether `length` successive words or letters all occur in a line, in whatever order.

    Without them no stretch of that length is in the line, and the line need not be cut into words.
    Every stretch has a part at a multiple of its length, so most parts are never looked for.
    """
    if length < 1:
        return True
    end = length - 1
    while end < len(parts):
        start = end
        while start > end - length and parts[start] in line:
            start -= 1
        if start == end - length:
            return True
        end = start + length
    return False


def untranslated(source: str, line: str, words: int, characters: int | None) -> str:
    """Return the first stretch of the source that stands in a line as it was; empty for none.

    Args:
        source: The source line.
        line: Its translation.
        words: Length of a stretch; at least half of its words begin in lower case, since names may
            stay as they are.
        characters: Its length in letters instead, for scripts without spaces.
    """
    if characters is not None:
        letters = _letters(source)
        if not _has_stretch(letters, line, characters):
            return ""
        plain = _letters(line)
        for start in range(len(letters) - characters + 1):
            if (found := letters[start : start + characters]) in plain:
                return found
        return ""
    there, folded = _source_words(source)
    plain = line.casefold()
    if not _has_stretch(folded, plain, words):
        return ""
    here = _words(plain)
    grams = set(zip(*(here[start:] for start in range(words)), strict=False))
    if not grams:
        return ""
    for start in range(len(there) - words + 1):
        if tuple(folded[start : start + words]) in grams:
            stretch = there[start : start + words]
            lower = sum(not word[0].isupper() for word in stretch)
            if 2 * lower >= words:
                return " ".join(stretch)
    return ""


class DirectionHabits(NamedTuple):
    """What the references say about a direction."""

    checks_names: bool
    center: float
    """Mean of log(length / source length)."""
    spread: float
    is_unspaced: bool
    """Whether the source's script has no spaces."""


def learn_habits(
    sources: Sequence[str], references: Sequence[str], direction: Direction
) -> DirectionHabits:
    """Return what the references of a direction say about it."""
    ratios = [
        math.log(len(line.strip()) / len(source.strip()))
        for source, line in zip(sources, references, strict=True)
        if line.strip() and source.strip()
    ]
    checks_names = False
    if direction.source[4:8] == direction.target[4:8] == "Latn":
        kept = [
            stem in plain
            for source, line in zip(sources, references, strict=True)
            for plain in (line.casefold(),)
            for stem in _name_stems(source)
        ]
        checks_names = bool(kept) and sum(kept) >= _KEPT_SHARE * len(kept)
    return DirectionHabits(
        checks_names,
        float(np.mean(ratios)) if ratios else 0.0,
        max(float(np.std(ratios)) if ratios else 0.0, _MIN_DEVIATION),
        direction.source[4:8] in UNSPACED_SCRIPTS,
    )


def find_faults(
    sources: Sequence[str],
    lines: Sequence[str],
    references: Sequence[str],
    direction: Direction,
    config: ContentConfig,
    known: DirectionHabits | None = None,
) -> list[dict[str, str]]:
    """Return for each line the rules that it breaks, with what was found.

    Args:
        sources: [N].
        lines: Hypotheses, or the references themselves, [N]; an empty one breaks no rule.
        references: [N].
        direction: Of the lines.
        config: Thresholds.
        known: What `learn_habits` returned; by default it is asked.
    """
    known = known or learn_habits(sources, references, direction)
    found = []
    for source, line in zip(sources, lines, strict=True):
        faults: dict[str, str] = {}
        given, made = len(source.strip()), len(line.strip())
        if given and made:
            _compare_counts(faults, "number", numbers(source), numbers(line))
            ours, theirs = placeholders(line), placeholders(source)
            if ours != theirs:
                changed = {**(theirs - ours), **(ours - theirs)}
                faults["placeholder"] = " ".join(changed)
            stems = _name_stems(source) if known.checks_names else []
            if len(stems) >= _FEWEST_NAMES:
                plain = line.casefold()
                if not any(stem in plain for stem in stems):
                    faults["name_missing"] = " ".join(names(source))
            score = (math.log(made / given) - known.center) / known.spread
            if abs(score) > config.length_z:
                rule = "omission" if score < 0 else "addition"
                faults[rule] = f"{made} characters for {given}"
            stretch = untranslated(
                _without_placeholders(source),
                _without_placeholders(line),
                config.untranslated_words,
                config.untranslated_characters if known.is_unspaced else None,
            )
            if stretch:
                faults["untranslated"] = stretch
        found.append(faults)
    return found


def _compare_counts(
    faults: dict[str, str], kind: str, source: Counter[str], line: Counter[str]
) -> None:
    """Add what is missing and what was added; how often a number is there does not matter."""
    if not source and not line:
        return
    for name, changed in (
        ("missing", source.keys() - line.keys()),
        ("added", line.keys() - source.keys()),
    ):
        if changed:
            faults[f"{kind}_{name}"] = " ".join(sorted(changed))


def measure_content(
    batches: Sequence[Batch], output: Path, config: ContentConfig, workers: int
) -> list[Content]:
    """Apply the rules to all hypotheses; write content*.tsv and content.json.

    Raises:
        DataError: If hypotheses and references differ in length.
    """
    results = run_batches(
        CHECK,
        batches,
        functools.partial(_look, config=config),
        output=output,
        config=config,
        workers=workers,
        more_inputs=lambda batch: [batch.text(source) for source in batch.sources],
    )
    rows = []
    lines = []
    for batch, direction, found, _ in found_by_direction(batches, results):
        rows.append(Content(batch.system, direction, **found["row"]))
        lines += [(batch.system, direction, *line) for line in found["lines"]]
    columns = [*Content._fields[:-2], *RULES, *(f"{rule}_in_references" for rule in RULES)]
    table = [
        (
            *row[: len(Content._fields) - 2],
            *row.counts.values(),
            *row.reference_counts.values(),
        )
        for row in rows
    ]
    write_table(output / "content.tsv", columns, table)
    write_table(output / "content_lines.tsv", LINE_COLUMNS, lines)
    write_json(output / "content.json", summarize_content(rows))
    return rows


def _look(batch: Batch, *, config: ContentConfig) -> dict[str, Any]:
    references = read_text(batch.references)
    directions = []
    for index, direction in enumerate(batch.directions):
        sources = read_text(batch.text(direction.source))
        hypotheses = batch.read(index)
        known = learn_habits(sources, references, direction)
        ours = find_faults(sources, hypotheses, references, direction, config, known)
        floor = find_faults(sources, references, references, direction, config, known)
        n = sum(bool(line.strip()) for line in hypotheses)
        count = _counter(known.checks_names)
        directions.append(
            {
                "row": {
                    "n": n,
                    "suspect": sum(map(bool, ours)),
                    "suspect_rate": rate(sum(map(bool, ours)), n),
                    "reference_rate": rate(sum(map(bool, floor)), len(references)),
                    "counts": count(ours),
                    "reference_counts": count(floor),
                },
                "lines": [
                    (line, " ".join(faults), "; ".join(faults.values()))
                    for line, faults in enumerate(ours, 1)
                    if faults
                ],
            }
        )
    return {"directions": directions}


def _counter(checks_names: bool) -> Callable[[Sequence[dict[str, str]]], dict[str, int | None]]:
    """Return what counts the lines that break each rule."""
    return lambda found: {
        rule: None
        if rule == "name_missing" and not checks_names
        else sum(rule in faults for faults in found)
        for rule in RULES
    }


def summarize_content(rows: Sequence[Content]) -> dict[str, Any]:
    """Return means over directions by system, of each rule and of its rate on references.

    `into` has the share of lines with any fault by target language.
    """
    summary = {}
    for system in sorted({row.system for row in rows}):
        own = [row for row in rows if row.system == system]
        summary[system] = {
            "suspect_rate": mean([row.suspect_rate for row in own]),
            "reference_rate": mean([row.reference_rate for row in own]),
            **{
                f"{rule}_rate": mean([rate(row.counts[rule], row.n) for row in own])
                for rule in RULES
            },
            **{
                f"{rule}_reference_rate": mean(
                    [rate(row.reference_counts[rule], row.n) for row in own]
                )
                for rule in RULES
            },
            "into": {
                target: mean([row.suspect_rate for row in own if row.direction.target == target])
                for target in sorted({row.direction.target for row in own})
            },
        }
    return summary
