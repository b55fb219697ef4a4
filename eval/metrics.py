"""The metrics, computed by sacrebleu: corpus scores, signatures, statistics per segment."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from corpus.errors import UserError
from eval.spm import PieceTokenizer

METRICS = ("spbleu", "chrf++", "chrf", "bleu")
CHRF_PLUS_PLUS_WORD_ORDER = 2


class MetricScore(NamedTuple):
    """A corpus score on the scale 0-100, unrounded, and how it was made."""

    value: float
    signature: str


@dataclass(frozen=True, kw_only=True)
class MetricModels:
    """What metrics need beside the text; hashable, so that loaded models are kept."""

    spm: Path | None = None
    bleu_tokenizer: str = "13a"


def parse_metrics(text: str) -> list[str]:
    """Return the metrics written as `spbleu,chrf++`, in order, each once.

    Raises:
        UserError: For a name that is no metric.
    """
    names = list(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in METRICS:
            raise UserError(f"`{name}` is not a metric. Known: {', '.join(METRICS)}.")
    if not names:
        raise UserError(f"--metrics names none. Known: {', '.join(METRICS)}.")
    return names


class Scorer:
    """One metric with the references of one target language, counted once."""

    def __init__(self, metric: str, references: Sequence[str], models: MetricModels) -> None:
        """Count the references' n-grams; there must be at least one reference."""
        self._metric = _build_metric(metric, references, models)
        self._size = len(references)

    def score(self, hypotheses: Sequence[str]) -> MetricScore:
        """Return sacrebleu's corpus score; there is one hypothesis per reference.

        Raises:
            ValueError: If the numbers differ, where sacrebleu would cut the longer one.
        """
        self._check(hypotheses)
        value = float(self._metric.corpus_score(list(hypotheses), None).score)
        return MetricScore(value, str(self._metric.get_signature()))

    def statistics(self, hypotheses: Sequence[str]) -> NDArray[np.int64]:
        """Return sacrebleu's integer statistics of every segment, [N, S]."""
        self._check(hypotheses)
        rows = self._metric._extract_corpus_statistics(list(hypotheses), None)
        return np.asarray(rows, dtype=np.int64)

    def score_statistics(self, summed: NDArray[np.int64]) -> float:
        """Return the corpus score of summed statistics, [S]."""
        return float(self._metric._compute_score_from_stats(summed.tolist()).score)

    def _check(self, hypotheses: Sequence[str]) -> None:
        if len(hypotheses) != self._size:
            raise ValueError(f"{len(hypotheses)} hypotheses for {self._size} references")


def _build_metric(metric: str, references: Sequence[str], models: MetricModels) -> Any:
    if metric == "chrf":
        return CHRF(references=[references])
    if metric == "chrf++":
        return CHRF(word_order=CHRF_PLUS_PLUS_WORD_ORDER, references=[references])
    if metric == "bleu":
        # `force` only silences the guess that text is tokenized; scores are the same.
        return BLEU(tokenize=models.bleu_tokenizer, force=True, references=[references])
    if models.spm is None:
        raise ValueError("spbleu needs a SentencePiece model")
    return _spbleu(references, _piece_tokenizer(models.spm))


def _spbleu(references: Sequence[str], tokenizer: PieceTokenizer) -> BLEU:
    """Return sacrebleu's BLEU with the tokenizer put where its own would be.

    sacrebleu knows its SentencePiece models by name only; with the tokenizer in place everything
    after it, the signature included, is sacrebleu's code.
    """
    metric = BLEU(tokenize="none", force=True)
    metric.tokenizer = tokenizer
    metric.tokenizer_signature = tokenizer.signature()
    metric._ref_cache = metric._cache_references([references])
    return metric


@functools.lru_cache(maxsize=4)
def _piece_tokenizer(path: Path) -> PieceTokenizer:
    return PieceTokenizer(path)
