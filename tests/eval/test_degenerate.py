"""Where nothing can differ or be resampled: identical systems, a single sentence, scores of nan."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from corpus.errors import DataError
from corpus.files import read_lines, write_lines
from eval.cli import group
from eval.compare import compare_systems
from eval.config import TESTS, CompareConfig, ScoreConfig
from eval.human.correlation import correlate
from eval.score import score_systems
from eval.statistics.results import read_scores
from eval.statistics.significance import p_value

LINES = [f"line {number} of the text" for number in range(12)]
DIRECTION = "eng_Latn-fra_Latn"


def make(folder: Path, lines: list[str], **systems: list[str]) -> list[Path]:
    for language in ("eng_Latn", "fra_Latn"):
        write_lines(folder / "flores" / "devtest" / f"{language}.devtest", lines)
    for name, hypotheses in systems.items():
        write_lines(folder / name / f"{DIRECTION}.txt", hypotheses)
    return [folder / name for name in systems]


@pytest.mark.parametrize("test", TESTS)
def test_identical_systems_do_not_differ(test: str, tmp_path: Path) -> None:
    same = [line.replace("text", "test") for line in LINES]
    systems = make(tmp_path, LINES, one=same, two=same)
    found = compare_systems(
        systems,
        tmp_path / "flores",
        "devtest",
        tmp_path / "out",
        CompareConfig(test=test, trials=100, resamples=50),
    )
    (one,) = found.comparisons
    assert (one.p_value, one.significant, one.outcome) == (1.0, False, 0)


@pytest.mark.parametrize("test", TESTS)
def test_systems_that_are_wrong_everywhere_do_not_differ(test: str) -> None:
    def score(summed: np.ndarray) -> np.ndarray:
        return np.zeros(summed.shape[:-1])

    first, second = (np.full((9, 2), value, np.int64) for value in (1, 2))
    assert p_value(test, first, second, score, 100, 1) == 1.0


def test_one_sentence_has_a_score_and_no_interval(tmp_path: Path) -> None:
    systems = make(tmp_path, LINES[:1], one=["line 0 of a text"])
    config = ScoreConfig(segments=True)
    scores = score_systems(
        systems, tmp_path / "flores", "devtest", tmp_path / "out", ["chrf"], config
    )
    assert [(row.low, row.high) for row in scores.rows] == [(None, None)]
    assert {(one.low, one.high) for one in scores.averages} == {(None, None)}
    assert scores.rows[0].value > 50
    assert read_lines(tmp_path / "out" / "intervals.tsv")[1].split("\t")[4:6] == ["", ""]


def test_one_sentence_is_not_tested(tmp_path: Path) -> None:
    one, two = make(tmp_path, LINES[:1], one=["line 0"], two=LINES[:1])
    result = CliRunner().invoke(
        group,
        [
            "compare",
            "--hypotheses",
            str(one),
            "--hypotheses",
            str(two),
            "--flores",
            str(tmp_path / "flores"),
            "--output",
            str(tmp_path / "out"),
        ],
        catch_exceptions=False,
    )
    assert "not tested: one line only" in result.stdout
    header, row = (line.split("\t") for line in read_lines(tmp_path / "out" / "comparison.tsv"))
    cells = dict(zip(header, row, strict=True))
    assert [cells[name] for name in ("p_value", "low", "high", "minimum_detectable")] == [""] * 4
    assert cells["significant"] == "no"


def test_two_directions_correlate_without_an_interval() -> None:
    found = correlate([1, 2], [3, 5], "pearson", trials=50, seed=1, confidence=0.95)
    assert found == (pytest.approx(1.0), None, None)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_score_of_nan_is_named_with_its_line(value: str, tmp_path: Path) -> None:
    header = "system\tdirection\tmetric\tvalue\tn\tsignature"
    write_lines(tmp_path / "scores.tsv", [header, f"a\t{DIRECTION}\tchrf\t{value}\t9\tx"])
    with pytest.raises(DataError, match=rf"scores\.tsv:2: the value is {value}"):
        read_scores(tmp_path / "scores.tsv")
