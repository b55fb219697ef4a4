import math
from dataclasses import replace

import pytest
import torch

from nmt.model.config import named_config
from nmt.model.translator import create_model
from nmt.sizing.flops import measure_peak, token_flops
from nmt.training.gate_metrics import LoadSum, describe_gates, load_metric, take_gate_reports


def summed(*batches: tuple[list[int], int]) -> LoadSum:
    metric = LoadSum(len(batches[0][0]))
    for load, dropped in batches:
        metric.update(torch.tensor(load), torch.tensor(dropped), torch.tensor(sum(load)))
    return metric


def test_gate_report_is_of_the_summed_load() -> None:
    # By hand: shares 1/2, 1/4, 1/4, 0: entropy 1.5 bits of 2; 3 of 16 dropped.
    values: dict[str, object] = {
        load_metric("encoder.layers.3"): summed(([8, 0, 0, 0], 3), ([0, 4, 4, 0], 0)).compute(),
        "loss": 1.0,
    }
    (report,) = take_gate_reports(values)
    assert report.entropy == pytest.approx(0.75)
    assert (report.top_share, report.dropped) == (0.5, 3 / 16)
    assert values == {
        "loss": 1.0,
        "gate_entropy/encoder.layers.3": pytest.approx(0.75),
        "gate_top_share/encoder.layers.3": 0.5,
        "gate_dropped/encoder.layers.3": 3 / 16,
    }
    assert describe_gates([report]) == "encoder.3 0.75/18.8%"


def test_loads_of_processes_are_added() -> None:
    one, other = summed(([3, 1], 1)), summed(([1, 3], 0))
    assert one.merge_state([other]).compute().tolist() == [4, 4, 1, 8]
    assert other.compute().tolist() == [1, 3, 0, 4]
    one.reset()
    assert one.compute().sum() == 0


def test_one_expert_is_evenly_loaded_and_no_tokens_are_no_error() -> None:
    values: dict[str, object] = {load_metric("a"): summed(([5], 0)).compute()}
    assert take_gate_reports(values)[0].top_share == 1
    values = {load_metric("a"): summed(([0, 0], 0)).compute()}
    assert take_gate_reports(values)[0].entropy == 0


def test_operations_of_a_dense_model_are_six_per_parameter_and_token() -> None:
    config = replace(named_config("tiny"), num_experts=0, vocab_size=90)
    model = create_model(config)
    flops = token_flops(model)
    # A source and a target token together meet every parameter once, the embedding as output.
    assert flops.source + flops.target == 6 * sum(p.numel() for p in model.parameters())
    assert flops.of(10, 0) == 10 * flops.source


def test_only_two_experts_of_a_layer_count() -> None:
    few = replace(named_config("tiny"), num_experts=2, vocab_size=90)
    many = replace(few, num_experts=8)
    gates = 6 * config_dim(few) * (8 - 2)
    more, less = token_flops(create_model(many)), token_flops(create_model(few))
    assert (more.source - less.source, more.target - less.target) == (gates, gates)


def config_dim(config: object) -> int:
    return int(config.model_dim)  # type: ignore[attr-defined]


def test_peak_of_this_machine_is_a_plausible_number() -> None:
    peak = measure_peak(torch.device("cpu"), torch.float32)
    assert 1e8 < peak < 1e15
    assert math.isfinite(peak)
