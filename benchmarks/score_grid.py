"""A grid of directions through `tongues eval score`: CPU time, size of the store, a second run.

    python benchmarks/score_grid.py --flores DIR --spm FILE --work DIR [--targets 10 --sources 41]

Hypotheses are references with noise, another one in every direction. DIR/dev and DIR/devtest are
joined and repeated up to FLORES-200's 1,012 lines where there are fewer. Without --targets and
--sources it is the whole grid, some 6 GB of text in WORK. Only scoring is timed, in this process's
CPU seconds; the writing of the hypotheses is not.
"""

from __future__ import annotations

import argparse
import logging
import random
import time
from collections.abc import Sequence
from pathlib import Path

from corpus.console import set_up_logging
from corpus.files import read_lines
from eval.config import ScoreConfig
from eval.metrics.counts import is_compiled
from eval.score import score_systems
from eval.statistics.cells import STATISTICS

LINES = 1_012
NLLB_DIRECTIONS = 40_602


def main() -> None:
    """Write the hypotheses, score them twice, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flores", type=Path, required=True)
    parser.add_argument("--spm", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--targets", type=int, default=0)
    parser.add_argument("--sources", type=int, default=0)
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--resamples", type=int, default=1_000)
    arguments = parser.parse_args()
    set_up_logging()
    logging.getLogger("eval").setLevel(logging.ERROR)
    languages = write_split(arguments.flores, arguments.work, arguments.lines)
    directions = write_hypotheses(
        arguments.work,
        spread(languages, arguments.targets),
        spread(languages, arguments.sources),
    )
    config = ScoreConfig(spm=arguments.spm, resamples=arguments.resamples)
    seconds = [score(arguments.work, config) for _ in range(2)]
    store = sum(path.stat().st_size for path in (arguments.work / "o" / STATISTICS).iterdir())
    files = sum(path.is_file() for path in (arguments.work / "o").rglob("*"))
    print(f"<!-- {directions} directions of {arguments.lines} lines, compiled: {is_compiled()} -->")
    print("| | measured | for 40,602 directions |\n|---|---|---|")
    scale = NLLB_DIRECTIONS / directions
    print(f"| first run | {seconds[0]:.1f} CPU s | {seconds[0] * scale / 3600:.2f} CPU h |")
    print(f"| per direction | {1000 * seconds[0] / directions:.1f} CPU ms | |")
    print(f"| unchanged second run | {seconds[1]:.2f} CPU s, 1/{seconds[0] / seconds[1]:.0f} | |")
    print(f"| statistics | {store / 1e6:.1f} MB | {store * scale / 1e9:.2f} GB |")
    print(f"| files in the output | {files:,} | |")


def spread(languages: Sequence[str], number: int) -> list[str]:
    """Return some languages at equal distances, or all for 0."""
    if not number:
        return list(languages)
    return [languages[i * len(languages) // number] for i in range(number)]


def write_split(flores: Path, work: Path, lines: int) -> list[str]:
    """Write the test set's texts; return their languages."""
    languages = sorted(path.stem for path in (flores / "devtest").glob("*.devtest"))
    (work / "flores" / "devtest").mkdir(parents=True, exist_ok=True)
    for language in languages:
        text = [
            line
            for split in ("devtest", "dev")
            for line in read_lines(flores / split / f"{language}.{split}")
        ]
        text = (text * (lines // len(text) + 1))[:lines]
        path = work / "flores" / "devtest" / f"{language}.devtest"
        path.write_text("\n".join(text) + "\n", encoding="utf-8", newline="\n")
    return languages


def write_hypotheses(work: Path, targets: Sequence[str], sources: Sequence[str]) -> int:
    """Write a file per direction that is not there yet; return how many there are."""
    folder = work / "grid"
    folder.mkdir(exist_ok=True)
    count = 0
    for target in targets:
        references = read_lines(work / "flores" / "devtest" / f"{target}.devtest")
        for source in sources:
            if source == target:
                continue
            count += 1
            path = folder / f"{source}-{target}.txt"
            if not path.exists():
                chance = random.Random(f"{source} {target}")
                text = "\n".join(add_noise(line, chance) for line in references) + "\n"
                path.write_text(text, encoding="utf-8", newline="\n")
    return count


def add_noise(line: str, chance: random.Random) -> str:
    """Return a line with a stretch lost, one moved to the front, and one doubled."""
    size = len(line)
    if size < 12:
        return line
    a, b, c = (int(chance.random() * (size - 8)) for _ in range(3))
    return line[a : a + 6] + line[:b] + line[b + 5 :] + line[c : c + 4]


def score(work: Path, config: ScoreConfig) -> float:
    """Score the grid; return the CPU seconds it took."""
    started = time.process_time()
    score_systems(
        [work / "grid"],
        work / "flores",
        "devtest",
        work / "o",
        ["chrf++", "spbleu"],
        config,
    )
    return time.process_time() - started


if __name__ == "__main__":
    main()
