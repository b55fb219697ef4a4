"""Learned scores, content and contrast sets beside scores: on the page and on the terminal."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from corpus.errors import DataError
from corpus.files import write_json, write_lines, write_text
from corpus.languages import Direction
from eval.cli import group
from eval.statistics.averages import Average
from eval.statistics.learned_results import FOLDER, read_learned, write_learned_averages
from eval.statistics.system_table import SystemScore, write_systems

PAIR = Direction("eng_Latn", "deu_Latn")
OTHER = Direction("eng_Latn", "gla_Latn")
LINES = [f"the {word} line of {number} texts" for number, word in enumerate("abcdefghijkl", 20)]
SET = [
    "source\tright\twrong\tgroup",
    "The doctor ended her shift.\tDie Ärztin ging.\tDer Arzt ging.\tfemale",
    "The nurse ended his shift.\tDer Pfleger ging.\tDie Schwester ging.\tmale",
]


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(group, list(map(str, arguments)))
    assert result.exit_code == 0, (result.output, result.exception)
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test set, two systems, and a directory of scores with what other commands find."""
    folder = tmp_path_factory.mktemp("findings")
    for language in ("eng_Latn", "deu_Latn", "gla_Latn"):
        write_lines(folder / "flores" / "devtest" / f"{language}.devtest", LINES)
    for pair in (PAIR, OTHER):
        write_lines(folder / "zeta" / f"{pair}.txt", [line[::2] for line in LINES])
        write_lines(folder / "alpha" / f"{pair}.txt", [f"{line} 77" for line in LINES])
    write_lines(folder / "sets" / f"{PAIR}.tsv", SET)
    write_lines(folder / "said" / "zeta" / f"{PAIR}.txt", ["Die Ärztin.", "Die Schwester."])
    write_lines(folder / "said" / "alpha" / f"{PAIR}.txt", ["Die Ärztin.", "Der Pfleger."])
    systems = ["--hypotheses", folder / "zeta", "--hypotheses", folder / "alpha"]
    call("check", *systems, "--flores", folder / "flores", "--output", folder / "scores")
    said = [part for name in ("zeta", "alpha") for part in ("--hypotheses", folder / "said" / name)]
    call("contrast", "--sets", folder / "sets", *said, "--output", folder / "scores")
    found = folder / "scores" / FOLDER / "metricx-24"
    table = [
        SystemScore("metricx-24", PAIR, "zeta", 9.5, 9.0, 10.0, False, "", None, ""),
        SystemScore("metricx-24", PAIR, "alpha", 3.25, 3.0, 3.5, True, "zeta", 0.0001, "better"),
    ]
    write_systems(found, table)
    means = [
        Average("zeta", "metricx-24", "all", 9.5, 1, 1, 9.0, 10.0),
        Average("alpha", "metricx-24", "all", 3.25, 1, 1, 3.0, 3.5),
    ]
    write_learned_averages(found, means)
    assert read_learned(folder / "scores") == (table, means)
    return folder


def score(folder: Path, *more: object) -> Result:
    systems = ["--hypotheses", folder / "zeta", "--hypotheses", folder / "alpha"]
    return call(
        "score", *systems, "--flores", folder / "flores", "--output", folder / "scores",
        "--metrics", "chrf", *more,
    )  # fmt: skip


def test_first_table_has_learned_scores_with_intervals_and_significance(folder: Path) -> None:
    result = score(folder)
    lines = result.stdout.split("\n")
    head = next(i for i, line in enumerate(lines) if line.startswith("metricx-24"))
    assert lines[head].split() == ["metricx-24", "(lower", "is", "better)", "zeta", "alpha"]
    assert lines[head + 2].split("  ")[0] == str(PAIR)
    assert "9.500  [9.000, 10.000]" in lines[head + 2]
    assert "3.250* [3.000, 3.500] ▲" in lines[head + 2]
    assert "3.250  [3.000, 3.500] (n = 1)" in lines[head + 3]
    page = (folder / "scores" / "report.html").read_text(encoding="utf-8")
    place = page.index("<h3>metricx-24 (lower is better)</h3>")
    assert page.index("<h3>chrf</h3>") < place < page.index("<h2>Lost and added content</h2>")
    assert 'title="better than zeta, p &lt;0.001"' in page
    assert r"\textbf{3.250} [3.000, 3.500] $\uparrow$" in (
        folder / "scores" / "systems.tex"
    ).read_text(encoding="utf-8")


def test_content_and_contrast_sets_are_shown_beside_their_references_and_intervals(
    folder: Path,
) -> None:
    stdout = score(folder).stdout
    rows = {line.split("  ")[0]: line.split()[-4:] for line in stdout.split("\n")}
    assert rows["number added"] == ["0.0", "(0.0)", "100.0", "(0.0)"]
    accuracy = next(line for line in stdout.split("\n") if line.startswith(f"{PAIR} male"))
    assert accuracy.split()[2:] == ["0.0", "[0.0,", "79.3]", "100.0", "[20.7,", "100.0]"]
    page = (folder / "scores" / "report.html").read_text(encoding="utf-8")
    assert '<th scope="row">number added</th><td class="number">0.0<br><small>0.0</small>' in page
    assert "<h2>Contrast sets</h2>" in page
    assert "100.0<br><small>20.7–100.0<br>1 of 1</small>" in page


def test_json_and_report_have_all_of_it(folder: Path, tmp_path: Path) -> None:
    found = json.loads(score(folder, "--json").stdout)
    assert {one["metric"] for one in found["systems"]} == {"chrf", "metricx-24"}
    assert {one["metric"] for one in found["averages"]} == {"chrf", "metricx-24"}
    assert found["content"]["alpha"]["number_added_rate"]["mean"] == 1.0
    assert len(found["contrast"]) == 6
    again = call("report", "--run", folder / "scores", "--output", tmp_path / "page.html", "--json")
    assert json.loads(again.stdout) == found
    for name in ("Lost and added content", "Contrast sets", "Lost and added content, by language"):
        assert f"<h2>{name}</h2>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_comparison_has_learned_scores_with_their_own_test_in_words(folder: Path) -> None:
    result = call(
        "compare", "--hypotheses", folder / "zeta", "--hypotheses", folder / "alpha", "--flores",
        folder / "flores", "--output", folder / "scores", "--config", "trials=50",
    )  # fmt: skip
    assert "metricx-24 (lower is better)" in result.stdout
    assert "approximate randomization over lines" in result.stdout
    assert "; metricx-24: ▲ better and ▼ worse than zeta" in result.stdout
    page = (folder / "scores" / "comparison.html").read_text(encoding="utf-8")
    assert "<h3>metricx-24 (lower is better)</h3>" in page


def test_damaged_findings_are_named(tmp_path: Path) -> None:
    write_lines(tmp_path / "scores.tsv", [
        "system\tdirection\tmetric\tvalue\tn\tsignature", f"a\t{PAIR}\tchrf\t50.0\t3\tx",
    ])  # fmt: skip
    result = call("report", "--run", tmp_path, "--output", tmp_path / "page.html")
    assert "mean" in result.stdout
    write_json(tmp_path / "contrast.json", {"rows": [{"system": "a"}]})
    arguments = ["report", "--run", str(tmp_path), "--output", str(tmp_path / "page.html")]
    with pytest.raises(DataError, match=r"contrast\.json is not what `tongues eval contrast`"):
        CliRunner().invoke(group, arguments, catch_exceptions=False)
    (tmp_path / "contrast.json").unlink()
    write_lines(
        tmp_path / FOLDER / "comet-22" / "systems.tsv",
        ["\t".join(SystemScore._fields), f"comet-22\t{PAIR}\ta\tmuch\t\t\tno\t\t\t"],
    )
    with pytest.raises(DataError, match=r"systems\.tsv:2: not a row of scores"):
        CliRunner().invoke(group, arguments, catch_exceptions=False)
    write_text(tmp_path / FOLDER / "comet-22" / "systems.tsv", "")
    with pytest.raises(DataError, match=r"systems\.tsv needs the columns"):
        CliRunner().invoke(group, arguments, catch_exceptions=False)
