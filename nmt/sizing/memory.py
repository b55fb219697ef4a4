"""Estimate of the memory that training needs on each GPU, or in a process on a CPU.

States. Weights, gradients and Adam's two moments are fp32: 4 + 4 + 8 bytes per parameter, divided
by the processes that share out a copy of the model, experts too. What is not trained, because it is
frozen or stands beside LoRA, has weights only.

Copies. Weights as products take them. Whole models: none in fp32, else 2 bytes per parameter. In
shards (FSDP2): the embedding and two layers, the one at work and the next, gathered, and one
layer's gradient in fp32; with expert parallelism experts are never gathered.

Activations. What autograd keeps until the backward pass, in values per position of width D, with
inner width F, E experts and K = 2 choices; b bytes are those of the products (4 or 2), masks of
dropout take 1 byte on a GPU:

    self-attention        residual 4D; input 3bD (bD in fp32, where the three share it);
                          q, k, v 3bD; output bD; mask D
    attention to encoder  the same, but k and v per source position, and the encoder's output 2bD
                          per source position and layer (in fp32 once for all layers)
    dense network         residual 4D; input bD; inner bF; mask D
    experts               residual 4D; gate 4D + 8E; tokens KbD; inner KbF; outputs KbD; mask KD
    ends of a stack       2 · 4D, mask D

Attention scores are not kept: fused kernels recompute them. With activation checkpointing each
layer keeps its input, 4D, and the widest layer is at work.

Loss. The gradient of the output embedding and of hidden states, and a chunk's logits: in fp32,
which the gradient overwrites, and where products are in half precision, those of the product.

Libraries. On a CPU, what the process holds of them before there is a model; a constant, measured.

peak = weights + moments + copies + libraries + max(activations + loss, gradients + summed):
activations are freed as gradients come, and at the end the look-ups' gradient of the embedding, as
large as the output's, is added to that one. Few tokens and a large vocabulary make this the larger.
"""

from typing import NamedTuple

from torch import nn

from corpus.errors import UserError
from nmt.model.config import MoEConfig
from nmt.model.freezing import freeze
from nmt.model.lora import add_lora, freeze_all_but_lora
from nmt.model.loss import chunk_size
from nmt.model.moe.gate import MAX_CHOICES
from nmt.model.translator import Translator, moe_layers
from nmt.sizing.config import LayoutConfig

_FP32 = 4
_MOMENTS = 2
_LAYERS_GATHERED = 2
_MASK_BYTES = {"cuda": 1, "cpu": 4}
_LIBRARIES = {"cuda": 0, "cpu": 940_000_000}
"""Peak of a training of a model of no size: torch, fairseq2 and what they load
(docs/experiments.md). On a GPU their memory is the host's."""


class Memory(NamedTuple):
    """Bytes on one GPU."""

    weights: int
    gradients: int
    moments: int
    copies: int
    activations: int
    loss: int
    summed: int
    """A second gradient of the embedding, which is added to that of the output."""

    libraries: int
    """Of the process; on a CPU."""

    @property
    def peak(self) -> int:
        """The most that is there at once, in bytes, without what the allocator leaves unused."""
        at_work = max(self.activations + self.loss, self.gradients + self.summed)
        return self.weights + self.moments + self.copies + self.libraries + at_work


def estimate_memory(model: Translator, config: MoEConfig, layout: LayoutConfig) -> Memory:
    """Estimate the memory of training on each GPU, or of a process on a CPU.

    Args:
        model: The model, on any device, the meta device too; what needs no gradient is not trained.
        config: Its shape.
        layout: Processes, precision, batch, device. A CPU keeps wider masks and holds fewer logits
            at once.

    Raises:
        UserError: If experts cannot be divided among processes.
    """
    if layout.expert_parallel and config.num_experts % layout.shard_size != 0:
        raise UserError(
            f"`expert_parallel` shares out {config.num_experts} experts to {layout.shard_size}"
            " processes; the number of experts must be a multiple"
        )
    share = _FP32 * sum(parameter.numel() for parameter in model.parameters()) // layout.shard_size
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    trained_share = _FP32 * trained // layout.shard_size
    return Memory(
        weights=share,
        gradients=trained_share,
        moments=_MOMENTS * trained_share,
        copies=_copies(model, layout),
        activations=_activations(config, layout),
        loss=_loss(config, layout, model.output_weight.requires_grad),
        summed=_FP32 * model.output_weight.numel() * model.output_weight.requires_grad,
        libraries=_LIBRARIES[layout.device],
    )


def limit_training(model: Translator, layout: LayoutConfig) -> None:
    """Freeze what a layout does not train; add what LoRA adds."""
    if layout.lora_rank:
        targets = ("attention", "feed_forward")
        add_lora(model, rank=layout.lora_rank, scale=1.0, targets=targets, dropout_p=0.0)
        freeze_all_but_lora(model, ())
    freeze(model, layout.freeze)


def _copies(model: Translator, layout: LayoutConfig) -> int:
    size = layout.product_bytes
    total = sum(parameter.numel() for parameter in model.parameters())
    if layout.shard_size == 1:
        return 0 if size == _FP32 else size * total
    layer = max(
        _gathered(layer, layout)
        for stack in (model.encoder, model.decoder)
        for layer in stack.layers
    )
    return size * (model.output_weight.numel() + _LAYERS_GATHERED * layer) + _FP32 * layer


def _gathered(layer: nn.Module, layout: LayoutConfig) -> int:
    count = sum(parameter.numel() for parameter in layer.parameters())
    if layout.expert_parallel:
        for _, moe in moe_layers(layer):
            count -= sum(parameter.numel() for parameter in moe.experts.parameters())
    return count


def _activations(config: MoEConfig, layout: LayoutConfig) -> int:
    layers = _LayerActivations(config, layout.product_bytes, layout.device)
    positions = layout.max_tokens // 2
    ends = (2 * _FP32 + layers.mask) * config.model_dim
    kept = 2 * ends * positions
    widths = [layers.encoder(i) for i in range(config.num_encoder_layers)]
    widths += [layers.decoder(i) for i in range(config.num_decoder_layers)]
    if layout.activation_checkpointing:
        inputs = _FP32 * config.model_dim * len(widths)
        return (kept + (inputs + max(widths)) * positions) if widths else kept
    return kept + sum(widths) * positions


class _LayerActivations:
    """Bytes that a layer keeps per position, a source and a target position being equally many."""

    def __init__(self, config: MoEConfig, size: int, device: str) -> None:
        self._config, self._size = config, size
        self.mask = _MASK_BYTES[device] if config.dropout_p > 0 else 0
        # On a CPU batches are packed: attention keeps its result padded, what follows packed.
        self._attended = 2 if device == "cpu" else 1

    def encoder(self, index: int) -> int:
        return self._attention() + self._feed_forward(index)

    def decoder(self, index: int) -> int:
        return 2 * self._attention() + self._feed_forward(index)

    def _attention(self) -> int:
        # Autocast makes a copy of the input for each product; in fp32 they share one.
        dim, size = self._config.model_dim, self._size
        inputs = 3 if size < _FP32 else 1
        return dim * (_FP32 + size * (inputs + 3 + self._attended) + self.mask)

    def _feed_forward(self, index: int) -> int:
        config, size = self._config, self._size
        dim, inner = config.model_dim, config.ffn_inner_dim
        dense = size * (dim + inner) + self.mask * dim
        if not config.num_experts or (index + 1) % config.moe_every_n_layers != 0:
            return _FP32 * dim + dense
        choices = min(MAX_CHOICES, config.num_experts)
        experts = choices * (size * (2 * dim + inner) + self.mask * dim)
        gate = _FP32 * (dim + 2 * config.num_experts)
        return _FP32 * dim + gate + experts + (dense if config.cmr else 0)


def _loss(config: MoEConfig, layout: LayoutConfig, trains_output: bool) -> int:
    positions, dim = layout.max_tokens // 2, config.model_dim
    rows = min(positions, chunk_size(config.vocab_size, layout.device))
    size = layout.product_bytes
    logits = (_FP32 + (size if size < _FP32 else 0)) * rows * config.vocab_size
    rows_of_gradients = positions + (config.vocab_size if trains_output else 0)
    return _FP32 * dim * rows_of_gradients + logits
