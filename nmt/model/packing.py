"""Batches without padding on a CPU: sequences end to end, and attention among their own positions.

Everything but attention is computed position by position, so that padding, 8 % of the positions of
short sentences in batches by length, is work for nothing. Attention pads for itself.

Shape suffixes: T positions of all sequences; N sequences; S positions of the longest; H heads;
K width of a head.
"""

# ruff: noqa: N803, N806, N815 (shape suffixes)

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from nmt.fairseq import (
    SDPA,
    AttentionBias,
    AttentionBiasCache,
    BatchLayout,
    CausalAttentionBias,
    create_default_sdpa,
    layout_of,
)

_MIN_STEP = 64
_STEPS = 6
"""Packed batches are as long as a multiple of 64 positions, or of 1/32 of the power of two below,
so that products have few shapes: a library compiles a kernel for each."""

_LONGEST_BY_PRODUCTS = 32
"""Positions up to which attention by two products takes less time than torch's flash kernel."""


def pack(tokens_NS: Tensor, layout: BatchLayout, pad_index: int) -> tuple[Tensor, BatchLayout]:
    """Return the tokens of all sequences end to end, [T], and their layout.

    Padding to a round number of positions stands behind all of them.
    """
    lengths = list(layout.seq_lens)
    total = sum(lengths)
    step = max(_MIN_STEP, 1 << max(0, total.bit_length() - _STEPS))
    packed_T = tokens_NS.new_full((-(-total // step) * step,), pad_index)
    packed_T[:total] = tokens_NS[layout.position_indices >= 0]
    return packed_T, layout_of(packed_T, lengths, packed=True)


def pack_values(values: Tensor, layout: BatchLayout, fill: float, size: int) -> Tensor:
    """Return values of positions, [N, S, ...], where packed inputs have them, [size, ...]."""
    packed = values.new_full((size, *values.shape[2:]), fill)
    packed[: sum(layout.seq_lens)] = values[layout.position_indices >= 0]
    return packed


class PackedSDPA(SDPA):
    """Attention in each sequence of a packed batch; of other batches fairseq2's default."""

    def __init__(self, bias: AttentionBias, *, dropout_p: float) -> None:
        super().__init__()
        self.plain = create_default_sdpa(bias, dropout_p=dropout_p)
        self.bias = bias
        self.dropout_p = dropout_p

    def forward(
        self,
        q: Tensor,
        q_layout: BatchLayout,
        k: Tensor,
        k_layout: BatchLayout,
        v: Tensor,
        bias_cache: AttentionBiasCache,
        *,
        needs_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return attended values, [T, H, K] of a packed batch, and no weights."""
        if not q_layout.packed:
            return self.plain(q, q_layout, k, k_layout, v, bias_cache, needs_weights=needs_weights)
        places = self._places(q_layout, k_layout, q, bias_cache)
        q_NHSK = _Pad.apply(q, places.queries)  # type: ignore[no-untyped-call]
        k_NHSK = _Pad.apply(k, places.keys)  # type: ignore[no-untyped-call]
        v_NHSK = _Pad.apply(v, places.keys)  # type: ignore[no-untyped-call]
        p = self.dropout_p if self.training else 0.0
        if max(q_layout.max_seq_len, k_layout.max_seq_len) > _LONGEST_BY_PRODUCTS:
            values_NHSK = functional.scaled_dot_product_attention(
                q_NHSK, k_NHSK, v_NHSK, attn_mask=places.bias_N1SS, dropout_p=p
            )
        else:
            values_NHSK = _attend(q_NHSK, k_NHSK, v_NHSK, places.bias_N1SS, p)
        values_THK: Tensor = _Unpad.apply(values_NHSK, places.queries)  # type: ignore[no-untyped-call]
        return values_THK, None

    def _places(
        self, q_layout: BatchLayout, k_layout: BatchLayout, q: Tensor, cache: AttentionBiasCache
    ) -> "_Places":
        """Return where padded sequences stand; the layers of a stack share it."""
        places = cache.maybe_get(self.bias, "packed", kls=_Places)
        if places is None:
            places = _Places.of(
                q_layout,
                k_layout,
                num_heads=q.shape[1],
                is_causal=isinstance(self.bias, CausalAttentionBias),
                dtype=q.dtype,
            )
            cache.set(self.bias, "packed", places)
        return places


class _Rows(NamedTuple):
    """The rows of packed heads, T · H, in padded ones, N · H · S, and back."""

    padded_NHS: Tensor
    """Row of packed heads at each place; where there is padding, any."""

    packed_TH: Tensor
    """Row of padded heads at each place; behind all sequences, any."""

    num_positions: int
    """Of all sequences."""

    is_padding_NS: Tensor | None
    """None where all sequences are of the same length."""

    @staticmethod
    def of(layout: BatchLayout, num_heads: int) -> "_Rows":
        lengths_N1 = layout.seq_lens_pt.long().unsqueeze(1)
        ends_N = lengths_N1[:, 0].cumsum(0)
        total, longest = sum(layout.seq_lens), layout.max_seq_len
        steps_S = torch.arange(longest)
        heads_H = torch.arange(num_heads)
        positions_NS = ((ends_N - lengths_N1[:, 0]).unsqueeze(1) + steps_S).clamp_max(total - 1)
        padded_NHS = (positions_NS * num_heads).unsqueeze(1) + heads_H.unsqueeze(1)
        sequence_T = torch.arange(len(lengths_N1)).repeat_interleave(lengths_N1[:, 0])
        packed_TH = (sequence_T * num_heads).unsqueeze(1) + heads_H
        packed_TH = packed_TH * longest + layout.position_indices[:total].unsqueeze(1)
        packed_TH = functional.pad(packed_TH, (0, 0, 0, layout.width - total))
        is_padding_NS = None
        if layout.min_seq_len < longest:
            is_padding_NS = steps_S >= lengths_N1
        return _Rows(padded_NHS, packed_TH, total, is_padding_NS)


class _Places(NamedTuple):
    queries: _Rows
    keys: _Rows

    bias_N1SS: Tensor | None
    """Minus infinity where a query does not see a key; N is 1 where all sequences see the same."""

    @staticmethod
    def of(
        q_layout: BatchLayout,
        k_layout: BatchLayout,
        *,
        num_heads: int,
        is_causal: bool,
        dtype: torch.dtype,
    ) -> "_Places":
        queries = _Rows.of(q_layout, num_heads)
        keys = queries if k_layout is q_layout else _Rows.of(k_layout, num_heads)
        is_hidden = torch.zeros((), dtype=torch.bool)
        if is_causal:  # padding stands behind what a query sees
            shape = q_layout.max_seq_len, k_layout.max_seq_len
            is_hidden = torch.ones(shape, dtype=torch.bool).triu(1)[None, None]
        elif keys.is_padding_NS is not None:
            is_hidden = keys.is_padding_NS[:, None, None]
        bias = None
        if is_hidden.ndim:
            bias = torch.zeros(is_hidden.shape, dtype=dtype).masked_fill_(is_hidden, -torch.inf)
        return _Places(queries, keys, bias)


class _Pad(torch.autograd.Function):
    """Packed heads [T, H, K] as padded ones, [N, H, S, K]; the gradient is a gather too."""

    @staticmethod
    def forward(context: Any, heads_THK: Tensor, rows: _Rows) -> Tensor:
        context.rows = rows
        return _gather(heads_THK, rows.padded_NHS)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        rows: _Rows = context.rows
        gradient_THK = _gather(gradients[0], rows.packed_TH)
        gradient_THK[rows.num_positions :] = 0
        return gradient_THK, None


class _Unpad(torch.autograd.Function):
    """Padded heads [N, H, S, K] as packed ones, [T, H, K]."""

    @staticmethod
    def forward(context: Any, heads_NHSK: Tensor, rows: _Rows) -> Tensor:
        context.rows = rows
        return _gather(heads_NHSK, rows.packed_TH)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        rows: _Rows = context.rows
        gradient_NHSK = _gather(gradients[0], rows.padded_NHS)
        if rows.is_padding_NS is not None:
            gradient_NHSK.masked_fill_(rows.is_padding_NS[:, None, :, None], 0)
        return gradient_NHSK, None


def _gather(heads: Tensor, rows: Tensor) -> Tensor:
    width = heads.shape[-1]
    return heads.reshape(-1, width).index_select(0, rows.flatten()).view(*rows.shape, width)


def _attend(
    q_NHSK: Tensor, k_NHSK: Tensor, v_NHSK: Tensor, bias_N1SS: Tensor | None, dropout_p: float
) -> Tensor:
    """Return softmax(q · kᵀ / √K + bias) · v."""
    scale = q_NHSK.shape[-1] ** -0.5
    q, k, v = (heads.flatten(0, 1) for heads in (q_NHSK, k_NHSK, v_NHSK))
    scores_NHSS = torch.bmm(q * scale, k.transpose(1, 2)).view(*q_NHSK.shape[:3], -1)
    if bias_N1SS is not None:
        scores_NHSS = scores_NHSS + bias_N1SS
    weights_NHSS = functional.dropout(scores_NHSS.softmax(-1), dropout_p)
    return torch.bmm(weights_NHSS.flatten(0, 1), v).view(q_NHSK.shape)
