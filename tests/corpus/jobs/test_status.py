"""`tongues status`: what it says of running, failed, finished and earlier jobs."""

import functools
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from corpus.errors import DataError, JobError, UserError
from corpus.files import write_json
from corpus.jobs import JobStatus, Outcome, Task, job_statuses, run_job
from corpus.status import group
from tests.corpus.jobs.executor_work import tasks, write_name

ROOT = Path(__file__).parents[3]

RUNNER = """
import functools, sys
from pathlib import Path
from corpus.jobs import run_job
from tests.corpus.jobs.executor_work import slowly, tasks
if __name__ == "__main__":
    output = Path(sys.argv[1])
    work = functools.partial(slowly, output=output, seconds=0.1)
    run_job(name="job", tasks=tasks(1000), work=work, output=output, workers=2)
"""


def tear_some(task: Task, output: Path) -> Outcome:
    number = int(task.name[1:])
    if number % 3 == 0:
        raise DataError(f"in/{number}.gz: record {number} is torn")
    if number == 4:
        raise DataError("no text")
    return write_name(task, output)


def status_of(output: Path) -> JobStatus:
    (status,) = job_statuses(output)
    return status


def test_failures_are_told_by_reason_until_they_are_done(tmp_path: Path) -> None:
    output = tmp_path / "out"
    run = functools.partial(run_job, name="job", tasks=tasks(8), output=output)
    with pytest.raises(JobError, match="4 of 8"):
        run(work=functools.partial(tear_some, output=output))
    status = status_of(tmp_path)
    assert (status.total, status.done, status.failures, status.running) == (8, 4, 4, ())
    assert [(one.reason, one.shards) for one in status.failed] == [
        ("in/0.gz: record 0 is torn", ("t0", "t3", "t6")),
        ("no text", ("t4",)),
    ]
    assert (status.shards_per_hour, status.seconds_left) == (None, None)
    result = CliRunner().invoke(group, [str(tmp_path)], catch_exceptions=False)
    assert "3 × in/0.gz: record 0 is torn\n      t0, t3, t6" in result.stdout
    assert "not running" in result.stdout
    run(work=functools.partial(write_name, output=output))
    assert (status_of(tmp_path).done, status_of(tmp_path).failed) == (8, ())
    result = CliRunner().invoke(group, [str(tmp_path), "--json"], catch_exceptions=False)
    told = json.loads(result.stdout)
    assert told["directory"] == str(tmp_path)
    (job,) = told["jobs"]
    assert (job["job"], job["total"], job["done"], job["directory"]) == (
        "job", 8, 8, str(output),
    )  # fmt: skip


def test_running_job_is_looked_at_without_disturbing_it(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", RUNNER, str(tmp_path)], cwd=ROOT)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = job_statuses(tmp_path) if (tmp_path / "receipts").exists() else []
            if found and found[0].done > 10 and len(found[0].running) == 2:
                break
            time.sleep(0.02)
        before = {path: path.read_bytes() for path in (tmp_path / "receipts").rglob("*.jsonl")}
        status = status_of(tmp_path)
        assert status.total == 1000
        assert status.shards_per_hour is not None
        assert 0 < status.shards_per_hour < 80_000  # two workers, a tenth of a second each
        assert status.seconds_left is not None
        (machine,) = status.machines
        assert {one.machine for one in status.running} <= {machine}
        assert status.machines[machine].done == status.done
        assert all(path.read_bytes().startswith(old) for path, old in before.items())
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 20
    while status_of(tmp_path).running and time.monotonic() < deadline:
        time.sleep(0.05)  # workers follow their parent
    assert status_of(tmp_path).running == ()
    assert status_of(tmp_path).shards_per_hour is None


def test_receipts_of_earlier_versions_are_counted(tmp_path: Path) -> None:
    for shard in ("fra_Latn/0", "fra_Latn/1"):
        write_json(tmp_path / f"receipts/embed/{shard}.json", {"counts": {"sentences": 3}})
    status = status_of(tmp_path)
    assert (status.done, status.total, status.machines) == (2, None, {})
    assert list((tmp_path / "receipts").rglob("*.json"))  # only a run of the job moves them


def test_directory_without_jobs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no job has written to"):
        CliRunner().invoke(group, [str(tmp_path)], catch_exceptions=False)
    with pytest.raises(UserError, match="is not a directory"):
        CliRunner().invoke(group, [str(tmp_path / "x")], catch_exceptions=False)
