"""Object stores: shards, ranges and an index on a real S3 server on the loopback, with faults."""

import gzip
import random
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from corpus.crawl.documents import read_documents
from corpus.crawl.shard_lists import read_shard_list
from corpus.errors import DataError, FetchError
from corpus.fetch.byte_ranges import MissingRangeError, RangeReader, RangesConfig
from corpus.fetch.pace import Pace
from corpus.remote import RemoteFile
from mining.selection.index import find_index
from mining.selection.select import query_of, run_select
from tests.corpus.fetch.faulty_server import FaultyServer, faulty_server, forward_to
from tests.mining.selection.made_crawl import write_crawl
from tests.mining.selection.test_select import ONE, PAGES, QUICK, read, texts
from tests.object_store import s3_server

s3fs = pytest.importorskip("s3fs")

DATA = random.Random(1).randbytes(100_000)


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(scope="module")
def served(moto: str) -> Iterator[FaultyServer]:
    """Yield a server with faults before an S3 server, which s3fs talks to."""
    with faulty_server(forward_to(moto)) as server, pytest.MonkeyPatch.context() as patch:
        settings = {"key": "k", "secret": "s", "endpoint_url": server.url.rstrip("/")}
        patch.setitem(fsspec.config.conf, "s3", settings)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        put(moto, "a b/c#1.warc.gz", DATA)
        yield server
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def store(served: FaultyServer) -> FaultyServer:
    served.faults.clear()
    return served


def put(moto: str, name: str, data: bytes) -> None:
    """Write an object, not through the server with faults."""
    url = f"{moto}/crawl/{urllib.parse.quote(name, '/=')}"
    headers = {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(url, data, headers, method="PUT")
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 200


def reader(folder: Path) -> RangeReader:
    config = RangesConfig(wait_seconds=0.0, attempts=3)
    return RangeReader("s3://crawl", config, Pace(folder / "pace", 1e9))


@pytest.mark.parametrize("fault", ["", "503", "500", "reset", "cut", "short"])
def test_ranges_come_from_s3_whatever_fails_once(
    store: FaultyServer, tmp_path: Path, fault: str
) -> None:
    store.faults.append(fault)
    assert reader(tmp_path).read("a b/c#1.warc.gz", 5000, 1234) == DATA[5000:6234]


def test_what_is_not_on_s3_is_told(store: FaultyServer, tmp_path: Path) -> None:
    with pytest.raises(MissingRangeError, match=r"s3://crawl/none\.gz does not exist"):
        reader(tmp_path).read("none.gz", 0, 10)
    with pytest.raises(MissingRangeError, match=r"ends before byte|has no byte"):
        reader(tmp_path).read("a b/c#1.warc.gz", 200_000, 10)
    with pytest.raises((MissingRangeError, FetchError), match=r"4 bytes came|ends"):
        reader(tmp_path).read("a b/c#1.warc.gz", 99_996, 10)


def test_an_index_on_s3_is_listed_and_selected_from_and_its_records_read(
    store: FaultyServer, moto: str, tmp_path: Path
) -> None:
    write_crawl(tmp_path / "crawl", PAGES)
    for path in (tmp_path / "crawl").rglob("*.*"):
        if path.is_file():
            put(moto, str(path.relative_to(tmp_path / "crawl")), path.read_bytes())
    index = find_index(["s3://crawl/cc-index/"], "unused/", ("warc",))
    assert [one.file.name for one in index] == ["part-00000-made.c000.gz.parquet"]
    run_select(index, query_of(ONE, [], ["ru", "in"], []), tmp_path / "r.parquet", ONE)
    store.faults.extend(["503", "cut"])
    counts = read(tmp_path / "r.parquet", "s3://crawl/", tmp_path / "out", QUICK)
    assert counts["fetched_records"] == 5
    read(tmp_path / "r.parquet", str(tmp_path / "crawl"), tmp_path / "local", QUICK)
    assert texts(tmp_path / "out") == texts(tmp_path / "local")


def test_a_list_on_s3_names_shards_there(store: FaultyServer, moto: str) -> None:
    put(moto, "wet.paths.gz", gzip.compress(b"wet/a.txt.gz\n"))
    listed = read_shard_list("s3://crawl/wet.paths.gz", "s3://crawl/")
    assert listed == [RemoteFile("s3://crawl/wet/a.txt.gz")]


def test_a_store_that_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"key": "k", "secret": "s", "endpoint_url": "http://127.0.0.1:9",
                "config_kwargs": {"retries": {"max_attempts": 0}}}  # fmt: skip
    monkeypatch.setitem(fsspec.config.conf, "s3", settings)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(FetchError, match="after 3 attempts"):
        reader(tmp_path).read("a", 0, 1)
    with pytest.raises(DataError, match=r"s3://crawl/a\.txt cannot be read"):
        list(read_documents(RemoteFile("s3://crawl/a.txt")))
