"""How alike languages are in the experts they use (NLLB-200, Figure 1 of the Nature paper).

A language is the vector of its tokens' shares over the experts of a layer; the similarity of two is
the cosine of their vectors, from 0 (no expert in common) to 1 (the same shares).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.languages import UNKNOWN_FAMILY, check_language
from nmt.usage.measure import is_encoder

Float64 = NDArray[np.float64]


class LayerSimilarity(NamedTuple):
    """Similarity of the languages in one layer."""

    layer: str
    languages: tuple[str, ...]
    cosine: Float64
    """[N, N], symmetric, ones on the diagonal."""


def similarity(layer: str, usage: Mapping[str, Any]) -> LayerSimilarity:
    """Return the similarity of all languages of a layer.

    Args:
        layer: Its name.
        usage: `languages` of the layer, code to shares by expert.
    """
    languages = tuple(sorted(usage["languages"]))
    shares = np.array([usage["languages"][language] for language in languages], np.float64)
    unit = shares / np.linalg.norm(shares, axis=1, keepdims=True)
    cosine = np.clip(unit @ unit.T, 0.0, 1.0)
    np.fill_diagonal(cosine, 1.0)
    return LayerSimilarity(layer, languages, cosine)


def shown_layers(layers: Sequence[str]) -> dict[str, str]:
    """Return the layers that the figure shows, with what it calls them.

    The first and the last layer with experts of encoder and decoder; one layer where a side has but
    one.
    """
    shown = {}
    for side in ("encoder", "decoder"):
        own = sorted(
            (layer for layer in layers if is_encoder(layer) == (side == "encoder")),
            key=lambda layer: int(layer.rsplit(".", 1)[-1]),
        )
        if len(own) == 1:
            shown[own[0]] = side.capitalize()
        elif own:
            shown[own[0]] = f"Early {side}"
            shown[own[-1]] = f"Late {side}"
    return shown


class Contrast(NamedTuple):
    """Mean similarity of pairs that share a property, and of all other pairs; None of no pairs."""

    alike: float | None
    other: float | None


def contrast(found: LayerSimilarity, *, by: str) -> Contrast:
    """Compare pairs of languages of one family or script with the others.

    Args:
        found: A layer's similarity.
        by: `family` or `script`. Languages without a known family are left out.
    """
    values = np.array([getattr(check_language(code), by) for code in found.languages])
    first, second = np.triu_indices(len(values), 1)
    known = (values[first] != UNKNOWN_FAMILY) & (values[second] != UNKNOWN_FAMILY)
    cosine = found.cosine[first, second]
    alike = values[first] == values[second]
    return Contrast(_mean(cosine[known & alike]), _mean(cosine[known & ~alike]))


def _mean(values: Float64) -> float | None:
    return float(values.mean()) if len(values) else None


def cluster_order(languages: Sequence[str], found: Sequence[LayerSimilarity]) -> list[str]:
    """Return languages ordered so that similar ones, over all layers, are adjacent.

    Average linkage on the mean similarity over the layers that know both; two groups are joined
    with the ends together that are most alike.
    """
    mean = _mean_similarity(languages, found)
    groups = [[i] for i in range(len(languages))]
    linkage = mean.copy()
    np.fill_diagonal(linkage, -1.0)
    alive = list(range(len(languages)))
    while len(alive) > 1:
        inside = linkage[np.ix_(alive, alive)]
        first, second = sorted(divmod(int(inside.argmax()), len(alive)))
        one, other = alive[first], alive[second]
        sizes = len(groups[one]), len(groups[other])
        joined = (sizes[0] * linkage[one] + sizes[1] * linkage[other]) / sum(sizes)
        linkage[one], linkage[:, one] = joined, joined
        linkage[one, one] = -1.0
        groups[one] = _join(groups[one], groups[other], mean)
        alive.pop(second)
    return [languages[i] for i in groups[alive[0]]] if alive else []


def _mean_similarity(languages: Sequence[str], found: Sequence[LayerSimilarity]) -> Float64:
    total = np.zeros((len(languages), len(languages)))
    known = np.zeros_like(total)
    place = {language: i for i, language in enumerate(languages)}
    for one in found:
        rows = [place[language] for language in one.languages]
        total[np.ix_(rows, rows)] += one.cosine
        known[np.ix_(rows, rows)] += 1
    mean: Float64 = np.divide(total, known, out=np.zeros_like(total), where=known > 0)
    return mean


def _join(one: list[int], other: list[int], mean: Float64) -> list[int]:
    ends = [(mean[a[-1], b[0]], a + b) for a in (one, one[::-1]) for b in (other, other[::-1])]
    return max(ends, key=lambda end: end[0])[1]
