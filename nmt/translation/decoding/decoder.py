"""The decoder one step at a time, for search: beams of a sentence share its encoder output.

fairseq2's incremental decoder repeats encoder keys and values for every beam and copies all of them
at each step to reorder beams. Here the beams of a sentence are queries to one copy, so that only
the keys and values of the decoder itself are reordered. Weights are those of the model's modules.

Shape suffixes: B sentences; K beams; N = B·K rows; S source positions; T steps so far; L layers;
D model_dim; H heads; V vocabulary.
"""

# ruff: noqa: N803, N806, N815 (shape suffixes)

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.fairseq import (
    BatchLayout,
    IncrementalStateBag,
    LayerNorm,
    StandardMultiheadAttention,
    StandardTransformerDecoderLayer,
)
from nmt.model.translator import Translator

_FIRST_STEPS = 16


class _Layer(NamedTuple):
    """A layer, the joined projections of its attention, and its keys and values of the source."""

    module: StandardTransformerDecoderLayer
    self_attention: StandardMultiheadAttention
    source_attention: StandardMultiheadAttention
    weight_3DD: Tensor
    bias_3D: Tensor
    key_BHSd: Tensor
    value_BHSd: Tensor


class DecoderState:
    """The state of decoding a batch of sentences.

    Attributes:
        num_steps: Tokens that every row has been given, T.
    """

    def __init__(self, model: Translator, source_BS: Tensor, lengths: Sequence[int]) -> None:
        """Encode the sources, [B, S], padded at the end."""
        layout = BatchLayout.of(source_BS, list(lengths))
        hidden_BSD, layout = model.encoder_frontend(source_BS, layout)
        encoded_BSD = model.encoder(hidden_BSD, layout)
        self._frontend = model.decoder_frontend
        # Every layer begins with its norm, so that the last one's output has had none.
        assert isinstance(model.decoder.layer_norm, LayerNorm)
        self._final_norm = model.decoder.layer_norm
        self._layers = [_prepare(layer, encoded_BSD) for layer in model.decoder.layers]
        self._mask_B11S: Tensor | None = None
        if min(lengths) < source_BS.shape[1]:
            self._mask_B11S = (layout.position_indices >= 0)[:, None, None, :]
        self._cache_TLN2D = encoded_BSD.new_empty(0)
        self.num_steps = 0
        self._layout: BatchLayout | None = None
        self._positions = IncrementalStateBag(model.max_target_seq_len + 1)

    def step(self, tokens_BK: Tensor) -> Tensor:
        """Give every row its next token; return the decoder's output, [N, D]."""
        num_sentences = len(tokens_BK)
        tokens_N1 = tokens_BK.reshape(-1, 1)
        if self._layout is None or len(self._layout.seq_lens) != len(tokens_N1):
            self._layout = BatchLayout.of(tokens_N1)  # costs as much as a layer, and seldom changes
        hidden_N1D, _ = self._frontend(tokens_N1, self._layout, state_bag=self._positions)
        self._positions.increment_step_nr()
        hidden_ND = hidden_N1D.squeeze(1)
        self._make_room(len(tokens_N1), hidden_ND)
        for number, layer in enumerate(self._layers):
            hidden_ND = hidden_ND + self._attend_to_steps(number, layer, hidden_ND)
            hidden_ND = hidden_ND + self._attend_to_source(layer, hidden_ND, num_sentences)
            module = layer.module
            normed_N1D = module.ffn_layer_norm(hidden_ND).unsqueeze(1)
            hidden_ND = hidden_ND + module.ffn(normed_N1D).squeeze(1)
        self.num_steps += 1
        return self._final_norm(hidden_ND)

    def reorder(self, row_N: Tensor) -> None:
        """Replace row i by row `row_N[i]`; the number of rows may change."""
        there = self._cache_TLN2D[: self.num_steps]
        kept = there.new_empty((len(self._cache_TLN2D), there.shape[1], len(row_N), there.shape[3]))
        torch.index_select(there, 2, row_N, out=kept[: self.num_steps])
        self._cache_TLN2D = kept

    def keep(self, sentence_B: Tensor) -> None:
        """Drop the sources of all sentences but these; `reorder` drops their rows."""
        self._layers = [
            layer._replace(
                key_BHSd=layer.key_BHSd.index_select(0, sentence_B),
                value_BHSd=layer.value_BHSd.index_select(0, sentence_B),
            )
            for layer in self._layers
        ]
        if self._mask_B11S is not None:
            self._mask_B11S = self._mask_B11S.index_select(0, sentence_B)

    def _make_room(self, num_rows: int, like: Tensor) -> None:
        """Double the steps that fit when they are full."""
        steps = len(self._cache_TLN2D)
        if self.num_steps < steps:
            return
        shape = (len(self._layers), num_rows, 2 * like.shape[1])
        larger = like.new_empty((max(2 * steps, _FIRST_STEPS), *shape))
        if steps:
            larger[:steps] = self._cache_TLN2D
        self._cache_TLN2D = larger

    def _attend_to_steps(self, number: int, layer: _Layer, hidden_ND: Tensor) -> Tensor:
        normed_ND = layer.module.self_attn_layer_norm(hidden_ND)
        joined_N3D = functional.linear(normed_ND, layer.weight_3DD, layer.bias_3D)
        num_rows, model_dim = hidden_ND.shape
        num_heads = layer.self_attention.num_heads
        self._cache_TLN2D[self.num_steps, number] = joined_N3D[:, model_dim:]
        steps = self._cache_TLN2D[: self.num_steps + 1, number]
        # Keys and values apart, then [N, H, T, d] each.
        split = steps.view(self.num_steps + 1, num_rows, 2, num_heads, -1)
        key_NHTd, value_NHTd = split.permute(2, 1, 3, 0, 4)
        query_NH1d = joined_N3D[:, :model_dim].view(num_rows, num_heads, 1, -1)
        mixed = functional.scaled_dot_product_attention(query_NH1d, key_NHTd, value_NHTd)
        output_ND: Tensor = layer.self_attention.output_proj(mixed.reshape(num_rows, model_dim))
        return output_ND

    def _attend_to_source(self, layer: _Layer, hidden_ND: Tensor, num_sentences: int) -> Tensor:
        attention = layer.source_attention
        normed_ND = layer.module.encoder_decoder_attn_layer_norm(hidden_ND)
        query_BKHd = attention.q_proj(normed_ND).view(
            num_sentences, -1, attention.num_heads, attention.head_dim
        )
        mixed_BHKd = functional.scaled_dot_product_attention(
            query_BKHd.transpose(1, 2), layer.key_BHSd, layer.value_BHSd, attn_mask=self._mask_B11S
        )
        mixed_ND = mixed_BHKd.transpose(1, 2).reshape(hidden_ND.shape)
        output_ND: Tensor = attention.output_proj(mixed_ND)
        return output_ND


class DecoderStates:
    """The states of several models that are given the same tokens."""

    def __init__(self, states: Sequence[DecoderState]) -> None:
        self._states = list(states)

    def step(self, tokens_BK: Tensor) -> list[Tensor]:
        """Give every row its next token; return each decoder's output, [N, D]."""
        return [state.step(tokens_BK) for state in self._states]

    def reorder(self, row_N: Tensor) -> None:
        """Replace row i by row `row_N[i]`; the number of rows may change."""
        for state in self._states:
            state.reorder(row_N)

    def keep(self, sentence_B: Tensor) -> None:
        """Drop the sources of all sentences but these; `reorder` drops their rows."""
        for state in self._states:
            state.keep(sentence_B)


def _prepare(module: nn.Module, encoded_BSD: Tensor) -> _Layer:
    # The factory builds no others; a norm after its layer would need other sums in `step`.
    assert isinstance(module, StandardTransformerDecoderLayer)
    own, source = module.self_attn, module.encoder_decoder_attn
    assert isinstance(own, StandardMultiheadAttention)
    assert isinstance(source, StandardMultiheadAttention)
    # Joined again for every batch, so that the current weights of a model in training are used.
    projections = [own.q_proj, own.k_proj, own.v_proj]
    heads = (*encoded_BSD.shape[:2], source.num_heads, source.head_dim)
    return _Layer(
        module=module,
        self_attention=own,
        source_attention=source,
        weight_3DD=torch.cat([_parameter(projection, "weight") for projection in projections]),
        bias_3D=torch.cat([_parameter(projection, "bias") for projection in projections]),
        key_BHSd=source.k_proj(encoded_BSD).view(heads).transpose(1, 2).contiguous(),
        value_BHSd=source.v_proj(encoded_BSD).view(heads).transpose(1, 2).contiguous(),
    )


def _parameter(module: nn.Module, name: str) -> Tensor:
    parameter = getattr(module, name)
    assert isinstance(parameter, Tensor)
    return parameter
