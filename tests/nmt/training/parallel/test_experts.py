"""Experts that processes share: what is sent, and that no host waits for its device."""

from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from nmt.model.moe.experts import Experts
from nmt.model.moe.grouped import GROUPED_MM
from nmt.training.parallel.experts import SharedOutExperts
from nmt.training.parallel.slots import Slots, empty_slots, fill_slots


def gangs(size: int) -> Any:
    """Return gangs in which all processes share one copy of the experts."""
    everyone = SimpleNamespace(size=size, rank=0, as_process_group=lambda: dist.group.WORLD)
    alone = SimpleNamespace(size=1)
    return SimpleNamespace(sdp=everyone, rdp=alone, dp=everyone, device=torch.device("cpu"))


@pytest.fixture
def one_process() -> Iterator[None]:
    dist.init_process_group(
        "gloo", store=dist.HashStore(), rank=0, world_size=1, timeout=timedelta(seconds=30)
    )
    yield
    dist.destroy_process_group()


def test_slots_take_the_rows_of_their_group_in_order_and_give_them_back() -> None:
    rows = torch.tensor([[1.0], [2.0], [3.0], [9.0]], requires_grad=True)  # the last in no group
    slots = Slots.of(torch.tensor([2, 0, 1]), 2, len(rows))
    filled = fill_slots(rows, slots)
    assert filled.flatten().tolist() == [1, 2, 0, 0, 3, 0]
    emptied = empty_slots(10 * filled, slots)
    assert emptied.flatten().tolist() == [10, 20, 30, 0]
    emptied.backward(torch.tensor([[1.0], [2.0], [4.0], [8.0]]))
    assert rows.grad is not None
    assert rows.grad.flatten().tolist() == [10, 20, 40, 0]


@pytest.mark.parametrize("capacity", [None, 5, 8])
def test_experts_that_are_shared_give_what_whole_ones_do(
    capacity: int | None, one_process: None
) -> None:
    torch.manual_seed(0)
    whole = Experts(4, 8, 16, 0.0)
    shared = SharedOutExperts(Experts(4, 8, 16, 0.0), gangs(1))
    shared.load_state_dict(whole.state_dict())
    shared.capacity = capacity
    load = torch.tensor([5, 0, 1, 4])
    found = []
    for experts in (whole, shared):
        tokens = torch.randn(12, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
        outputs = experts(tokens, load)
        outputs.square().sum().backward()
        found.append((outputs, tokens.grad, *(p.grad for p in experts.parameters())))
    for of_whole, of_shared in zip(*found, strict=True):
        torch.testing.assert_close(of_shared, of_whole)


def test_shared_experts_that_are_frozen_stay_frozen_when_they_are_shared_out(
    one_process: None,
) -> None:
    whole = Experts(4, 8, 16, 0.0)
    whole.inner_weight.requires_grad_(False)
    experts = SharedOutExperts(whole, gangs(1))
    experts.output_bias.requires_grad_(False)
    experts.distribute()
    trained = {name for name, weight in experts.named_parameters() if weight.requires_grad}
    assert trained == {"inner_bias", "output_weight"}
    experts(torch.randn(6, 8), torch.tensor([2, 1, 0, 3])).sum().backward()
    given = {name for name, weight in experts.named_parameters() if weight.grad is not None}
    assert given == trained


@pytest.mark.skipif(GROUPED_MM is None, reason="torch has no grouped product")
@pytest.mark.parametrize("is_local", [False, True])
def test_step_with_a_capacity_reads_no_value_back(
    is_local: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Sizes are checked by torch in the tests with several processes.
    monkeypatch.setattr(dist, "all_to_all_single", lambda *_, group: None)
    way = Experts._mask_rest  # as on a GPU
    monkeypatch.setattr(
        Experts, "forward", lambda self, tokens, load, *, is_local=False: way(self, tokens, load)
    )
    # Fake tensors have no values, so that whatever waits for one fails.
    with FakeTensorMode():
        experts = SharedOutExperts(Experts(8, 16, 32, 0.1), gangs(4))
        for weight in experts.parameters():
            weight.data = weight.data.to(torch.bfloat16)
        tokens = torch.randn(40, 16, dtype=torch.bfloat16).requires_grad_()
        load = torch.ones(8, dtype=torch.int64)
        experts.capacity = 6
        experts(tokens, load, is_local=is_local).sum().backward()
        assert tokens.grad is not None
        assert tokens.grad.shape == tokens.shape
        experts.capacity = None
        if not is_local:
            with pytest.raises(DataDependentOutputException):
                experts(tokens, load)
