"""A language in a box: killed at random moments, and by power cuts, it ends with the same bytes."""

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from corpus.files import read_json

ROOT = Path(__file__).parent.parent.parent
RECIPE = ROOT / "recipes" / "new_language"
KILLS = 2
DIRECTIONS = ("qaa_Latn-qac_Cyrl", "qac_Cyrl-qaa_Latn")

# What is left out takes time and is tested in the stages: a second round and back-translation are
# further calls of commands that are here.
SMALL = {
    "rounds": 1,
    "systems": ["seed", "mined"],
    "exported": "mined",
    "exports": ["transformers"],
    "other_directions": ["qaa_Latn-qad_Arab"],
    "settings.train.updates": 20,
    "settings.train.validate_every": 10,
    "settings.train.checkpoint_every": 10,
    "settings.train.report_every": 10,
}
OPTIONS = [
    word for key, value in SMALL.items() for word in ("--config", f"{key}={json.dumps(value)}")
]

# Notes every fsync, so that what never was synchronized is known: a power cut may take it.
NOTE_FSYNC = """
import os
_fsync = os.fsync
def fsync(file):
    _fsync(file)
    found = os.fstat(file if isinstance(file, int) else file.fileno())
    with open(os.environ["SYNCHRONIZED"], "a") as log:
        log.write(f"{found.st_ino} {found.st_size}\\n")
os.fsync = fsync
"""


def start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own; it writes to `out.log`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    python_path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    (folder / "sitecustomize.py").write_text(NOTE_FSYNC)
    with (folder / "out.log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={
                **os.environ,
                "PATH": path,
                "PYTHONPATH": python_path,
                "SYNCHRONIZED": str(folder / "synchronized"),
            },
            start_new_session=True,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def finish(command: list[str], folder: Path) -> float:
    began = time.monotonic()
    code = start(command, folder).wait()
    assert code == 0, (folder / "out.log").read_text("utf-8", "replace")[-5000:]
    return time.monotonic() - began


def cut_power(folder: Path, numbers: random.Random) -> int:
    """Take from files what was never synchronized: cut it off, or leave zeros; return how many."""
    synchronized: dict[int, int] = {}
    for line in (folder / "synchronized").read_text().splitlines():
        inode, size = map(int, line.split())
        synchronized[inode] = size
    lost = 0
    for path in sorted((folder / "box").rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        found = path.stat()
        kept = min(synchronized.get(found.st_ino, 0), found.st_size)
        if kept < found.st_size:
            lost += 1
            os.truncate(path, kept)
            if numbers.random() < 0.5:
                os.truncate(path, found.st_size)
    return lost


def results(folder: Path) -> dict[str, bytes]:
    """Return every file that holds no time, no path, and no record of the run itself."""
    box = folder / "box"
    left_out = {"receipts", "training", "statistics", "logs"}
    return {
        str(path.relative_to(box)): path.read_bytes()
        for path in sorted(box.rglob("*"))
        if path.is_file()
        and not left_out & set(path.parts)
        and path.suffix not in (".html", ".yaml", ".jsonl", ".lock")
        and path.name != "report.json"
    }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What somebody with a new language has, as the recipe's script makes it."""
    folder = tmp_path_factory.mktemp("new_language")
    finish([str(RECIPE / "run.sh"), str(folder), *OPTIONS, "--dry-run"], folder)
    return folder


def copy_of(prepared: Path, folder: Path) -> Path:
    folder.mkdir()
    for name in ("data", "known"):
        (folder / name).symlink_to(prepared / name)
    return folder


@pytest.fixture(scope="module")
def undisturbed(prepared: Path) -> tuple[Path, float]:
    folder = copy_of(prepared, prepared / "undisturbed")
    return folder, finish(command(), folder)


def command(*more: str) -> list[str]:
    tongues = str(Path(sys.executable).with_name("tongues"))
    return [tongues, "new-language", str(RECIPE / "constructed.yaml"), "--output", "box", *OPTIONS,
            *more]  # fmt: skip


@pytest.mark.slow
def test_recipe_ends_with_scores_of_all_systems_and_a_page(undisturbed: tuple[Path, float]) -> None:
    box = undisturbed[0] / "box"
    report = read_json(box / "report.json")
    scored = {
        (row["system"], row["direction"]) for row in report["scores"] if row["metric"] == "chrf++"
    }
    for system in ("copy", "seed", "mined"):
        assert {(system, direction) for direction in DIRECTIONS} <= scored
    assert report["mining"]["gold"]["f1"] > 0.8
    assert report["identifier"]["own"]["f1"] > 0.9
    assert {row["system"] for row in report["others"]} == {"seed", "mined"}
    assert all(step["seconds"] is not None for step in report["steps"][:-1])
    assert (box / "exported/mined/transformers/config.json").is_file()
    page = (box / "report.html").read_text("utf-8")
    assert "Missing" not in page
    assert "What to do next" in page


@pytest.mark.slow
def test_run_again_by_an_absolute_path_makes_nothing(
    undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    folder = tmp_path / "again"
    shutil.copytree(undisturbed[0], folder, symlinks=True)
    before = (folder / "out.log").stat().st_size
    finish([str(folder / "box") if word == "box" else word for word in command()], folder)
    log = (folder / "out.log").read_bytes()[before:].decode()
    assert "nothing to do, 1 shard already done" in log
    # Measurements are made again where a path in their command is spelled otherwise.
    assert set(re.findall(r"([\w-]+): \d+ shards? in", log)) <= {"measure"}


@pytest.mark.slow
def test_killed_run_that_the_script_ends_gives_the_same_bytes(
    prepared: Path, undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    whole, seconds = undisturbed
    folder = copy_of(prepared, tmp_path / "killed")
    numbers = random.Random(time.time_ns())
    moments = []
    for _ in range(KILLS):
        process = start(command(), folder)
        moments.append(numbers.uniform(0.1, 0.6) * seconds)
        try:
            process.wait(moments[-1])
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            cut_power(folder, numbers)
    printed = subprocess.run(command("--dry-run"), cwd=folder, capture_output=True, check=True)
    (folder / "script.sh").write_bytes(printed.stdout)
    finish(["bash", "script.sh"], folder)
    expected, found = results(whole), results(folder)
    assert sorted(expected) == sorted(found), moments
    different = [name for name, content in expected.items() if found[name] != content]
    assert not different, f"killed after {shlex.join(map(str, moments))} s of each run"
