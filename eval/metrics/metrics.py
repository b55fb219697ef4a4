"""The metrics: a row of one table each, from which scoring, checks and signatures come.

To add a metric, add its row here (with its way to count in `eval.metrics.measures` and its formula
in `eval.metrics.formulas`, where these are new), its test, and its line in the guide.
"""

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
    PeerMeasure,
    PieceMeasure,
    Statistics,
    TokenMeasure,
    piece_tokenizer,
)
from eval.metrics.tokenizers import check_tokenizer, choose_tokenizer

_SHORT_HASH = 12
_DIGEST_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class MetricModels:
    """What metrics need beside the text; hashable, so that loaded models are kept."""

    spm: Path | None = None
    """SentencePiece model of spBLEU."""
    bleu_tokenizer: str | None = None
    """sacrebleu's tokenizer for BLEU; None for that of each target language."""

    def tokenizer(self, target: str) -> str:
        """Return BLEU's tokenizer for a target language."""
        return choose_tokenizer(self.bleu_tokenizer, target)

    def pieces(self) -> Path:
        """Return the SentencePiece model.

        Raises:
            ValueError: If there is none.
        """
        if self.spm is None:
            raise ValueError("spbleu needs a SentencePiece model")
        return self.spm


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score computed from a measure's statistics."""

    measure: Callable[[MetricModels, str], Measure]
    """How segments are counted, by models and target language."""

    columns: int
    """How many of the measure's columns the score reads, from the first."""

    score: Callable[[NDArray[Any]], Float64]
    """Scores of summed statistics, [..., columns] to [...]."""

    score_sentences: Callable[[NDArray[Any]], Float64]
    """Scores of single segments; BLEU skips orders that a sentence is too short for."""

    peer: Callable[[MetricModels, str], Any]
    """sacrebleu's own metric, for signatures and for checks against it."""

    signature: Callable[[MetricModels], list[str]] = lambda models: []
    """Parts of the signature after sacrebleu's."""

    averages_length: bool = False
    """Whether statistics hold the mean length of several references."""
    higher_is_better: bool = True
    needs_spm: bool = False
    depends_on_tokenizer: bool = False
    """Whether languages are tokenized in different ways, so that means mix them."""


def _piece_peer(models: MetricModels, target: str) -> BLEU:
    """Return sacrebleu's BLEU over the pieces of our model.

    sacrebleu knows its SentencePiece models by name only. With our tokenizer in place of its own,
    everything after it is sacrebleu's code.
    """
    peer = BLEU(tokenize="none", force=True)
    peer.tokenizer = piece_tokenizer(models.pieces())
    peer.tokenizer_signature = peer.tokenizer.signature()
    return peer


_sentence_bleu = functools.partial(bleu_scores, effective_order=True)
_chrf_measure = functools.cache(ChrfMeasure)
_piece_measure = functools.lru_cache(maxsize=4)(lambda path: PieceMeasure(piece_tokenizer(path)))
_token_measure = functools.lru_cache(maxsize=8)(TokenMeasure)

_TABLE = {
    "spbleu": Metric(
        measure=lambda models, target: _piece_measure(models.pieces()),
        columns=10,
        score=bleu_scores,
        score_sentences=_sentence_bleu,
        peer=_piece_peer,
        signature=lambda models: [f"spm:{piece_tokenizer(models.pieces()).sha256[:_SHORT_HASH]}"],
        needs_spm=True,
    ),
    "chrf++": Metric(
        measure=lambda models, target: _chrf_measure(),
        columns=24,
        score=chrf_scores,
        score_sentences=chrf_scores,
        peer=lambda models, target: CHRF(word_order=2),
    ),
    "chrf": Metric(
        measure=lambda models, target: _chrf_measure(),
        columns=18,
        score=chrf_scores,
        score_sentences=chrf_scores,
        peer=lambda models, target: CHRF(),
    ),
    "bleu": Metric(
        measure=lambda models, target: _token_measure(models.tokenizer(target)),
        columns=10,
        score=bleu_scores,
        score_sentences=_sentence_bleu,
        # `force` only silences the guess that text is tokenized already.
        peer=lambda models, target: BLEU(tokenize=models.tokenizer(target), force=True),
        depends_on_tokenizer=True,
    ),
    "ter": Metric(
        measure=lambda models, target: EditMeasure(),
        columns=2,
        score=ter_scores,
        score_sentences=ter_scores,
        peer=lambda models, target: TER(),
        averages_length=True,
        higher_is_better=False,
    ),
}
METRICS = tuple(_TABLE)


def parse_metrics(text: str) -> list[str]:
    """Return the metrics written as `spbleu,chrf++`, in order, each once.

    Raises:
        UserError: For a name that is not a metric.
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
    return _TABLE[name]


def check_models(metrics: Sequence[str], models: MetricModels) -> None:
    """Check that the models of all metrics can be loaded, before anything is written.

    Raises:
        UserError: If the SentencePiece model or BLEU's tokenizer is missing.
        DataError: If the file is not a SentencePiece model.
    """
    for name in metrics:
        metric = find_metric(name)
        if metric.needs_spm:
            piece_tokenizer(models.pieces())
        if metric.depends_on_tokenizer and models.bleu_tokenizer is not None:
            check_tokenizer(models.bleu_tokenizer)


def find_measure(
    metric: str, models: MetricModels, target: str = "", references: int = 1
) -> Measure:
    """Return what a metric's statistics are counted with; metrics that share it get equal keys.

    Args:
        metric: Its name.
        models: What it needs beside the text.
        target: The target language.
        references: How many each segment has.
    """
    known = find_metric(metric)
    single = known.measure(models, target)
    if references == 1:
        return single
    return PeerMeasure(
        known.peer(models, target), f"{metric}/{single.key}", known.columns, known.averages_length
    )


def build_peer(metric: str, models: MetricModels, target: str = "") -> Any:
    """Return sacrebleu's own metric, for signatures and for checks against it."""
    return find_metric(metric).peer(models, target)


def sign(
    metric: str, models: MetricModels, target: str, references_digest: str, references: int = 1
) -> str:
    """Return sacrebleu's signature of a metric, then the hashes of SPM file and references."""
    peer = build_peer(metric, models, target)
    peer.num_refs = references
    parts = [str(peer.get_signature()), *find_metric(metric).signature(models)]
    return "|".join([*parts, f"refs:{references_digest[:_SHORT_HASH]}"])


def without_references(signature: str) -> str:
    """Return a signature that `sign` gave, less the hash of the references."""
    return signature.split("|refs:")[0]


def signed_tokenizer(signature: str) -> str:
    """Return the tokenizer that a signature names; empty where it names none."""
    parts = (part.partition(":") for part in signature.split("|"))
    return next((value for name, _, value in parts if name == "tok"), "")


def digest_lines(lines: Sequence[str]) -> str:
    r"""Return the BLAKE2b-128 digest of lines, each ended by `\n`, in hex."""
    data = ("\n".join(lines) + "\n" if lines else "").encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()


class MetricScore(NamedTuple):
    """A corpus score on the scale 0-100, unrounded, and how it was made."""

    value: float
    signature: str


class Scorer:
    """One metric with the references of one target language."""

    def __init__(
        self, metric: str, references: Sequence[str], models: MetricModels, target: str = ""
    ) -> None:
        """Keep the references; there must be at least one."""
        self._metric = find_metric(metric)
        self._measure = find_measure(metric, models, target)
        self._references = list(references)
        self._signature = sign(metric, models, target, digest_lines(references))

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
        counts = self._measure.count([self._references], [hypotheses])
        expanded = self._measure.expand(counts.hypotheses[0], counts.references)
        return expanded[:, : self._metric.columns]

    def score_statistics(self, summed: NDArray[Any]) -> float:
        """Return the corpus score of summed statistics, [S]."""
        return float(self._metric.score(np.asarray(summed)))


def score_chrf(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Return the corpus chrF++, 0 to 100; there is one hypothesis per reference."""
    return Scorer("chrf++", references, MetricModels()).score(hypotheses).value
