"""xsim: the share of sentences that find another's translation (Heffernan et al. 2022)."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from corpus.errors import UserError
from corpus.flores import read_split
from corpus.languages import Direction, check_language, parse_direction
from mining.embeddings import Float32
from mining.encoders import load_encoder
from mining.encoders.use_config import XsimConfig
from mining.search.config import Margin
from mining.search.index import nearest_neighbors
from mining.search.margin import best_candidates

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class XsimResult:
    """Errors in 0 to 1."""

    mean_error: float
    pairs: dict[str, float]
    """By direction."""

    def as_json(self) -> dict[str, object]:
        """Return plain JSON values."""
        return asdict(self)


def xsim_error(source: Float32, target: Float32, *, neighbors: int, margin: Margin) -> float:
    """Return the share of sources whose neighbor of highest margin is not their translation.

    Args:
        source: Unit vectors, [N, D].
        target: Unit vectors of their translations, row by row, [N, D].
        neighbors: k of the margin.
        margin: Which margin.
    """
    forward = nearest_neighbors(source, target, neighbors=neighbors)
    backward = nearest_neighbors(target, source, neighbors=neighbors)
    found, _ = best_candidates(
        forward, forward.cosines.mean(axis=1), backward.cosines.mean(axis=1), margin
    )
    return float((found != np.arange(len(source))).mean())


def measure_xsim(encoder: Path, flores: Path, split: str, config: XsimConfig) -> XsimResult:
    """Return the error of each direction, and their mean.

    Raises:
        UserError: If encoder, split or a language is missing.
    """
    loaded = load_encoder(encoder, threads=config.threads)
    asked = [parse_direction(direction) for direction in config.directions]
    wanted = {language for direction in asked for language in direction} or set(config.languages)
    texts = read_split(flores, split, sorted(wanted) or None)
    directions = asked or pivot_directions(texts, config.pivot)
    if not directions:
        raise UserError(f"{flores} has one language in `{split}`; xsim needs two")
    vectors = {language: loaded.encode(lines) for language, lines in texts.items()}
    errors = {
        str(direction): xsim_error(
            vectors[direction.source],
            vectors[direction.target],
            neighbors=config.neighbors,
            margin=config.margin,
        )
        for direction in directions
    }
    return XsimResult(mean_error=sum(errors.values()) / len(errors), pairs=errors)


def pivot_directions(texts: Mapping[str, object], pivot: str) -> list[Direction]:
    """Return every language into the pivot; into the first language where the pivot is missing."""
    check_language(pivot)
    chosen = pivot if pivot in texts else min(texts)
    if chosen != pivot:
        logger.info("no %s among the languages: measuring against %s", pivot, chosen)
    return [Direction(language, chosen) for language in sorted(texts) if language != chosen]
