"""Streams of bytes: blocks, endless lines, several processes, the command."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import DataError, JobError
from lid import identify
from lid.cli import group
from lid.identifier import LanguageIdentifier
from lid.identify import answer_block, identify_blocks, read_blocks
from tests.lid.conftest import WORDS, make_sentences

ROOT = Path(__file__).parents[2]


class Trickle(io.BytesIO):
    """A stream that gives a few bytes at a time, as a pipe may."""

    def read1(self, size: int | None = -1) -> bytes:
        return self.read(7)


@given(st.binary(max_size=300))
def test_blocks_hold_whole_lines_and_lose_nothing(data: bytes) -> None:
    data = b"a" + (data if b"\n" in data else data.replace(b"\r", b""))  # not compressed
    for stream in (io.BytesIO(data), Trickle(data)):
        blocks = list(read_blocks(stream))
        assert b"".join(blocks) == data
        assert all(block.endswith(b"\n") for block in blocks[:-1])


def test_endless_line_is_cut_between_characters_and_counts_once() -> None:
    for word in ("a", "é", "水", "𐍈"):
        data = b"first\n" + ("xyz"[: len(word)] + word * 3_000_000).encode() + b"\nlast\n"
        blocks = b"".join(read_blocks(io.BytesIO(data)))
        lines = blocks.decode("utf-8").split("\n")
        assert [lines[0], lines[2], lines[3]] == ["first", "last", ""]
        assert 2_000 <= len(lines[1]) < 10_000


def test_several_processes_give_the_same_bytes_as_one(model: Path) -> None:
    lines = [line for code in WORDS for line in make_sentences(code, 3_000)]
    data = ("\n".join(lines) + "\n\n\x00\n").encode() + b"\xff\xfe broken"
    one, two = (
        list(identify_blocks(io.BytesIO(data), model, 1, processes)) for processes in (1, 2)
    )
    assert b"".join(block.text for block in one) == b"".join(block.text for block in two)
    assert len(two) > 2
    for blocks in (one, two):
        assert sum(block.lines for block in blocks) == len(lines) + 3
        assert sum(block.invalid_lines for block in blocks) == 1


def test_line_of_ten_megabytes_gets_its_answer(model: Path) -> None:
    english, russian = (make_sentences(code, 1)[0] for code in ("eng_Latn", "rus_Cyrl"))
    data = f"{(english + ' ') * 120_000}\n{russian}\n"
    result = CliRunner().invoke(group, ["identify", "--model", str(model)], input=data)
    assert [row.split("\t")[0] for row in result.stdout.splitlines()] == ["eng_Latn", "rus_Cyrl"]


@pytest.mark.parametrize(
    ("redirection", "message"),
    [
        ("0>/dev/null", "standard input cannot be read: Bad file descriptor"),
        ("1</dev/null", "standard output cannot be written to"),
    ],
)
def test_stream_that_cannot_be_used_is_named(model: Path, redirection: str, message: str) -> None:
    command = f'printf "water\\n" | "$0" tongues.py lid identify --model "$1" {redirection}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, str(model)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_invalid_bytes_and_zeros_keep_their_lines(model: Path) -> None:
    data = (
        b"\xef\xbb\xbfthe water of the river\nwa\xffter\x80 of the ri\xc3ver\n\0\0\n\0the water\0\n"
    )
    result = CliRunner().invoke(group, ["identify", "--model", str(model)], input=data)
    languages = [row.split("\t")[0] for row in result.stdout.splitlines()]
    assert len(languages) == 4
    assert (languages[0], languages[2]) == ("eng_Latn", "und")


def test_killed_worker_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identify, "answer_block", lambda *_: os.kill(os.getpid(), 9))
    with pytest.raises(JobError, match=r"a worker process was killed"):
        list(identify.identify_blocks(io.BytesIO(b"water\n"), model, 1, 2))


def test_line_of_a_mebibyte_is_read_whole_and_a_longer_one_from_its_start() -> None:
    for size, kept in ((1 << 20, 1 << 20), ((1 << 20) + 1, 8_000)):
        line = b"".join(read_blocks(io.BytesIO(b"a" * size)))
        assert len(line) == kept


def test_top_classes_follow_the_answer(identifier: LanguageIdentifier) -> None:
    text = "\n".join(["", "the water of the river under the night with people", "强 the"]) + "\n"
    rows = answer_block(text.encode(), identifier, 3).text.decode().splitlines()
    assert len(rows) == 3
    assert rows[0] == "und\t0.0000"
    first = rows[1].split("\t")
    assert first[0] == "eng_Latn"
    assert first[2] in ("fra_Latn", "zxx")
    scores = [float(score) for score in first[1::2]]
    assert scores == sorted(scores, reverse=True)


def test_reader_that_leaves_is_no_error(model: Path) -> None:
    lines = "\n".join(make_sentences("eng_Latn", 200)) + "\n"
    command = [sys.executable, str(ROOT / "tongues.py"), "lid", "identify", "--model", str(model)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write(lines.encode())
    process.stdin.flush()
    assert process.stdout.readline().startswith(b"eng_Latn\t")  # before the input ends
    process.stdout.close()
    try:
        process.stdin.write(lines.encode() * 50)
        process.stdin.close()
    except BrokenPipeError:
        pass
    assert process.wait() == 0
    assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"one\rtwo\r", "standard input: its lines end in carriage returns alone"),
        (b"\x1f\x8b\x08\0\0", "standard input is no text but gzip"),
        ("one\n".encode("utf-16"), "standard input is UTF-16"),
    ],
)
def test_input_that_is_no_lines_of_utf8_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(read_blocks(io.BytesIO(data)))
    assert list(read_blocks(io.BytesIO(b"one\rtwo\nthree"))) == [b"one\rtwo\n", b"three"]
