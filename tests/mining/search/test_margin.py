import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.search.config import Retrieval
from mining.search.flat import nearest_neighbors
from mining.search.margin import (
    Float32,
    Neighbors,
    Pairs,
    distance_margin,
    margin_scores,
    one_to_one,
    ratio_margin,
    select_pairs,
)


def f32(*values: float) -> Float32:
    return np.array(values, np.float32)


def unit_vectors(count: int, dimension: int, seed: int) -> Float32:
    vectors = np.random.default_rng(seed).standard_normal((count, dimension))
    unit: Float32 = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def test_pair_twice_as_close_as_its_neighborhoods_scores_two() -> None:
    # By hand: 0.8 / ((0.3 + 0.5) / 2) = 2
    assert ratio_margin(f32(0.8), f32(0.3), f32(0.5)) == pytest.approx(2.0)


def test_distance_margin_is_the_difference() -> None:
    # By hand: 0.8 - (0.3 + 0.5) / 2 = 0.4
    assert distance_margin(f32(0.8), f32(0.3), f32(0.5)) == pytest.approx(0.4)


def test_absolute_margin_is_the_cosine() -> None:
    assert margin_scores(f32(0.8), f32(0.3), f32(0.5), "absolute") == pytest.approx(0.8)


def test_ratio_of_a_neighborhood_that_is_not_positive_never_passes_a_threshold() -> None:
    assert ratio_margin(f32(0.1, -0.1), f32(0.1, -0.2), f32(-0.1, -0.2)).tolist() == [-np.inf] * 2


@given(scale=st.floats(0.25, 4.0))
def test_ratio_does_not_depend_on_the_scale_of_the_similarity(scale: float) -> None:
    factor = np.float32(scale)
    scaled = ratio_margin(f32(0.8) * factor, f32(0.3) * factor, f32(0.5) * factor)
    assert scaled == pytest.approx(2.0, rel=1e-5)


def hand_made() -> tuple[Neighbors, Neighbors]:
    """Two sources, two targets: cosines [[.9, .8], [.7, .2]]; absolute margin."""
    forward = Neighbors(np.array([[0, 1], [0, 1]]), np.array([[0.9, 0.8], [0.7, 0.2]], np.float32))
    backward = Neighbors(np.array([[0, 1], [0, 1]]), np.array([[0.9, 0.7], [0.8, 0.2]], np.float32))
    return forward, backward


@pytest.mark.parametrize(
    ("retrieval", "pairs"),
    [
        ("forward", [(0, 0), (1, 0)]),
        ("backward", [(0, 0), (0, 1)]),
        ("intersect", [(0, 0)]),
        ("max", [(0, 0)]),
    ],
)
def test_retrievals_by_hand(retrieval: Retrieval, pairs: list[tuple[int, int]]) -> None:
    found = select_pairs(*hand_made(), "absolute", retrieval)
    assert list(zip(found.source.tolist(), found.target.tolist(), strict=True)) == pairs


@given(seed=st.integers(0, 50))
def test_max_is_one_to_one_and_sorted_by_score(seed: int) -> None:
    source, target = unit_vectors(30, 4, seed), unit_vectors(25, 4, seed + 1000)
    forward = nearest_neighbors(source, target, neighbors=4)
    backward = nearest_neighbors(target, source, neighbors=4)
    pairs = select_pairs(forward, backward, "distance", "max")
    assert len(set(pairs.source.tolist())) == len(set(pairs.target.tolist())) == len(pairs.score)
    assert (np.diff(pairs.score) <= 0).all()


def greedily(pairs: Pairs) -> list[tuple[int, int]]:
    """One pair after the other, as LASER's mine_bitexts does it."""
    sources: set[int] = set()
    targets: set[int] = set()
    kept = []
    for source, target in zip(pairs.source.tolist(), pairs.target.tolist(), strict=True):
        if source not in sources and target not in targets:
            sources.add(source)
            targets.add(target)
            kept.append((source, target))
    return kept


@given(
    edges=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=60),
    rounds=st.integers(0, 3),
)
def test_matching_in_rounds_is_matching_one_by_one(
    edges: list[tuple[int, int]], rounds: int
) -> None:
    both = np.array(edges, np.int64).reshape(-1, 2)
    pairs = Pairs(both[:, 0], both[:, 1], np.zeros(len(both), np.float32))
    found = one_to_one(pairs, rounds)
    assert list(zip(found.source.tolist(), found.target.tolist(), strict=True)) == greedily(pairs)


def test_long_chain_is_matched_too() -> None:
    # Each pair shares a sentence with the next: only every second one stays, one per round.
    steps = np.arange(1000)
    pairs = Pairs((steps + 1) // 2, steps // 2, np.zeros(1000, np.float32))
    assert one_to_one(pairs).source.tolist() == list(range(500))


def test_equal_scores_are_ordered_by_id() -> None:
    vectors = np.eye(4, dtype=np.float32)
    neighbors = nearest_neighbors(vectors, vectors, neighbors=2)
    pairs = select_pairs(neighbors, neighbors, "distance", "max")
    assert pairs.source.tolist() == pairs.target.tolist() == [0, 1, 2, 3]


def test_search_in_blocks_is_the_search_at_once() -> None:
    source, target = unit_vectors(203, 32, 1), unit_vectors(150, 32, 2)
    whole = nearest_neighbors(source, target, neighbors=4)
    blocks = nearest_neighbors(source, target, neighbors=4, block_size=7)
    assert (whole.ids == blocks.ids).all()
    assert (whole.cosines == blocks.cosines).all()


def test_search_finds_what_a_full_sort_finds() -> None:
    source, target = unit_vectors(50, 8, 3), unit_vectors(40, 8, 4)
    expected = np.argsort(-(source @ target.T), axis=1)[:, :5]
    assert (nearest_neighbors(source, target, neighbors=5).ids == expected).all()


def test_fewer_candidates_than_neighbors_give_them_all() -> None:
    found = nearest_neighbors(unit_vectors(3, 8, 1), unit_vectors(2, 8, 2), neighbors=16)
    assert found.ids.shape == (3, 2)
