"""Beam search over a batch, as in fairseq and fairseq2, without a loop over sentences.

Shape suffixes: B sentences; K beams; C = 2·K candidates; N = B·K rows; T tokens; M results.
"""

# ruff: noqa: N803, N806 (shape suffixes)

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from corpus.errors import DataError
from nmt.translation.decoding.decoder import DecoderState, DecoderStates
from nmt.translation.decoding.scores import Candidates, Symbols, likeliest_tokens

_BARRED = -1e10
"""Log-probability of what must not be found, and takes a beam's place (CTranslate2)."""


class Hypothesis(NamedTuple):
    """A translation as tokens."""

    tokens: list[int]
    """Without prompt and end."""

    log_probability: float
    """Of tokens and end, given the source and the target language."""

    is_complete: bool
    """Whether it ended with the end token rather than at the length limit."""

    @property
    def length(self) -> int:
        """Tokens that its score is divided by: language, text, end, as in fairseq."""
        return len(self.tokens) + 2

    def score(self, length_penalty: float) -> float:
        """Return log-probability / length^penalty."""
        return float(self.log_probability / self.length**length_penalty)


class BeamSearch:
    """Searches for the most likely translations of one batch.

    At each step the 2·K best continuations of a sentence's K beams are looked at. One that ends and
    is among the first K is a finished hypothesis; the first K that do not end are continued. A
    sentence is done with K finished hypotheses, or when no beam can reach a better score than its
    best M ones.
    """

    def __init__(
        self,
        state: DecoderState | DecoderStates,
        weight_VD: Tensor | Sequence[Tensor],
        symbols: Symbols,
        *,
        beam_size: int,
        length_penalty: float,
        unlikely_empty: bool = True,
        num_results: int = 1,
    ) -> None:
        """Set up a search.

        Args:
            state: The encoded sentences, of one model or of several.
            weight_VD: Output embedding; of each model if there are several, whose probabilities
                are averaged.
            symbols: Tokens that stand for no text.
            beam_size: Hypotheses that are continued, K.
            length_penalty: Scores are divided by tokens to this power.
            unlikely_empty: Whether the end may come first without being the likeliest; CTranslate2
                keeps a beam that scores nothing in its place.
            num_results: Hypotheses of each sentence that are returned, M, at most K.
        """
        self._state = state
        self._weight_VD = weight_VD
        self._device = (weight_VD if isinstance(weight_VD, Tensor) else weight_VD[0]).device
        self._num_results = num_results
        self._symbols = symbols
        self._beam_size = beam_size
        self._length_penalty = length_penalty
        self._unlikely_empty = unlikely_empty

    def run(self, target: int, limits: Sequence[int]) -> list[Hypothesis]:
        """Return the best hypothesis of each sentence; see `run_many`."""
        return [found[0] for found in self.run_many(target, limits)]

    def run_many(self, target: int, limits: Sequence[int]) -> list[list[Hypothesis]]:
        """Return the M best hypotheses of each sentence, best first.

        Args:
            target: Token of the target language.
            limits: Tokens that each sentence's hypothesis may have, its end included.

        Raises:
            DataError: If the model gives what is not a number.
        """
        num, device = len(limits), self._device
        self._begin(num, max(limits), device)
        limit_B = torch.tensor(limits, device=device)
        self._state.step(torch.full((num, 1), self._symbols.end, device=device))
        last_BK = torch.full((num, 1), target, device=device)
        for length in range(1, max(limits) + 1):
            output_ND = self._state.step(last_BK)
            found = likeliest_tokens(output_ND, self._weight_VD, self._symbols, 2 * self._beam_size)
            at_limit_B = limit_B[self._sentence_B] == length
            last = self._advance(found, length, at_limit_B, limit_B[self._sentence_B])
            if last is None:
                break
            last_BK = last
        return self._results()

    def _begin(self, num: int, longest: int, device: torch.device) -> None:
        self._sentence_B = torch.arange(num, device=device)
        self._score_BK = torch.zeros(num, 1, device=device)
        self._token_BKT = torch.full((num, 1, longest), self._symbols.pad, device=device)
        self._num_finished_B = torch.zeros(num, dtype=torch.int64, device=device)
        # Of all sentences, whether still worked on or not:
        shape = (num, self._num_results)
        self._best_score_BM = torch.full(shape, -torch.inf, device=device)
        self._best_token_BMT = torch.full((*shape, longest), self._symbols.pad, device=device)
        self._best_length_BM = torch.zeros(shape, dtype=torch.int64, device=device)
        self._best_forced_BM = torch.zeros(shape, dtype=torch.bool, device=device)

    def _advance(
        self, found: Candidates, length: int, at_limit_B: Tensor, limit_B: Tensor
    ) -> Tensor | None:
        """Choose the next token of every beam; None when all sentences are done."""
        num, old_beams = self._score_BK.shape
        beams = self._beam_size
        at_limit_N = at_limit_B.repeat_interleave(old_beams)
        token_NC, gain_NC = _end_at_limit(found, self._symbols, at_limit_N)
        total = (gain_NC.view(num, old_beams, -1) + self._score_BK.unsqueeze(2)).flatten(1)
        total_BC, place_BC = total.topk(2 * beams, dim=1)
        parent_BC = place_BC // token_NC.shape[1]
        token_BC = token_NC.view(num, -1).gather(1, place_BC)
        is_end_BC = token_BC == self._symbols.end
        if length == 1 and not self._unlikely_empty:
            is_barred_BC = is_end_BC & (torch.arange(2 * beams, device=self._device) > 0)
            total_BC = total_BC.masked_fill(is_barred_BC, _BARRED)
            token_BC = token_BC.masked_fill(is_barred_BC, self._symbols.pad)
            is_end_BC = is_end_BC & ~is_barred_BC
        # At the limit a beam whose most likely token is the end has ended properly.
        likes_to_go_on_BK = (found.token_NC[:, 0] != self._symbols.end).view(num, -1)
        is_forced_BK = at_limit_B.unsqueeze(1) & likes_to_go_on_BK
        self._finish(total_BC[:, :beams], parent_BC, is_end_BC[:, :beams], length, is_forced_BK)

        # Each beam ends at most once among the candidates, so that K of the 2·K do not end.
        going_BK = is_end_BC.int().argsort(dim=1, stable=True)[:, :beams]
        score_BK = total_BC.gather(1, going_BK)
        is_done_B = at_limit_B | (self._num_finished_B >= beams)
        is_done_B |= self._cannot_improve(score_BK[:, 0], limit_B)
        kept_B = (~is_done_B).nonzero().squeeze(1)
        if len(kept_B) == 0:
            return None
        parent_BK, token_BK = parent_BC.gather(1, going_BK), token_BC.gather(1, going_BK)
        if len(kept_B) < num:
            score_BK, parent_BK, token_BK = score_BK[kept_B], parent_BK[kept_B], token_BK[kept_B]
            self._state.keep(kept_B)
            self._sentence_B = self._sentence_B[kept_B]
            self._num_finished_B = self._num_finished_B[kept_B]
        row_N = (kept_B.unsqueeze(1) * old_beams + parent_BK).flatten()
        self._state.reorder(row_N)
        self._score_BK = score_BK
        self._token_BKT = self._token_BKT.flatten(0, 1)[row_N].view(len(kept_B), beams, -1)
        self._token_BKT[:, :, length - 1] = token_BK
        return token_BK

    def _finish(
        self,
        total_BK: Tensor,
        parent_BC: Tensor,
        is_end_BK: Tensor,
        length: int,
        is_forced_BK: Tensor,
    ) -> None:
        """Count the hypotheses that end here, and remember the best of each sentence."""
        self._num_finished_B += is_end_BK.sum(dim=1)
        normalized_BK = total_BK.where(is_end_BK, -torch.inf) / self._divisor(length)
        # Stable, so that of equal scores the one found first stays before.
        joined = torch.cat([self._best_score_BM[self._sentence_B], normalized_BK], dim=1)
        score_BM, place_BM = joined.sort(dim=1, descending=True, stable=True)
        score_BM, place_BM = score_BM[:, : self._num_results], place_BM[:, : self._num_results]
        first_M = torch.arange(self._num_results, device=self._device)
        better_B = (place_BM != first_M).any(dim=1).nonzero().squeeze(1)
        if len(better_B) == 0:
            return
        sentence, place = self._sentence_B[better_B], place_BM[better_B]
        parent = parent_BC[better_B, : self._beam_size]
        there = self._best_token_BMT[sentence], self._token_BKT[better_B.unsqueeze(1), parent]
        tokens = torch.cat(there, dim=1)
        lengths = torch.cat(
            [self._best_length_BM[sentence], torch.full_like(parent, length)], dim=1
        )
        forced = torch.cat(
            [self._best_forced_BM[sentence], is_forced_BK[better_B.unsqueeze(1), parent]], dim=1
        )
        self._best_score_BM[sentence] = score_BM[better_B]
        self._best_token_BMT[sentence] = tokens.gather(
            1, place.unsqueeze(2).expand(-1, -1, tokens.shape[2])
        )
        self._best_length_BM[sentence] = lengths.gather(1, place)
        self._best_forced_BM[sentence] = forced.gather(1, place)

    def _cannot_improve(self, score_B: Tensor, limit_B: Tensor) -> Tensor:
        """Whether the best beam would come last even if it reached the limit at no further cost."""
        bound_B = score_B / (limit_B + 1) ** self._length_penalty
        return self._best_score_BM[self._sentence_B, -1] >= bound_B

    def _divisor(self, length: int) -> float:
        return float((length + 1) ** self._length_penalty)

    def _results(self) -> list[list[Hypothesis]]:
        lengths = self._best_length_BM.tolist()
        if any(row[0] == 0 for row in lengths):
            raise DataError(
                "the model's outputs are not numbers; its weights are damaged, or `dtype` is too"
                " narrow for them"
            )
        found = zip(
            self._best_token_BMT.tolist(),
            lengths,
            self._best_score_BM.tolist(),
            self._best_forced_BM.tolist(),
            strict=True,
        )
        return [
            [
                Hypothesis(tokens[: length - 1], score * self._divisor(length), not is_forced)
                for tokens, length, score, is_forced in zip(*sentence, strict=True)
                if length
            ]
            for sentence in found
        ]


def _end_at_limit(found: Candidates, symbols: Symbols, at_limit_N: Tensor) -> tuple[Tensor, Tensor]:
    """Leave rows at the length limit one candidate: the end."""
    first_C = torch.arange(found.token_NC.shape[1], device=at_limit_N.device) == 0
    forced_NC = at_limit_N.unsqueeze(1)
    only_end_NC = found.end_N.unsqueeze(1).where(first_C, -torch.inf)
    token_NC = found.token_NC.masked_fill(forced_NC & first_C, symbols.end)
    # What is not the end must not look like it, in the rows that it is taken from.
    token_NC = token_NC.masked_fill(forced_NC & ~first_C, symbols.pad)
    return token_NC, torch.where(forced_NC, only_end_NC, found.log_probability_NC)
