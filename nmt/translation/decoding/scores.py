"""From the decoder's output to log-probabilities of the next token, a few rows at a time.

Shape suffixes: N rows; D model_dim; V vocabulary; C candidates.
"""

# ruff: noqa: N803, N806, N815 (shape suffixes)

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_LOGITS_AT_ONCE = 1 << 24
"""64 MB in float32: with 256,206 tokens, 65 rows."""

_BLOCK = 512


class Symbols(NamedTuple):
    """Tokens that stand for no text."""

    pad: int
    unknown: int
    end: int
    may_be_unknown: bool = False
    """Whether a hypothesis may take the unknown token."""

    @property
    def forbidden(self) -> list[int]:
        """Tokens that no hypothesis may use; their probability is not redistributed."""
        return [self.pad] if self.may_be_unknown else [self.pad, self.unknown]


class Candidates(NamedTuple):
    """The likeliest next tokens of rows, best first, and how likely it is that they end here."""

    log_probability_NC: Tensor
    token_NC: Tensor
    end_N: Tensor


Several = Tensor | Sequence[Tensor]
"""Of one model, or of each of several."""


def logits_of(output_ND: Several, weight_VD: Several) -> Tensor:
    """Return output · weight^T, [N, V] in float32; log of the mean probability for several models.

    Either way, its softmax is the probability of the next token.
    """
    if isinstance(output_ND, Tensor):
        assert isinstance(weight_VD, Tensor)
        return functional.linear(output_ND, weight_VD).float()
    total_NV: Tensor | None = None
    for output, weight in zip(output_ND, weight_VD, strict=True):
        logits_NV = functional.linear(output, weight).float().log_softmax(dim=1)
        total_NV = logits_NV if total_NV is None else torch.logaddexp(total_NV, logits_NV)
    assert total_NV is not None
    return total_NV.sub_(math.log(len(output_ND)))


def likeliest_tokens(
    output_ND: Several, weight_VD: Several, symbols: Symbols, count: int
) -> Candidates:
    """Return the `count` likeliest tokens of each row under softmax(output · weight^T).

    Logits are never held for all rows at once.
    """
    first = weight_VD if isinstance(weight_VD, Tensor) else weight_VD[0]
    rows = max(1, _LOGITS_AT_ONCE // len(first))
    parts = [
        _likeliest(part, weight_VD, symbols, count)
        for part in (
            torch.split(output_ND, rows)
            if isinstance(output_ND, Tensor)
            else zip(*(torch.split(output, rows) for output in output_ND), strict=True)
        )
    ]
    if len(parts) == 1:
        return parts[0]
    return Candidates(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def _likeliest(output_ND: Several, weight_VD: Several, symbols: Symbols, count: int) -> Candidates:
    logits_NV = logits_of(output_ND, weight_VD)
    forbidden = logits_NV[:, symbols.forbidden]
    end_N = logits_NV[:, symbols.end].clone()
    logits_NV[:, symbols.forbidden] = -torch.inf
    top_NC, token_NC = top_of_rows(logits_NV, count)
    logits_NV[:, symbols.forbidden] = forbidden
    peak_N = torch.maximum(top_NC[:, 0], forbidden.amax(dim=1))
    # In place: the logits are not needed any more, and are too large to be copied for nothing.
    total_N = logits_NV.sub_(peak_N.unsqueeze(1)).exp_().sum(dim=1)
    normalizer_N = total_N.log_().add_(peak_N)
    return Candidates(top_NC - normalizer_N.unsqueeze(1), token_NC, end_N - normalizer_N)


def top_of_rows(values_NV: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest values of each row and where they are, as `topk` does.

    In a long row the maxima of its blocks are found first: the largest `count` values are in the
    `count` blocks with the largest maxima. That reads a row once, where `topk` partly sorts it.
    """
    num_rows, length = values_NV.shape
    whole = length // _BLOCK * _BLOCK
    if whole // _BLOCK <= 2 * count:
        return values_NV.topk(count, dim=1)
    blocks = values_NV[:, :whole].view(num_rows, -1, _BLOCK)
    block_NC = blocks.amax(dim=2).topk(count, dim=1).indices
    chosen = blocks[torch.arange(num_rows, device=values_NV.device).unsqueeze(1), block_NC]
    rest = values_NV[:, whole:]
    top_NC, place_NC = torch.cat([chosen.flatten(1), rest], dim=1).topk(count, dim=1)
    inside = count * _BLOCK
    block = block_NC.gather(1, (place_NC // _BLOCK).clamp_max(count - 1))
    index_NC = torch.where(
        place_NC < inside, block * _BLOCK + place_NC % _BLOCK, place_NC - inside + whole
    )
    return top_NC, index_NC
