"""Grouped products against plain ones, with empty groups and rows beyond all groups."""

import subprocess
import sys

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.nn import functional

from nmt.fairseq import BatchLayout
from nmt.model.moe import grouped
from nmt.model.moe.conditional import ConditionalRouting
from nmt.model.moe.experts import Experts, combine, dispatch, sort_assignments
from nmt.model.moe.gating_dropout import GatingDropout
from nmt.model.moe.grouped import Groups, grouped_linear
from nmt.model.moe.layer import MoEFeedForwardNetwork

GROUPS, WIDTH_IN, WIDTH_OUT = 4, 8, 16
LOADS = [[3, 0, 4, 2], [0, 0, 0, 9], [9, 0, 0, 0]]

needs_grouped_mm = pytest.mark.skipif(
    grouped.GROUPED_MM is None, reason="this torch has no grouped product"
)


def leaves(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    torch.manual_seed(5)
    shapes = ((9, WIDTH_IN), (GROUPS, WIDTH_OUT, WIDTH_IN), (GROUPS, WIDTH_OUT))
    return [torch.randn(*shape).to(dtype).requires_grad_() for shape in shapes]


@needs_grouped_mm
@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_grouped_product_and_its_gradients_are_those_of_a_loop(
    load: list[int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = Groups.of(torch.tensor(load), 9)
    upstream = torch.randn(9, WIDTH_OUT, generator=torch.Generator().manual_seed(1)).to(dtype)
    found, expected = leaves(dtype), leaves(dtype)
    outputs = grouped_linear(*found, groups)  # type: ignore[call-arg]
    outputs.backward(upstream)
    monkeypatch.setattr(grouped, "GROUPED_MM", None)
    plain = grouped_linear(*expected, groups)  # type: ignore[call-arg]
    plain.backward(upstream)
    torch.testing.assert_close(outputs, plain)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_loop_is_a_linear_layer_for_each_group() -> None:
    rows, weight, bias = (tensor.detach().double() for tensor in leaves())
    groups = Groups.of(torch.tensor([3, 0, 4, 1]), 9)
    outputs = grouped_linear(rows, weight, bias, groups)
    for row, g in zip(range(8), [0, 0, 0, 2, 2, 2, 2, 3], strict=True):
        expected = functional.linear(rows[row], weight[g], bias[g])
        torch.testing.assert_close(outputs[row], expected)
    assert not outputs[8].any()


@needs_grouped_mm
def test_nothing_leaks_from_rows_beyond_the_loads_where_a_device_leaves_them_undefined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = grouped.GROUPED_MM
    assert plain is not None

    class Undefined(torch.autograd.Function):
        """What a GPU does: rows beyond the last group are whatever was in memory."""

        @staticmethod
        def forward(context, rows, beyond):  # type: ignore[no-untyped-def]
            context.beyond = beyond
            return rows.clone().index_fill_(0, beyond, float("nan"))

        @staticmethod
        def backward(context, gradient):  # type: ignore[no-untyped-def]
            return gradient.index_fill(0, context.beyond, float("nan")), None

    def undefined_beyond(rows, matrices, *, offs):  # type: ignore[no-untyped-def]
        if matrices.dim() == 2:
            return plain(rows, matrices, offs=offs)
        beyond = torch.arange(int(offs[-1]), len(rows))
        rows = Undefined.apply(rows, beyond)
        return Undefined.apply(plain(rows, matrices, offs=offs), beyond)

    torch.manual_seed(0)
    experts = Experts(GROUPS, WIDTH_IN, WIDTH_OUT, 0.0)
    load = torch.tensor([3, 0, 2, 1])
    tokens = torch.randn(9, WIDTH_IN)
    upstream = torch.randn(9, WIDTH_IN)
    results = []
    for run in (experts._in_turn, experts._mask_rest):
        rows = tokens.clone().requires_grad_()
        experts.zero_grad()
        outputs = run(rows, load)
        outputs.backward(upstream)
        gradients = [parameter.grad for parameter in experts.parameters()]
        results.append([outputs.detach(), rows.grad, *gradients])
        monkeypatch.setattr(grouped, "GROUPED_MM", undefined_beyond)
    for cut, masked in zip(*results, strict=True):
        assert cut is not None
        assert cut.isfinite().all()
        torch.testing.assert_close(masked, cut)


def everything() -> MoEFeedForwardNetwork:
    """Return a layer with all that can be on, of widths that a GPU takes in bfloat16."""
    dense = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 16))
    return MoEFeedForwardNetwork(
        16,
        32,
        GROUPS,
        dropout_p=0.1,
        capacity_factor=1.0,
        batch_prioritized=True,
        expert_output_masking_p=0.2,
        final_output_masking_p=0.1,
        conditional=ConditionalRouting(16, dense, dropout_p=0.1, gate_dropout_p=0.1),
    ).train()


def take_way(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let experts compute as on a CPU (`_in_turn`) or as on a GPU (`_mask_rest`)."""
    way = getattr(Experts, name)
    monkeypatch.setattr(
        Experts, "forward", lambda self, tokens, load, *, is_local: way(self, tokens, load)
    )


def run_padded(layer: MoEFeedForwardNetwork, sequences: torch.Tensor) -> torch.Tensor:
    layer.layout = BatchLayout.of(sequences, [7, 4, 1])
    output = layer(sequences)
    assert layer.routing is not None
    assert layer.cmr_loss is not None
    (output.float().sum() + layer.routing.balance_loss + layer.cmr_loss).backward()
    return output


@needs_grouped_mm
@pytest.mark.parametrize("autocast", [False, True])
def test_way_of_a_gpu_reads_no_value_back_and_meets_the_conditions_of_its_kernel(
    autocast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fake tensors have no values, so that whatever waits for one fails; their grouped product has
    # the checks of CUDA's: bfloat16, strides of 16 bytes, 32-bit offsets.
    def run() -> None:
        with FakeTensorMode():
            # Made in its type: torch from 2.10 on converts no layer of fake tensors.
            torch.set_default_dtype(torch.float32 if autocast else torch.bfloat16)
            try:
                layer = everything()
            finally:
                torch.set_default_dtype(torch.float32)
            sequences = torch.randn(3, 7, 16).to(layer.gate.weight.dtype).requires_grad_()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                run_padded(layer, sequences)
            for tensor in (sequences, *layer.parameters()):
                assert tensor.grad is not None
                assert tensor.grad.dtype == tensor.dtype

    with pytest.raises(DataDependentOutputException):
        run()  # in turn, as on a CPU, where the host has to know the loads
    take_way(monkeypatch, "_mask_rest")
    run()


@pytest.mark.parametrize("way", ["_in_turn", "_mask_rest"])
def test_what_the_layer_makes_is_made_where_its_input_is(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_way(monkeypatch, way)
    layer, sequences = everything(), torch.randn(3, 7, 16, requires_grad=True)
    layer.gating_dropout = GatingDropout(p=0.999, num_ranks=2)
    # Whatever names no device is made on another than the input's, where its values are lost.
    with torch.device("meta"):
        output = run_padded(layer, sequences)
    assert output.device.type == "cpu"
    for tensor in (sequences, *layer.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


def test_sorting_dispatching_and_combining_bring_each_output_back_to_its_token() -> None:
    experts_of_tokens = torch.tensor([[2, 0, 4, 1], [0, 2, 4, 4]])  # 4 is nobody
    assignments = sort_assignments(experts_of_tokens, 4)
    assert assignments.load_E.tolist() == [2, 1, 2, 0]
    tokens = torch.arange(4.0).unsqueeze(1).requires_grad_()
    sorted_tokens = dispatch(tokens, assignments)
    assert sorted_tokens[:5, 0].tolist() == [1, 0, 3, 0, 1]
    factors = torch.tensor([10.0, 10, 100, 1000, 1000, 0, 0, 0]).unsqueeze(1)
    weights = torch.tensor([[0.5, 0.25, 0, 1], [0.5, 0.75, 0, 0]]).requires_grad_()
    combined = combine(sorted_tokens * factors, weights, assignments)
    assert combined[:, 0].tolist() == [0, 752.5, 0, 300]
    combined.sum().backward()
    assert tokens.grad is not None
    assert tokens.grad[:, 0].tolist() == [505, 752.5, 0, 100]
    assert weights.grad is not None
    assert weights.grad.tolist() == [[0, 10, 0, 300], [0, 1000, 0, 0]]


@pytest.mark.slow  # the compiler's import alone takes seconds
def test_compiled_layer_gives_and_learns_what_the_plain_one_does() -> None:
    torch.manual_seed(0)
    layer = MoEFeedForwardNetwork(
        WIDTH_IN, WIDTH_OUT, GROUPS, dropout_p=0.0, capacity_factor=1.0
    ).train()
    compiled = torch.compile(layer, backend="aot_eager")
    sequences, upstream = torch.randn(2, 6, WIDTH_IN), torch.randn(2, 6, WIDTH_IN)
    results = []
    for run in (layer, compiled):
        layer.zero_grad()
        outputs = run(sequences)
        outputs.backward(upstream)
        results.append([outputs.detach(), *(parameter.grad for parameter in layer.parameters())])
    for plain, other in zip(*results, strict=True):
        torch.testing.assert_close(other, plain)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is GNU's")
def test_process_that_keeps_freed_memory_does_not_fault_it_in_again() -> None:
    code = (
        "import resource, sys; from nmt.threads import keep_freed_memory\n"
        "if sys.argv[1] == 'keep': assert keep_freed_memory(0)\n"
        "for _ in range(2):\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    block = b'\\1' * (64 << 20)\n"
        "    del block\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
    )
    faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", code, how], capture_output=True, text=True, check=True
            ).stdout
        )
        for how in ("keep", "give back")
    ]
    assert faults[0] < 20
    assert faults[1] > faults[0]
