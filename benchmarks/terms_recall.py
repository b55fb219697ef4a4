r"""Recall of word-list terms in 204 languages: our matcher against words split at `\W`, as in ETOX.

    python benchmarks/terms_recall.py --flores DIR

Terms are real words of the text, one of each line, or in scripts without spaces four characters of
it; a matcher is asked whether it finds each in its own line. ETOX lowercases lines, puts spaces for
`\W` and looks for the terms as the list has them; for scripts without spaces it needs a
SentencePiece model and is left out.
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import regex

from corpus.files import read_lines
from corpus.flores import split_languages
from corpus.terms import TermMatcher
from corpus.text import UNSPACED_SCRIPTS, script_of_character, script_parts

SEED = 5
PIECE_CHARACTERS = 4
MIN_LETTERS = 3
EDGES = regex.compile(r"^[\p{P}\p{S}]+|[\p{P}\p{S}]+$")
CLUSTERS = regex.compile(r"(?:\X[\u17d2\u1039])*\X\p{M}*")
NOT_WORD = re.compile(r"\W+")
RUN = regex.compile(r"[\p{L}\p{M}]+")


def main() -> None:
    """Measure every language of a split and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flores", type=Path, required=True)
    parser.add_argument("--split", default="devtest")
    arguments = parser.parse_args()
    ours: dict[str, float] = {}
    etox: dict[str, float] = {}
    started = time.process_time()
    lines_seen = 0
    for language in split_languages(arguments.flores, arguments.split):
        lines = read_lines(arguments.flores / arguments.split / f"{language}.{arguments.split}")
        pairs = [(line, term) for line in lines if (term := pick(line, language)) is not None]
        ours[language] = recall(pairs, lambda line, term, code=language: found(line, term, code))
        lines_seen += len(pairs)
        if language[4:] not in UNSPACED_SCRIPTS:
            etox[language] = recall(pairs, found_between_non_words)
    seconds = time.process_time() - started
    print(f"<!-- {lines_seen:,} lines, {seconds:.0f} CPU seconds, both -->")
    print("| matcher | languages | mean recall | lowest | languages below .99 | below .50 |")
    print("|---|---|---|---|---|---|")
    print(row("tongues", ours))
    print(row("tongues, scripts with spaces", {code: ours[code] for code in etox}))
    print(row(r"split at `\W`", etox))
    worst = sorted(etox, key=lambda code: (etox[code], code))[:12]
    print(f"\nlowest at `\\W`: {', '.join(f'{code} {etox[code]:.2f}' for code in worst)}")


def pick(line: str, language: str) -> str | None:
    """Choose a term that stands in the line, the same one every time."""
    generator = random.Random(f"{SEED} {language} {line}")
    if language[4:] in UNSPACED_SCRIPTS and not language.endswith("_Tibt"):
        own = script_parts(language[4:])
        cut = [CLUSTERS.findall(run) for run in RUN.findall(line)]
        runs = [
            run
            for run in cut
            if len(run) >= PIECE_CHARACTERS and {script_of_character(c[0]) for c in run} <= own
        ]
        if not runs:
            return None
        run = generator.choice(runs)
        start = generator.randrange(len(run) - PIECE_CHARACTERS + 1)
        return "".join(run[start : start + PIECE_CHARACTERS])
    words = re.split("་" if language.endswith("_Tibt") else r"\s", line)
    whole = [word for word in (EDGES.sub("", word) for word in words) if is_word(word)]
    return generator.choice(whole) if whole else None


def is_word(word: str) -> bool:
    """Whether a word is letters and marks only, and long enough to mean something."""
    return len(word) >= MIN_LETTERS and RUN.fullmatch(word) is not None


def found(line: str, term: str, language: str) -> bool:
    """Whether our matcher finds the term."""
    return bool(TermMatcher([term], language).find(line))


def found_between_non_words(line: str, term: str) -> bool:
    r"""Whether ETOX finds the term: between the spaces that `\W` leaves."""
    return f" {term.lower()} " in f" {NOT_WORD.sub(' ', line.lower())} "


def recall(pairs: Sequence[tuple[str, str]], is_found: Callable[[str, str], bool]) -> float:
    """Return the share of lines in which their own term is found."""
    return statistics.fmean(is_found(line, term) for line, term in pairs)


def row(name: str, found: dict[str, float]) -> str:
    """Return a line of the table."""
    values = list(found.values())
    below = [sum(value < bound for value in values) for bound in (0.99, 0.5)]
    mean, lowest = statistics.fmean(values), min(values)
    return f"| {name} | {len(values)} | {mean:.4f} | {lowest:.3f} | {below[0]} | {below[1]} |"


if __name__ == "__main__":
    main()
