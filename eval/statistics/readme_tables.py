"""Averages as tables for a paper or a README: `averages.md` and `averages.tex`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eval.statistics.averages import Average

_DECIMALS = 1
MIXED = "†"
"""Marks a mean over scores of different tokenizers."""
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def markdown_tables(averages: Sequence[Average]) -> str:
    """Return a Markdown table per metric: buckets down, systems across, n and what is missing."""
    parts = []
    for metric, header, rows in _tables(averages):
        lines = [header, ["---"] + ["--:"] * (len(header) - 1), *rows]
        cells = [" | ".join(cell.replace("|", r"\|") for cell in line) for line in lines]
        note = _note(averages, metric)
        parts.append(f"### {metric}\n\n" + "".join(f"| {line} |\n" for line in cells))
        if note:
            parts.append(f"{note}\n")
    return "\n".join(parts)


def latex_tables(averages: Sequence[Average]) -> str:
    """Return the same as LaTeX tables; they need the package booktabs."""
    parts = []
    for metric, header, rows in _tables(averages):
        body = "".join(f"{_latex_row(row)}\n" for row in rows)
        parts.append(
            f"% {metric}\n\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}\n\\toprule\n"
            f"{_latex_row(header)}\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n"
        )
        note = _note(averages, metric)
        if note:
            parts.append(f"% {note}\n")
    return "\n".join(parts)


def _note(averages: Sequence[Average], metric: str) -> str:
    names = {one.tokenizers for one in averages if one.metric == metric and one.tokenizers}
    if not names:
        return ""
    return f"{MIXED} mean over scores of different tokenizers ({'; '.join(sorted(names))})"


def _tables(averages: Sequence[Average]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return metric, header and rows of each table."""
    systems = sorted({one.system for one in averages})
    cells = {(one.metric, one.bucket, one.system): one for one in averages}
    tables = []
    for metric in dict.fromkeys(one.metric for one in averages):
        rows = []
        for bucket in dict.fromkeys(one.bucket for one in averages if one.metric == metric):
            own = [cells.get((metric, bucket, system)) for system in systems]
            there = [one for one in own if one is not None]
            size = max(one.n + one.n_missing for one in there)
            rows.append([bucket, f"{size:,}", *map(_cell, own)])
        tables.append((metric, ["directions", "n", *systems], rows))
    return tables


def _cell(one: Average | None) -> str:
    """Return a mean with its interval, and of how many directions it is where some are missing."""
    if one is None or one.mean is None:
        return "–"
    text = f"{one.mean:.{_DECIMALS}f}"
    if one.low is not None and one.high is not None:
        text += f" [{one.low:.{_DECIMALS}f}, {one.high:.{_DECIMALS}f}]"
    text += MIXED if one.tokenizers else ""
    return text + (f" (n = {one.n:,})" if one.n_missing else "")


def _latex_row(cells: Sequence[str]) -> str:
    escaped = (
        "".join(_LATEX.get(c, c) for c in cell).replace("–", "--").replace(MIXED, r"\dag{}")
        for cell in cells
    )
    return " & ".join(escaped) + r" \\"
