import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt.data import shuffling
from nmt.data.shuffling import ShuffledEpochs


@settings(max_examples=30)
@given(size=st.integers(1, 3000), seed=st.integers(0, 99), stretches=st.lists(st.integers(0, 700)))
@pytest.mark.parametrize("shuffled_whole", [0, 1 << 15])
def test_every_item_comes_once_an_epoch_however_it_is_cut(
    shuffled_whole: int, size: int, seed: int, stretches: list[int]
) -> None:
    before, shuffling._SHUFFLED_WHOLE = shuffling._SHUFFLED_WHOLE, shuffled_whole
    try:
        whole = ShuffledEpochs(size, (seed,)).items(0, 2 * size)
        for epoch in (whole[:size], whole[size:]):
            assert np.array_equal(np.sort(epoch), np.arange(size))
        order, cursor = ShuffledEpochs(size, (seed,)), 0
        for count in stretches:
            count = min(count, 2 * size - cursor)
            assert np.array_equal(order.items(cursor, count), whole[cursor : cursor + count])
            cursor += count
    finally:
        shuffling._SHUFFLED_WHOLE = before


def test_large_epochs_are_shuffled_anew_and_without_order() -> None:
    size = 100_003
    order = ShuffledEpochs(size, (1, 2)).items(0, 2 * size)
    first, second = order[:size].astype(float), order[size:].astype(float)
    # Of a random order: correlations of about 1/√n, and one fixed point on average.
    for other in (np.arange(size), np.roll(first, 1), np.roll(first, 17), second):
        assert abs(np.corrcoef(first, other)[0, 1]) < 5 / np.sqrt(size)
    assert (first == np.arange(size)).sum() < 10
    assert (first == second).sum() < 10


def test_a_stretch_of_billions_costs_only_itself() -> None:
    size = 20_000_000_000
    items = ShuffledEpochs(size, (7,)).items(size - 50, 100)
    assert len(set(items[:50])) == len(set(items[50:])) == 50
    assert items.min() >= 0
    assert items.max() < size
