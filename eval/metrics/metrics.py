"""The metrics: which statistics they read, how they score them, how their numbers are signed."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from corpus.errors import UserError
from eval.metrics.formulas import Float64, bleu_scores, chrf_scores, ter_scores
from eval.metrics.measures import (
    ChrfMeasure,
    EditMeasure,
    Measure,
    PieceMeasure,
    Statistics,
    TokenMeasure,
    piece_tokenizer,
)

CHRF_PLUS_PLUS_WORD_ORDER = 2
_CHRF_COLUMNS, _CHRF_PLUS_PLUS_COLUMNS, _BLEU_COLUMNS, _TER_COLUMNS = 18, 24, 10, 2
_SHORT_HASH = 12
_DIGEST_BYTES = 16


class Metric(NamedTuple):
    """A score computed from a measure's statistics."""

    columns: int
    """How many of the measure's columns it reads, from the first."""

    score: Callable[[NDArray[Any]], Float64]
    """Scores of summed statistics, [..., columns] to [...]."""

    score_sentences: Callable[[NDArray[Any]], Float64]
    """Scores of single segments; BLEU leaves out orders that a sentence is too short for."""

    higher_is_better: bool = True


_KNOWN = {
    "spbleu": Metric(
        _BLEU_COLUMNS, bleu_scores, functools.partial(bleu_scores, effective_order=True)
    ),
    "chrf++": Metric(_CHRF_PLUS_PLUS_COLUMNS, chrf_scores, chrf_scores),
    "chrf": Metric(_CHRF_COLUMNS, chrf_scores, chrf_scores),
    "bleu": Metric(
        _BLEU_COLUMNS, bleu_scores, functools.partial(bleu_scores, effective_order=True)
    ),
    "ter": Metric(_TER_COLUMNS, ter_scores, ter_scores, higher_is_better=False),
}
METRICS = tuple(_KNOWN)


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


def find_metric(name: str) -> Metric:
    """Return the metric of a name that `parse_metrics` gave."""
    return _KNOWN[name]


@functools.lru_cache(maxsize=8)
def find_measure(metric: str, models: MetricModels) -> Measure:
    """Return what a metric's statistics are counted with; metrics that share it get one object."""
    if metric in ("chrf", "chrf++"):
        return _chrf_measure()
    if metric == "ter":
        return EditMeasure()
    if metric == "bleu":
        if models.bleu_tokenizer not in BLEU.TOKENIZERS:
            known = ", ".join(sorted(BLEU.TOKENIZERS))
            raise UserError(
                f"sacrebleu has no tokenizer `{models.bleu_tokenizer}`. Known: {known}."
            )
        return TokenMeasure(models.bleu_tokenizer)
    if models.spm is None:
        raise ValueError("spbleu needs a SentencePiece model")
    return PieceMeasure(piece_tokenizer(models.spm))


@functools.cache
def _chrf_measure() -> ChrfMeasure:
    return ChrfMeasure()


def sign(metric: str, models: MetricModels, references_digest: str) -> str:
    """Return sacrebleu's signature of a metric, then the hashes of SPM file and references."""
    peer = build_peer(metric, models)
    peer.num_refs = 1
    parts = [str(peer.get_signature())]
    if metric == "spbleu" and models.spm is not None:
        parts.append(f"spm:{piece_tokenizer(models.spm).sha256[:_SHORT_HASH]}")
    return "|".join([*parts, f"refs:{references_digest[:_SHORT_HASH]}"])


def without_references(signature: str) -> str:
    """Return a signature that `sign` gave, less the hash of the references."""
    return signature.split("|refs:")[0]


def digest_lines(lines: Sequence[str]) -> str:
    r"""Return the BLAKE2b-128 digest of lines, each ended by `\n`, in hex."""
    data = ("\n".join(lines) + "\n" if lines else "").encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()


def build_peer(metric: str, models: MetricModels) -> Any:
    """Return sacrebleu's own metric, for signatures and for checking against it.

    sacrebleu knows its SentencePiece models by name only. With our tokenizer where its own would
    be, everything after it is sacrebleu's code.
    """
    if metric == "chrf":
        return CHRF()
    if metric == "chrf++":
        return CHRF(word_order=CHRF_PLUS_PLUS_WORD_ORDER)
    if metric == "ter":
        return TER()
    if metric == "bleu":
        return BLEU(tokenize=models.bleu_tokenizer, force=True)
    if models.spm is None:
        raise ValueError("spbleu needs a SentencePiece model")
    peer = BLEU(tokenize="none", force=True)
    peer.tokenizer = piece_tokenizer(models.spm)
    peer.tokenizer_signature = peer.tokenizer.signature()
    return peer


class Scorer:
    """One metric with the references of one target language."""

    def __init__(self, metric: str, references: Sequence[str], models: MetricModels) -> None:
        """Keep the references; there must be at least one."""
        self._metric = find_metric(metric)
        self._measure = find_measure(metric, models)
        self._references = list(references)
        self._signature = sign(metric, models, digest_lines(references))

    def score(self, hypotheses: Sequence[str]) -> MetricScore:
        """Return the corpus score; there is one hypothesis per reference.

        Raises:
            ValueError: If the numbers differ, where sacrebleu would cut the longer one.
        """
        summed = self.statistics(hypotheses).sum(axis=0)
        return MetricScore(self.score_statistics(summed), self._signature)

    def score_sentences(self, hypotheses: Sequence[str]) -> Float64:
        """Return the score of each segment, [N]."""
        return self._metric.score_sentences(self.statistics(hypotheses))

    def statistics(self, hypotheses: Sequence[str]) -> Statistics:
        """Return sacrebleu's integer statistics of every segment, [N, S]."""
        counts = self._measure.count(self._references, [hypotheses])
        expanded = self._measure.expand(counts.hypotheses[0], counts.references)
        return expanded[:, : self._metric.columns]

    def score_statistics(self, summed: NDArray[Any]) -> float:
        """Return the corpus score of summed statistics, [S]."""
        return float(self._metric.score(np.asarray(summed)))


def score_chrf(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Return the corpus chrF++, 0 to 100; there is one hypothesis per reference."""
    return Scorer("chrf++", references, MetricModels()).score(hypotheses).value
