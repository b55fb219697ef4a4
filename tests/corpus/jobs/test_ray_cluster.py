"""Ray: three simulated nodes, one of which is killed; workers that die; errors that travel."""

import functools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import DataError, JobError, UserError
from corpus.jobs.executors import Executor, find_executor
from corpus.jobs.run import Outcome, Summary, Task, run_job
from tests.corpus.jobs.executor_work import die_on, results, slowly, stumble, tasks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes of one CPU each."""
    ray = pytest.importorskip("ray", reason="needs the extra `ray`")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=1)
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def run(output: Path, work: Any, executor: Executor, count: int = 6) -> Summary:
    return run_job(name="job", tasks=tasks(count), work=work, output=output, executor=executor)


def test_a_node_that_is_killed_costs_nothing(cluster: Any, tmp_path: Path) -> None:
    local, remote = tmp_path / "local", tmp_path / "remote"
    run(local, functools.partial(slowly, output=local, seconds=0), find_executor("local"), 24)

    def kill_when_some_are_done() -> None:
        while len(results(remote)) < 5:
            time.sleep(0.05)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    killer = threading.Thread(target=kill_when_some_are_done)
    killer.start()
    work = functools.partial(slowly, output=remote, seconds=0.4)
    summary = run(remote, work, find_executor("ray"), 24)
    killer.join()
    assert summary.done == 24
    assert summary.counts == {"lines": 24}
    assert results(remote) == results(local)
    assert run(remote, work, find_executor("local"), 24).skipped == 24


def test_a_task_that_kills_its_worker_twice_is_one_failed_shard(
    cluster: Any, tmp_path: Path
) -> None:
    work = functools.partial(die_on, output=tmp_path, name="t2", deaths=2)
    with pytest.raises(JobError, match=r"1 of 6 shards failed:\n  t2: .*worker") as error:
        run(tmp_path, work, find_executor("ray"))
    assert error.value.exit_code == 3
    assert len(results(tmp_path)) == 5
    assert run(tmp_path, work, find_executor("ray")).done == 1


def test_errors_travel_as_they_do_from_processes(cluster: Any, tmp_path: Path) -> None:
    for number, (error, kind, message) in enumerate(
        [
            (DataError("torn"), JobError, "6 of 6 shards failed"),
            (UserError("your mistake"), UserError, "your mistake"),
            (OSError(28, "No space left on device"), OSError, "No space"),
            (None, RuntimeError, "OddError: one two"),
        ]
    ):
        work = functools.partial(stumble, error=error)
        with pytest.raises(kind, match=message):
            run(tmp_path / str(number), work, find_executor("ray"))


def test_relative_paths_are_those_of_the_caller(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("x")
    summary = run_job(
        name="job",
        tasks=[Task(name="t", inputs=(Path("in.txt"),))],
        output=Path("out"),
        work=functools.partial(slowly, output=Path("out"), seconds=0),
        executor=find_executor("ray"),
    )
    assert summary.done == 1
    assert results(tmp_path / "out") == {"t.txt": b"t\n"}


def test_nothing_to_do_is_said_without_a_cluster(tmp_path: Path) -> None:
    executor = find_executor("ray")
    assert not list(executor.run(Outcome, [], workers=1, gpus=0))  # type: ignore[arg-type]
