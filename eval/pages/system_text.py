"""The table of systems and directions, as text for a terminal and as HTML for the page."""

from __future__ import annotations

from collections.abc import Sequence

from corpus.console import format_table
from corpus.report.html import escape, section
from eval.config import BOOTSTRAP
from eval.hypotheses import COPY
from eval.statistics.averages import Average
from eval.statistics.buckets import ALL
from eval.statistics.readme_tables import MIXED
from eval.statistics.system_table import (
    MARKS,
    SystemScore,
    best_means,
    describe_test,
    group_scores,
    list_systems,
    show_p_value,
    show_score,
    title_metric,
)

MAX_DIRECTIONS = 40
"""On a terminal; the page holds more, and systems.tsv all."""

SYSTEMS_CSS = """
.beside { display: flex; flex-wrap: wrap; gap: 0 44px; } .beside > div { max-width: 100%; }
table.systems { width: auto; } table.systems tr:last-child th { border-bottom: 0; }
table.systems th[scope] { color: var(--ink); }
table.systems tr.mean > * { border-bottom: 0; background: var(--card);
  position: sticky; bottom: 0; box-shadow: 0 -1px var(--line); }
table.systems thead th { position: sticky; top: 0; background: var(--card); }
@media print { table.systems th, table.systems td { position: static !important; } }
 td.soft b { color: inherit; }
.better { color: var(--good); } .worse { color: var(--warn); } td.soft { color: var(--soft); }
@media (max-width: 600px) { section { padding: 16px 14px; }
  table.systems th, table.systems td { padding-right: 10px; font-size: 13px; } }
"""

_MAX_ROWS = 500
_BEST = "*"
_INTERVAL = "<br><small>{}–{}</small>"
_NEGATIVE_INTERVAL = "<br><small>{} to {}</small>"
"""Where a dash would stand beside a minus."""


def describe_systems(
    table: Sequence[SystemScore], averages: Sequence[Average], test: str = BOOTSTRAP
) -> list[str]:
    """Return a table per metric as lines for a terminal, the legend last; nothing for no table."""
    directions = {one.direction for one in table}
    if not table:
        return []
    if len(directions) > MAX_DIRECTIONS:
        return [f"{len(directions):,} directions by system are in the tables", ""]
    lines = []
    systems = list_systems(table)
    for metric, rows in group_scores(table).items():
        cells = [
            [str(direction), *(_plain(own.get(system)) for system in systems)]
            for direction, own in rows.items()
        ]
        means = _means(averages, metric)
        best = best_means(means.values())
        row = (_plain_mean(means.get(system), system in best) for system in systems)
        cells.append(["mean", *row])
        lines += [format_table([title_metric(metric), *systems], cells), ""]
    mixed = _describe_mixed(table, averages)
    return [*lines, f"{_BEST} best of its row; {describe_test(table, test)}{mixed}", ""]


def count_directions(number: int) -> str:
    """Return a number of directions in words."""
    return f"{number:,} direction{'s' if number != 1 else ''}"


def systems_section(
    table: Sequence[SystemScore], averages: Sequence[Average], test: str = BOOTSTRAP
) -> str:
    """Return the page's section with a table per metric; empty for no table."""
    if not table:
        return ""
    systems = list_systems(table)
    parts = []
    for metric, rows in group_scores(table).items():
        head = "".join(f'<th class="number">{escape(system)}</th>' for system in systems)
        lines = [
            f'<tr><th scope="row">{escape(direction)}</th>'
            + "".join(_cell(own.get(system)) for system in systems)
            + "</tr>"
            for direction, own in list(rows.items())[:_MAX_ROWS]
        ]
        more = len(rows) - len(lines)
        means = _means(averages, metric)
        best = best_means(means.values())
        cells = "".join(_mean_cell(means.get(system), system in best) for system in systems)
        lines.append(f'<tr class="mean"><th scope="row">mean</th>{cells}</tr>')
        note = (
            f"<p>and {more:,} more directions, in the tables beside this page</p>"
            if more > 0
            else ""
        )
        parts.append(
            f'<div><h3>{escape(title_metric(metric))}</h3><div class="scroll">'
            f'<table class="systems"><thead><tr><th>direction</th>{head}</tr></thead>'
            f"<tbody>{''.join(lines)}</tbody></table></div>"
            f"{note}</div>"
        )
    words = describe_test(table, test) + _describe_mixed(table, averages)
    legend = f"The best of each row is bold. {words[0].upper()}{words[1:]}."
    return section("Systems", legend, f'<div class="beside">{"".join(parts)}</div>')


def _plain(one: SystemScore | None) -> str:
    if one is None:
        return "–"
    best = _BEST if one.is_best else " "
    ends = _ends(one, " [{}, {}]")
    value = show_score(one.metric, one.value)
    return f"{value}{best}{ends} {MARKS.get(one.outcome, '')}".rstrip()


def _ends(one: SystemScore | Average, form: str) -> str:
    """Return an interval in a form; nothing where there is none."""
    if one.low is None or one.high is None:
        return ""
    return form.format(show_score(one.metric, one.low), show_score(one.metric, one.high))


def _small_ends(one: SystemScore | Average) -> str:
    is_negative = one.low is not None and one.low < 0
    return _ends(one, _NEGATIVE_INTERVAL if is_negative else _INTERVAL)


def _describe_mixed(table: Sequence[SystemScore], averages: Sequence[Average]) -> str:
    """Return what the mark of means over different tokenizers says; nothing without one."""
    shown = {one.metric for one in table}
    mixed = any(one.tokenizers and one.bucket == ALL and one.metric in shown for one in averages)
    return f"; {MIXED} mean over scores of different tokenizers" if mixed else ""


def _means(averages: Sequence[Average], metric: str) -> dict[str, Average]:
    return {one.system: one for one in averages if (one.metric, one.bucket) == (metric, ALL)}


def _plain_mean(one: Average | None, is_best: bool) -> str:
    if one is None or one.mean is None:
        return "–"
    ends = _ends(one, f"{_BEST if is_best else ' '} [{{}}, {{}}]") or (_BEST if is_best else "")
    return f"{show_score(one.metric, one.mean)}{ends}{_of_how_many(one)}"


def _mean_cell(one: Average | None, is_best: bool) -> str:
    if one is None or one.mean is None:
        return '<td class="number">–</td>'
    value = f"{show_score(one.metric, one.mean)}{_of_how_many(one)}"
    value = f"<b>{value}</b>" if is_best else value
    return f'<td class="number">{value}{_small_ends(one)}</td>'


def _of_how_many(one: Average) -> str:
    """Return what makes a mean not compare with its neighbors: directions missing, tokenizers."""
    mixed = MIXED if one.tokenizers else ""
    return mixed + (f" (n = {one.n:,})" if one.n_missing else "")


def _cell(one: SystemScore | None) -> str:
    if one is None:
        return '<td class="number">–</td>'
    value = show_score(one.metric, one.value)
    value = f"<b>{value}</b>" if one.is_best else value
    mark = ""
    if one.outcome in MARKS:
        p_value = "" if one.p_value is None else f", p {show_p_value(one.p_value)}"
        words = f"{one.outcome} than {one.baseline}{p_value}"
        mark = f' <span class="{one.outcome}" title="{escape(words)}">{MARKS[one.outcome]}</span>'
    ends = _small_ends(one)
    kind = "number soft" if one.system == COPY else "number"
    return f'<td class="{kind}">{value}{mark}{ends}</td>'
