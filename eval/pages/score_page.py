"""The page that `tongues eval score` writes: one grid of scores from several sides.

It is one file that needs no network: the script `grid.js` draws it from packed scores
(`eval.pages.grid_data`) when it is opened.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from corpus.report.charts import Bar, bars
from corpus.report.html import (
    INTERACTIVE_CSS,
    SORT_SCRIPT,
    as_script,
    escape,
    figure,
    interactive_script,
    page,
    section,
    select,
    table,
)
from eval.hypotheses import COPY
from eval.pages.findings_text import content_section, contrast_section
from eval.pages.page_data import Findings
from eval.pages.slices_text import slices_section
from eval.pages.system_text import SYSTEMS_CSS, count_directions, systems_section
from eval.statistics.averages import distinct_buckets
from eval.statistics.buckets import ALL
from eval.statistics.slices import order_systems
from eval.statistics.system_table import list_systems

if TYPE_CHECKING:
    from corpus.languages import Direction
    from eval.statistics.averages import Average
    from eval.statistics.results import Scores
    from eval.statistics.slices import Slice
    from eval.statistics.system_table import SystemScore

_STYLE = """
#bars, #segments { max-height: 560px; overflow: auto; }
@media print { #bars, #segments { max-height: none; overflow: visible; } }
svg .loss { fill: var(--warn); } svg .whisker { stroke: var(--ink); stroke-width: 2; }
.parts td:first-child { overflow-wrap: anywhere; }
summary { cursor: pointer; font-size: 19px; font-weight: 700; }
#worst tbody tr { cursor: pointer; } #worst tbody tr:hover td { color: var(--accent); }
"""
_CHECKED_LANGUAGES = 15
_CHART_WIDTH = 330
"""Pixels of a chart, as many as a narrow screen has: a wider one would be shrunk, with its text."""
_CHECKS = {
    "off_target": (
        "Off target",
        "off_target_rate",
        "reference_rate",
        "Share of lines identified as another language than the target, in percent, into the"
        " languages where it is highest. The rate on the references is the identifier's own error.",
    ),
    "hallucination": (
        "Signs of hallucination",
        "suspect_rate",
        "reference_rate",
        "Share of lines with any sign (repetition, length, compression, copy, one output for"
        " several sources), in percent, into the languages where it is highest.",
    ),
    "toxicity": (
        "Added toxicity",
        "added_rate",
        "",
        "Share of lines with a listed term where the source has none, in percent. Languages"
        " without a list are not measured.",
    ),
    "content": (
        "Lost and added content, by language",
        "suspect_rate",
        "reference_rate",
        "Share of lines that break any rule, in percent, into the languages where it is highest.",
    ),
}
_SHOWN_WARNINGS = 50
_MAX_ROWS = 1_000
"""More rows of scores than this are in `scores.tsv` only: a table of them all slows the page."""


def render_scores(
    scores: Scores,
    data: Mapping[str, Any],
    findings: Findings = Findings(),  # noqa: B008 - it is a tuple
    systems: Sequence[SystemScore] = (),
    slices: Sequence[Slice] = (),
) -> str:
    """Return the page of a scoring run.

    Args:
        scores: All scores.
        data: What `eval.pages.grid_data` packs of them.
        findings: What other commands wrote beside the scores.
        systems: Scores of several systems beside each other.
        slices: Scores of parts of the test set.
    """
    every = [*systems, *findings.learned.table]
    means = [*scores.averages, *findings.learned.averages]
    names = [name for name in data["systems"] if name != COPY]
    directions = {row.direction for row in scores.rows} | {one.direction for one in every}
    number = f": {count_directions(len(directions))}" if directions else ""
    body = [
        "" if systems or not scores.rows else _figures(scores, len(directions)),
        systems_section(every, means),
        _warnings(scores),
        slices_section(slices, order_systems(slices, list_systems(systems))),
        content_section(findings.checks.get("content", {}), data["systems"]),
        contrast_section(findings.contrast, data["systems"]),
        *(_charts(scores, data) if scores.rows else ()),
        _averages(scores.averages, findings.learned.averages, data["counts"]),
        _worst() if len({row.direction for row in scores.rows}) > 1 else "",
        *_checks(findings.checks),
        _segments() if data["segments"] else "",
        _all_scores(scores) if scores.rows else "",
        *(('<div id="tip" hidden></div>', as_script(data)) if scores.rows else ()),
    ]
    scripts = [SORT_SCRIPT]
    if scores.rows:
        script = (resources.files("eval.pages") / "grid.js").read_text(encoding="utf-8")
        scripts += [interactive_script(), script]
    return page(
        "Scores",
        f"{', '.join(names)}{number}" + (f" · {scores.test_set}" if scores.test_set else ""),
        body,
        "\n".join(scripts),
        INTERACTIVE_CSS + SYSTEMS_CSS + _STYLE,
    )


def _charts(scores: Scores, data: Mapping[str, Any]) -> list[str]:
    """Return the sections that grid.js draws, with what chooses from them."""
    has_sizes = any(language["lines"] for language in data["languages"])
    return [
        _controls(),
        _map() if _is_grid({row.direction for row in scores.rows}) else "",
        _bars(data["counts"]),
        '<div class="columns">',
        _canvas("versus", "System against system", "Each point is a direction."),
        _sizes(data["counts"]) if has_sizes else "",
        "</div>",
    ]


def _is_grid(directions: Collection[Direction]) -> bool:
    """Whether a map says more than a list: at least two sources and two targets."""
    sources, targets = {one.source for one in directions}, {one.target for one in directions}
    return len(sources) > 1 and len(targets) > 1


def _controls() -> str:
    orders = [
        ("mean", "mean score"),
        ("name", "name"),
        ("family", "family"),
        ("script", "script"),
        ("resource", "resource level"),
    ]
    return (
        '<div class="controls">'
        + select("system", "system")
        + select("against", "less")
        + select("metric", "metric")
        + select("order", "sorted by", orders)
        + "</div>"
    )


def _map() -> str:
    return section(
        "Every direction",
        "Source languages down, target languages across. Directions without a score are crossed"
        " out. Point at a cell for its directions and scores; click it for its lines, where the"
        " page has them.",
        '<div class="legend"><span id="legend-low"></span><span id="legend"></span>'
        '<span id="legend-high"></span></div><div id="map-room"><canvas id="map"></canvas></div>',
    )


def _levels(counts: str) -> str:
    """Return where resource levels come from."""
    if not counts:
        return " Resource levels are those of the table of languages that was given."
    return (
        f" Resource levels are by the counts of training sentences published with {counts}, not by"
        " what the systems here were trained on."
    )


def _bars(counts: str) -> str:
    return section(
        "By language",
        "Mean over directions, with its interval where one was computed." + _levels(counts),
        select("side", "as", [("target", "target"), ("source", "source")])
        + '<div id="bars"></div>',
    )


def _canvas(name: str, title: str, explanation: str) -> str:
    return section(title, explanation, f'<canvas id="{name}"></canvas>')


def _sizes(counts: str) -> str:
    of_whom = f"{counts}'s training text" if counts else "training text"
    whence = (
        f"published with {counts}; the systems here may have had other data"
        if counts
        else "from the given table of languages"
    )
    return _canvas(
        "sizes",
        f"Score against {of_whom}",
        "Each point is a language: its mean score over its training sentences, in powers of ten,"
        f" {whence}.",
    )


def _worst() -> str:
    head = "<th>direction</th><th>languages</th><th class='number'>score</th>"
    return (
        '<section><h2 id="worst-title">Worst directions</h2><table id="worst"><thead><tr>'
        f"{head}</tr></thead><tbody></tbody></table></section>"
    )


def _segments() -> str:
    orders = [("worst", "worst first"), ("best", "best first"), ("line", "in order")]
    return section(
        "Line by line",
        "Sentence scores are computed on each line alone; their mean is not the corpus score.",
        select("direction", "direction")
        + " "
        + select("segment-order", "", orders)
        + '<div id="segments"></div>',
    )


def _figures(scores: Scores, directions: int) -> str:
    number, noun = count_directions(directions).split()
    cards = [figure(number, noun)]
    for entry in scores.averages:
        if entry.bucket == ALL and entry.system != COPY and entry.mean is not None:
            ends = "" if entry.low is None else f", {entry.low:.1f} to {entry.high:.1f}"
            name = entry.metric if directions == 1 else f"mean {entry.metric}"
            cards.append(figure(f"{entry.mean:.1f}", f"{name}, {entry.system}{ends}"))
    lacking = sum(map(len, scores.missing.values()))
    cards.append(figure(f"{lacking:,}", "missing cells"))
    return f'<div class="figures">{"".join(cards)}</div>'


def _warnings(scores: Scores) -> str:
    if not scores.warnings:
        return ""
    listed = scores.warnings[:_SHOWN_WARNINGS]
    items = "".join(f"<li>{escape(warning)}</li>" for warning in listed)
    more = len(scores.warnings) - len(listed)
    if more:
        items += f"<li>and {more:,} more, in scores.json beside this page</li>"
    count = f"{len(scores.warnings):,} warning{'s' if len(scores.warnings) > 1 else ''}"
    return (
        f"<section><details{'' if more else ' open'}><summary>{count}</summary>"
        f'<ul class="warnings">{items}</ul></details></section>'
    )


def _averages(averages: Sequence[Average], learned: Sequence[Average], counts: str) -> str:
    if not averages and not learned:
        return ""
    shown = set(distinct_buckets(averages or learned))
    rows = [
        [one.system, one.metric, one.bucket, one.mean, one.low, one.high, one.n, one.n_missing]
        for one in [*averages, *learned]
        if one.bucket in shown
    ]
    header = ["system", "metric", "bucket", "mean", "low", "high", "n", "missing"]
    return section(
        "Averages",
        "Plain means over directions, with bootstrap intervals over lines. A direction takes"
        " the level of its lower-resource language; low includes very low. Script, family and"
        " further columns are those of the target." + _levels(counts),
        f'<div class="scroll">{table(header, rows, sortable=True)}</div>',
    )


def _checks(checks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a section for each check that was run: the languages it finds most in."""
    parts = []
    for check, (title, figure_name, floor, explanation) in _CHECKS.items():
        systems = checks.get(check, {})
        charts = []
        for system, found in systems.items():
            into = {code: one["mean"] for code, one in found["into"].items()}
            worst = sorted(
                (code for code in into if into[code] is not None), key=lambda code: -into[code]
            )[:_CHECKED_LANGUAGES]
            items = [Bar(code, 100 * into[code]) for code in worst]
            total = found[figure_name]
            line = f"{system}: {_percent(total['mean'])} over {count_directions(total['n'])}"
            if floor:
                line += f"; references {_percent(found[floor]['mean'])}"
            if total["n_missing"]:
                line += f"; {total['n_missing']:,} not measured"
            charts.append(f"<div><h3>{escape(line)}</h3>{bars(items, width=_CHART_WIDTH)}</div>")
        if charts:
            parts.append(section(title, explanation, f'<div class="maps">{"".join(charts)}</div>'))
    return parts


def _percent(share: float | None) -> str:
    return "nothing measured" if share is None else f"{100 * share:.2f} %"


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
    if len(rows) > _MAX_ROWS:
        return section("All scores", f"{len(rows):,} rows, in scores.tsv beside this page.", "")
    header = ["system", "direction", "metric", "value", "n", "signature"]
    return section(
        "All scores",
        "Click a column to sort by it.",
        f'<div class="scroll">{table(header, rows, sortable=True)}</div>',
    )
