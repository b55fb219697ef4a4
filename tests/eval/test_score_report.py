"""`tongues eval report` on a directory of scores, and JSON of every command that prints a table."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from corpus.errors import DataError
from corpus.files import write_lines
from corpus.languages import parse_direction
from eval.cli import group
from eval.statistics.averages import Average
from eval.statistics.learned_results import write_learned_averages
from eval.statistics.results import Row
from eval.statistics.system_table import compare_in_table, read_systems, write_systems

LINES = [f"the {word} line of a text that has {word}" for word in "abcdefghijklmnopqrst"]
TARGETS = ("fra_Latn", "rus_Cyrl")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test set and two systems, scored into `scores`."""
    folder = tmp_path_factory.mktemp("report")
    for language in ("eng_Latn", *TARGETS):
        write_lines(folder / "flores" / "devtest" / f"{language}.devtest", LINES)
    for target in TARGETS:
        write_lines(folder / "zeta" / f"eng_Latn-{target}.txt", [line[::2] for line in LINES])
        write_lines(folder / "alpha" / f"eng_Latn-{target}.txt", [f"{line} x" for line in LINES])
    result = call(folder, "score", "--output", str(folder / "scores"), "--metrics", "chrf,bleu")
    assert result.exit_code == 0, result.output
    return folder


def call(folder: Path, command: str, *more: str) -> Result:
    systems = ["--hypotheses", str(folder / "zeta"), "--hypotheses", str(folder / "alpha")]
    flores = ["--flores", str(folder / "flores")]
    return CliRunner().invoke(group, [command, *systems, *flores, *more])


def report(directory: Path, output: Path, *more: str) -> Result:
    arguments = ["report", "--run", str(directory), "--output", str(output), *more]
    return CliRunner().invoke(group, arguments)


def read_data(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_page_of_a_directory_of_scores_is_the_one_that_scoring_wrote(
    folder: Path, tmp_path: Path
) -> None:
    result = report(folder / "scores", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    assert result.stdout.split("\n")[0].split() == ["chrf", "zeta", "alpha"]
    first, again = read_data(folder / "scores" / "report.html"), read_data(tmp_path / "page.html")
    assert first.pop("segments")
    assert not again.pop("segments")  # they need the texts
    assert first.pop("segment_metric") != again.pop("segment_metric")
    assert first == again
    assert "worse than zeta, unmarked" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_bare_table_of_scores_is_enough_and_nothing_is_tested(folder: Path, tmp_path: Path) -> None:
    rows = (folder / "scores" / "scores.tsv").read_text(encoding="utf-8").splitlines()
    write_lines(tmp_path / "bare" / "scores.tsv", rows)
    result = report(tmp_path / "bare", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    assert "nothing was tested" in result.stdout
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.index("<h2>Systems</h2>") < page.index("<h2>By language</h2>")
    assert "▲" not in page


def test_learned_scores_alone_make_a_page(folder: Path, tmp_path: Path) -> None:
    pairs = [parse_direction(f"eng_Latn-{target}") for target in TARGETS]
    rows = [
        Row(system=name, direction=pair, metric="comet-22", value=value, n=20, signature="x")
        for pair in pairs
        for name, value in (("zeta", 0.5), ("alpha", 0.75))
    ]
    table = compare_in_table(
        rows, ["comet-22"], ["zeta", "alpha"], "zeta",
        {("alpha", "comet-22", pair): 0.0001 for pair in pairs}, 0.05, higher_is_better=True,
    )  # fmt: skip
    learned = tmp_path / "scores" / "learned" / "comet-22"
    learned.mkdir(parents=True)
    write_systems(learned, table)
    write_learned_averages(
        learned, [Average(name, "comet-22", "all", 0.5, 2, 0) for name in ("zeta", "alpha")]
    )
    result = report(tmp_path / "scores", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    assert result.stdout.split("\n")[0].split() == ["comet-22", "zeta", "alpha"]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "zeta, alpha: 2 directions" in page
    assert re.findall("<h2>(.*?)</h2>", page) == ["Systems", "Averages"]
    assert "canvas" not in page.split("<body")[1].split("<script")[0]
    found = json.loads(report(tmp_path / "scores", tmp_path / "page.html", "--json").stdout)
    assert [one["value"] for one in found["systems"]] == [0.5, 0.75, 0.5, 0.75]
    assert len(found["averages"]) == 2


def test_checks_alone_make_a_page(folder: Path, tmp_path: Path) -> None:
    result = call(folder, "check", "--output", str(tmp_path / "checks"))
    assert result.exit_code == 0, result.output
    assert report(tmp_path / "checks", tmp_path / "page.html").exit_code == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "alpha" in page
    assert "<h2>Systems</h2>" not in page


def test_scores_of_an_unknown_metric_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    rows = (folder / "scores" / "scores.tsv").read_text(encoding="utf-8").splitlines()
    write_lines(
        tmp_path / "bare" / "scores.tsv", [*rows, "a\teng_Latn-fra_Latn\tcomet\t0.8\t20\tx"]
    )
    result = report(tmp_path / "bare", tmp_path / "page.html")
    assert isinstance(result.exception, DataError)
    assert "scores.tsv has scores of `comet`" in str(result.exception)
    assert not (tmp_path / "page.html").exists()


def test_every_command_has_json() -> None:
    for name, command in group.commands.items():
        assert "--json" in [flag for param in command.params for flag in param.opts], name
    assert isinstance(group, click.Group)


def test_scoring_one_direction_imports_only_what_it_needs(folder: Path, tmp_path: Path) -> None:
    # Each of these costs tenths of a second, of the 1.5 that scoring one direction may take.
    write_lines(tmp_path / "one" / "eng_Latn-fra_Latn.txt", LINES)
    arguments = [
        "eval", "score", "--hypotheses", str(tmp_path / "one"), "--flores", str(folder / "flores"),
        "--output", str(tmp_path / "out"), "--metrics", "chrf++",
    ]  # fmt: skip
    unwanted = ["matplotlib", "numpy.ma", "pandas", "pyarrow.compute", "scipy", "torch"]
    code = (
        f"import sys, tongues\nassert tongues.main({arguments!r}) == 0\n"
        f"print('UNWANTED', sorted(set({unwanted!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "UNWANTED []" in done.stdout


def test_score_and_report_print_the_same_json_object(folder: Path, tmp_path: Path) -> None:
    scored = call(
        folder, "score", "--output", str(folder / "scores"), "--metrics", "chrf,bleu", "--json"
    )
    found = json.loads(scored.stdout)
    assert set(found) == {"systems", "scores", "averages", "warnings", "missing", "test_set"}
    assert len(found["scores"]) == len(found["systems"]) == 8
    one = found["systems"][1]
    table = read_systems(folder / "scores")
    assert (one["system"], one["outcome"], one["value"]) == ("alpha", "better", table[1].value)
    again = report(folder / "scores", tmp_path / "page.html", "--json")
    assert json.loads(again.stdout) == found


def test_compare_and_the_report_of_a_run_print_one_json_object(
    folder: Path, tmp_path: Path
) -> None:
    compared = call(
        folder, "compare", "--output", str(tmp_path / "out"), "--config", "trials=50", "--json"
    )
    found = json.loads(compared.stdout)
    assert [one["direction"] for one in found["comparisons"]] == [f"eng_Latn-{t}" for t in TARGETS]
    assert found["comparisons"][0]["significant"] is True
    assert found["unshared"] == found["quoted"] == []
    assert {one["bucket"] for one in found["buckets"]} >= {"all"}
    run = report(tmp_path, tmp_path / "page.html", "--json")
    rows = json.loads(run.stdout)["rows"]
    assert {"figure": "mining F1", "of": "", "value": "missing", "beside it": ""} in rows
