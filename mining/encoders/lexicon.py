"""Which token translates which: IBM Model 1 (Brown et al. 1993, section 4).

Vectors of a new language's pieces begin as means of the vectors of the teacher's pieces that they
translate to, each by its probability. A student then finds translations before its first update.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mining.encoders.features import Int64

Float32 = npt.NDArray[np.float32]

_ITERATIONS = 8
_MAX_LINKS = 20_000_000
"""Tokens that share a sentence pair; sentence pairs beyond so many of them are not read."""


class Lexicon(NamedTuple):
    """Translations: entry i says that `source[i]` may be `target[i]`."""

    source: Int64
    target: Int64
    probability: Float32
    """p(target | source)."""

    reverse: Float32
    """p(source | target), of the same counts: low for a target that goes with everything."""


def learn_lexicon(
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    *,
    seed: int,
    iterations: int = _ITERATIONS,
    max_links: int = _MAX_LINKS,
) -> Lexicon:
    """Return translation probabilities by expectation maximization.

    Every target token comes from one source token of its pair; a token that is in every source
    (as `<s>`) takes up what translates nothing. Tokens of a sentence count once.

    Args:
        sources: Tokens of each sentence.
        targets: Those of their translations.
        seed: Of the order in which pairs are read, where there are too many.
        iterations: Of expectation and maximization.
        max_links: Bounds time and memory, which are some 30 bytes a link.
    """
    order = np.random.default_rng((seed, 6)).permutation(len(sources)).tolist()
    source_parts: list[Int64] = []
    target_parts: list[Int64] = []
    widths: list[Int64] = []
    links = 0
    for row in order:
        source, target = np.unique(sources[row]), np.unique(targets[row])
        links += len(source) * len(target)
        if links > max_links and source_parts:
            break
        source_parts.append(np.tile(source, len(target)))
        target_parts.append(np.repeat(target, len(source)))
        widths.append(np.full(len(target), len(source)))
    base = 1 + max(int(part.max(initial=0)) for part in target_parts)
    keys = np.concatenate(source_parts).astype(np.int64) * base + np.concatenate(target_parts)
    kinds, link = np.unique(keys, return_inverse=True)
    source, target = np.divmod(kinds, base)
    width = np.concatenate(widths)
    starts = np.cumsum(width) - width
    probability = reverse = np.ones(len(kinds), np.float32)
    for _ in range(iterations):
        share = probability[link]
        share /= np.repeat(np.add.reduceat(share, starts), width)
        counts = np.bincount(link, weights=share, minlength=len(kinds))
        totals = np.bincount(source, weights=counts)
        probability = (counts / totals[source]).astype(np.float32)
        reverse = (counts / np.bincount(target, weights=counts)[target]).astype(np.float32)
    return Lexicon(source, target, probability, reverse)
