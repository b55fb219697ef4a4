"""The learned filter against rules and margin, on pairs with a known answer.

    python benchmarks/pair_probability.py --data DIR --work DIR [--language CODE]...

Sentences of NTREX-128 hidden as by `mining_pair.py`, among them 150 whose translation was altered
(half of them cut to the first 60 %, half with every number counted up by one), mined with no
threshold by the builtin encoder. Each mined pair is right or wrong; pairs are ranked by the rules
of `mining filter`, by margin, by margin after the rules (what they reject comes last), and by
probability, learned from the bitext alone and from 300 known pairs. Prints the area under the ROC
curve and the precision where recall (of the right pairs that were mined) is .9, then the mean
distance of probability and truth over ten bins (expected calibration error), of both.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mining_pair import ENGLISH, KNOWN, others

from corpus.files import read_lines, write_lines
from corpus.languages import Direction
from corpus.records import read_bitext, write_bitext
from corpus.text import normalize
from mining.bitext.config import FilterConfig, ProbabilityConfig
from mining.bitext.filter import FilterInputs, run_filter
from mining.bitext.probability import ProbabilityInputs, run_probability
from mining.encoders import BUILTIN
from mining.encoders.embed_config import EmbedConfig
from mining.pair.config import PairConfig
from mining.pair.pair import PairInputs, run_pair
from mining.search.config import MineConfig

LANGUAGES = ("fra_Latn", "rus_Cyrl", "zho_Hans", "arb_Arab")
HIDDEN, ALTERED, OTHERS = 500, 150, 1200
Array = np.ndarray


def hide(data: Path, work: Path, language: str) -> set[tuple[str, str]]:
    """Write both files and the known pairs; return the hidden pairs."""
    texts = [read_lines(data / "ntrex128" / f"{code}.txt") for code in (ENGLISH, language)]
    order = list(range(len(texts[0])))
    random.Random(1).shuffle(order)
    hidden, known = order[:HIDDEN], order[HIDDEN : HIDDEN + KNOWN]
    changed = altered(texts[1], order[HIDDEN + KNOWN :])
    for side, code in enumerate((ENGLISH, language)):
        taken = set(texts[side])
        fresh = [line for line in others(data, code) if line not in taken]
        lines = [texts[side][row] for row in hidden] + fresh[:OTHERS]
        lines += list(changed.values()) if side else [texts[0][row] for row in changed]
        random.Random(side).shuffle(lines)
        write_lines(work / f"{code}.txt", lines)
    write_lines(work / "known.tsv", (f"{texts[0][row]}\t{texts[1][row]}" for row in known))
    return {(normalize(texts[0][row]), normalize(texts[1][row])) for row in hidden}


def altered(texts: Sequence[str], rows: Sequence[int]) -> dict[int, str]:
    """Return altered texts by row: half cut, half with other numbers."""
    counted = {row: re.sub(r"\d+", lambda m: str(int(m[0]) + 1), texts[row]) for row in rows}
    numbers = [row for row in rows if counted[row] != texts[row]][: ALTERED // 2]
    cut = [row for row in rows if row not in numbers][: ALTERED - len(numbers)]
    return {
        **{row: counted[row] for row in numbers},
        **{row: texts[row][: int(0.6 * len(texts[row]))] for row in cut},
    }


def mined_pairs(work: Path, language: str) -> Path:
    """Return the bitext that mining without threshold and filters gives."""
    path = work / f"{ENGLISH}-{language}.parquet"
    if not path.is_file():
        direction = Direction(ENGLISH, language)
        files = work / f"{ENGLISH}.txt", work / f"{language}.txt"
        config = PairConfig(
            mine=MineConfig(margin_threshold=0.0),
            embed=EmbedConfig(workers=1),
            filter=FilterConfig(
                max_length_ratio=1e6,
                max_overlap=1.0,
                min_script_share=0.0,
                min_number_agreement=0.0,
            ),
        )
        inputs = PairInputs(files=files, direction=direction, encoder=BUILTIN)
        run_pair(inputs, work / "all.parquet", config)
        write_bitext(path, read_bitext(work / "all.parquet"))
    return path


def measure(score: Array, is_right: Array) -> tuple[float, float]:
    """Return the area under the ROC curve, and the precision at a recall of .9."""
    order = np.argsort(-score, kind="stable")
    ranks = np.empty(len(score))
    values, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    del values
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    right, wrong = int(is_right.sum()), int((~is_right).sum())
    area = (ranks[is_right].sum() - right * (right + 1) / 2) / (right * wrong)
    found = np.cumsum(is_right[order])
    place = int(np.searchsorted(found, np.ceil(0.9 * right)))
    return float(area), float(found[place] / (place + 1))


def calibration_error(probability: Array, is_right: Array) -> float:
    """Return the mean distance of probability and share over ten bins, weighed by size."""
    bins = np.minimum((probability * 10).astype(int), 9)
    return float(
        sum(abs(probability[bins == b].sum() - is_right[bins == b].sum()) for b in range(10))
        / len(bins)
    )


def rank(data: Path, work: Path, language: str) -> list[str]:
    """Return the table's row of a language."""
    gold = hide(data, work, language)
    path = mined_pairs(work, language)
    table = read_bitext(path)
    pairs = list(
        zip(table.column("source").to_pylist(), table.column("target").to_pylist(), strict=True)
    )
    is_right = np.array([pair in gold for pair in pairs])
    margin = table.column("score").to_numpy()
    run_filter(
        path, work / "kept" / path.name, FilterInputs(), FilterConfig(), rejects=work / "no.parquet"
    )
    rejected = set(
        zip(
            *(read_bitext(work / "no.parquet").column(n).to_pylist() for n in ("source", "target")),
            strict=True,
        )
    )
    passes = np.array([pair not in rejected for pair in pairs])
    rows = {
        "rules": measure(passes.astype(float), is_right),
        "margin": measure(margin, is_right),
        "rules, then margin": measure(margin + 100 * passes, is_right),
    }
    cells = [f"{language} | {len(pairs)} | {int(is_right.sum())}"]
    errors = []
    for name, known in (("alone", None), ("known", work / "known.tsv")):
        output = work / name / path.name
        inputs = ProbabilityInputs(encoder=BUILTIN, known=known)
        run_probability(path, output, inputs, ProbabilityConfig())
        probability = read_bitext(output).column("probability").to_numpy()
        rows[f"learned {name}"] = measure(probability, is_right)
        errors.append(calibration_error(probability, is_right))
    cells += [f"{area:.4f}, {precision:.3f}" for area, precision in rows.values()]
    return [*cells, ", ".join(f"{error:.3f}" for error in errors)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Hide, mine, judge and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--language", action="append", default=[])
    given = parser.parse_args(arguments)
    print("| language | mined | right | rules | margin | both | learned | with known | error |")
    print("|---|" + "---|" * 8)
    for language in given.language or LANGUAGES:
        work = given.work / language
        print(f"| {' | '.join(rank(given.data.resolve(), work, language))} |", flush=True)


if __name__ == "__main__":
    main()
