"""Which experts a few languages need, so that the others can be left out in translation."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.errors import UserError

_FEWEST = 2
"""The gate gives each token two experts."""

_ROUNDING = 1e-9
"""Sums of shares may fall short by this; without it, a share of 1 could ask for one expert more."""


def experts_for_languages(
    usage: Mapping[str, Any], languages: Iterable[str], share: float
) -> dict[str, list[int]]:
    """Return the experts of each layer that together carry at least `share` of the tokens.

    For each language the experts it uses most, as few as carry that share of its own tokens; a
    layer keeps those of all languages, and two at least. So no language loses more than 1 - share,
    not even a rare one. A layer that knows none of the languages keeps all its experts.

    Encoder layers know source languages and decoder layers target languages: give the languages of
    one side at a time where the two sides need not have all.

    Args:
        usage: What `measure_usage` returns, or `usage.json` of `tongues nmt experts` holds.
        languages: FLORES-200 codes.
        share: Share of a language's tokens, by gate weight, above 0 and up to 1.

    Returns:
        Numbers of experts by layer, rising.

    Raises:
        UserError: If the share is outside its range, or a language was not measured in any layer.
    """
    if not 0 < share <= 1:
        raise UserError(f"the share of tokens is {share}; it must be above 0 and at most 1")
    wanted = list(dict.fromkeys(languages))
    layers = usage["layers"]
    measured = {language for layer in layers.values() for language in layer["languages"]}
    unknown = [language for language in wanted if language not in measured]
    if unknown:
        raise UserError(
            f"the usage of experts was not measured for `{unknown[0]}`;"
            f" it was for {', '.join(sorted(measured))}"
        )
    kept = {}
    for name, layer in layers.items():
        there = [np.asarray(layer["languages"][one]) for one in wanted if one in layer["languages"]]
        if not there:
            kept[name] = list(range(len(layer["load"])))
            continue
        chosen = set().union(*(_most_used(shares, share) for shares in there))
        for expert in np.argsort(-np.sum(there, axis=0), kind="stable").tolist():
            if len(chosen) < _FEWEST:
                chosen.add(expert)
        kept[name] = sorted(chosen)
    return kept


def _most_used(shares: NDArray[np.float64], share: float) -> set[int]:
    """Return the fewest experts with this share of one language's tokens."""
    order = np.argsort(-shares, kind="stable")
    reached = np.cumsum(shares[order])
    count = int(np.searchsorted(reached, share * reached[-1] - _ROUNDING)) + 1
    return {int(expert) for expert in order[:count] if shares[expert] > 0}
