"""The HTML around a report: one file, no network, light and dark."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from corpus.errors import UserError

CSS = """
:root { color-scheme: light dark;
  --page: #f6f5f1; --card: #ffffff; --ink: #1d2430; --soft: #626b7a; --line: #e3e1da;
  --accent: #2f6fdf; --accent-soft: #dbe6fb; --good: #1f8f5f; --warn: #b45309; --base: #b9b4a7;
  --low: 243,241,234; --high: 47,111,223; }
@media (prefers-color-scheme: dark) { :root {
  --page: #12151b; --card: #1a1f28; --ink: #e8eaee; --soft: #98a2b3; --line: #2b323e;
  --accent: #7aa7ff; --accent-soft: #24365a; --good: #58c795; --warn: #f0a95b; --base: #4b5261;
  --low: 31,37,48; --high: 122,167,255; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 20px 64px; }
header h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -.02em; }
header p { margin: 0; color: var(--soft); max-width: 70ch; }
h2 { font-size: 19px; margin: 0 0 4px; letter-spacing: -.01em; }
h3 { font-size: 14px; margin: 18px 0 6px; color: var(--soft); font-weight: 600; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 22px 24px; margin-top: 20px; overflow-x: auto; }
section > p { margin: 0 0 14px; color: var(--soft); max-width: 80ch; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(240px, 1fr));
  gap: 14px; margin-top: 24px; }
.figure { background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 16px 18px; }
.figure b { display: block; font-size: 28px; line-height: 1.2; letter-spacing: -.02em;
  white-space: nowrap; font-variant-numeric: tabular-nums; }
.figure span { color: var(--soft); font-size: 13px; display: block; }
.figure.absent b { color: var(--soft); font-weight: 500; font-size: 20px; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(330px, 1fr)); gap: 20px; }
.columns > section { margin-top: 20px; }
.maps { display: flex; flex-wrap: wrap; gap: 28px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--soft); font-weight: 600; font-size: 13px; cursor: default; }
th, td { padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; white-space: nowrap; }
.sortable th { cursor: pointer; } .sortable th:hover { color: var(--accent); }
.meter { height: 4px; border-radius: 2px; background: var(--accent); margin: 5px 0 0 auto; }
.scroll { max-height: 460px; overflow: auto; }
.missing { color: var(--warn); }
.pill { display: inline-block; font-size: 12px; padding: 1px 9px; border-radius: 99px;
  background: var(--accent-soft); color: var(--ink); }
code, .mono { font: 13px/1.4 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
small { color: var(--soft); }
svg { max-width: 100%; height: auto; display: block; }
svg text { fill: var(--ink); font: 12px system-ui, "Noto Sans", sans-serif; }
svg .soft { fill: var(--soft); } svg .bar { fill: var(--accent); } svg .base { fill: var(--base); }
svg .rule { stroke: var(--line); } svg .tick { stroke: var(--ink); stroke-width: 2; }
.sample { display: grid; grid-template-columns: 92px 1fr; gap: 2px 14px; padding: 12px 0;
  border-bottom: 1px solid var(--line); }
.sample:last-child { border-bottom: 0; }
.sample h3 { grid-column: 1 / -1; margin: 0; color: var(--ink); }
.sample dt { color: var(--soft); font-size: 13px; } .sample dd { margin: 0; font-size: 16px; }
.warnings li { color: var(--warn); }
footer { color: var(--soft); font-size: 13px; margin-top: 24px; }
@media print { :root { color-scheme: light; --page: #fff; --card: #fff; --ink: #1d2430;
    --soft: #555e6b; --line: #dcdad2; --accent: #2f6fdf; --accent-soft: #dbe6fb; --good: #1f8f5f;
    --warn: #b45309; --base: #b9b4a7; --low: 243,241,234; --high: 47,111,223; }
  * { print-color-adjust: exact; } main { max-width: none; padding: 0; }
  section { overflow: visible; padding: 12px 0; border-width: 1px 0 0; border-radius: 0; }
  .scroll { max-height: none; overflow: visible; } .columns { display: block; }
  .columns > section { break-inside: avoid; }
  th, td { padding-right: 8px; font-size: 12px; overflow-wrap: anywhere; }
  h2, h3, section > p { break-after: avoid; }
  tr, svg, canvas, .figure, .sample { break-inside: avoid; }
  canvas { max-width: 100%; height: auto !important; } }
@media (max-width: 560px) { main { padding: 20px 12px 40px; } section { padding: 16px; }
  header h1 { font-size: 24px; } .figures { grid-template-columns: repeat(2, 1fr); }
  .sample { grid-template-columns: 1fr; } th, td { padding-right: 10px; font-size: 13px; } }
"""

INTERACTIVE_CSS = """
.controls { position: sticky; top: 0; z-index: 2; display: flex; flex-wrap: wrap; gap: 8px 18px;
  background: var(--page); padding: 12px 0; margin-top: 14px;
  border-bottom: 1px solid var(--line); }
.controls label { color: var(--soft); font-size: 13px; }
select { font: inherit; color: var(--ink); background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; padding: 4px 8px; max-width: 60vw; }
@media print { .controls { position: static; } #tip { display: none; } }
canvas { display: block; cursor: crosshair; }
.legend { display: flex; align-items: center; gap: 10px; color: var(--soft); font-size: 13px;
  font-variant-numeric: tabular-nums; margin: 0 0 10px; }
#legend { height: 10px; width: 220px; border-radius: 5px; }
#tip { position: fixed; z-index: 3; pointer-events: none; background: var(--card);
  border: 1px solid var(--line); border-radius: 8px; padding: 6px 10px; font-size: 13px;
  box-shadow: 0 4px 16px rgb(0 0 0 / 18%); max-width: 320px; }
"""
"""Beside `CSS`, for pages whose pictures are drawn by `interactive_script`."""

SORT_SCRIPT = """
for (const table of document.querySelectorAll("table.sortable"))
  table.tHead.addEventListener("click", event => {
    const head = event.target.closest("th");
    if (!head) return;
    const column = head.cellIndex, body = table.tBodies[0];
    const up = head.dataset.up !== "1";
    head.dataset.up = up ? "1" : "0";
    const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const rows = [...body.rows].sort((a, b) => {
      const x = key(a), y = key(b), d = Number(x) - Number(y);
      return Number.isNaN(d) ? x.localeCompare(y) : d;
    });
    body.append(...(up ? rows : rows.reverse()));
  });
"""


def escape(text: object) -> str:
    """Return text escaped for HTML."""
    return html.escape(str(text))


def page(title: str, subtitle: str, body: Sequence[str], script: str = "", style: str = "") -> str:
    """Return a whole page; `body` is HTML already, `style` is CSS beside that of all pages."""
    scripts = f"<script>{script}</script>\n" if script else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}{style}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{escape(title)}</h1><p>{escape(subtitle)}</p></header>\n"
        + "\n".join(part for part in body if part)
        + f"\n</main>\n{scripts}</body>\n</html>\n"
    )


def interactive_script() -> str:
    """Return the shared script of interactive pages; it precedes theirs."""
    return (resources.files("corpus.report") / "interactive.js").read_text(encoding="utf-8")


def select(name: str, label: str, options: Sequence[tuple[str, str]] = ()) -> str:
    """Return a choice with an id, of values and their words."""
    chosen = "".join(
        f'<option value="{escape(value)}">{escape(text)}</option>' for value, text in options
    )
    return f'<label>{escape(label)} <select id="{name}">{chosen}</select></label>'


def as_script(data: Mapping[str, Any]) -> str:
    """Return data as an HTML element; no text in it can end the element or begin another."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    safe = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return f'<script type="application/json" id="data">{safe}</script>'


def section(title: str, explanation: str, content: str) -> str:
    """Return a card with a heading; `content` is HTML already."""
    words = f"<p>{escape(explanation)}</p>" if explanation else ""
    return f"<section><h2>{escape(title)}</h2>{words}{content}</section>"


def absent(title: str, wanted: str) -> str:
    """Return a card that names a missing file."""
    return section(title, "", f'<p class="missing">Missing: {escape(wanted)}.</p>')


def figure(value: str, label: str, is_there: bool = True) -> str:
    """Return one key figure."""
    kind = "figure" if is_there else "figure absent"
    return f'<div class="{kind}"><b>{escape(value)}</b><span>{escape(label)}</span></div>'


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    sortable: bool = False,
    decimals: int | Sequence[int] = 2,
) -> str:
    """Return a table; floats are shown with `decimals`, for all or by column, None as a dash."""
    places = [decimals] * len(header) if isinstance(decimals, int) else decimals
    numeric = [any(isinstance(row[i], int | float) for row in rows) for i in range(len(header))]
    head = "".join(
        f"<th{_number_class(is_number)}>{escape(name)}</th>"
        for name, is_number in zip(header, numeric, strict=True)
    )
    lines = [
        "<tr>" + "".join(_cell(*cell) for cell in zip(row, numeric, places, strict=True)) + "</tr>"
        for row in rows
    ]
    kind = ' class="sortable"' if sortable else ""
    return f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def check_page_name(output: Path) -> None:
    """Refuse to write a page where its name does not say so: it may be a file of data.

    Raises:
        UserError: If the name does not end in .html or .htm.
    """
    if output.suffix not in (".html", ".htm"):
        raise UserError(f"{output}: the report is a page; its name should end in .html")


def _cell(value: object, is_number: bool, decimals: int) -> str:
    if value is None:
        return f'<td{_number_class(is_number)} data-value="-1">–</td>'
    if isinstance(value, float):
        return f'<td class="number" data-value="{value!r}">{value:,.{decimals}f}</td>'
    if isinstance(value, int):
        return f'<td class="number" data-value="{value}">{value:,}</td>'
    return f'<td dir="auto">{escape(value)}</td>'


def _number_class(is_number: bool) -> str:
    return ' class="number"' if is_number else ""
