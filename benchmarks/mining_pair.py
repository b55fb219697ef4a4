"""`mining pair` on real text with a known answer: NTREX-128 sentences hidden among other text.

    python benchmarks/mining_pair.py --data DIR --work DIR [--language CODE]... [--known]

English sentences of NTREX-128 among those of NLLB-Seed, and their translations among sentences of
WMT, Tatoeba and text for language identification, which translate none of them. Prints a table in
Markdown: expected precision before the filters, true precision, recall and F1 after them, CPU time
of the whole command. `--known` gives it 300 other pairs of NTREX-128 as well.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
from pathlib import Path

from corpus.files import read_json, read_lines, write_lines
from corpus.records import labeled_text_files
from corpus.text import sentence_hash

ROOT = Path(__file__).parent.parent
ENGLISH = "eng_Latn"
LANGUAGES = ("fra_Latn", "rus_Cyrl", "zho_Hans", "arb_Arab")
SIZES = ((800, 6000), (400, 400))
"""Hidden pairs, and other lines of each side."""

KNOWN = 300
Gold = set[tuple[int, int]]


def others(data: Path, language: str) -> list[str]:
    """Return lines of a language that translate nothing of NLLB-Seed or NTREX-128."""
    if language == ENGLISH:
        return read_lines(data / "nllb_seed" / f"{ENGLISH}.txt")
    lines = read_lines(labeled_text_files(data / "lid")[language])
    for corpus in ("wmt_newstest", "tatoeba"):
        path = data / corpus / f"{ENGLISH}-{language}.tsv"
        if path.is_file():
            lines += [line.split("\t")[1] for line in read_lines(path)]
    random.Random(1).shuffle(lines)
    return lines


def hide(data: Path, work: Path, language: str, hidden: int, noise: int) -> Gold:
    """Write both files and the known pairs; return which lines belong together, from 1."""
    order = list(range(len(read_lines(data / "ntrex128" / f"{ENGLISH}.txt"))))
    random.Random(1).shuffle(order)
    places: list[dict[int, int]] = []
    texts = [read_lines(data / "ntrex128" / f"{code}.txt") for code in (ENGLISH, language)]
    for side, code in enumerate((ENGLISH, language)):
        taken = set(map(sentence_hash, texts[side]))
        fresh = [line for line in others(data, code) if sentence_hash(line) not in taken]
        lines = [(texts[side][row], row) for row in order[:hidden]]
        lines += [(line, -1) for line in fresh[:noise]]
        random.Random(side).shuffle(lines)
        write_lines(work / f"{code}.txt", (line for line, _ in lines))
        places.append({row: number for number, (_, row) in enumerate(lines, 1) if row >= 0})
    known = order[hidden : hidden + KNOWN]
    write_lines(work / "known.tsv", (f"{texts[0][row]}\t{texts[1][row]}" for row in known))
    return {(places[0][row], places[1][row]) for row in order[:hidden]}


def run(work: Path, language: str, *more: str) -> tuple[Path, float]:
    """Run the command; return the bitext and the CPU seconds."""
    output = work / "pairs.tsv"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, str(ROOT / "tongues.py"), "mining", "pair"]
    command += [str(work / f"{code}.txt") for code in (ENGLISH, language)]
    command += ["--source", ENGLISH, "--target", language, "--output", str(output), *more]
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return output, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def line_pairs(path: Path) -> list[tuple[int, int]]:
    """Return the line numbers of a bitext's pairs, best first."""
    header, *rows = [line.split("\t") for line in read_lines(path)]
    places = header.index("source_line"), header.index("target_line")
    return [(int(row[places[0]]), int(row[places[1]])) for row in rows]


def row_of(output: Path, gold: Gold, noise: int, seconds: float) -> str:
    """Return a row of the table."""
    calibration = read_json(output.with_name("pairs.calibration.json"))
    found = line_pairs(output)
    right = len(gold.intersection(found))
    expected = ("threshold", "expected_precision", "expected_precision_low")
    values = [calibration[name] for name in expected]
    values += [right / max(len(found), 1), right / len(gold)]
    values += [2 * right / (len(found) + len(gold))]
    shown = " | ".join(f"{value:.3f}" for value in values)
    return f"{len(gold)}, {len(gold) + noise:,} | {shown} | {seconds:.0f} |"


def main() -> None:
    """Hide, run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--language", action="append", default=[])
    parser.add_argument("--known", action="store_true")
    arguments = parser.parse_args()
    print(
        "| language | hidden, lines a side at most | threshold | expected precision | at least"
        " | precision | recall | F1 | CPU s |\n|" + "---|" * 9
    )
    for language in arguments.language or LANGUAGES:
        for hidden, noise in SIZES:
            work = arguments.work / f"{language}-{hidden}-{noise}"
            gold = hide(arguments.data, work, language, hidden, noise)
            more = ["--known", str(work / "known.tsv")] if arguments.known else []
            output, seconds = run(work, language, *more)
            print(f"| {language} | {row_of(output, gold, noise, seconds)}", flush=True)


if __name__ == "__main__":
    main()
