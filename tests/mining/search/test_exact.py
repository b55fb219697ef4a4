"""The compiled search, FAISS Flat and a full sort give the same neighbors."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import DataError
from mining.search.exact import _Search, exact_neighbors
from mining.search.flat import FlatProducts, nearest_neighbors
from mining.search.kernel import Float16, Kernel, is_compiled
from mining.search.margin import Neighbors
from mining.search.vectors import Products, make_vectors

LEVELS = [2, 1, 0] if is_compiled() else []


def every_product() -> list[Products]:
    return [FlatProducts(), *(Kernel(level) for level in LEVELS)]


def vectors(count: int, width: int, seed: int, grain: int = 0) -> Float16:
    """Unit vectors; with a grain, of few different coordinates, so that many cosines are equal."""
    random = np.random.default_rng(seed)
    made = random.standard_normal((count, width))
    if grain:
        made = random.integers(-grain, grain + 1, (count, width)).astype(np.float64)
        made[:, 0] = grain + 1
        return made.astype(np.float16)
    unit: Float16 = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float16)
    return unit


def full_sort(source: Float16, target: Float16, count: int) -> Neighbors:
    x, y = source.astype(np.float64), target.astype(np.float64)
    norms = np.sqrt((x * x).sum(1)), np.sqrt((y * y).sum(1))
    for norm in norms:
        norm[norm == 0] = 1
    cosines = ((x @ y.T) / (norms[0][:, None] * norms[1])).astype(np.float32)
    ids = np.broadcast_to(np.arange(len(y)), cosines.shape)
    order = np.lexsort((ids, -cosines), axis=1)[:, :count]
    return Neighbors(order, np.take_along_axis(cosines, order, axis=1))


def check_same(found: Neighbors, expected: Neighbors) -> None:
    assert (found.cosines == expected.cosines).all()
    assert (found.ids == expected.ids).all()


@settings(max_examples=40)
@given(
    seed=st.integers(0, 999), sources=st.integers(1, 90), targets=st.integers(1, 90),
    width=st.sampled_from([1, 3, 8, 33, 64]), grain=st.sampled_from([0, 0, 1, 2]),
    count=st.sampled_from([1, 4, 16]),
)  # fmt: skip
def test_search_is_the_full_sort_ties_by_id(
    seed: int, sources: int, targets: int, width: int, grain: int, count: int
) -> None:
    source, target = vectors(sources, width, seed, grain), vectors(targets, width, seed + 1, grain)
    for products in every_product():
        forward, backward = exact_neighbors(
            make_vectors(source, products), make_vectors(target, products), products,
            neighbors=count, memory_mb=1,
        )  # fmt: skip
        check_same(forward, full_sort(source, target, count))
        check_same(backward, full_sort(target, source, count))


def crowd(count: int, copies: int, seed: int) -> Float16:
    """Vectors so near each other that codes of a byte cannot tell them apart, and copies of one."""
    random = np.random.default_rng(seed)
    # One coordinate far from all others makes the codes of the rest coarse.
    made = np.random.default_rng(0).standard_normal(48) + 0.002 * random.standard_normal(
        (count, 48)
    )
    made[:, 0] = random.choice([-40, 40], count)
    made[count - copies :] = made[0]
    unit: Float16 = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float16)
    return unit


@pytest.mark.parametrize("products", every_product(), ids=lambda p: f"{type(p).__name__}")
def test_neighbors_that_codes_cannot_tell_apart_are_found_all_the_same(
    products: Products, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    for name in ("again", "_compare_all"):
        whole = getattr(_Search, name)

        def counted(
            *arguments: object, name: str = name, whole: Callable[..., None] = whole
        ) -> None:
            passes.append(name)
            whole(*arguments)

        monkeypatch.setattr(_Search, name, counted)
    source, target = crowd(150, 0, 1), crowd(1500, 700, 2)
    forward, backward = exact_neighbors(
        make_vectors(source, products), make_vectors(target, products), products,
        neighbors=4, memory_mb=1,
    )  # fmt: skip
    assert set(passes) == {"again", "_compare_all"}
    check_same(forward, full_sort(source, target, 4))
    check_same(backward, full_sort(target, source, 4))


@pytest.mark.skipif(not is_compiled(), reason="the kernel was not compiled")
@pytest.mark.parametrize(("memory", "threads"), [(1, 1), (1, 3), (64, 2)])
def test_blocks_and_threads_change_nothing(tmp_path: Path, memory: int, threads: int) -> None:
    kernel = Kernel()
    source, target = vectors(5000, 64, 1), vectors(6001, 64, 2)
    sides = make_vectors(source, kernel), make_vectors(target, kernel)
    plain = exact_neighbors(*sides, kernel, neighbors=4, memory_mb=64)
    found = exact_neighbors(
        *sides, kernel, neighbors=4, memory_mb=memory, threads=threads, scratch=tmp_path
    )
    for one, other in zip(found, plain, strict=True):
        check_same(one, other)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not is_compiled(), reason="the kernel was not compiled")
def test_compiled_search_is_faiss_flat() -> None:
    # The bound is exact, so FAISS may differ only where its own rounding swaps near neighbors.
    kernel = Kernel()
    source, target = vectors(700, 256, 3), vectors(900, 256, 4)
    forward, _ = exact_neighbors(
        make_vectors(source, kernel), make_vectors(target, kernel), kernel, neighbors=8, memory_mb=8
    )
    units = [side.astype(np.float32) for side in (source, target)]
    for unit in units:
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    flat = nearest_neighbors(units[0], units[1], neighbors=8)
    assert np.abs(forward.cosines - flat.cosines).max() < 1e-6
    swapped = forward.ids != flat.ids
    gaps = np.abs(np.diff(np.pad(forward.cosines, ((0, 0), (1, 1)), constant_values=9)))
    is_near = np.minimum(gaps[:, :-1], gaps[:, 1:]) < 1e-6
    assert not (swapped & ~is_near).any()


def test_vector_of_zeros_is_as_far_from_all() -> None:
    source, target = vectors(3, 8, 1), vectors(40, 8, 2)
    source[1] = 0
    for products in every_product():
        forward, _ = exact_neighbors(
            make_vectors(source, products), make_vectors(target, products), products,
            neighbors=4, memory_mb=1,
        )  # fmt: skip
        assert forward.ids[1].tolist() == [0, 1, 2, 3]
        assert forward.cosines[1].tolist() == [0, 0, 0, 0]


def test_vector_that_is_not_finite_is_named() -> None:
    source = vectors(5, 8, 1)
    source[3, 2] = np.inf
    for products in every_product():
        with pytest.raises(DataError, match="fra_Latn: vector 3 is not finite"):
            make_vectors(source, products, "fra_Latn")
