import pytest
import torch
from torch.nn import functional

from nmt.model.loss import label_smoothed_cross_entropy

N, D, V = 24, 8, 40


def leaves(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    targets = torch.randint(1, V, (N,))
    targets[4] = 0
    hidden = torch.randn(N, D).to(dtype).requires_grad_()
    return hidden, torch.randn(V, D).to(dtype).requires_grad_(), targets


@pytest.fixture(autouse=True)
def _two_positions_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nmt.model.loss.MAX_LOGITS_PER_CHUNK", 2 * V)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_chunked_loss_and_gradients_are_the_plain_ones_to_a_millionth(smoothing: float) -> None:
    hidden, weight, targets = leaves(torch.float32)
    loss, nll = label_smoothed_cross_entropy(
        hidden, weight, targets, ignored_index=0, label_smoothing=smoothing
    )
    (3 * loss).backward()
    exact_hidden, exact_weight = (
        leaf.detach().double().requires_grad_() for leaf in leaves(torch.float32)[:2]
    )
    logits = exact_hidden @ exact_weight.T
    exact = functional.cross_entropy(
        logits, targets, ignore_index=0, label_smoothing=smoothing, reduction="sum"
    )
    (3 * exact).backward()
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)
    plain_nll = functional.cross_entropy(logits, targets, ignore_index=0, reduction="sum")
    assert nll.item() == pytest.approx(plain_nll.item(), rel=1e-6)
    for found, expected in ((hidden.grad, exact_hidden.grad), (weight.grad, exact_weight.grad)):
        assert found is not None
        assert expected is not None
        assert float((found - expected).norm() / expected.norm()) < 1e-6


def test_gradient_of_a_bfloat16_weight_is_rounded_once_and_not_at_each_chunk() -> None:
    hidden, weight, targets = leaves(torch.bfloat16)
    label_smoothed_cross_entropy(hidden, weight, targets, ignored_index=0, label_smoothing=0.1)[
        0
    ].backward()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.bfloat16
    summed = torch.zeros(V, D, dtype=torch.float32)
    for begin in range(0, N, 2):
        part = hidden.detach()[begin : begin + 2].requires_grad_()
        alone = weight.detach().clone().requires_grad_()
        loss, _ = label_smoothed_cross_entropy(
            part, alone, targets[begin : begin + 2], ignored_index=0, label_smoothing=0.1
        )
        loss.backward()
        assert alone.grad is not None
        summed += alone.grad.float()  # what each chunk adds has bfloat16's precision itself
    torch.testing.assert_close(weight.grad, summed.bfloat16())


def test_products_follow_autocast_and_gradients_keep_the_types_of_their_tensors() -> None:
    hidden, weight, targets = leaves(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = label_smoothed_cross_entropy(
            hidden, weight, targets, ignored_index=0, label_smoothing=0.1
        )
    loss.backward()
    low_hidden, low_weight = hidden.detach().bfloat16(), weight.detach().bfloat16()
    logits = (low_hidden @ low_weight.T).float()
    expected = functional.cross_entropy(
        logits, targets, ignore_index=0, label_smoothing=0.1, reduction="sum"
    )
    torch.testing.assert_close(loss, expected)
    assert hidden.grad is not None
    assert weight.grad is not None
    assert hidden.grad.dtype == weight.grad.dtype == torch.float32


def test_padding_may_have_any_index_and_gets_no_gradient() -> None:
    hidden, weight, targets = leaves(torch.float32)
    targets[targets == 0] = -1
    loss, _ = label_smoothed_cross_entropy(
        hidden, weight, targets, ignored_index=-1, label_smoothing=0.1
    )
    loss.backward()
    assert hidden.grad is not None
    assert not hidden.grad[4].any()
    assert hidden.grad[5].any()


def test_second_backward_is_refused_instead_of_scaling_twice() -> None:
    hidden, weight, targets = leaves(torch.float32)
    loss, _ = label_smoothed_cross_entropy(
        hidden, weight, targets, ignored_index=0, label_smoothing=0.1
    )
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="only once"):
        loss.backward()
