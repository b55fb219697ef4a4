"""xsim and xsim++: the share of sentences matched with a wrong translation.

xsim: Heffernan, Çelebi and Schwenk 2022, section 4. xsim++, where altered sentences stand among the
candidates: Chen et al. 2023.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from corpus.errors import UserError
from corpus.flores import read_split
from corpus.languages import Direction, check_language, parse_direction
from mining.embeddings import Float32, Int64
from mining.encoders import Encoder, encoder_space, load_encoder
from mining.encoders.embed_config import XsimConfig
from mining.encoders.xsim_plus_plus import ENGLISH, Altered, alter_sentences
from mining.search.config import Margin
from mining.search.flat import nearest_neighbors
from mining.search.margin import best_candidates

logger = logging.getLogger(__name__)

MISALIGNED = "misaligned"
"""The kind of an error whose match is another sentence of the set, not an altered one."""


@dataclass(frozen=True, kw_only=True)
class HardResult:
    """xsim++ into English. Errors in 0 to 1."""

    mean_error: float
    pairs: dict[str, float]
    """By direction."""

    kinds: dict[str, dict[str, float]]
    """By direction and kind of what was found instead; they add up to the error."""

    altered: dict[str, int]
    """Altered sentences by kind."""


@dataclass(frozen=True, kw_only=True)
class XsimResult:
    """Errors in 0 to 1."""

    mean_error: float
    pairs: dict[str, float]
    """By direction."""

    hard: HardResult | None = None
    """xsim++, where it was asked for."""

    def as_json(self) -> dict[str, object]:
        """Return plain JSON values."""
        values = asdict(self)
        if self.hard is None:
            del values["hard"]
        return values


def find_translations(source: Float32, target: Float32, *, neighbors: int, margin: Margin) -> Int64:
    """Return the row of `target` that has the highest margin with each source.

    Args:
        source: Unit vectors, [N, D].
        target: Unit vectors, [M, D].
        neighbors: k of the margin.
        margin: Which margin.
    """
    forward = nearest_neighbors(source, target, neighbors=neighbors)
    backward = nearest_neighbors(target, source, neighbors=neighbors)
    found, _ = best_candidates(
        forward, forward.cosines.mean(axis=1), backward.cosines.mean(axis=1), margin
    )
    return found


def xsim_error(source: Float32, target: Float32, *, neighbors: int, margin: Margin) -> float:
    """Return the share of sources whose neighbor of highest margin is not their translation.

    Args:
        source: Unit vectors, [N, D].
        target: Unit vectors of their translations, row by row, then of others, [N or more, D].
        neighbors: k of the margin.
        margin: Which margin.
    """
    found = find_translations(source, target, neighbors=neighbors, margin=margin)
    return float((found != np.arange(len(source))).mean())


def measure_xsim(encoder: Path, flores: Path, split: str, config: XsimConfig) -> XsimResult:
    """Return the error of each direction, and their mean.

    Raises:
        UserError: If encoder, split or a language is missing, an encoder is of another space, or
            xsim++ is asked for and no direction is into English.
    """
    asked = [parse_direction(direction) for direction in config.directions]
    wanted = {language for direction in asked for language in direction} or set(config.languages)
    texts = read_split(flores, split, sorted(wanted) or None)
    directions = asked or pivot_directions(texts, config.pivot)
    if not directions:
        raise UserError(f"{flores} has one language in `{split}`; xsim needs two")
    into_english = [str(one) for one in directions if one.target == ENGLISH]
    if config.hard_negatives and not into_english:
        raise UserError(f"xsim++ alters sentences of `{ENGLISH}`, and no direction is into it")
    encoders = _load_encoders(encoder, config, texts)
    vectors = {
        language: encoders[language].encode(lines, language) for language, lines in texts.items()
    }
    errors = {
        str(direction): xsim_error(
            vectors[direction.source],
            vectors[direction.target],
            neighbors=config.neighbors,
            margin=config.margin,
        )
        for direction in directions
    }
    hard = None
    if config.hard_negatives:
        altered = alter_sentences(texts[ENGLISH])
        candidates = encoders[ENGLISH].encode([one.text for one in altered], ENGLISH)
        sources = {one: vectors[parse_direction(one).source] for one in into_english}
        hard = _measure_hard(sources, vectors[ENGLISH], candidates, altered, config)
    return XsimResult(mean_error=_mean(errors), pairs=errors, hard=hard)


def _load_encoders(
    encoder: Path, config: XsimConfig, texts: Mapping[str, object]
) -> dict[str, Encoder]:
    """Return the encoder of each language: its own, or the one that is measured."""
    space = encoder_space(encoder)
    paths = {language: config.encoders.get(language, encoder) for language in texts}
    unused = sorted(set(config.encoders) - set(texts))
    if unused:
        raise UserError(f"`encoders` has `{unused[0]}`, which is not measured")
    for language, path in paths.items():
        if encoder_space(path) != space:
            raise UserError(
                f"the encoder of `{language}`, {path}, has its vectors in another space than"
                f" {encoder}; distill it from {encoder}, or from the same teacher"
            )
    loaded = {
        path: load_encoder(path, threads=config.threads, device=config.device)
        for path in dict.fromkeys(paths.values())
    }
    return {language: loaded[path] for language, path in paths.items()}


def _measure_hard(
    sources: Mapping[str, Float32],
    english: Float32,
    candidates: Float32,
    altered: Sequence[Altered],
    config: XsimConfig,
) -> HardResult:
    target = np.concatenate([english, candidates])
    kinds = [MISALIGNED] * len(english) + [one.kind for one in altered]
    pairs, by_kind = {}, {}
    for direction, source in sources.items():
        found = find_translations(source, target, neighbors=config.neighbors, margin=config.margin)
        wrong = found[found != np.arange(len(source))].tolist()
        counts = Counter(kinds[row] for row in wrong)
        pairs[direction] = len(wrong) / len(source)
        by_kind[direction] = {kind: counts[kind] / len(source) for kind in sorted(set(kinds))}
    return HardResult(
        mean_error=_mean(pairs),
        pairs=pairs,
        kinds=by_kind,
        altered=dict(sorted(Counter(one.kind for one in altered).items())),
    )


def _mean(errors: Mapping[str, float]) -> float:
    return sum(errors.values()) / len(errors)


def pivot_directions(texts: Mapping[str, object], pivot: str) -> list[Direction]:
    """Return every language into the pivot; into the first language where the pivot is missing."""
    check_language(pivot)
    chosen = pivot if pivot in texts else min(texts)
    if chosen != pivot:
        logger.info("no %s among the languages: measuring against %s", pivot, chosen)
    return [Direction(language, chosen) for language in sorted(texts) if language != chosen]
