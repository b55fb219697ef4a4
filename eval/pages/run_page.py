"""The page of a whole run: the results of each stage, in figures and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from corpus.console import format_duration
from corpus.languages import Direction
from corpus.report.charts import Bar, bars, heat_map
from corpus.report.html import absent, escape, figure, page, section, table
from eval.pages.run_files import RunFiles, Sample
from eval.pages.summary import ScoreTable, summarize
from eval.statistics.buckets import HIGH, LEVELS, direction_level

LEVEL_WORDS = {"high": "High-resource", "low": "Low-resource", "very_low": "Very-low-resource"}
_NO_LEVEL = "Other"
_SHOWN_COUNTS = 7
_LID_BAR_START = 0.8
_XSIM_BAR_TOP = 10.0
_STAGE_WORDS = {
    "data": "Data", "lid": "Language identification", "sentences": "Sentences from crawl shards",
    "encoder": "Sentence encoder", "embeddings": "Embeddings", "mined": "Mined bitext",
    "bitext": "Filtered bitext", "vocabulary": "Vocabulary", "model": "Translation model",
    "hypotheses": "Translations", "scores": "Scores",
}  # fmt: skip


def render_run(files: RunFiles) -> str:
    """Return the page of a run."""
    table_of_scores = summarize(files.scores, files.levels)
    body = [
        _key_figures(files, table_of_scores),
        _pipeline(files),
        f'<div class="columns">{_identification(files)}{_mining(files)}</div>',
        _similarity(files),
        _chrf_bars(files, table_of_scores),
        _score_maps(table_of_scores),
        _score_table(table_of_scores, files.levels),
        _experts(files),
        _samples(files),
        "<footer>One file, no network. Every figure is read from the run's own output.</footer>",
    ]
    languages = len(files.names) or len({code for row in files.scores for code in row.direction})
    return page(
        "From crawl shards to translations",
        f"{languages} languages: identified, mined, filtered, trained on, translated and scored.",
        body,
    )


def _key_figures(files: RunFiles, scores: ScoreTable) -> str:
    lid, xsim = files.identification, files.similarity
    pairs = files.mining["pairs"] if files.mining else {}
    f1 = [pair["f1"] for pair in pairs.values()]
    seconds = sum(stage.seconds for stage in files.stages)
    memory = max((stage.peak_memory_mb for stage in files.stages), default=0.0)
    better, compared = scores.above_baseline
    high = scores.mean("chrf++", HIGH)
    overall = scores.mean("chrf++", None)
    figures: list[tuple[str | None, str]] = [
        (f"{lid['macro_f1']:.3f}" if lid else None, "language identification, macro-F1"),
        (f"{100 * xsim['mean_error']:.1f} %" if xsim else None, "xsim error, mean over pairs"),
        (f"{min(f1):.2f}–{max(f1):.2f}" if f1 else None, f"mining F1, {len(f1)} pairs"),
        (_one_decimal(high), "chrF++, mean of high-resource directions"),
        (_one_decimal(overall), "chrF++, mean of all directions"),
        (f"{better} of {compared}" if compared else None, "directions better than a copy"),
        (format_duration(seconds) if files.stages else None, "wall time of all stages"),
        (f"{memory:,.0f} MB" if files.stages else None, "peak memory of a stage"),
    ]
    cards = [figure(value or "missing", label, value is not None) for value, label in figures]
    return f'<div class="figures">{"".join(cards)}</div>'


def _one_decimal(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"


def _pipeline(files: RunFiles) -> str:
    if not files.stages:
        return absent("The pipeline", "receipts/runs.jsonl of every stage")
    longest = max(stage.seconds for stage in files.stages) or 1.0
    rows = []
    for stage in files.stages:
        shown = list(stage.counts.items())[:_SHOWN_COUNTS]
        counts = " · ".join(f"{escape(name.replace('_', ' '))} <b>{n:,}</b>" for name, n in shown)
        failed = f' <span class="missing">{stage.failed} failed</span>' if stage.failed else ""
        width = max(2.0, 100 * stage.seconds / longest)
        what = _STAGE_WORDS.get(stage.place.split("/")[0], stage.place)
        rows.append(
            f"<tr><td><b>{escape(what)}</b><br><small>{escape(stage.place)} · {escape(stage.name)}"
            f"</small></td><td class='number'>{stage.done:,}{failed}</td>"
            f"<td><small>{counts}</small></td>"
            f"<td class='number'>{format_duration(stage.seconds)}"
            f'<div class="meter" style="width: {width:.0f}%"></div></td>'
            f"<td class='number'>{stage.peak_memory_mb:,.0f} MB</td></tr>"
        )
    head = (
        "<tr><th>stage</th><th class='number'>shards</th><th>what it counted</th>"
        "<th class='number'>wall time</th><th class='number'>peak memory</th></tr>"
    )
    return section(
        "The pipeline",
        "Every stage in order, from its receipts.",
        f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>",
    )


def _identification(files: RunFiles) -> str:
    title = "Language identification"
    if files.identification is None:
        return absent(title, "lid_measure.json")
    found = files.identification["languages"]
    lowest = min((scores["f1"] for scores in found.values()), default=0.0)
    start = _LID_BAR_START if lowest > _LID_BAR_START else 0.0
    items = [Bar(_label(files, code), scores["f1"]) for code, scores in found.items()]
    rows = [
        [_label(files, code), float(scores["precision"]), float(scores["recall"]), scores["n"]]
        for code, scores in found.items()
    ]
    return section(
        title,
        f"F1 per language; bars begin at {start:g}. Mean false-positive rate"
        f" {files.identification['macro_fpr']:.5f}.",
        f"{bars(items, top=1.0, start=start, decimals=4)}<h3>Precision and recall</h3>"
        + table(["language", "precision", "recall", "lines"], rows, decimals=3),
    )


def _mining(files: RunFiles) -> str:
    title = "Mining against the known alignment"
    if files.mining is None:
        return absent(title, "mining.json")
    pairs = files.mining["pairs"]
    items = [Bar(pair, scores["f1"]) for pair, scores in pairs.items()]
    rows = [
        [pair, float(scores["precision"]), float(scores["recall"]), float(scores["f1"])]
        for pair, scores in pairs.items()
    ]
    numbers = table(["pair", "precision", "recall", "F1"], rows, decimals=3)
    return section(
        title,
        "F1 of the mined pairs.",
        f"{bars(items, top=1.0, decimals=3)}<h3>Precision and recall</h3>{numbers}",
    )


def _similarity(files: RunFiles) -> str:
    title = "Similarity search error (xsim)"
    if files.similarity is None:
        return absent(title, "xsim.json")
    pairs = {pair: float(error) for pair, error in files.similarity["pairs"].items()}
    cells = {tuple(pair.split("-", 1)): error for pair, error in pairs.items()}
    rows = sorted({pair[0] for pair in cells})
    columns = sorted({pair[1] for pair in cells})
    explanation = (
        "Share of test sentences whose translation is not the nearest sentence, in percent;"
        " lower is better."
    )
    if len(rows) * len(columns) == len(rows) + len(columns) - 1:
        items = [Bar(pair, 100 * error) for pair, error in pairs.items()]
        picture = bars(items, top=max(_XSIM_BAR_TOP, *(item.value or 0.0 for item in items)))
    else:
        known = {(source, target): error for (source, target), error in cells.items()}
        picture = heat_map(
            rows, columns, known, scale=100.0, decimals=1, low=0.0, high=max(*pairs.values(), 0.1)
        )
    return section(title, explanation, picture)


def _chrf_bars(files: RunFiles, scores: ScoreTable) -> str:
    title = "chrF++ against copying the source"
    if not scores.directions:
        return absent(title, "scores/scores.tsv")
    values, copies = scores.values("chrf++"), scores.copies("chrf++")
    top = max([*values.values(), *copies.values()], default=1.0)
    parts = []
    for level in [*reversed(LEVELS), None]:
        group = [pair for pair in scores.directions if _level(pair, files.levels) == level]
        if group:
            items = [Bar(str(pair), values.get(pair), copies.get(pair)) for pair in group]
            name = LEVEL_WORDS[level] if level else _NO_LEVEL
            mean = _one_decimal(scores.mean_of("chrf++", group)) or "missing"
            parts.append(
                f"<div><h3>{name}: {len(group)} directions, mean {mean}</h3>"
                f"{bars(items, top=top)}</div>"
            )
    return section(
        title,
        "Outer bar: the model. Inner bar: the baseline that answers with the source sentence. A"
        " direction's resource level is that of its lower-resource language.",
        f'<div class="maps">{"".join(parts)}</div>',
    )


def _level(direction: Direction, levels: Mapping[str, str]) -> str | None:
    return direction_level(direction, levels)


def _score_maps(scores: ScoreTable) -> str:
    if not scores.directions:
        return ""
    languages = sorted({code for pair in scores.directions for code in pair})
    maps = []
    for metric in scores.metrics:
        cells = {(pair.source, pair.target): v for pair, v in scores.values(metric).items()}
        picture = heat_map(languages, languages, cells, low=0.0)
        maps.append(f"<div><h3>{escape(metric)}</h3>{picture}</div>")
    return section(
        "Every direction",
        "Source languages down, target languages across.",
        f'<div class="maps">{"".join(maps)}</div>',
    )


def _score_table(scores: ScoreTable, levels: Mapping[str, str]) -> str:
    if not scores.directions:
        return ""
    header = ["direction", "level"]
    header += [name for metric in scores.metrics for name in (metric, f"{metric}, copy")]
    rows: list[Sequence[object]] = []
    for pair in scores.directions:
        level = direction_level(pair, levels)
        row: list[object] = [str(pair), (level or "").replace("_", " ")]
        for metric in scores.metrics:
            row += [scores.values(metric).get(pair), scores.copies(metric).get(pair)]
        rows.append(row)
    signed = [f"<small class='mono'>{escape(text)}</small>" for text in scores.signatures]
    signatures = "<br>".join(signed)
    return section(
        "Scores", "As sacrebleu gives them.", table(header, rows) + f"<p>{signatures}</p>"
    )


def _experts(files: RunFiles) -> str:
    title = "Expert usage by language"
    if not files.experts:
        return absent(title, "experts.json")
    maps = []
    for layer, usage in files.experts.items():
        columns = [str(i) for i in range(len(usage.load))]
        rows = {**usage.languages, "all": usage.load}
        cells = {
            (name, columns[i]): share for name, row in rows.items() for i, share in enumerate(row)
        }
        picture = heat_map(list(rows), columns, cells, scale=100.0, low=0.0)
        words = f"{layer}, entropy {usage.entropy:.2f} of {usage.max_entropy:.2f}"
        maps.append(f"<div><h3>{escape(words)}</h3>{picture}</div>")
    return section(
        title,
        "Share of tokens sent to each expert, in percent, by Mixture-of-Experts layer. Encoder"
        " layers by source language, decoder layers by target language.",
        f'<div class="maps">{"".join(maps)}</div>',
    )


def _samples(files: RunFiles) -> str:
    if not files.samples:
        return absent("Translations", "hypotheses and data/flores")
    return section(
        "Translations",
        "Evenly spaced lines of the test set, not selected by hand.",
        "".join(_sample(files, sample) for sample in files.samples),
    )


def _sample(files: RunFiles, sample: Sample) -> str:
    source, target = sample.direction
    rows = (
        ("source", source, sample.source),
        ("hypothesis", target, sample.hypothesis),
        ("reference", target, sample.reference),
    )
    lines = "".join(
        f'<dt>{name}</dt><dd dir="auto" lang="{escape(code.replace("_", "-"))}">{escape(text)}</dd>'
        for name, code, text in rows
    )
    title = f"{_label(files, source)} → {_label(files, target)}"
    return f'<dl class="sample"><h3>{escape(title)}</h3>{lines}</dl>'


def _label(files: RunFiles, code: str) -> str:
    name = files.names.get(code)
    return f"{name} {code}" if name else code
