"""Scores of parts of a test set, as text for a terminal and as HTML for the page."""

from __future__ import annotations

from collections.abc import Sequence

from corpus.console import format_table
from corpus.report.html import escape, section, table
from eval.statistics.slices import PartRow, Slice, summarize_slices

_MOST_PARTS = 12
"""Of more parts, as documents are, the lowest and the highest are shown."""
_LOWEST, _HIGHEST = 8, 2
_LONGEST = 48
"""Characters of a part's name: addresses of documents would push the scores out of sight."""


def describe_slices(slices: Sequence[Slice], systems: Sequence[str]) -> list[str]:
    """Return a table per slice and metric as lines for a terminal."""
    lines = []
    for (name, metric), rows in summarize_slices(slices, systems).items():
        shown = _shown(rows)
        cells = [
            [_clip(row.part), row.n, *(_plain(row.values.get(system)) for system in systems)]
            for row in shown
        ]
        lines += [format_table([f"{metric} by {name}", "lines", *systems], cells)]
        lines += [_more(rows, shown), ""] if len(shown) < len(rows) else [""]
    return lines


def slices_section(slices: Sequence[Slice], systems: Sequence[str]) -> str:
    """Return the page's section; empty without slices."""
    parts = []
    for (name, metric), rows in summarize_slices(slices, systems).items():
        shown = _shown(rows)
        cells = [
            [
                _clip(row.part),
                row.n,
                row.directions,
                *(row.values.get(system) for system in systems),
            ]
            for row in shown
        ]
        header = [name, "lines", "directions", *systems]
        more = f"<p>{escape(_more(rows, shown))}</p>" if len(shown) < len(rows) else ""
        drawn = table(header, cells, sortable=True, decimals=1)
        parts.append(
            f'<h3>{escape(f"{metric} by {name}")}</h3><div class="scroll parts">{drawn}</div>{more}'
        )
    if not parts:
        return ""
    words = (
        "Scores of parts of the test set, means over the directions that have the part; the lowest"
        " of the first system come first. Those of each direction are in slices.tsv."
    )
    return section("Parts of the test set", words, "".join(parts))


def _shown(rows: Sequence[PartRow]) -> list[PartRow]:
    if len(rows) <= _MOST_PARTS:
        return list(rows)
    return [*rows[:_LOWEST], *rows[-_HIGHEST:]]


def _more(rows: Sequence[PartRow], shown: Sequence[PartRow]) -> str:
    return (
        f"the {_LOWEST} lowest and the {_HIGHEST} highest of {len(rows):,};"
        f" {len(rows) - len(shown):,} are in between"
    )


def _clip(part: str) -> str:
    """Return a name, of a long one the end, in which addresses differ."""
    return part if len(part) <= _LONGEST else f"…{part[1 - _LONGEST :]}"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
