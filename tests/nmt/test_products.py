import pytest
import torch
from torch.nn import functional

from nmt import products

ROWS, WIDTH, INNER = 192, 64, 96


@pytest.fixture(params=[True, False], ids=["oneDNN", "MKL"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(products, "prefers_onednn", lambda: request.param)
    return bool(request.param)


def leaves() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    rows = torch.randn(3, ROWS // 3, WIDTH, requires_grad=True)
    weight = torch.randn(INNER, WIDTH, requires_grad=True)
    return rows, weight, torch.randn(INNER, requires_grad=True)


@pytest.mark.parametrize("has_bias", [True, False])
def test_linear_and_its_gradients_are_torchs(library: bool, has_bias: bool) -> None:
    ours, theirs = leaves(), leaves()
    for one, function in ((ours, products.linear), (theirs, functional.linear)):
        output = function(one[0], one[1], one[2] if has_bias else None)
        (output * torch.arange(INNER)).sum().backward()
    for one, other in zip(ours[: 2 + has_bias], theirs, strict=False):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-2)
    assert ours[0].grad is not None


def test_linear_in_training_uses_the_library_that_is_preferred(library: bool) -> None:
    rows, weight, bias = leaves()
    name = type(products.linear(rows.flatten(0, 1), weight, bias).grad_fn).__name__
    assert (name == "AddmmBackward0") is not library
    with torch.no_grad():
        torch.testing.assert_close(
            products.linear(rows, weight, bias), functional.linear(rows, weight, bias)
        )


@pytest.mark.parametrize("left_is_view", [True, False])
@pytest.mark.parametrize("right_is_view", [True, False])
@pytest.mark.parametrize("columns", [32, 96, 256])
def test_product_of_views_is_the_product(
    library: bool, left_is_view: bool, right_is_view: bool, columns: int
) -> None:
    torch.manual_seed(0)
    left = torch.randn(WIDTH, ROWS).T if left_is_view else torch.randn(ROWS, WIDTH)
    right = torch.randn(columns, WIDTH).T if right_is_view else torch.randn(WIDTH, columns)
    torch.testing.assert_close(products.multiply(left, right), left @ right, rtol=1e-4, atol=1e-4)
    into = torch.empty(ROWS, columns)
    bias = torch.randn(columns)
    products.multiply_into(into, left, right, bias)
    torch.testing.assert_close(into, left @ right + bias, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(0, 64, 8), (64, 0, 8), (128, 64, 0)])
def test_product_of_nothing_is_torchs(library: bool, shape: tuple[int, int, int]) -> None:
    rows, inner, columns = shape
    product = products.multiply(torch.ones(rows, inner), torch.ones(inner, columns))
    assert torch.equal(product, torch.zeros(rows, columns))
