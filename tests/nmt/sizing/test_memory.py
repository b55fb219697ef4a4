"""The estimate of memory against what autograd keeps and what a process holds."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from corpus.errors import UserError
from nmt.fairseq import BatchLayout
from nmt.model.config import MoEConfig, named_config
from nmt.model.translator import create_model
from nmt.sizing.config import LayoutConfig
from nmt.sizing.describe import describe_size
from nmt.sizing.memory import estimate_memory

SEQUENCES, LENGTH = 16, 64


def measure_kept(config: MoEConfig, precision: str) -> int:
    """Return the bytes that autograd keeps for the backward pass, weights left out."""
    torch.manual_seed(0)
    model = create_model(config).train()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, tuple[int, torch.Tensor]] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    tokens = torch.randint(4, config.vocab_size, (SEQUENCES, LENGTH))
    layout = BatchLayout.of(tokens)
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision != "fp32"),
    ):
        model(tokens, layout, tokens, layout, targets=tokens)
    return sum(size for size, _ in kept.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "differences",
    [{"num_experts": 0}, {"dropout_p": 0.1}, {"cmr": True}, {"num_encoder_layers": 1}],
    ids=str,
)
def test_estimated_activations_are_within_a_tenth_of_what_autograd_keeps(
    differences: dict[str, float], precision: str
) -> None:
    # Without masking and capacity, which leave out rows that the estimate counts.
    config = dataclasses.replace(
        named_config("tiny"),
        vocab_size=40,
        capacity_factor=0,
        expert_output_masking_p=0.0,
        **differences,
    )
    layout = LayoutConfig(
        device="cpu",
        precision=precision,  # type: ignore[arg-type]
        max_tokens=2 * SEQUENCES * LENGTH,
    )
    estimate = estimate_memory(create_model(config), config, layout)
    assert estimate.activations == pytest.approx(measure_kept(config, precision), rel=0.1)


MEASURED_STEP = """
import dataclasses, json, re, sys, torch
from pathlib import Path
from nmt.fairseq import BatchLayout
from nmt.sizing.config import LayoutConfig
from nmt.sizing.memory import estimate_memory, limit_training
from nmt.model.translator import create_model
from nmt.model.config import named_config

def peak():  # not ru_maxrss, which begins with what the process had that started this one
    return 1024 * int(re.search("VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

def train(config, tokens):
    layout = BatchLayout.of(tokens)
    model = create_model(config).train()
    limit_training(model, plan)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for _ in range(2):
        model(tokens, layout, tokens, layout, targets=tokens, label_smoothing=0.1).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model

torch.set_num_threads(1)
config = dataclasses.replace(
    named_config("small"), model_dim=256, ffn_inner_dim=1024,
    num_encoder_layers=4, num_decoder_layers=4, expert_output_masking_p=0.0, capacity_factor=0,
    **json.loads(sys.argv[2]))
tokens = torch.randint(4, config.vocab_size, (int(sys.argv[3]), 48))
plan = LayoutConfig(
    device="cpu", max_tokens=2 * tokens.numel(), **json.loads(sys.argv[1]))
# Code and buffers of the libraries are there before anything is measured.
small = dataclasses.replace(config, model_dim=32, ffn_inner_dim=64, vocab_size=1000)
train(small, tokens[:2] % 1000)
before = peak()
model = train(config, tokens)
measured = peak() - before
estimate = estimate_memory(model, config, plan)
print(json.dumps([measured, estimate.peak - estimate.libraries]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator can be told to be exact")
@pytest.mark.parametrize(
    ("trained", "vocabulary", "rows"),
    [
        ({}, 8_000, 32),
        ({"lora_rank": 8}, 8_000, 32),
        ({"freeze": ["embeddings", "experts"]}, 8_000, 32),
        ({}, 120_000, 1),
    ],
    ids=str,
)
def test_estimated_peak_is_within_fifteen_percent_of_what_training_takes(
    trained: dict[str, object], vocabulary: int, rows: int
) -> None:
    shape = {"vocab_size": vocabulary, "num_experts": 8 if rows > 1 else 0}
    # Each block comes from the system and goes back to it, so that the process is as large as its
    # tensors are; by default glibc left 40 % more unused here.
    exact = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED_STEP, *map(json.dumps, (trained, shape, rows))],
        env={**os.environ, **exact},
        capture_output=True,
        text=True,
        check=True,
    )
    measured, estimated = json.loads(done.stdout)
    assert estimated == pytest.approx(measured, rel=0.15)


def test_states_are_sixteen_bytes_per_parameter_divided_by_the_shards() -> None:
    whole = describe_size("600m", layout=LayoutConfig(precision="fp32"))
    sharded = describe_size("600m", layout=LayoutConfig(gpus=8, shard_size=8, precision="fp32"))
    for description, shards in ((whole, 1), (sharded, 8)):
        memory = description["memory_per_gpu"]
        states = memory["weights"] + memory["gradients"] + memory["moments"]
        assert states == 16 * description["total_parameters"] // shards
    assert whole["memory_per_gpu"]["copies"] == 0
    assert sharded["memory_per_gpu"]["copies"] > 0


def test_expert_parallelism_spares_gathering_experts() -> None:
    plans = [
        LayoutConfig(gpus=128, shard_size=128, expert_parallel=expert_parallel)
        for expert_parallel in (False, True)
    ]
    gathered, parallel = (
        describe_size("moe_54b", layout=plan)["memory_per_gpu"]["copies"] for plan in plans
    )
    # By hand: 128 experts of 2 · 2048 · 8192 + 8192 + 2048 weights; two layers in bfloat16 and
    # the gradient of one in fp32.
    assert gathered - parallel > 7 * 128 * (2 * 2048 * 8192 + 8192 + 2048)
    assert parallel < 3e9


def test_activation_checkpointing_keeps_a_fraction() -> None:
    kept = [
        describe_size("3b", layout=LayoutConfig(activation_checkpointing=checkpointing))[
            "memory_per_gpu"
        ]["activations"]
        for checkpointing in (False, True)
    ]
    assert kept[1] < kept[0] / 5


def test_layouts_that_cannot_be_are_refused() -> None:
    with pytest.raises(UserError, match="`shard_size` is 3, and 8 GPUs"):
        LayoutConfig(gpus=8, shard_size=3)
    with pytest.raises(UserError, match="`max_tokens` is 0"):
        LayoutConfig(max_tokens=0)
    with pytest.raises(UserError, match="shares out 4 experts to 8 processes"):
        describe_size("tiny", 40, LayoutConfig(gpus=8, shard_size=8, expert_parallel=True))


def test_process_on_a_cpu_has_libraries_and_products_in_fp32(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import tongues

    memory = {}
    for device, precision in (("cpu", None), ("cpu", "fp32"), ("cuda", None), ("cuda", "fp32")):
        layout = LayoutConfig(device=device, precision=precision)  # type: ignore[arg-type]
        memory[device, precision] = describe_size("600m", layout=layout)["memory_per_gpu"]
    cpu, gpu = memory["cpu", None], memory["cuda", "fp32"]
    assert cpu == memory["cpu", "fp32"]
    assert cpu["copies"] == gpu["copies"] == 0 < memory["cuda", None]["copies"]
    assert cpu["libraries"] > gpu["libraries"] == 0
    at_work = max(cpu["activations"] + cpu["loss"], cpu["gradients"] + cpu["summed"])
    assert cpu["peak"] == cpu["weights"] + cpu["moments"] + cpu["libraries"] + at_work
    assert tongues.main(["nmt", "describe", "--size", "tiny", "--config", "device=cpu"]) == 0
    assert "memory of the process" in capsys.readouterr().out


def test_gpu_hours_and_energy_follow_from_operations_peak_and_utilization(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import tongues

    options = ["gpus=64", "cost.tokens=1000000000000", "cost.mfu=0.5", "cost.peak_teraflops=312"]
    options += ["cost.watts=400"]
    words = [word for option in options for word in ("--config", option)]
    assert tongues.main(["nmt", "describe", "--size", "3b", "--json", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    # A source token and a target token for each two.
    flops = 0.5e12 * found["flops_per_token"]
    assert found["cost"]["flops"] == flops
    assert found["cost"]["gpu_hours"] == pytest.approx(flops / 156e12 / 3600)
    assert found["cost"]["hours"] == pytest.approx(found["cost"]["gpu_hours"] / 64)
    assert found["cost"]["energy_kwh"] == pytest.approx(0.4 * found["cost"]["gpu_hours"])
    assert "given" in found["cost"]["assumptions"][0]


def test_utilization_is_what_a_training_measured_or_an_assumption_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tongues

    metrics = tmp_path / "training" / "metrics"
    metrics.mkdir(parents=True)
    lines = [json.dumps({"Step": i, "mfu": mfu}) for i, mfu in enumerate((0.1, 0.32, 0.33), 1)]
    (metrics / "train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ["nmt", "describe", "--size", "tiny", "--config", "cost.tokens=1000"]
    measured = ["--config", f"cost.training={tmp_path}"]
    assert tongues.main([*command, *measured, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cost"]["mfu"] == 0.32
    assert tongues.main(command) == 0
    assert "not measured with this program" in capsys.readouterr().out
    assert tongues.main([*command, "--config", f"cost.training={tmp_path / 'metrics'}"]) == 2
    assert "logged its MFU" in capsys.readouterr().err
