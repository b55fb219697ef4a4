"""Output of `tongues mining xsim`: JSON, a table, and a page with a plot by language."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from corpus.files import write_json, write_lines, write_text
from corpus.languages import language_name, parse_direction
from corpus.report.charts import Bar, bars
from corpus.report.html import SORT_SCRIPT, figure, page, section, table
from mining.encoders.xsim import HardResult, XsimResult

_WIDTH = 900
_DECIMALS = 3


def write_xsim(output: Path, measured: XsimResult, what: str) -> None:
    """Write `xsim.json`, `xsim.tsv` and `report.html` into a directory.

    Args:
        output: The directory.
        measured: The errors.
        what: Encoder and test set, for the page.
    """
    write_json(output / "xsim.json", measured.as_json())
    header, rows = xsim_rows(measured)
    cells = [["" if value is None else str(value) for value in row] for row in rows]
    write_lines(output / "xsim.tsv", ["\t".join(row) for row in [header, *cells]])
    write_text(output / "report.html", render_xsim(measured, what))


def xsim_rows(measured: XsimResult) -> tuple[list[str], list[list[object]]]:
    """Return header and rows of the table by direction; the mean comes last."""
    rows: list[list[object]] = [[name, error] for name, error in measured.pairs.items()]
    rows.append(["mean", measured.mean_error])
    header = ["direction", "xsim"]
    hard = measured.hard
    if hard is not None:
        kinds = list(next(iter(hard.kinds.values())))
        header += ["xsim++", *kinds]
        for row in rows:
            name = str(row[0])
            found = hard.kinds.get(name, {})
            error = hard.mean_error if name == "mean" else hard.pairs.get(name)
            means = {kind: _mean(hard, kind) for kind in kinds} if name == "mean" else found
            row += [error, *(means.get(kind) for kind in kinds)]
    return header, rows


def _mean(hard: HardResult, kind: str) -> float:
    return sum(shares[kind] for shares in hard.kinds.values()) / len(hard.kinds)


def render_xsim(measured: XsimResult, what: str) -> str:
    """Return the page: the means, a plot by language, worst first, and the table."""
    cards = [
        figure(f"{measured.mean_error:.2%}", "xsim, mean"),
        figure(f"{len(measured.pairs)}", "directions"),
    ]
    body = [
        _plot(
            "xsim by language",
            "Share of sentences whose neighbor of highest margin is not their translation.",
            measured.pairs,
        )
    ]
    hard = measured.hard
    if hard is not None:
        cards.append(figure(f"{hard.mean_error:.2%}", "xsim++, mean"))
        cards.append(figure(f"{sum(hard.altered.values()):,}", "altered sentences"))
        counts = ", ".join(f"{kind} {count:,}" for kind, count in hard.altered.items())
        words = f"Altered English sentences stand among the translations: {counts}."
        body.append(_plot("xsim++ by language", words, hard.pairs))
    header, rows = xsim_rows(measured)
    content = table(header, rows, sortable=True, decimals=_DECIMALS)
    body.append(section("All directions", "Click a column to sort by it.", content))
    figures = f'<div class="figures">{"".join(cards)}</div>'
    return page("Multilingual similarity search", what, [figures, *body], SORT_SCRIPT)


def _plot(title: str, words: str, errors: Mapping[str, float]) -> str:
    worst = sorted(errors, key=lambda direction: (-errors[direction], direction))
    items = [Bar(label, errors[name]) for name, label in zip(worst, _labels(worst), strict=True)]
    return section(title, words, bars(items, top=1, decimals=_DECIMALS, width=_WIDTH))


def _labels(directions: Sequence[str]) -> list[str]:
    """Return the sources' names where all directions have one target, else the directions."""
    parsed = [parse_direction(direction) for direction in directions]
    if len({direction.target for direction in parsed}) > 1:
        return list(directions)
    codes = [direction.source for direction in parsed]
    return [f"{language_name(code)} ({code})" for code in codes]
