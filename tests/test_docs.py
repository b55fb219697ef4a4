"""The documentation's commands work: every shell and Python block is run, in order."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(language, body) for language, body in found if language in languages]


def run(language: str, body: str, folder: Path) -> None:
    interpreter = (
        [sys.executable, "-c"] if language == "python" else ["bash", "-euo", "pipefail", "-c"]
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        [*interpreter, body],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path, "RECIPES": str(ROOT / "recipes")},
    )
    assert result.returncode == 0, f"{body}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    found = blocks(page, "bash", "python")
    make_lines = [
        line for _, body in found for line in body.split("\n") if line.startswith("make ")
    ]
    in_ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").split("\n")
    for line in make_lines:  # too long for a test: CI runs them as they stand
        assert line.split("#")[0].strip() in in_ci
    for language, body in found:
        if not any(line.startswith("make ") for line in body.split("\n")):
            run(language, body, tmp_path)


def test_every_local_link_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_command_is_told_of_in_the_guide() -> None:
    import importlib

    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    stages = {"data": "corpus", "lid": "lid", "mining": "mining", "nmt": "nmt", "eval": "eval"}
    for stage, package in stages.items():
        for name in importlib.import_module(f"{package}.cli").group.commands:
            assert f"tongues {stage} {name}" in guide, f"tongues {stage} {name}"
