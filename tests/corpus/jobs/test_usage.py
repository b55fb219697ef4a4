"""What a process used of the machine."""

import subprocess
import sys
from pathlib import Path

import pytest

from corpus.jobs import usage
from corpus.jobs.usage import peak_memory_mb

MEGABYTE = 1 << 20
BALLAST_MB = 150


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says it there")
def test_peak_of_a_program_does_not_count_what_started_it() -> None:
    ballast = b"x" * (BALLAST_MB * MEGABYTE)
    # The child is a copy of this process until it becomes the other program.
    code = "from corpus.jobs.usage import peak_memory_mb; print(peak_memory_mb())"
    root = Path(__file__).parents[3]
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=int,  # forks: without it, `vfork` would count nothing of this process either
    )
    assert 5 < float(told.stdout) < len(ballast) / MEGABYTE < peak_memory_mb()


def test_peak_is_asked_of_the_system_where_there_is_no_such_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = peak_memory_mb()
    monkeypatch.setattr(usage, "_STATUS", tmp_path / "no")
    # Only the unit could be wrong here: the peak of the past, which has but grown since.
    assert known * 0.9 < peak_memory_mb() < known * 10 + 1000
    monkeypatch.setattr(usage, "_STATUS", tmp_path / "without")
    (tmp_path / "without").write_text("VmSize: 1 kB\n")
    assert peak_memory_mb() > known * 0.9
