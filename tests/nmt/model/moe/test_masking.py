"""What is masked and rerouted in training: EOM, FOM, gating dropout, conditional routing."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from corpus.errors import UserError
from nmt.fairseq import BatchLayout
from nmt.model.config import ModelConfig, named_config, resolve_config
from nmt.model.moe.conditional import ConditionalRouting, cmr_loss
from nmt.model.moe.gating_dropout import GatingDropout, stay_local
from nmt.model.moe.layer import MoEFeedForwardNetwork
from nmt.model.translator import create_model, moe_layers
from tests.nmt.model.moe import literal_moe as literal

D, F, E = 6, 8, 4


def make_layer(**options: object) -> MoEFeedForwardNetwork:
    torch.manual_seed(3)
    return MoEFeedForwardNetwork(D, F, E, dropout_p=0.0, capacity_factor=None, **options)  # type: ignore[arg-type]


def fix_draws(monkeypatch: pytest.MonkeyPatch, draws: list[list[list[float]]]) -> None:
    """Let the layer's masks be drawn from given numbers, in the order it asks for them."""
    left = [torch.tensor(draw) for draw in draws]

    def rand_like(values: torch.Tensor, **_: object) -> torch.Tensor:
        return left.pop(0).view(values.shape)

    monkeypatch.setattr(torch, "rand_like", rand_like)


def gate_weights(layer: MoEFeedForwardNetwork, tokens: torch.Tensor) -> list[dict[int, float]]:
    gate = layer.gate.weight.tolist()
    gates = [literal.softmax(literal.affine(x, gate, [0.0] * E)) for x in tokens.tolist()]
    return literal.weights(gates, [True] * len(tokens), None)


def expert_output(layer: MoEFeedForwardNetwork, e: int, x: torch.Tensor) -> list[float]:
    experts = layer.experts
    parts = (experts.inner_weight, experts.inner_bias, experts.output_weight, experts.output_bias)
    return literal.expert(x.tolist(), *(part[e].tolist() for part in parts))


def summed(vectors: list[list[float]]) -> list[float]:
    return [sum(values) for values in zip(*vectors, strict=True)]


@pytest.mark.parametrize("training", [True, False])
def test_expert_and_final_output_masking_are_the_literal_formulas(
    training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = make_layer(expert_output_masking_p=0.3, final_output_masking_p=0.4).train(training)
    tokens = torch.randn(5, D)
    eom = torch.rand(2, 5).tolist()  # first choices of all tokens, then second ones
    fom = torch.rand(5, 1).tolist()
    fix_draws(monkeypatch, [eom, fom])
    assert {draw >= 0.3 for draws in eom for draw in draws} == {True, False}
    assert {draw >= 0.4 for (draw,) in fom} == {True, False}
    expected = []
    for t, weights in enumerate(gate_weights(layer, tokens)):
        outputs = []
        ranked = sorted(weights.items(), key=lambda item: -item[1])
        for k, (e, weight) in enumerate(ranked):
            keep = eom[k][t] >= 0.3 if training else None
            output = literal.masked(expert_output(layer, e, tokens[t]), keep, 0.3)
            outputs.append([weight * value for value in output])
        keep = fom[t][0] >= 0.4 if training else None
        expected.append(literal.masked(summed(outputs), keep, 0.4))
    torch.testing.assert_close(layer(tokens.unsqueeze(0))[0], torch.tensor(expected))


@pytest.mark.parametrize("num_ranks", [1, 2, 4])
def test_gating_dropout_leaves_tokens_to_the_experts_that_skipping_the_exchange_would(
    num_ranks: int,
) -> None:
    layer = make_layer(gating_dropout=GatingDropout(p=1.0, num_ranks=num_ranks)).train()
    sequences = torch.randn(5, 3, D)
    outputs = layer(sequences)
    for i, sequence in enumerate(sequences):
        weights = gate_weights(layer, sequence)
        chosen = [e for there in weights for e in there]
        done_by = literal.without_all_to_all(i % num_ranks, chosen, E, num_ranks)
        if num_ranks == 1:
            assert done_by == chosen
        pairs = iter(done_by)
        for t, there in enumerate(weights):
            parts = [
                [w * value for value in expert_output(layer, next(pairs), sequence[t])]
                for w in there.values()
            ]
            torch.testing.assert_close(outputs[i, t], torch.tensor(summed(parts)))


def test_gating_dropout_happens_in_training_with_its_probability_and_never_at_evaluation() -> None:
    torch.manual_seed(0)
    dropout = GatingDropout(p=0.3, num_ranks=E)
    assert sum(dropout.draw() for _ in range(5000)) / 5000 == pytest.approx(0.3, abs=0.02)
    assert not any(GatingDropout(p=0.0, num_ranks=E).draw() for _ in range(100))
    plain, dropping = make_layer(), make_layer(gating_dropout=GatingDropout(p=1.0, num_ranks=E))
    sequences = torch.randn(3, 4, D)
    assert torch.equal(plain.eval()(sequences), dropping.eval()(sequences))
    assert not torch.allclose(plain.train()(sequences), dropping.train()(sequences))


def test_padding_stays_with_no_expert_when_tokens_stay_local() -> None:
    dropout = GatingDropout(p=1.0, num_ranks=2)
    local = stay_local(torch.tensor([[E, 3, 0, E]]), 2, num_experts=E, dropout=dropout)
    assert local.tolist() == [[E, 1, 2, E]]


@pytest.mark.parametrize("rank", [0, 1])
def test_process_that_shares_experts_keeps_all_its_tokens_to_its_own(rank: int) -> None:
    chosen = [0, 3, 1, 2, 2]
    dropout = GatingDropout(p=1.0, num_ranks=2, rank=rank)
    local = stay_local(torch.tensor([chosen]), 1, num_experts=E, dropout=dropout)
    assert local.tolist() == [literal.without_all_to_all(rank, chosen, E, 2)]


DRAWS = """
import sys, torch, torch.distributed as dist
from nmt.training.parallel.experts import AgreedGatingDropout
rank, place = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
torch.manual_seed(rank)
dropout = AgreedGatingDropout(p=0.3, num_ranks=2, rank=rank, group=dist.group.WORLD)
print("".join(str(int(dropout.draw())) for _ in range(500)))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_processes_that_share_experts_agree_when_to_leave_the_exchange_out(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", DRAWS, str(rank), str(tmp_path / "meeting")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    first, second = (process.communicate(timeout=120)[0].split()[-1] for process in processes)
    assert first == second
    assert first.count("1") / 500 == pytest.approx(0.3, abs=0.08)


def conditional_layer(gate_dropout_p: float = 0.0) -> MoEFeedForwardNetwork:
    torch.manual_seed(4)
    dense = torch.nn.Sequential(torch.nn.Linear(D, F), torch.nn.ReLU(), torch.nn.Linear(F, D))
    conditional = ConditionalRouting(D, dense, dropout_p=0.0, gate_dropout_p=gate_dropout_p)
    return make_layer(conditional=conditional)


def test_conditional_routing_is_the_literal_formula_and_its_loss_leaves_padding_out() -> None:
    layer = conditional_layer().train()
    conditional = layer.conditional
    assert conditional is not None
    sequences = torch.randn(2, 3, D)
    layer.layout = BatchLayout.of(sequences, [3, 2])
    outputs = layer(sequences)
    gates, dense = [], conditional.dense
    for i, t in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1)):
        x = sequences[i, t]
        weight, bias = conditional.gate.weight.tolist(), conditional.gate.bias.tolist()
        gates.append(literal.sigmoid(literal.affine(x.tolist(), weight, bias)[0]))
        (weights,) = gate_weights(layer, x.unsqueeze(0))
        moe = summed([[w * v for v in expert_output(layer, e, x)] for e, w in weights.items()])
        plain = literal.expert(
            x.tolist(),
            dense[0].weight.tolist(),
            dense[0].bias.tolist(),  # type: ignore[index]
            dense[2].weight.tolist(),
            dense[2].bias.tolist(),  # type: ignore[index]
        )
        torch.testing.assert_close(
            outputs[i, t], torch.tensor(literal.mixed(plain, moe, gates[-1]))
        )
    assert layer.cmr_loss is not None
    assert float(layer.cmr_loss.detach()) == pytest.approx(literal.cmr_loss([gates]), rel=1e-5)
    torch.testing.assert_close(outputs[1, 2], dense(sequences[1, 2]))  # type: ignore[operator]


def test_loss_of_conditional_routing_is_one_mean_over_the_tokens_of_all_layers() -> None:
    layers, gates = [], []
    for i, (gate_sum, count) in enumerate(((1.5, 2), (6.0, 10))):
        layer = ConditionalRouting(D, torch.nn.Identity(), dropout_p=0.0, gate_dropout_p=0.0)
        layer.gate_sum, layer.num_tokens = torch.tensor(gate_sum), torch.tensor(count)
        layers.append(layer)
        gates.append([gate_sum / count] * count)
        assert i or float(layer.loss()) == pytest.approx(0.05)  # type: ignore[arg-type]
    assert float(cmr_loss(layers)) == pytest.approx(literal.cmr_loss(gates))  # type: ignore[arg-type]
    assert cmr_loss([]) is None


def test_dropout_on_the_conditional_gate_scales_what_is_left_and_only_in_training() -> None:
    layer = conditional_layer(gate_dropout_p=0.5)
    conditional = layer.conditional
    assert conditional is not None
    sequences = torch.randn(1, 4000, D)
    with torch.no_grad():
        layer.eval()(sequences)
        assert conditional.gate_sum is not None
        expected = float(conditional.gate_sum)
        torch.manual_seed(0)
        layer.train()(sequences)
    assert float(conditional.gate_sum) == pytest.approx(expected, rel=0.05)
    assert float(conditional.gate_sum) != expected


def test_model_with_everything_on_trains_all_its_weights() -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(
        named_config("tiny"),
        vocab_size=40,
        batch_prioritized_routing=True,
        expert_output_masking_p=0.1,
        final_output_masking_p=0.1,
        gating_dropout_p=0.5,
        gating_dropout_ranks=2,
        cmr=True,
        cmr_gate_dropout_p=0.1,
        dropout_p=0.1,
    )
    model = create_model(config).train()
    tokens = torch.randint(4, 40, (8, 9))
    for _ in range(2):
        loss = model(
            tokens,
            BatchLayout.of(tokens),
            tokens,
            BatchLayout.of(tokens, [9] * 7 + [5]),
            targets=tokens,
        )
        layers = [layer for _, layer in moe_layers(model)]
        cmr = cmr_loss(layer.conditional for layer in layers if layer.conditional is not None)
        assert cmr is not None
        (loss + cmr + sum(layer.routing.balance_loss for layer in layers)).backward()  # type: ignore[misc, union-attr]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name


@pytest.mark.parametrize(
    ("differences", "message"),
    [
        ({"gating_dropout_ranks": 3}, "`model.gating_dropout_ranks` is 3; it must divide"),
        (
            {"final_output_masking_p": 1.0},
            "`final_output_masking_p` is 1.0; it must be at least 0 and below 1",
        ),
        ({"gating_dropout_p": -0.1}, "`gating_dropout_p` is -0.1"),
    ],
)
def test_impossible_masking_is_refused(differences: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve_config(ModelConfig(size="tiny", **differences), vocabulary_size=40, pad_index=0)  # type: ignore[arg-type]
