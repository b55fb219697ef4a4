"""The whole recipe at its smallest scale: it ends, survives kills, and reruns in no time."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
RESULTS = ("data", "sentences", "mined", "bitext", "hypotheses", "scores")
"""Directories whose files must not depend on being killed."""

KILLS = 3
DIRECTIONS = 18


def start(work: Path) -> subprocess.Popen[bytes]:
    """Start the recipe in a process group of its own; it writes to `work.log`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with log_of(work).open("wb") as log:
        return subprocess.Popen(
            [str(ROOT / "recipes" / "tiny" / "run.sh"), str(work)],
            env={**os.environ, "PATH": path},
            start_new_session=True,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def log_of(work: Path) -> Path:
    return work.with_name(f"{work.name}.log")


def finish(work: Path) -> tuple[str, float]:
    started = time.monotonic()
    code = start(work).wait()
    output = log_of(work).read_text(encoding="utf-8", errors="replace")
    assert code == 0, output[-5000:]
    return output, time.monotonic() - started


def results(work: Path) -> dict[str, bytes]:
    """Return every result file but receipts, which hold times, and configs, which hold paths."""
    files = (path for name in RESULTS for path in sorted((work / name).rglob("*")))
    return {
        str(path.relative_to(work)): path.read_bytes()
        for path in files
        if path.is_file() and "receipts" not in path.parts and path.suffix not in (".html", ".yaml")
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, float]:
    work = tmp_path_factory.mktemp("undisturbed") / "work"
    output, seconds = finish(work)
    return work, output, seconds


@pytest.mark.slow
def test_recipe_scores_every_direction(undisturbed: tuple[Path, str, float]) -> None:
    work, output, _ = undisturbed
    assert "chrf++" in output.lower()
    scores = [line.split("\t") for line in (work / "scores/scores.tsv").read_text().split("\n")]
    rows = [row for row in scores[1:] if row[0]]
    systems = {row[0] for row in rows}
    assert len(systems) == 2
    assert "copy" in systems
    for system in systems:
        for metric in ("spbleu", "chrf++"):
            found = [row for row in rows if row[0] == system and row[2] == metric]
            assert len({row[1] for row in found}) == DIRECTIONS
            assert all(0 <= float(row[3]) <= 100 for row in found)
    mining = json.loads((work / "mining.json").read_text())
    assert len(mining["pairs"]) == DIRECTIONS // 2
    assert "<svg" in (work / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_second_run_says_what_is_done_and_changes_nothing(
    undisturbed: tuple[Path, str, float],
) -> None:
    work, _, seconds = undisturbed
    before = results(work)
    output, again = finish(work)
    assert output.count("already done") > 10
    assert again < seconds
    assert results(work) == before


@pytest.mark.slow
def test_run_killed_three_times_gives_the_same_bytes(
    undisturbed: tuple[Path, str, float], tmp_path: Path
) -> None:
    work, _, seconds = undisturbed
    generator = random.Random(time.time_ns())
    moments = []
    for _ in range(KILLS):
        process = start(tmp_path / "work")
        moment = generator.uniform(1.0, 0.6 * seconds)
        moments.append(moment)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    finish(tmp_path / "work")
    expected, found = results(work), results(tmp_path / "work")
    assert sorted(expected) == sorted(found), moments
    different = [name for name, content in expected.items() if found[name] != content]
    assert not different, f"killed after {moments} s of each run"
