"""Rules of the house that no linter knows: sizes, fences, honest tests, quick help."""

import ast
import functools
import graphlib
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PACKAGES = ("corpus", "eval", "lid", "mining", "new_language", "nmt")
HEAVY = {"torch", "faiss", "fasttext", "fairseq2", "sacrebleu", "pyarrow", "numpy", "ray"}
LONG_MODULE = 600
"""Lines above which a module is warned about: it may hold more than one concept."""
NOT_SOURCES = {"__pycache__", "build", "dist", "demo", "real", "data"}
"""Directories at the top (`__pycache__` anywhere) that hold no sources, where git cannot say."""
HOMES = {
    "fairseq2": ("nmt/",),
    "torch": ("nmt/", "mining/encoders/", "mining/search/device.py", "eval/learned_models/"),
    "faiss": ("mining/search/load_faiss.py",),
    "fasttext": ("lid/fasttext_model/bindings.py", "lid/fasttext_model/trainer.py"),
    "sacrebleu": ("eval/",),
    "ray": ("corpus/jobs/executors/ray_cluster.py",),
}


def tracked(pattern: str, root: Path = ROOT) -> list[Path]:
    """The files of the project: git's list, or all files where there is no git to ask."""
    if (root / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
        names = [name for name in listed.stdout.split("\n") if name and (root / name).exists()]
    else:
        files = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
        names = sorted(
            path.as_posix()
            for path in files
            if fnmatch(path.as_posix(), pattern)
            and path.parts[0] not in NOT_SOURCES
            and "__pycache__" not in path.parts
            and not any(part.startswith(".") or part.endswith(".egg-info") for part in path.parts)
            and path.suffix != ".so"
        )
    return [root / name for name in names]


def package_files() -> list[Path]:
    return [path for path in tracked("*.py") if path.relative_to(ROOT).parts[0] in PACKAGES]


@functools.cache
def parsed(source: str) -> ast.Module:
    return ast.parse(source)


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


def test_a_source_archive_without_git_has_the_same_files(tmp_path: Path) -> None:
    for path in tracked("*"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(b"")
    for pattern in ("*.py", "tests/*.py", "recipes/*.yaml"):
        expected = {path.relative_to(ROOT) for path in tracked(pattern)}
        assert {path.relative_to(tmp_path) for path in tracked(pattern, tmp_path)} == expected
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/library.py").write_bytes(b"")
    assert tmp_path / ".venv/library.py" not in tracked("*.py", tmp_path)


def warn_about_long_modules(paths: Iterable[Path]) -> None:
    for path in paths:
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > LONG_MODULE:
            warnings.warn(f"{path} has {lines} lines: more than one concept?", stacklevel=2)


def test_long_modules_are_warned_about(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("\n" * (LONG_MODULE + 1))
    (tmp_path / "short.py").write_text("\n" * LONG_MODULE)
    with pytest.warns(UserWarning, match="lines") as warned:
        warn_about_long_modules([tmp_path / "long.py", tmp_path / "short.py"])
    assert [str(warning.message) for warning in warned] == [
        f"{tmp_path / 'long.py'} has {LONG_MODULE + 1} lines: more than one concept?"
    ]
    warn_about_long_modules(package_files())


def circle_of_imports(sources: Mapping[str, str]) -> list[str]:
    """Return modules that import one another in a circle, also inside functions; none if none do.

    import-linter compares siblings only, not a package with what lies in it.
    """
    graph: dict[str, set[str]] = {}
    for module, source in sources.items():
        graph[module] = set()
        for node in ast.walk(parsed(source)):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                inside = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if name in sources else str(node.module) for name in inside]
            else:
                continue
            graph[module] |= {name for name in names if name in sources} - {module}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    def name(path: Path) -> str:
        parts = path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts).removesuffix(".__init__")

    sources = {name(path): path.read_text(encoding="utf-8") for path in package_files()}
    assert circle_of_imports(sources) == []
    circle = {"a": "def f():\n    from a import b", "a.b": "from a import CONSTANT"}
    assert circle_of_imports(circle) in (["a", "a.b", "a"], ["a.b", "a", "a.b"])


@pytest.mark.parametrize("path", package_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_packages_stay_in_their_rooms(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    roots = {name.split(".")[0] for name in imported(parsed(path.read_text(encoding="utf-8")))}
    for package, homes in HOMES.items():
        assert package not in roots or relative.startswith(homes), package


def test_nobody_hides_the_builtin_eval() -> None:
    for path in tracked("*.py"):
        tree = parsed(path.read_text(encoding="utf-8"))
        bare = [
            alias
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
            if alias.name.split(".")[0] == "eval" and alias.asname is None
        ]
        assert not bare, path


def called(node: ast.AST) -> set[str]:
    """Names of the functions that a piece of code calls, without what they are called on."""
    functions = [call.func for call in ast.walk(node) if isinstance(call, ast.Call)]
    return {f.attr for f in functions if isinstance(f, ast.Attribute)} | {
        f.id for f in functions if isinstance(f, ast.Name)
    }


def asserts(node: ast.AST) -> bool:
    """Whether code holds an `assert`, expects an error, or calls a library's assertion."""
    return any(
        isinstance(part, ast.Assert)
        or (
            isinstance(part, ast.Call)
            and isinstance(part.func, ast.Attribute)
            and re.search(
                r"(^|\.)testing\.assert_\w+$|^pytest\.(raises|warns)$", ast.unparse(part.func)
            )
        )
        for part in ast.walk(node)
    )


def hollow_tests(sources: Mapping[str, str]) -> list[str]:
    """The tests that cannot fail but by a crash: they assert nothing.

    A helper named `check_…`, `assert_…` or `expect_…` counts as an assertion if it is defined in
    the tests and itself asserts, directly or through another such helper.
    """
    functions = [
        (name, node)
        for name, source in sources.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
    ]
    helpers = [
        node for _, node in functions if node.name.startswith(("check_", "assert_", "expect_"))
    ]
    trusted: set[str] = set()
    while added := {
        node.name
        for node in helpers
        if node.name not in trusted and (asserts(node) or trusted & called(node))
    }:
        trusted |= added
    return [
        f"{name}:{node.lineno} {node.name}"
        for name, node in functions
        if node.name.startswith("test_") and not asserts(node) and not trusted & called(node)
    ]


def test_every_test_can_fail() -> None:
    paths = tracked("tests/*.py")
    assert not hollow_tests(
        {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in paths}
    )


def test_a_test_without_an_assertion_is_found() -> None:
    source = """
def check_nothing(x): print(x)
def check_sum(x): assert x == 2
def check_through_another(x): check_sum(x)
def test_hollow(): check_nothing(1)
def test_imported(): check_language("eng_Latn")
def test_named(): text = "assert raises("
def test_plain(): assert 1
def test_error():
    with pytest.raises(ValueError): int("a")
def test_library(): torch.testing.assert_close(1, 1)
def test_helper(): check_sum(1 + 1)
def test_second_helper(): check_through_another(1 + 1)
"""
    names = [line.split()[1] for line in hollow_tests({"some.py": source})]
    assert names == ["test_hollow", "test_imported", "test_named"]


def test_no_unfinished_work_is_marked_in_code() -> None:
    words = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|HA" + r"CK)\b")
    marked = [path for path in package_files() if words.search(path.read_text(encoding="utf-8"))]
    assert not marked


def test_no_broad_except_outside_the_job_runner() -> None:
    for path in package_files():
        for node in ast.walk(parsed(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                broad = node.type is None or ast.unparse(node.type) == "Exception"
                assert not broad or path.relative_to(ROOT).as_posix() == "corpus/jobs/run.py", (
                    f"{path}:{node.lineno}"
                )


def test_the_wheel_holds_every_recipe() -> None:
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = configured["tool"]["setuptools"]["package-data"]
    found = {path.parent.relative_to(ROOT) for path in tracked("recipes/*")}
    assert {".".join(folder.parts) for folder in found} <= set(listed)


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
        options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
        own = [option for option in options if option.name not in shared]
        assert len(own) <= 8, name
        assert command.help, name
