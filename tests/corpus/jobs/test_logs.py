"""Logs of jobs: torn, lost and damaged lines, folding, kills, receipts of earlier versions."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from corpus.errors import DataError, JobError
from corpus.files import digest_file, write_json
from corpus.jobs import Outcome, Summary, Task, forget_receipts, run_job, task_counts
from corpus.jobs import logs as log_module
from corpus.jobs.logs import JobLog, LogWriter, fold, read_log
from tests.corpus.jobs.executor_work import die_on, results, tasks, write_name
from tests.receipts import finished_tasks, read_receipt

ROOT = Path(__file__).parents[3]


def run(output: Path, count: int = 6, workers: int = 1) -> Summary:
    work = functools.partial(write_name, output=output)
    return run_job(name="job", tasks=tasks(count), work=work, output=output, workers=workers)


def logs(output: Path) -> list[Path]:
    return sorted((output / "receipts" / "job").glob("*~*.jsonl"))


def table(output: Path) -> Path:
    return output / "receipts" / "job" / "table.jsonl"


def test_a_finished_job_is_one_table_with_a_line_for_each_shard(tmp_path: Path) -> None:
    run(tmp_path, 40, workers=2)
    assert not logs(tmp_path)
    lines = [json.loads(line) for line in table(tmp_path).read_text().splitlines()]
    assert sorted(line["task"] for line in lines if "task" in line) == sorted(
        f"t{i}" for i in range(40)
    )
    # The versions, which all receipts name, and the run.
    assert len(lines) == 42
    assert read_receipt(tmp_path, "job", "t3")["versions"]["tongues"]


def unfolded(output: Path) -> Path:
    """Return the log of a job that goes on: of six shards three are done."""
    bad = functools.partial(fail_from, output=output, first=3)
    with pytest.raises(JobError, match="3 of 6"):
        run_job(name="job", tasks=tasks(), work=bad, output=output)
    (log,) = logs(output)
    return log


def fail_from(task: Task, output: Path, first: int) -> Outcome:
    if int(task.name[1:]) >= first:
        raise DataError("torn")
    return write_name(task, output)


def test_log_cut_anywhere_costs_the_shards_of_what_is_lost_and_nothing_else(
    tmp_path: Path,
) -> None:
    run(tmp_path / "whole")
    whole = results(tmp_path / "whole")
    log = unfolded(tmp_path / "cut")
    content = log.read_bytes()
    for cut in range(0, len(content), 37):
        log.write_bytes(content[:cut])
        known = JobLog(log.parent).refresh()
        done = {name for name in known.receipts if known.receipt(name) is not None}
        assert all(f'"task": "{name}"'.encode() in content[:cut] for name in done)
    log.write_bytes(content[: len(content) // 2])
    again = run(tmp_path / "cut")
    assert again.done + again.skipped == 6
    assert again.skipped < 3
    assert results(tmp_path / "cut") == whole
    assert again.counts == {"lines": 6}


def test_zeros_in_a_log_after_a_power_cut_cost_a_shard_and_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = unfolded(tmp_path)
    lines = log.read_bytes().splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if b'"task": "t1"' in line)
    lines[place] = lines[place][:20] + bytes(len(lines[place]) - 21) + b"\n"
    log.write_bytes(b"".join(lines))
    log_module._read.clear()  # as in a new process
    assert run(tmp_path).done == 4
    assert "a damaged line is left out" in caplog.text
    assert log.name in caplog.text


def test_receipts_whose_shared_values_are_lost_do_not_hold(tmp_path: Path) -> None:
    run(tmp_path)
    kept = [line for line in table(tmp_path).read_text().splitlines(True) if '"value"' not in line]
    table(tmp_path).write_text("".join(kept))
    assert run(tmp_path).done == 6
    assert run(tmp_path).skipped == 6


def test_line_taken_out_of_the_table_by_hand_is_a_shard_to_do(tmp_path: Path) -> None:
    run(tmp_path)
    kept = [line for line in table(tmp_path).read_text().splitlines(True) if '"t4"' not in line]
    table(tmp_path).write_text("".join(kept))
    assert run(tmp_path).done == 1


def test_appending_after_a_torn_line_keeps_both_sides(tmp_path: Path) -> None:
    log = unfolded(tmp_path)
    with log.open("ab") as file:
        file.write(b'{"task": "t3", "en')  # as a full disk leaves it; this process writes on
    run(tmp_path)
    assert finished_tasks(tmp_path, "job") == {f"t{i}" for i in range(6)}


def test_log_that_a_process_is_writing_to_is_not_folded(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from corpus.jobs.logs import LogWriter\n"
        "with LogWriter(Path(sys.argv[1])) as writer:\n"
        "    writer.begin('t9'); print('open', flush=True); sys.stdin.readline()\n"
        "    writer.add({'failed': 't9', 'ended': 5e9, 'reason': 'x', 'machine': 'm'})\n"
    )
    run(tmp_path)
    command = [sys.executable, "-c", code, str(tmp_path / "receipts" / "job")]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    fold(tmp_path / "receipts" / "job")
    assert len(logs(tmp_path)) == 1
    process.communicate("\n")
    assert "t9" in read_log(tmp_path / "receipts" / "job").failures
    fold(tmp_path / "receipts" / "job")
    assert not logs(tmp_path)
    known = read_log(tmp_path / "receipts" / "job")
    assert (set(known.failures), len(known.receipts)) == ({"t9"}, 6)


def test_of_several_lines_the_latest_holds_wherever_it_is(tmp_path: Path) -> None:
    run(tmp_path, 2)
    forget_receipts(tmp_path, "job", ["t0", "no such task"])
    fold(tmp_path / "receipts" / "job")
    assert finished_tasks(tmp_path, "job") == {"t1"}
    assert run(tmp_path, 2).done == 1
    assert run(tmp_path, 2).skipped == 2


def test_clocks_that_differ_do_not_hide_a_newer_receipt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, 2)
    forget_receipts(tmp_path, "job", ["t0"])
    there = time.time()
    monkeypatch.setattr("corpus.jobs.run.now", lambda: round(there - 3600, 3))
    assert run(tmp_path, 2).done == 1
    assert run(tmp_path, 2).skipped == 2


def earlier_version(output: Path) -> None:
    """Write the files and receipts of a finished job as the version before did."""
    for number in range(6):
        write_name(Task(name=f"t{number}", inputs=()), output)
        made = output / f"t{number}.txt"
        receipt = {
            "task": f"t{number}", "arguments": {}, "inputs": [], "config": None,
            "versions": {"tongues": "0.1.0", "python": "3.11"}, "counts": {"lines": 1},
            "outputs": [f"../../t{number}.txt"],
            "digests": {f"../../t{number}.txt": digest_file(made)},
            "problem": "", "seconds": 0.1, "cpu_seconds": 0.1,
        }  # fmt: skip
        write_json(output / "receipts" / "job" / f"t{number}.json", receipt)


def test_work_of_earlier_versions_counts_as_done_and_moves_into_the_table(tmp_path: Path) -> None:
    earlier_version(tmp_path)
    before = results(tmp_path)
    assert task_counts(tmp_path, "job")["t2"] == {"lines": 1}
    (tmp_path / "t5.txt").unlink()
    summary = run(tmp_path)
    assert (summary.skipped, summary.done, summary.counts) == (5, 1, {"lines": 6})
    assert results(tmp_path) == before
    assert not list((tmp_path / "receipts").rglob("*.json"))
    assert run(tmp_path).skipped == 6
    assert read_receipt(tmp_path, "job", "t1")["outputs"] == {
        "t1.txt": digest_file(tmp_path / "t1.txt")
    }


def test_small_shards_share_batches_and_fail_alone(tmp_path: Path) -> None:
    work = functools.partial(die_on, output=tmp_path, name="t150", deaths=3)
    with pytest.raises(JobError, match=r"1 of 200 shards failed:\n  t150: .*killed.*2 times"):
        run_job(name="job", tasks=tasks(200), work=work, output=tmp_path, workers=2)
    assert len(results(tmp_path)) == 199
    assert set(read_log(tmp_path / "receipts" / "job").failures) == {"t150"}


def leave_a_half_and_die(task: Task, output: Path) -> Outcome:
    if not (output / "died").exists():
        (output / "died").touch()
        node = os.uname().nodename
        (output / f".tmp~{node}~{os.getpid()}.~half").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    return write_name(task, output)


def test_halves_of_a_worker_that_died_go_when_the_job_ends(tmp_path: Path) -> None:
    work = functools.partial(leave_a_half_and_die, output=tmp_path)
    run_job(name="job", tasks=tasks(), work=work, output=tmp_path, workers=2)
    assert not list(tmp_path.glob(".tmp~*"))


def test_interrupt_stays_one_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def interrupted(error: BaseException | None) -> None:
        with LogWriter(tmp_path) as writer:
            writer.add({"forgotten": "a", "ended": 1.0})
            monkeypatch.setattr(writer, "_write", full)
            if error is not None:
                raise error

    with pytest.raises(SystemExit):
        interrupted(SystemExit(1))
    with pytest.raises(OSError, match="No space"):
        interrupted(None)


def test_writer_that_is_interrupted_keeps_what_was_added(tmp_path: Path) -> None:
    def interrupted() -> None:
        with LogWriter(tmp_path) as writer:
            writer.add({"forgotten": "a", "ended": 1.0})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert set(read_log(tmp_path).forgotten) == {"a"}


KILLED = """
import functools, sys
from pathlib import Path
from corpus.jobs import run_job
from tests.corpus.jobs.executor_work import slowly, tasks
if __name__ == "__main__":
    output = Path(sys.argv[1])
    work = functools.partial(slowly, output=output, seconds=0.01)
    run_job(name="job", tasks=tasks(150), work=work, output=output, workers=2)
"""


def test_job_killed_at_several_moments_ends_with_the_same_files(tmp_path: Path) -> None:
    run(tmp_path / "whole", 150)
    output = tmp_path / "killed"
    for share in (0.1, 0.6):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(output)], cwd=ROOT)
        while len(list(output.glob("t*.txt"))) < share * 150 and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        process.wait()
    summary = run(output, 150)
    assert summary.done + summary.skipped == 150
    assert results(output) == results(tmp_path / "whole")
    assert not list(output.rglob(".tmp~*"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="tells files by /proc")
def test_receipts_reach_the_disk_after_the_outputs_that_they_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk: list[str] = []
    named: dict[str, list[str]] = {}
    synchronize = os.fsync

    def note(descriptor: int) -> None:
        synchronize(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        on_disk.append(str(path))
        if path.suffix == ".jsonl" and "~" in path.name:
            for line in path.read_text().splitlines():
                if '"task"' in line:
                    for output in json.loads(line)["outputs"]:
                        named.setdefault(output, list(on_disk))

    monkeypatch.setattr(os, "fsync", note)
    run(tmp_path, 40)
    assert len(named) == 40
    for output, before in named.items():
        written = max(i for i, path in enumerate(before) if path.endswith(f"~{output}"))
        assert str(tmp_path) in before[written:], output
