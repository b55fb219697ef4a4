"""Mining on real text with a known answer: NTREX-128 and NLLB-Seed sentences among other text.

    python benchmarks/mining_real.py --data DIR --work DIR [--only EXPERIMENT] [--pairs KIND]

Experiments with the package's own commands: sentences of one corpus are hidden in crawl shards, and
mined with the builtin encoder, and with students of it, trained on the other corpora, for languages
that it does not know. Prints tables in Markdown. Kill it anywhere and run it again: what is done is
skipped. docs/guide.md says what the data directory holds.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mining_real_text import EXPERIMENTS, PIVOT, Experiment, prepare, prepare_lid

from corpus.files import read_json, read_lines, write_lines, write_text
from corpus.records import read_bitext
from corpus.text import normalize
from mining.bitext.evaluate import read_pairs
from mining.encoders import BUILTIN, BUILTIN_LANGUAGES
from mining.encoders.families import family_name

ROOT = Path(__file__).parent.parent
Row = dict[str, float]
TARGETS = (0.3, 0.5, 0.7, 0.9)
LID_OPTIONS = ("sampled_lines=250000",)


def tongues(*arguments: object) -> str:
    """Run a command of the package and return what it prints."""
    command = [sys.executable, str(ROOT / "tongues.py"), *map(str, arguments)]
    print("$ tongues", *arguments, file=sys.stderr, flush=True)
    return subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout


def options(*values: str) -> list[str]:
    """Return config values as arguments."""
    return [part for value in values for part in ("--config", value)]


def keep(path: Path, *arguments: object) -> Any:
    """Return the JSON that a command prints; it is run once."""
    if not path.is_file():
        write_text(path, tongues(*arguments))
    return read_json(path)


def run(data: Path, work: Path, lid: Path, experiment: Experiment) -> None:
    """Hide, train students, embed and mine."""
    prepare(data, work, experiment)
    tongues(
        "data",
        "scatter",
        "--text",
        work / "text",
        "--other",
        work / "other",
        "--output",
        work / "scattered",
        *options(
            f"languages=[{', '.join(experiment.languages)}]",
            f"other_lines={experiment.other_lines}",
        ),
    )
    write_gold(work, experiment)
    students = train_students(work, experiment)
    encoders: dict[Path, list[str]] = {}
    for language in experiment.languages:
        encoders.setdefault(students.get(language, BUILTIN), []).append(language)
    own = options(*(f"encoders.{language}={path}" for language, path in students.items()))
    directions = ", ".join(f"{target}-{source}" for source, target in experiment.mined)
    keep(
        work / "xsim.json",
        "mining",
        "xsim",
        "--encoder",
        BUILTIN,
        *own,
        "--flores",
        data / "flores200_dataset",
        "--split",
        "devtest",
        "--json",
        *options(f"directions=[{directions}]"),
    )
    shards = sorted((work / "scattered" / "crawl").glob("*.warc.wet.gz"))
    tongues("mining", "sentences", *shards, "--lid", lid, "--output", work / "sentences")
    for encoder, languages in encoders.items():
        tongues(
            "mining",
            "embed",
            "--sentences",
            work / "sentences",
            "--encoder",
            encoder,
            "--output",
            work / "embeddings",
            *options("all_languages=true"),
            *(part for one in languages for part in ("--language", one)),
        )
    tongues(
        "mining",
        "embed-known",
        "--bitext",
        work / "planted",
        "--encoder",
        BUILTIN,
        *own,
        *options("all_languages=true"),
        "--output",
        work / "known",
    )
    for source, target in experiment.mined:
        tongues(
            "mining",
            "mine",
            "--sentences",
            work / "sentences",
            "--embeddings",
            work / "embeddings",
            "--known",
            work / "known",
            "--source",
            source,
            "--target",
            target,
            "--output",
            work / "mined" / f"{source}-{target}.parquet",
            *options("margin_threshold=0"),
        )


def train_students(work: Path, experiment: Experiment) -> dict[str, Path]:
    """Train a student for each family; return those of the languages that are mined.

    A language without bitext has that of its family, if there is one.
    """
    bitext = sorted((work / "train").iterdir())
    output = work / "students"
    if not set(experiment.taught) <= set(BUILTIN_LANGUAGES):
        places = [part for path in bitext for part in ("--bitext", path)]
        teacher = ("--teacher", BUILTIN, "--output", output)
        tongues("mining", "distill", *teacher, *places, *options("families=true"))
    families = {one: output / family_name(one) for one in experiment.languages}
    return {
        one: path
        for one, path in families.items()
        if one not in BUILTIN_LANGUAGES and path.is_dir()
    }


def write_gold(work: Path, experiment: Experiment) -> None:
    """Write the hidden pairs, also those without English."""
    scattered = work / "scattered" / "gold"
    sides = {
        language: [
            line.split("\t")[1] for line in read_lines(scattered / f"{PIVOT}-{language}.tsv")
        ]
        for language in experiment.languages
        if language != PIVOT
    }
    first = scattered / f"{PIVOT}-{experiment.english[0]}.tsv"
    sides[PIVOT] = [line.split("\t")[0] for line in read_lines(first)]
    for source, target in experiment.mined:
        lines = (f"{a}\t{b}" for a, b in zip(sides[source], sides[target], strict=True))
        write_lines(work / "gold" / f"{source}-{target}.tsv", lines)


def measure(data: Path, work: Path, experiment: Experiment, has_filter: bool) -> list[Row]:
    """Filter every pair at its calibrated threshold; return what the table shows."""
    for source, target in experiment.mined if has_filter else ():
        pair = f"{source}-{target}"
        curve = read_json(work / "mined" / f"{pair}.calibration.json")["curve"]
        chosen = max(curve, key=lambda point: f1(point["precision"], point["recall"]))
        tongues(
            "mining",
            "filter",
            "--bitext",
            work / "mined" / f"{pair}.parquet",
            "--output",
            work / "bitext" / f"{pair}.parquet",
            "--evaluation-sets",
            data / "flores200_dataset",
            *options(f"min_score={chosen['threshold']}"),
        )
    scores = keep(
        work / f"{'filtered' if has_filter else 'mining'}.json",
        "mining",
        "evaluate",
        "--bitext",
        work / ("bitext" if has_filter else "mined"),
        "--gold",
        work / "gold",
        "--sentences",
        work / "sentences",
        "--json",
    )["pairs"]
    rows = [
        row_of(work, f"{source}-{target}", f"{target}-{source}", scores[f"{source}-{target}"])
        for source, target in experiment.mined
    ]
    if not has_filter:
        for row in rows:
            del row["F1 filtered"]
    return rows


def row_of(work: Path, pair: str, direction: str, filtered: dict[str, float]) -> Row:
    """Return a pair's row: calibrated threshold, what was expected there, what is true."""
    curve = read_json(work / "mined" / f"{pair}.calibration.json")["curve"]
    chosen = max(curve, key=lambda point: f1(point["precision"], point["recall"]))
    scores, right, hidden = judged(work, pair)
    kept = int((scores >= chosen["threshold"]).sum())
    correct = int(right[kept - 1]) if kept else 0
    best = 2 * right / (np.arange(1, len(right) + 1) + hidden)
    precision, recall = correct / max(kept, 1), correct / hidden
    return {
        "xsim": read_json(work / "xsim.json")["pairs"][direction],
        "hidden": hidden,
        "limit": filtered["recall_limit"],
        "threshold": chosen["threshold"],
        "expected precision": chosen["precision"],
        "at least": chosen["precision_low"],
        "precision": precision,
        "off by": abs(chosen["precision"] - precision),
        "expected recall": chosen["recall"],
        "recall": recall,
        "F1": f1(precision, recall),
        "F1 filtered": filtered["f1"],
        "best F1": float(best.max()),
    }


def judged(work: Path, pair: str) -> tuple[Any, Any, int]:
    """Return scores of mined pairs, best first, how many so far are right, and how many could."""
    gold = read_pairs(work / "gold" / f"{pair}.tsv")
    table = read_bitext(work / "mined" / f"{pair}.parquet")
    columns = [table.column(name).to_pylist() for name in ("score", "source", "target")]
    pairs = zip(*columns[1:], strict=True)
    hits = np.array([(normalize(a), normalize(b)) in gold for a, b in pairs])
    return np.array(columns[0]), np.cumsum(hits), len(gold)


def show_targets(work: Path, experiment: Experiment) -> None:
    """Print what a target precision gives: over the pairs where a threshold reaches it."""
    print("\n| asked for | pairs of languages | mean precision | lowest | mean recall |")
    print("|---|---|---|---|---|")
    for target in TARGETS:
        found = []
        for source, other in experiment.mined:
            pair = f"{source}-{other}"
            curve = read_json(work / "mined" / f"{pair}.calibration.json")["curve"]
            # Low precisions never fall: the first that reaches the target is the threshold.
            reached = [p["threshold"] for p in curve if p["precision_low"] >= target]
            if reached:
                scores, right, hidden = judged(work, pair)
                kept = max(int((scores >= reached[0]).sum()), 1)
                found.append((right[kept - 1] / kept, right[kept - 1] / hidden))
        cells = np.array(found or [(np.nan, np.nan)])
        print(
            f"| {target} | {len(found)} | {cells[:, 0].mean():.3f} | {cells[:, 0].min():.3f}"
            f" | {cells[:, 1].mean():.3f} |"
        )


def narrow(experiment: Experiment, pairs: str) -> Experiment:
    """Return an experiment with the pairs of the builtin encoder's languages, or the others."""
    wanted = [
        pair
        for pair in experiment.mined
        if (set(pair) <= set(BUILTIN_LANGUAGES)) == (pairs == "builtin")
    ]
    return dataclasses.replace(
        experiment,
        english=tuple(target for source, target in wanted if source == PIVOT),
        pairs=tuple(pair for pair in wanted if PIVOT not in pair),
        related=() if pairs == "builtin" else experiment.related,
    )


def choose(experiment: Experiment, languages: Sequence[str]) -> Experiment:
    """Return an experiment with the pairs of the builtin encoder's languages and some others."""
    known = {*BUILTIN_LANGUAGES, *languages}
    wanted = [pair for pair in experiment.mined if set(pair) <= known]
    families = set(map(family_name, languages))
    return dataclasses.replace(
        experiment,
        english=tuple(target for source, target in wanted if source == PIVOT),
        pairs=tuple(pair for pair in wanted if PIVOT not in pair),
        related=tuple(one for one in experiment.related if family_name(one) in families),
    )


def f1(precision: float, recall: float) -> float:
    """Return the harmonic mean."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def show(experiment: Experiment, rows: Sequence[Row]) -> None:
    """Print the table of an experiment in Markdown."""
    print(f"\n| {experiment.name} hidden | {' | '.join(rows[0])} |")
    print("|---|" + "---|" * len(rows[0]))
    names = [f"{source}-{target}" for source, target in experiment.mined]
    known = [
        row
        for pair, row in zip(experiment.mined, rows, strict=True)
        if set(pair) <= set(BUILTIN_LANGUAGES)
    ]
    means = {"mean": rows, "mean of the builtin encoder's languages": known}
    for what, some in means.items():
        if some:
            names.append(what)
            rows = [*rows, {key: float(np.mean([row[key] for row in some])) for key in rows[0]}]
    for name, row in zip(names, rows, strict=True):
        cells = [
            f"{value:.0f}" if key == "hidden" else f"{value:.3f}" for key, value in row.items()
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    """Run the experiments and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    names = [experiment.name for experiment in EXPERIMENTS]
    parser.add_argument("--only", choices=names, help="only this experiment")
    parser.add_argument(
        "--pairs", choices=["builtin", "students"],
        help="only pairs of the builtin encoder's languages, or only the others",
    )  # fmt: skip
    parser.add_argument("--languages", help="of the others only these, separated by commas")
    parser.add_argument("--other-lines", type=int, help="lines of noise in a language at most")
    parser.add_argument("--lid-lines", type=int, help="that the identifier is trained on")
    parser.add_argument(
        "--small", action="store_true", help="three languages, 1,000 lines around: a CPU minute"
    )
    parser.add_argument(
        "--unfiltered", action="store_true", help="leave out the filter and its column"
    )
    arguments = parser.parse_args()
    data, work = arguments.data.resolve(), arguments.work.resolve()
    chosen = [one for one in EXPERIMENTS if arguments.only in (None, one.name)]
    if arguments.pairs:
        chosen = [narrow(one, arguments.pairs) for one in chosen]
        chosen = [one for one in chosen if one.mined]
    if arguments.languages:
        chosen = [choose(one, arguments.languages.split(",")) for one in chosen]
    if arguments.other_lines:
        lines = arguments.other_lines
        chosen = [dataclasses.replace(one, other_lines=lines) for one in chosen]
    lid_options = LID_OPTIONS
    if arguments.lid_lines:
        lid_options = (f"sampled_lines={arguments.lid_lines}",)
    if arguments.small:
        few = {"english": ("fra_Latn", "rus_Cyrl", "zho_Hans"), "pairs": (), "related": ()}
        chosen = [dataclasses.replace(one, **few, other_lines=1000) for one in chosen[:1]]
        lid_options = ("sampled_lines=20000", "quantize=false")
    texts, identifier = (work / f"{kind}-{arguments.only or 'all'}" for kind in ("lid_text", "lid"))
    prepare_lid(data, texts, chosen)
    lid = ("--data", texts / "text", "--output", identifier)
    tongues("lid", "train", *lid, *options(*lid_options))
    for experiment in chosen:
        started = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = work / experiment.name
        run(data, own, identifier, experiment)
        show(experiment, measure(data, own, experiment, not arguments.unfiltered))
        show_targets(own, experiment)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = used.ru_utime + used.ru_stime - started.ru_utime - started.ru_stime
        print(f"\n{seconds:.0f} CPU seconds of this run's commands, without the identifier")


if __name__ == "__main__":
    main()
