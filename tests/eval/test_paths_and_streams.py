"""Names that file systems allow and programs forget, and streams that the caller closed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from corpus.files import temporary_path, write_lines, write_text
from eval.pages.run_files import read_run

ROOT = Path(__file__).parents[2]
LONG = "n" * 240


def run(arguments: list[bytes], **streams: int) -> "subprocess.CompletedProcess[bytes]":
    command = [os.fsencode(sys.executable), os.fsencode(ROOT / "tongues.py"), *arguments]
    return subprocess.run(command, capture_output=not streams, check=False, **streams)


def test_file_of_a_long_name_is_written_and_leaves_nothing(tmp_path: Path) -> None:
    for name in (f"{LONG}.html", "ы" * 120 + ".html", "n" * 255):
        write_text(tmp_path / name, "x")
        assert (tmp_path / name).read_text() == "x"
        (tmp_path / name).unlink()
    assert not list(tmp_path.iterdir())


def test_temporary_files_of_long_names_are_told_apart(tmp_path: Path) -> None:
    one, two = (temporary_path(tmp_path / f"{letter}{LONG}.zst") for letter in "ab")
    assert one != two
    assert one.suffix == ".zst"


def test_name_that_is_too_long_is_the_users_mistake(tmp_path: Path) -> None:
    output = os.fsencode(tmp_path / ("n" * 256))
    result = run([b"eval", b"report", b"--run", os.fsencode(tmp_path), b"--output", output])
    assert result.returncode == 2
    assert b"File name too long" in result.stderr
    assert b"Traceback" not in result.stderr


def test_argument_that_is_no_utf8_is_the_users_mistake(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/b\xff"
    try:
        Path(os.fsdecode(path)).mkdir()
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    result = run([b"eval", b"report", b"--run", path, b"--output", os.fsencode(tmp_path / "x")])
    assert result.returncode == 2
    assert b"is not UTF-8" in result.stderr
    assert b"Traceback" not in result.stderr


def test_stage_of_a_run_that_is_no_utf8_is_shown(tmp_path: Path) -> None:
    place = os.fsencode(tmp_path) + b"/b\xff/receipts"
    try:
        Path(os.fsdecode(place)).mkdir(parents=True)
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    record = (
        '{"name": "t", "seconds": 1, "peak_memory_mb": 1, "done": 1, "skipped": 0, "failed": 0}'
    )
    write_lines(Path(os.fsdecode(place)) / "runs.jsonl", [record])
    (stage,) = read_run(tmp_path, 3).stages
    assert stage.place == "b\ufffd"


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_report_is_written_whichever_stream_is_closed(closed: int, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    arguments = ["eval", "report", "--run", str(tmp_path), "--output", str(output)]
    shell = f'exec "$@" {closed}>&-'
    command = ["sh", "-c", shell, "sh", sys.executable, str(ROOT / "tongues.py"), *arguments]
    assert subprocess.run(command, check=False).returncode == 0
    assert output.is_file()
