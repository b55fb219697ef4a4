"""The GPU benchmark runs on a CPU at small sizes, without the packages that are only peers."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "gpu"
PARTS = ("correctness", "layers", "training", "translation", "search", "processes")


def run(output: Path, *options: str, without: Path | None = None) -> dict[str, dict[str, object]]:
    environment = dict(os.environ)
    if without is not None:
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(without), environment.get("PYTHONPATH", "")]
        )
    command = [sys.executable, str(BENCHMARK / "run.py"), "--output", str(output), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    parts: dict[str, dict[str, object]] = json.loads((output / "results.json").read_text())["parts"]
    assert done.returncode == 0, {name: part.get("log") for name, part in parts.items()}
    return parts


@pytest.mark.slow
@pytest.mark.xdist_group("benchmark")
def test_every_part_runs_on_a_cpu_and_holds_its_tolerances(tmp_path: Path) -> None:
    # As on a machine without the peer: importing it fails.
    (tmp_path / "without").mkdir()
    (tmp_path / "without/transformers.py").write_text("raise ImportError(__name__)\n")
    parts = run(tmp_path / "out", "--device", "cpu", "--tiny", without=tmp_path / "without")
    assert tuple(parts) == PARTS
    for name, part in parts.items():
        assert part["end"] == "done", name
        assert part["rows"], name
    skipped = [row for part in parts.values() for row in part["rows"] if "skipped" in row]  # type: ignore[attr-defined]
    assert skipped
    assert all("transformers" in row["what"] for row in skipped)
    table = (tmp_path / "out/results.md").read_text()
    assert "at most 0.0001" in table
    assert "**above" not in table


def test_a_value_beyond_its_tolerance_fails_a_run_and_a_cut_does_not() -> None:
    specification = importlib.util.spec_from_file_location("gpu_run", BENCHMARK / "run.py")
    assert specification is not None
    assert specification.loader is not None
    driver = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(driver)
    rows = [{"what": "x", "value": 2.0, "unit": "s", "limit": 1}]
    assert driver.is_bad({"end": "done", "rows": rows})
    assert driver.is_bad({"end": "failed with 1", "rows": []})
    assert not driver.is_bad({"end": "cut after 9 s", "rows": []})
    assert "**above 1**" in driver.table_line("part", rows[0])
