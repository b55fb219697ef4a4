import importlib.metadata
import os
import subprocess
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

import pytest

from corpus.config import load_config
from nmt.stand_in import NAME, StandInFinder
from nmt.training.config import TrainConfig
from nmt.training.curves import read_curves
from tests.nmt.training.test_train import ROOT, command, write_recipe


def write_native(folder: Path, torch_version: str) -> Path:
    """Write a package that says for which torch it was built, and cannot be imported."""
    package = folder / NAME
    package.mkdir()
    config = f'from typing import Final\n\n_TORCH_VERSION: Final = "{torch_version}"\n'
    (package / "config.py").write_text(config, encoding="utf-8")
    (package / "__init__.py").write_text('raise RuntimeError("native")\n', encoding="utf-8")
    return folder


def found_in(path: list[str], monkeypatch: pytest.MonkeyPatch) -> ModuleSpec | None:
    find = PathFinder.find_spec

    def find_there(name: str, *rest: object) -> ModuleSpec | None:
        return find(name, path) if name == NAME else find(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(PathFinder, "find_spec", find_there)
    return StandInFinder().find_spec(NAME)


def test_stand_in_takes_the_place_of_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_in([], monkeypatch) is not None


def test_package_for_another_torch_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found_in([str(write_native(tmp_path, "1.0.0"))], monkeypatch) is not None


def test_package_for_the_installed_torch_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = importlib.metadata.version("torch").split("+")[0]
    assert found_in([str(write_native(tmp_path, version))], monkeypatch) is None


def test_other_packages_are_left_alone() -> None:
    assert StandInFinder().find_spec("fairseq2") is None


@pytest.mark.slow
def test_losses_without_the_native_package_are_the_same(
    tmp_path: Path, vocabulary_directory: Path, bitext: Path
) -> None:
    from nmt.training.train import train

    recipe = write_recipe(
        tmp_path, vocabulary_directory, bitext,
        updates=4, checkpoint_every=4, validate_every=4, report_every=1,
        optimizer={"learning_rate": 0.004, "warmup_updates": 2, "schedule": "linear"},
    )  # fmt: skip
    train(load_config(TrainConfig, recipe), tmp_path / "with")
    path = os.pathsep.join(map(str, (write_native(tmp_path, "1.0.0"), ROOT)))
    done = subprocess.run(
        command(recipe, tmp_path / "without"),
        env={**os.environ, "PYTHONPATH": path}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "is for torch 1.0.0" in done.stderr
    with_native, without = (
        [report["Loss"] for report in read_curves(tmp_path / name / "training").training]
        for name in ("with", "without")
    )
    assert len(with_native) == 4
    assert without == with_native
