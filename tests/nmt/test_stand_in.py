import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nmt.stand_in import NATIVE, UNUSED, StandInFinder, unused_packages_replaced

ROOT = Path(__file__).parents[2]


def imported_by(code: str) -> set[str]:
    """Return the modules that are imported after `code` in a new process."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stdout.split())


def write_package(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(text, encoding="utf-8")


def test_native_package_is_replaced_where_it_is_installed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path, NATIVE, "raise RuntimeError('it needs libsndfile')")
    monkeypatch.syspath_prepend(tmp_path)
    spec = importlib.util.find_spec(NATIVE)
    assert spec is not None
    assert spec.origin is None
    assert importlib.import_module(NATIVE).DOC_MODE is True


def test_unused_package_is_replaced_while_fairseq2_is_imported_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "wandb"
    monkeypatch.delitem(sys.modules, name, raising=False)
    write_package(tmp_path, name, "REAL = True")
    monkeypatch.syspath_prepend(tmp_path)
    with unused_packages_replaced():
        standing_in = importlib.import_module(name)
        errors = importlib.import_module(f"{name}.errors")
        # What fairseq2 does with such names when it is imported.
        assert issubclass(type("Run", (standing_in.Run,), {}), standing_in.Run)
        assert errors.UsageError | None
        assert standing_in.util.generate_id is not None
    assert f"{name}.errors" not in sys.modules
    assert importlib.import_module(name).REAL
    del sys.modules[name]


def test_package_that_is_imported_already_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", sys)
    with unused_packages_replaced():
        assert importlib.import_module("tiktoken") is sys
        assert StandInFinder("tiktoken").find_spec("tiktoken.load") is None


def test_other_packages_are_left_alone() -> None:
    assert StandInFinder(NATIVE, *UNUSED).find_spec("fairseq2") is None


@pytest.mark.slow  # imports torch anew
def test_translation_loads_neither_recipe_nor_compiler_nor_services() -> None:
    code = (
        "import nmt.cli, nmt.translation.translator, nmt.translation.translate_files\n"
        "import nmt.interop.import_model, nmt.interop.export_model, nmt.sizing.describe\n"
        "from dataclasses import replace\n"
        "from nmt.model.config import named_config\n"
        "from nmt.model.translator import create_model\n"
        "create_model(replace(named_config('tiny'), vocab_size=20))"
    )
    imported = imported_by(code)
    assert "fairseq2.models.nllb" in imported
    unwanted = {
        *UNUSED,
        "fairseq2.recipe",
        "fairseq2.composition",
        "torch._dynamo",
        "sympy",
        "s3fs",
    }
    assert not unwanted & imported
