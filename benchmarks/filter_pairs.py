"""What filters of pairs cost true pairs and take from wrong ones, beside OpusFilter's.

    python benchmarks/filter_pairs.py --flores DIR --text DIR --peer SITE_PACKAGES

FLORES is FLORES-200: English with each other language, line by line, split dev (on which defaults
were chosen) and devtest. TEXT holds `<language>.txt` of another source (NTREX-128), which must not
be taken for evaluation text. PEER is the site-packages directory of an environment with opusfilter.
Prints tables: shares of true pairs kept, of wrong pairs rejected, of evaluation text found; CPU
time; and time and memory of `tongues mining filter` at two sizes.
"""

from __future__ import annotations

import argparse
import itertools
import random
import resource
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from corpus.evaluation_sets import EvaluationSentences
from corpus.files import read_lines
from corpus.flores import read_split
from corpus.languages import Direction
from corpus.records import BITEXT_SCHEMA, write_bitext
from corpus.text import sentence_hash, sentence_key
from mining.bitext.config import FilterConfig
from mining.bitext.numbers import numbers_agree, numbers_of
from mining.bitext.pairs import lengths_fit, median_length_ratio, trigram_overlap
from mining.bitext.rules import Knowledge, PairFilter

ENGLISH = "eng_Latn"
ENOUGH = 0.97
SIZES = (100_000, 400_000)
DIGITS = 3
# Not `ru_maxrss`, which a process inherits from the one that started it.
WATCHED = """
import pathlib, sys, tongues
assert tongues.main(sys.argv[1:]) == 0
status = pathlib.Path("/proc/self/status").read_text()
print(status.split("VmHWM:")[1].split()[0])
"""
Pair = tuple[str, str]
Rule = Callable[[Sequence[Pair], str], list[bool]]


def our_rules() -> dict[str, Rule]:
    """Return the rules that are asked of a pair by itself, each alone, and all at once."""
    config = FilterConfig()

    def lengths(pairs: Sequence[Pair], language: str) -> list[bool]:
        ratio = median_length_ratio([as_table(pairs)])
        return [lengths_fit(*pair, ratio, config.max_length_ratio) for pair in pairs]

    def numbers(pairs: Sequence[Pair], language: str) -> list[bool]:
        in_words = language in config.numbers_in_words
        least = config.min_number_agreement
        return [numbers_agree(*pair, least, one_side_may_have_none=in_words) for pair in pairs]

    def copies(pairs: Sequence[Pair], language: str) -> list[bool]:
        keys = [(sentence_key(source), sentence_key(target)) for source, target in pairs]
        return [trigram_overlap(*pair) <= config.max_overlap for pair in keys]

    def everything(pairs: Sequence[Pair], language: str) -> list[bool]:
        known = Knowledge(
            length_ratio=median_length_ratio([as_table(pairs)]),
            direction=Direction(ENGLISH, language),
        )
        return [not reason for reason in PairFilter(known, config).reasons(as_table(pairs))]

    return {"lengths": lengths, "numbers": numbers, "copies": copies, "all rules": everything}


def peer_rules(filters: Any) -> dict[str, Rule]:
    """Return OpusFilter's rules for the same, with its own defaults."""

    def rule(made: Any) -> Rule:
        return lambda pairs, _: [bool(made.accept(score)) for score in made.score(pairs)]

    return {
        "OpusFilter LengthRatioFilter(3, word)": rule(filters.LengthRatioFilter()),
        "OpusFilter LengthRatioFilter(3, char)": rule(filters.LengthRatioFilter(unit="char")),
        "OpusFilter NonZeroNumeralsFilter(0.5)": rule(filters.NonZeroNumeralsFilter()),
        "OpusFilter SimilarityFilter(0.9)": rule(filters.SimilarityFilter()),
    }


def as_table(pairs: Sequence[Pair]) -> pa.Table:
    """Return pairs as a table."""
    return pa.table({"source": [pair[0] for pair in pairs], "target": [pair[1] for pair in pairs]})


def other_digits(text: str) -> str:
    """Return text with every digit one higher, in its own script."""
    return "".join(
        chr(ord(c) - unicodedata.digit(c) + (unicodedata.digit(c) + 1) % 10)
        if unicodedata.category(c) == "Nd"
        else c
        for c in text
    )


def wrong_pairs(pairs: Sequence[Pair]) -> Iterator[tuple[str, list[Pair]]]:
    """Yield pairs that are no translations: shuffled, of changed numbers, copied."""
    targets = [target for _, target in pairs]
    random.Random(1).shuffle(targets)
    yield "shuffled", [(pair[0], target) for pair, target in zip(pairs, targets, strict=True)]
    numbered = [pair for pair in pairs if all(has_number(text) for text in pair)]
    yield "numbers changed", [(source, other_digits(target)) for source, target in numbered]
    yield "copied", [(source, source) for source, _ in pairs]


def has_number(text: str) -> bool:
    """Say whether a text has a number of three or more digits."""
    return any(len(digits.strip("0")) >= DIGITS for digits in numbers_of(text))


def measure_pairs(flores: Path, rules: dict[str, Rule]) -> None:
    """Print what each rule keeps and rejects, over all languages with English."""
    seconds: dict[str, float] = defaultdict(float)
    count = 0
    for split in ("dev", "devtest"):
        texts = read_split(flores, split)
        kept: dict[str, dict[str, float]] = defaultdict(dict)
        wrong: dict[tuple[str, str], list[bool]] = defaultdict(list)
        for language in sorted(texts.keys() - {ENGLISH}):
            pairs = list(zip(texts[ENGLISH], texts[language], strict=True))
            count += len(pairs)
            for name, rule in rules.items():
                start = time.process_time()
                verdicts = rule(pairs, language)
                seconds[name] += time.process_time() - start
                kept[name][language] = sum(verdicts) / len(verdicts)
                for kind, others in wrong_pairs(pairs):
                    wrong[name, kind] += [not verdict for verdict in rule(others, language)]
        kinds = list(dict.fromkeys(kind for _, kind in wrong))
        print(f"\n{split}: {len(texts) - 1} languages, {len(texts[ENGLISH])} pairs each\n")
        print(f"| rule | kept, mean | worst | below {ENOUGH} | " + " | ".join(kinds) + " |")
        print("|---" * (4 + len(kinds)) + "|")
        for name, shares in kept.items():
            worst = min(shares, key=lambda language: shares[language])
            below = sum(share < ENOUGH for share in shares.values())
            rejected = [
                f"{sum(wrong[name, kind]) / max(1, len(wrong[name, kind])):.3f}" for kind in kinds
            ]
            mean = sum(shares.values()) / len(shares)
            cells = [name, f"{mean:.4f}", f"{shares[worst]:.3f} {worst}", str(below), *rejected]
            print("| " + " | ".join(cells) + " |")
    print("\n| rule | CPU µs per pair |\n|---|---|")
    for name, spent in seconds.items():
        print(f"| {name} | {1e6 * spent / count:.1f} |")


def measure_evaluation(flores: Path, text: Path) -> None:
    """Print how much evaluation text in disguise is found, and what is taken for it."""
    languages = sorted(read_split(flores, "devtest", None))
    files = [flores / "devtest" / f"{language}.devtest" for language in languages]
    start = time.process_time()
    sentences = EvaluationSentences.read(files)
    built = time.process_time() - start
    hashes = {sentence_hash(line) for path in files for line in read_lines(path)}
    disguises: dict[str, Callable[[list[str]], list[str]]] = {
        "as it is": list,
        "first two thirds": lambda lines: [line[: 2 * len(line) // 3] for line in lines],
        "last half": lambda lines: [line[len(line) // 2 :] for line in lines],
        "two sentences joined": lambda lines: [f"{a} {b}" for a, b in itertools.pairwise(lines)],
    }
    print(f"\nevaluation sets: {len(files)} files, read and indexed in {built:.1f} CPU s\n")
    print("| text | lines | whole-sentence hash | hash and n-grams | worst language |")
    print("|---|---|---|---|---|")
    for name, disguise in disguises.items():
        by_language = {
            path.stem: shares_found(sentences, hashes, disguise(read_lines(path))) for path in files
        }
        print_found(name, by_language)
    others = {path.stem: read_lines(path) for path in sorted(text.glob("*.txt"))}
    start = time.process_time()
    found = {name: shares_found(sentences, hashes, lines) for name, lines in others.items()}
    spent = time.process_time() - start
    print_found("other text, taken for it", found)
    total = sum(map(len, others.values()))
    print(f"\n{1e6 * spent / total:.1f} CPU µs a line, whole-sentence hashes included")


def shares_found(
    sentences: EvaluationSentences, hashes: set[int], lines: Sequence[str]
) -> tuple[int, float, float]:
    """Return how many lines there are, and the shares found by hash and by both."""
    found = sentences.reasons([sentence_key(line) for line in lines], 0.5)
    exact = sum(sentence_hash(line) in hashes for line in lines)
    return len(lines), exact / len(lines), sum(map(bool, found)) / len(lines)


def print_found(name: str, by_language: dict[str, tuple[int, float, float]]) -> None:
    """Print a row: means over languages, and the language of the lowest share."""
    count = sum(n for n, _, _ in by_language.values())
    exact, both = (sum(row[i] for row in by_language.values()) / len(by_language) for i in (1, 2))
    worst = min(by_language, key=lambda language: by_language[language][2])
    lowest = f"{by_language[worst][2]:.3f} {worst}"
    print(f"| {name} | {count:,} | {exact:.4f} | {both:.4f} | {lowest} |")


def measure_stream(flores: Path) -> None:
    """Print time and peak memory of the command on files of two sizes."""
    texts = read_split(flores, "dev", [ENGLISH, "fra_Latn"])
    print("\n| pairs | CPU s | pairs per CPU s | peak memory, MB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            bitext = Path(folder) / str(size) / "eng_Latn-fra_Latn.parquet"
            rows = [
                {
                    "score": 1.2,
                    "source": f"{source} {mark}",
                    "target": f"{target} {mark}",
                    "source_document": "u",
                    "target_document": "v",
                }
                for mark, (source, target) in zip(
                    marks(size), itertools.cycle(zip(*texts.values(), strict=True)), strict=False
                )
            ]
            write_bitext(bitext, pa.Table.from_pylist(rows, BITEXT_SCHEMA))
            del rows
            command = [
                "mining", "filter", "--bitext", str(bitext), "--evaluation-sets", str(flores),
                "--output", str(bitext.parent / "out" / bitext.name),
            ]  # fmt: skip
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run(
                [sys.executable, "-c", WATCHED, *command],
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            memory = int(done.stdout.split()[-1]) / 1024
            print(f"| {size:,} | {spent:.1f} | {size / spent:,.0f} | {memory:,.0f} |")


def marks(count: int) -> Iterator[str]:
    """Yield distinct words, so that no pair is a duplicate of another."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    for word in itertools.islice(itertools.product(letters, repeat=5), count):
        yield "".join(word)


def main() -> None:
    """Measure everything and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flores", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--peer", type=Path, required=True)
    arguments = parser.parse_args()
    sys.path.append(str(arguments.peer))
    import opusfilter.filters

    measure_pairs(arguments.flores, {**our_rules(), **peer_rules(opusfilter.filters)})
    measure_evaluation(arguments.flores, arguments.text)
    measure_stream(arguments.flores)


if __name__ == "__main__":
    main()
