"""A histogram with curves over it as SVG, in the colors of the page around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from corpus.report.charts import Line
from corpus.report.html import escape

_WIDTH, _HEIGHT = 760, 330
_MIN_WIDTH = 600
"""On narrow screens the chart scrolls rather than shrink its text."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 20, 48, 62, 40
_TICKS = 5
_CHARACTER_WIDTH = 7.2
_STROKES = (("--good", ""), ("--warn", ""), ("--ink", "7 4"), ("--soft", "2 3"))
"""Colors and dashes: of the outlined series, then of the curves."""
_OUTLINES = 2


class Counts(NamedTuple):
    """Counts in the bins of a histogram."""

    label: str
    counts: Sequence[int]


class Mark(NamedTuple):
    """A vertical line at a value."""

    label: str
    x: float


def histogram(
    edges: Sequence[float],
    series: Sequence[Counts],
    *,
    across: str,
    curves: Sequence[Line] = (),
    marks: Sequence[Mark] = (),
) -> str:
    """Return a histogram; every series is drawn to its own highest bin.

    Args:
        edges: Edges of the bins, ascending, one more than there are bins.
        series: The counts: the first as bars, whose hints have the counts, the others as outlines.
        across: What the horizontal axis shows.
        curves: Lines over it with values from 0 to 1, on the right axis.
        marks: Vertical lines.
    """
    plot = _Plot(edges)
    bars, *outlines = series
    fill = 'style="fill: var(--accent); opacity: 0.5"'
    parts = [plot.axes(across, bool(curves))]
    parts += [plot.bar(bars, i, fill) for i, count in enumerate(bars.counts) if count]
    parts.append(f'<rect x="{_LEFT}" y="10" width="16" height="12" rx="2" {fill}/>')
    parts.append(_legend_text(_LEFT + 22, bars.label))
    legend = _LEFT + 22 + _legend_width(bars.label)
    drawn: list[tuple[str, Sequence[tuple[float, float]], int]] = [
        (item.label, plot.outline(item), i) for i, item in enumerate(outlines)
    ]
    drawn += [(item.label, item.points, _OUTLINES + i) for i, item in enumerate(curves)]
    for label, points, style in drawn:
        color, dashes = _STROKES[style % len(_STROKES)]
        stroke = f'style="stroke: var({color}); fill: none" stroke-width="2"'
        stroke += f' stroke-dasharray="{dashes}"' if dashes else ""
        path = " ".join(f"{plot.x(x):.1f},{plot.y(y):.1f}" for x, y in points)
        parts.append(
            f'<g><title>{escape(label)}</title><polyline points="{path}" {stroke}/>'
            f'<path d="M{legend:.1f} 16h24" {stroke}/></g>{_legend_text(legend + 30, label)}'
        )
        legend += 30 + _legend_width(label)
    parts += [plot.mark(mark) for mark in marks]
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img"'
        f' style="min-width: {_MIN_WIDTH}px">{"".join(parts)}</svg>'
    )


def _legend_text(x: float, label: str) -> str:
    return f'<text x="{x:.1f}" y="20">{escape(label)}</text>'


def _legend_width(label: str) -> float:
    return len(label) * _CHARACTER_WIDTH + 16


class _Plot:
    """Where values are on the chart."""

    def __init__(self, edges: Sequence[float]) -> None:
        self._edges = edges
        self._low = edges[0]
        self._span = max(edges[-1] - edges[0], 1e-9)

    def x(self, value: float) -> float:
        share = min(max((value - self._low) / self._span, 0.0), 1.0)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, share: float) -> float:
        return _HEIGHT - _BOTTOM - min(max(share, 0.0), 1.0) * (_HEIGHT - _TOP - _BOTTOM)

    def axes(self, across: str, with_shares: bool) -> str:
        bottom = self.y(0)
        parts = [f'<path class="rule" d="M{_LEFT} {bottom}H{_WIDTH - _RIGHT}"/>']
        for step in range(_TICKS):
            value = self._low + self._span * step / (_TICKS - 1)
            parts.append(
                f'<text class="soft" x="{self.x(value):.1f}" y="{bottom + 17:.1f}"'
                f' text-anchor="middle">{value:.3g}</text>'
            )
            if with_shares:
                share = step / (_TICKS - 1)
                parts.append(
                    f'<path class="rule" d="M{_LEFT} {self.y(share):.1f}H{_WIDTH - _RIGHT}"/>'
                    f'<text class="soft" x="{_WIDTH - _RIGHT + 6}" y="{self.y(share) + 4:.1f}">'
                    f"{share:.2g}</text>"
                )
        parts.append(
            f'<text class="soft" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">'
            f"{escape(across)}</text>"
        )
        return "".join(parts)

    def bar(self, item: Counts, i: int, fill: str) -> str:
        left, right = self.x(self._edges[i]), self.x(self._edges[i + 1])
        top = self.y(item.counts[i] / max(item.counts))
        where = f"from {self._edges[i]:.3f} to {self._edges[i + 1]:.3f}"
        return (
            f"<g><title>{escape(f'{item.label}: {item.counts[i]:,} {where}')}</title>"
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(right - left - 1, 1):.1f}"'
            f' height="{self.y(0) - top:.1f}" {fill}/></g>'
        )

    def outline(self, item: Counts) -> list[tuple[float, float]]:
        """Return the steps of a series, as shares of its highest bin."""
        highest = max(max(item.counts), 1)
        steps = [
            (x, count / highest)
            for i, count in enumerate(item.counts)
            for x in (self._edges[i], self._edges[i + 1])
        ]
        return [(self._edges[0], 0.0), *steps, (self._edges[-1], 0.0)]

    def mark(self, mark: Mark) -> str:
        x = self.x(mark.x)
        anchor = "end" if x > _WIDTH / 2 else "start"
        shift = -4 if anchor == "end" else 4
        return (
            f'<path class="tick" d="M{x:.1f} {_TOP - 20}V{self.y(0):.1f}"/>'
            f'<text x="{x + shift:.1f}" y="{_TOP - 10}" text-anchor="{anchor}">'
            f"{escape(mark.label)}</text>"
        )
