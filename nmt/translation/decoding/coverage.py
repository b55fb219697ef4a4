"""How much of a sentence its translation attends to: what it does not may have been left out.

Wu et al. 2016 score hypotheses by coverage, the attention that each source token gets from all
target tokens together. Here it is the mean over layers and heads, in one pass of the decoder.

Shape suffixes: B sentences; S source positions; T target positions; H heads; d head size.
"""

# ruff: noqa: N806 (shape suffixes)

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from nmt.fairseq import BatchLayout, StandardMultiheadAttention, StandardTransformerDecoderLayer
from nmt.model.translator import Translator

COVERED = 0.3
"""Attention from which on a token counts as translated (docs/experiments.md)."""


@torch.inference_mode()
def uncovered_shares(
    model: Translator,
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    symbols: Sequence[int],
    pad: int,
) -> list[float]:
    """Return for each sentence the share of its tokens that get less attention than `COVERED`.

    Args:
        model: The model.
        sources: Tokens of the sentences, with language and end.
        targets: Tokens of the translations that the decoder is given, with prompt and language.
        symbols: Tokens that do not count: languages and the end.
        pad: Token that fills up the shorter ones.

    Returns:
        Shares, 0 to 1; 0 for a sentence without text.
    """
    device = model.output_weight.device
    source_BS, target_BT = _padded(sources, pad, device), _padded(targets, pad, device)
    source_layout = BatchLayout.of(source_BS, [len(row) for row in sources])
    target_layout = BatchLayout.of(target_BT, [len(row) for row in targets])
    with _recorded(model) as (queries, keys):
        hidden_BSD, hidden_layout = model.encoder_frontend(source_BS, source_layout)
        encoded_BSD = model.encoder(hidden_BSD, hidden_layout)
        model.decoder(*model.decoder_frontend(target_BT, target_layout), encoded_BSD, hidden_layout)
    is_source_BS = source_BS != pad
    is_target_BT = target_BT != pad
    total_BS = torch.zeros(source_BS.shape, device=device)
    for attention, query, key in zip(_attentions(model), queries, keys, strict=True):
        query_BHTd, key_BHSd = (
            tensor.float().view(*tensor.shape[:2], attention.num_heads, -1).transpose(1, 2)
            for tensor in (query, key)
        )
        logits_BHTS = query_BHTd @ key_BHSd.transpose(2, 3) / attention.head_dim**0.5
        logits_BHTS.masked_fill_(~is_source_BS[:, None, None, :], -torch.inf)
        weight_BTS = logits_BHTS.softmax(dim=3).mean(dim=1)
        total_BS += (weight_BTS * is_target_BT.unsqueeze(2)).sum(dim=1)
    coverage_BS = total_BS / len(queries)
    is_text_BS = is_source_BS & ~torch.isin(source_BS, torch.tensor(list(symbols), device=device))
    lacking_B = ((coverage_BS < COVERED) & is_text_BS).sum(dim=1)
    shares: list[float] = (lacking_B / is_text_BS.sum(dim=1).clamp_min(1)).tolist()
    return shares


def _attentions(model: Translator) -> list[StandardMultiheadAttention]:
    """Return each layer's attention to the source."""
    found = []
    for layer in model.decoder.layers:
        assert isinstance(layer, StandardTransformerDecoderLayer)
        assert isinstance(layer.encoder_decoder_attn, StandardMultiheadAttention)
        found.append(layer.encoder_decoder_attn)
    return found


@contextmanager
def _recorded(model: Translator) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Collect the queries and keys of each layer's attention to the source."""
    queries: list[Tensor] = []
    keys: list[Tensor] = []
    handles = [
        projection.register_forward_hook(
            lambda module, inputs, output, into=into: into.append(output)
        )
        for attention in _attentions(model)
        for projection, into in ((attention.q_proj, queries), (attention.k_proj, keys))
    ]
    try:
        yield queries, keys
    finally:
        for handle in handles:
            handle.remove()


def _padded(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], device=device)
