import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt.fairseq import BatchLayout
from nmt.model.moe.gate import route
from nmt.model.moe.layer import MoEFeedForwardNetwork
from tests.nmt.model.moe import literal_moe as literal

D, F, E = 6, 8, 4


def make_layer(
    num_experts: int = E, capacity_factor: float | None = None, p: float = 0.0
) -> MoEFeedForwardNetwork:
    torch.manual_seed(3)
    return MoEFeedForwardNetwork(
        D, F, num_experts, dropout_p=0.0, capacity_factor=capacity_factor, expert_output_masking_p=p
    )


def literal_output(
    layer: MoEFeedForwardNetwork,
    tokens: torch.Tensor,
    is_token: list[bool],
    capacity: int | None,
    scale: float = 1.0,
) -> torch.Tensor:
    gate = layer.gate.weight.tolist()
    gates = [literal.softmax(literal.affine(x, gate, [0.0] * len(gate))) for x in tokens.tolist()]
    parts = [
        parameter.tolist()
        for parameter in (
            layer.experts.inner_weight,
            layer.experts.inner_bias,
            layer.experts.output_weight,
            layer.experts.output_bias,
        )
    ]
    rows = []
    for x, chosen in zip(tokens.tolist(), literal.weights(gates, is_token, capacity), strict=True):
        row = [0.0] * D
        for e, weight in chosen.items():
            output = literal.expert(x, *(part[e] for part in parts))
            row = [a + scale * weight * b for a, b in zip(row, output, strict=True)]
        rows.append(row)
    return torch.tensor(rows)


@settings(max_examples=40)
@given(
    num_tokens=st.integers(1, 12),
    num_experts=st.integers(2, 5),
    seed=st.integers(0, 1000),
    capacity=st.one_of(st.none(), st.integers(1, 6)),
    batch_prioritized=st.booleans(),
)
def test_routing_is_the_literal_algorithm(
    num_tokens: int, num_experts: int, seed: int, capacity: int | None, batch_prioritized: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(num_tokens, num_experts, generator=generator).softmax(1)
    is_token = torch.rand(num_tokens, generator=generator) < 0.8
    is_token[0] = True
    routing = route(scores, is_token, capacity, batch_prioritized=batch_prioritized)
    expected = literal.weights(scores.tolist(), is_token.tolist(), capacity, batch_prioritized)
    assert int(routing.num_assignments) == 2 * int(is_token.sum())
    num_kept = sum(len(weights) for weights in expected)
    assert int(routing.num_dropped) == int(routing.num_assignments) - num_kept
    for t, weights in enumerate(expected):
        found = {
            int(e): float(w)
            for e, w in zip(routing.expert_KT[:, t], routing.weight_KT[:, t], strict=True)
            if w > 0
        }
        assert found == pytest.approx(weights, abs=1e-6)
    loss = literal.balance_loss(scores.tolist(), is_token.tolist())
    assert float(routing.balance_loss) == pytest.approx(loss, rel=1e-5)


def test_layer_in_training_with_capacity_is_the_literal_formula() -> None:
    layer = make_layer(capacity_factor=1.0).train()
    tokens = torch.randn(10, D)
    capacity = math.ceil(10 / E)
    expected = literal_output(layer, tokens, [True] * 10, capacity)
    unlimited = literal_output(layer, tokens, [True] * 10, None)
    torch.testing.assert_close(layer(tokens.view(2, 5, D)).view(10, D), expected)
    assert not torch.allclose(expected, unlimited), "the capacity must bite for this to test it"


def test_evaluation_drops_nothing_and_scales_by_the_probability_of_being_kept() -> None:
    layer = make_layer(capacity_factor=0.5, p=0.2).eval()
    tokens = torch.randn(10, D)
    expected = literal_output(layer, tokens, [True] * 10, None, scale=0.8)
    torch.testing.assert_close(layer(tokens.view(2, 5, D)).view(10, D), expected)


def test_masking_hides_each_expert_output_by_itself_without_scaling() -> None:
    layer = make_layer(num_experts=2, p=0.3).train()
    with torch.no_grad():
        layer.gate.weight.zero_()
        layer.experts.output_weight.zero_()
        layer.experts.output_bias[0] = 2.0
        layer.experts.output_bias[1] = 20.0
    # Even gates: each expert weighs 1/2, so outputs are 0, 1, 10 or 11.
    outputs = layer(torch.randn(1, 20_000, D))[0, :, 0].round()
    shares = {value: float((outputs == value).float().mean()) for value in (0, 1, 10, 11)}
    expected = {0: 0.09, 1: 0.21, 10: 0.21, 11: 0.49}
    assert shares == pytest.approx(expected, abs=0.02)


def test_one_expert_without_masking_is_the_dense_network() -> None:
    layer = make_layer(num_experts=1).train()
    x = torch.randn(3, 4, D)
    inner = torch.nn.functional.linear(
        x, layer.experts.inner_weight[0], layer.experts.inner_bias[0]
    )
    expected = torch.nn.functional.linear(
        inner.relu(), layer.experts.output_weight[0], layer.experts.output_bias[0]
    )
    torch.testing.assert_close(layer(x), expected)


def test_padding_goes_nowhere_and_changes_nothing() -> None:
    layer = make_layer(capacity_factor=1.0).train()
    sequences = torch.randn(2, 5, D)
    layout = BatchLayout.of(sequences, [5, 3])
    layer.layout = layout
    padded = layer(sequences)
    loss = layer.routing.balance_loss  # type: ignore[union-attr]
    assert int(layer.routing.load_E.sum()) == 2 * 8  # type: ignore[union-attr]
    packed = layer(torch.cat([sequences[0], sequences[1, :3]]).unsqueeze(0))[0]
    torch.testing.assert_close(torch.cat([padded[0], padded[1, :3]]), packed)
    assert not padded[1, 3:].any()
    torch.testing.assert_close(loss, layer.routing.balance_loss)  # type: ignore[union-attr]


def test_gradients_are_those_of_numerical_differences() -> None:
    layer = make_layer(capacity_factor=1.0).double().train()
    x = torch.randn(1, 3, D, dtype=torch.float64, requires_grad=True)

    def apply(x: torch.Tensor, inner: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        parameters = {"experts.inner_weight": inner, "gate.weight": gate}
        return torch.func.functional_call(layer, parameters, (x,))

    inner = layer.experts.inner_weight.detach().requires_grad_()
    # The gate works in fp32, too coarse for differences; it is a constant here.
    gate = torch.zeros(E, D, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x, inner: apply(x, inner, gate), (x, inner))


def test_gate_learns_through_the_weights_of_its_choices() -> None:
    layer = make_layer().train()
    layer(torch.randn(2, 4, D)).square().sum().backward()
    assert layer.gate.weight.grad is not None
    assert float(layer.gate.weight.grad.abs().sum()) > 0
