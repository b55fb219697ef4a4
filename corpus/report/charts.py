"""Charts as SVG, drawn here so that a page needs no library and no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from corpus.report.html import escape

_BAR_HEIGHT = 15
_BAR_STEP = 23
_WIDTH = 530
_CHARACTER_WIDTH = 7.5
_CELL = 34
_PLOT_HEIGHT = 300
_PLOT_MARGIN = 44
_STROKES = (("--accent", ""), ("--warn", "7 4"), ("--good", "2 4"), ("--soft", "9 3 2 3"))
"""Color and dashes of a chart's lines in turn, so that they differ without color too."""


class Bar(NamedTuple):
    """A bar with an optional second value, drawn beneath it as its baseline."""

    label: str
    value: float | None
    baseline: float | None = None


class Line(NamedTuple):
    """A line through points (x, y), from left to right."""

    label: str
    points: Sequence[tuple[float, float]]


def bars(
    items: Sequence[Bar],
    *,
    top: float | None = None,
    decimals: int = 1,
    start: float = 0.0,
    width: int = _WIDTH,
) -> str:
    """Return horizontal bars, one a line, with their values; None is shown as missing.

    Args:
        items: The bars from top to bottom.
        top: Value of a full bar; the largest one if not given.
        decimals: Decimals of the values shown.
        start: Value at which bars begin.
        width: Width of the chart in pixels.
    """
    there = [v for item in items for v in (item.value, item.baseline) if v is not None]
    full = top if top is not None else max([*there, start + 1e-9])
    left = max((len(item.label) for item in items), default=0) * _CHARACTER_WIDTH + 12
    room = width - left - 60
    parts = []
    for row, item in enumerate(items):
        y = row * _BAR_STEP
        middle = y + _BAR_HEIGHT / 2 + 4
        parts.append(
            f'<text x="{left - 8:.1f}" y="{middle:.1f}" text-anchor="end">{escape(item.label)}'
            "</text>"
        )
        length = _length(item.value, start, full, room)
        hint = f"{item.label}: {_number(item.value, decimals)}"
        if item.baseline is not None:
            hint += f" (baseline {_number(item.baseline, decimals)})"
        parts.append(
            f"<g><title>{escape(hint)}</title>"
            f'<rect class="bar" x="{left:.1f}" y="{y}" width="{length:.1f}" height="{_BAR_HEIGHT}"'
            ' rx="3"/>'
        )
        if item.baseline is not None:
            base = _length(item.baseline, start, full, room)
            parts.append(
                f'<rect class="base" x="{left:.1f}" y="{y + 4}" width="{base:.1f}"'
                f' height="{_BAR_HEIGHT - 8}" rx="2"/>'
            )
        parts.append("</g>")
        parts.append(
            f'<text class="soft" x="{left + length + 7:.1f}" y="{middle:.1f}">'
            f"{_number(item.value, decimals)}</text>"
        )
    height = max(len(items) * _BAR_STEP, 1)
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img">{"".join(parts)}</svg>'


def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Mapping[tuple[str, str], float],
    *,
    decimals: int = 0,
    scale: float = 1.0,
    low: float | None = None,
    high: float | None = None,
    blank: str = "",
) -> str:
    """Return a heat map of `values[row, column]`; cells without a value are empty frames.

    Args:
        rows: Row names from top to bottom.
        columns: Column names from left to right.
        values: The cells.
        decimals: Decimals of the numbers in the cells.
        scale: What numbers are multiplied by before they are shown.
        low: Value of the palest cell; the smallest one if not given.
        high: Value of the strongest cell; the largest one if not given.
        blank: Written in cells without a value.
    """
    bottom = low if low is not None else min(values.values(), default=0.0)
    top = high if high is not None else max(values.values(), default=1.0)
    left = max((len(name) for name in rows), default=0) * _CHARACTER_WIDTH + 18
    head = max((len(name) for name in columns), default=0) * _CHARACTER_WIDTH * 0.8 + 16
    turn = "" if all(len(name) <= 2 for name in columns) else " rotate(-50)"
    parts = []
    for i, name in enumerate(columns):
        x = left + i * _CELL + _CELL / 2 + 3
        parts.append(
            f'<text transform="translate({x:.1f},{head - 8:.1f}){turn}">{escape(name)}</text>'
        )
    for j, row in enumerate(rows):
        y = head + j * _CELL * 0.78
        parts.append(
            f'<text x="{left - 7:.1f}" y="{y + 17:.1f}" text-anchor="end">{escape(row)}</text>'
        )
        for i, column in enumerate(columns):
            x = left + i * _CELL
            parts.append(
                _heat_cell(
                    x,
                    y,
                    values.get((row, column)),
                    bottom,
                    top,
                    f"{row} → {column}",
                    decimals,
                    scale,
                    blank,
                )
            )
    width = left + len(columns) * _CELL + max(head * 0.6, 20)
    height = head + len(rows) * _CELL * 0.78 + 4
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img">'
        f"{''.join(parts)}</svg>"
    )


def lines(
    items: Sequence[Line],
    *,
    across: str,
    up: str,
    x_range: tuple[float, float] = (0.0, 1.0),
    y_range: tuple[float, float] = (0.0, 1.0),
    diagonal: bool = False,
) -> str:
    """Return a chart of lines with a legend; points outside the ranges are drawn on the edge.

    Args:
        items: The lines.
        across: What the horizontal axis shows.
        up: What the vertical axis shows.
        x_range: Values at the left and the right edge.
        y_range: Values at the lower and the upper edge.
        diagonal: Draw the line from the lower left to the upper right corner.
    """
    width, height = _WIDTH - 2 * _PLOT_MARGIN, _PLOT_HEIGHT - 2 * _PLOT_MARGIN

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            _PLOT_MARGIN + _length(x, *x_range, width),
            _PLOT_MARGIN + height - _length(y, *y_range, height),
        )

    bottom = _PLOT_MARGIN + height
    parts = []
    for step in range(5):
        x_value = x_range[0] + (x_range[1] - x_range[0]) * step / 4
        y_value = y_range[0] + (y_range[1] - y_range[0]) * step / 4
        x, y = place(x_value, y_value)
        parts.append(
            f'<path class="rule" d="M{_PLOT_MARGIN} {y:.1f}h{width}"/>'
            f'<text class="soft" x="{_PLOT_MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{_tick(y_value)}</text>"
            f'<text class="soft" x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">'
            f"{_tick(x_value)}</text>"
        )
    if diagonal:
        parts.append(
            f'<path style="stroke: var(--base)" d="M{_PLOT_MARGIN} {bottom}l{width} {-height}"/>'
        )
    legend = float(_PLOT_MARGIN)
    for index, item in enumerate(items):
        color, dashes = _STROKES[index % len(_STROKES)]
        stroke = f'style="stroke: var({color}); fill: none" stroke-width="2"'
        stroke += f' stroke-dasharray="{dashes}"' if dashes else ""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in item.points))
        parts.append(
            f"<g><title>{escape(item.label)}</title>"
            f'<polyline points="{path}" {stroke}/><path d="M{legend:.1f} 32h22" {stroke}/></g>'
            f'<text x="{legend + 28:.1f}" y="36">{escape(item.label)}</text>'
        )
        legend += len(item.label) * _CHARACTER_WIDTH + 48
    parts.append(
        f'<text class="soft" x="4" y="14">{escape(up)}</text><text class="soft" text-anchor="end"'
        f' x="{_PLOT_MARGIN + width}" y="{_PLOT_HEIGHT - 6}">{escape(across)}</text>'
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_PLOT_HEIGHT}" width="{_WIDTH}" role="img">'
        f"{''.join(parts)}</svg>"
    )


def sparkline(
    points: Sequence[tuple[float, float]],
    *,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    width: int = 150,
    height: int = 36,
) -> str:
    """Return a small line without axes; points that are no numbers are left out.

    Args:
        points: The line, from left to right.
        x_range: Values at the left and the right edge.
        y_range: Values at the lower and the upper edge.
        width: Width in pixels.
        height: Height in pixels.
    """
    places = [
        (2 + _length(x, *x_range, width - 4), height - 2 - _length(y, *y_range, height - 4))
        for x, y in points
        if math.isfinite(x) and math.isfinite(y)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    end = ""
    if places:
        x, y = places[-1]
        end = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" style="fill: var(--accent)"/>'
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img">'
        f'<polyline points="{path}" style="stroke: var(--accent); fill: none" stroke-width="1.5"/>'
        f"{end}</svg>"
    )


def _heat_cell(
    x: float,
    y: float,
    value: float | None,
    bottom: float,
    top: float,
    name: str,
    decimals: int,
    scale: float,
    blank: str,
) -> str:
    box = f'x="{x:.1f}" y="{y:.1f}" width="{_CELL - 2}" height="{_CELL * 0.78 - 2:.1f}" rx="4"'
    middle = f'x="{x + _CELL / 2 - 1:.1f}" y="{y + 16.5:.1f}" text-anchor="middle"'
    if value is None:
        return (
            f'<rect {box} fill="none" class="rule" stroke-dasharray="2 3"/>'
            f'<text {middle} class="soft">{escape(blank)}</text>'
        )
    share = 0.0 if top <= bottom else min(max((value - bottom) / (top - bottom), 0.0), 1.0)
    shown = _number(value * scale, decimals)
    # Two layers, so that the page's colors decide in light and in dark.
    return (
        f"<g><title>{escape(name)}: {shown}</title>"
        f'<rect {box} style="fill: rgb(var(--low))"/>'
        f'<rect {box} style="fill: rgb(var(--high)); opacity: {0.08 + 0.72 * share:.2f}"/>'
        f"<text {middle}>{shown}</text></g>"
    )


def _length(value: float | None, start: float, full: float, room: float) -> float:
    if value is None or full <= start:
        return 0.0
    return max(0.0, min(1.0, (value - start) / (full - start))) * room


def _tick(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _number(value: float | None, decimals: int) -> str:
    return "missing" if value is None or math.isnan(value) else f"{value:.{decimals}f}"
