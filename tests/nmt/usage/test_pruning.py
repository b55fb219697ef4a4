from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from corpus.errors import UserError
from nmt.usage.pruning import experts_for_languages


def usage(**layers: dict[str, list[float]]) -> dict[str, Any]:
    """Return usage of layers, each given by the shares of its languages."""
    return {
        "layers": {
            name: {
                "languages": languages,
                "load": np.mean(list(languages.values()), axis=0).tolist(),
            }
            for name, languages in layers.items()
        }
    }


FOUR = usage(
    encoder={"qaa_Latn": [0.5, 0.3, 0.15, 0.05], "qab_Latn": [0.0, 0.1, 0.1, 0.8]},
    decoder={"qac_Cyrl": [0.0, 0.0, 1.0, 0.0]},
)


@pytest.mark.parametrize(
    ("languages", "share", "encoder"),
    [
        (["qaa_Latn"], 0.5, [0, 1]),  # one expert has half, and a gate chooses two
        (["qaa_Latn"], 0.8, [0, 1]),
        (["qaa_Latn"], 0.81, [0, 1, 2]),
        (["qaa_Latn"], 1.0, [0, 1, 2, 3]),
        (["qab_Latn"], 1.0, [1, 2, 3]),
        (["qaa_Latn", "qab_Latn"], 0.8, [0, 1, 3]),  # each has its own share, not the mean
    ],
)
def test_experts_are_the_fewest_with_the_share_of_every_language(
    languages: list[str], share: float, encoder: list[int]
) -> None:
    assert experts_for_languages(FOUR, languages, share)["encoder"] == encoder


def test_layer_that_knows_none_of_the_languages_keeps_all_experts() -> None:
    assert experts_for_languages(FOUR, ["qaa_Latn"], 0.5)["decoder"] == [0, 1, 2, 3]


def test_layer_keeps_two_experts_even_where_one_has_all_tokens() -> None:
    assert experts_for_languages(FOUR, ["qac_Cyrl"], 1.0)["decoder"] == [0, 2]


@given(
    shares=st.lists(st.lists(st.integers(0, 9), min_size=6, max_size=6).filter(any), min_size=1),
    share=st.floats(0.01, 1),
)
def test_every_language_keeps_its_share(shares: list[list[int]], share: float) -> None:
    languages = {str(i): [n / sum(row) for n in row] for i, row in enumerate(shares)}
    kept = experts_for_languages(usage(encoder=languages), languages, share)["encoder"]
    assert len(kept) >= 2
    assert all(sum(row[e] for e in kept) >= share - 1e-6 for row in languages.values())


@pytest.mark.parametrize("share", [0.0, 1.5, -1.0])
def test_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(UserError, match="above 0 and at most 1"):
        experts_for_languages(FOUR, ["qaa_Latn"], share)


def test_language_that_was_not_measured_is_named() -> None:
    with pytest.raises(UserError, match=r"not measured for `qad_Latn`; it was for qaa_Latn, qab"):
        experts_for_languages(FOUR, ["qaa_Latn", "qad_Latn"], 0.5)
