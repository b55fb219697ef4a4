"""Compares mined pairs with known pairs: precision, recall and F1."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from corpus.errors import UserError
from corpus.languages import Direction, parse_direction
from corpus.records import (
    bitext_files,
    read_bitext,
    sentence_batches,
    sentence_shards,
)
from corpus.text import normalize
from mining.bitext.config import EvaluateConfig

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class MiningScores:
    """How well gold pairs were found."""

    mean_f1: float
    min_f1: float
    pairs: dict[str, dict[str, float]]
    """Per direction, what `score_pairs` returns."""

    def as_json(self) -> dict[str, object]:
        """Return plain JSON values."""
        return asdict(self)


def score_pairs(mined: set[Pair], gold: set[Pair]) -> dict[str, float]:
    """Return precision, recall and F1 of pairs, and the counts that they come from."""
    correct = len(mined & gold)
    precision = correct / len(mined) if mined else 0.0
    recall = correct / len(gold) if gold else 0.0
    total = precision + recall
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / total if total else 0.0,
        "mined": len(mined),
        "gold": len(gold),
        "correct": correct,
    }


def evaluate_mining(
    bitext: Path, gold: Path, sentences: Path | None = None, config: EvaluateConfig | None = None
) -> MiningScores:
    """Compare every gold file with the mined bitext of its language pair, in either direction.

    Args:
        bitext: Directory of mined bitext.
        gold: Directory of `<source>-<target>` pairs.
        sentences: Where given, `recall_limit` is the share of gold pairs of which both sentences
            were extracted: what mining could reach at best.
        config: How the bitexts are read; None for the defaults.

    Raises:
        UserError: If a directory holds no bitext, or gold pairs were not mined at all.
    """
    config = config or EvaluateConfig()
    mined_files = bitext_files(bitext)
    scores: dict[str, dict[str, float]] = {}
    gold_files = bitext_files(gold)
    if config.directions:
        wanted = {frozenset(parse_direction(text)) for text in config.directions}
        gold_files = {pair: path for pair, path in gold_files.items() if frozenset(pair) in wanted}
        if len(gold_files) < len(wanted):
            raise UserError(f"{gold} lacks bitext of one of {', '.join(config.directions)}")
    for direction, path in gold_files.items():
        gold_pairs = read_pairs(path, direction, config.gold_columns)
        if direction in mined_files:
            mined = read_pairs(mined_files[direction], direction, config.columns)
        elif direction.reverse in mined_files:
            back = direction.reverse
            mined = {
                (target, source)
                for source, target in read_pairs(mined_files[back], back, config.columns)
            }
        else:
            raise UserError(f"{bitext} holds no bitext of {direction}, which {path} has pairs of")
        scores[str(direction)] = score_pairs(mined, gold_pairs)
        if sentences is not None:
            scores[str(direction)]["recall_limit"] = _recall_limit(gold_pairs, direction, sentences)
    f1 = [score["f1"] for score in scores.values()]
    return MiningScores(mean_f1=sum(f1) / len(f1), min_f1=min(f1), pairs=scores)


def read_pairs(
    path: Path, direction: Direction | None = None, columns: Mapping[str, str] | None = None
) -> set[Pair]:
    """Return the normalized pairs of a bitext file; `columns` as `BitextReader` takes them."""
    table = read_bitext(path, columns, direction)
    return set(zip(_normalized(table, "source"), _normalized(table, "target"), strict=True))


def _normalized(table: pa.Table, name: str) -> list[str]:
    return [normalize(text) for text in table.column(name).to_pylist()]


def _recall_limit(pairs: set[Pair], direction: Direction, sentences: Path) -> float:
    source, target = (
        {
            normalize(text)
            for shard in sentence_shards(sentences, language)
            for batch in sentence_batches(shard, ["text"])
            for text in batch.column(0).to_pylist()
        }
        for language in direction
    )
    return sum(s in source and t in target for s, t in pairs) / len(pairs) if pairs else 0.0
