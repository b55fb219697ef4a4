"""The page of a language that was added: one file, no network."""

from collections.abc import Mapping
from typing import Any

from corpus.console import format_duration
from corpus.languages import language_name
from corpus.report.charts import Bar, bars
from corpus.report.html import absent, escape, figure, page, section, table
from new_language.scores import (
    MAIN_METRIC,
    best_system,
    mean_change,
    mean_score,
    new_directions,
    score_of,
)

Results = Mapping[str, Any]

_SYSTEMS = {
    "copy": "the source as it is",
    "scratch": "seed only, from nothing",
    "seed": "seed only",
    "mined": "seed + mined",
    "all": "seed + mined + back-translated",
    "ceiling": "seed + true pairs (the ceiling)",
}
_METRIC = "chrF++"
"""As the field writes it."""

_RATES = {"precision": "precision", "recall": "recall", "f1": "F1"}
_STYLE = """
ol.advice { margin: 0; padding-left: 20px; } ol.advice li { margin-bottom: 10px; }
ol.advice span { display: block; color: var(--soft); }
td small { overflow-wrap: anywhere; }
.sample dd { overflow-wrap: anywhere; }
@media (max-width: 560px) { .steps td:nth-child(2) { display: none; }
  .steps th:nth-child(2) { display: none; } }
"""


def render(results: Results) -> str:
    """Return the page of what `new_language.results.collect` found."""
    language, pivot = (_name(results[key]) for key in ("language", "pivot"))
    body = [
        _figures(results),
        _worth(results),
        _advice(results),
        _others(results),
        _translations(results),
        f'<div class="columns">{_mining(results)}{_identifier(results)}</div>',
        _pairs(results),
        _steps(results),
        _pages(results["pages"]),
        "<footer>One file, no network; report.json has the same figures. Every figure is read from"
        " what the steps wrote.</footer>",
    ]
    subtitle = (
        f"{results['language']}, from seed pairs with {pivot} and crawl shards to a model, its"
        " scores, and what the model's other directions lost."
    )
    return page(f"{language}, added to a model", subtitle, body, style=_STYLE)


def _name(code: str) -> str:
    return language_name(code) or code


def _figures(results: Results) -> str:
    best = best_system(results)
    into, out = (_value(results, best, one) for one in new_directions(results))
    seed, mined = (mean_score(results, one) for one in ("seed", "mined"))
    gain = None if seed is None or mined is None else f"{mined - seed:+.1f}"
    change = None if best is None else mean_change(results, best)
    mining = results["mining"] or {}
    cpu = [step["cpu_seconds"] for step in results["steps"] if step["cpu_seconds"] is not None]
    wall = [step["seconds"] for step in results["steps"] if step["seconds"] is not None]
    expected = mining.get("expected_precision")
    cards = [
        (into, f"{_METRIC} into the language, system {best}"),
        (out, f"{_METRIC} out of it, system {best}"),
        (gain, f"{_METRIC} that mined pairs added to the seed, mean of both"),
        (_signed(change), f"{_METRIC} of the model's other directions, mean change"),
        (_whole(mining.get("kept")), "mined pairs that were kept"),
        (None if expected is None else f"{expected:.1%}", "of them should be translations"),
        (_minutes(sum(cpu)) if cpu else None, "CPU time of all steps"),
        (_minutes(sum(wall)) if wall else None, "wall time of all steps"),
    ]
    shown = [figure(text or "missing", label, text is not None) for text, label in cards]
    return f'<div class="figures">{"".join(shown)}</div>'


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else format_duration(seconds)


def _value(results: Results, system: str | None, direction: str) -> str | None:
    row = None if system is None else score_of(results, system, direction)
    return None if row is None else f"{row['value']:.1f}"


def _signed(value: float | None) -> str | None:
    return None if value is None else f"{value:+.1f}"


def _whole(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _worth(results: Results) -> str:
    title = "What mining was worth"
    systems = [one for one in _SYSTEMS if one == "copy" or one in results["systems"]]
    directions = new_directions(results)
    if not any(score_of(results, one, way) for one in systems for way in directions):
        return absent(title, "scores/systems.tsv")
    charts = []
    for direction in directions:
        items = [
            Bar(_SYSTEMS[one], row["value"])
            for one in systems
            if (row := score_of(results, one, direction)) is not None
        ]
        charts.append(f"<div><h3>{escape(direction)}</h3>{bars(items)}</div>")
    rows = []
    for system in systems:
        cells: list[object] = [_SYSTEMS[system], _trained_on(results, system)]
        for direction in directions:
            for metric in (MAIN_METRIC, "bleu"):
                found = score_of(results, system, direction, metric)
                cells.append(None if found is None else _with_interval(found))
        rows.append(cells)
    header = ["system", "pairs learned from, replayed ones included"]
    header += [f"{way}, {name}" for way in directions for name in (_METRIC, "BLEU")]
    words = (
        f"{_METRIC} and BLEU on devtest, with intervals of 95 %; ▲ and ▼ differ from the seed"
        " alone beyond chance (paired bootstrap, false discovery rate 5 %). Which system is"
        " exported was chosen on dev."
    )
    best = _exported(results)
    return section(
        title, words, f'<div class="maps">{"".join(charts)}</div>{table(header, rows)}{best}'
    )


def _with_interval(row: Mapping[str, Any]) -> str:
    mark = {"better": " ▲", "worse": " ▼"}.get(row["outcome"], "")
    if row["low"] is None:
        return f"{row['value']:.1f}{mark}"
    return f"{row['value']:.1f} [{row['low']:.1f}, {row['high']:.1f}]{mark}"


def _trained_on(results: Results, system: str) -> str | None:
    counts = results["trained"].get(system) or {}
    return _whole(counts.get("pairs"))


def _exported(results: Results) -> str:
    if not results["exported"] or not results["scores_dev"]:
        return ""
    means = {}
    for system in results["systems"]:
        on_dev = {**results, "scores": results["scores_dev"]}
        if (mean := mean_score(on_dev, system)) is not None:
            means[system] = mean
    listed = ", ".join(f"{system} {mean:.1f}" for system, mean in means.items())
    return (
        f"<p>Exported: <code>{escape(results['exported'])}</code>. Mean {_METRIC} on dev:"
        f" {escape(listed)}.</p>"
    )


def _advice(results: Results) -> str:
    items = "".join(
        f"<li>{_marked(one['what'])}<span>{_marked(one['why'])}</span></li>"
        for one in results["advice"]
    )
    if not items:
        return ""
    return section(
        "What to do next", "By the figures of this run.", f'<ol class="advice">{items}</ol>'
    )


def _marked(text: str) -> str:
    """Return text with what stands in backticks as code."""
    parts = text.split("`")
    return "".join(
        f"<code>{escape(part)}</code>" if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def _others(results: Results) -> str:
    title = "What the model's other directions lost"
    if not results["others"] and not results["has_others"]:
        words = "Not measured: `flores` has no two languages of the model; see `other_flores`."
        return section(title, words, "")
    if not results["others"]:
        return absent(title, "comparison/comparison.tsv")
    rows = [
        [
            row["direction"],
            _SYSTEMS.get(row["system"], row["system"]),
            float(row["first"]),
            float(row["second"]),
            f"{row['difference']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]",
            f"{row['p_value']:.4f}",
            "beyond chance" if row["significant"] == "yes" else "",
        ]
        for row in results["others"]
        if row["second"] is not None
    ]
    words = f"{_METRIC} on devtest before and after; intervals of the difference of 95 %."
    header = ["direction", "system", "before", "after", "difference", "p", ""]
    return section(title, words, table(header, rows, sortable=True, decimals=1))


def _translations(results: Results) -> str:
    if not results["translations"]:
        return absent("Translations", "hypotheses")
    parts = []
    for sample in results["translations"]:
        source, target = sample["direction"].split("-")
        lines = [("source", source, sample["source"])]
        lines += [(name, target, text) for name, text in sample["hypotheses"].items()]
        lines.append(("reference", target, sample["reference"]))
        shown = "".join(_line(*line) for line in lines)
        title = f"{_name(source)} → {_name(target)}, line {sample['line']}"
        parts.append(f'<dl class="sample"><h3>{escape(title)}</h3>{shown}</dl>')
    content = "".join(parts)
    return section("Translations", "Evenly spaced lines of devtest, not selected by hand.", content)


def _line(name: str, language: str, text: str) -> str:
    tag = escape(language.replace("_", "-"))
    return f'<dt>{escape(name)}</dt><dd dir="auto" lang="{tag}">{escape(text)}</dd>'


def _mining(results: Results) -> str:
    title = "Mined pairs"
    mining, shards, seed = results["mining"], results["shards"], results["seed"]
    if mining is None:
        return absent(title, "mined/mined")
    student = results["student"]
    errors = [f"{error:.1%}" for error in student["xsim_errors"] if error is not None]
    rows: list[list[object]] = [
        ["seed pairs to learn from, and held out", f"{seed['train']:,}, {seed['held_out']:,}"],
        ["the student's xsim error on dev, by round", ", ".join(errors) or None],
        ["shards, documents", f"{shards['shards']:,}, {shards['documents']:,}"],
        ["sentences in them", f"{shards['sentences']:,}"],
    ]
    rows += [[f"kept: {_name(code)}", f"{count:,}"] for code, count in shards["kept"].items()]
    rows += [
        ["pairs above the margin", f"{mining['pairs']:,} above {mining['threshold']:.3f}"],
        ["kept by the filters", _whole(mining["kept"])],
    ]
    rows += [[f"rejected: {name.replace('_', ' ')}", f"{count:,}"]
             for name, count in mining["rejected"].items()]  # fmt: skip
    for key, label in (
        ("expected_precision", "expected precision"),
        ("expected_precision_low", "at least, in nine of ten samples"),
        ("expected_recall", "expected recall"),
    ):
        rows.append([label, None if mining[key] is None else f"{mining[key]:.3f}"])
    gold = mining["gold"]
    if gold:
        for key, name in _RATES.items():
            rows.append([f"{name}, against known pairs", f"{gold[key]:.3f}"])
    for name in ("seed", "mined"):
        found = results["contamination"][name]
        if found is not None:
            rows.append([f"test lines found among {name} pairs", f"{found['lines_found']:,}"])
    by = mining["calibrated_by"]
    words = f"Calibrated by {by}." if by else "Not calibrated."
    return section(title, words, table(["what", "count"], rows))


def _identifier(results: Results) -> str:
    title = "Language identification"
    measured = results["identifier"]
    if measured is None:
        return section(title, "The recipe's own identifier, as it was.", "")
    own = measured["own"]
    rows: list[list[object]] = []
    if own:
        rows += [[name, f"{own[key]:.3f}"] for key, name in _RATES.items()]
    rows.append([f"macro-F1 of {measured['languages']} languages", f"{measured['macro_f1']:.3f}"])
    if measured["before"]:
        before, after = measured["before"]["other_macro_f1"], measured["before"]["macro_f1"]
        rows.append(["macro-F1 of those known before", f"{before:.3f} to {after:.3f}"])
        rows.append(["p of the difference (McNemar)", f"{measured['mcnemar_p']:.3g}"])
    confused = [
        [f"{_name(one['language'])} taken for {_name(one['answer'])}", one["count"]]
        for one in measured["confusions"]
    ]
    shown = table(["figure", "value"], rows) + "<h3>What it is confused with</h3>"
    shown += table(["lines", "count"], confused) if confused else "<p>Nothing, on devtest.</p>"
    return section(title, f"On {measured['lines']:,} lines of devtest.", shown)


def _pairs(results: Results) -> str:
    if not results["pairs"]:
        return absent("Samples of mined pairs", "mined/bitext")
    codes = (results["pivot"], results["language"])
    parts = []
    for pair in results["pairs"]:
        lines = (_line(_name(code), code, pair[side])
                 for code, side in zip(codes, ("source", "target"), strict=True))  # fmt: skip
        title = f"<h3>margin {pair['score']:.3f}</h3>"
        parts.append(f'<dl class="sample">{title}{"".join(lines)}</dl>')
    words = "Evenly spaced from the highest margin to the lowest that was kept."
    return section("Samples of mined pairs", words, "".join(parts))


def _steps(results: Results) -> str:
    longest = max((step["seconds"] or 0.0 for step in results["steps"]), default=0.0) or 1.0
    rows = "".join(_step(step, longest) for step in results["steps"])
    head = (
        "<tr><th>step</th><th>command</th><th class='number'>wall time</th>"
        "<th class='number'>CPU time</th></tr>"
    )
    words = "Each is a plain command; over all runs that ended, killed ones are not in it."
    shown = f"<table class='steps'><thead>{head}</thead><tbody>{rows}</tbody></table>"
    return section("The steps", words, shown)


def _step(step: Mapping[str, Any], longest: float) -> str:
    wall, cpu = step["seconds"], step["cpu_seconds"]
    width = 0.0 if wall is None else max(1.0, 100 * wall / longest)
    return (
        f"<tr><td>{escape(step['title'])}</td><td><small class='mono'>{escape(step['command'])}"
        f"</small></td><td class='number'>{_time(wall)}"
        f'<div class="meter" style="width: {width:.0f}%"></div></td>'
        f"<td class='number'>{_time(cpu)}</td></tr>"
    )


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else escape(format_duration(seconds))


def _pages(pages: Mapping[str, str]) -> str:
    links = "".join(
        f'<li><a href="{escape(path)}">{_marked(about)}</a></li>' for about, path in pages.items()
    )
    return section("The steps' own pages", "Beside this one.", f"<ul>{links}</ul>") if links else ""
