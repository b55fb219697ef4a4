"""Mining with known pairs planted: the pairs, the threshold, and what to expect of them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from corpus.errors import DataError
from corpus.files import write_json
from mining.search.calibrate import (
    Calibration,
    Verdicts,
    as_json,
    calibrate,
    histogram,
    join_verdicts,
    judge,
    merge_neighbors,
)
from mining.search.config import MineConfig
from mining.search.index import nearest_neighbors
from mining.search.known import Known
from mining.search.margin import Float32, Neighbors, Pairs, select_pairs

_CORPUS_PER_PLANT = 20
"""Corpus sentences for each one planted: more plants at once would crowd the space and compete with
each other, and what a sentence meets there would not be what it meets in the corpus."""


class Mined(NamedTuple):
    """What mining found."""

    pairs: Pairs
    """Best first, those below the threshold too."""

    threshold: float
    verdicts: Verdicts | None
    calibration: Calibration | None


class _Found(NamedTuple):
    """Neighbors in both directions."""

    forward: Neighbors
    backward: Neighbors


def calibration_file(bitext: Path) -> Path:
    """Return where the calibration of a bitext file lies: `<source>-<target>.calibration.json`."""
    return bitext.with_name(f"{bitext.name.split('.')[0]}.calibration.json")


def mine_calibrated(
    source: Float32, target: Float32, known: Known | None, config: MineConfig
) -> Mined:
    """Mine two sets of unit vectors; with known pairs, measure what thresholds are worth.

    Plants change nothing in the pairs: neighbors among the corpus and among the plants are found
    apart, and put together only to see what the plants would be paired with.

    Args:
        source: [N, D]
        target: [M, D]
        known: Pairs to plant.
        config: How pairs are found, scored and kept.

    Raises:
        DataError: If widths differ, or no threshold reaches the target precision.
    """
    _check_widths(source, target, known)
    corpus = _search(source, target, config)
    pairs = select_pairs(*corpus, config.margin, config.retrieval)
    if known is None:
        return Mined(pairs, config.margin_threshold, None, None)
    verdicts = _plant(source, target, known, corpus, config)
    calibration = calibrate(
        pairs.score, verdicts, known.planted, len(source), len(target), config.retrieval
    )
    threshold = config.margin_threshold
    if config.target_precision is not None:
        threshold = calibration.threshold_for(config.target_precision)
    return Mined(pairs, threshold, verdicts, calibration)


def _check_widths(source: Float32, target: Float32, known: Known | None) -> None:
    if source.shape[1] != target.shape[1]:
        raise DataError(
            f"source embeddings have {source.shape[1]} columns and target embeddings"
            f" {target.shape[1]}; embed both with one encoder"
        )
    if known is not None and known.source.shape[1] != source.shape[1]:
        raise DataError(
            f"known pairs have {known.source.shape[1]} columns and the corpus {source.shape[1]};"
            " embed both with one encoder"
        )


def _search(source: Float32, target: Float32, config: MineConfig) -> _Found:
    forward, backward = (
        nearest_neighbors(
            queries, candidates, neighbors=config.neighbors, block_size=config.block_size,
            threads=config.threads,
        )
        for queries, candidates in ((source, target), (target, source))
    )  # fmt: skip
    return _Found(forward, backward)


def _plant(
    source: Float32, target: Float32, known: Known, corpus: _Found, config: MineConfig
) -> Verdicts:
    """Plant the known pairs, few at a time, and judge what they are paired with."""
    most = max(1, min(len(source), len(target)) // _CORPUS_PER_PLANT)
    parts = []
    for part in known.divide(most):
        found = _search_planted(source, target, part, corpus, config)
        pairs = select_pairs(*found, config.margin, config.retrieval)
        parts.append(judge(pairs, len(source), len(target), part.planted))
    return join_verdicts(parts)


def _search_planted(
    source: Float32, target: Float32, known: Known, corpus: _Found, config: MineConfig
) -> _Found:
    """Return the neighbors in the corpus with the plants behind it."""
    plants = known.source.astype(np.float32), known.target.astype(np.float32)
    lower_left = _search(plants[0], target, config)
    upper_right = _search(source, plants[1], config)
    corner = _search(plants[0], plants[1], config)
    k = config.neighbors
    sources, targets = len(source), len(target)

    def stack(first: Neighbors, second: Neighbors) -> Neighbors:
        return Neighbors(
            np.concatenate([first.ids, second.ids]), np.concatenate([first.cosines, second.cosines])
        )

    return _Found(
        stack(
            merge_neighbors(corpus.forward, upper_right.forward, targets, k),
            merge_neighbors(lower_left.forward, corner.forward, targets, k),
        ),
        stack(
            merge_neighbors(corpus.backward, lower_left.backward, sources, k),
            merge_neighbors(upper_right.backward, corner.backward, sources, k),
        ),
    )


def write_calibration(path: Path, mined: Mined, facts: dict[str, Any], config: MineConfig) -> None:
    """Write what was expected of a bitext, as JSON; see docs/formats.md."""
    write_json(
        path,
        {
            **facts,
            "margin": config.margin,
            "retrieval": config.retrieval,
            "neighbors": config.neighbors,
            "target_precision": config.target_precision,
            "threshold": round(mined.threshold, 6),
            **as_json(mined.calibration, mined.threshold),
            "histogram": histogram(mined.pairs.score, mined.verdicts),
        },
    )
