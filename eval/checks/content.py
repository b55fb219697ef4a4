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

_GROUPED = regex.compile(
    r"(?<!\p{Nd})\p{Nd}{1,3}(?:[.,'’٬\u00a0\u202f ]\p{Nd}{3})+(?!\p{Nd})"
    r"|(?<!\p{Nd})\p{Nd}{1,2}(?:,\p{Nd}{2})+,\p{Nd}{3}(?!\p{Nd})"
)
"""A number with groups of thousands, or of hundreds as in India."""
_NOT_DIGITS = regex.compile(r"\P{Nd}+")
_DIGITS = regex.compile(r"\p{Nd}+")
_PLACEHOLDER = regex.compile(
    r"https?://[^\s<>\"'“”«»）)]+|www\.[^\s<>\"'“”«»）)]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    r"|\$?\{\{?[\w .:-]*\}?\}|%(?:\d+\$)?[sdif@](?!\w)|%\(\w+\)[sd]|</?[a-zA-Z][^<>]*>"
)
_TRAILING = ".,;:!?…。、"
_WORD = regex.compile(r"[\p{L}\p{M}][\p{L}\p{M}\p{N}'’-]*")
_SENTENCE_END = regex.compile(r"[.!?:;…\"“”‘(\[–—-]\s*$")
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
    plain = _GROUPED.sub(lambda found: _NOT_DIGITS.sub("", found.group()), line)
    runs = ("".join(str(int(digit)) for digit in run) for run in _DIGITS.findall(plain))
    return Counter(
        run.lstrip("0")
        for run in runs
        if len(run) >= _SHORTEST_NUMBER and len(run.lstrip("0")) >= _SHORTEST_NUMBER
    )


@_keep
def placeholders(line: str) -> Counter[str]:
    """Return the addresses, tags and placeholders of a line, and how often each is there."""
    return Counter(found.rstrip(_TRAILING) for found in _PLACEHOLDER.findall(line))


@_keep
def names(line: str) -> list[str]:
    """Return the capitalized words of a line that do not begin a sentence, each once."""
    found = dict.fromkeys(
        match.group()
        for match in _WORD.finditer(line)
        if match.group()[0].isupper()
        and len(match.group()) >= _SHORTEST_NAME
        and match.start() > 0
        and not _SENTENCE_END.search(line, 0, match.start())
    )
    return list(found)


def keeps_name(name: str, line: str) -> bool:
    """Whether a line, in lower case, has a name or its beginning."""
    return name.casefold()[: max(_NAME_STEM, len(name) * 2 // 3)] in line


@_keep
def _words(line: str) -> list[str]:
    found: list[str] = _WORD.findall(line)
    return found


@_keep
def _without_placeholders(line: str) -> str:
    return str(_PLACEHOLDER.sub(" ", line))


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
        letters = "".join(_WORD.findall(source))
        plain = "".join(_WORD.findall(line))
        for start in range(len(letters) - characters + 1):
            if (found := letters[start : start + characters]) in plain:
                return found
        return ""
    there, here = _words(source), _words(line.casefold())
    grams = set(zip(*(here[start:] for start in range(words)), strict=False))
    if not grams:
        return ""
    for start in range(len(there) - words + 1):
        stretch = there[start : start + words]
        if tuple(word.casefold() for word in stretch) in grams:
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
        np.log(len(line.strip()) / len(source.strip()))
        for source, line in zip(sources, references, strict=True)
        if line.strip() and source.strip()
    ]
    checks_names = False
    if direction.source[4:8] == direction.target[4:8] == "Latn":
        kept = [
            keeps_name(name, line.casefold())
            for source, line in zip(sources, references, strict=True)
            for name in names(source)
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
        if line.strip() and source.strip():
            _compare_counts(faults, "number", numbers(source), numbers(line))
            ours, theirs = placeholders(line), placeholders(source)
            if ours != theirs:
                changed = {**(theirs - ours), **(ours - theirs)}
                faults["placeholder"] = " ".join(changed)
            wanted = names(source) if known.checks_names else []
            if len(wanted) >= _FEWEST_NAMES:
                plain = line.casefold()
                if not any(keeps_name(name, plain) for name in wanted):
                    faults["name_missing"] = " ".join(wanted)
            score = (np.log(len(line.strip()) / len(source.strip())) - known.center) / known.spread
            if score < -config.length_z:
                faults["omission"] = f"{len(line.strip())} characters for {len(source.strip())}"
            elif score > config.length_z:
                faults["addition"] = f"{len(line.strip())} characters for {len(source.strip())}"
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
    """Return means over directions by system, of each rule and of its rate on references."""
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
        }
    return summary
