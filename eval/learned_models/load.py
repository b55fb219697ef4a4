"""Loads the model of a learned metric, on the device that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch

from corpus.languages import Direction
from eval.learned_models.comet import Comet
from eval.learned_models.metrics import find_learned
from eval.learned_models.metricx import MetricX
from eval.learned_models.sonar import Blaser, BlaserMetric, Sonar, SonarCosine


class TextModel(Protocol):
    """Scores segments from their texts."""

    def score(
        self, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str] | None
    ) -> list[float]:
        """Return the score of each segment."""


class Scorer(Protocol):
    """Scores segments of any direction."""

    def score(
        self,
        direction: Direction,
        sources: Sequence[str],
        hypotheses: Sequence[str],
        references: Sequence[str] | None,
    ) -> list[float]:
        """Return the score of each segment; `references` is None where the metric uses none."""


class _OneModel:
    """A model to which languages are all the same."""

    def __init__(self, model: TextModel) -> None:
        self._model = model

    def score(
        self,
        direction: Direction,
        sources: Sequence[str],
        hypotheses: Sequence[str],
        references: Sequence[str] | None,
    ) -> list[float]:
        return self._model.score(sources, hypotheses, references)


class _Embedding:
    """SONAR's metrics, which are told the languages."""

    def __init__(self, encoder: Sonar, blaser: Blaser | None) -> None:
        self._encoder, self._blaser = encoder, blaser

    def score(
        self,
        direction: Direction,
        sources: Sequence[str],
        hypotheses: Sequence[str],
        references: Sequence[str] | None,
    ) -> list[float]:
        model: TextModel
        if self._blaser is None:
            model = SonarCosine(self._encoder, *direction)
        else:
            model = BlaserMetric(self._encoder, self._blaser, *direction)
        return model.score(sources, hypotheses, references)


def load_scorer(
    name: str,
    directory: Path,
    encoder: Path,
    *,
    device: str,
    dtype: str,
    batch_tokens: int,
) -> Scorer:
    """Load a metric.

    Args:
        name: Of `eval.learned_models.metrics.LEARNED`.
        directory: Of its checkpoint.
        encoder: Of its encoder: configuration and tokenizer, or SONAR's model.
        device: As torch names it; `auto` for the GPU if there is one.
        dtype: `float32`, `bfloat16` or `float16`.
        batch_tokens: Tokens in a batch, padding included.

    Raises:
        UserError: If a file of the model is missing, or it is of another kind.
        DataError: If a file is damaged, or weights do not fit.
    """
    metric = find_learned(name)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    place, kind = torch.device(device), getattr(torch, dtype)
    if metric.family == "comet":
        return _OneModel(
            Comet(
                directory,
                encoder,
                metric.kinds,
                with_reference=metric.needs_reference,
                device=place,
                dtype=kind,
                batch_tokens=batch_tokens,
            )
        )
    if metric.family == "metricx":
        return _OneModel(
            MetricX(directory, encoder, device=place, dtype=kind, batch_tokens=batch_tokens)
        )
    sonar = Sonar(encoder, device=place, dtype=kind, batch_tokens=batch_tokens)
    if metric.family == "sonar":
        return _Embedding(sonar, None)
    return _Embedding(sonar, Blaser(directory, with_reference=metric.needs_reference, device=place))
