"""Batches of random tokens, and models to run them through."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nmt.fairseq import BatchLayout
from nmt.model.moe.layer import MoEFeedForwardNetwork
from nmt.model.translator import Translator, moe_layers

FIRST_TEXT_TOKEN = 10
BALANCE_WEIGHT = 0.01
LABEL_SMOOTHING = 0.1
SPREAD = 4.0


@dataclass(frozen=True)
class RandomBatch:
    """Sentence pairs of random tokens, without padding."""

    source: Tensor
    """[N, S]"""

    target: Tensor
    """[N, S + 1]: inputs and, one further, outputs."""

    @property
    def source_lengths(self) -> list[int]:
        """Tokens of each source."""
        return [self.source.shape[1]] * len(self.source)

    @property
    def tokens(self) -> tuple[int, int]:
        """Source and target tokens."""
        return self.source.numel(), self.target[:, 1:].numel()

    def to(self, device: torch.device) -> RandomBatch:
        """Return the batch on a device."""
        return RandomBatch(self.source.to(device), self.target.to(device))

    def loss(self, model: Translator) -> Tensor:
        """Return the mean loss that `nmt train` minimizes, the gates' balance included."""
        inputs = self.target[:, :-1].contiguous()
        total = model(
            self.source,
            BatchLayout.of(self.source, self.source_lengths),
            inputs,
            BatchLayout.of(inputs, [inputs.shape[1]] * len(inputs)),
            targets=self.target[:, 1:],
            label_smoothing=LABEL_SMOOTHING,
        )
        assert isinstance(total, Tensor)
        mean = total / inputs.numel()
        for _, layer in moe_layers(model):
            assert layer.routing is not None
            mean = mean + BALANCE_WEIGHT * layer.routing.balance_loss
        return mean


def random_batch(sentences: int, length: int, vocabulary: int, seed: int = 0) -> RandomBatch:
    """Return pairs of random tokens."""
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(FIRST_TEXT_TOKEN, vocabulary, (sentences, length), generator=generator)
    target = torch.randint(
        FIRST_TEXT_TOKEN, vocabulary, (sentences, length + 1), generator=generator
    )
    return RandomBatch(source, target)


def with_spread_logits(model: Translator) -> Translator:
    """Scale the last norm, so that random weights prefer some tokens clearly to others."""
    norm = model.decoder.layer_norm
    assert isinstance(norm, nn.Module)
    with torch.no_grad():
        norm.weight *= SPREAD  # type: ignore[operator]
    return model


def moe_layer(dim: int, inner: int, experts: int, masking: float = 0.0) -> MoEFeedForwardNetwork:
    """Return a layer that computes all assignments but those that are masked."""
    return MoEFeedForwardNetwork(
        dim, inner, experts, dropout_p=0.0, capacity_factor=None, expert_output_masking_p=masking
    )
