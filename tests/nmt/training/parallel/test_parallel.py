import dataclasses
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml
from torch.distributed import HashStore

from corpus.config import load_config
from corpus.errors import DataError, OtherProcessError, Preempted, UserError
from nmt.model.config import named_config, resolve_config
from nmt.model.directory import WEIGHTS_FILE, save_model
from nmt.model.translator import create_model
from nmt.training.checkpoints import step_directory
from nmt.training.config import TrainConfig
from nmt.training.curves import read_curves
from nmt.training.directory import last_update
from nmt.training.parallel import signals
from nmt.training.parallel.checkpoints import (
    Layout,
    fit_checkpoint,
    join,
    layout_of,
    load_whole_model,
    read_state,
    rows_of_shard,
    write_whole_weights,
)
from nmt.training.parallel.config import ParallelConfig
from nmt.training.parallel.launch import Place, find_place, first_host
from nmt.training.parallel.signals import Preemption
from nmt.training.parallel.world import World
from nmt.vocabulary.config import VocabularyConfig
from nmt.vocabulary.train import train_vocabulary
from nmt.vocabulary.vocabulary import Vocabulary
from tests.nmt.conftest import write_bitext, write_flores
from tests.nmt.training.parallel.fleet import ROOT, Finished, Fleet, Run
from tests.nmt.training.parallel.test_launch_files import environment, write_program

FSDP = ("parallel.mode=fsdp",)
EXPERTS = (*FSDP, "parallel.expert_parallel=true")
HYBRID = (*EXPERTS, "parallel.shard_size=2")


def free_port() -> int:
    """Return a port from 20,000 on that was free a moment ago."""
    for port in random.sample(range(20_000, 60_000), 50):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("no port is free")


class Trainings:
    """Runs of `tongues nmt train` on the same data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fleet = Fleet(folder)
        write_bitext(folder / "bitext" / "qaa_Latn-qab_Latn.tsv", 300)
        train_vocabulary([folder / "bitext"], folder / "vocabulary", VocabularyConfig(size=80))
        recipe = {
            "vocabulary": str(folder / "vocabulary"),
            "bitext": {"primary": str(folder / "bitext")},
            # Without chance, which is another in each process, losses can be compared.
            "model": {"size": "tiny", "dropout_p": 0.0, "expert_output_masking_p": 0.0},
            "batches": {"max_tokens": 500, "max_length": 60},
            "optimizer": {"learning_rate": 0.004, "warmup_updates": 2, "schedule": "linear"},
            "flores": str(write_flores(folder / "flores", ["bara kili", "mono tu"])),
            "chrf": {"sentences": 2},
            "validation_sentences": 2,
            "updates": 4,
            "checkpoint_every": 2,
            "validate_every": 4,
            "report_every": 1,
            "threads": 1,
        }
        (folder / "train.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")

        self.config = load_config(TrainConfig, folder / "train.yaml")

    def create_model(self) -> torch.nn.Module:
        vocabulary = Vocabulary.load(self.config.vocabulary)
        return create_model(
            resolve_config(self.config.model, vocabulary.size, vocabulary.pad_index)
        )

    def start(self, size: int, name: str, *overrides: str) -> Run:
        return self.fleet.start(size, self.command(name, *overrides))

    def run(self, size: int, name: str, *overrides: str) -> list[Finished]:
        finished = self.start(size, name, *overrides).wait()
        assert [process.code for process in finished] == [0] * size, finished
        self.peaks = [process.peak_bytes for process in finished]
        return finished

    def run_under_srun(self, size: int, name: str) -> None:
        """Run with Slurm's variables, and without a store that torchrun would hold."""
        slurm = {
            "SLURM_STEP_NUM_TASKS": str(size),
            "SLURM_JOB_ID": str(free_port() - 20_000),
            "SLURM_STEP_NODELIST": "localhost",
            "SLURM_STEP_TASKS_PER_NODE": str(size),
        }
        finished = self.fleet.run(
            size,
            self.command(name),
            environment=slurm,
            rank_names=("SLURM_PROCID", "SLURM_LOCALID"),
        )
        assert [process.code for process in finished] == [0] * size, finished

    def command(self, name: str, *overrides: str) -> list[str]:
        recipe, output = str(self.folder / "train.yaml"), str(self.folder / name)
        command = ["nmt", "train", "--config-file", recipe, "--output", output]
        return command + [word for override in overrides for word in ("--config", override)]

    def losses(self, name: str) -> list[float]:
        return [report["NLL Loss"] for report in self._reports(name)]

    def steps(self, name: str) -> list[int]:
        return [report["Step"] for report in self._reports(name)]

    def _reports(self, name: str) -> Sequence[Mapping[str, Any]]:
        return read_curves(self.folder / name / "training").training

    def validations(self, name: str) -> list[tuple[float, float]]:
        folder = self.folder / name / "training" / "metrics" / "valid"
        lines = [line for path in sorted(folder.iterdir()) for line in path.open()]
        return [(json.loads(line)["NLL Loss"], json.loads(line)["chrF++"]) for line in lines]

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        return safetensors.torch.load_file(self.folder / name / WEIGHTS_FILE)


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainings]:
    there = Trainings(tmp_path_factory.mktemp("parallel"))
    yield there
    there.fleet.close()


@pytest.mark.slow
@pytest.mark.parametrize(("size", "modes"), [(2, (FSDP, EXPERTS)), (4, (HYBRID,))])
def test_losses_and_models_are_those_of_ddp(
    trainings: Trainings, size: int, modes: tuple[tuple[str, ...], ...]
) -> None:
    expected = f"ddp_{size}"
    if size == 2:
        trainings.run_under_srun(size, expected)
    else:
        trainings.run(size, expected)
    for i, mode in enumerate(modes):
        name = f"mode_{size}_{i}"
        trainings.run(size, name, *mode)
        assert trainings.losses(name) == pytest.approx(trainings.losses(expected), rel=1e-5)
        assert len(trainings.validations(name)) == 2
        for found, wanted in zip(
            trainings.validations(name), trainings.validations(expected), strict=True
        ):
            assert found == pytest.approx(wanted, rel=1e-4)
        torch.testing.assert_close(
            trainings.weights(name), trainings.weights(expected), rtol=1e-4, atol=1e-5
        )


@pytest.mark.slow
def test_validation_shared_by_processes_reports_what_one_process_does(
    trainings: Trainings,
) -> None:
    lines = ["bara kili mo šegu", "mo", "šegu mo domдом", "tu tu tu bara", "kili bara mo"]
    flores = write_flores(trainings.folder / "flores_of_five", lines)
    # No step to speak of, so that all validate the same model; five batches of a sentence each.
    still = (
        "optimizer.learning_rate=1e-12", "optimizer.warmup_updates=0", "updates=1",
        "checkpoint_every=1", "validate_every=1",
        "batches.max_tokens=60", "batches.max_length=20", f"flores={flores}",
        "validation_sentences=5", "chrf.sentences=5",
    )  # fmt: skip
    trainings.run(1, "validated_by_1", *still)
    expected = trainings.validations("validated_by_1")
    assert len(expected) == 2
    for name, mode in (("validated_by_2", ()), ("validated_by_2_with_experts", EXPERTS)):
        trainings.run(2, name, *still, *mode)
        for found, wanted in zip(trainings.validations(name), expected, strict=True):
            assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.slow
def test_every_arrangement_of_processes_starts_from_the_same_weights(trainings: Trainings) -> None:
    trainings.run(1, "base", "flores=null")
    base = trainings.folder / "base"
    tuned = (
        f"start_from={base}", "comparison.sentences=2", "selection.keep=last",
        "optimizer.warmup_updates=0",
    )  # fmt: skip
    adapted = (*tuned, "lora.rank=4", "lora.also=[embeddings]")
    for kind, options in (("tuned", tuned), ("adapted", adapted)):
        modes = {"ddp": (), "experts": EXPERTS} if kind == "tuned" else {"ddp": (), "fsdp": FSDP}
        for name, mode in modes.items():
            trainings.run(2, f"{kind}_{name}", *options, *mode)
        first, second = (f"{kind}_{name}" for name in modes)
        assert trainings.losses(second) == pytest.approx(trainings.losses(first), rel=1e-5)
        torch.testing.assert_close(
            trainings.weights(second), trainings.weights(first), rtol=1e-4, atol=1e-5
        )
        comparison = trainings.folder / first / "training" / "comparison.json"
        assert len(json.loads(comparison.read_text(encoding="utf-8"))["directions"]) == 2
    assert trainings.losses("tuned_ddp")[0] < trainings.losses("base")[0]


LONG = ("updates=30", "checkpoint_every=30", "validate_every=30", "flores=null")


@pytest.mark.slow
def test_training_stopped_by_the_scheduler_goes_on_to_the_same_bytes(
    trainings: Trainings,
) -> None:
    slow = (*LONG, "batches.max_tokens=2500")
    trainings.run(1, "undisturbed", *slow)
    run = trainings.start(1, "stopped", *slow)
    run.wait_for("update 3/")
    run.signal(signal.SIGTERM)
    (stopped,) = run.wait()
    assert stopped.code == 143, stopped
    assert "stopped by SIGTERM after update" in stopped.stderr
    assert "Run the same command again to resume." in stopped.stderr
    assert "Traceback" not in stopped.stderr
    (again,) = trainings.run(1, "stopped", *slow)
    assert "update 3/" not in again.stderr, "it began anew instead of going on"
    assert trainings.steps("stopped") == list(range(1, 31))
    first, second = (trainings.folder / name / WEIGHTS_FILE for name in ("undisturbed", "stopped"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
def test_another_number_of_processes_goes_on_with_a_training(trainings: Trainings) -> None:
    run = trainings.start(2, "two", *LONG, *EXPERTS)
    run.wait_for("update 3/")
    run.signal(signal.SIGUSR1, rank=1)
    stopped = run.wait()
    assert [process.code for process in stopped] == [143, 143], stopped
    assert "stopped by another process after update" in stopped[0].stderr
    assert "stopped" not in stopped[1].stderr
    before = trainings.folder / "two" / "training"
    update = last_update(before)
    whole = load_whole_model(step_directory(before, update), trainings.create_model)
    moments = optimizer_shapes(before, update)
    for size, shards, overrides in ((1, 1, ()), (4, 1, ())):
        name = f"two_then_{size}"
        shutil.copytree(trainings.folder / "two", trainings.folder / name)
        training = trainings.folder / name / "training"
        assert fit_checkpoint(training, Layout(size, shards), trainings.create_model)
        assert layout_of(step_directory(training, update)) == Layout(size, shards)
        dealt = load_whole_model(step_directory(training, update), trainings.create_model)
        torch.testing.assert_close(dealt.state_dict(), whole.state_dict(), rtol=0, atol=0)
        assert optimizer_shapes(training, update) == moments
        finished = trainings.run(size, name, *LONG, *overrides)
        assert f"the training had 2 processes and resumes with {size} at" in finished[0].stderr
        assert trainings.steps(name) == list(range(1, 31))
        assert trainings.losses(name)[-1] < trainings.losses(name)[0]


def optimizer_shapes(training: Path, update: int) -> dict[int, int]:
    """Return how many numbers a checkpoint holds for each parameter's first moment, in all."""
    numbers: dict[int, int] = {}
    for file in (step_directory(training, update) / "optimizer").rglob("*.pt"):
        state = read_state(file)["state"]
        for index, entries in state.items():
            numbers[index] = numbers.get(index, 0) + entries["exp_avg"].numel()
    return numbers


@pytest.mark.slow
def test_a_process_that_is_killed_ends_all_with_one_message(trainings: Trainings) -> None:
    run = trainings.start(2, "killed", *LONG)
    run.wait_for("update 3/")
    run.signal(signal.SIGKILL, rank=1)
    first, second = run.wait()
    assert (first.code, second.code) == (1, -signal.SIGKILL)
    assert first.stderr.count("error: ") == 1
    assert "lost another one, which reported no error" in first.stderr
    assert "Traceback" not in first.stderr


@pytest.mark.slow
def test_job_that_loses_a_process_is_queued_again_and_ends_with_the_same_bytes(
    trainings: Trainings, tmp_path: Path
) -> None:
    options = (
        "updates=16", "checkpoint_every=4", "validate_every=16", "flores=null",
        "batches.max_tokens=1500",
    )  # fmt: skip
    trainings.run(2, "whole", *options)
    # The step of the job on one node of two processes; torchrun gives them their places.
    write_program(
        tmp_path,
        "srun",
        f"while [[ $1 == --* ]]; do shift; done; exec {sys.executable} -m torch.distributed.run"
        ' --standalone --nproc-per-node=2 --no-python "$@"',
    )
    write_program(tmp_path, "tongues", f'exec {sys.executable} {ROOT / "tongues.py"} "$@"')
    write_program(tmp_path, "scontrol", f'echo "$@" >> {tmp_path / "calls"}')
    script = str(ROOT / "recipes" / "nmt" / "train.sbatch")
    job = ["bash", script, *trainings.command("queued", *options)[2:]]
    checkpoints = trainings.folder / "queued" / "training" / "checkpoints"
    variables = environment(tmp_path, PYTHONPATH=str(ROOT))
    with subprocess.Popen(job, env=variables, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while not any(checkpoints.glob("step_*[0-9]")):
            assert process.poll() is None, "training ended before a process could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process_of_rank(1, str(trainings.folder / "queued")), signal.SIGKILL)
        assert process.wait(300) == 1
    assert (tmp_path / "calls").read_text(encoding="utf-8") == "requeue 7\n"
    again = subprocess.run(job, env=variables, stderr=subprocess.PIPE, text=True)
    assert again.returncode == 0, again.stderr
    assert "update 4/" not in again.stderr, "it began anew instead of going on"
    first, second = (trainings.folder / name / WEIGHTS_FILE for name in ("whole", "queued"))
    assert first.read_bytes() == second.read_bytes()
    assert trainings.losses("queued") == trainings.losses("whole")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads peaks of memory from /proc")
def test_no_process_ever_holds_the_whole_model(trainings: Trainings) -> None:
    # 40 million parameters in sixteen layers, of which next to nothing is trained, so that the
    # memory is that of weights: a quarter, the quarter as the checkpoint has it, a few layers.
    shape = (
        "model.model_dim=256", "model.num_experts=4", "model.moe_every_n_layers=1",
        "model.num_encoder_layers=8", "model.num_decoder_layers=8", "freeze=[encoder,decoder]",
        "batches.max_tokens=200", "updates=2", "checkpoint_every=2", "validate_every=2",
        "flores=null", "optimizer.warmup_updates=0", "compute.activation_checkpointing=true",
    )  # fmt: skip
    trainings.run(4, "weights_small", *shape, "model.ffn_inner_dim=8", *FSDP)
    small = max(trainings.peaks)
    for name, mode in (("weights_sharded", FSDP), ("weights_shared", EXPERTS)):
        trainings.run(4, name, *shape, "model.ffn_inner_dim=1024", *mode)
        size = (trainings.folder / name / WEIGHTS_FILE).stat().st_size
        assert size > 150_000_000
        assert max(trainings.peaks) - small < 0.6 * size
    # As frozen parts are as they were drawn.
    sharded, shared = (trainings.weights(f"weights_{name}") for name in ("sharded", "shared"))
    for name, weight in sharded.items():
        if name.startswith(("encoder.", "decoder.")):
            assert torch.equal(shared[name], weight), name


def process_of_rank(rank: int, output: str) -> int:
    """Return the process of a training that has this rank."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text(encoding="utf-8").split("\0")
            variables = (folder / "environ").read_text(encoding="utf-8").split("\0")
        except OSError:  # it is gone
            continue
        if output in command and f"RANK={rank}" in variables and "tongues.py" in command[1]:
            return int(folder.name)
    raise AssertionError(f"no process has rank {rank}")


@pytest.mark.slow
def test_a_mistake_on_one_rank_is_said_by_that_one_and_ends_all(trainings: Trainings) -> None:
    wrong = trainings.command("wrong", "vocabulary=nowhere")
    finished = trainings.fleet.run(2, trainings.command("wrong"), last=wrong)
    assert [process.code for process in finished] == [2, 2]
    assert "error" not in finished[0].stderr
    assert "nowhere" in finished[1].stderr
    assert "Traceback" not in finished[1].stderr


def split(whole: torch.Tensor, shards: int) -> list[torch.Tensor]:
    """Return the rows of each shard, as FSDP2 divides them: empty where there are too few."""
    return [rows_of_shard([whole], whole.shape, shards, rank, "it") for rank in range(shards)]


def test_rows_of_a_shard_are_those_of_chunks_whatever_the_parts_were() -> None:
    whole = torch.randn(7, 2)
    for shards in (1, 2, 3, 4):
        chunks = [*whole.chunk(shards), *[whole[:0]] * shards]
        for parts in ([whole], [whole, whole], list(whole.split(3)), list(whole.split(1))):
            for rank in range(shards):
                found = rows_of_shard(parts, whole.shape, shards, rank, "it")
                assert torch.equal(found, chunks[rank])


def test_joined_parts_are_the_whole_that_was_split() -> None:
    for rows in (1, 3, 4, 7):
        whole = torch.randn(rows, 2)
        for shards in (1, 2, 3, 4):
            parts = split(whole, shards)
            assert len(parts) == shards
            assert torch.equal(join(parts, whole.shape, "it"), whole)


def test_parts_that_are_copies_are_taken_once() -> None:
    whole = torch.randn(4, 2)
    assert torch.equal(join([whole, whole.clone()], whole.shape, "it"), whole)


def test_parts_of_another_whole_are_refused_with_their_shapes() -> None:
    with pytest.raises(DataError, match=r"`x` has parts of \(2, 3\), \(1, 3\).*\(4, 3\)"):
        join([torch.zeros(2, 3), torch.zeros(1, 3)], torch.Size([4, 3]), "`x`")


def write_checkpoint(training: Path, world_size: int, shards: int) -> torch.nn.Module:
    """Write what fairseq2 would of a model of one layer after update 5, in so many shards."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 5)
    step = step_directory(training, 5)
    files: dict[str, object] = {}
    for shard in range(shards):
        rows = {name: split(whole, shards)[shard] for name, whole in model.state_dict().items()}
        moments = {
            i: {"exp_avg": value, "step": torch.ones(())} for i, value in enumerate(rows.values())
        }
        files[f"model/pp_00/tp_00/sdp_{shard:02d}.pt"] = rows
        files[f"optimizer/pp_00/tp_00/sdp_{shard:02d}.pt"] = {"state": moments, "param_groups": []}
    for rank in range(world_size):
        files[f"trainer/rank_{rank:02d}.pt"] = {"rank": rank}
        files[f"data_reader/dp_{rank:02d}.pt"] = {}
    for name, content in files.items():
        (step / name).parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, step / name, pickle_protocol=5)
    return model


@pytest.mark.parametrize("shards", [1, 3])
def test_weights_written_shard_by_shard_are_the_bytes_of_the_whole_model(
    tmp_path: Path, vocabulary_directory: Path, shards: int
) -> None:
    config = dataclasses.replace(named_config("tiny"), vocab_size=50)
    model = create_model(config)
    step, states = tmp_path / "step_5", [{} for _ in range(shards)]
    tied: dict[int, list[torch.Tensor]] = {}
    for name, whole in model.state_dict().items():
        for state, rows in zip(
            states, tied.setdefault(whole.data_ptr(), split(whole, shards)), strict=True
        ):
            state[name] = rows
    for kind in ("model", "trainer"):
        (step / kind / "pp_00" / "tp_00").mkdir(parents=True)
    for i, state in enumerate(states):
        torch.save(state, step / "model" / "pp_00" / "tp_00" / f"sdp_{i:02d}.pt")
        (step / "trainer" / f"rank_{i:02d}.pt").touch()
    write_whole_weights(step, lambda: create_model(config), tmp_path / "written")
    save_model(tmp_path, model, config, vocabulary_directory, [])
    assert (tmp_path / "written").read_bytes() == (tmp_path / WEIGHTS_FILE).read_bytes()
    wider = dataclasses.replace(config, vocab_size=51)
    with pytest.raises(DataError, match="its whole is"):
        write_whole_weights(step, lambda: create_model(wider), tmp_path / "written")


def linear() -> torch.nn.Module:
    return torch.nn.Linear(3, 5)


def test_checkpoint_dealt_there_and_back_is_the_same(tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path, world_size=2, shards=2)
    assert not fit_checkpoint(tmp_path, Layout(2, 2), linear)
    for layout in (Layout(4, 4), Layout(8, 8), Layout(1, 1), Layout(6, 3), Layout(2, 2)):
        assert fit_checkpoint(tmp_path, layout, linear)
        assert layout_of(step_directory(tmp_path, 5)) == layout
        found = load_whole_model(step_directory(tmp_path, 5), linear).state_dict()
        torch.testing.assert_close(found, model.state_dict(), rtol=0, atol=0)
        assert optimizer_shapes(tmp_path, 5) == {0: 15, 1: 5}
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_5"]


@pytest.mark.parametrize("is_whole", [True, False])
def test_change_of_layout_that_was_killed_is_undone_or_finished(
    tmp_path: Path, is_whole: bool
) -> None:
    write_checkpoint(tmp_path, world_size=2, shards=2)
    step = step_directory(tmp_path, 5)
    if is_whole:
        shutil.copytree(step, step.with_name("step_5.before"))
        shutil.copytree(step, step.with_name("step_5.resharded"))
    else:
        step.rename(step.with_name("step_5.before"))
    assert fit_checkpoint(tmp_path, Layout(1, 1), linear)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_5"]


def test_file_of_a_checkpoint_that_holds_code_is_refused(tmp_path: Path) -> None:
    torch.save({"a": signal.Signals}, tmp_path / "a.pt")
    with pytest.raises(DataError, match=r"`signal.Signals` has no place in a checkpoint"):
        read_state(tmp_path / "a.pt")


def test_damaged_file_of_a_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"PK\x03\x04 half")
    with pytest.raises(DataError, match=r"a\.pt is damaged"):
        read_state(tmp_path / "a.pt")


def test_signal_outside_of_updates_stops_at_once_and_within_them_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    preemption = Preemption()
    with preemption.handling_signals():
        with preemption.deferring_stops():
            signal.raise_signal(signal.SIGUSR1)
        assert preemption.is_requested
        with pytest.raises(Preempted, match="stopped by SIGTERM before or after training"):
            signal.raise_signal(signal.SIGTERM)
        # Slurm's and then torchrun's, within a moment: one request.
        signal.raise_signal(signal.SIGTERM)
        monkeypatch.setattr(signals, "_SAME_REQUEST_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_processes_agree_to_stop_at_the_same_update_whoever_wants_it() -> None:
    store = HashStore()
    first, second = (World(Place(rank=rank, size=2), store) for rank in range(2))
    assert not first.agrees_to_stop(False)
    assert not second.agrees_to_stop(True)  # too late for this one
    assert first.agrees_to_stop(False)
    assert second.agrees_to_stop(False)


def test_process_that_waits_learns_that_another_failed() -> None:
    store = HashStore()
    store.set("failure", "1 2")
    with pytest.raises(OtherProcessError) as failure:
        World(Place(rank=1, size=2), store).wait_for("first/data")
    assert failure.value.exit_code == 2
    assert str(failure.value) == ""


def test_slurm_variables_give_what_torchrun_would_set() -> None:
    environment = {
        "SLURM_STEP_NUM_TASKS": "7",
        "SLURM_PROCID": "6",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "3",
        "SLURM_STEP_TASKS_PER_NODE": "2(x3),1",
        "SLURM_JOB_ID": "123456",
        "SLURM_STEP_NODELIST": "gpu[03-05,9],big1",
    }
    assert find_place(environment) == Place(rank=6, size=7, local_rank=0, local_size=1)
    assert environment["MASTER_ADDR"] == "gpu03"
    assert environment["MASTER_PORT"] == "23456"


def test_a_step_of_one_task_and_a_shell_are_one_process() -> None:
    assert find_place({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}) == Place()
    assert find_place({}) == Place()


def test_variables_of_torchrun_win_over_those_of_slurm() -> None:
    environment = {"RANK": "1", "WORLD_SIZE": "2", "SLURM_STEP_NUM_TASKS": "8"}
    assert find_place(environment) == Place(rank=1, size=2, local_rank=1, local_size=2)


@pytest.mark.parametrize(
    "environment", [{"RANK": "0"}, {"WORLD_SIZE": "2"}, {"RANK": "2", "WORLD_SIZE": "2"}]
)
def test_half_a_place_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(UserError, match="RANK"):
        find_place(environment)


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("a1", "a1"),
        ("a1,a2", "a1"),
        ("n[7-9]", "n7"),
        ("n[07,09]-ib,x", "n07-ib"),
        ("", "localhost"),
    ],
)
def test_first_host_of_slurm_short_forms(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


def test_shards_divide_processes_and_experts() -> None:
    assert ParallelConfig().shards(8, 4) == 1
    assert ParallelConfig(mode="fsdp").shards(8, 4) == 8
    hybrid = ParallelConfig(mode="fsdp", shard_size=4, expert_parallel=True)
    assert hybrid.shards(8, 4) == 4
    assert hybrid.shards(1, 4) == 1
    with pytest.raises(UserError, match="6 processes cannot be divided"):
        hybrid.shards(6, 4)
    with pytest.raises(UserError, match="shares out 6 experts to 4 processes"):
        hybrid.shards(8, 6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shard_size": 2}, "needs `mode: fsdp`"),
        ({"expert_parallel": True}, "needs `mode: fsdp`"),
        ({"mode": "fsdp", "shard_size": 1}, "`shard_size` is 1"),
        ({"timeout_minutes": 0}, "must be at least 1"),
    ],
)
def test_arrangements_without_sense_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ParallelConfig(**values)  # type: ignore[arg-type]
