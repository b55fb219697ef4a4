"""Lists of shards, and samples of them by name."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tongues
from corpus.crawl.shard_lists import read_shard_list, sample_by_name
from corpus.errors import DataError, UserError
from corpus.remote import RemoteFile
from tests.corpus.fetch.faulty_server import faulty_server, serve_files

NAMES = [f"crawl-data/CC-MAIN-{number:05d}.warc.wet.gz" for number in range(2000)]


@pytest.mark.parametrize("name", ["wet.paths", "wet.paths.gz"])
def test_lines_of_a_list_stand_below_a_prefix(tmp_path: Path, name: str) -> None:
    text = b"a/1.txt\n\n  b c/2+#.txt\n"
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    listed = str(tmp_path / name)
    assert read_shard_list(listed, "https://x.example/crawl") == [
        RemoteFile("https://x.example/crawl/a/1.txt"),
        RemoteFile("https://x.example/crawl/b%20c/2%2B%23.txt"),
    ]
    assert read_shard_list(listed, "s3://crawl/") == [
        RemoteFile("s3://crawl/a/1.txt"),
        RemoteFile("s3://crawl/b c/2+#.txt"),
    ]
    assert read_shard_list(listed, str(tmp_path)) == [
        tmp_path / "a/1.txt",
        tmp_path / "b c/2+#.txt",
    ]
    assert read_shard_list(listed) == [Path("a/1.txt"), Path("b c/2+#.txt")]


@pytest.mark.parametrize("line", ["../x.txt", "/etc/x.txt", "http://evil.example/x.txt", "a/../b"])
def test_lines_that_lead_out_of_the_prefix_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "paths").write_text(f"a.txt\n{line}\n")
    with pytest.raises(DataError, match="no path of a file below a prefix"):
        read_shard_list(str(tmp_path / "paths"), "https://x.example/")


def test_lists_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n\n")
    with pytest.raises(UserError, match="lists no shards"):
        read_shard_list(str(tmp_path / "empty"))
    with pytest.raises(UserError, match="does not exist"):
        read_shard_list(str(tmp_path / "none"))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"a.txt\n" * 1000)[:30])
    with pytest.raises(DataError, match="cannot be read"):
        read_shard_list(str(tmp_path / "cut.gz"))


@given(st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_a_larger_sample_holds_a_smaller_one(one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert set(sample_by_name(NAMES, NAMES, small)) <= set(sample_by_name(NAMES, NAMES, large))


def test_a_sample_has_about_its_share_and_depends_on_names_alone() -> None:
    tenth = sample_by_name(NAMES, NAMES, 0.1)
    # By hand: 200 expected, with a standard deviation of 13.
    assert 150 < len(tenth) < 250
    assert sample_by_name(NAMES[:1000], NAMES[:1000], 0.1) == [
        name for name in tenth if name in NAMES[:1000]
    ]
    assert sample_by_name(NAMES, NAMES, None) == NAMES
    for share in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(UserError, match="must be above 0 and at most 1"):
            sample_by_name(NAMES, NAMES, share)
    with pytest.raises(UserError, match="chooses none of 1 shards"):
        sample_by_name(NAMES[:1], NAMES[:1], 1e-9)


def test_the_command_reads_listed_shards_over_http_each_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "files"
    root.mkdir()
    for number in range(8):
        text = f"The long river number {number} runs through the wide green valley.\n"
        (root / f"{number}.txt").write_text(text)
    (root / "paths").write_text("".join(f"{number}.txt\n" for number in range(8)))
    with faulty_server(serve_files(root)) as server:
        command = [
            "mining", "sentences", "--shards-from", f"{server.url}paths", "--prefix", server.url,
            "--output", str(tmp_path / "out"), "--config", "workers=1",
        ]  # fmt: skip
        assert tongues.main([*command, "--sample", "0.5"]) == 0
        assert tongues.main([*command, "--sample", "2"]) == 2
    error = capsys.readouterr().err
    assert "must be above 0 and at most 1" in error
    chosen = sample_by_name(range(8), [f"{number}.txt" for number in range(8)], 0.5)
    assert 0 < len(chosen) < 8
    assert f"extract: {len(chosen)} shards" in error


def test_prefix_is_refused_where_it_means_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--output", str(tmp_path / "out")]
    assert tongues.main(["mining", "sentences", "a.txt", "--prefix", "x", *out]) == 2
    assert "--prefix is for --shards-from and --ranges" in capsys.readouterr().err
    assert tongues.main(["mining", "sentences", *out]) == 2
    assert "give crawl SHARDS, or --shards-from, or --ranges" in capsys.readouterr().err
