import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt.data.config import MonolingualConfig
from nmt.data.monolingual import Denoising, _spans

MASK, RANDOM = 999, 500


def denoising(**settings: float) -> Denoising:
    config = MonolingualConfig(**settings)  # type: ignore[arg-type]
    return Denoising(config, MASK, np.array([RANDOM], np.int32))


@given(size=st.integers(1, 80), seed=st.integers(0, 999))
def test_masked_copy_is_the_sentence_without_spans_and_never_longer(size: int, seed: int) -> None:
    sentence = np.arange(size)
    masked = denoising().mask(sentence, np.random.default_rng(seed))
    assert 0 < len(masked) <= size
    kept = [token for token in masked.tolist() if token < size]
    assert kept == sorted(set(kept))
    assert len(kept) < size
    assert set(masked.tolist()) <= {*range(size), MASK, RANDOM}
    assert np.array_equal(sentence, np.arange(size))


def test_masked_share_spans_and_random_tokens_are_as_set() -> None:
    generator = np.random.default_rng(1)
    few = denoising(min_masked=0.3, max_masked=0.3, random_share=0.1)
    copies = [few.mask(np.arange(400), generator) for _ in range(200)]
    kept = np.mean([(copy < 400).sum() for copy in copies])
    masks = np.mean([(copy == MASK).sum() for copy in copies])
    random = np.mean([(copy == RANDOM).sum() for copy in copies])
    # 120 of 400 tokens in spans; spans begin anywhere and overlap, so that some tokens of the
    # budget are hidden twice: of 35 spans of 3.5 tokens on 400 about 1 in 8.
    assert 400 - 120 < kept < 400 - 100
    assert random / (masks + random) == pytest.approx(0.1, abs=0.01)
    # A span's mask goes where it begins inside another: 34.3 spans with 2.5 tokens after their
    # first, exp(-34.3 * 2.5 / 400) = 0.81 of them stay.
    assert masks + random == pytest.approx(0.81 * 120 / 3.5, rel=0.05)


@given(budget=st.integers(1, 300), seed=st.integers(0, 999))
def test_spans_sum_up_to_the_budget(budget: int, seed: int) -> None:
    lengths = _spans(budget, 3.5, np.random.default_rng(seed))
    assert lengths.sum() == budget
    assert lengths.min() >= 0
    assert lengths[-1] > 0
