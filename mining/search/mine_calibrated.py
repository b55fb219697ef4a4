"""Mining with planted known pairs: the pairs, the threshold, and their expected precision."""

import functools
import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from corpus.errors import DataError
from corpus.files import write_json
from mining.search.calibrate import (
    Calibration,
    as_json,
    calibrate,
    calibrate_by_mutual,
    histogram,
    merge_neighbors,
)
from mining.search.config import Margin, MineConfig
from mining.search.decoys import second_choices
from mining.search.known_pairs import Known
from mining.search.margin import Neighbors, Pairs, select_pairs
from mining.search.neighbors import Found, as_vectors, find_neighbors
from mining.search.planted_scores import (
    PlantedScores,
    join_planted_scores,
    planted_scores_of,
)
from mining.search.vectors import Vectors, scratch_array

logger = logging.getLogger(__name__)

_NEUTRAL: dict[Margin, float] = {"ratio": 1.0, "distance": 0.0, "absolute": -1.0}
"""Margins of pairs that are no closer than their neighborhoods."""

_ROWS = 1 << 16
_CORPUS_PER_PLANT = 20
"""Corpus sentences for each one planted: more plants at once would crowd the space and compete with
each other, and what a sentence meets there would not be what it meets in the corpus."""


class Mined(NamedTuple):
    """The result of mining."""

    pairs: Pairs
    """Best first, those below the threshold too."""

    threshold: float
    plan: str
    """`exact` or `index`"""

    planted_scores: PlantedScores | None = None
    calibration: Calibration | None = None


def calibration_file(bitext: Path) -> Path:
    """Return where the calibration of a bitext file lies: `<source>-<target>.calibration.json`."""
    return bitext.with_name(f"{bitext.name.split('.')[0]}.calibration.json")


def mine_calibrated(
    source: Vectors,
    target: Vectors,
    known: Known | None,
    config: MineConfig,
    scratch: Path | None = None,
    index: Path | None = None,
    corpus: Found | None = None,
) -> Mined:
    """Mine two languages, and calibrate thresholds unless one is given without known pairs.

    Plants change nothing in the pairs: neighbors among the corpus and among the plants are found
    apart, and put together only to see what the plants would be paired with.

    Args:
        source: [N, D]
        target: [M, D]
        known: Pairs to plant; without them, and without a threshold, the corpus's most mutual
            pairs are what is calibrated with.
        config: How pairs are found, scored and kept.
        scratch: A folder for what is kept of every sentence.
        index: The shared index, to be searched instead of everything.
        corpus: The neighbors of both sides, if they are known already.

    Raises:
        DataError: If widths differ, or no threshold reaches the target precision.
    """
    if known is not None and known.source.shape[1] != source.matrix.shape[1]:
        raise DataError(
            f"known pairs have {known.source.shape[1]} columns and the corpus"
            f" {source.matrix.shape[1]}; embed both with one encoder"
        )
    corpus = corpus or find_neighbors(source, target, config, scratch, index)
    pairs = select_pairs(*corpus, config.margin, config.retrieval)
    plan = "exact" if index is None else "index"
    if known is None and config.margin_threshold is not None and config.target_precision is None:
        return Mined(pairs, config.margin_threshold, plan)
    sizes = len(source.matrix), len(target.matrix)
    second = second_choices(*corpus, pairs, config.margin, config.retrieval)
    if known is not None:
        planted_scores = _plant(source, target, known, corpus, config, scratch, index)
        calibration = calibrate(
            pairs.score, second.score, planted_scores, known.planted, sizes, config.retrieval
        )
        return Mined(pairs, _threshold(calibration, config), plan, planted_scores, calibration)
    mutual = select_pairs(*corpus, config.margin, "intersect")
    by_mutual = calibrate_by_mutual(pairs.score, second, mutual, sizes, config.retrieval)
    if by_mutual is None:
        few = f"{sizes[0]:,} and {sizes[1]:,} sentences are too few to calibrate a threshold with"
        if config.target_precision is not None:
            raise DataError(f"{few}; give known pairs, or `margin_threshold`, not a precision")
        logger.warning(
            "%s: pairs that are closer than their neighborhoods are kept, right or wrong; give"
            " known pairs, or `margin_threshold`",
            few,
        )
        return Mined(pairs, _NEUTRAL[config.margin], plan)
    return Mined(pairs, _threshold(by_mutual, config), plan, calibration=by_mutual)


def _threshold(calibration: Calibration, config: MineConfig) -> float:
    if config.target_precision is not None:
        return calibration.threshold_for(config.target_precision)
    if config.margin_threshold is not None:
        return config.margin_threshold
    return calibration.best_threshold()


def _plant(
    source: Vectors,
    target: Vectors,
    known: Known,
    corpus: Found,
    config: MineConfig,
    scratch: Path | None,
    index: Path | None,
) -> PlantedScores:
    """Plant the known pairs, few at a time, and collect the margins they get."""
    sizes = len(source.matrix), len(target.matrix)
    parts = []
    for part in known.divide(max(1, min(sizes) // _CORPUS_PER_PLANT)):
        found = _search_planted(source, target, part, corpus, config, scratch, index)
        pairs = select_pairs(*found, config.margin, config.retrieval)
        second = second_choices(*found, pairs, config.margin, config.retrieval)
        parts.append(planted_scores_of(pairs, second, *sizes, part.planted))
    return join_planted_scores(parts)


def _search_planted(
    source: Vectors,
    target: Vectors,
    known: Known,
    corpus: Found,
    config: MineConfig,
    scratch: Path | None,
    index: Path | None,
) -> Found:
    """Return the neighbors in the corpus with the plants behind it."""
    plants = [as_vectors(side, config, "known pairs") for side in (known.source, known.target)]
    find = functools.partial(find_neighbors, config=config, scratch=scratch)
    lower_left, upper_right = find(plants[0], target), find(source, plants[1])
    corner = find(plants[0], plants[1])
    if index is not None:
        # What the index misses for the corpus it shall miss for the plants.
        lower_left = Found(find(plants[0], target, index=index).forward, lower_left.backward)
    sources, targets = len(source.matrix), len(target.matrix)
    return Found(
        _stack(
            (corpus.forward, upper_right.forward),
            (lower_left.forward, corner.forward),
            targets,
            config.neighbors,
            scratch,
        ),
        _stack(
            (corpus.backward, lower_left.backward),
            (upper_right.backward, corner.backward),
            sources,
            config.neighbors,
            scratch,
        ),
    )


def _stack(
    corpus: tuple[Neighbors, Neighbors],
    plants: tuple[Neighbors, Neighbors],
    offset: int,
    most: int,
    scratch: Path | None,
) -> Neighbors:
    """Merge each pair of neighbor sets, the second of ids from `offset` on; one below the other."""
    count = min(most, sum(part.ids.shape[1] for part in corpus))
    sizes = [len(upper.ids) for upper, _ in (corpus, plants)]
    stacked = Neighbors(
        scratch_array((sum(sizes), count), np.int64, scratch),
        scratch_array((sum(sizes), count), np.float32, scratch),
    )
    for (first, second), start in ((corpus, 0), (plants, sizes[0])):
        for row in range(0, len(first.ids), _ROWS):
            own = slice(row, row + _ROWS)
            merged = merge_neighbors(
                Neighbors(first.ids[own], first.cosines[own]),
                Neighbors(second.ids[own], second.cosines[own]),
                offset,
                count,
            )
            into = slice(start + row, start + row + len(merged.ids))
            stacked.ids[into], stacked.cosines[into] = merged
    return stacked


def write_calibration(path: Path, mined: Mined, facts: dict[str, Any], config: MineConfig) -> None:
    """Write what was expected of a bitext, as JSON; see docs/formats.md."""
    write_json(
        path,
        {
            **facts,
            "margin": config.margin,
            "retrieval": config.retrieval,
            "neighbors": config.neighbors,
            "plan": mined.plan,
            "target_precision": config.target_precision,
            "threshold": round(mined.threshold, 6),
            **as_json(mined.calibration, mined.threshold),
            "histogram": histogram(mined.pairs.score, mined.planted_scores),
        },
    )
