"""The page that `tongues eval score` writes: heat maps, bars against the baseline, all scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from corpus.charts import Bar, bars, heat_map
from corpus.languages import Direction
from corpus.page import SORT_SCRIPT, escape, figure, page, section, table
from eval.buckets import ALL
from eval.hypotheses import COPY

if TYPE_CHECKING:
    from eval.results import Scores

_MAP_LANGUAGES = 60
"""With more languages a map of labeled cells is unreadable; the table remains."""


def render_scores(scores: Scores) -> str:
    """Return the page of a scoring run."""
    systems = sorted({row.system for row in scores.rows if row.system != COPY})
    metrics = list(dict.fromkeys(row.metric for row in scores.rows))
    values = {(row.system, row.metric, row.direction): row.value for row in scores.rows}
    directions = sorted({row.direction for row in scores.rows})
    body = [_figures(scores, len(directions)), _warnings(scores)]
    body += [
        _system_section(values, directions, metric, system)
        for metric in metrics
        for system in systems
    ]
    body.append(_averages(scores))
    body.append(_all_scores(scores))
    count = f"{len(systems)} system{'s' if len(systems) != 1 else ''}"
    return page("Scores", f"{count}, {len(directions)} directions", body, SORT_SCRIPT)


def _system_section(
    values: Mapping[tuple[str, str, Direction], float],
    directions: Sequence[Direction],
    metric: str,
    system: str,
) -> str:
    own = {
        pair: values[system, metric, pair]
        for pair in directions
        if (system, metric, pair) in values
    }
    items = [Bar(str(pair), own.get(pair), values.get((COPY, metric, pair))) for pair in directions]
    parts = [f'<div class="scroll">{bars(items)}</div>']
    languages = sorted({code for pair in directions for code in pair})
    if len(languages) <= _MAP_LANGUAGES:
        cells = {(pair.source, pair.target): value for pair, value in own.items()}
        parts.append(heat_map(languages, languages, cells, low=0.0))
    return section(
        f"{metric}, {system}",
        "Bars: a direction each; the inner bar is the baseline that copies the source, where it"
        " was scored. Map: source languages down, target languages across; dashed cells have no"
        " hypotheses.",
        f'<div class="maps">{"".join(parts)}</div>',
    )


def _figures(scores: Scores, directions: int) -> str:
    cards = [figure(str(directions), "directions")]
    for entry in scores.averages:
        if entry.bucket == ALL and entry.system != COPY and entry.mean is not None:
            cards.append(figure(f"{entry.mean:.1f}", f"mean {entry.metric}, {entry.system}"))
    lacking = sum(map(len, scores.missing.values()))
    cards.append(figure(str(lacking), "missing cells"))
    return f'<div class="figures">{"".join(cards)}</div>'


def _warnings(scores: Scores) -> str:
    if not scores.warnings:
        return ""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in scores.warnings)
    return section("Warnings", "", f'<ul class="warnings">{items}</ul>')


def _averages(scores: Scores) -> str:
    rows = [
        [entry.system, entry.metric, entry.bucket, entry.mean, entry.n, entry.n_missing]
        for entry in scores.averages
    ]
    return section(
        "Averages",
        "Plain means over directions. A direction counts as its poorer language; very low is"
        " inside low.",
        table(["system", "metric", "bucket", "mean", "n", "missing"], rows, sortable=True),
    )


def _all_scores(scores: Scores) -> str:
    rows: list[list[object]] = [
        [row.system, str(row.direction), row.metric, row.value, row.n, row.signature]
        for row in scores.rows
    ]
    rows += [
        [system, str(direction), "missing", None, None, ""]
        for system, lacking in scores.missing.items()
        for direction in lacking
    ]
    header = ["system", "direction", "metric", "value", "n", "signature"]
    return section(
        "All scores",
        "Click a column to sort by it.",
        f'<div class="scroll">{table(header, rows, sortable=True)}</div>',
    )
