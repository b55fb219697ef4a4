"""Students of the builtin encoder for every language with 1,000 pairs, xsim into English.

    OMP_NUM_THREADS=1 python benchmarks/students.py --data DIR --work DIR [--families A,B]
    python benchmarks/students.py --data DIR --work DIR --table

Bitext: Tatoeba, NLLB-Seed, NTREX-128 and WMT of `--data`, nothing of FLORES-200. A student for each
family, as `tongues mining distill --config families=true` groups languages; then xsim and xsim++ on
FLORES-200 devtest, English by the builtin encoder. A family is a run: what is done is kept in
`results.json` of `--work`, and `--table` prints it. `--bag` trains a `bag` student of the builtin
encoder on the same pairs instead.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

from corpus.files import read_json, write_json
from corpus.flores import read_split
from mining.encoders import BUILTIN, BUILTIN_LANGUAGES
from mining.encoders.bitext import languages_with, read_training_pairs
from mining.encoders.config import BagConfig, BuiltinDistillConfig, DistillConfig
from mining.encoders.distill import pairs_into_pivot, run_distill
from mining.encoders.embed_config import XsimConfig
from mining.encoders.families import group_languages
from mining.encoders.xsim import measure_xsim

PIVOT = "eng_Latn"
SOURCES = ("tatoeba", "nllb_seed", "ntrex128", "wmt_newstest")
LEAST, MANY = 1000, 5000


def main() -> None:
    """Train and measure what is not done; print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--families", default="")
    parser.add_argument("--split", default="devtest")
    parser.add_argument("--updates", type=int, default=0, help="Instead of the default's.")
    parser.add_argument("--bag", action="store_true")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    record = arguments.work / "results.json"
    results = read_json(record) if record.exists() else {}
    if arguments.table:
        print_table(results)
        return
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("set OMP_NUM_THREADS=1")
    arguments.work.mkdir(parents=True, exist_ok=True)
    bitext = [arguments.data / source for source in SOURCES]
    flores = arguments.data / "flores200_dataset"
    known = set(read_split(flores, arguments.split)) - set(BUILTIN_LANGUAGES)
    families = group_languages(known & set(languages_with(bitext, PIVOT)))
    for family in arguments.families.split(",") if arguments.families else families:
        name = f"{family}{' bag' if arguments.bag else ''}"
        if name in results:
            continue
        row = run_family(families[family], bitext, arguments.work / name, flores, arguments)
        results = read_json(record) if record.exists() else {}
        write_json(record, {**results, name: row})
        print(name, row, flush=True)


def run_family(
    languages: list[str],
    bitext: list[Path],
    output: Path,
    flores: Path,
    arguments: argparse.Namespace,
) -> dict[str, object]:
    """Train and measure the student of a family; return what the table needs."""
    pairs = pairs_into_pivot(read_training_pairs(bitext, languages), PIVOT)
    counts = {direction.source: len(rows) for direction, rows in pairs.pairs.items()}
    taught = [one for one in languages if counts.get(one, 0) >= LEAST]
    if not taught:
        return {"languages": {}}
    config = DistillConfig(validations=2)
    if arguments.bag:
        config = DistillConfig(architecture="bag", bag=BagConfig(dimension=512, romanize=True))
    elif arguments.updates:
        builtin = BuiltinDistillConfig(epochs=0.01, least_updates=arguments.updates)
        config = DistillConfig(validations=2, builtin=builtin)
    started = time.process_time()
    run_distill(BUILTIN, bitext, output, config, taught)
    seconds = time.process_time() - started
    found = measure_xsim(
        BUILTIN,
        flores,
        arguments.split,
        XsimConfig(
            directions=tuple(f"{one}-{PIVOT}" for one in taught),
            encoders=dict.fromkeys(taught, output),
            hard_negatives=True,
        ),
    )
    assert found.hard is not None
    return {
        "seconds": seconds,
        "languages": {
            one: {
                "pairs": counts[one],
                "xsim": found.pairs[f"{one}-{PIVOT}"],
                "xsim++": found.hard.pairs[f"{one}-{PIVOT}"],
            }
            for one in taught
        },
    }


def print_table(results: dict[str, dict[str, object]]) -> None:
    """Print a line for each language, and the means over many and few pairs."""
    print(
        "| student | language | pairs | xsim | xsim++ | CPU s of the student |\n" + "|---" * 6 + "|"
    )
    errors: dict[bool, list[float]] = {True: [], False: []}
    for name, row in sorted(results.items()):
        languages = row["languages"]
        assert isinstance(languages, dict)
        for i, (language, one) in enumerate(languages.items()):
            first = (name, f"{row['seconds']:.0f}") if i == 0 else ("", "")
            print(
                f"| {first[0]} | {language} | {one['pairs']:,} | {one['xsim']:.3f} |"
                f" {one['xsim++']:.3f} | {first[1]} |"
            )
            if not name.endswith(" bag"):
                errors[one["pairs"] >= MANY].append(one["xsim"])
    for is_many, values in errors.items():
        if values:
            what = f"at least {MANY:,}" if is_many else f"{LEAST:,} to {MANY:,}"
            mean = statistics.mean(values)
            print(f"\n{len(values)} languages with {what} pairs: mean xsim {mean:.4f}")


if __name__ == "__main__":
    main()
