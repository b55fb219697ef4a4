"""The page that `tongues lid train` writes beside a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from corpus.languages import language_name
from corpus.report.charts import Bar, Line, bars, heat_map, lines
from corpus.report.html import SORT_SCRIPT, escape, figure, page, section, table

_BARS_WIDTH = 900
_AXIS_STEP = 0.2  # the threshold curve's vertical axis begins at a multiple of this


def training_page(summary: Mapping[str, Any]) -> str:
    """Return the page of a training run. All scores are of held-out lines.

    Args:
        summary: `languages`, a list of {language, lines, drawn, validation, recall, f1,
            threshold}; `confusions`, a list of {language, answer, count}; `groups`, a list of
            {name, languages, matrix}, rows languages and columns answers; `calibration`,
            {temperature, before, after} with {ece, bins: [{confidence, accuracy, n}]} each;
            `threshold_curve`, a list of {threshold, kept, precision}; `quantized`, {bytes, f1,
            f1_loss} or None; `counts`, lines by what became of them. None and nan are shown as
            missing.
    """
    languages = summary["languages"]
    body = [
        _figures(summary),
        _bars(languages),
        _matrices(summary["groups"]),
        '<div class="columns">'
        + _calibration(summary["calibration"])
        + _threshold_curve(summary["threshold_curve"])
        + "</div>",
        _confusions(summary["confusions"]),
        _quantized(summary["quantized"]),
        _languages(languages),
        _counts(summary["counts"]),
    ]
    learned = sum(entry["lines"] for entry in languages)
    subtitle = f"{len(languages)} classes learned from {learned:,} lines"
    return page("Language identification: training", subtitle, body, SORT_SCRIPT)


def _figures(summary: Mapping[str, Any]) -> str:
    languages = summary["languages"]
    scores = [f1 for entry in languages if (f1 := _number(entry["f1"])) is not None]
    calibration = summary["calibration"]
    held_out = sum(entry["validation"] for entry in languages)
    cards = [
        _card(sum(scores) / len(scores) if scores else None, "macro-F1 on held-out lines"),
        _card(min(scores, default=None), "F1 of the worst class"),
        _card(calibration["after"]["ece"], "expected calibration error"),
        _card(calibration["temperature"], "temperature of the scores", decimals=2),
        figure(f"{held_out:,}", "held-out lines"),
        figure(f"{sum(entry['drawn'] for entry in languages):,}", "lines drawn an epoch"),
    ]
    if summary["quantized"] is not None:
        megabytes = summary["quantized"]["bytes"] / 1e6
        cards.append(figure(f"{megabytes:,.1f} MB", "quantized model"))
    return f'<div class="figures">{"".join(cards)}</div>'


def _bars(languages: Sequence[Mapping[str, Any]]) -> str:
    ordered = sorted(languages, key=lambda entry: _order(_number(entry["f1"])))
    items = [Bar(_label(entry["language"]), _number(entry["f1"])) for entry in ordered]
    drawn = bars(items, top=1.0, decimals=3, width=_BARS_WIDTH)
    words = "On held-out lines, the worst first."
    return section("F1 by language", words, f'<div class="scroll">{drawn}</div>')


def _matrices(groups: Sequence[Mapping[str, Any]]) -> str:
    if not groups:
        return ""
    maps = []
    for group in groups:
        names = group["languages"]
        cells = {
            (language, answer): count / max(sum(row), 1)
            for language, row in zip(names, group["matrix"], strict=True)
            for answer, count in zip(names, row, strict=True)
        }
        drawn = heat_map(names, names, cells, scale=100, low=0.0, high=1.0)
        maps.append(f"<div><h3>{escape(group['name'])}</h3>{drawn}</div>")
    return section(
        "Hard groups",
        "Held-out lines by language (down) and answer (across), in percent of the lines answered"
        " within the group.",
        f'<div class="maps">{"".join(maps)}</div>',
    )


def _calibration(calibration: Mapping[str, Any]) -> str:
    drawn = []
    for name in ("before", "after"):
        points = [
            (float(entry["confidence"]), float(entry["accuracy"]))
            for entry in calibration[name]["bins"]
            if entry["n"]
        ]
        error = _number(calibration[name]["ece"])
        shown = "missing" if error is None else f"{error:.4f}"
        drawn.append(Line(f"{name} (error {shown})", points))
    return section(
        "Calibration",
        "How often answers of a given score are right, before and after the scores are scaled;"
        " calibrated scores lie on the diagonal. Error: expected calibration error.",
        lines(drawn, across="score", up="share right", diagonal=True),
    )


def _threshold_curve(curve: Sequence[Mapping[str, Any]]) -> str:
    if not curve:
        return ""
    kept = [(float(entry["threshold"]), float(entry["kept"])) for entry in curve]
    precision = [
        (float(entry["threshold"]), float(entry["precision"]))
        for entry in curve
        if _number(entry["precision"]) is not None
    ]
    lowest = min(value for _, value in kept + precision)
    bottom = min(math.floor(lowest / _AXIS_STEP) * _AXIS_STEP, 1 - _AXIS_STEP)
    return section(
        "Thresholds",
        "Share of the lines that a threshold keeps, and share of the kept whose answer is right.",
        lines(
            [Line("kept", kept), Line("precision", precision)],
            across="threshold",
            up="share",
            y_range=(max(bottom, 0.0), 1.0),
        ),
    )


def _confusions(confusions: Sequence[Mapping[str, Any]]) -> str:
    if not confusions:
        return section("Confusions", "No held-out line got a wrong answer.", "")
    rows = [[_label(c["language"]), _label(c["answer"]), c["count"]] for c in confusions]
    content = table(["language", "taken for", "lines"], rows, sortable=True)
    return section("Confusions", "Held-out lines.", f'<div class="scroll">{content}</div>')


def _quantized(quantized: Mapping[str, Any] | None) -> str:
    if quantized is None:
        return ""
    row = [quantized["bytes"], _number(quantized["f1"]), _number(quantized["f1_loss"])]
    return section(
        "Quantized model",
        "Macro-F1 on the same held-out lines, and what quantization lost of it.",
        table(["bytes", "macro-F1", "loss"], [row], decimals=4),
    )


def _languages(languages: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            entry["language"],
            language_name(entry["language"]),
            *(entry[column] for column in ("lines", "drawn", "validation")),
            *(_number(entry[column]) for column in ("recall", "f1", "threshold")),
        ]
        for entry in languages
    ]
    header = ["language", "name", "lines", "drawn", "held out", "recall", "F1", "threshold"]
    content = table(header, rows, sortable=True, decimals=4)
    words = "Click a column to sort by it. Lines: those learned from, each once."
    return section("All languages", words, f'<div class="scroll">{content}</div>')


def _counts(counts: Mapping[str, int]) -> str:
    rows = [[reason.replace("_", " "), count] for reason, count in counts.items()]
    return section("Lines", "", table(["lines", "count"], rows)) if rows else ""


def _card(value: Any, label: str, decimals: int = 4) -> str:
    number = _number(value)
    if number is None:
        return figure("missing", label, is_there=False)
    return figure(f"{number:.{decimals}f}", label)


def _number(value: Any) -> float | None:
    """Return a number, or None for None and nan."""
    return None if value is None or math.isnan(value) else float(value)


def _order(value: float | None) -> float:
    return math.inf if value is None else value


def _label(code: str) -> str:
    return f"{language_name(code)} ({code})" if language_name(code) else code
