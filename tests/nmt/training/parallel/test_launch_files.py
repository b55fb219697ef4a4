import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[4] / "recipes" / "nmt"


def write_program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def environment(folder: Path, **variables: str) -> dict[str, str]:
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "SLURM_JOB_ID": "7", **variables}


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_job_whose_training_stops_with_a_checkpoint_is_queued_again(
    tmp_path: Path, number: signal.Signals
) -> None:
    here, calls = tmp_path / "started", tmp_path / "calls"
    write_program(
        tmp_path,
        "srun",
        f"trap 'exit 143' USR1; echo \"$@\" > {here}.new; mv {here}.new {here};"
        " while :; do sleep 0.02; done",
    )
    write_program(tmp_path, "scontrol", f'echo "$@" > {calls}')
    process = subprocess.Popen(
        ["bash", str(RECIPES / "train.sbatch"), "--output", "a b"], env=environment(tmp_path)
    )
    deadline = time.monotonic() + 60
    while not here.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(60) == 143
    assert calls.read_text() == "requeue 7\n"
    assert "tongues nmt train --output a b" in here.read_text()


@pytest.mark.parametrize("code", [0, 2])
def test_job_that_is_done_or_failed_is_not_queued_again(tmp_path: Path, code: int) -> None:
    write_program(tmp_path, "srun", f"exit {code}")
    write_program(tmp_path, "scontrol", f"touch {tmp_path / 'calls'}")
    done = subprocess.run(["bash", str(RECIPES / "train.sbatch")], env=environment(tmp_path))
    assert done.returncode == code
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize("option", [["--output", "out"], ["--output=out"]])
@pytest.mark.parametrize(("saves", "is_queued"), [(True, True), (False, False)])
def test_job_that_loses_a_process_is_queued_again_if_it_has_saved_a_checkpoint(
    tmp_path: Path, saves: bool, is_queued: bool, option: list[str]
) -> None:
    checkpoints = tmp_path / "out" / "training" / "checkpoints"
    (checkpoints / "step_9").mkdir(parents=True)
    new = checkpoints / ("step_10" if saves else "step_10.tmp")
    write_program(tmp_path, "srun", f"mkdir {new}; exit 1")
    write_program(tmp_path, "scontrol", f'echo "$@" > {tmp_path / "calls"}')
    done = subprocess.run(
        ["bash", str(RECIPES / "train.sbatch"), *option], env=environment(tmp_path), cwd=tmp_path
    )
    assert done.returncode == 1
    assert (tmp_path / "calls").exists() == is_queued


def test_tokens_are_copied_to_the_nodes_own_disk_and_read_there(tmp_path: Path) -> None:
    tokens, local = tmp_path / "tokens", tmp_path / "local"
    (tokens / "receipts").mkdir(parents=True)
    (tokens / "receipts" / "one").write_text("done", encoding="utf-8")
    (local / "tongues-7" / "new").mkdir(parents=True)  # a copy that was cut
    write_program(
        tmp_path,
        "srun",
        'while [[ $1 == --* ]]; do shift; done; exec "$@"',  # on one node, as srun does on each
    )
    write_program(
        tmp_path,
        "tongues",
        f'echo "$@" >> {tmp_path / "calls"}; cat {local}/tongues-7/tokens/receipts/one;'
        f" exit $(cat {tmp_path / 'code'})",
    )
    write_program(tmp_path, "scontrol", "")
    variables = {"TOKENS": str(tokens), "LOCAL": str(local)}
    for code in (143, 0):  # stopped with a checkpoint, then done
        (tmp_path / "code").write_text(str(code), encoding="utf-8")
        done = subprocess.run(
            ["bash", str(RECIPES / "train.sbatch"), "--output", "out"],
            env=environment(tmp_path, **variables),
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout) == (code, "done"), done.stderr
        assert (local / "tongues-7").exists() == (code == 143)
    expected = f"nmt train --output out --config data.directory={local}/tongues-7/tokens\n"
    assert (tmp_path / "calls").read_text(encoding="utf-8") == 2 * expected


def test_job_has_a_process_for_each_gpu_of_the_allocation_and_runs_in_an_image(
    tmp_path: Path,
) -> None:
    write_program(tmp_path, "srun", f'echo "$WORD $@" > {tmp_path / "calls"}')
    (tmp_path / "setup").write_text("export WORD=modules", encoding="utf-8")
    variables = {
        "SLURM_GPUS_PER_NODE": "h100:4",
        "IMAGE": "tongues.sif",
        "SETUP": str(tmp_path / "setup"),
    }
    subprocess.run(
        ["bash", str(RECIPES / "train.sbatch"), "--output", "out"],
        env=environment(tmp_path, **variables),
        check=True,
    )
    expected = (
        "modules --kill-on-bad-exit=0 --ntasks-per-node=4 --gpus-per-node=4"
        " apptainer exec --nv tongues.sif tongues nmt train --output out\n"
    )
    assert (tmp_path / "calls").read_text() == expected


def test_torchrun_starts_the_same_command_on_one_machine_and_on_several(tmp_path: Path) -> None:
    write_program(tmp_path, "torchrun", 'echo "$@"')
    script = str(RECIPES / "torchrun.sh")
    several = {"NODES": "2", "NODE": "1", "HEAD": "gpu1:29500", "PROCESSES": "4"}
    one, two = (
        subprocess.run(
            [script, "--output", "out"],
            env=environment(tmp_path, **variables),
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        for variables in ({}, several)
    )
    command = ["--no-python", "tongues", "nmt", "train", "--output", "out"]
    assert one == ["--standalone", "--nnodes=1", "--nproc-per-node=gpu", *command]
    where = ["--node-rank=1", "--master-addr=gpu1", "--master-port=29500"]
    assert two == [*where, "--nnodes=2", "--nproc-per-node=4", *command]
