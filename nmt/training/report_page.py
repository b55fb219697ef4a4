"""Report page of a training: loss, validation of each direction, and load of the gates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from corpus.report.charts import Line, heat_map, lines, sparkline
from corpus.report.html import SORT_SCRIPT, escape, figure, page, section, table
from nmt.training.curves import Curves, Validation, mean_scores
from nmt.training.gate_metrics import DROPPED, ENTROPY
from nmt.training.summary import THROUGHPUT, UTILIZATION, summarize

PAGE_FILE = "report.html"

_MAP_COLUMNS = 16
_STYLE = (
    ".curves { display: flex; flex-wrap: wrap; gap: 14px 22px; }"
    " .curves div { width: 178px; } .curves b { font-size: 13px; font-weight: 600; }"
)


def render_training(curves: Curves, *, title: str, updates: int) -> str:
    """Return the page.

    Args:
        curves: The metrics of the training so far.
        title: What is trained, in words.
        updates: How many updates the config asks for.
    """
    summary = summarize(curves)
    done = summary["update"] or 0
    body = [
        _figures(summary, done, updates),
        _signs(summary["signs"]),
        '<div class="columns">' + _loss(curves) + _throughput(curves) + "</div>",
        '<div class="columns">' + _means(curves, "nll") + _means(curves, "chrf++") + "</div>",
        _directions(curves, "nll"),
        _directions(curves, "chrf++"),
        _gates(curves),
        _table(summary["validation"]),
    ]
    return page(
        "Training", f"{title}: update {done:,} of {updates:,}", body, SORT_SCRIPT, style=_STYLE
    )


def _figures(summary: Mapping[str, Any], done: int, updates: int) -> str:
    best = summary["best"]
    cards = [
        figure(f"{done:,}", f"updates of {updates:,}"),
        _card(summary["nll"], "training nll per token, last report", "{:.3f}"),
        _card(best["nll"]["mean"], _at("best mean validation nll", best["nll"]), "{:.3f}"),
        _card(best["chrf++"]["mean"], _at("best mean chrF++", best["chrf++"]), "{:.1f}"),
        _card(summary[THROUGHPUT], "tokens per second, source and target, median", "{:,.0f}"),
        _card(summary[UTILIZATION], "model FLOPs utilization, median", "{:.1%}"),
        figure(f"{summary['skipped_updates']:,}", "updates skipped: gradient not finite"),
    ]
    return f'<div class="figures">{"".join(cards)}</div>'


def _signs(signs: Sequence[str]) -> str:
    if not signs:
        return ""
    items = "".join(f"<li>{escape(sign)}</li>" for sign in signs)
    return section("What the curves say", "", f"<ul>{items}</ul>")


def _at(words: str, best: Mapping[str, Any]) -> str:
    return words if best["update"] is None else f"{words}, update {best['update']:,}"


def _card(value: float | None, label: str, form: str) -> str:
    return figure("missing" if value is None else form.format(value), label, value is not None)


def _loss(curves: Curves) -> str:
    items = [
        _line(curves, "label-smoothed loss", lambda report: report.get("Loss")),
        _line(curves, "nll", lambda report: report.get("NLL Loss")),
    ]
    return _chart("Training loss", "Per target token, mean since the report before.", items)


def _throughput(curves: Curves) -> str:
    items = [
        _line(curves, "thousand tokens/s", lambda r: _scaled(r.get(THROUGHPUT), 1e-3)),
        _line(curves, "MFU, %", lambda report: _scaled(report.get(UTILIZATION), 100)),
    ]
    words = "Source and target tokens; model FLOPs utilization. Validation and saving left out."
    return _chart("Throughput", words, items, from_zero=True)


def _means(curves: Curves, score: str) -> str:
    sign = -1 if score == "nll" else 1
    points = [(update, sign * mean) for update, mean in mean_scores(curves, score)]
    title = "Validation nll" if score == "nll" else "Validation chrF++"
    words = "Mean over directions." if score == "nll" else "Mean over the directions translated."
    return _chart(title, words, [Line("mean", points)])


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _line(curves: Curves, label: str, value: Callable[[Mapping[str, Any]], float | None]) -> Line:
    found = [(report["Step"], value(report)) for report in curves.training]
    return Line(label, [(update, y) for update, y in found if y is not None and math.isfinite(y)])


def _chart(title: str, words: str, items: Sequence[Line], *, from_zero: bool = False) -> str:
    shown = [
        Line(item.label, [(x, y) for x, y in item.points if math.isfinite(y)]) for item in items
    ]
    x_range, y_range = _ranges([point for item in shown for point in item.points])
    if x_range == (0.0, 0.0):
        return section(title, "Nothing was measured.", "")
    if from_zero:
        y_range = (0.0, y_range[1])
    return section(
        title, words, lines(shown, across="update", up="", x_range=x_range, y_range=y_range)
    )


def _ranges(
    points: Sequence[tuple[float, float]],
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the ranges of both axes, the vertical one with a little room."""
    if not points:
        return (0.0, 0.0), (0.0, 1.0)
    right = max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    room = 0.05 * (high - low) or 0.5
    return (0.0, right), (max(low - room, 0.0), high + room)


def _directions(curves: Curves, score: str) -> str:
    """Return a small curve for every direction, all on the same scale."""
    drawn = {
        direction: points
        for direction, validations in curves.validation.items()
        if (points := _points(validations, score))
    }
    if not drawn:
        return ""
    x_range, y_range = _ranges([point for points in drawn.values() for point in points])
    cells = [
        f"<div><b>{escape(direction)}</b><br><small>{points[-1][1]:.{2 if score == 'nll' else 1}f}"
        f"</small>{sparkline(points, x_range=x_range, y_range=y_range)}</div>"
        for direction, points in drawn.items()
    ]
    low, high = y_range
    name = "nll per target token" if score == "nll" else "chrF++"
    return section(
        f"Each direction: {name}",
        f"Over updates, with the last value; every curve spans {low:.2f} to {high:.2f}.",
        f'<div class="curves scroll">{"".join(cells)}</div>',
    )


def _points(validations: Sequence[Validation], score: str) -> list[tuple[float, float]]:
    found = [(v.update, v.nll if score == "nll" else v.chrf) for v in validations]
    return [(update, y) for update, y in found if y is not None and math.isfinite(y)]


def _gates(curves: Curves) -> str:
    entropy, dropped = _gate_map(curves, ENTROPY), _gate_map(curves, DROPPED)
    if not entropy:
        return ""
    content = (
        f'<div class="maps"><div><h3>Entropy of the load, % of even</h3>{entropy}</div>'
        f"<div><h3>Assignments dropped by capacity, %</h3>{dropped}</div></div>"
    )
    words = (
        "Mixture-of-Experts layers over updates: at 100 all experts get equally many assignments,"
        " at 0 one gets all. Columns are reports, evenly spaced."
    )
    return section("Gates", words, content)


def _gate_map(curves: Curves, figure_name: str) -> str:
    prefix = f"{figure_name}/"
    reports = curves.training
    if len(reports) > _MAP_COLUMNS:
        last = len(reports) - 1
        reports = [reports[i * last // (_MAP_COLUMNS - 1)] for i in range(_MAP_COLUMNS)]
    names = [name for report in reports[-1:] for name in report if name.startswith(prefix)]
    layers = [name.removeprefix(prefix) for name in names]
    # The recorder sorts by name: decoder first, 11 before 3.
    layers.sort(key=lambda layer: (not layer.startswith("encoder"), int(layer.split(".")[-1])))
    values = {
        (layer, f"{report['Step']:,}"): report[prefix + layer]
        for report in reports
        for layer in layers
        if prefix + layer in report
    }
    if not values:
        return ""
    columns = [f"{report['Step']:,}" for report in reports]
    return heat_map(layers, columns, values, scale=100, low=0.0, high=1.0)


def _table(validation: Mapping[str, Mapping[str, Any]]) -> str:
    if not validation:
        return section("Validation", "No direction was validated.", "")
    names = (
        "nll", "best_nll", "best_nll_update", "chrf", "copying", "best_chrf", "best_chrf_update",
    )  # fmt: skip
    rows = [
        [direction, *(entry[name] for name in names)] for direction, entry in validation.items()
    ]
    header = ["direction", "nll", "best nll", "at update", "chrF++", "of copying", "best chrF++"]
    header.append("at update")
    content = table(header, rows, sortable=True, decimals=3)
    return section("Validation by direction", "", f'<div class="scroll">{content}</div>')
