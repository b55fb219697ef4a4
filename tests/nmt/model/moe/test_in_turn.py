"""Experts one after the other against autograd's own gradients."""

import pytest
import torch
from torch.nn import functional

from nmt.model.moe import in_turn
from nmt.model.moe.experts import Experts
from nmt.model.moe.in_turn import apply_in_turn
from nmt.products import multiply_into

E, D, F, A = 4, 6, 10, 9
LOADS = [[3, 0, 4, 1], [0, 0, 0, 9], [2, 3, 3, 1], [0, 0, 0, 0]]


def leaves(dtype: torch.dtype) -> list[torch.Tensor]:
    torch.manual_seed(5)
    shapes = ((A, D), (E, F, D), (E, F), (E, D, F), (E, D))
    return [torch.randn(*shape).to(dtype).requires_grad_() for shape in shapes]


def plain(load: list[int], *tensors: torch.Tensor) -> torch.Tensor:
    tokens, *weights = tensors
    parts = []
    for rows, inner, inner_bias, output, output_bias in zip(
        tokens[: sum(load)].split(load), *(weight.unbind() for weight in weights), strict=True
    ):
        hidden = functional.linear(rows, inner, inner_bias).relu()
        parts.append(functional.linear(hidden, output, output_bias))
    return torch.cat([*parts, torch.zeros_like(tokens[sum(load) :])])


@pytest.mark.parametrize("load", LOADS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_outputs_and_gradients_are_those_of_a_network_for_each_expert(
    load: list[int], dtype: torch.dtype
) -> None:
    found, expected = leaves(dtype), leaves(dtype)
    # Not contiguous, as gradients of transposed results are.
    upstream = torch.randn(D, A, generator=torch.Generator().manual_seed(1)).to(dtype).T
    outputs = apply_in_turn(*found, torch.tensor(load))  # type: ignore[call-arg]
    outputs.backward(upstream)
    reference = plain(load, *expected)
    reference.backward(upstream)
    torch.testing.assert_close(outputs, reference)
    for a, b in zip(found, expected, strict=True):
        assert a.grad is not None
        torch.testing.assert_close(a.grad, torch.zeros_like(a) if b.grad is None else b.grad)


def test_gradients_of_all_weights_are_those_of_numerical_differences() -> None:
    load = torch.tensor([3, 0, 4, 1])
    assert torch.autograd.gradcheck(
        lambda *tensors: apply_in_turn(*tensors, load), leaves(torch.float64)
    )


def test_products_for_gradients_of_frozen_weights_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = torch.tensor([3, 0, 4, 1])
    expected = leaves(torch.float32)
    apply_in_turn(*expected, load).square().sum().backward()  # type: ignore[call-arg]
    calls: list[torch.Tensor] = []

    def counted(product: torch.Tensor, *arguments: torch.Tensor) -> None:
        calls.append(product)
        multiply_into(product, *arguments)

    monkeypatch.setattr(in_turn, "multiply_into", counted)
    # Of three experts with rows: two products each for the tokens, one more for each weight.
    for frozen, products in (([], 12), ([1, 2, 3, 4], 6), ([3], 9), ([2, 4], 12)):
        tensors = leaves(torch.float32)
        for place in frozen:
            tensors[place].requires_grad_(False)
        outputs = apply_in_turn(*tensors, load)  # type: ignore[call-arg]
        calls.clear()
        outputs.square().sum().backward()
        assert len(calls) == products
        for place, (found, wanted) in enumerate(zip(tensors, expected, strict=True)):
            if place in frozen:
                assert found.grad is None
            else:
                torch.testing.assert_close(found.grad, wanted.grad, rtol=0, atol=0)


def test_without_gradients_outputs_are_the_same_and_one_expert_is_held_at_a_time() -> None:
    class Allocations(torch.utils._python_dispatch.TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                self.largest = max(self.largest, result.untyped_storage().nbytes())
            return result

    tensors, load = leaves(torch.float32), torch.tensor([40, 0, 41, 39])
    tensors[0] = torch.randn(120, D)
    kept = apply_in_turn(*tensors, load)  # type: ignore[call-arg]
    with Allocations() as allocations, torch.no_grad():
        outputs = apply_in_turn(*tensors, load)  # type: ignore[call-arg]
    torch.testing.assert_close(outputs, kept)  # alignment changes the last digit
    assert allocations.largest < 120 * F * 4
    with Allocations() as allocations:
        apply_in_turn(*tensors, load)  # type: ignore[call-arg]
    assert allocations.largest == 120 * F * 4


def test_dropout_in_half_precision_counts_in_the_gradient_what_it_kept() -> None:
    torch.manual_seed(0)
    experts = Experts(E, D, F, 0.5).train()
    tokens = torch.randn(A, D, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = experts(tokens, torch.tensor([3, 0, 4, 2]))
    assert outputs.dtype == torch.bfloat16
    assert 0 < int((outputs == 0).sum()) < outputs.numel()
    outputs.sum().backward()
    # By hand: the output bias gets 1 / (1 - p) for each output that dropout kept.
    counts = torch.stack([part.ne(0).sum(0) for part in outputs.split([3, 0, 4, 2])])
    assert experts.output_bias.grad is not None
    torch.testing.assert_close(experts.output_bias.grad, 2.0 * counts)
    assert tokens.grad is not None
    assert tokens.grad.dtype == torch.float32
