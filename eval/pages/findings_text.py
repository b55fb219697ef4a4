"""Lost and added content and contrast sets, as text for a terminal and as HTML for the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from corpus.console import format_table
from corpus.report.html import escape, section

_NAMES = {
    "number_missing": "number missing", "number_added": "number added",
    "placeholder": "address or placeholder changed", "name_missing": "names missing",
    "omission": "too short", "addition": "too long", "untranslated": "left untranslated",
    "suspect": "any",
}  # fmt: skip
"""Rules of `eval.checks.content` in words, in the order of the table."""

MAX_CONTRASTS = 40
"""Rows of contrast sets on a terminal; contrast.tsv has all."""
_MAX_ROWS = 500


def describe_content(content: Mapping[str, Any], systems: Sequence[str]) -> list[str]:
    """Return the share of lines that break each rule as lines for a terminal.

    Args:
        content: What `eval.checks.content.summarize_content` returned, by system.
        systems: Order of the columns; further ones come last.
    """
    if not content:
        return []
    names = _in_order(content, systems)
    rows = [
        [name, *(_plain(*_rates(content[system], rule)) for system in names)]
        for rule, name in _NAMES.items()
    ]
    return [
        format_table(["content, % of lines", *names], rows),
        "in parentheses: the same rule on the references",
        "",
    ]


def content_section(content: Mapping[str, Any], systems: Sequence[str]) -> str:
    """Return the page's section; empty without the check."""
    if not content:
        return ""
    names = _in_order(content, systems)
    rows = [
        (name, [_html(*_rates(content[system], rule)) for system in names])
        for rule, name in _NAMES.items()
    ]
    words = (
        "Share of lines that break each rule, in percent, as a mean over directions; below it, the"
        " same rule's share of the references. Lines are in content_lines.tsv."
    )
    return section("Lost and added content", words, _table("rule", names, rows))


def describe_contrast(rows: Sequence[Mapping[str, Any]], systems: Sequence[str]) -> list[str]:
    """Return which version systems write as lines for a terminal.

    Args:
        rows: Those of contrast.json.
        systems: Order of the columns; further ones come last.
    """
    groups = _by_group(rows)
    if not groups:
        return []
    names = _in_order([row["system"] for row in rows], systems)
    lines = [
        [name, *(_plain_accuracy(own.get(system)) for system in names)]
        for name, own in list(groups.items())[:MAX_CONTRASTS]
    ]
    more = len(groups) - len(lines)
    note = f"{more:,} more rows in contrast.tsv; " * (more > 0)
    return [
        format_table(["contrast sets, % right", *names], lines),
        f"{note}of the lines that have words of one version only, with the interval",
        "",
    ]


def contrast_section(rows: Sequence[Mapping[str, Any]], systems: Sequence[str]) -> str:
    """Return the page's section; empty without contrast sets."""
    groups = _by_group(rows)
    if not groups:
        return ""
    names = _in_order([row["system"] for row in rows], systems)
    lines = [
        (name, [_accuracy(own.get(system)) for system in names])
        for name, own in list(groups.items())[:_MAX_ROWS]
    ]
    words = (
        "Share of the right version, in percent, of the lines that have words of one version only;"
        " below it the interval, and how many such lines there are of how many. Lines are in"
        " contrast_lines.tsv."
    )
    return section(
        "Contrast sets",
        words,
        f'<div class="scroll">{_table("direction and group", names, lines)}</div>',
    )


def _rates(found: Mapping[str, Any], rule: str) -> tuple[float | None, float | None]:
    """Return the rate of a rule on translations and on references."""
    floor = "reference_rate" if rule == "suspect" else f"{rule}_reference_rate"
    return found[f"{rule}_rate"]["mean"], found[floor]["mean"]


def _plain(rate: float | None, floor: float | None) -> str:
    return f"{_percent(rate)} ({_percent(floor)})"


def _html(rate: float | None, floor: float | None) -> str:
    return f"{_percent(rate)}<br><small>{_percent(floor)}</small>"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def _in_order(names: Iterable[str], systems: Sequence[str]) -> list[str]:
    return sorted(set(names), key=lambda name: ((*systems, name).index(name), name))


def _by_group(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return the rows by direction and group, then by system."""
    groups: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        name = row["direction"] if row["group"] == "all" else f"{row['direction']} {row['group']}"
        groups.setdefault(name, {})[row["system"]] = row
    return groups


def _plain_accuracy(row: Mapping[str, Any] | None) -> str:
    if row is None or row["accuracy"] is None:
        return "–"
    return f"{_percent(row['accuracy'])} [{_percent(row['low'])}, {_percent(row['high'])}]"


def _accuracy(row: Mapping[str, Any] | None) -> str:
    if row is None or row["accuracy"] is None:
        return "–"
    return (
        f"{_percent(row['accuracy'])}<br><small>{_percent(row['low'])}–{_percent(row['high'])}"
        f"<br>{row['right'] + row['wrong']:,} of {row['n']:,}</small>"
    )


def _table(corner: str, systems: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Return a table of systems across; cells are HTML already."""
    number: Callable[[str], str] = '<td class="number">{}</td>'.format
    head = "".join(f'<th class="number">{escape(system)}</th>' for system in systems)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(map(number, cells))}</tr>'
        for name, cells in rows
    )
    return (
        f'<table class="systems"><thead><tr><th>{corner}</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )
