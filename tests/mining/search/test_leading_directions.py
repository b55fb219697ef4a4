"""A search that begins in leading directions gives what one in all dimensions gives."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.search import exact, leading_directions
from mining.search.exact import _Slack, exact_neighbors
from mining.search.kernel import Best, Float16, Kernel, is_compiled
from mining.search.leading_directions import Plan, leading_frames, plan_search, whole_frames
from mining.search.margin import Float32, Neighbors
from mining.search.vectors import Products, Vectors, make_vectors, mean_vector
from tests.mining.search.test_exact import LEVELS, check_same, every_product, full_sort


def decaying(count: int, width: int, seed: int, power: float, shift: float = 0.3) -> Float16:
    """Unit vectors around a common one, whose variance falls by a power of the dimension."""
    made = np.random.default_rng(seed).standard_normal((count, width))
    made *= np.arange(1, width + 1) ** -power
    # Turned, so that directions are not coordinates.
    turn = np.linalg.qr(np.random.default_rng(99).standard_normal((width, width)))[0]
    made = made @ turn + shift
    unit: Float16 = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float16)
    return unit


def some_basis(sides: tuple[Vectors, Vectors], count: int, is_drawn: bool) -> Float32:
    width = sides[0].matrix.shape[1]
    if is_drawn:
        drawn = np.random.default_rng(5).standard_normal((width, count))
        return np.linalg.qr(drawn)[0].astype(np.float32)
    both = np.concatenate([side.matrix.astype(np.float32) for side in sides])
    both -= both.mean(axis=0)
    directions = np.linalg.eigh(both.T @ both).eigenvectors[:, ::-1]
    return np.ascontiguousarray(directions[:, :count], np.float32)


def neighbors_in(
    sides: tuple[Vectors, Vectors], products: Products, plan: Plan, count: int, threads: int = 1,
    memory: int = 1, scratch: Path | None = None,
) -> tuple[Neighbors, Neighbors]:  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "plan_search", lambda *of: plan)
        return exact_neighbors(
            *sides, products, neighbors=count, memory_mb=memory, threads=threads, scratch=scratch
        )


@settings(max_examples=15)
@given(
    seed=st.integers(0, 999), sources=st.integers(1, 90), targets=st.integers(1, 90),
    power=st.sampled_from([0.0, 0.5, 1.5]), is_drawn=st.booleans(),
    count=st.sampled_from([1, 4]), spare=st.sampled_from([1, 8, 28]),
)  # fmt: skip
def test_neighbors_do_not_depend_on_the_directions_nor_on_how_many_candidates_are_kept(
    seed: int, sources: int, targets: int, power: float, is_drawn: bool, count: int, spare: int
) -> None:
    source, target = decaying(sources, 70, seed, power), decaying(targets, 70, seed + 1, power)
    expected = full_sort(source, target, count), full_sort(target, source, count)
    for products in every_product():
        sides = make_vectors(source, products), make_vectors(target, products)
        means = mean_vector(sides[0], products), mean_vector(sides[1], products)
        frames = leading_frames(means, some_basis(sides, 64, is_drawn), products)
        found = neighbors_in(sides, products, Plan(frames, count + spare), count)
        for one, other in zip(found, expected, strict=True):
            check_same(one, other)


@pytest.mark.skipif(not is_compiled(), reason="the kernel was not compiled")
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("power", [0.0, 1.0])
def test_products_of_coordinates_and_rests_are_never_below_the_cosine(
    level: int, power: float
) -> None:
    kernel = Kernel(level)
    vectors = decaying(64, 128, 1, power), decaying(96, 128, 2, power)
    rows, columns = (make_vectors(side, kernel) for side in vectors)
    means = mean_vector(rows, kernel), mean_vector(columns, kernel)
    frames = leading_frames(means, some_basis((rows, columns), 32, False), kernel)
    left = kernel.quantize(*rows, frames[0], as_columns=False)
    right = kernel.quantize(*columns, frames[1], as_columns=True)
    best = Best.empty(64, 96)
    kernel.multiply(left, best, 0, right, None, 0)
    bounds = np.take_along_axis(best.scores, best.ids.argsort(axis=1), axis=1)
    slack = _Slack(frames[0])
    slack.add(right)
    wide = [side.astype(np.float64) for side in vectors]
    units = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in wide]
    cosines = units[0] @ units[1].T
    assert (bounds + slack.of(left.error, left.length)[:, None] >= cosines).all()
    if power:
        # And near it: otherwise nothing would ever be sure.
        assert (bounds - cosines).max() < 0.2


@pytest.mark.skipif(not is_compiled(), reason="the kernel was not compiled")
@pytest.mark.parametrize(("memory", "threads"), [(1, 1), (1, 3), (64, 2)])
def test_blocks_and_threads_change_nothing_in_leading_directions(
    tmp_path: Path, memory: int, threads: int
) -> None:
    kernel = Kernel()
    sides = (
        make_vectors(decaying(2100, 96, 1, 1.5), kernel),
        make_vectors(decaying(1001, 96, 2, 1.5), kernel),
    )
    means = mean_vector(sides[0], kernel), mean_vector(sides[1], kernel)
    plain = neighbors_in(sides, kernel, Plan(whole_frames(means), 32), 4, memory=64)
    frames = leading_frames(means, some_basis(sides, 64, False), kernel)
    found = neighbors_in(sides, kernel, Plan(frames, 16), 4, threads, memory, tmp_path)
    for one, other in zip(found, plain, strict=True):
        check_same(one, other)


def planned(source: Float16, target: Float16, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan of a search, however small it is; it must not change what is found."""
    products = every_product()[-1]
    sides = make_vectors(source, products), make_vectors(target, products)
    with monkeypatch.context() as patch:
        patch.setattr(leading_directions, "_WORTH", 0)
        plan = plan_search(*sides, products, 4)
    found = neighbors_in(sides, products, plan, 4, memory=8)
    usual = exact_neighbors(*sides, products, neighbors=4, memory_mb=8)
    for one, other in zip(found, usual, strict=True):
        check_same(one, other)
    return plan


def test_few_directions_are_taken_where_they_hold_the_vectors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = planned(decaying(700, 256, 1, 1.5), decaying(900, 256, 2, 1.5), monkeypatch)
    assert plan.frames[0].depth == plan.frames[1].depth == 64


def test_all_dimensions_are_taken_where_directions_hold_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = planned(decaying(560, 256, 1, 0.0), decaying(600, 256, 2, 0.0), monkeypatch)
    assert plan.frames[0].depth == plan.frames[1].depth == 256


def test_vectors_that_are_all_alike_are_planned_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leading_directions, "_WORTH", 0)
    products = every_product()[-1]
    alike = np.full((600, 256), 1 / 16, np.float16)
    for other in (alike, np.zeros_like(alike)):
        plan = plan_search(
            make_vectors(alike, products), make_vectors(other, products), products, 4
        )
        for frame in plan.frames:
            assert np.isfinite(frame.rounding)
            assert frame.basis is None or np.isfinite(frame.basis).all()


def test_plan_is_the_usual_one_where_there_is_little_to_do() -> None:
    products = every_product()[-1]
    sides = (
        make_vectors(decaying(560, 256, 1, 1.5), products),
        make_vectors(decaying(600, 256, 2, 1.5), products),
    )
    plan = plan_search(*sides, products, 4)
    assert plan.frames[0].basis is None
    assert plan.kept == 4 + leading_directions.SPARE
