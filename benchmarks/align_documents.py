"""Alignment inside documents made of NTREX-128, whose lines are joined and left out.

    python benchmarks/align_documents.py --data DIR [--language CODE]... [--skip-cost N]...

Documents of 40 lines; on each side a tenth of the lines is joined with the next and a tenth left
out, each drawn for itself. Gold pairs are those whose sides hold the same lines, of at most two
sentences in a side. Prints precision, recall and F1 of exact pairs, against one-to-one by margin
(`mine-local`'s way, at its best threshold) in the same run.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np

from corpus.files import read_lines
from mining.documents.align import join
from mining.documents.alignment import Spans, align
from mining.documents.config import AlignConfig
from mining.encoders import BUILTIN, load_encoder

ENGLISH = "eng_Latn"
LANGUAGES = ("fra_Latn", "zho_Hans")
LINES, DOCUMENTS, CHANGED, SAMPLES = 40, 12, 0.1, 128
Part = tuple[int, ...]


def change(lines: list[str], language: str, rng: random.Random) -> list[tuple[Part, str]]:
    """Return a document with lines joined and left out, each with the lines that it holds."""
    parts: list[tuple[Part, str]] = []
    row = 0
    while row < len(lines):
        draw = rng.random()
        if draw < CHANGED and row + 1 < len(lines):
            parts.append(((row, row + 1), join(lines[row : row + 2], language)))
            row += 2
            continue
        if draw > 1 - CHANGED:
            row += 1
            continue
        parts.append(((row,), lines[row]))
        row += 1
    return parts


def gold_pairs(sides: list[list[tuple[Part, str]]]) -> set[tuple[Part, Part]]:
    """Return pairs of places, [first, count] a side, that hold the same lines."""
    spans = [
        {
            sum((part for part, _ in side[i : i + n]), ()): (i, n)
            for n in (1, 2)
            for i in range(len(side) - n + 1)
        }
        for side in sides
    ]
    both = spans[0].keys() & spans[1].keys()
    return {
        (spans[0][lines], spans[1][lines])
        for lines in both
        if not (spans[0][lines][1] == spans[1][lines][1] == 2)
    }


def scores(found: set, gold: set) -> str:
    """Return precision, recall and F1."""
    right = len(found & gold)
    precision, recall = right / max(len(found), 1), right / len(gold)
    return f"{precision:.3f} | {recall:.3f} | {2 * right / (len(found) + len(gold)):.3f}"


def main() -> None:
    """Make documents, align and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--language", action="append", default=[])
    parser.add_argument("--skip-cost", type=float, action="append", default=[])
    given = parser.parse_args()
    encoder = load_encoder(BUILTIN)
    print("| language | way | precision | recall | F1 |\n|---|---|---|---|---|")
    for language in given.language or LANGUAGES:
        codes = (ENGLISH, language)
        texts = [read_lines(given.data / "ntrex128" / f"{code}.txt") for code in codes]
        rng = random.Random(1)
        samples = tuple(
            encoder.encode(rng.sample(side[LINES * DOCUMENTS :], SAMPLES), code)
            for side, code in zip(texts, codes, strict=True)
        )
        made = []
        for start in range(0, LINES * DOCUMENTS, LINES):
            sides = [
                change(side[start : start + LINES], code, rng)
                for side, code in zip(texts, codes, strict=True)
            ]
            spans = []
            for side, code in zip(sides, codes, strict=True):
                lines = [text for _, text in side]
                doubles = [join(lines[i : i + 2], code) for i in range(len(lines) - 1)]
                vectors = encoder.encode([*lines, *doubles], code)
                spans.append(Spans(vectors[: len(lines)], vectors[len(lines) :]))
            made.append((sides, spans))
        gold = {
            (document, pair) for document, one in enumerate(made) for pair in gold_pairs(one[0])
        }
        for skip in given.skip_cost or [AlignConfig.skip_cost]:
            found = {
                (document, ((one.source, one.sources), (one.target, one.targets)))
                for document, (_, spans) in enumerate(made)
                for one in align(spans[0], spans[1], samples, skip)
            }
            print(f"| {language} | aligned, skip {skip} | {scores(found, gold)} |", flush=True)
        candidates = []
        for document, (_, spans) in enumerate(made):
            cosine = spans[0].single @ spans[1].single.T
            means = [
                -np.sort(-np.hstack([cosine, side @ other.T]), axis=1)[:, :4].mean(axis=1)
                for cosine, side, other in (
                    (cosine, spans[0].single, samples[1]),
                    (cosine.T, spans[1].single, samples[0]),
                )
            ]
            margin = cosine / ((means[0][:, None] + means[1][None]) / 2)
            candidates += [
                (margin[i, j], document, int(i), int(j))
                for i, j in np.ndindex(*margin.shape)
                if margin[i].argmax() == j and margin[:, j].argmax() == i
            ]
        best = max(
            (
                {(d, ((i, 1), (j, 1))) for m, d, i, j in candidates if m >= threshold}
                for threshold in np.arange(0.8, 1.8, 0.05)
            ),
            key=lambda found: 2 * len(found & gold) / max(len(found) + len(gold), 1),
        )
        print(f"| {language} | one to one, best threshold | {scores(best, gold)} |", flush=True)


if __name__ == "__main__":
    main()
