"""Ranges of files elsewhere: what comes is what was asked for, or an error says why not."""

import math
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from corpus.errors import DataError, FetchError, UserError
from corpus.fetch.byte_ranges import MissingRangeError, RangeReader, RangesConfig
from corpus.fetch.pace import LONGEST_PAUSE_SECONDS, Pace
from tests.corpus.fetch.faulty_server import FaultyServer, faulty_server, serve_files

DATA = random.Random(1).randbytes(1000)
QUICK = RangesConfig(wait_seconds=0.0, attempts=3, timeout_seconds=0.5)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FaultyServer]:
    root = tmp_path / "files"
    (root / "a b").mkdir(parents=True)
    (root / "a b" / "c#1.warc.gz").write_bytes(DATA)
    with (root / "large").open("wb") as file:
        file.truncate(64 << 20)
    with faulty_server(serve_files(root)) as running:
        yield running


def reader(prefix: str, folder: Path, config: RangesConfig = QUICK) -> RangeReader:
    return RangeReader(prefix, config, Pace(folder / "pace", 1e9))


def test_a_range_comes_with_one_request(server: FaultyServer, tmp_path: Path) -> None:
    assert reader(server.url, tmp_path).read("a b/c#1.warc.gz", 10, 20) == DATA[10:30]
    assert server.requests == [("/a%20b/c%231.warc.gz", "bytes=10-29")]


@pytest.mark.parametrize(
    "fault",
    [
        "500",
        "503",
        "429",
        "403",
        "408",
        "reset",
        "cut",
        "short",
        "long",
        "other",
        "slow",
        "stalled",
    ],
)
def test_what_may_pass_is_tried_again(server: FaultyServer, tmp_path: Path, fault: str) -> None:
    server.faults.extend([fault, fault])
    assert reader(server.url, tmp_path).read("a b/c#1.warc.gz", 990, 10) == DATA[990:]
    assert len(server.requests) == 3


def test_what_does_not_pass_is_an_error_after_the_last_attempt(
    server: FaultyServer, tmp_path: Path
) -> None:
    server.always = "503"
    with pytest.raises(FetchError, match=r"10 bytes from 5: .*answered 503, after 3 attempts"):
        reader(server.url, tmp_path).read("a b/c#1.warc.gz", 5, 10)
    assert len(server.requests) == 3


def test_a_server_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="after 3 attempts"):
        reader("http://127.0.0.1:9/", tmp_path).read("a", 0, 1)


@pytest.mark.parametrize(
    ("name", "first", "message"),
    [
        ("none", 0, "answered 404"),
        ("a b/c#1.warc.gz", 995, "ends at byte 1,000, within the range"),
        ("a b/c#1.warc.gz", 5000, "ends before byte 5,000"),
    ],
)
def test_what_is_not_there_is_asked_for_once(
    server: FaultyServer, tmp_path: Path, name: str, first: int, message: str
) -> None:
    with pytest.raises(MissingRangeError, match=message):
        reader(server.url, tmp_path).read(name, first, 10)
    assert len(server.requests) == 1


@pytest.mark.parametrize("fault", ["400", "401"])
def test_a_refusal_is_not_repeated(server: FaultyServer, tmp_path: Path, fault: str) -> None:
    server.always = fault
    with pytest.raises(FetchError, match=f"answered {fault}"):
        reader(server.url, tmp_path).read("a b/c#1.warc.gz", 0, 10)
    assert len(server.requests) == 1


def test_of_a_whole_file_instead_of_a_range_only_the_range_is_taken(
    server: FaultyServer, tmp_path: Path
) -> None:
    server.always = "whole"
    assert reader(server.url, tmp_path).read("a b/c#1.warc.gz", 100, 20) == DATA[100:120]


def test_a_large_whole_file_instead_of_a_range_is_not_downloaded(
    server: FaultyServer, tmp_path: Path
) -> None:
    server.always = "whole"
    with pytest.raises(MissingRangeError, match="sends the whole file"):
        reader(server.url, tmp_path).read("large", 60 << 20, 20)
    assert server.sent < 32 << 20


def test_bytes_are_not_unpacked_on_the_way(server: FaultyServer, tmp_path: Path) -> None:
    server.always = "encoded"
    assert reader(server.url, tmp_path).read("a b/c#1.warc.gz", 0, 20) == DATA[:20]


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "a//b", "http://x/y", "a\nb", "", "..\\x", "a::b"]
)
def test_names_that_lead_out_of_the_prefix_are_refused(
    server: FaultyServer, tmp_path: Path, name: str
) -> None:
    with pytest.raises(DataError, match="no path of a file below a prefix"):
        reader(server.url, tmp_path).read(name, 0, 10)
    with pytest.raises(DataError, match="no path of a file below a prefix"):
        reader(str(tmp_path), tmp_path).read(name, 0, 10)
    assert not server.requests


def test_files_of_this_machine_and_of_stores_are_read_alike(
    server: FaultyServer, tmp_path: Path
) -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/crawl/a b/c#1.warc.gz", DATA)
    for prefix in (str(tmp_path / "files"), "memory://crawl"):
        one = reader(prefix, tmp_path)
        assert one.read("a b/c#1.warc.gz", 10, 20) == DATA[10:30]
        with pytest.raises(MissingRangeError, match="does not exist"):
            one.read("none", 0, 1)
    store.rm("/crawl", recursive=True)


def test_a_prefix_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such directory"):
        reader(str(tmp_path / "none"), tmp_path)
    with pytest.raises(UserError, match="has no query"):
        reader("https://example.org/?key=secret", tmp_path)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_two_readers_of_one_file_share_a_rate(tmp_path: Path) -> None:
    clock = Clock()
    paces = [Pace(tmp_path / "pace", 10.0, lambda: clock.now, clock.sleep) for _ in range(2)]
    for _ in range(10):
        for pace in paces:
            pace.wait()
    assert clock.now == pytest.approx(1000.0 + 19 / 10)


def test_a_pause_holds_for_all_and_is_never_longer_than_the_longest(tmp_path: Path) -> None:
    clock = Clock()
    one, other = (Pace(tmp_path / "pace", 10.0, lambda: clock.now, clock.sleep) for _ in range(2))
    one.pause(30)
    other.wait()
    assert clock.now == pytest.approx(1030.0)
    one.pause(math.inf)
    other.wait()
    assert clock.now <= 1031 + LONGEST_PAUSE_SECONDS


@pytest.mark.parametrize("left", ["", "half-writ", "1e99", "-5", "nan"])
def test_a_damaged_file_of_the_rate_stops_nothing(tmp_path: Path, left: str) -> None:
    (tmp_path / "pace").write_text(left)
    clock = Clock()
    Pace(tmp_path / "pace", 10.0, lambda: clock.now, clock.sleep).wait()
    assert clock.now == 1000.0


def test_threads_keep_the_rate(tmp_path: Path) -> None:
    pace = Pace(tmp_path / "pace", 100.0)
    started = time.monotonic()
    threads = [threading.Thread(target=pace.wait) for _ in range(21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started >= 0.19
