"""The search for a GPU finds what the search on a CPU does; here on the CPU, by the same code."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from corpus.errors import UserError  # noqa: E402
from mining.search.config import MineConfig  # noqa: E402
from mining.search.device import device_neighbors  # noqa: E402
from mining.search.exact import exact_neighbors  # noqa: E402
from mining.search.flat import FlatProducts  # noqa: E402
from mining.search.kernel import Float16  # noqa: E402
from mining.search.margin import Neighbors  # noqa: E402
from mining.search.neighbors import find_neighbors  # noqa: E402
from mining.search.vectors import make_vectors  # noqa: E402

CPU = torch.device("cpu")


def vectors(count: int, width: int, seed: int, grain: int = 0) -> Float16:
    """Random vectors; with a grain, of few different numbers, so that many cosines are equal."""
    random = np.random.default_rng(seed)
    if grain:
        made = random.integers(-grain, grain + 1, (count, width)).astype(np.float16)
        made[:, 0] = grain + 1
        return made
    return random.standard_normal((count, width)).astype(np.float16)


def check_same(found: Neighbors, expected: Neighbors) -> None:
    assert (found.cosines == expected.cosines).all()
    assert (found.ids == expected.ids).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("sources", "targets", "width", "grain", "count"),
    [
        (0, 5, 3, 0, 4),
        (5, 0, 3, 0, 4),
        (1, 1, 3, 0, 4),
        (90, 3, 8, 1, 4),
        (70, 200, 33, 0, 4),
        (150, 500, 8, 2, 16),
        (40, 64, 1, 1, 1),
    ],
)
def test_neighbors_are_those_of_the_cpu_ties_by_id(
    sources: int, targets: int, width: int, grain: int, count: int, dtype: Any
) -> None:
    products = FlatProducts()
    source = make_vectors(vectors(sources, width, 1, grain), products)
    target = make_vectors(vectors(targets, width, 2, grain), products)
    found = device_neighbors(source, target, CPU, neighbors=count, memory_mb=0, dtype=dtype)
    expected = exact_neighbors(source, target, products, neighbors=count, memory_mb=1)
    for own, other in zip(found, expected, strict=True):
        check_same(own, other)


def test_zeros_and_copies_do_not_disturb_the_order() -> None:
    products = FlatProducts()
    copies = np.repeat(vectors(3, 16, 5), 200, axis=0)
    copies[::7] = 0
    source, target = make_vectors(copies, products), make_vectors(copies[::-1].copy(), products)
    found = device_neighbors(source, target, CPU, neighbors=4, memory_mb=1, dtype=torch.float16)
    expected = exact_neighbors(source, target, products, neighbors=4, memory_mb=1)
    for own, other in zip(found, expected, strict=True):
        check_same(own, other)


def test_half_precision_is_enough_for_all_but_few_rows(caplog: pytest.LogCaptureFixture) -> None:
    source, target = (make_vectors(vectors(300, 64, i), FlatProducts()) for i in (1, 2))
    with caplog.at_level("INFO"):
        device_neighbors(source, target, CPU, neighbors=4, memory_mb=1, dtype=torch.float16)
    assert "second pass" not in caplog.text


def test_a_gpu_that_is_not_there_is_said() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    source, target = (make_vectors(vectors(5, 16, i), FlatProducts()) for i in (1, 2))
    with pytest.raises(UserError, match="finds no GPU"):
        find_neighbors(source, target, MineConfig(device="cuda"))
