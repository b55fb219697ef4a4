"""Convolutions by minimal filtering, beside direct ones."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mining.encoders.minimal_filter import convolve, minimal_filter  # noqa: E402


@pytest.mark.parametrize("order", [2, 3, 5])
def test_minimal_filter_gives_direct_convolution(order: int) -> None:
    output, kernel, given = minimal_filter(order)
    random = np.random.default_rng(order)
    signal, weights = random.normal(size=order + 3), random.normal(size=order)
    found = output.numpy().T @ ((kernel.numpy() @ weights) * (given.numpy() @ signal))
    assert found == pytest.approx(np.correlate(signal, weights, "valid"), abs=1e-12)


def direct(inputs: "torch.Tensor", weight: "torch.Tensor", left: int) -> "torch.Tensor":
    order, count = len(weight), len(inputs)
    padded = torch.nn.functional.pad(inputs, (0, 0, left, order - 1 - left))
    return sum(padded[j : j + count] @ weight[j] for j in range(order))


@pytest.mark.parametrize(("order", "left"), [(2, 0), (3, 1), (5, 2)])
@pytest.mark.parametrize("count", [1, 4, 11])
def test_convolution_and_its_gradients_are_those_of_a_direct_one(
    order: int, left: int, count: int
) -> None:
    torch.manual_seed(1)
    inputs = torch.randn(count, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(order, 3, 4, dtype=torch.float64, requires_grad=True)
    gradient = torch.randn(count, 4, dtype=torch.float64)
    results = []
    for way in (direct, convolve):
        found = way(inputs, weight, left)
        results.append((found, *torch.autograd.grad(found, (inputs, weight), gradient)))
    for expected, actual in zip(*results, strict=True):
        assert torch.allclose(actual, expected, atol=1e-10)
