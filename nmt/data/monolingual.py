"""Text of one language: its files, and copies with masked spans that a model is to restore."""

import numpy as np
from numpy.typing import NDArray

from nmt.data.config import MonolingualConfig


class Denoising:
    """Masks spans of a sentence (BART's text infilling, Lewis et al. 2020, as fairseq does it).

    Spans with lengths from a Poisson distribution, a share of the tokens in all, become a `<mask>`
    each or, a few of them, a random token; spans without length put a `<mask>` in. Unlike there, as
    many of the latter are left out as would make the sentence longer than it was, since batches are
    cut by its length.
    """

    def __init__(
        self, config: MonolingualConfig, mask_index: int, text_indices: NDArray[np.int32]
    ) -> None:
        """Prepare.

        Args:
            config: Shares and lengths.
            mask_index: Token of a masked span.
            text_indices: What random tokens are chosen from.
        """
        self._config = config
        self._mask_index = mask_index
        self._text_indices = text_indices

    def mask(
        self, sentence: NDArray[np.int64], generator: np.random.Generator
    ) -> NDArray[np.int64]:
        """Return a masked copy of a sentence's tokens, at most as long."""
        config, size = self._config, len(sentence)
        share = generator.uniform(config.min_masked, config.max_masked)
        budget = int(np.ceil(size * share))
        lengths = _spans(budget, config.mean_span, generator)
        spans = lengths[lengths > 0]
        starts = generator.permutation(size)[: len(spans)]
        result = sentence.copy()
        result[starts] = self._replacements(len(starts), generator)
        # A span ends with the sentence; where spans overlap, the later one's mask goes too.
        covered = np.zeros(size + 1, np.int64)
        np.add.at(covered, np.minimum(starts + 1, size), 1)
        np.add.at(covered, np.minimum(starts + spans, size), -1)
        result = result[np.cumsum(covered)[:size] == 0]
        inserted = min(len(lengths) - len(spans), size - len(result))
        places = generator.integers(0, len(result) + 1, inserted)
        return np.insert(result, places, self._replacements(inserted, generator))

    def _replacements(self, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
        replaced = np.full(count, self._mask_index, np.int64)
        is_random = generator.random(count) < self._config.random_share
        replaced[is_random] = generator.choice(self._text_indices, int(is_random.sum()))
        return replaced


def _spans(budget: int, mean: float, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return lengths of spans that sum up to a budget; the last is cut to it."""
    lengths = np.empty(0, np.int64)
    while lengths.sum() < budget:
        lengths = np.concatenate([lengths, generator.poisson(mean, max(1, budget))])
    sums = np.cumsum(lengths)
    last = int(np.searchsorted(sums, budget))
    lengths = lengths[: last + 1]
    lengths[last] -= sums[last] - budget
    return lengths
