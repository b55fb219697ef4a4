"""People's scores of segments against metrics', of pages, published tables and plain ones."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from corpus.errors import DataError
from corpus.files import read_lines, write_lines
from corpus.languages import Direction
from eval.cli import group
from eval.human.correlation import kendall
from eval.human.judgments import SCALES, Judgment
from eval.human.segments import (
    correlate_segments,
    human_segments,
    number_in_item,
    read_segment_scores,
)

PAIR = Direction("eng_Latn", "deu_Latn")
SYSTEMS = ("a", "b", "c")


def test_coefficients_are_those_of_their_definitions() -> None:
    chance = random.Random(3)
    human = {(s, PAIR, n): float(chance.randint(1, 5)) for s in SYSTEMS for n in range(1, 30)}
    metric = {key: value + chance.gauss(0, 2) for key, value in human.items()}
    del metric["c", PAIR, 29]
    found = correlate_segments(human, {"m": metric}, trials=200, seed=1, confidence=0.95)
    both = sorted(metric)
    x, y = np.array([metric[k] for k in both]), np.array([human[k] for k in both])
    taus = [
        kendall(*(np.array([t[s, PAIR, n] for s in SYSTEMS if (s, PAIR, n) in metric])
                  for t in (metric, human)))
        for n in range(1, 30)
    ]  # fmt: skip
    expected = {
        "pearson": np.corrcoef(x, y)[0, 1],
        "kendall by line": np.mean([tau for tau in taus if tau is not None]),
    }
    values = {one.coefficient: one for one in found}
    for name, value in expected.items():
        one = values[name]
        assert one.value == pytest.approx(value)
        assert (one.n, one.n_missing) == (86, 1)
        assert one.low is not None
        assert one.high is not None
        assert one.low < value < one.high
    monotone = {key: np.exp(value) for key, value in metric.items()}
    again = correlate_segments(human, {"m": monotone}, trials=20, seed=1, confidence=0.95)
    rho = {one.coefficient: one.value for one in again}["spearman"]
    assert rho == pytest.approx(values["spearman"].value)


def test_scores_that_do_not_vary_have_no_correlation() -> None:
    human = {(s, PAIR, n): 3.0 for s in SYSTEMS for n in (1, 2)}
    metric = {key: float(key[2]) for key in human}
    found = correlate_segments(human, {"m": metric}, trials=20, seed=1, confidence=0.95)
    assert [one.value for one in found] == [None, None, None]


def test_items_of_published_tables_are_numbers_of_lines() -> None:
    assert number_in_item("17", 1) == 17
    assert number_in_item("test-en-news_a:b.c:0", 0) == 1
    assert number_in_item("doc:3", -1) == 5
    with pytest.raises(DataError, match="item `x1` is no number of a line"):
        number_in_item("x1", 1)
    one = Judgment("r", "1", PAIR, -5.0, "a", "g")
    values = human_segments([one, one._replace(score=0.0)], SCALES["mqm"], lambda _: 1)
    assert values == {("a", PAIR, 1): -2.5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two systems scored with segments, a table of MQM, one of ESA, and COMET's segments."""
    lines = [f"the {word} line of a text" for word in "abcdefghij"]
    for language in PAIR:
        write_lines(tmp_path / "flores" / "devtest" / f"{language}.devtest", lines)
    write_lines(tmp_path / "a" / f"{PAIR}.txt", lines)
    write_lines(tmp_path / "b" / f"{PAIR}.txt", [one[: 9 + n] for n, one in enumerate(lines)])
    mqm = ["system\tdoc\tdoc_id\tseg_id\trater\tsource\ttarget\tcategory\tseverity"]
    esa, comet = [], [{"metric": "comet", "languages": "all"}]
    for n in range(10):
        mqm.append(f"a\td\t1\t{n + 1}\tr\ts\tt\tNo-error\tNo-error")
        mqm += [f"b\td\t1\t{n + 1}\tr\ts\tt\tStyle\tMinor"] * (11 - n)
        for system, score in (("a", 100), ("b", 10 + 5 * n)):
            esa.append(f"e1,{system},{n},TGT,eng,deu,{score},doc,False,[],1.0,2.0")
            comet.append(
                {"system": system, "direction": str(PAIR), "line": n + 1, "score": score / 100}
            )
    write_lines(tmp_path / "mqm.tsv", mqm)
    write_lines(tmp_path / "esa.csv", esa)
    write_lines(tmp_path / "comet.jsonl", map(json.dumps, comet))
    arguments = [
        "score", "--hypotheses", str(tmp_path / "a"), "--hypotheses", str(tmp_path / "b"),
        "--flores", str(tmp_path / "flores"), "--output", str(tmp_path / "scores"), "--metrics",
        "chrf", "--config", "segments=true", "--config", "resamples=0",
    ]  # fmt: skip
    assert CliRunner().invoke(group, arguments).exit_code == 0
    return tmp_path


@pytest.mark.parametrize("table", ["mqm.tsv", "esa.csv"])
def test_command_correlates_segments_of_published_tables(folder: Path, table: str) -> None:
    segments = [folder / "scores" / "segments" / "deu_Latn.parquet", folder / "comet.jsonl"]
    arguments = [
        "correlate", "--human", folder / table, "--scores", folder / "scores" / "scores.tsv",
        "--output", folder / "out", "--config", f"direction={PAIR}", "--config", "trials=50",
        *(part for path in segments for part in ("--segments", path)),
    ]  # fmt: skip
    result = CliRunner().invoke(group, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "segments: direction" in result.stdout
    header, *rows = [
        line.split("\t") for line in read_lines(folder / "out/segment_correlations.tsv")
    ]
    assert header[:4] == ["direction", "metric", "coefficient", "value"]
    found = {(metric, name): float(value) for _, metric, name, value, *_ in rows}
    assert found["comet", "spearman"] == pytest.approx(1)
    assert found["comet", "kendall by line"] == found["chrf", "kendall by line"] == 1
    assert 0.8 < found["chrf", "spearman"] < 1
    assert {row[6] for row in rows} == {"20"}


def test_files_that_hold_no_scores_of_segments_are_named(folder: Path) -> None:
    write_lines(folder / "x.jsonl", ['{"metric": "m"}', '{"system": "a"}'])
    with pytest.raises(DataError, match=r"x\.jsonl:2: not scores of segments"):
        read_segment_scores([folder / "x.jsonl"])
    with pytest.raises(DataError, match=r"cells/deu_Latn\.parquet is not what `eval score"):
        read_segment_scores([folder / "scores" / "cells" / "deu_Latn.parquet"])
    twice = [folder / "comet.jsonl"] * 2
    with pytest.raises(DataError, match="has a comet score already in another"):
        read_segment_scores(twice)
