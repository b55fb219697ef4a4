"""Executors: dead workers, shared outputs, interrupts, ranks of an array."""

import functools
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.errors import DataError, JobError, ShareDone, UserError
from corpus.files import read_lines, remove_leftovers
from corpus.jobs.executors import find_executor
from corpus.jobs.executors.slurm_array import ArrayExecutor
from corpus.jobs.locks import hold_lock
from corpus.jobs.run import Outcome, Summary, Task, run_job
from tests.corpus.jobs.executor_work import die_on, results, stumble, tasks, write_name

ROOT = Path(__file__).parents[3]


def run(output: Path, work: Callable[[Task], Outcome], workers: int = 2, count: int = 6) -> Summary:
    return run_job(name="job", tasks=tasks(count), work=work, output=output, workers=workers)


def test_a_task_that_kills_its_worker_twice_is_one_failed_shard(tmp_path: Path) -> None:
    work = functools.partial(die_on, output=tmp_path, name="t2", deaths=2)
    with pytest.raises(JobError, match=r"1 of 6 shards failed:\n  t2: .*killed.*2 times") as error:
        run(tmp_path, work)
    assert error.value.exit_code == 3
    assert sorted(results(tmp_path)) == [f"t{i}.txt" for i in (0, 1, 3, 4, 5)]
    assert run(tmp_path, work).done == 1


def test_a_task_whose_worker_dies_once_is_tried_again(tmp_path: Path) -> None:
    work = functools.partial(die_on, output=tmp_path, name="t2", deaths=1)
    assert run(tmp_path, work).done == 6


def test_workers_and_their_number_do_not_change_the_files(tmp_path: Path) -> None:
    for workers in (1, 3):
        output = tmp_path / str(workers)
        run(output, functools.partial(write_name, output=output), workers)
    assert results(tmp_path / "1") == results(tmp_path / "3")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (UserError("your mistake"), UserError, "your mistake"),
        (OSError(28, "No space left on device"), OSError, "No space left"),
        (ValueError("a bug"), ValueError, "a bug"),
    ],
)
def test_what_is_no_fault_of_the_data_ends_the_job(
    tmp_path: Path, workers: int, raised: Exception, kind: type[Exception], message: str
) -> None:
    work = functools.partial(stumble, error=raised)
    with pytest.raises(kind, match=message) as error:
        run(tmp_path, work, workers)
    assert workers == 1 or "in stumble" in "".join(error.value.__notes__)


def test_an_error_that_cannot_travel_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="OddError: one two"):
        run(tmp_path, functools.partial(stumble, error=None))


def test_bad_data_of_all_shards_fails_them_all(tmp_path: Path) -> None:
    work = functools.partial(stumble, error=DataError("torn"))
    with pytest.raises(JobError, match="6 of 6 shards failed"):
        run(tmp_path, work)


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


LOCKER = """
import sys, time
from pathlib import Path
from corpus.jobs.locks import hold_lock
from tests.corpus.jobs.executor_work import die_on, results, stumble, tasks, write_name
with hold_lock(Path(sys.argv[1]), sys.argv[2]) as held:
    print(held, flush=True)
    time.sleep(60)
"""


def test_a_lock_is_held_by_one_process_and_freed_by_its_death(tmp_path: Path) -> None:
    file = tmp_path / "receipts" / ".lock"
    process = start(LOCKER, file, "a")
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    with hold_lock(file, "a") as mine, hold_lock(file, "b") as other:
        assert (mine, other) == (False, True)
    process.kill()
    process.wait()
    with hold_lock(file, "a") as mine:
        assert mine


def test_a_shard_that_another_run_holds_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    process = start(LOCKER, tmp_path / "receipts/job/.lock", "t1")
    assert process.stdout is not None
    process.stdout.readline()

    def work(task: Task) -> Outcome:
        process.kill()
        process.wait()
        return write_name(task, tmp_path)

    with caplog.at_level("INFO", "corpus"):
        assert run(tmp_path, work, workers=1).done == 6
    assert len(results(tmp_path)) == 6


RUNNER = """
import sys, time, functools
from pathlib import Path
from corpus.console import set_up_logging
from corpus.jobs.run import Outcome, Task, run_job
from corpus.files import write_lines
set_up_logging()
def work(task):
    with open(sys.argv[2], "a") as log:
        log.write(task.name + "\\n")
    time.sleep(0.02)
    path = Path(sys.argv[1]) / f"{task.name}.txt"
    write_lines(path, [task.name])
    return Outcome(counts={"lines": 1}, outputs=(path,))
tasks = [Task(name=f"t{i}", inputs=()) for i in range(30)]
print(dict(run_job(name="job", tasks=tasks, work=work, output=Path(sys.argv[1])).counts))
"""


def test_two_runs_on_one_output_share_its_shards(tmp_path: Path) -> None:
    output, log = tmp_path / "out", tmp_path / "log"
    runs = [start(RUNNER, output, log) for _ in range(2)]
    told = [process.communicate() for process in runs]
    assert [process.returncode for process in runs] == [0, 0], told
    assert [out for out, _ in told] == ["{'lines': 30}\n"] * 2
    assert sorted(read_lines(log)) == sorted(f"t{i}" for i in range(30))
    for line in read_lines(output / "receipts/runs.jsonl"):
        json.loads(line)


CONFIG_RUNNER = """
import sys
from dataclasses import dataclass
from pathlib import Path
from corpus.errors import JobError, UserError
from corpus.files import atomic_path
from corpus.jobs.run import Outcome, run_job, Task
@dataclass(frozen=True)
class Config:
    value: str
output, value, is_slow = Path(sys.argv[1]), sys.argv[2], len(sys.argv) > 3
def work(task):
    if is_slow:
        print("begun", flush=True)
        sys.stdin.readline()
        raise UserError("nothing comes of it")
    with atomic_path(output / "made") as temporary:
        temporary.write_text(value)
    return Outcome(outputs=(output / "made",))
try:
    tasks = [Task(name="t", inputs=())]
    run_job(name="job", tasks=tasks, work=work, output=output, config=Config(value))
except UserError as error:
    print(error)
    sys.exit(2)
except JobError:
    sys.exit(3)
"""


def test_two_runs_with_two_configs_agree_on_the_first(tmp_path: Path) -> None:
    output = tmp_path / "out"
    runs = {value: start(CONFIG_RUNNER, output, value) for value in "abcd"}
    for process in runs.values():
        process.communicate()
    assert sorted(process.returncode for process in runs.values()) == [0, 2, 2, 2]
    first = next(value for value, process in runs.items() if process.returncode == 0)
    assert (output / "made").read_text(encoding="utf-8") == first
    assert f"value: {first}" in (output / "config.yaml").read_text(encoding="utf-8")


def test_config_of_a_run_that_goes_on_does_not_give_way(tmp_path: Path) -> None:
    output = tmp_path / "out"
    slow = start(CONFIG_RUNNER, output, "a", "slow")
    assert slow.stdout is not None
    assert "begun" in slow.stdout.readline()
    other = start(CONFIG_RUNNER, output, "b")
    assert "was written with another config" in other.communicate()[0]
    assert other.returncode == 2
    slow.communicate("\n")
    assert slow.returncode in (2, 3)
    # It has failed and made nothing: now the other's may take its place.
    other = start(CONFIG_RUNNER, output, "b")
    other.communicate()
    assert other.returncode == 0
    assert (output / "made").read_text(encoding="utf-8") == "b"


def test_config_does_not_give_way_while_another_is_about_to_begin(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "config.yaml").write_text("value: a\n", encoding="utf-8")
    locker = start(LOCKER, output / "receipts" / ".running", "config.yaml")
    assert locker.stdout is not None
    assert locker.stdout.readline() == "True\n"
    other = start(CONFIG_RUNNER, output, "b")
    assert "was written with another config" in other.communicate()[0]
    locker.kill()
    locker.communicate()
    other = start(CONFIG_RUNNER, output, "b")
    other.communicate()
    assert other.returncode == 0


SLOW_RUNNER = """
import os, sys, time, functools
from pathlib import Path
from corpus.jobs.run import Outcome, Task, run_job
sys.path.insert(0, sys.argv[2])
import signal
import slow_work, tongues
# Where tests run in the background SIGINT is ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
def job(*_, **__):
    tasks = [Task(name=f"t{i}", inputs=()) for i in range(4)]
    work = functools.partial(slow_work.work, output=Path(sys.argv[1]))
    run_job(name="job", tasks=tasks, work=work, output=Path(sys.argv[1]), workers=2)
if __name__ == "__main__":
    tongues.cli.main = job
    sys.exit(tongues.main([]))
"""

SLOW_WORK = """
import os, time
from corpus.files import atomic_path
from corpus.jobs.run import Outcome
def work(task, output):
    (output / f"{task.name}.pid").write_text(str(os.getpid()))
    with atomic_path(output / f"{task.name}.txt") as temporary:
        temporary.write_text("half")
        time.sleep(60)
    return Outcome()
"""


@pytest.mark.parametrize(
    ("sent", "code", "left"),
    [(signal.SIGINT, 130, 0), (signal.SIGTERM, 130, 0), (signal.SIGKILL, -9, 2)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_stopping_the_command_stops_its_workers(
    tmp_path: Path, sent: signal.Signals, code: int, left: int
) -> None:
    (tmp_path / "slow_work.py").write_text(SLOW_WORK)
    output = tmp_path / "out"
    process = start(SLOW_RUNNER, output, tmp_path)
    deadline = time.monotonic() + 60
    while len(list(output.glob(".tmp~*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = [int(path.read_text()) for path in output.glob("*.pid")]
    process.send_signal(sent)
    _, told = process.communicate()
    assert process.returncode == code, told
    assert code != 130 or "run the same command again" in told
    assert "Traceback" not in told
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert len(workers) == 2
    assert len(list(output.glob(".tmp~*"))) == left


def test_leftovers_of_live_processes_and_fresh_ones_of_other_machines_stay(tmp_path: Path) -> None:
    node, parent = platform.node(), os.getppid()
    kept = [f".tmp~{node}~{parent}~b.txt", ".tmp~elsewhere~1~b.txt", ".tmp~x~b.txt"]
    old = [".tmp~elsewhere~2~b.txt", f".tmp~{node}~{2**22 + 1}~b.txt"]  # above Linux's highest id
    for name in (*kept, *old):
        (tmp_path / name).write_text("x")
    os.utime(tmp_path / old[0], (0, 0))
    remove_leftovers(tmp_path, is_deep=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="tells by /proc who is dead")
def test_leftovers_of_zombies_go_and_of_numbers_given_again_too(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    while not Path(f"/proc/{dead.pid}/stat").read_text().rpartition(")")[2].startswith(" Z"):
        time.sleep(0.01)
    left = tmp_path / f".tmp~{platform.node()}~{dead.pid}.~b.txt"
    left.write_text("half")
    written_before_its_time = tmp_path / f".tmp~{platform.node()}~{os.getppid()}.~b.txt"
    written_before_its_time.write_text("half")
    os.utime(written_before_its_time, (0, 0))
    remove_leftovers(tmp_path, is_deep=False)
    assert not list(tmp_path.iterdir())
    dead.wait()


def test_leftovers_of_a_killed_task_go_when_it_is_done(tmp_path: Path) -> None:
    left = tmp_path / ".tmp~elsewhere~1~t0.txt"
    left.write_text("half")
    os.utime(left, (0, 0))
    run(tmp_path, functools.partial(write_name, output=tmp_path), workers=1)
    assert not left.exists()


def test_leftovers_of_others_tasks_go_with_the_next_command_on_the_output(tmp_path: Path) -> None:
    dead = f".tmp~{platform.node()}~{2**22 + 1}."
    lost = [tmp_path / f"{dead}~gone.txt", tmp_path / "inner" / f"{dead}part~gone.npy"]
    kept = [tmp_path / ".tmp~not~ours", tmp_path / f".tmp~{platform.node()}~{os.getppid()}.~x"]
    (tmp_path / "inner").mkdir()
    for path in (*lost, *kept):
        path.write_text("half")
    run(tmp_path, functools.partial(write_name, output=tmp_path), workers=1)
    assert [path.exists() for path in (*lost, *kept)] == [False, False, True, True]
    lost[0].write_text("half")
    run(tmp_path, functools.partial(write_name, output=tmp_path), workers=1)  # nothing to do
    assert not lost[0].exists()


def test_an_output_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        run(tmp_path / "file" / "out", functools.partial(write_name, output=tmp_path))
    if Path("/sys/kernel").is_dir():  # not writable, even for root
        with pytest.raises(UserError, match="Choose another output"):
            run(Path("/sys/kernel"), functools.partial(write_name, output=tmp_path))


def slurm(**variables: int) -> ArrayExecutor:
    return ArrayExecutor.from_environment(
        {f"SLURM_{key.upper()}": str(value) for key, value in variables.items()}
    )


def array(identifier: int, first: int, last: int, count: int, step: int = 1) -> ArrayExecutor:
    return slurm(
        array_task_id=identifier,
        array_task_min=first,
        array_task_max=last,
        array_task_count=count,
        array_task_step=step,
    )


def test_ranks_are_those_of_the_array_and_of_the_step_within() -> None:
    assert array(5, 0, 7, 8) == ArrayExecutor(5, 8)
    assert array(9, 1, 9, 5, step=2) == ArrayExecutor(4, 5)
    assert slurm(procid=2, step_num_tasks=4) == ArrayExecutor(2, 4)
    # A batch script has no step: one process runs, whatever was asked for.
    both = slurm(
        array_task_id=1,
        array_task_min=0,
        array_task_max=2,
        array_task_count=3,
        procid=3,
        step_num_tasks=4,
    )
    assert both == ArrayExecutor(7, 12)
    assert slurm(array_task_id=0, array_task_max=0, procid=0, ntasks=9) == ArrayExecutor(0, 1)


def test_an_array_with_holes_is_refused() -> None:
    with pytest.raises(UserError, match="3 elements from 0 to 7"):
        array(0, 0, 7, 3)


def test_slurm_outside_of_slurm_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    with pytest.raises(UserError, match="neither SLURM_ARRAY_TASK_ID nor"):
        find_executor("slurm")
    with pytest.raises(UserError, match="no executor `cloud`; there are local, ray, slurm"):
        find_executor("cloud")


def test_ranks_do_all_tasks_once_and_the_last_goes_on(tmp_path: Path) -> None:
    done: list[str] = []

    def work(task: Task) -> Outcome:
        done.append(task.name)
        return write_name(task, tmp_path)

    for rank in (2, 0, 1):
        ranked = functools.partial(
            run_job,
            name="job",
            tasks=tasks(7),
            work=work,
            output=tmp_path,
            executor=ArrayExecutor(rank, 3),
        )
        if rank == 1:
            assert ranked().counts == {"lines": 7}
        else:
            with pytest.raises(ShareDone, match="of other shares are not") as stop:
                ranked()
            assert stop.value.exit_code == 0
    assert done == ["t2", "t5", "t0", "t3", "t6", "t1", "t4"]
    assert run(tmp_path, work, count=7).skipped == 7
