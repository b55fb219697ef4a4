"""Scores, resampling and tests against sacrebleu, in one run and one thread, as ratios.

    OMP_NUM_THREADS=1 python benchmarks/score_speed.py --flores DIR --spm FILE

Sixteen systems a target language are references with noise, on FLORES-200's 1,012 lines (dev and
devtest joined and repeated where there are fewer). sacrebleu gets its references cached in the
metric, and the same SentencePiece model where it looks for its own. Times are CPU seconds of the
process; command lines' are those of the child. Integers, scores and p-values are compared on the
way.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import sacrebleu
from sacrebleu.significance import Result, _bootstrap_resample, _paired_ar_test, _paired_bs_test
from score_grid import LINES, write_hypotheses, write_split

from corpus.files import read_lines
from eval.config import BOOTSTRAP, RANDOMIZATION, SACREBLEU_BOOTSTRAP
from eval.metrics.counts import is_compiled
from eval.metrics.measures import Statistics
from eval.metrics.metrics import MetricModels, build_peer, find_measure, find_metric
from eval.statistics.significance import (
    bootstrap_draws,
    interval,
    p_value,
    resample_scores,
    swap_draws,
)

LANGUAGES = ("eng_Latn", "fin_Latn", "rus_Cyrl", "arb_Arab", "hin_Deva", "zho_Hans", "khm_Khmr")
SYSTEMS = 16
SEED = 12_345
RESAMPLES, TRIALS = 1_000, 10_000
NULLS, NULL_TRIALS = 400, 2_000
T = TypeVar("T")


def main() -> None:
    """Time everything and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flores", type=Path, required=True)
    parser.add_argument("--spm", type=Path, required=True)
    arguments = parser.parse_args()
    print(f"<!-- sacrebleu {sacrebleu.__version__}, compiled: {is_compiled()} -->")
    models = MetricModels(spm=arguments.spm)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        languages = write_split(arguments.flores, work, LINES)
        sources = languages[:: len(languages) // (SYSTEMS + 2)]
        write_hypotheses(work, LANGUAGES, sources)
        score_table(work, models)
        block = test_table(work, models)
    null_table(block)


def timed(run: Callable[[], T]) -> tuple[float, T]:
    """Return the CPU seconds of a call and what it returned."""
    started = time.process_time()
    value = run()
    return time.process_time() - started, value


def read_systems(work: Path, target: str) -> tuple[list[str], list[Path], list[list[str]]]:
    """Return the references, and sixteen systems' files and lines."""
    paths = sorted((work / "grid").glob(f"*-{target}.txt"))[:SYSTEMS]
    references = read_lines(work / "flores" / "devtest" / f"{target}.devtest")
    return references, paths, [read_lines(path) for path in paths]


def score_table(work: Path, models: MetricModels) -> None:
    """Time statistics and scores, per direction."""
    print(
        "\nchrF++ is its statistics and scores; all is chrF++, spBLEU and every sentence's score"
        " here, and the two corpus scores only by sacrebleu. Milliseconds a direction.\n"
    )
    print(
        "| target | chrF++ here | sacrebleu | times | all here | sacrebleu's API | times |"
        " two command lines | times |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    columns: list[list[float]] = []
    for target in LANGUAGES:
        references, paths, systems = read_systems(work, target)
        ours, scores = timed(lambda r=references, s=systems: chrf_scores(r, s, models))
        theirs, wanted = timed(lambda r=references, s=systems: peer_scores("chrf++", r, s, models))
        compare(scores, wanted)
        all_ours, _ = timed(lambda r=references, s=systems: all_scores(r, s, models))
        both, wanted = timed(lambda r=references, s=systems: peer_scores("spbleu", r, s, models))
        compare(all_scores(references, systems, models)[1], wanted)
        line = command_lines(work, target, paths[0], models)
        size = len(systems)
        row = [
            ours / size, theirs / size, theirs / ours, all_ours / size, (theirs + both) / size,
            (theirs + both) / all_ours, line, line * size / all_ours,
        ]  # fmt: skip
        columns.append(row)
        print(f"| {target} | {format_row(row)} |")
    medians = [statistics.median(values) for values in zip(*columns, strict=True)]
    print(f"| median | {format_row(medians)} |")


def format_row(row: Sequence[float]) -> str:
    """Return seconds as milliseconds and ratios as they are."""
    scales = (1000, 1000, 1, 1000, 1000, 1, 1000, 1)
    return " | ".join(f"{value * scale:.1f}" for value, scale in zip(row, scales, strict=True))


def chrf_scores(
    references: Sequence[str], systems: Sequence[Sequence[str]], models: MetricModels
) -> list[float]:
    """Return chrF++ of all systems."""
    block = count("chrf++", references, systems, models)
    return [float(value) for value in find_metric("chrf++").score(block.sum(axis=1))]


def all_scores(
    references: Sequence[str], systems: Sequence[Sequence[str]], models: MetricModels
) -> tuple[list[float], list[float]]:
    """Return chrF++ and spBLEU of all systems, after scoring every sentence with both."""
    found = []
    for name in ("chrf++", "spbleu"):
        block = count(name, references, systems, models)
        metric = find_metric(name)
        metric.score_sentences(block)
        found.append([float(value) for value in metric.score(block.sum(axis=1))])
    return found[0], found[1]


def count(
    name: str, references: Sequence[str], systems: Sequence[Sequence[str]], models: MetricModels
) -> Statistics:
    """Return the statistics of all systems."""
    measure = find_measure(name, models)
    counts = measure.count([references], systems)
    return measure.expand(counts.hypotheses, counts.references)


def peer_scores(
    name: str, references: Sequence[str], systems: Sequence[Sequence[str]], models: MetricModels
) -> list[float]:
    """Return sacrebleu's scores, with the references counted once."""
    peer = build_peer(name, models)
    peer._ref_cache = peer._cache_references([references])
    return [peer.corpus_score(list(lines), None).score for lines in systems]


def compare(ours: Sequence[float], theirs: Sequence[float]) -> None:
    """Stop if scores differ."""
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


def command_lines(work: Path, target: str, path: Path, models: MetricModels) -> float:
    """Return the CPU seconds of two sacrebleu command lines for one direction."""
    assert models.spm is not None
    home = work / "sacrebleu"
    model = home / "models" / "flores200sacrebleuspm"
    if not model.exists():
        model.parent.mkdir(parents=True)
        shutil.copy(models.spm, model)
    program = [str(Path(sys.executable).parent / "sacrebleu")]
    program += [str(work / "flores" / "devtest" / f"{target}.devtest"), "-i", str(path)]
    started = resource.getrusage(resource.RUSAGE_CHILDREN)
    for options in (
        ["-m", "chrf", "--chrf-word-order", "2"],
        ["-m", "bleu", "--tokenize", "flores200"],
    ):
        subprocess.run(
            program + options,
            env={**os.environ, "SACREBLEU": str(home)},
            check=True,
            capture_output=True,
        )
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - started.ru_utime - started.ru_stime


def test_table(work: Path, models: MetricModels) -> Statistics:
    """Time resampling from statistics that are there, sixteen systems; return the statistics."""
    references, _, systems = read_systems(work, "eng_Latn")
    block = count("chrf++", references, systems, models)
    score = find_metric("chrf++").score
    print("\n| from statistics, mean of 16 systems | here, ms | sacrebleu, ms | times |")
    print("|---|---|---|---|")
    ours, _ = timed_draws(
        lambda: [interval(resample_scores(own, score, RESAMPLES, SEED), 0.95) for own in block]
    )
    peer: Any = build_peer("chrf++", models)
    rows = [own.tolist() for own in block]
    theirs, _ = timed(lambda: [_bootstrap_resample(own, peer, RESAMPLES) for own in rows])
    print_ratio(f"interval from {RESAMPLES:,} bootstrap resamples", ours, theirs, len(block))
    for test, draws, run in (
        (SACREBLEU_BOOTSTRAP, RESAMPLES, _paired_bs_test),
        (RANDOMIZATION, TRIALS, _paired_ar_test),
    ):
        ours, found = timed_draws(
            lambda test=test, draws=draws: [
                p_value(test, block[0], own, score, draws, SEED) for own in block[1:]
            ]
        )
        theirs, wanted = timed(
            lambda run=run, draws=draws: [
                peer_p_value(run, rows[0], own, draws, models) for own in rows[1:]
            ]
        )
        np.testing.assert_allclose(found, wanted, atol=2 / draws)
        print_ratio(f"{test}, {draws:,}", ours, theirs, len(block) - 1)
    return block


def timed_draws(run: Callable[[], T]) -> tuple[float, T]:
    """Return the CPU seconds of a call, with the drawing of lines in it, and what it returned."""
    bootstrap_draws.cache_clear()
    swap_draws.cache_clear()
    return timed(run)


def peer_p_value(
    run: Callable[..., Any],
    first: list[list[int]],
    second: list[list[int]],
    draws: int,
    models: MetricModels,
) -> float:
    """Return sacrebleu's p-value from statistics, which it would count again."""
    peer: Any = build_peer("chrf++", models)
    peer._extract_corpus_statistics = lambda hypotheses, references: second
    info = {"x": (np.array(first), Result(peer._aggregate_and_compute(first).score))}
    names = [""] * len(first)
    return float(run(info, "x", names, None, {"x": peer}, draws, -1, SEED)[1]["x"].p_value)


def print_ratio(name: str, ours: float, theirs: float, size: int) -> None:
    """Print a row of seconds over `size` systems."""
    print(f"| {name} | {1e3 * ours / size:.1f} | {1e3 * theirs / size:.0f} | {theirs / ours:.0f} |")


def null_table(block: Statistics) -> None:
    """Count differences found where there are none: two systems whose lines were swapped at random.

    Under such a swap both systems have the same distribution, exactly.
    """
    score = find_metric("chrf++").score
    generator = np.random.default_rng(1)
    tests = {RANDOMIZATION: NULL_TRIALS, BOOTSTRAP: RESAMPLES, SACREBLEU_BOOTSTRAP: RESAMPLES}
    found = dict.fromkeys(tests, 0)
    for _ in range(NULLS):
        swapped = generator.integers(2, size=block.shape[1], dtype=bool)[:, None]
        first = np.where(swapped, block[0], block[1])
        second = np.where(swapped, block[1], block[0])
        for test, draws in tests.items():
            found[test] += p_value(test, first, second, score, draws, SEED) <= 0.05
    print(f"\n| test | p ≤ .05 in {NULLS} exact nulls |\n|---|---|")
    for test, count_found in found.items():
        print(f"| {test} | {100 * count_found / NULLS:.1f} % |")


if __name__ == "__main__":
    main()
