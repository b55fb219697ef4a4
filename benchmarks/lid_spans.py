"""Spans of lines that mix two languages, and false splits of lines that do not.

    python benchmarks/lid_spans.py --model DIR --flores DIR --split devtest

A mixed line joins 5 to 12 words of a sentence in one language and 5 to 12 of another sentence in
another (pieces of four characters where a script has no spaces). Pairs are drawn from the languages
that model and split share: of different scripts, or both Latin and in no common confusable group.
A span counts as found if its language is right and both ends are: exactly, or at most a word away.
Languages are taken with and without the model's thresholds; below these a span is `und`.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import regex

from corpus.console import format_table
from corpus.flores import read_split, split_languages
from lid.config import CONFUSABLE_GROUPS, group_codes
from lid.engine.preparation import PIECE_CHARACTERS, UNSPACED
from lid.identifier import LanguageIdentifier
from lid.spans import Span, SpanIdentifier

WORD = regex.compile(rf"(?:{UNSPACED}\p{{M}}*+){{1,{PIECE_CHARACTERS}}}+|(?:(?!{UNSPACED})\S)+")
FEWEST, MOST = 5, 12
SINGLE_STEP = 10
"""Of each language every many lines, one is taken whole."""

Truth = list[tuple[str, int, int]]
Lines = list[tuple[str, Truth]]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--flores", type=Path, required=True)
    parser.add_argument("--split", default="devtest")
    parser.add_argument("--lines", type=int, default=1_000, help="mixed lines of each kind")
    arguments = parser.parse_args()
    identifier = LanguageIdentifier.load(arguments.model)
    there = set(split_languages(arguments.flores, arguments.split))
    shared = [code for code in identifier.languages if code in there]
    texts = read_split(arguments.flores, arguments.split, shared)
    kinds = make_lines(texts, arguments.lines)
    rows = []
    for kind, lines in kinds.items():
        begun = time.process_time()
        spans = SpanIdentifier(identifier).identify_spans([text for text, _ in lines])
        seconds = time.process_time() - begun
        ranked = rank_spans(identifier, lines, spans)
        false_splits = sum(len(own) > 1 for own in spans) / len(lines)
        rows.append(
            [
                kind,
                len(lines),
                *(f"{f1(lines, found, near):.3f}" for found in (ranked, spans) for near in (0, 1)),
                f"{false_splits:.2%}",
                f"{len(lines) / seconds:,.0f}",
            ]
        )
    print(f"<!-- {len(texts)} languages, {arguments.split} -->")
    header = ["lines", "n", "F1 exact", "F1 ± 1 word", "with thresholds", "± 1 word",
              "split", "lines/s"]  # fmt: skip
    print(format_table(header, rows))


def make_lines(texts: Mapping[str, Sequence[str]], count: int) -> dict[str, Lines]:
    """Return mixed lines of both kinds, and whole lines in one language."""
    group_of = {code: group for group in CONFUSABLE_GROUPS for code in group_codes(group)}
    codes = sorted(texts)
    pairs = [(a, b) for a in codes for b in codes if a != b]
    latin = [
        (a, b)
        for a, b in pairs
        if a.endswith("_Latn") and b.endswith("_Latn") and group_of.get(a, a) != group_of.get(b, b)
    ]
    other = [(a, b) for a, b in pairs if a[4:] != b[4:]]
    chance = random.Random(1)
    single: Lines = []
    for number, code in enumerate(codes):
        for line in texts[code][number % SINGLE_STEP :: SINGLE_STEP]:
            single.append((line, [(code, 0, len(line))]))
    return {
        "two scripts": mix(texts, other, count, chance),
        "two Latin languages": mix(texts, latin, count, chance),
        "one language": single,
    }


def mix(
    texts: Mapping[str, Sequence[str]],
    pairs: Sequence[tuple[str, str]],
    count: int,
    chance: random.Random,
) -> Lines:
    """Return lines joined from parts of two sentences."""
    lines: Lines = []
    while len(lines) < count:
        first, second = chance.choice(pairs)
        left, right = (take_words(chance.choice(texts[code]), chance) for code in (first, second))
        if left and right:
            start = len(left) + 1
            truth = [(first, 0, len(left)), (second, start, start + len(right))]
            lines.append((f"{left} {right}", truth))
    return lines


def take_words(text: str, chance: random.Random) -> str:
    """Return some words in a row of a sentence; nothing where it has too few."""
    words = [match.span() for match in WORD.finditer(text)]
    wanted = chance.randint(FEWEST, MOST)
    if len(words) < wanted:
        return ""
    start = chance.randrange(len(words) - wanted + 1)
    return text[words[start][0] : words[start + wanted - 1][1]]


def rank_spans(
    identifier: LanguageIdentifier, lines: Lines, spans: Sequence[Sequence[Span]]
) -> list[list[Span]]:
    """Return the spans with their best languages, whatever the thresholds."""
    parts = [
        text[one.start : one.end]
        for (text, _), own in zip(lines, spans, strict=True)
        for one in own
    ]
    ranked = iter(identifier.rank(parts))
    return [[one._replace(language=next(ranked).language) for one in own] for own in spans]


def f1(lines: Lines, spans: Sequence[Sequence[Span]], near: int) -> float:
    """Return the F1 of spans whose ends may be so many words away."""
    right = given = true = 0
    for (text, truth), own in zip(lines, spans, strict=True):
        words = [match.span() for match in WORD.finditer(text)]
        starts = {start: number for number, (start, _) in enumerate(words)}
        ends = {end: number for number, (_, end) in enumerate(words)}
        given, true = given + len(own), true + len(truth)
        for one in own:
            right += any(
                one.language == code
                and abs(starts[one.start] - starts.get(start, len(words))) <= near
                and abs(ends[one.end] - ends.get(end, -len(words))) <= near
                for code, start, end in truth
            )
    return 2 * right / (given + true)


if __name__ == "__main__":
    main()
