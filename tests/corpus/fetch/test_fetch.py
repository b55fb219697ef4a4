"""Downloads from a server on this machine: cut, stubborn, wrong, hostile, and two at once."""

import dataclasses
import errno
import functools
import hashlib
import io
import json
import multiprocessing
import re
import shutil
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from corpus.cli import group
from corpus.errors import DataError, FetchError, UserError
from corpus.fetch import fetch as fetching
from corpus.fetch.catalog import CATALOG, CatalogFile, Resource, find_resource
from corpus.fetch.download import DownloadConfig, download
from corpus.fetch.fetch import fetch, list_resources
from corpus.fetch.unpack import unpack

QUICK = DownloadConfig(timeout_seconds=5, attempts=3, wait_seconds=0)
BODY = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server:
    """A file server whose manners a test can spoil; it remembers what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.etag = '"one"'
        self.knows_ranges = True
        self.says_length = True
        self.is_chunked = False
        self.cuts: list[int] = []  # bytes after which the next connections end
        self.failures: list[int] = []  # status of the next answers
        self.requests: list[tuple[str, str]] = []
        self.stops_at: int | None = None  # bytes after which the next connection hangs
        self.is_free = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """Say nothing of clients that hang up: many of these tests have them do so."""

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range", "")
        self.requests.append((handler.path, asked))
        body = self.files.get(handler.path)
        status = self.failures.pop(0) if self.failures else (200 if body is not None else 404)
        if status >= 400 or body is None:
            handler.send_error(status)
            return
        start = 0
        same = handler.headers.get("If-Range", self.etag) == self.etag
        if asked and self.knows_ranges and same:
            match = re.fullmatch(r"bytes=(\d+)-", asked)
            assert match is not None
            start = int(match[1])
            if start >= len(body):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(body)}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            handler.send_response(200)
        if self.etag:
            handler.send_header("ETag", self.etag)
        if self.is_chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        elif self.says_length:
            handler.send_header("Content-Length", str(len(body) - start))
        handler.send_header("Connection", "close")
        handler.close_connection = True
        handler.end_headers()
        end = self.cuts.pop(0) if self.cuts else len(body)
        sent = body[start : max(start, end)]
        if self.is_chunked:
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(sent), sent))
            sent = b"0\r\n\r\n" if end >= len(body) else b""
        if self.stops_at is not None:
            handler.wfile.write(sent[: self.stops_at])
            handler.wfile.flush()
            self.is_free.wait(timeout=30)
            return
        handler.wfile.write(sent)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("TONGUES_MIRROR", raising=False)
    one = Server()
    one.files["/x.bin"] = BODY
    thread = threading.Thread(target=functools.partial(one.http.serve_forever, poll_interval=0.01))
    thread.start()
    yield one
    one.http.shutdown()
    one.http.server_close()
    thread.join()


def get(server: Server, path: Path, sha256: str | None = SHA256, size: int | None = None) -> str:
    found = download(
        f"{server.url}/x.bin", path, size=size, sha256=sha256, largest=1 << 24, config=QUICK
    )
    return found.sha256


def no_leftovers(folder: Path, *kept: str) -> bool:
    return sorted(path.name for path in folder.iterdir()) == sorted(kept)


def test_file_comes_whole_and_leaves_nothing_beside_it(server: Server, tmp_path: Path) -> None:
    assert get(server, tmp_path / "x.bin", size=len(BODY)) == SHA256
    assert (tmp_path / "x.bin").read_bytes() == BODY
    assert no_leftovers(tmp_path, "x.bin")


def test_cut_download_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.cuts = [300_000, 700_000]
    assert get(server, tmp_path / "x.bin") == SHA256
    assert [asked for _, asked in server.requests] == ["", "bytes=300000-", "bytes=700000-"]
    assert no_leftovers(tmp_path, "x.bin")


def test_download_that_keeps_breaking_is_kept_for_the_next_run(
    server: Server, tmp_path: Path
) -> None:
    server.cuts = [100_000, 200_000, 300_000]
    with pytest.raises(FetchError, match=r"3 attempts.*300,000 bytes are kept in"):
        get(server, tmp_path / "x.bin")
    assert not (tmp_path / "x.bin").exists()
    server.requests.clear()
    assert get(server, tmp_path / "x.bin") == SHA256
    assert server.requests == [("/x.bin", "bytes=300000-")]


def test_killed_download_goes_on_to_the_same_bytes(server: Server, tmp_path: Path) -> None:
    server.stops_at = 300_000
    process = multiprocessing.get_context("fork").Process(
        target=get, args=(server, tmp_path / "x.bin")
    )
    process.start()
    part = tmp_path / "x.bin.part"
    while not part.exists() or part.stat().st_size < 250_000:
        time.sleep(0.01)
    process.kill()
    process.join()
    server.is_free.set()
    server.stops_at = None
    have = part.stat().st_size
    assert get(server, tmp_path / "x.bin") == SHA256
    assert server.requests == [("/x.bin", ""), ("/x.bin", f"bytes={have}-")]
    assert no_leftovers(tmp_path, "x.bin")


def test_server_that_ignores_ranges_is_read_from_the_start(server: Server, tmp_path: Path) -> None:
    server.knows_ranges = False
    server.cuts = [300_000]
    assert get(server, tmp_path / "x.bin") == SHA256
    assert (tmp_path / "x.bin").read_bytes() == BODY


def test_file_replaced_between_two_runs_is_never_patched_together(
    server: Server, tmp_path: Path
) -> None:
    server.cuts = [300_000] * 3
    with pytest.raises(FetchError):
        get(server, tmp_path / "x.bin", sha256=None)
    server.files["/x.bin"] = BODY[::-1]
    server.etag = '"two"'
    get(server, tmp_path / "x.bin", sha256=None)
    assert (tmp_path / "x.bin").read_bytes() == BODY[::-1]


def test_without_version_or_checksum_a_cut_download_starts_anew(
    server: Server, tmp_path: Path
) -> None:
    server.etag = ""
    server.cuts = [300_000]
    get(server, tmp_path / "x.bin", sha256=None)
    assert [asked for _, asked in server.requests] == ["", ""]


def test_stale_part_whose_checksum_fails_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.bin.part").write_bytes(b"something else" * 1000)
    assert get(server, tmp_path / "x.bin") == SHA256
    assert [asked for _, asked in server.requests] == ["bytes=14000-", ""]


def test_part_that_was_whole_already_is_taken_by_its_checksum(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "x.bin.part").write_bytes(BODY)
    assert get(server, tmp_path / "x.bin") == SHA256
    assert server.requests == [("/x.bin", f"bytes={len(BODY)}-")]


def test_wrong_checksum_names_both_and_keeps_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"sha256 {SHA256} .* and {'0' * 64} was expected"):
        get(server, tmp_path / "x.bin", sha256="0" * 64)
    assert no_leftovers(tmp_path)


def test_wrong_size_is_refused_before_it_is_downloaded(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has 1,048,576 bytes, and 5 were expected"):
        get(server, tmp_path / "x.bin", size=5)
    assert no_leftovers(tmp_path)


def test_body_longer_than_allowed_is_given_up(server: Server, tmp_path: Path) -> None:
    server.says_length = False
    with pytest.raises(DataError, match="more than 5 bytes came"):
        get(server, tmp_path / "x.bin", size=5)
    assert no_leftovers(tmp_path)


def test_cut_of_a_file_sent_in_chunks_is_noticed(server: Server, tmp_path: Path) -> None:
    server.is_chunked = True
    server.cuts = [300_000]
    assert get(server, tmp_path / "x.bin", sha256=None) == SHA256
    assert len(server.requests) == 2


def test_file_whose_end_nothing_tells_is_not_taken(server: Server, tmp_path: Path) -> None:
    server.says_length = False
    with pytest.raises(FetchError, match="does not give the length"):
        get(server, tmp_path / "x.bin", sha256=None)
    assert get(server, tmp_path / "x.bin") == SHA256  # with a checksum it may be


def test_missing_file_is_not_asked_for_twice(server: Server, tmp_path: Path) -> None:
    server.files.clear()
    with pytest.raises(FetchError, match="404"):
        get(server, tmp_path / "x.bin")
    assert len(server.requests) == 1
    assert no_leftovers(tmp_path)


def test_server_in_trouble_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.failures = [503, 500]
    assert get(server, tmp_path / "x.bin") == SHA256


def test_without_a_network_a_download_ends_at_once(tmp_path: Path) -> None:
    config = DownloadConfig(timeout_seconds=5, attempts=5, wait_seconds=60)
    started = time.monotonic()
    with pytest.raises(FetchError, match="could not be reached"):
        download(
            "http://127.0.0.1:9/x.bin", tmp_path / "x.bin",
            size=None, sha256=None, largest=100, config=config,
        )  # fmt: skip
    assert time.monotonic() - started < 30


def test_tar_header_of_a_gigabyte_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    (tmp_path / "a.tar").write_bytes(info.tobuf() + b"0" * (2 << 20))
    with pytest.raises(DataError, match="header of"):
        unpack(tmp_path / "a.tar", tmp_path / "out", largest=1 << 31)


def test_full_disk_keeps_what_fitted_and_says_so(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = Path.open

    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            if self.tell() >= 500_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data[: 500_000 - self.tell()])

    def open_full(path: Path, mode: str = "r", **keywords: Any) -> Any:
        return Full(path, "ab") if mode == "ab" else real_open(path, mode, **keywords)

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(FetchError, match="disk is full"):
        get(server, tmp_path / "x.bin")
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert (tmp_path / "x.bin.part").stat().st_size == 500_000
    assert get(server, tmp_path / "x.bin") == SHA256
    assert server.requests[-1][1] == "bytes=500000-"


def test_disk_without_room_is_refused_before_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(FetchError, match=r"1,000 bytes free and 1,048,576 are needed"):
        get(server, tmp_path / "x.bin")


# Resources: what is in the cache, and what is remembered of it.


def tar_gz(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


SET = tar_gz({"./set/dev/eng_Latn.dev": b"one\n", "./set/dev/fra_Latn.dev": b"un\n"})


@pytest.fixture
def catalog(server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, Resource]:
    """Two resources of the server's: a file without a known checksum, and an archive with one."""
    server.files["/set.tar.gz"] = SET
    model = CatalogFile(url=f"{server.url}/x.bin")
    archive = CatalogFile(
        url=f"{server.url}/set.tar.gz", size=len(SET), sha256=hashlib.sha256(SET).hexdigest()
    )
    found = {
        "model": Resource(name="model", about="", license="", files=(model,)),
        "set": Resource(
            name="set", about="", license="", files=(archive,), folder="set", unpacked=1000
        ),
        "pair": Resource(
            name="pair",
            about="",
            license="",
            folder="pair",
            files=(model, CatalogFile(url=f"{server.url}/y.bin")),
        ),
    }
    monkeypatch.setattr(fetching, "CATALOG", found)
    monkeypatch.setattr(fetching, "find_resource", found.__getitem__)
    return found


def test_archive_is_unpacked_without_its_first_folder_and_removed(
    catalog: dict[str, Resource], tmp_path: Path
) -> None:
    fetched = fetch("set", QUICK, tmp_path)
    assert fetched == ("set", tmp_path / "set", False)
    assert (tmp_path / "set" / "dev" / "fra_Latn.dev").read_bytes() == b"un\n"
    assert no_leftovers(tmp_path, "set", "fetched.json", ".lock")
    assert [entry.is_there for entry in list_resources(tmp_path)] == [False, True, False]


def test_second_fetch_asks_no_server(
    server: Server, catalog: dict[str, Resource], tmp_path: Path
) -> None:
    for name in ("set", "model"):
        assert not fetch(name, QUICK, tmp_path).was_there
    record = (tmp_path / "fetched.json").read_bytes()
    server.requests.clear()
    for name in ("set", "model"):
        assert fetch(name, QUICK, tmp_path).was_there
    assert not server.requests
    assert (tmp_path / "fetched.json").read_bytes() == record


def test_first_download_must_have_the_md5_that_was_published(
    server: Server, catalog: dict[str, Resource], tmp_path: Path
) -> None:
    file = CatalogFile(url=f"{server.url}/x.bin", md5=hashlib.md5(BODY).hexdigest())
    catalog["model"] = dataclasses.replace(catalog["model"], files=(file,))
    fetch("model", QUICK, tmp_path)
    (tmp_path / "x.bin").unlink()
    (tmp_path / "fetched.json").unlink()
    server.files["/x.bin"] = BODY[:-1] + b"!"
    with pytest.raises(DataError, match="Nothing was kept"):
        fetch("model", QUICK, tmp_path)
    assert not (tmp_path / "x.bin").exists()
    assert not (tmp_path / "fetched.json").exists()


def test_first_download_records_the_checksum_and_later_ones_must_match(
    server: Server, catalog: dict[str, Resource], tmp_path: Path
) -> None:
    fetch("model", QUICK, tmp_path)
    record = json.loads((tmp_path / "fetched.json").read_text())
    assert record["files"]["x.bin"] == {
        "url": f"{server.url}/x.bin",
        "bytes": len(BODY),
        "sha256": SHA256,
    }
    (tmp_path / "x.bin").unlink()
    server.files["/x.bin"] = BODY[:-1] + b"!"
    with pytest.raises(DataError, match=f"{SHA256} was expected"):
        fetch("model", QUICK, tmp_path)


def test_damaged_file_in_the_cache_is_named(catalog: dict[str, Resource], tmp_path: Path) -> None:
    fetch("model", QUICK, tmp_path)
    (tmp_path / "x.bin").write_bytes(BODY[:1000])
    with pytest.raises(DataError, match=r"x\.bin is not the file that is expected: it has 1,000"):
        fetch("model", QUICK, tmp_path)


def test_folder_that_lost_a_file_is_named(catalog: dict[str, Resource], tmp_path: Path) -> None:
    fetch("set", QUICK, tmp_path)
    (tmp_path / "set" / "dev" / "fra_Latn.dev").unlink()
    with pytest.raises(DataError, match=r"set holds 1 files of 4 bytes together, and 2 of 7"):
        fetch("set", QUICK, tmp_path)


def test_archive_put_into_the_cache_by_hand_is_checked_and_unpacked(
    server: Server, catalog: dict[str, Resource], tmp_path: Path
) -> None:
    (tmp_path / "set.tar.gz").write_bytes(SET)
    fetch("set", QUICK, tmp_path)
    assert not server.requests
    assert (tmp_path / "set" / "dev" / "eng_Latn.dev").read_bytes() == b"one\n"
    other = tmp_path / "other"
    other.mkdir()
    (other / "set.tar.gz").write_bytes(SET[:-1])
    with pytest.raises(DataError, match="not the file that is expected"):
        fetch("set", QUICK, other)


def test_page_in_place_of_an_archive_is_not_remembered(
    server: Server, catalog: dict[str, Resource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = dataclasses.replace(catalog["set"].files[0], size=None, sha256=None)
    catalog["set"] = dataclasses.replace(catalog["set"], files=(file,))
    server.files["/set.tar.gz"] = b"<html>please log in</html>"
    with pytest.raises(DataError, match="damaged archive"):
        fetch("set", QUICK, tmp_path)
    server.files["/set.tar.gz"] = SET
    assert fetch("set", QUICK, tmp_path).path.is_dir()


def test_unpacking_that_was_killed_is_swept_up(
    catalog: dict[str, Resource], tmp_path: Path
) -> None:
    (tmp_path / ".unpacking-set" / "dev").mkdir(parents=True)
    fetch("set", QUICK, tmp_path)
    assert no_leftovers(tmp_path, "set", "fetched.json", ".lock")


@pytest.mark.parametrize("kind", ["file", "directory", "url", "base url", "mirror"])
def test_copy_elsewhere_is_taken_and_checked_all_the_same(
    kind: str,
    server: Server,
    catalog: dict[str, Resource],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "copies").mkdir()
    copy = tmp_path / "copies" / "set.tar.gz"
    copy.write_bytes(SET)
    server.files["/mirror/set.tar.gz"] = SET
    source = {
        "file": str(copy),
        "directory": str(copy.parent),
        "url": f"{server.url}/mirror/set.tar.gz",
        "base url": f"{server.url}/mirror",
        "mirror": None,
    }[kind]
    if source is None:
        monkeypatch.setenv("TONGUES_MIRROR", f"{server.url}/mirror/")
    fetch("set", QUICK, tmp_path / "cache", source)
    assert (tmp_path / "cache" / "set" / "dev" / "eng_Latn.dev").exists()
    assert {path for path, _ in server.requests} <= {"/mirror/set.tar.gz"}
    if kind in ("file", "directory"):
        copy.write_bytes(SET[:-1])
        with pytest.raises(DataError, match=f"{len(SET) - 1:,} bytes, and {len(SET):,}"):
            fetch("set", QUICK, tmp_path / "again", source)


def test_one_copy_for_several_files_is_refused(
    catalog: dict[str, Resource], tmp_path: Path
) -> None:
    (tmp_path / "x.bin").write_bytes(BODY)
    with pytest.raises(UserError, match="is one file and 2 are needed"):
        fetch("pair", QUICK, tmp_path / "cache", str(tmp_path / "x.bin"))
    with pytest.raises(UserError, match="nor a path that exists"):
        fetch("pair", QUICK, tmp_path / "cache", str(tmp_path / "nowhere"))


def test_without_a_network_it_says_what_to_put_where(
    server: Server, catalog: dict[str, Resource], tmp_path: Path
) -> None:
    server.http.server_close()
    with pytest.raises(FetchError) as error:
        fetch("model", QUICK, tmp_path)
    assert f"get {server.url}/x.bin elsewhere and put it at {tmp_path / 'x.bin'}" in str(
        error.value
    )
    assert "TONGUES_MIRROR" in str(error.value)


def fetch_both(folder: Path) -> None:
    fetch("set", QUICK, folder)
    fetch("model", QUICK, folder)


def test_two_fetches_at_once_download_once(
    server: Server, catalog: dict[str, Resource], tmp_path: Path
) -> None:
    fork = multiprocessing.get_context("fork")  # so that they see this catalog
    processes = [fork.Process(target=fetch_both, args=(tmp_path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert sorted(path for path, _ in server.requests) == ["/set.tar.gz", "/x.bin"]
    assert (tmp_path / "x.bin").read_bytes() == BODY


def test_commands_print_paths_and_what_is_there(
    catalog: dict[str, Resource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TONGUES_CACHE", str(tmp_path))
    run = functools.partial(CliRunner().invoke, group, catch_exceptions=False)
    fetched = json.loads(run(["fetch", "set", "model", "--json"]).output)
    assert fetched == {"set": str(tmp_path / "set"), "model": str(tmp_path / "x.bin")}
    there = json.loads(run(["list", "--json"]).output)
    assert {name: entry["is_there"] for name, entry in there.items()} == {
        "set": True,
        "model": True,
        "pair": False,
    }


# What the catalog says.


def test_catalog_knows_what_it_should() -> None:
    names = {"flores200", "spm200", "spm100", "ntrex128", "nllb_seed", "laser2", "tico19", "wmt24"}
    assert names <= set(CATALOG)
    # 147 students in nllb/download_models.sh, 35 of them with a vocabulary of their own.
    students = [one for one in CATALOG.values() if one.name.startswith("laser3-")]
    own = [one for one in students if one.files[1].file_name != "laser2.spm"]
    assert (len(students), len(own)) == (147, 35)
    for one in CATALOG.values():
        assert len({file.file_name for file in one.files}) == len(one.files)
        for file in one.files:
            assert file.url.startswith("https://")
            assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
            assert file.md5 is None or re.fullmatch("[0-9a-f]{32}", file.md5)
    assert len([name for name in CATALOG if name.startswith("wmt24pp-")]) == 55


def test_models_of_learned_metrics_lie_as_they_are_published(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = CATALOG["wmt22-comet-da"]
    for file in model.files:
        server.files[f"/{file.file_name}"] = file.file_name.encode()
    monkeypatch.setenv("TONGUES_MIRROR", server.url)
    fetched = fetch(model.name, QUICK, tmp_path)
    assert fetched.path == tmp_path / "learned_metrics" / "wmt22-comet-da"
    found = [path for path in fetched.path.rglob("*") if path.is_file()]
    assert sorted(path.relative_to(fetched.path).as_posix() for path in found) == [
        "checkpoints/model.ckpt", "hparams.yaml",
    ]  # fmt: skip
    # Their files are remembered by names that no other resource has.
    names = [file.file_name for one in CATALOG.values() for file in one.files]
    shared = {name for name in names if names.count(name) > 1}
    assert shared == {"laser2.spm", "laser2.cvocab"}


def test_models_with_terms_to_accept_are_not_fetched_but_explained() -> None:
    with pytest.raises(UserError, match=r"huggingface\.co/Unbabel/XCOMET-XL\..*as --checkpoint"):
        find_resource("XCOMET-XL")


def test_sets_with_terms_to_accept_are_not_fetched_but_explained() -> None:
    with pytest.raises(UserError, match=r"accepted at https://huggingface.co/.*flores_plus"):
        find_resource("flores_plus")


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match=r"`flores20`.*Did you mean `flores200`"):
        find_resource("flores20")


# Archives that mean harm.


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        tar.addfile(info, io.BytesIO(b""))
    return stream.getvalue()


def zipped(build: Callable[[zipfile.ZipFile], None]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        build(archive)
    return stream.getvalue()


def zip_link(archive: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("a/link")
    info.external_attr = 0o120777 << 16
    archive.writestr(info, "/etc/passwd")


def zip_twice(archive: zipfile.ZipFile) -> None:
    archive.writestr("a/b", "1")
    archive.writestr("a/B", "2")


HOSTILE = {
    "path up": (member("a/../../x"), "leads out of it"),
    "absolute path": (member("/tmp/x"), "leads out of it"),
    "backslash": (member("a/..\\x"), "leads out of it"),
    "drive": (member("a/C:x"), "leads out of it"),
    "control character": (member("a/b\x1b[2J"), "leads out of it"),
    "symbolic link": (member("a/b", tarfile.SYMTYPE, "/etc/passwd"), "a link; only files"),
    "hard link": (member("a/b", tarfile.LNKTYPE, "a/c"), "a link; only files"),
    "device": (member("a/b", tarfile.CHRTYPE), "a device or special file"),
    "pipe": (member("a/b", tarfile.FIFOTYPE), "a device or special file"),
    "bomb": (tar_gz({"a/b": b"\0" * 2_000_000}), "more bytes than it may"),
    "file as folder": (tar_gz({"a/b": b"1", "a/b/c": b"2"}), "both as a file and a folder"),
    "cut tar": (tar_gz({"a/b": BODY[:9000]})[:-300], "damaged archive"),
    "empty tar": (tar_gz({}), "holds no files"),
    "no archive": (b"<html>please log in</html>", "damaged archive"),
    "nothing": (b"", "damaged archive"),
    "zip path up": (zipped(lambda z: z.writestr("a/../../x", "1")), "leads out of it"),
    "zip absolute": (zipped(lambda z: z.writestr("/x", "1")), "leads out of it"),
    "zip link": (zipped(zip_link), "a link or device"),
    "zip bomb": (zipped(lambda z: z.writestr("a/b", b"\0" * 2_000_000)), "more bytes than it may"),
    "zip twice": (zipped(zip_twice), "twice"),
    "cut zip": (zipped(lambda z: z.writestr("a/b", BODY[:9000]))[:-5], "damaged archive"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archive_is_refused_and_leaves_nothing(what: str, tmp_path: Path) -> None:
    content, message = HOSTILE[what]
    archive = tmp_path / "x.archive"
    archive.write_bytes(content)
    with pytest.raises(DataError, match=message):
        unpack(archive, tmp_path / "in" / "target", largest=1_000_000)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "x.archive"]


def test_modes_and_owners_of_an_archive_are_not_taken_over(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("a/b")
        info.size, info.mode, info.uid = 1, 0o6777, 12345
        tar.addfile(info, io.BytesIO(b"x"))
    (tmp_path / "x.tar").write_bytes(stream.getvalue())
    assert unpack(tmp_path / "x.tar", tmp_path / "out", largest=10) == (1, 1)
    (tmp_path / "plain").write_bytes(b"x")
    stat, plain = (tmp_path / "out" / "b").stat(), (tmp_path / "plain").stat()
    assert (stat.st_mode, stat.st_uid) == (plain.st_mode, plain.st_uid)


def test_spm200_is_fetched_to_where_scoring_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eval.metrics.sentencepiece_models import find_spm

    monkeypatch.setenv("TONGUES_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="`tongues data fetch spm200`"):
        find_spm(None)
    place = fetching.resource_path(find_resource("spm200"), tmp_path)
    place.write_bytes(b"cut off")
    with pytest.raises(DataError, match=f"{place} is not SPM-200"):
        find_spm(None)
