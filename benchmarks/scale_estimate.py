"""The tables of docs/scale.md: what one dump takes, derived from measured costs of a sentence.

    python benchmarks/scale_estimate.py [--shards N] [--sentences-per-shard N] [--kept SHARE]

The costs are those that `crawl_scale.py` measured, and are named here with their source. Everything
else is multiplication; the assumptions are the options.
"""

import argparse

from mining.sentences.gather import group_runs
from mining.sentences.runs import FAN_IN

EXTRACT = 38.5e-6
"""CPU seconds of a sentence that passes, builtin identifier, cells 200x1e5 to 200x1e6, as those of
`GATHER` and `MERGE`."""

GATHER, MERGE = 2.84e-6, 2.22e-6
SHARD = 4.6e-3
"""CPU seconds of a shard beside its sentences, all jobs, cells 200x1e5 to 2000x1e5; from there to
20000x1e5 it is half of that."""

OPENING = 0.47e-3
"""CPU seconds of a bucket in each run that it is read from, cells 200x1e5 to 2000x1e5."""

EMBED = 1.5e-6
"""CPU seconds of reading and writing a sentence, without an encoder, 200x1e5 to 200x1e6."""

ENCODER = 1 / 531
"""CPU seconds of the builtin encoder a sentence (docs/experiments.md)."""

FILTER = 2.744 / 39_363
"""CPU seconds of a pair, cell 200x1e6."""

SEARCH = 2.9 * 3600 / 1e12
"""CPU seconds of an exact search, a product of a source and a target, 1,024 dimensions: 2.9 core
hours for a million by a million, extrapolated from 100,000 by 100,000 when search was written."""

RUN_BYTES, GATHERED_BYTES, OUTPUT_BYTES = 86.4, 66.1, 90.0
"""Of a sentence in a shard's run and in a gathered one, copies across shards not dropped yet, and
of one that is kept; text of 258 bytes. Cell 200x1e6."""

DIMENSION = 512
"""Of the builtin encoder; float16."""

BUCKET = 2_000_000


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=90_000)
    parser.add_argument("--sentences-per-shard", type=int, default=600_000)
    parser.add_argument("--kept", type=float, default=0.42)
    parser.add_argument("--directions", type=int, default=2440)
    arguments = parser.parse_args()
    shards = arguments.shards
    sentences = shards * arguments.sentences_per_shard
    kept = sentences * arguments.kept
    levels = [len(group_runs(range(shards)))]  # type: ignore[arg-type]
    while levels[-1] > FAN_IN:
        levels.append(len(group_runs(range(levels[-1]))))  # type: ignore[arg-type]
    runs, rounds = levels[-1], len(levels)
    fewest, most = sentences / BUCKET, 2 * sentences / BUCKET
    hours = 3600.0
    rows = [
        ("extract", (sentences * EXTRACT + shards * SHARD) / hours, shards, sentences * RUN_BYTES),
        (
            "gather",
            rounds * sentences * GATHER / hours,
            sum(levels),
            rounds * sentences * GATHERED_BYTES,
        ),
        (
            "merge",
            (sentences * MERGE + most * runs * OPENING) / hours,
            most,
            kept * OUTPUT_BYTES,
        ),
        ("embed, reading and writing", kept * EMBED / hours, most, kept * 2 * DIMENSION),
        ("embed, builtin encoder", kept * ENCODER / hours, 0, 0),
    ]
    print(f"{shards:,} shards, {sentences:.2e} sentences, {kept:.2e} kept, {levels} gathered runs,")
    print(f"{fewest:,.0f} to {most:,.0f} buckets")
    print("\n| stage | core hours | files | TB written |\n|---|---|---|---|")
    for name, cost, files, size in rows:
        print(f"| {name} | {cost:,.0f} | {files:,.0f} | {size / 1e12:.1f} |")
    print("\n| a side | products | search, core hours | filter, core hours |\n|---|---|---|---|")
    for size in (1e5, 1e6, 1e7):
        search = arguments.directions * size**2 * SEARCH / hours
        pairs = arguments.directions * size * FILTER / hours
        print(
            f"| {size:,.0f} | {arguments.directions * size**2:.1e} | {search:,.0f} | {pairs:,.0f} |"
        )


if __name__ == "__main__":
    main()
