"""Jobs whose outputs are in an object store: an S3 server on the loopback, with faults."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus import remote, stores
from corpus.errors import DataError, UserError
from corpus.jobs import job_statuses
from corpus.jobs.claims import CLAIM_SECONDS, Claims, is_claimed_elsewhere
from corpus.records import sentence_shards
from corpus.stores import open_place
from tests.corpus.fetch.faulty_server import FaultyServer
from tests.corpus.jobs import store_work
from tests.object_store import environment, objects, s3_server, system_of, through_faults

WORK = Path(store_work.__file__)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def faulty(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setattr(remote, "_WAITS_SECONDS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(stores, "_stores", {})
    monkeypatch.setenv("TONGUES_SCRATCH", str(tmp_path / "scratch"))
    with through_faults(s3, monkeypatch) as server:
        yield server


def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> Path:
    """Return the place of a URL as another machine sees it, which has no file of it yet."""
    monkeypatch.setattr(stores, "_stores", {})
    monkeypatch.setenv("TONGUES_SCRATCH", str(tmp_path / f"elsewhere{random.random()}"))
    return open_place(url)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    output = tmp_path_factory.mktemp("local")
    store_work.run(output)
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*.txt")}


def test_outputs_in_a_store_are_the_bytes_of_a_local_run_and_known_to_other_machines(
    faulty: FaultyServer, s3: str, local: dict[str, bytes], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    first, second = store_work.run(open_place("s3://crawl/plain"))
    assert (first.done, second.done) == (store_work.SHARDS, 1)
    assert objects(s3, "plain") == local
    names = [name for name in system_of(s3).find("crawl/plain/receipts") if "/claims/" in name]
    assert names == []
    there = elsewhere(tmp_path, monkeypatch, "s3://crawl/plain")
    first, second = store_work.run(there)
    assert (first.skipped, second.skipped) == (store_work.SHARDS, 1)
    assert not list(there.rglob("*.txt"))  # nothing was fetched to know that
    system_of(s3).rm_file("crawl/plain/parts/shard03.txt")
    again = elsewhere(tmp_path, monkeypatch, "s3://crawl/plain")
    first, second = store_work.run(again)
    assert (first.done, second.skipped) == (1, 1)
    assert objects(s3, "plain") == local


@pytest.mark.parametrize("fault", ["500", "503", "reset", "cut", "stalled", "lost"])
def test_what_fails_once_while_writing_changes_nothing(
    faulty: FaultyServer, s3: str, local: dict[str, bytes], fault: str
) -> None:
    faulty.write_faults.extend(["", fault, "", "", fault, fault])
    faulty.faults.extend(["", fault if fault != "lost" else "short"])
    store_work.run(open_place(f"s3://crawl/{fault}"))
    assert not faulty.write_faults
    assert objects(s3, fault) == local


def test_a_store_that_takes_nothing_is_named(
    faulty: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="s3://no-such-bucket/x"):
        stores.upload(_written(open_place("s3://no-such-bucket/x")))


def _written(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("text")
    return path


@pytest.mark.parametrize(
    "url", ["https://example.org/x", "s3://crawl/a/../b", "s3://crawl/a?x=1", "s3:///a"]
)
def test_what_cannot_be_written_to_is_refused(url: str) -> None:
    with pytest.raises(UserError):
        open_place(url)


def test_paths_and_file_urls_are_paths(tmp_path: Path) -> None:
    assert open_place("a/b.parquet") == Path("a/b.parquet")
    assert open_place(f"file://{tmp_path}/b") == tmp_path / "b"
    assert stores.place_of(Path("a")) is None


def test_what_has_no_receipt_is_no_result(faulty: FaultyServer, s3: str) -> None:
    output = open_place("s3://crawl/orphans")
    for name in ("00", "01"):
        stores.upload(_written(output / "eng_Latn" / f"{name}.parquet"))
    assert [shard.stem for shard in sentence_shards(output, "eng_Latn")] == ["00", "01"]
    line = {
        "task": "eng_Latn/00", "ended": 1.0, "arguments": {}, "inputs": [], "counts": {},
        "outputs": {"eng_Latn/00.parquet": ""}, "problem": "",
    }  # fmt: skip
    log = json.dumps(line).encode() + b"\n"
    system_of(s3).pipe_file("crawl/orphans/receipts/merge/table.jsonl", log)
    stores.look_again()
    assert [shard.stem for shard in sentence_shards(output, "eng_Latn")] == ["00"]


def test_a_claim_holds_while_it_is_renewed(
    faulty: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipts = open_place("s3://crawl/claims/receipts/job")
    mine = Claims(receipts, "a~1~1.jsonl")
    assert mine.take("shard")
    assert Claims(receipts, "a~2~1.jsonl").take("shard")  # its owner's lock was free, so it died
    there = elsewhere(tmp_path, monkeypatch, "s3://crawl/claims/receipts/job")
    other = Claims(there, "b~1~1.jsonl")
    assert not other.take("shard")
    assert is_claimed_elsewhere(there, "shard")
    later = time.time() + CLAIM_SECONDS
    monkeypatch.setattr(time, "time", lambda: later)
    assert not is_claimed_elsewhere(there, "shard")
    assert other.take("shard")
    other.release()
    assert not is_claimed_elsewhere(receipts, "shard")


def start(s3: str, tmp_path: Path, name: str, url: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, str(WORK), url, str(tmp_path / "log")]
    root = WORK.parents[3]
    env = environment(s3, tmp_path / name)
    return subprocess.Popen(command, cwd=root, env={**env, "PYTHONPATH": _path(root, env)})


def _path(root: Path, env: dict[str, str]) -> str:
    return ":".join([str(root), *filter(None, [env.get("PYTHONPATH", "")])])


@pytest.mark.slow
def test_two_machines_share_the_work_and_status_tells(
    faulty: FaultyServer, s3: str, local: dict[str, bytes], tmp_path: Path
) -> None:
    runs = [start(s3, tmp_path, name, "s3://crawl/shared") for name in ("one", "other")]
    place = open_place("s3://crawl/shared")
    seen = 0
    while any(run.poll() is None for run in runs):
        stores.look_again()
        seen = max([seen, *(len(job.running) for job in job_statuses(place))])
        time.sleep(0.1)
    assert [run.wait() for run in runs] == [0, 0]
    done = Counter(line.split()[0] for line in (tmp_path / "log").read_text().splitlines())
    assert set(done.values()) == {1}
    assert len(done) == store_work.SHARDS
    assert seen
    assert objects(s3, "shared") == local
    stores.look_again()
    assert [(job.job, job.done, len(job.running)) for job in job_statuses(place)] == [
        ("join", 1, 0), ("repeat", store_work.SHARDS, 0),
    ]  # fmt: skip


@pytest.mark.slow
def test_killed_at_random_moments_the_same_bytes_come_out(
    s3: str, local: dict[str, bytes], tmp_path: Path
) -> None:
    moments = random.Random(7)
    for number in range(6):
        run = start(s3, tmp_path, f"scratch{number % 2}", "s3://crawl/killed")
        log = tmp_path / "log"
        before = len(log.read_text().splitlines()) if log.exists() else 0
        while run.poll() is None and not (
            log.exists() and len(log.read_text().splitlines()) > before
        ):
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 0.3))
        run.kill()
        run.wait()
    system = system_of(s3)
    for name in system.find("crawl/killed/receipts"):  # of machines that will not return
        if "/claims/" in name:
            claim = json.loads(system.cat_file(name))
            system.pipe_file(name, json.dumps({**claim, "renewed": 0.0}).encode())
    assert start(s3, tmp_path, "scratch9", "s3://crawl/killed").wait() == 0
    assert objects(s3, "killed") == local
