"""What the steps have made so far, read from their files; what is missing is None or empty."""

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corpus.bitext import BitextReader
from corpus.bitext.split import SPLIT_JOB
from corpus.files import read_lines, read_object
from corpus.flores import split_file
from corpus.jobs import task_counts
from new_language.advice import advise
from new_language.steps import Plan, exported_system, make_steps
from new_language.times import Times

SAMPLES = 8
"""Mined pairs that are shown."""
_LINES = 4
"""Translations of each direction that are shown."""


def collect(plan: Plan, times: Mapping[str, Times]) -> dict[str, Any]:
    """Return all that the page shows, as plain JSON values.

    Args:
        plan: The recipe in its directory.
        times: Wall and CPU time of the steps, by name.
    """
    config = plan.config
    results: dict[str, Any] = {
        "language": config.language,
        "pivot": config.pivot,
        "systems": list(config.systems),
        "exported": exported_system(plan) if config.exports else None,
        "seed": _counts(plan.at("seed"), SPLIT_JOB),
        "identifier": _identifier(plan),
        "shards": _shards(plan),
        "student": _student(plan),
        "mining": _mining(plan),
        "contamination": {
            name: _object(plan.at("contamination", name, "contamination.json"))
            for name in ("seed", "mined")
        },
        "vocabulary": _vocabulary(plan),
        "trained": {system: _training(plan, system) for system in config.systems},
        "back_translated": _back_translated(plan),
        "scores": _table(plan.at("scores", "systems.tsv")),
        "scores_dev": _table(plan.at("scores_dev", "systems.tsv")),
        "others": _others(plan),
        "has_others": bool(plan.others),
        "steps": _steps(plan, times),
        "pages": _pages(plan),
        "pairs": _sample_pairs(plan),
        "translations": _translations(plan),
    }
    results["advice"] = advise(results)
    return results


def _object(file: Path) -> dict[str, Any] | None:
    return dict(read_object(file)) if file.is_file() else None


def _counts(directory: Path, job: str) -> dict[str, int]:
    """Return the counts of a job, summed over its tasks."""
    total: Counter[str] = Counter()
    for counts in task_counts(directory, job).values() if directory.is_dir() else ():
        total.update(counts)
    return dict(total)


def _table(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a TSV; numbers as numbers, empty cells as None."""
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [{key: _value(text) for key, text in row.items()} for row in rows]


def _value(text: str) -> Any:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def _identifier(plan: Plan) -> dict[str, Any] | None:
    measured = _object(plan.at("identified", "measure.json"))
    if measured is None:
        return None
    language = plan.config.language
    confused = [
        one for one in measured["confusions"] if language in (one["language"], one["answer"])
    ]
    against = measured.get("against")
    return {
        "macro_f1": measured["macro_f1"],
        "languages": len(measured["languages"]),
        "lines": measured["lines"],
        "own": measured["languages"].get(language),
        "confusions": confused,
        "before": against and {key: against[key] for key in ("macro_f1", "other_macro_f1")},
        "mcnemar_p": against and against["mcnemar_p"],
    }


def _shards(plan: Plan) -> dict[str, Any]:
    sentences = plan.sentences
    shards = task_counts(sentences, "extract") if sentences.is_dir() else {}
    kept: Counter[str] = Counter()
    for name, counts in (task_counts(sentences, "merge") if shards else {}).items():
        kept[name.split("/")[0]] += counts["kept"]
    return {
        "shards": len(shards),
        **{
            name: sum(counts.get(name, 0) for counts in shards.values())
            for name in ("documents", "sentences")
        },
        "kept": dict(kept),
    }


def _student(plan: Plan) -> dict[str, Any]:
    errors = []
    for number in range(1, plan.rounds + 1):
        measured = _object(plan.round(number, "xsim.json", of="similarity"))
        errors.append(measured and measured["mean_error"])
    there = [error for error in errors if error is not None]
    return {"xsim_errors": errors, "xsim_error": there[-1] if there else None}


def _mining(plan: Plan) -> dict[str, Any] | None:
    pair = str(plan.config.pair)
    known = _object(plan.mined("mined", f"{pair}.calibration.json"))
    if known is None:
        return None
    wanted = (
        "source_sentences", "target_sentences", "pairs", "threshold", "expected_precision",
        "expected_precision_low", "expected_recall", "calibrated_by", "translated", "curve",
        "known.planted_whole",
    )  # fmt: skip
    filtered = _counts(plan.bitext, "filter")
    found = _object(plan.mined("evaluation.json")) if plan.config.gold else None
    gold = next(iter(found["pairs"].values())) if found else None
    return {
        **{key: known.get(key) for key in wanted},
        "kept": filtered.get("kept"),
        "rejected": {
            key.removeprefix("rejected."): count
            for key, count in filtered.items()
            if key.startswith("rejected.") and count
        },
        "gold": gold,
    }


def _vocabulary(plan: Plan) -> dict[str, Any] | None:
    measured = _object(plan.at("extended", "extension.json"))
    return measured and measured["languages"].get(plan.config.language)


def _training(plan: Plan, system: str) -> dict[str, int]:
    return _counts(plan.model(system), "train")


def _back_translated(plan: Plan) -> dict[str, int]:
    places = [plan.at("back_translated"), *sorted(plan.at("back_translated").glob("[0-9]*"))]
    total: Counter[str] = Counter()
    for place in places:
        total.update(_counts(place, "back-translate"))
    return dict(total)


def _others(plan: Plan) -> list[dict[str, Any]]:
    return _table(plan.at("comparison", "comparison.tsv"))


def _steps(plan: Plan, times: Mapping[str, Times]) -> list[dict[str, Any]]:
    return [
        {
            "step": step.name,
            "title": step.title,
            "command": step.shell(),
            "seconds": times[step.name].seconds if step.name in times else None,
            "cpu_seconds": times[step.name].cpu_seconds if step.name in times else None,
        }
        for step in make_steps(plan)
    ]


def _pages(plan: Plan) -> dict[str, str]:
    """Return the steps' own pages that are there, by what they are about."""
    pages = {
        "Training of the identifier": plan.at("identifier", "report.html"),
        "Language identification": plan.at("identified", "report.html"),
        "Mining": plan.mined("report.html"),
        "Test sentences among the mined pairs": plan.at(
            "contamination", "mined", "contamination.html"
        ),
        **{
            f"Training of `{system}`": plan.model(system) / "training" / "report.html"
            for system in plan.config.systems
        },
        "Scores": plan.at("scores", "report.html"),
        "Scores of the other directions": plan.at("scores_others", "report.html"),
        "Other directions, before and after": plan.at("comparison", "comparison.html"),
    }
    return {
        about: str(path.relative_to(plan.output)) for about, path in pages.items() if path.is_file()
    }


def _sample_pairs(plan: Plan) -> list[dict[str, Any]]:
    """Return mined pairs evenly spaced by score, the best first."""
    file = plan.bitext / f"{plan.config.pair}.parquet"
    if not file.is_file():
        return []
    pairs: list[tuple[float, str, str]] = []
    for table in BitextReader(file):
        columns = (table.column(name).to_pylist() for name in ("score", "source", "target"))
        pairs += zip(*columns, strict=True)
    pairs.sort(key=lambda pair: (-pair[0], *pair[1:]))
    count = min(SAMPLES, len(pairs))
    chosen = [pairs[i * (len(pairs) - 1) // max(count - 1, 1)] for i in range(count)]
    return [dict(zip(("score", "source", "target"), pair, strict=True)) for pair in chosen]


def _translations(plan: Plan) -> list[dict[str, Any]]:
    """Return lines of the test set, evenly spaced, with what the systems make of them."""
    samples = []
    for direction in plan.new:
        hypotheses = {
            system: read_lines(file)
            for system in plan.config.systems
            if (file := plan.hypotheses(system) / f"{direction}.txt").is_file()
        }
        if not hypotheses:
            continue
        source, target = (
            read_lines(split_file(plan.config.flores, "devtest", code)) for code in direction
        )
        count = min(_LINES, len(source))
        for i in (j * len(source) // count for j in range(count)):
            samples.append({
                "direction": str(direction),
                "line": i + 1,
                "source": source[i],
                "reference": target[i],
                "hypotheses": {system: lines[i] for system, lines in hypotheses.items()},
            })  # fmt: skip
    return samples
