"""What training runs: this package's trainer, and only where it can finish."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from corpus.errors import UserError
from lid import calibrate
from lid.config import CalibrationConfig
from lid.fasttext_model import subprocess_trainer
from lid.train import train
from tests.lid.conftest import QUICK, write_data

ROOT = Path(__file__).parents[2]


def test_training_runs_no_lid_file_of_the_working_directory(tmp_path: Path) -> None:
    write_data(tmp_path / "data", count=60)
    for name in ("lid", "corpus", "fasttext", "json", "numpy"):
        text = "from pathlib import Path\nPath('was-run').touch()\nraise SystemExit(9)\n"
        (tmp_path / f"{name}.py").write_text(text)
    command = [
        sys.executable,
        str(ROOT / "tongues.py"),
        "lid",
        "train",
        "--data",
        "data",
        "--output",
        "model",
        "--config",
        "dim=8",
        "--config",
        "buckets_per_class=300",
        "--config",
        "quantize=true",
        "--config",
        "epochs=1",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model" / "model.ftz").is_file()
    assert not (tmp_path / "was-run").exists()


def test_progress_is_the_share_of_the_passes_that_a_process_has_read(tmp_path: Path) -> None:
    file = tmp_path / "train.txt"
    file.write_bytes(bytes(1_000))
    passes = subprocess_trainer._Passes(file, 4)
    assert passes.percent(os.getpid()) == 0
    seen = []
    with file.open("rb", buffering=0) as stream:
        for place in (500, 1_000, 100, 1_000, 0, 800, 40, 1_000):
            stream.seek(place)
            seen.append(passes.percent(os.getpid()))
    assert seen == [12, 25, 27, 50, 50, 70, 76, 99]
    assert passes.percent(os.getpid()) == 99
    assert subprocess_trainer._Passes(file, 4).percent(2**30) == 0


def test_training_without_fasttext_fails_before_it_reads_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess_trainer.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"fastText, which is not installed: .*\[lid\]"):
        train(tmp_path / "nothing", tmp_path / "model", QUICK)
    assert not (tmp_path / "model").exists()


def test_calibration_that_needs_fasttext_fails_before_it_copies_anything(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "needs_fasttext", lambda path: True)
    monkeypatch.setattr(subprocess_trainer.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="calibrating this model needs fastText"):
        calibrate.calibrate(model, tmp_path, tmp_path / "out", CalibrationConfig())
    assert not (tmp_path / "out").exists()
