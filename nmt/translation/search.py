"""From the tokens of sentences to hypotheses, by the method that the config names."""

import math
from collections.abc import Sequence

import torch

from corpus.errors import UserError
from nmt.model.directory import TrainedModel
from nmt.translation.decoding.beam import BeamSearch, Hypothesis
from nmt.translation.decoding.config import TranslateConfig
from nmt.translation.decoding.constrained import Term, search_with_terms
from nmt.translation.decoding.coverage import uncovered_shares
from nmt.translation.decoding.decoder import DecoderState, DecoderStates
from nmt.translation.decoding.minimum_risk import most_agreeing
from nmt.translation.decoding.sampling import sample
from nmt.translation.decoding.scores import Symbols

_SOURCE_EXTRA = 2
"""Language token and end."""


class Search:
    """Searches with one model, or with several of one vocabulary as an ensemble.

    Attributes:
        symbols: Tokens that stand for no text.
        limit: Tokens of text that a source may have.
    """

    def __init__(self, models: Sequence[TrainedModel], config: TranslateConfig) -> None:
        """Set up the search.

        Raises:
            UserError: If the models cannot do what the config wants.
        """
        self._config = config
        self._vocabulary = words = models[0].vocabulary
        self._models = [one.translator for one in models]
        self._device = self._models[0].output_weight.device
        self.symbols = Symbols(words.pad_index, words.unknown_index, words.end_index)
        positions = min(int(one.max_source_seq_len) for one in self._models) - _SOURCE_EXTRA
        wanted = config.max_source_tokens
        if wanted > positions:
            raise UserError(
                f"`max_source_tokens` is {wanted}; the model has positions for {positions}"
            )
        self.limit = wanted or positions
        if words.size < 4 * config.beam_size:
            raise UserError(f"`beam_size` is {config.beam_size}, too large for {words.size} tokens")

    def batch_size(self, longest: int) -> int:
        """Return how many sentences of up to so many tokens are searched for together."""
        config = self._config
        rows = {"beam": config.beam_size, "sampling": 1, "mbr": config.sampling.samples}
        positions = rows[config.method] * (longest + _SOURCE_EXTRA)
        return max(1, config.max_batch_tokens // positions)

    @torch.inference_mode()
    def run(
        self,
        rows: Sequence[Sequence[int]],
        target: int,
        keys: Sequence[Sequence[int]],
        symbols: Symbols,
    ) -> list[list[Hypothesis]]:
        """Return the translations of each sentence that are wanted, best first.

        Args:
            rows: Tokens of the sentences, with language and end.
            target: Token of the target language.
            keys: Numbers that name each sentence; what is drawn for it depends on them.
            symbols: Tokens that stand for no text, and whether the unknown one may be taken.
        """
        config = self._config
        drawn = config.sampling.samples if config.method == "mbr" else 1
        if drawn > 1:
            rows = [row for row in rows for _ in range(drawn)]
            keys = [(*key, number) for key in keys for number in range(drawn)]
        lengths = [len(row) for row in rows]
        source = torch.full((len(rows), max(lengths)), symbols.pad)
        for i, row in enumerate(rows):
            source[i, : len(row)] = torch.tensor(row)
        source = source.to(self._device)
        states = [DecoderState(model, source, lengths) for model in self._models]
        weights = [model.output_weight for model in self._models]
        state = states[0] if len(states) == 1 else DecoderStates(states)
        weight = weights[0] if len(states) == 1 else weights
        limits = [self._longest(length) for length in lengths]
        if config.method == "beam":
            search = BeamSearch(
                state,
                weight,
                symbols,
                beam_size=config.beam_size,
                length_penalty=config.length_penalty,
                unlikely_empty=config.unlikely_empty,
                num_results=config.n_best,
            )
            return search.run_many(target, limits)
        found = sample(state, weight, symbols, target, limits, keys, config.sampling)
        if config.method == "sampling":
            return [[hypothesis] for hypothesis in found]
        return [[self._most_agreeing(found[i : i + drawn])] for i in range(0, len(found), drawn)]

    def _most_agreeing(self, drawn: Sequence[Hypothesis]) -> Hypothesis:
        texts = [self._vocabulary.decode(hypothesis.tokens) for hypothesis in drawn]
        return drawn[most_agreeing(texts)]

    @torch.inference_mode()
    def run_with_terms(
        self, row: Sequence[int], target: int, terms: Sequence[Term], symbols: Symbols
    ) -> tuple[Hypothesis, int]:
        """Return the best translation of a sentence that has its terms, and how many it lacks."""
        tokens = torch.tensor([row], device=self._device)
        return search_with_terms(
            DecoderStates([DecoderState(model, tokens, [len(row)]) for model in self._models]),
            [model.output_weight for model in self._models],
            symbols,
            terms=terms,
            target=target,
            limit=self._longest(len(row) + sum(map(len, terms))),
            beam_size=self._config.beam_size,
            length_penalty=self._config.length_penalty,
        )

    def uncovered(
        self,
        rows: Sequence[Sequence[int]],
        hypotheses: Sequence[Hypothesis],
        source: int,
        target: int,
    ) -> list[float]:
        """Return the share of each sentence's tokens that its translation hardly attends to.

        Args:
            rows: Tokens of the sentences, with language and end.
            hypotheses: Their translations.
            source: Token of the sentences' language.
            target: Token of the translations' language.
        """
        end = self.symbols.end
        return uncovered_shares(
            self._models[0],
            rows,
            [[end, target, *hypothesis.tokens] for hypothesis in hypotheses],
            (source, end),
            self.symbols.pad,
        )

    def _longest(self, source_tokens: int) -> int:
        """Return how many tokens a hypothesis may have, its end included."""
        config = self._config
        wanted = math.ceil(config.max_length_factor * source_tokens) + config.max_length_constant
        # The prompt takes one position; the end is never an input.
        return min(wanted, *(int(one.max_target_seq_len) - 1 for one in self._models))
