import math

import pytest
import torch
from torch import nn

from corpus.errors import UserError
from nmt.training.fairseq import get_data_parallel_facade
from nmt.training.gradient_guard import GradientGuard, SkippedUpdates


def guarded(model: nn.Module, max_in_a_row: int = 3, scales_loss: bool = False) -> GradientGuard:
    return GradientGuard(
        get_data_parallel_facade(model),
        model,
        SkippedUpdates(),
        max_in_a_row=max_in_a_row,
        scales_loss=scales_loss,
    )


def train_once(model: nn.Linear, guard: GradientGuard, optimizer: torch.optim.Optimizer, x: float):
    optimizer.zero_grad()
    model(torch.full((1, 2), x)).sum().backward()
    norm = guard.clip_grad_norm(1.0)
    optimizer.step()
    return norm


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_update_without_a_finite_gradient_changes_neither_weights_nor_moments(bad: float) -> None:
    model = nn.Linear(2, 1)
    guard = guarded(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1, fused=True)
    train_once(model, guard, optimizer, 1.0)
    before = [tensor.clone() for tensor in model.parameters()]
    state = [value.clone() for s in optimizer.state.values() for value in s.values()]
    assert train_once(model, guard, optimizer, bad) == 0
    after = [value for s in optimizer.state.values() for value in s.values()]
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(state, after, strict=True))
    assert guard._skipped == SkippedUpdates(total=1, in_a_row=1)
    assert train_once(model, guard, optimizer, 1.0) > 0
    assert guard._skipped == SkippedUpdates(total=1, in_a_row=0)


def test_training_that_has_diverged_is_stopped_with_the_remedy() -> None:
    model = nn.Linear(2, 1)
    guard = guarded(model, max_in_a_row=3)
    optimizer = torch.optim.SGD(model.parameters())
    for _ in range(2):
        train_once(model, guard, optimizer, math.nan)
    with pytest.raises(UserError, match=r"3 updates in a row.*`optimizer\.learning_rate`"):
        train_once(model, guard, optimizer, math.nan)


def test_gradients_are_left_to_the_scaler_where_the_loss_is_scaled() -> None:
    model = nn.Linear(2, 1)
    guard = guarded(model, scales_loss=True)
    model(torch.full((1, 2), math.inf)).sum().backward()
    guard.clip_grad_norm(1.0)
    assert model.weight.grad is not None
    assert guard._skipped.total == 1
