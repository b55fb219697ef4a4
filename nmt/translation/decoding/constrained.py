"""Beam search in which given runs of tokens must appear: terms of a glossary, URLs, placeholders.

Post and Vilar 2018, "Fast Lexically Constrained Decoding with Dynamic Beam Allocation": hypotheses
are grouped by how many tokens of terms they have, and every group keeps some of the beam, so that
those that take up a term early or late live beside each other. A sentence at a time; only sentences
with terms are searched in this way.

Shape suffixes: K rows; V vocabulary.
"""

# ruff: noqa: N803, N806 (shape suffixes)

import math
from collections.abc import Iterator, Sequence
from itertools import groupby, islice, zip_longest
from typing import NamedTuple

import torch

from corpus.errors import DataError
from nmt.translation.decoding.beam import Hypothesis
from nmt.translation.decoding.decoder import DecoderState, DecoderStates
from nmt.translation.decoding.scores import Several, Symbols, logits_of

Term = tuple[int, ...]
"""Tokens that must follow each other."""


class _Beam(NamedTuple):
    tokens: tuple[int, ...] = ()
    total: float = 0.0
    met: frozenset[int] = frozenset()
    """Terms that are there."""
    current: int = -1
    """The term that is being written; -1 for none."""
    position: int = 0
    """Its tokens that are there."""
    row: int = 0
    """Of the beam it continues."""

    def progress(self, terms: Sequence[Term]) -> int:
        """Return how many tokens of terms are there."""
        return sum(len(terms[term]) for term in self.met) + self.position

    def after(self, token: int, gain: float, terms: Sequence[Term], row: int) -> Iterator["_Beam"]:
        """Yield what becomes of it with a token, which may begin any of several terms."""
        at = []
        if self.current >= 0 and terms[self.current][self.position] == token:
            at = [(self.current, self.position + 1)]
        else:
            starts = {terms[i]: i for i in range(len(terms)) if i not in self.met}
            at = [(i, 1) for term, i in starts.items() if term[0] == token] or [(-1, 0)]
        for term, position in at:
            is_met = term >= 0 and position == len(terms[term])
            yield _Beam(
                (*self.tokens, token),
                self.total + gain,
                self.met | {term} if is_met else self.met,
                -1 if is_met else term,
                0 if is_met else position,
                row,
            )

    def wanted(self, terms: Sequence[Term]) -> set[int]:
        """Return the tokens that lead on with its terms."""
        if self.current >= 0:
            return {terms[self.current][self.position]}
        return {term[0] for i, term in enumerate(terms) if i not in self.met}


class _Ended(NamedTuple):
    beam: _Beam
    total: float
    """Of its tokens and the end."""
    is_complete: bool


def search_with_terms(
    state: DecoderState | DecoderStates,
    weight_VD: Several,
    symbols: Symbols,
    *,
    terms: Sequence[Term],
    target: int,
    limit: int,
    beam_size: int,
    length_penalty: float,
) -> tuple[Hypothesis, int]:
    """Return the best translation of one sentence that has all terms, and how many it lacks.

    It lacks some only where the limit left no room for them.

    Args:
        state: The encoded sentence.
        weight_VD: Output embedding; of each model if there are several.
        symbols: Tokens that stand for no text.
        terms: What must be there, in any order, as often as it is listed.
        target: Token of the target language.
        limit: Tokens that the hypothesis may have, its end included.
        beam_size: Hypotheses that are continued; more where there are as many tokens of terms.
        length_penalty: Scores are divided by tokens to this power.

    Raises:
        DataError: If the model gives what is not a number.
    """
    device = (weight_VD if isinstance(weight_VD, torch.Tensor) else weight_VD[0]).device
    rows = max(beam_size, sum(map(len, terms)) + 1)
    beams, finished = [_Beam()], list[_Ended]()
    state.step(torch.tensor([[symbols.end]], device=device))
    last = [target]
    for length in range(1, limit + 1):
        logits_KV = logits_of(state.step(torch.tensor([last], device=device)), weight_VD)
        gain_KV = logits_KV.log_softmax(dim=1)
        if not bool(gain_KV[:, symbols.end].isfinite().all()):
            raise DataError("the model's outputs are not finite numbers; its weights are damaged")
        ends = gain_KV[:, symbols.end].tolist()
        likes_to_end = (gain_KV.argmax(dim=1) == symbols.end).tolist()
        gain_KV[:, [*symbols.forbidden, symbols.end]] = -torch.inf
        going = sorted(_candidates(beams, gain_KV, terms, rows), key=lambda beam: -beam.total)
        # As in the search without terms: an end counts among the first K that have all terms.
        whole = [beam.total for beam in going if len(beam.met) == len(terms)]
        whole += [
            beam.total + ends[i] for i, beam in enumerate(beams) if len(beam.met) == len(terms)
        ]
        least = sorted(whole, reverse=True)[:beam_size][-1:]
        for i, beam in enumerate(beams):
            ended = _Ended(beam, beam.total + ends[i], length < limit or likes_to_end[i])
            if length == limit or (len(beam.met) == len(terms) and ended.total >= least[0]):
                finished.append(ended)
        if length == limit or len(finished) >= beam_size:
            break
        beams = _allocate(going, terms, rows)
        state.reorder(torch.tensor([beam.row for beam in beams], device=device))
        last = [beam.tokens[-1] for beam in beams]
    best = min(
        finished,
        key=lambda one: (
            len(terms) - len(one.beam.met),
            -one.total / (len(one.beam.tokens) + 2) ** length_penalty,
        ),
    )
    hypothesis = Hypothesis(list(best.beam.tokens), best.total, best.is_complete)
    return hypothesis, len(terms) - len(best.beam.met)


def _candidates(
    beams: Sequence[_Beam], gain_KV: torch.Tensor, terms: Sequence[Term], rows: int
) -> Iterator[_Beam]:
    """Yield continuations of every beam: the likeliest, and those that its terms want."""
    top = gain_KV.topk(min(rows + 1, gain_KV.shape[1]), dim=1).indices.tolist()
    for row, beam in enumerate(beams):
        for token in dict.fromkeys([*top[row], *sorted(beam.wanted(terms))]):
            gain = float(gain_KV[row, token])
            if gain > -math.inf:
                yield from beam.after(token, gain, terms, row)


def _allocate(going: Sequence[_Beam], terms: Sequence[Term], rows: int) -> list[_Beam]:
    """Return the beams to continue: the best of each group by progress in turn, until all are full.

    Args:
        going: Candidates, the likeliest first.
        terms: What must be there.
        rows: Beams that are continued at most.
    """
    by_progress = sorted(going, key=lambda beam: -beam.progress(terms))  # stable
    groups = [list(g) for _, g in groupby(by_progress, lambda beam: beam.progress(terms))]
    rounds = zip_longest(*groups)
    return list(islice((beam for turn in rounds for beam in turn if beam is not None), rows))
