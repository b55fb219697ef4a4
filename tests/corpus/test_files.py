"""Files appear whole or not at all, and lines end at newline only."""

import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import DataError, UserError
from corpus.files import (
    Lines,
    atomic_path,
    digest_file,
    open_binary,
    read_json,
    read_lines,
    write_lines,
    write_text,
)


def test_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_lines(path, ["old"])

    def write_half() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert read_lines(path) == ["old"]
    assert [file.name for file in tmp_path.iterdir()] == ["x.txt"]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.txt.zst"])
def test_lines_round_trip_through_every_compression(tmp_path: Path, name: str) -> None:
    lines = ["привет", "", "a\u2028b\u0085c\x0bd", "ಠ_ಠ", "سلام"]
    write_lines(tmp_path / name, lines)
    assert read_lines(tmp_path / name) == lines


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst"])
def test_equal_lines_give_equal_bytes(tmp_path: Path, name: str) -> None:
    for folder in ("one", "two"):
        write_lines(tmp_path / folder / name, ["x", "y"])
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]))))
def test_any_text_without_newlines_is_read_back(lines: list[str]) -> None:
    data = "".join(line + "\n" for line in lines).encode()
    wanted = [lines[0].removeprefix("\ufeff"), *lines[1:]] if lines else []
    assert list(Lines(io.BytesIO(data))) == wanted


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.txt.zst"])
def test_byte_order_mark_is_no_text(tmp_path: Path, name: str) -> None:
    write_lines(tmp_path / name, ["\ufeffone", "\ufefftwo"])
    assert read_lines(tmp_path / name) == ["one", "\ufefftwo"]


def test_json_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{", b"\xff\xfe{\x00}\x00", b""])
def test_json_that_cannot_be_read_is_an_error_with_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.json"):
        read_json(tmp_path / "a.json")


def test_invalid_utf8_is_replaced_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"good\n\xff\xfe\nfine\n")
    with open_binary(tmp_path / "a.txt") as stream:
        lines = Lines(stream)
        assert list(lines) == ["good", "\ufffd\ufffd", "fine"]
    assert lines.invalid_lines == 1


def test_newline_inside_a_line_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="contains a newline"):
        write_lines(tmp_path / "a.txt", ["a\nb"])
    assert not (tmp_path / "a.txt").exists()


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst"])
def test_truncated_file_is_an_error_with_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_lines(path, [f"line {i * 7919 % 1000}" for i in range(1000)])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=rf"{name} cannot be read"):
        read_lines(path)


def test_zstandard_frames_in_a_row_read_as_one_file(tmp_path: Path) -> None:
    for name in ("a.txt.zst", "b.txt.zst"):
        write_lines(tmp_path / name, [name])
    joined = tmp_path / "c.txt.zst"
    joined.write_bytes(b"".join((tmp_path / n).read_bytes() for n in ("a.txt.zst", "b.txt.zst")))
    assert read_lines(joined) == ["a.txt.zst", "b.txt.zst"]


def test_missing_file_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_lines(tmp_path / "none.txt")


def test_digest_is_blake2b_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert digest_file(tmp_path / "a") == hashlib.blake2b(b"abc", digest_size=16).hexdigest()


def test_directory_that_cannot_be_made_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot be made: Not a directory\. Choose another output"):
        write_text(tmp_path / "file" / "output" / "x.txt", "text")


def test_text_of_one_line_with_carriage_returns_inside_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"one\rtwo\r")
    with pytest.raises(DataError, match=r"x\.txt: its lines end in carriage returns alone"):
        read_lines(path)
    path.write_bytes(b"one\rtwo\nthree\r\n")
    assert read_lines(path) == ["one\rtwo", "three"]
