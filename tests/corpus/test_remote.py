"""Files by URL: found, read, told apart when they change; nothing secret is written down."""

import functools
import gzip
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

import corpus.remote
from corpus.crawl.documents import read_documents, shard_kind, shard_name
from corpus.errors import DataError, UserError
from corpus.files import write_text
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.remote import RemoteFile, find_files
from tests.corpus.fetch.faulty_server import faulty_server, serve_files


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def test_remote_shards_are_read_as_local_ones(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe("/crawl/a.txt.gz", gzip.compress(b"eins\n\nzwei\n"))
    shard = RemoteFile("memory://crawl/a.txt.gz")
    assert (shard_kind(shard), shard_name(shard)) == (".txt", "a")
    found = list(read_documents(shard))
    assert [document.text for document in found] == ["eins\n", "zwei\n"]
    assert found[0].identifier == "a.txt.gz:0"


def test_urls_with_a_star_stand_for_what_matches(memory: fsspec.AbstractFileSystem) -> None:
    for name in ("b", "a"):
        memory.pipe(f"/crawl/{name}.txt", b"x\n")
    assert find_files(["memory://crawl/*.txt", "here/c*.txt", "file:///x/d%20e.txt"]) == [
        RemoteFile("memory:///crawl/a.txt"),
        RemoteFile("memory:///crawl/b.txt"),
        Path("here/c*.txt"),
        Path("/x/d e.txt"),
    ]
    with pytest.raises(UserError, match=r"nothing matches memory://crawl/\*\.pdf"):
        find_files(["memory://crawl/*.pdf"])


def test_what_gives_access_is_never_shown() -> None:
    shard = RemoteFile("https://ann:secret@files.example/a/b.warc.gz?signature=hidden")
    assert str(shard) == "https://files.example/a/b.warc.gz"
    assert shard.name == "b.warc.gz"


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("memory://crawl/none.txt", DataError, "memory://crawl/none.txt does not exist"),
        ("nowhere://crawl/a.txt", UserError, "Protocol not known: nowhere"),
    ],
)
def test_what_cannot_be_opened_is_named(
    memory: fsspec.AbstractFileSystem, url: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        list(read_documents(RemoteFile(url)))


def measure(task: Task, output: Path) -> Outcome:
    count = len(list(read_documents(task.remote[0])))
    write_text(output / f"{task.name}.txt", str(count))
    return Outcome(counts={"documents": count}, outputs=(output / f"{task.name}.txt",))


def run(url: str, output: Path) -> Summary:
    return run_job(
        name="measure",
        tasks=[Task(name="a", inputs=(), remote=(RemoteFile(url),))],
        work=functools.partial(measure, output=output),
        output=output,
    )


def test_job_over_a_remote_file_is_done_until_the_file_changes(
    tmp_path: Path, memory: fsspec.AbstractFileSystem
) -> None:
    memory.pipe("/a.txt", b"x\n\ny\n")
    assert run("memory://a.txt", tmp_path).counts == {"documents": 2}
    assert run("memory://a.txt", tmp_path).skipped == 1
    memory.pipe("/a.txt", b"x\n\nz\n")
    with pytest.raises(UserError, match=r"made from memory://a\.txt with version .* now has"):
        run("memory://a.txt", tmp_path)


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_server_without_ranges_is_read_in_one_go_and_one_with_them_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(f"line {i}\n\n" for i in range(500))
    (tmp_path / "a.txt").write_text(text)
    monkeypatch.setattr(corpus.remote, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(corpus.remote, "_WAITS_SECONDS", (0.0, 0.0, 0.0))
    handler = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shard = RemoteFile(f"http://127.0.0.1:{server.server_port}/a.txt")
        assert len(list(read_documents(shard))) == 500
        server.shutdown()
    with faulty_server(serve_files(tmp_path)) as faulty:
        faulty.faults.extend(["", "", "503", "cut", "", "reset", "429"])
        assert len(list(read_documents(RemoteFile(f"{faulty.url}a.txt")))) == 500
        assert not faulty.faults


def test_files_come_over_http_and_a_changed_one_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_bytes(b"x\n\ny\n")
    handler = functools.partial(Handler, directory=str(tmp_path / "files"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/a.txt"
        assert run(url, tmp_path / "out").counts == {"documents": 2}
        assert run(f"{url}?signed=anew", tmp_path / "out").skipped == 1
        (tmp_path / "files" / "a.txt").write_bytes(b"x\n\ny\n\nz\n")
        with pytest.raises(UserError, match="now has"):
            run(url, tmp_path / "out")
        server.shutdown()


def test_file_urls_and_chained_urls_are_expanded(tmp_path: Path) -> None:
    import zipfile

    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_bytes(b"x\n")
    assert find_files([f"file://{tmp_path}/*.txt"]) == [tmp_path / "a.txt", tmp_path / "b.txt"]
    with pytest.raises(UserError, match="nothing matches"):
        find_files([f"file://{tmp_path}/*.pdf"])
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("in/one.txt", "eins\n\nzwei\n")
    (shard,) = find_files([f"zip://in/*.txt::file://{tmp_path}/c.zip"])
    assert shard.name == "one.txt"
    assert [document.text for document in read_documents(shard)] == ["eins\n", "zwei\n"]
    chained = RemoteFile("simplecache::https://ann:secret@x.example/b.txt?key=hidden")
    assert str(chained) == "simplecache::https://x.example/b.txt"
    assert chained.name == "b.txt"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus.remote, "_WAITS_SECONDS", (0.0, 0.0, 0.0))


LINES = b"".join(b"line %d\n\n" % number for number in range(1000))


@pytest.mark.parametrize("fault", ["500", "503", "429", "cut", "reset"])
def test_a_shard_is_read_on_where_its_connection_broke(
    tmp_path: Path, impatient: None, fault: str
) -> None:
    (tmp_path / "a.txt").write_bytes(LINES)
    with faulty_server(serve_files(tmp_path)) as server:
        server.faults.extend([fault, fault])
        found = list(read_documents(RemoteFile(f"{server.url}a.txt")))
        assert len(server.requests) == 3
    assert len(found) == 1000


def test_a_file_that_never_comes_is_an_error_and_one_that_is_refused_at_once(
    tmp_path: Path, impatient: None
) -> None:
    (tmp_path / "a.txt").write_bytes(LINES)
    with faulty_server(serve_files(tmp_path)) as server:
        server.always = "503"
        with pytest.raises(DataError, match=r"a\.txt cannot be read: 503"):
            list(read_documents(RemoteFile(f"{server.url}a.txt")))
        assert len(server.requests) == 4
        server.always = "401"
        with pytest.raises(DataError, match=r"a\.txt cannot be read: 401"):
            list(read_documents(RemoteFile(f"{server.url}a.txt")))
        assert len(server.requests) == 5


def test_a_file_that_changes_while_it_is_read_is_not_mixed(
    memory: fsspec.AbstractFileSystem, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/a.txt", LINES)
    plain = type(memory).cat_file

    def fail_and_change(self: object, *arguments: object, **options: object) -> object:
        monkeypatch.setattr(type(memory), "cat_file", plain)
        memory.pipe("/a.txt", LINES)
        raise ConnectionResetError("gone")

    monkeypatch.setattr(type(memory), "cat_file", fail_and_change)
    with pytest.raises(DataError, match=r"a\.txt changed while it was read: its version was 2"):
        list(read_documents(RemoteFile("memory://a.txt")))


def test_a_server_that_fails_is_not_taken_for_a_missing_file(
    tmp_path: Path, impatient: None
) -> None:
    (tmp_path / "a.txt").write_bytes(LINES)
    with faulty_server(serve_files(tmp_path)) as server:
        server.head_faults.extend(["503", "503"])
        shard = RemoteFile(f"{server.url}a.txt")
        assert shard.describe()["bytes"] == len(LINES)
        assert len(list(read_documents(shard))) == 1000
        with pytest.raises(DataError, match=r"none\.txt does not exist"):
            RemoteFile(f"{server.url}none.txt").describe()
    fsspec.filesystem("http").invalidate_cache()
    for act in (shard.describe, lambda: list(read_documents(shard))):
        with pytest.raises(DataError, match=r"a\.txt cannot be read: Cannot connect"):
            act()
