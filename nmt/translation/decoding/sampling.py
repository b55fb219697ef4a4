"""Translations drawn token by token, the same whatever else is in the batch.

Shape suffixes: N rows, one per sentence; V vocabulary; T tokens.
"""

# ruff: noqa: N803, N806 (shape suffixes)

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from corpus.errors import DataError
from nmt.translation.decoding.beam import Hypothesis
from nmt.translation.decoding.config import SamplingConfig
from nmt.translation.decoding.decoder import DecoderState, DecoderStates
from nmt.translation.decoding.scores import Several, Symbols, logits_of


def sample(
    state: DecoderState | DecoderStates,
    weight_VD: Several,
    symbols: Symbols,
    target: int,
    limits: Sequence[int],
    keys: Sequence[Sequence[int]],
    config: SamplingConfig,
) -> list[Hypothesis]:
    """Draw one translation of each sentence.

    Args:
        state: The encoded sentences.
        weight_VD: Output embedding; of each model if there are several.
        symbols: Tokens that stand for no text.
        target: Token of the target language.
        limits: Tokens that each sentence's hypothesis may have, its end included.
        keys: Numbers that name each sentence; with the seed they decide what is drawn for it.
        config: From what is drawn.

    Raises:
        DataError: If the model gives what is not a number.
    """
    first = weight_VD if isinstance(weight_VD, Tensor) else weight_VD[0]
    num, device = len(limits), first.device
    draws_NT = _draws(limits, keys, config.seed).to(device)
    state.step(torch.full((num, 1), symbols.end, device=device))
    last_N1 = torch.full((num, 1), target, device=device)
    sentences = list(range(num))
    tokens: list[list[int]] = [[] for _ in range(num)]
    totals = [0.0] * num
    complete = [False] * num
    for length in range(1, max(limits) + 1):
        logits_NV = logits_of(state.step(last_N1), weight_VD)
        token_N, gain_N = draw(logits_NV, symbols, draws_NT[sentences, length - 1], config)
        is_last_N = torch.tensor([limits[i] == length for i in sentences], device=device)
        is_forced_N = is_last_N & (token_N != symbols.end)
        end_N = logits_NV[:, symbols.end] - logits_NV.logsumexp(dim=1)
        gain_N = torch.where(is_forced_N, end_N, gain_N)
        if not bool(gain_N.isfinite().all()):
            raise DataError("the model's outputs are not finite numbers; its weights are damaged")
        drawn, gains, forced = token_N.tolist(), gain_N.tolist(), is_forced_N.tolist()
        going = []
        for row, i in enumerate(sentences):
            totals[i] += gains[row]
            if forced[row] or drawn[row] == symbols.end:
                complete[i] = not forced[row]
                continue
            tokens[i].append(drawn[row])
            going.append(row)
        if not going:
            break
        if len(going) < len(sentences):
            kept = torch.tensor(going, device=device)
            state.keep(kept)
            state.reorder(kept)
            token_N = token_N[kept]
            sentences = [sentences[row] for row in going]
        last_N1 = token_N.unsqueeze(1)
    return [Hypothesis(*found) for found in zip(tokens, totals, complete, strict=True)]


def _draws(limits: Sequence[int], keys: Sequence[Sequence[int]], seed: int) -> Tensor:
    """Return uniform numbers in [0, 1), a row per sentence from a generator of its own."""
    draws = np.zeros((len(limits), max(limits)), np.float64)
    for row, (limit, key) in enumerate(zip(limits, keys, strict=True)):
        draws[row, :limit] = np.random.default_rng([seed, *key]).random(limit)
    return torch.from_numpy(draws)


def draw(
    logits_NV: Tensor, symbols: Symbols, draw_N: Tensor, config: SamplingConfig
) -> tuple[Tensor, Tensor]:
    """Return tokens and their log-probabilities in the model, whatever they are drawn from.

    A token is drawn where its place among the summed probabilities, likeliest first or, with all
    allowed, in the vocabulary's order, reaches the uniform number.
    """
    allowed_NV = logits_NV.clone()
    allowed_NV[:, symbols.forbidden] = -torch.inf
    if config.top_k or config.top_p < 1:
        count = min(config.top_k or allowed_NV.shape[1], allowed_NV.shape[1])
        top, index = allowed_NV.topk(count, dim=1)
        share = (top / config.temperature).softmax(dim=1, dtype=torch.float64)
        # A token is allowed where those before it do not reach `top_p` yet; the first always is.
        share = share.where(share.cumsum(dim=1) - share < config.top_p, 0)
    else:
        share = (allowed_NV / config.temperature).softmax(dim=1, dtype=torch.float64)
        index = None
    reached = share.cumsum(dim=1)
    wanted = draw_N * reached[:, -1]
    place = torch.searchsorted(reached, wanted.unsqueeze(1), right=True)
    last = (share > 0).int().cumsum(dim=1).argmax(dim=1, keepdim=True)
    place = torch.minimum(place, last)  # rounding may step past the last token that is allowed
    token = place if index is None else index.gather(1, place)
    gain = logits_NV.gather(1, token).squeeze(1) - logits_NV.logsumexp(dim=1)
    return token.squeeze(1), gain
