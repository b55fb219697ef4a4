"""Averages and systems beside each other as tables for a README and a paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eval.config import BOOTSTRAP
from eval.statistics.buckets import ALL
from eval.statistics.system_table import (
    MARKS,
    SystemScore,
    describe_test,
    group_scores,
    list_systems,
    show_score,
    title_metric,
)

if TYPE_CHECKING:
    from eval.statistics.averages import Average

_NONE = "–"
MIXED = "†"
"""Marks a mean over scores of different tokenizers."""
_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", _NONE: "--",
    MIXED: r"\dag{}",
})  # fmt: skip
_LATEX_MARKS = str.maketrans({
    MARKS["better"]: r"$\uparrow$", MARKS["worse"]: r"$\downarrow$", _NONE: "--",
})  # fmt: skip
_MARKDOWN = str.maketrans({character: f"\\{character}" for character in r"\|*_`<["})


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


def markdown_systems(
    table: Sequence[SystemScore], averages: Sequence[Average], test: str = BOOTSTRAP
) -> str:
    """Return a Markdown table per metric: directions down, systems across, the best in bold.

    Args:
        table: Scores of the systems.
        averages: Those of the bucket `all` are the last row.
        test: Name of the test behind the marks; see `eval.config.TESTS`.
    """
    systems = list_systems(table)
    header = ["direction", *(system.translate(_MARKDOWN) for system in systems)]
    parts = []
    for metric, rows in group_scores(table).items():
        lines = [header, ["---"] + ["--:"] * len(systems)]
        lines += [
            [direction, *(_score(own.get(system), "**", "**") for system in systems)]
            for direction, own in rows.items()
        ]
        lines.append(_mean_row(averages, metric, systems))
        cells = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        parts.append(f"### {title_metric(metric)}\n\n{cells}")
    legend = describe_test(table, test).translate(_MARKDOWN)
    return "\n".join([*parts, f"The best of each row is bold. {_capital(legend)}.\n"])


def latex_systems(
    table: Sequence[SystemScore], averages: Sequence[Average], test: str = BOOTSTRAP
) -> str:
    """Return the same as LaTeX tables; they need the package booktabs."""
    systems = list_systems(table)
    parts = []
    for metric, rows in group_scores(table).items():
        body = "".join(
            " & ".join(
                [
                    direction.translate(_LATEX),
                    *(_score(own.get(system), r"\textbf{", "}") for system in systems),
                ]
            ).translate(_LATEX_MARKS)
            + " \\\\\n"
            for direction, own in rows.items()
        )
        parts.append(
            f"% {title_metric(metric)}\n\\begin{{tabular}}{{l{'r' * len(systems)}}}\n\\toprule\n"
            f"{_latex_row(['direction', *systems])}\n\\midrule\n{body}\\midrule\n"
            f"{_latex_row(_mean_row(averages, metric, systems))}\n\\bottomrule\n\\end{{tabular}}\n"
        )
    legend = describe_test(table, test).translate(_LATEX).translate(_LATEX_MARKS)
    return "\n".join([*parts, f"% The best of each row is bold. {_capital(legend)}.\n"])


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _score(one: SystemScore | None, opening: str, closing: str) -> str:
    """Return a score with its interval and mark, the best between `opening` and `closing`."""
    if one is None:
        return _NONE
    value = show_score(one.metric, one.value)
    text = f"{opening}{value}{closing}" if one.is_best else value
    text += _interval(one)
    return f"{text} {MARKS[one.outcome]}" if one.outcome in MARKS else text


def _mean_row(averages: Sequence[Average], metric: str, systems: Sequence[str]) -> list[str]:
    means = {one.system: one for one in averages if (one.metric, one.bucket) == (metric, ALL)}
    return ["mean", *(_cell(means.get(system)) for system in systems)]


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
        return _NONE
    text = show_score(one.metric, one.mean) + _interval(one)
    text += MIXED if one.tokenizers else ""
    return text + (f" (n = {one.n:,})" if one.n_missing else "")


def _interval(one: SystemScore | Average) -> str:
    if one.low is None or one.high is None:
        return ""
    return f" [{show_score(one.metric, one.low)}, {show_score(one.metric, one.high)}]"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"
