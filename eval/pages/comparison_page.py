"""The page of `tongues eval compare`: the systems side by side, then the differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corpus.languages import Direction
from corpus.report.html import SORT_SCRIPT, page, section, table
from eval.pages.system_text import SYSTEMS_CSS, count_directions, systems_section
from eval.statistics.averages import Average
from eval.statistics.comparisons import BUCKET_COLUMNS, Comparison, Quoted, main_buckets
from eval.statistics.system_table import SystemScore, show_p_value

VERDICTS = {1: "second is better", 0: "not significant", -1: "second is worse"}
_MAX_ROWS = 1_000
"""More differences than this are in `comparison.tsv` only."""


def render_comparison(
    systems: Sequence[SystemScore],
    means: Sequence[Average],
    comparisons: Sequence[Comparison],
    buckets: Sequence[Mapping[str, Any]],
    quoted: Sequence[Quoted],
    unshared: Sequence[Direction],
    test: str,
) -> str:
    """Return the page of a comparison.

    Args:
        systems: The scores beside each other.
        means: Of each system over all directions.
        comparisons: What was tested, or the first system's scores alone.
        buckets: Wins and losses by bucket.
        quoted: Published scores.
        unshared: Directions that were not compared.
        test: Name of the test; see `eval.config.TESTS`.
    """
    baseline = comparisons[0].baseline if comparisons else ""
    body = [
        systems_section(systems, means, test),
        _buckets(buckets),
        _differences(comparisons, baseline),
        _quoted(quoted),
        _unshared(unshared),
    ]
    directions = len({one.direction for one in comparisons})
    return page(
        "Comparison",
        f"with {baseline}: {count_directions(directions)}",
        body,
        SORT_SCRIPT,
        SYSTEMS_CSS,
    )


def verdict(one: Comparison) -> str:
    """Return the outcome of a test in words."""
    return VERDICTS[one.outcome] if one.p_value is not None else "not tested: one line only"


def _buckets(buckets: Sequence[Mapping[str, Any]]) -> str:
    rows = [[row[name] for name in BUCKET_COLUMNS] for row in main_buckets(buckets)]
    if not rows:
        return ""
    header = [name.replace("_", " ") for name in BUCKET_COLUMNS]
    return section(
        "Wins and losses",
        "Directions in which a system is better or worse beyond chance, and the mean difference"
        " with its interval. The minimum detectable difference is found four times out of five.",
        table(header, rows),
    )


def _differences(comparisons: Sequence[Comparison], baseline: str) -> str:
    tested = [one for one in comparisons if one.system is not None]
    if not tested:
        return ""
    if len(tested) > _MAX_ROWS:
        return section("Differences", f"{len(tested):,} rows, in comparison.tsv.", "")
    rows = [
        [
            one.system,
            str(one.direction),
            one.first,
            one.second,
            one.difference,
            one.low,
            one.high,
            None if one.p_value is None else show_p_value(one.p_value),
            verdict(one),
        ]
        for one in tested
    ]
    header = [
        "system", "direction", "first", "second", "difference", "low", "high", "p", "verdict",
    ]  # fmt: skip
    return section(
        "Differences",
        f"First is {baseline}; low and high are the interval of the difference. Click a column to"
        " sort by it.",
        f'<div class="scroll">{table(header, rows, sortable=True)}</div>',
    )


def _quoted(quoted: Sequence[Quoted]) -> str:
    if not quoted:
        return ""
    rows = [
        [one.system, str(one.direction), one.measured, one.quoted, one.quoted - one.measured]
        for one in quoted
    ]
    return section(
        "Published scores",
        "Not measured here; without the translations no significance test is possible.",
        table(["system", "direction", "measured", "quoted", "difference"], rows),
    )


def _unshared(unshared: Sequence[Direction]) -> str:
    if not unshared:
        return ""
    shown = ", ".join(map(str, unshared[:_MAX_ROWS]))
    return section("Not compared", f"Not all systems have these directions: {shown}", "")
