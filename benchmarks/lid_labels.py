"""Language identification with hundreds and thousands of labels.

    python benchmarks/lid_labels.py --lid DIR --more DIR --flores DIR --work DIR

Trains three models in WORK where they are not there yet: on LID alone, with MORE's languages, which
are outside FLORES-200, and with constructed ones up to 2,000 labels (texts of MORE with their
letters exchanged), for time and memory only. Prints macro-F1 of LID's languages on FLORES-200, the
answers to whose lines may be any label, and time, memory and sizes. No peer.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from lid_quality import LEAST_LINES, ROOT
from lid_speed import make_lines

from corpus.files import read_lines, write_lines
from corpus.languages import is_language
from lid.config import CONFUSABLE_GROUPS
from lid.identifier import LanguageIdentifier
from lid.measuring.scores import merge_groups, score_languages

LABELS = 2_000
TURNS = 5
MEGABYTE = 1e6


def main() -> None:
    """Train what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("lid", "more", "flores", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--config", action="append", default=[], help="of `tongues lid train`")
    arguments = parser.parse_args()
    counts = {p.name[:8]: len(read_lines(p)) for p in sorted(arguments.lid.glob("*.txt.gz"))}
    tested = [name for name, count in counts.items() if count >= LEAST_LINES]
    lines = {
        name: read_lines(arguments.flores / arguments.split / f"{name}.{arguments.split}")
        for name in tested
    }
    files = sorted(arguments.lid.glob("*.txt.gz"))
    more = [p for p in sorted(arguments.more.glob("*.txt.gz")) if is_language(p.name.split(".")[0])]
    data = {
        "old": files,
        "more": [*files, *more],
        "filled": [
            *files,
            *more,
            *construct(more, arguments.work, LABELS - len(files) - len(more)),
        ],
    }
    print(
        f"| labels | training, CPU s | its memory, MB | macro-F1, {len(tested)} languages |"
        " merged | lines in these answered with another label | lines/s | model on disk, MB |"
        " report, kB |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    texts = make_lines(arguments.flores)
    for name, own in data.items():
        folder = arguments.work / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file in own:
            if not (folder / file.name).is_symlink():
                (folder / file.name).symlink_to(file.resolve())
        model = arguments.work / name
        seconds, memory = train(folder, model, arguments.config)
        identifier = LanguageIdentifier.load(model)
        f1, merged, strays = quality(identifier, lines, set(counts))
        size = sum(p.stat().st_size for p in model.iterdir() if p.is_file())
        print(
            f"| {len(identifier.classes):,} | {seconds:,.0f} | {memory:,.0f} | {f1:.4f} |"
            f" {merged:.4f} | {strays:,} | {rate(identifier, texts):,.0f} |"
            f" {size / MEGABYTE:,.0f} |"
            f" {(model / 'report.html').stat().st_size / 1e3:,.0f} |",
            flush=True,
        )


def construct(files: Sequence[Path], work: Path, number: int) -> list[Path]:
    """Write texts in `number` constructed languages: real ones with their letters exchanged."""
    folder = work / "constructed"
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for index in range(number):
        file = folder / f"qaa_Latn_made{index:04}.txt"
        if not file.exists():
            chance = random.Random(index)
            text = "\n".join(read_lines(files[index % len(files)])).lower()
            letters = sorted({letter for letter in text if letter.isalpha()})
            exchanged = chance.sample(letters, len(letters))
            write_lines(
                file,
                text.translate(dict(zip(map(ord, letters), exchanged, strict=True))).split("\n"),
            )
        made.append(file)
    return made


def train(data: Path, output: Path, config: Sequence[str]) -> tuple[float, float]:
    """Train a model unless it is there; return CPU seconds and peak memory in MB."""
    command = [sys.executable, str(ROOT / "tongues.py"), "lid", "train", "--data", str(data)]
    options = [part for one in config for part in ("--config", one)]
    process = os.posix_spawn(
        sys.executable,
        [*command, "--output", str(output), "--config", "quantize=false", *options],
        {**os.environ, "PYTHONPATH": str(ROOT)},
    )
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"training of {output} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / MEGABYTE


def quality(
    identifier: LanguageIdentifier, lines: Mapping[str, Sequence[str]], old: set[str]
) -> tuple[float, float, int]:
    """Return macro-F1, that of merged groups, and how many lines got a label not of `old`."""
    answers: Counter[tuple[str, str]] = Counter()
    for language, own in lines.items():
        answers.update((language, best.language) for best in identifier.rank(own))
    scores = score_languages(answers, list(lines))
    merged = merge_groups(answers, list(lines), CONFUSABLE_GROUPS)
    strays = sum(count for (_, answer), count in answers.items() if answer not in {*old, "zxx"})
    macro = statistics.mean(float(one["f1"]) for one in scores.values())
    return macro, float(merged["macro_f1"]), strays


def rate(identifier: LanguageIdentifier, lines: Sequence[str]) -> float:
    """Return lines per second of CPU time, the median of several turns."""
    rates = []
    for _ in range(TURNS):
        started = time.process_time()
        identifier.identify(lines)
        rates.append(len(lines) / (time.process_time() - started))
    return statistics.median(rates)


if __name__ == "__main__":
    main()
