"""Lines of a test set in other text by their meaning: vectors of a sentence encoder.

What counts as a paraphrase is read off the test set itself, since cosines differ from encoder to
encoder and from language to language: a training text that is closer to a line than almost all
lines are to their nearest other line, which is usually the next sentence of the same document.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.protocols import SentenceEncoder
from corpus.text import sentence_key

Float32 = NDArray[np.float32]
_BLOCK = 1 << 12
"""Lines that are compared with all others at a time; bounds memory."""


class LineVectors(NamedTuple):
    """Lines of one language, as vectors."""

    places: NDArray[np.int64]
    """Of the lines among all, [N]."""
    vectors: Float32
    """Of unit length, [N, D]."""
    limit: float
    """Cosine above which a text is a paraphrase of a line."""


class Paraphrase(NamedTuple):
    """A text that is close to a line."""

    text: int
    """Its place."""
    line: int
    """Place of the line among all."""
    cosine: float


def embed_lines(
    texts: Sequence[str],
    places: Sequence[int],
    language: str,
    encoder: SentenceEncoder,
    quantile: float,
) -> LineVectors:
    """Return the vectors of a language's lines and the cosine above which texts paraphrase them.

    Args:
        texts: The lines, [N]; copies of one are no paraphrases of each other.
        places: Of the lines among all, [N].
        language: Its code.
        encoder: Gives the vectors.
        quantile: Of the cosines of the lines to their nearest other line, which is the limit.
    """
    vectors = encoder.encode(texts, language)
    keys = np.array([hash(sentence_key(text)) for text in texts])
    nearest = np.full(len(texts), -1.0)
    for start in range(0, len(texts), _BLOCK):
        block = slice(start, start + _BLOCK)
        cosines = vectors[block] @ vectors.T
        cosines[keys[block, None] == keys] = -1
        nearest[block] = cosines.max(axis=1, initial=-1)
    limit = float(np.quantile(nearest, quantile, method="higher")) if len(texts) else 1.0
    return LineVectors(np.array(places, np.int64), vectors, limit)


def find_paraphrases(
    texts: Sequence[str], language: str, lines: Sequence[LineVectors], encoder: SentenceEncoder
) -> Iterator[Paraphrase]:
    """Yield the lines that texts are close to.

    Args:
        texts: Other text, in one language.
        language: Its code; empty if it is not known.
        lines: Those to look for.
        encoder: The one that gave the lines' vectors.
    """
    if not lines or not texts:
        return
    vectors = encoder.encode(texts, language)
    for own in lines:
        cosines = vectors @ own.vectors.T
        for text, line in zip(*np.nonzero(cosines > own.limit), strict=True):
            yield Paraphrase(int(text), int(own.places[line]), float(cosines[text, line]))
