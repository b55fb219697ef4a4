"""Toxicity from the user's word lists: terms in translations whose sources have none.

Toxic lines are those with a term of the target's list; of these, added toxicity are those whose
source has no term of its own list (ETOX: Costa-jussà et al. 2023). A language without a
list is not measured, which is not the same as 0.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corpus.files import write_json
from corpus.languages import Direction
from corpus.terms import TermMatcher
from corpus.word_lists import WordList, find_list, read_word_lists
from eval.checks.batches import Batch, found_by_direction, mean, rate, read_text, run_batches
from eval.checks.config import ToxicityConfig
from eval.tables import write_table

logger = logging.getLogger(__name__)

CHECK = "toxicity"
LINE_COLUMNS = ("system", "direction", "line", "added", "terms")
LIST_COLUMNS = ("language", "terms", "bytes", "sha256", "repeated", "unusable", "file")
MEASURED = "measured"
NO_TARGET_LIST = "not measured: no list of the target"
NO_SOURCE_LIST = "added not measured: no list of the source"


class Toxicity(NamedTuple):
    """A direction of a system; None is what could not be measured."""

    system: str
    direction: Direction
    n: int
    toxic: int | None
    toxic_rate: float | None
    added: int | None
    added_rate: float | None
    source_toxic: int | None
    reference_toxic: int | None
    status: str
    list_sha256: str | None


def measure_toxicity(
    batches: Sequence[Batch], lists: Path, output: Path, config: ToxicityConfig, workers: int
) -> list[Toxicity]:
    """Search all hypotheses for the terms of the lists; write toxicity*.tsv and toxicity.json.

    Raises:
        UserError: If there are no lists, or their password is missing.
        DataError: If hypotheses and references differ in length.
    """
    for cached in (_lists, _matcher, _toxic_lines):
        cached.cache_clear()  # the files may have changed since another job of this process
    known = _lists(lists)
    for language in sorted({code for b in batches for code in (b.target, *b.sources)}):
        if find_list(known, language) is None:
            logger.info("%s has no list of %s: not measured", lists, language)
    results = run_batches(
        CHECK,
        batches,
        functools.partial(_search, lists=lists, config=config),
        output=output,
        config=config,
        workers=workers,
        more_inputs=lambda batch: _inputs(batch, known),
    )
    rows = [
        Toxicity(batch.system, direction, **found)
        for batch, direction, found, _ in found_by_direction(batches, results)
    ]
    _write(output, rows, results, batches, known)
    return rows


def _inputs(batch: Batch, known: dict[str, WordList]) -> list[Path]:
    texts = [batch.text(source) for source in batch.sources]
    used = {known[code].origin for code in (batch.target, *batch.sources) if code in known}
    return [*texts, *sorted(used)]


@functools.lru_cache(maxsize=1)
def _lists(path: Path) -> dict[str, WordList]:
    return read_word_lists(path)


@functools.lru_cache(maxsize=256)
def _matcher(lists: Path, language: str) -> TermMatcher | None:
    found = find_list(_lists(lists), language)
    return TermMatcher(found.terms, language) if found is not None else None


@functools.lru_cache(maxsize=256)
def _toxic_lines(lists: Path, language: str, text: Path) -> frozenset[int] | None:
    """Return which lines of a text of the test set have a term; None without a list."""
    matcher = _matcher(lists, language)
    if matcher is None:
        return None
    return frozenset(i for i, line in enumerate(read_text(text)) if matcher.find(line))


def _search(batch: Batch, *, lists: Path, config: ToxicityConfig) -> dict[str, Any]:
    """Search one batch; return counts of each direction and the lines that have terms."""
    directions = []
    lines: list[dict[str, Any]] = []
    matcher = _matcher(lists, batch.target)
    for index, source in enumerate(batch.sources):
        hypotheses = batch.read(index)
        source_lines = _toxic_lines(lists, source, batch.text(source))
        found = {}
        if matcher is not None:
            hits = ((i, matcher.find(line)) for i, line in enumerate(hypotheses))
            found = {i: terms for i, terms in hits if terms}
        directions.append(
            _count(batch, len(hypotheses), None if matcher is None else found, source_lines, lists)
        )
        for i, terms in found.items():
            lines.append(
                {
                    "source": source,
                    "line": i + 1,
                    "added": None if source_lines is None else i not in source_lines,
                    "terms": _tell(lists, batch.target, terms, config.show_terms),
                }
            )
    return {"directions": directions, "lines": lines}


def _count(
    batch: Batch,
    n: int,
    found: dict[int, list[int]] | None,
    source_lines: frozenset[int] | None,
    lists: Path,
) -> dict[str, Any]:
    reference_lines = _toxic_lines(lists, batch.target, batch.references)
    word_list = find_list(_lists(lists), batch.target)
    toxic = added = None
    status = NO_TARGET_LIST
    if found is not None:
        toxic, status = len(found), NO_SOURCE_LIST
    if found is not None and source_lines is not None:
        added, status = len(found.keys() - source_lines), MEASURED
    return {
        "n": n,
        "toxic": toxic,
        "toxic_rate": rate(toxic, n),
        "added": added,
        "added_rate": rate(added, n),
        "source_toxic": None if source_lines is None else len(source_lines),
        "reference_toxic": None if reference_lines is None else len(reference_lines),
        "status": status,
        "list_sha256": None if word_list is None else word_list.sha256,
    }


def _tell(lists: Path, language: str, terms: Sequence[int], show: bool) -> list[str]:
    """Name terms by their lines in the list; by themselves only where that was asked for."""
    words = find_list(_lists(lists), language)
    assert words is not None  # the terms are of it
    return [f"{words.lines[i]}:{words.terms[i]}" if show else str(words.lines[i]) for i in terms]


def _write(
    output: Path,
    rows: Sequence[Toxicity],
    results: Sequence[dict[str, Any]],
    batches: Sequence[Batch],
    known: dict[str, WordList],
) -> None:
    write_table(output / "toxicity.tsv", Toxicity._fields, rows)
    lines = [
        (
            batch.system,
            Direction(one["source"], batch.target),
            one["line"],
            one["added"],
            " | ".join(one["terms"]),
        )
        for batch, result in zip(batches, results, strict=True)
        for one in result["lines"]
    ]
    write_table(output / "toxicity_lines.tsv", LINE_COLUMNS, lines)
    table = [
        (
            one.language,
            len(one.terms),
            one.size,
            one.sha256,
            one.repeated,
            one.unusable,
            one.origin.name,
        )
        for _, one in sorted(known.items())
    ]
    write_table(output / "toxicity_lists.tsv", LIST_COLUMNS, table)
    write_json(output / "toxicity.json", summarize_toxicity(rows))


def summarize_toxicity(rows: Sequence[Toxicity]) -> dict[str, Any]:
    """Return means over the directions that were measured, with how many were not, by system."""
    summary = {}
    for system in sorted({row.system for row in rows}):
        own = [row for row in rows if row.system == system]
        summary[system] = {
            "toxic_rate": mean([row.toxic_rate for row in own]),
            "added_rate": mean([row.added_rate for row in own]),
            "into": {
                target: mean([row.added_rate for row in own if row.direction.target == target])
                for target in sorted({row.direction.target for row in own})
            },
            "not_measured": sorted(
                {row.direction.target for row in own if row.status == NO_TARGET_LIST}
            ),
        }
    return summary
