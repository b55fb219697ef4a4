"""The validation unit of fairseq2's validator: likelihood and chrF++ of one direction."""

import functools
import logging
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import nn

from corpus.languages import Direction
from corpus.protocols import TranslationScorer
from nmt.model.directory import TrainedModel
from nmt.model.translator import Translator
from nmt.training.fairseq import EvalUnit, Gang, Mean, MetricBag
from nmt.training.readers import TokenBatch
from nmt.training.train_unit import number
from nmt.training.warning_signs import empty_share, loop_share
from nmt.translation.decoding.config import TranslateConfig
from nmt.translation.translator import TextTranslator

logger = logging.getLogger(__name__)

CHRF = "chrf"
"""fairseq2's name of chrF++ among its metrics."""


MEASURES = ("chrf_of_copying", "empty_share", "looping_share", "chrf_of_other_sources")
"""Names of what is measured besides, in the order of `Measured`."""

_COPYING = MEASURES[0]

_ENOUGH = 10
"""Sentences from which on translations are scored as those of other sources."""


class Measured(NamedTuple):
    """What the translations of a direction are worth."""

    chrf: float
    """chrF++, 0 to 100."""

    copying: float
    """chrF++ of the sources themselves."""

    empty: float
    """Share of translations without text."""

    looping: float
    """Share of translations that repeat themselves."""

    others: float | None
    """chrF++ of the translations as those of the sentences before: what a text in the target
    language scores that ignores its source. None for few sentences."""


@dataclass(frozen=True)
class Translating:
    """Translates the sentences of a direction and scores them."""

    model: TrainedModel
    config: TranslateConfig
    score: TranslationScorer
    direction: Direction
    sources: list[str]
    references: list[str]

    shared_with: Gang | None = None
    """Processes that translate a part each; None where each translates all, which is necessary if
    they share weights or experts, since a search takes as many steps as its sentences need."""

    @functools.cached_property
    def copying(self) -> float:
        """chrF++ of the sources as their own translations."""
        return self.score(self.sources, self.references)

    @property
    def has_others(self) -> bool:
        """Whether there are enough sentences to score translations as those of others."""
        return len(self.sources) >= _ENOUGH

    def measure(self) -> Measured:
        """Translate the sources and score what the model makes of them."""
        translator = TextTranslator(self.model, self.config)
        gang = self.shared_with
        rank, size = (gang.rank, gang.size) if gang is not None else (0, 1)
        # Shapes change with every step of a search; compiled layers would be recompiled.
        with torch.compiler.set_stance("force_eager"):
            own = translator.translate(self.sources[rank::size], *self.direction)
        parts: list[list[str]] = [own]
        if gang is not None and size > 1:
            parts = [[] for _ in range(size)]
            dist.all_gather_object(parts, own, group=gang.as_process_group())
        hypotheses = [parts[i % size][i // size] for i in range(len(self.sources))]
        return Measured(
            self.score(hypotheses, self.references),
            self.copying,
            empty_share(hypotheses),
            loop_share(hypotheses),
            self.score([*hypotheses[1:], *hypotheses[:1]], self.references)
            if self.has_others
            else None,
        )


class ValidationUnit(EvalUnit[TokenBatch]):
    """Negative log-likelihood per target token of one direction, and chrF++ where asked for."""

    def __init__(
        self,
        model: nn.Module,
        module: Translator,
        direction: Direction,
        translating: Translating | None = None,
    ) -> None:
        self._model = model
        self._module = module
        self._direction = direction
        self._translating = translating
        self._update = 0

    @property
    def name(self) -> str:
        """The direction."""
        return str(self._direction)

    def prepare_metric_bag(self, metric_bag: MetricBag) -> None:
        """Declare what is measured."""
        metric_bag.add("nll_loss", Mean())
        if self._translating is not None:
            for name in (CHRF, *MEASURES)[: None if self._translating.has_others else -1]:
                metric_bag.add(name, Mean())

    def set_train_step_nr(self, step_nr: int) -> None:
        """Note the update after which this is."""
        self._update = step_nr

    def process_batch(self, batch: TokenBatch, metric_bag: MetricBag) -> None:
        """Add a batch."""
        batch.loss(self._model, 0.0)
        nll, count = self._module.nll, batch.num_target_tokens
        assert nll is not None
        weight = count if batch.is_counted else 0
        metric_bag.get("nll_loss", Mean).update(nll / count, weight=weight)

    def finalize(self, metric_bag: MetricBag) -> None:
        """Translate."""
        if self._translating is not None:
            measured = self._translating.measure()
            for name, value in zip((CHRF, *MEASURES), measured, strict=True):
                if value is not None:
                    metric_bag.get(name, Mean).update(value)

    def process_metric_values(self, values: MutableMapping[str, object]) -> None:
        """Log what the direction got."""
        chrf = ""
        if CHRF in values:
            chrf = f", chrF++ {number(values[CHRF]):.1f} (copying {number(values[_COPYING]):.1f})"
        logger.info(
            "update %s, validation %s: nll %.3f%s",
            f"{self._update:,}",
            self._direction,
            number(values["nll_loss"]),
            chrf,
        )
