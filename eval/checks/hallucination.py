"""Signs that a translation is detached from its source, without any model.

A line repeats where its commonest word 4-gram comes at least twice more often than the commonest
of its source (TNG: Guerreiro et al. 2023, after Raunak et al. 2021). It is too long or too short by
the z-score of log(length / source length) among the references, and compressed where it compresses
as no reference of the language does. It is a copy where it equals its source though the reference
does not, and shared where other sources, with other references, got the same output. The same signs
on the references say how often they err.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zstandard
from numpy.typing import NDArray

from corpus.files import write_json
from corpus.languages import Direction, script_of
from corpus.text import UNSPACED_SCRIPTS, sentence_key
from eval.checks.batches import Batch, found_by_direction, mean, rate, read_text, run_batches
from eval.checks.config import HallucinationConfig
from eval.tables import write_table

CHECK = "hallucination"
SIGNS = ("repeated", "too_long", "too_short", "compressed", "copied", "shared")
"""In the order of the columns; an empty line has none of them and is counted by itself."""

LINE_COLUMNS = ("system", "direction", "line", "signs")
_MIN_DEVIATION = 0.1
"""Of log ratios: a test set whose lines are all alike says little about how lines differ."""
_COMPRESSOR = zstandard.ZstdCompressor(level=1)
"""Kept, as making one costs more than a line. Ratios are compared with the references' only."""

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Hallucination(NamedTuple):
    """A direction of a system."""

    system: str
    direction: Direction
    n: int
    empty: int
    repeated: int
    too_long: int
    too_short: int
    compressed: int
    copied: int
    shared: int
    suspect: int
    """Lines with any sign, empty ones included."""
    suspect_rate: float | None
    reference_rate: float | None


class Features(NamedTuple):
    """Features of a text, line by line."""

    keys: list[str]
    """`corpus.text.sentence_key`."""
    lengths: Floats
    """Characters."""
    repeats: NDArray[np.int64]
    """How often the commonest n-gram occurs."""
    ratios: Floats
    """log(bytes / compressed bytes)."""


def measure_hallucination(
    batches: Sequence[Batch], output: Path, config: HallucinationConfig, workers: int
) -> list[Hallucination]:
    """Find the signs in all hypotheses; write hallucination*.tsv and hallucination.json.

    Raises:
        DataError: If hypotheses and references differ in length.
    """
    _features.cache_clear()
    results = run_batches(
        CHECK,
        batches,
        functools.partial(_look, config=config),
        output=output,
        config=config,
        workers=workers,
        more_inputs=lambda batch: [batch.text(source) for source in batch.sources],
    )
    rows = []
    lines = []
    for batch, direction, found, _ in found_by_direction(batches, results):
        rows.append(Hallucination(batch.system, direction, **found["counts"]))
        lines += [(batch.system, direction, line, signs) for line, signs in found["lines"]]
    write_table(output / "hallucination.tsv", Hallucination._fields, rows)
    write_table(output / "hallucination_lines.tsv", LINE_COLUMNS, lines)
    write_json(output / "hallucination.json", summarize_hallucination(rows))
    return rows


def text_features(lines: Sequence[str], language: str, config: HallucinationConfig) -> Features:
    """Return the features of the lines of a language."""
    is_unspaced = script_of(language) in UNSPACED_SCRIPTS
    size = config.repeated_characters if is_unspaced else config.repeated_words
    return Features(
        keys=[sentence_key(line) for line in lines],
        lengths=np.array([len(line.strip()) for line in lines], dtype=np.float64),
        repeats=np.array([_repeats(line if is_unspaced else line.split(), size) for line in lines]),
        ratios=np.array([_compression(line) for line in lines]),
    )


def find_signs(
    hypotheses: Features, sources: Features, references: Features, config: HallucinationConfig
) -> dict[str, Bools]:
    """Return for each sign which lines have it; the features are of equally many lines."""
    there = hypotheses.lengths > 0
    usual = _log_ratio(references.lengths, sources.lengths)
    length = _z_scores(_log_ratio(hypotheses.lengths, sources.lengths), usual)
    ratio = _z_scores(hypotheses.ratios, references.ratios[references.lengths > 0])
    copied, shared = _equal_lines(hypotheses.keys, sources.keys, references.keys)
    return {
        "repeated": there & (hypotheses.repeats - sources.repeats >= config.repetitions),
        "too_long": there & (length > config.length_z),
        "too_short": there & (length < -config.length_z),
        "compressed": there & (ratio > config.compression_z),
        "copied": copied,
        "shared": shared,
    }


def _repeats(units: Sequence[str], size: int) -> int:
    """Return how often the commonest sequence of `size` words or characters occurs; at least 1."""
    grams: list[str] | list[tuple[str, ...]]
    if isinstance(units, str):  # slices of text cost a third of tuples of its characters
        grams = [units[start : start + size] for start in range(len(units) - size + 1)]
    else:
        grams = list(zip(*(units[start:] for start in range(size)), strict=False))
    if len(set(grams)) == len(grams):
        return 1
    return max(Counter(grams).values())


def _compression(line: str) -> float:
    data = line.strip().encode("utf-8", "replace")
    return float(np.log(len(data) / len(_COMPRESSOR.compress(data)))) if data else 0.0


def _log_ratio(lengths: Floats, source_lengths: Floats) -> Floats:
    """Return log(length / source length) of each line; NaN where one is empty."""
    ratio = np.full(len(lengths), np.nan)
    there = (lengths > 0) & (source_lengths > 0)
    ratio[there] = np.log(lengths[there] / source_lengths[there])
    return ratio


def _z_scores(values: Floats, usual: Floats) -> Floats:
    """Return how many standard deviations values lie from what is usual; NaN stays NaN."""
    known = usual[~np.isnan(usual)]
    if not len(known):
        return np.full(len(values), np.nan)
    return np.asarray((values - known.mean()) / max(float(known.std()), _MIN_DEVIATION))


def _equal_lines(
    hypotheses: Sequence[str], sources: Sequence[str], references: Sequence[str]
) -> tuple[Bools, Bools]:
    """Return which lines copy their source and which share one output with other sources."""
    rows = list(zip(hypotheses, sources, references, strict=True))
    copied = np.array([bool(h) and h == s != r for h, s, r in rows], dtype=np.bool_)
    kinds: dict[str, tuple[set[str], set[str]]] = {}
    for hypothesis, source, reference in rows:
        group = kinds.setdefault(hypothesis, (set(), set()))
        group[0].add(source)
        group[1].add(reference)
    odd = {h for h, (own, gold) in kinds.items() if h and len(own) > 1 and len(gold) > 1}
    return copied, np.array([h in odd for h in hypotheses], dtype=np.bool_)


@functools.lru_cache(maxsize=256)
def _features(path: Path, language: str, config: HallucinationConfig) -> Features:
    return text_features(read_text(path), language, config)


def _look(batch: Batch, *, config: HallucinationConfig) -> dict[str, Any]:
    """Check one batch; return counts and suspect lines of each direction."""
    references = _features(batch.references, batch.target, config)
    directions = []
    for index, source in enumerate(batch.sources):
        sources = _features(batch.text(source), source, config)
        hypotheses = text_features(batch.read(index), batch.target, config)
        signs = find_signs(hypotheses, sources, references, config)
        empty = (hypotheses.lengths == 0) & (sources.lengths > 0)
        suspect = np.logical_or.reduce([*signs.values(), empty])
        floor = np.logical_or.reduce(
            list(find_signs(references, sources, references, config).values())
        )
        n = len(suspect)
        directions.append(
            {
                "counts": {
                    "n": n,
                    "empty": int(empty.sum()),
                    **{name: int(signs[name].sum()) for name in SIGNS},
                    "suspect": int(suspect.sum()),
                    "suspect_rate": rate(int(suspect.sum()), n),
                    "reference_rate": rate(int(floor.sum()), n),
                },
                "lines": [
                    (line + 1, _names(signs, bool(empty[line]), line))
                    for line in np.flatnonzero(suspect).tolist()
                ],
            }
        )
    return {"directions": directions}


def _names(signs: dict[str, Bools], is_empty: bool, line: int) -> str:
    names = ["empty"] if is_empty else []
    return " ".join([*names, *(name for name in SIGNS if signs[name][line])])


def summarize_hallucination(rows: Sequence[Hallucination]) -> dict[str, Any]:
    """Return means over directions by system, and into each language."""
    summary = {}
    for system in sorted({row.system for row in rows}):
        own = [row for row in rows if row.system == system]
        summary[system] = {
            "suspect_rate": mean([row.suspect_rate for row in own]),
            "reference_rate": mean([row.reference_rate for row in own]),
            **{
                f"{name}_rate": mean([rate(getattr(row, name), row.n) for row in own])
                for name in ("empty", *SIGNS)
            },
            "into": {
                target: mean([row.suspect_rate for row in own if row.direction.target == target])
                for target in sorted({row.direction.target for row in own})
            },
        }
    return summary
