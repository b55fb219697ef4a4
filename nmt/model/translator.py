"""Encoder-decoders with Mixture-of-Experts layers on fairseq2's NLLB factory."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nmt.fairseq import (
    BatchLayout,
    CausalAttentionBias,
    IdentityBias,
    MultiheadAttention,
    NllbFactory,
    StandardMultiheadAttention,
    StandardTransformerDecoderLayer,
    StandardTransformerEncoderLayer,
    TransformerModel,
    prepare_compilation,
)
from nmt.model.config import MoEConfig
from nmt.model.distilled_loss import TeacherTargets, distilled_cross_entropy
from nmt.model.dropout import replace_dropout
from nmt.model.loss import label_smoothed_cross_entropy
from nmt.model.moe.conditional import ConditionalRouting
from nmt.model.moe.gating_dropout import GatingDropout
from nmt.model.moe.layer import MoEFeedForwardNetwork
from nmt.model.packing import PackedSDPA, pack, pack_values


class Translator(TransformerModel):  # type: ignore[misc]  # final, but nothing else takes the loss
    """fairseq2's Transformer with a chunked loss.

    Attributes:
        nll: Summed negative log-likelihood of the last loss, for the log.
        teacher_targets: Computes a teacher's soft targets of a batch; None without a teacher.
        divergence: Summed divergence from the teacher of the last loss, for the log.
    """

    nll: Tensor | None = None
    teacher_targets: Callable[[Tensor, BatchLayout, Tensor, BatchLayout], TeacherTargets] | None = (
        None
    )
    divergence: Tensor | None = None
    _from_teacher: TeacherTargets | None = None

    def forward(  # type: ignore[override]  # fairseq2's overloads leave out targets that are None
        self,
        source_seqs: Tensor,
        source_seqs_layout: BatchLayout,
        target_seqs: Tensor,
        target_seqs_layout: BatchLayout,
        targets: Tensor | None = None,
        **options: Any,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return logits, or the loss where targets are given; in training, the teacher's too."""
        inputs = (source_seqs, source_seqs_layout, target_seqs, target_seqs_layout)
        if self.teacher_targets is not None and self.training and targets is not None:
            self._from_teacher = self.teacher_targets(*inputs)
        if targets is not None and source_seqs.device.type == "cpu":
            pad_index = self.pad_idx or 0
            source, source_layout = pack(*inputs[:2], pad_index)
            target, target_layout = pack(*inputs[2:], pad_index)
            size = len(target)
            targets = pack_values(targets, target_seqs_layout, pad_index, size)
            if self._from_teacher is not None:
                self._from_teacher = _pack_teacher(self._from_teacher, target_seqs_layout, size)
            inputs = (source, source_layout, target, target_layout)
        return super().forward(*inputs, targets, **options)  # type: ignore[arg-type]

    @property
    def output_weight(self) -> Tensor:
        """Embedding that is tied to the output, [V, D]."""
        weight = self.final_proj.weight
        assert isinstance(weight, Tensor)
        return weight

    def compute_fused_loss(
        self,
        decoder_output: Tensor,
        targets: Tensor,
        *,
        label_smoothing: float = 0.0,
        target_mask: Tensor | None = None,
        reduction: Literal["sum", "mean"] = "sum",
    ) -> Tensor:
        """Return the summed label-smoothed cross-entropy of [N, S, D] against [N, S]."""
        if target_mask is not None or reduction != "sum":
            raise NotImplementedError("the chunked loss is a sum over all targets")
        inputs = (decoder_output.flatten(0, -2), self.output_weight, targets.flatten())
        ignored_index = -1 if self.pad_idx is None else self.pad_idx
        teacher, self._from_teacher = self._from_teacher, None
        if teacher is None:
            loss, self.nll = label_smoothed_cross_entropy(
                *inputs, ignored_index=ignored_index, label_smoothing=label_smoothing
            )
        else:
            loss, self.nll, self.divergence = distilled_cross_entropy(
                *inputs, teacher, ignored_index=ignored_index, label_smoothing=label_smoothing
            )
        return loss


def _pack_teacher(teacher: TeacherTargets, layout: BatchLayout, size: int) -> TeacherTargets:
    """Return the targets at the positions of a packed batch with that layout."""
    shape = layout.position_indices.shape
    hidden = pack_values(teacher.hidden_ND.view(*shape, -1), layout, 0, size)
    is_taught = teacher.is_taught_N
    if is_taught is not None:
        is_taught = pack_values(is_taught.view(shape), layout, False, size)
    return teacher._replace(hidden_ND=hidden, is_taught_N=is_taught)


class MoEFactory(NllbFactory):
    """fairseq2's NLLB model with experts in every n-th layer, and attention dropout."""

    _config: MoEConfig  # type: ignore[assignment]  # has every field that the base class reads

    def __init__(self, config: MoEConfig) -> None:
        super().__init__(config)  # type: ignore[arg-type]

    def create_model(self) -> Translator:
        """Build encoder, decoder and the embedding they share with the output."""
        config = self._config
        embedding = self.create_embedding()
        frontend = self.create_frontend(embedding)
        encoder, decoder = self.create_encoder(), self.create_decoder()
        for stack in (encoder, decoder):
            for i, layer in enumerate(stack.layers):
                if config.num_experts and (i + 1) % config.moe_every_n_layers == 0:
                    self._replace_feed_forward(layer)
        for part in (frontend, encoder, decoder):
            replace_dropout(part)
        return Translator(
            config.model_dim,
            frontend,
            encoder,
            frontend,
            decoder,
            self.create_final_projection(embedding),
            config.pad_idx,
            config.max_seq_len,
            config.max_seq_len,
        )

    def _replace_feed_forward(self, layer: nn.Module) -> None:
        config = self._config
        assert isinstance(layer, StandardTransformerEncoderLayer | StandardTransformerDecoderLayer)
        conditional = None
        if config.cmr:
            conditional = ConditionalRouting(
                config.model_dim,
                layer.ffn,
                dropout_p=config.dropout_p,
                gate_dropout_p=config.cmr_gate_dropout_p,
            )
        layer.ffn = MoEFeedForwardNetwork(
            config.model_dim,
            config.ffn_inner_dim,
            config.num_experts,
            dropout_p=config.dropout_p,
            capacity_factor=config.capacity_factor or None,
            expert_output_masking_p=config.expert_output_masking_p,
            final_output_masking_p=config.final_output_masking_p,
            batch_prioritized=config.batch_prioritized_routing,
            gating_dropout=GatingDropout(
                p=config.gating_dropout_p,
                num_ranks=config.gating_dropout_ranks or config.num_experts,
            ),
            conditional=conditional,
        )
        # NLLB drops out inside each expert, before outputs are combined, and not again after.
        layer.ffn_dropout = None
        layer.register_forward_pre_hook(_hand_over_layout)

    def create_encoder_self_attention(self) -> MultiheadAttention:
        """Build attention of the encoder."""
        return self._attention(IdentityBias(), self._config.num_encoder_attn_heads)

    def create_decoder_self_attention(self) -> MultiheadAttention:
        """Build causal attention of the decoder."""
        return self._attention(CausalAttentionBias(), self._config.num_decoder_attn_heads)

    def create_encoder_decoder_attention(self) -> MultiheadAttention:
        """Build attention of the decoder to the encoder."""
        return self._attention(IdentityBias(), self._config.num_decoder_attn_heads)

    def _attention(
        self, bias: IdentityBias | CausalAttentionBias, num_heads: int
    ) -> MultiheadAttention:
        sdpa = PackedSDPA(bias, dropout_p=self._config.attention_dropout_p)
        return StandardMultiheadAttention(self._config.model_dim, num_heads, sdpa)


def _hand_over_layout(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
    """Pass the padding of its input to a layer's experts; fairseq2's interface does not."""
    moe: MoEFeedForwardNetwork = layer.ffn  # type: ignore[assignment]
    moe.layout = arguments[1]


def moe_layers(model: nn.Module) -> Iterator[tuple[str, MoEFeedForwardNetwork]]:
    """Yield the Mixture-of-Experts layers of a model by name, encoder first."""
    for name, module in model.named_modules():
        if isinstance(module, MoEFeedForwardNetwork):
            # Activation checkpointing wraps layers under a name of its own.
            yield name.removesuffix(".ffn").replace("._checkpoint_wrapped_module", ""), module


def create_model(config: MoEConfig) -> Translator:
    """Build a model with fresh weights."""
    return MoEFactory(config).create_model()


def compile_layers(model: TransformerModel, **options: Any) -> None:
    """Compile each layer in place; `options` are those of `torch.compile`.

    Mixture-of-Experts feed-forwards are left as they are: how many tokens an expert gets is known
    only as they run, and grouped products are fast by themselves.
    """
    prepare_compilation()
    for _, moe in moe_layers(model):
        forward = torch.compiler.disable(moe.forward)  # type: ignore[no-untyped-call]
        moe.forward = forward  # type: ignore[method-assign]
    for stack in (model.encoder, model.decoder):
        for layer in stack.layers:
            layer.compile(**options)  # type: ignore[no-untyped-call]
