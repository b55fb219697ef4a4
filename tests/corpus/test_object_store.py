"""Shards in an object store: an S3 server on the loopback, answering wrongly now and then."""

import functools
import gzip
import random
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus import remote
from corpus.crawl.documents import read_documents
from corpus.errors import DataError, JobError, UserError
from corpus.files import write_text
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.remote import RemoteFile, find_files
from tests.corpus.fetch.faulty_server import FaultyServer
from tests.object_store import s3_server, system_of, through_faults

TEXTS = [f"page {i} {random.Random(i).random()}\n" for i in range(200)]
SHARD = gzip.compress("\n".join(TEXTS).encode())


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """URL of an S3 server with a bucket `crawl` of two shards."""
    with s3_server() as url:
        system_of(url).pipe({"crawl/a.txt.gz": SHARD, "crawl/b.txt.gz": SHARD})
        yield url


@pytest.fixture
def faulty(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """The same server behind one that can fail; the bucket is read through that."""
    monkeypatch.setattr(remote, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(remote, "_WAITS_SECONDS", (0.0, 0.0, 0.0))
    with through_faults(s3, monkeypatch) as server:
        yield server


def texts(url: str) -> list[str]:
    return [document.text for document in read_documents(RemoteFile(url))]


def test_shards_of_a_bucket_are_found_and_read_in_ranges(faulty: FaultyServer) -> None:
    assert find_files(["s3://crawl/*.txt.gz"]) == [
        RemoteFile("s3://crawl/a.txt.gz"), RemoteFile("s3://crawl/b.txt.gz"),
    ]  # fmt: skip
    assert texts("s3://crawl/a.txt.gz") == TEXTS
    assert len(faulty.requests) == -(-len(SHARD) // 1000)


@pytest.mark.parametrize("fault", ["500", "503", "reset", "cut", "short", "stalled"])
def test_what_a_server_does_wrong_now_and_then_changes_nothing(
    faulty: FaultyServer, fault: str
) -> None:
    faulty.faults.extend(["", fault, "", fault, fault])
    assert texts("s3://crawl/a.txt.gz") == TEXTS
    assert not faulty.faults
    ranges = [asked for _, asked in faulty.requests]
    assert len(ranges) - len(set(ranges)) >= 2


def measure(task: Task, output: Path) -> Outcome:
    count = len(list(read_documents(task.remote[0])))
    write_text(output / f"{task.name}.txt", str(count))
    return Outcome(counts={"documents": count}, outputs=(output / f"{task.name}.txt",))


def run(output: Path) -> Summary:
    tasks = [
        Task(name=name, inputs=(), remote=(RemoteFile(f"s3://crawl/{name}.txt.gz"),))
        for name in "ab"
    ]
    work = functools.partial(measure, output=output)
    return run_job(name="measure", tasks=tasks, work=work, output=output)


def test_server_that_goes_on_failing_fails_the_shard_and_a_rerun_mends_it(
    faulty: FaultyServer, tmp_path: Path
) -> None:
    faulty.always = "short"
    with pytest.raises(JobError, match=r"2 of 2 shards failed:\n  a: .*a\.txt\.gz cannot be read"):
        run(tmp_path)
    assert not list(tmp_path.glob("*.txt"))
    faulty.always = ""
    assert run(tmp_path).counts == {"documents": 400}
    assert run(tmp_path).skipped == 2


def test_object_that_changed_is_refused(faulty: FaultyServer, tmp_path: Path, s3: str) -> None:
    run(tmp_path)
    system = system_of(s3)
    system.pipe("crawl/b.txt.gz", gzip.compress(b"another\n"))
    fsspec.filesystem("s3", **fsspec.config.conf["s3"]).invalidate_cache()
    try:
        with pytest.raises(UserError, match=r"made from s3://crawl/b\.txt\.gz with bytes"):
            run(tmp_path)
    finally:
        system.pipe("crawl/b.txt.gz", SHARD)


def test_parquet_is_read_by_seeking(faulty: FaultyServer, s3: str, tmp_path: Path) -> None:
    table = pa.table({"text": TEXTS, "url": [f"https://example.org/{i}" for i in range(200)]})
    pq.write_table(table, tmp_path / "c.parquet", row_group_size=20)
    system = system_of(s3)
    system.pipe("crawl/c.parquet", (tmp_path / "c.parquet").read_bytes())
    faulty.faults.extend(["", "500", "", "cut"])
    assert texts("s3://crawl/c.parquet") == TEXTS


@pytest.mark.parametrize("missing", ["s3://crawl/none.txt", "s3://no-such-bucket/a.txt"])
def test_object_that_is_not_there_is_named_at_once(faulty: FaultyServer, missing: str) -> None:
    with pytest.raises(DataError, match=f"{missing} does not exist"):
        texts(missing)
    assert not faulty.requests
