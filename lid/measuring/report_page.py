"""The page and the JSON file that `tongues lid measure --output` writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corpus.files import write_json, write_text
from corpus.languages import is_language, language_name
from corpus.report.charts import Bar, bars
from corpus.report.html import SORT_SCRIPT, escape, figure, page, section, table
from lid.measuring.measurement import EXPLAINED_BELOW, LEVELS, resource_level

JSON_FILE = "measure.json"
PAGE_FILE = "report.html"

_WORST = 30
_BARS_WIDTH = 900
_LEAST_P = 0.001


def write_report(output: Path, measured: Mapping[str, Any]) -> None:
    """Write a measurement into a directory, as JSON and as a page."""
    write_json(output / JSON_FILE, measured)
    write_text(output / PAGE_FILE, render_measure(measured))


def render_measure(measured: Mapping[str, Any]) -> str:
    """Return the page of what `lid.measuring.measurement.measure` returned."""
    languages = measured["languages"]
    lines = f"{len(languages)} languages, {measured['lines']:,} lines of {measured['split']}"
    body = [
        _figures(measured),
        _worst(languages),
        '<div class="columns">' + _scripts(measured) + _levels(measured) + "</div>",
        _explanations(measured["explanations"]),
        _confusions(measured),
        _merged(measured),
        _open_set(measured["open"]) if "open" in measured else "",
        _comparison(measured["against"]) if "against" in measured else "",
        _languages(measured),
        _left_out(measured),
    ]
    subtitle = f"{measured['model']}: {lines}" if "model" in measured else lines
    return page("Language identification", subtitle, body, SORT_SCRIPT)


def _figures(measured: Mapping[str, Any]) -> str:
    closed = measured["closed"]
    cards = [
        figure(f"{measured['macro_f1']:.4f}", "macro-F1"),
        figure(f"{measured['macro_fpr']:.5f}", "mean false-positive rate"),
        figure(f"{measured['micro_f1']:.4f}", "micro-F1"),
        figure(f"{measured['merged']['macro_f1']:.4f}", "macro-F1, confusable groups merged"),
        figure(f"{closed['macro_f1']:.4f}", "macro-F1 without thresholds"),
        figure(f"{closed['merged']['macro_f1']:.4f}", "without thresholds, groups merged"),
        figure(f"{measured['unknown_share']:.2%}", "lines answered und (not sure enough)"),
        figure(f"{measured['noise_share']:.2%}", "lines answered zxx (no language)"),
    ]
    if "open" in measured:
        share = measured["open"]["accepted_share"]
        cards.append(figure(f"{share:.2%}", "unknown text taken for a language"))
    return f'<div class="figures">{"".join(cards)}</div>'


def _worst(languages: Mapping[str, Mapping[str, float]]) -> str:
    worst = sorted(languages, key=lambda code: languages[code]["f1"])[:_WORST]
    items = [Bar(_label(code), languages[code]["f1"]) for code in worst]
    title = f"The worst {_WORST} languages" if len(languages) > _WORST else "F1 by language"
    return section(
        title,
        "F1 with thresholds; und counts as wrong.",
        bars(items, top=1, decimals=3, width=_BARS_WIDTH),
    )


def _scripts(measured: Mapping[str, Any]) -> str:
    content = _averages("script", measured["scripts"])
    return section("By script", "Plain means over languages.", content)


def _levels(measured: Mapping[str, Any]) -> str:
    high, low = LEVELS[0][1], LEVELS[1][1]
    words = (
        f"By training lines the model had of the language: high from {high:,}, low {low:,} to"
        f" {high - 1:,}, very low below {low:,}; unknown where the model does not record them."
    )
    return section("By resource level", words, _averages("level", measured["levels"]))


def _averages(name: str, buckets: Mapping[str, Mapping[str, float | int]]) -> str:
    columns = ["languages", "macro_f1", "macro_fpr"]
    rows = [[key, *(entry[column] for column in columns)] for key, entry in buckets.items()]
    header = [name, "languages", "macro-F1", "mean FPR"]
    return f'<div class="scroll">{table(header, rows, sortable=True, decimals=4)}</div>'


def _explanations(explanations: Mapping[str, str]) -> str:
    title = f"Languages with an F1 below {EXPLAINED_BELOW}"
    if not explanations:
        return section(title, "There are none.", "")
    items = "".join(f"<li>{escape(text)}</li>" for text in explanations.values())
    return section(title, "Where their lines go, and whose they are given.", f"<ul>{items}</ul>")


def _confusions(measured: Mapping[str, Any]) -> str:
    if not measured["confusions"]:
        return section("Confusions", "No line got a wrong answer.", "")
    rows = [
        [
            _label(pair["language"]),
            _label(pair["answer"]),
            pair["count"],
            pair["count"] / measured["languages"][pair["language"]]["n"],
        ]
        for pair in measured["confusions"]
    ]
    content = table(["language", "taken for", "lines", "share"], rows, sortable=True, decimals=3)
    words = "The commonest wrong answers; share is of the language's lines."
    return section("Confusions", words, f'<div class="scroll">{content}</div>')


def _merged(measured: Mapping[str, Any]) -> str:
    groups = measured["merged"]["groups"]
    if not groups:
        return ""
    closed = measured["closed"]["merged"]["groups"]
    rows = [[name.replace(",", ", "), f1, closed[name]] for name, f1 in groups.items()]
    header = ["group", "F1", "F1 without thresholds"]
    return section(
        "Confusable groups",
        "F1 of each group as one language: an answer from the line's own group is right.",
        table(header, rows, sortable=True, decimals=4),
    )


def _open_set(found: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            entry["lines"],
            entry["accepted_share"],
            ", ".join(f"{_label(code)} {count:,}" for code, count in entry["answers"].items()),
        ]
        for name, entry in found["files"].items()
    ]
    content = table(["file", "lines", "accepted", "taken for"], rows, sortable=True, decimals=4)
    return section(
        "Text that the model does not know",
        f"{found['lines']:,} lines, {found['accepted_share']:.2%} of them accepted: answered with a"
        " language, neither und nor zxx. The right answer to all of them is not to accept.",
        f'<div class="scroll">{content}</div>',
    )


def _comparison(found: Mapping[str, Any]) -> str:
    cards = [
        figure(f"{found['macro_f1']:.4f}", "macro-F1, this model"),
        figure(f"{found['other_macro_f1']:.4f}", "macro-F1, other model"),
        figure(f"{found['difference']:+.4f}", f"difference, {_p(found['randomization_p'])}"),
        figure(
            f"{found['only_right']:,} : {found['only_other_right']:,}",
            f"lines only one gets right, {_p(found['mcnemar_p'])}",
        ),
    ]
    closed = found["closed"]
    rows = [
        [_label(code), entry["f1"], entry["other_f1"], entry["difference"]]
        for code, entry in sorted(
            found["languages"].items(), key=lambda item: item[1]["difference"]
        )
    ]
    header = ["language", "F1", "other's F1", "difference"]
    content = table(header, rows, sortable=True, decimals=4)
    other = f" with {found['model']}" if "model" in found else ""
    return section(
        f"Comparison{other}",
        f"On {found['lines']:,} lines of the {len(rows)} languages that both know, with each"
        " model's thresholds. Tests: approximate randomization of macro-F1"
        f" ({found['trials']:,} trials) and McNemar's exact test over lines. Without thresholds"
        f" {closed['macro_f1']:.4f} to {closed['other_macro_f1']:.4f}"
        f" ({_p(closed['randomization_p'])}), lines {closed['only_right']:,} :"
        f" {closed['only_other_right']:,} ({_p(closed['mcnemar_p'])}).",
        f'<div class="figures">{"".join(cards)}</div><h3>By language</h3>'
        f'<div class="scroll">{content}</div>',
    )


def _languages(measured: Mapping[str, Any]) -> str:
    rows = []
    for code, scores in measured["languages"].items():
        learned = measured["training_lines"][code]
        rows.append(
            [
                code,
                language_name(code),
                resource_level(learned),
                learned,
                *(scores[column] for column in ("f1", "precision", "recall", "fpr", "n")),
            ]
        )
    header = ["language", "name", "level", "training lines"]
    header += ["F1", "precision", "recall", "FPR", "lines"]
    content = table(header, rows, sortable=True, decimals=4)
    return section(
        "All languages",
        "Click a column to sort by it. FPR: share of the other languages' lines given this answer.",
        f'<div class="scroll">{content}</div>',
    )


def _left_out(measured: Mapping[str, Any]) -> str:
    parts = [
        f"<h3>{escape(title)}</h3><p>{escape(', '.join(measured[key]))}</p>"
        for title, key in (
            ("In the split, not known to the model", "languages_without_model"),
            ("Known to the model, not in the split", "languages_without_lines"),
        )
        if measured[key]
    ]
    return section("Left out", "", "".join(parts)) if parts else ""


def _label(code: str) -> str:
    return f"{language_name(code)} ({code})" if is_language(code) else code


def _p(value: float) -> str:
    return f"p < {_LEAST_P}" if value < _LEAST_P else f"p = {value:.3f}"
