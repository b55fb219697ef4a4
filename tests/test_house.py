"""Rules of the house that no linter knows: sizes, fences, honest tests, quick help."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PACKAGES = ("corpus", "eval", "lid", "mining", "nmt")
HEAVY = {"torch", "faiss", "fasttext", "fairseq2", "sacrebleu", "pyarrow", "numpy", "ray"}
MAX_LINES = 350
HOMES = {
    "fairseq2": ("nmt/",),
    "torch": ("nmt/", "mining/encoders/"),
    "faiss": ("mining/search/index.py",),
    "fasttext": ("lid/fasttext_model/bindings.py", "lid/fasttext_model/trainer.py"),
    "sacrebleu": ("eval/",),
    "ray": ("corpus/jobs/executors/ray_cluster.py",),
}


def tracked(pattern: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / name for name in listed.stdout.split("\n") if name and (ROOT / name).exists()]


def package_files() -> list[Path]:
    return [path for path in tracked("*.py") if path.relative_to(ROOT).parts[0] in PACKAGES]


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
    return names


def test_there_is_something_to_check() -> None:
    assert len(package_files()) > 30


@pytest.mark.parametrize("path", package_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_module_is_of_readable_size(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= MAX_LINES


@pytest.mark.parametrize("path", package_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_packages_stay_in_their_rooms(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    roots = {name.split(".")[0] for name in imported(ast.parse(path.read_text(encoding="utf-8")))}
    for package, homes in HOMES.items():
        assert package not in roots or relative.startswith(homes), package


def test_nobody_hides_the_builtin_eval() -> None:
    for path in tracked("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        bare = [
            alias
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
            if alias.name.split(".")[0] == "eval" and alias.asname is None
        ]
        assert not bare, path


def test_every_test_can_fail() -> None:
    hollow = []
    for path in tracked("tests/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                source = ast.unparse(node)
                if not re.search(r"\bassert\b|raises\(|\bassert_|\bcheck_|\bexpect_", source):
                    hollow.append(f"{path.name}:{node.lineno} {node.name}")
    assert not hollow


def test_no_unfinished_work_is_marked_in_code() -> None:
    words = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|HA" + r"CK)\b")
    marked = [path for path in package_files() if words.search(path.read_text(encoding="utf-8"))]
    assert not marked


def test_no_broad_except_outside_the_job_runner() -> None:
    for path in package_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                broad = node.type is None or ast.unparse(node.type) == "Exception"
                assert not broad or path.relative_to(ROOT).as_posix() == "corpus/jobs/run.py", f"{path}:{node.lineno}"


def test_recipes_hold_no_python_and_valid_yaml() -> None:
    assert not tracked("recipes/*.py")
    recipes = tracked("recipes/*.yaml")
    assert recipes
    for path in recipes:
        assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_constraints_are_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    assert len(lines) > 20
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+", line), line


def test_files_are_small_enough_for_the_repository() -> None:
    for path in tracked("*"):
        assert path.stat().st_size <= 500_000, path


def test_help_imports_no_heavy_package() -> None:
    code = (
        "import sys, tongues\n"
        "assert tongues.main(['--help']) == 0\n"
        f"print('HEAVY', sorted({HEAVY!r} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "HEAVY []" in result.stdout
    assert "lid" in result.stdout


@pytest.mark.parametrize("stage", ["data", "lid", "mining", "nmt", "eval"])
def test_help_of_a_stage_imports_no_model_package(stage: str) -> None:
    models = {"torch", "faiss", "fasttext", "fairseq2", "sacrebleu", "ray"}
    code = (
        "import sys, tongues\n"
        f"assert tongues.main(['{stage}', '--help']) == 0\n"
        f"print('HEAVY', sorted({models!r} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "HEAVY []" in result.stdout


@pytest.mark.parametrize("stage", ["data", "lid", "mining", "nmt", "eval"])
def test_no_command_has_more_than_eight_options_of_its_own(stage: str) -> None:
    import importlib

    import click

    group = importlib.import_module({"data": "corpus.cli"}.get(stage, f"{stage}.cli")).group
    shared = {"config_file", "overrides", "dump_config", "executor", "dry_run"}
    for name, command in group.commands.items():
        own = [p for p in command.params if isinstance(p, click.Option) and p.name not in shared]
        assert len(own) <= 8, name
        assert command.help, name
