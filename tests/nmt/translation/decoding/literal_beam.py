"""Beam search restated as a loop over hypotheses that decodes every prefix anew."""

import torch

from nmt.fairseq import BatchLayout
from nmt.model.translator import Translator

BEGIN, PAD, END, UNKNOWN = range(4)


def log_probabilities(model: Translator, source: list[int], prefix: list[int]) -> torch.Tensor:
    """Return log p(token | source, prefix) of every token."""
    sources, targets = torch.tensor([source]), torch.tensor([prefix])
    with torch.inference_mode():
        logits = model(sources, BatchLayout.of(sources), targets, BatchLayout.of(targets))
    return logits[0, -1].double().log_softmax(0)


def beam_search(
    model: Translator,
    source: list[int],
    target: int,
    *,
    beam_size: int,
    limit: int,
    length_penalty: float,
    unlikely_empty: bool = True,
) -> tuple[list[int], float, bool]:
    """Return a sentence's best hypothesis, its log-probability, and whether it ended by itself."""
    return beam_search_finished(
        model,
        source,
        target,
        beam_size=beam_size,
        limit=limit,
        length_penalty=length_penalty,
        unlikely_empty=unlikely_empty,
    )[0]


def beam_search_finished(
    model: Translator,
    source: list[int],
    target: int,
    *,
    beam_size: int,
    limit: int,
    length_penalty: float,
    unlikely_empty: bool = True,
) -> list[tuple[list[int], float, bool]]:
    """Return a sentence's finished hypotheses as `beam_search` does, best first."""
    beams: list[tuple[list[int], float]] = [([], 0.0)]
    finished: list[tuple[list[int], float, bool]] = []
    for length in range(1, limit + 1):
        candidates: list[tuple[list[int], int, float, bool]] = []
        for tokens, total in beams:
            gains = log_probabilities(model, source, [END, target, *tokens])
            end_is_best = int(gains.argmax()) == END
            allowed = [END] if length == limit else range(len(gains))
            candidates += [
                (tokens, token, total + float(gains[token]), length < limit or end_is_best)
                for token in allowed
                if token not in (PAD, UNKNOWN)
            ]
        candidates.sort(key=lambda candidate: -candidate[2])
        best = candidates[: 2 * beam_size]
        if length == 1 and not unlikely_empty:
            best = [
                (tokens, PAD, -1e10, own)
                if rank > 0 and token == END
                else (tokens, token, sum_, own)
                for rank, (tokens, token, sum_, own) in enumerate(best)
            ]
        finished += [(t, total, own) for t, token, total, own in best[:beam_size] if token == END]
        if len(finished) >= beam_size:
            break
        going = [([*t, token], total) for t, token, total, _ in best if token != END]
        beams = going[:beam_size]
    finished.sort(key=lambda found: -found[1] / (len(found[0]) + 2) ** length_penalty)
    return finished
