"""Contrast sets: which of two versions a system wrote."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from corpus.errors import DataError, JobError
from corpus.files import read_lines, write_lines
from eval.checks.contrast import Pair, judge, read_pairs, wilson
from eval.cli import group
from eval.config import ContrastConfig
from eval.contrast import compare_contrasts

PAIR = "eng_Latn-deu_Latn"
ROWS = [
    "source\tright\twrong\tgroup",
    "The doctor ended her shift.\tDie Ärztin beendete ihre Schicht.\tDer Arzt beendete seine"
    " Schicht.\tfemale",
    "The nurse ended his shift.\tDer Pfleger beendete seine Schicht.\tDie Schwester beendete ihre"
    " Schicht.\tmale",
    "Could you help me, sir?\tKönnten Sie mir helfen?\tKannst du mir helfen?\tformal",
]


@pytest.mark.parametrize(
    ("hypothesis", "outcome"),
    [
        ("Die Ärztin machte Schluss.", "right"),
        ("Die Ärztin beendete seine Schicht.", "wrong"),
        ("DER ARZT ging.", "wrong"),
        ("Schicht zu Ende.", "undecided"),
        ("", "undecided"),
    ],
)
def test_only_words_of_one_version_decide(hypothesis: str, outcome: str) -> None:
    source, right, wrong, name = ROWS[1].split("\t")
    assert judge(hypothesis, Pair(source, right, wrong, name), "deu_Latn") == outcome


def test_scripts_without_spaces_are_compared_by_characters() -> None:
    pair = Pair("s", "她是医生", "他是医生", "")
    assert [judge(text, pair, "zho_Hans") for text in ("她是老师", "他是老师", "医生")] == [
        "right", "wrong", "undecided",
    ]  # fmt: skip


def test_interval_is_wilsons() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3: 15 of 148
    assert wilson(15, 148, 0.95) == (
        pytest.approx(0.0624, abs=5e-5),
        pytest.approx(0.1605, abs=5e-5),
    )
    assert wilson(0, 20, 0.95) == (pytest.approx(0.0), pytest.approx(0.1611, abs=5e-5))


def test_command_counts_by_group(tmp_path: Path) -> None:
    write_lines(tmp_path / "sets" / f"{PAIR}.tsv", ROWS)
    lines = ["Die Ärztin beendete ihre Schicht.", "Die Schwester ging.", "Hilfe!"]
    write_lines(tmp_path / "mine" / f"{PAIR}.txt", lines)
    arguments = [
        "contrast", "--sets", str(tmp_path / "sets"), "--hypotheses", str(tmp_path / "mine"),
        "--output", str(tmp_path / "out"), "--json",
    ]  # fmt: skip
    result = CliRunner().invoke(group, arguments, catch_exceptions=False)
    rows = {row["group"]: row for row in json.loads(result.stdout)["rows"]}
    assert [rows["all"][key] for key in ("n", "right", "wrong", "undecided", "accuracy")] == [
        3, 1, 1, 1, 0.5,
    ]  # fmt: skip
    assert (rows["female"]["accuracy"], rows["formal"]["accuracy"]) == (1.0, None)
    assert read_lines(tmp_path / "out" / "contrast_lines.tsv")[2].split("\t")[4] == "wrong"


def test_damaged_sets_are_refused(tmp_path: Path) -> None:
    write_lines(tmp_path / "s.tsv", ["source\tright\twrong", "a\tEr geht\ter  geht"])
    with pytest.raises(DataError, match=r"s\.tsv:2: `right` and `wrong` are the same"):
        read_pairs(tmp_path / "s.tsv")
    write_lines(tmp_path / "sets" / f"{PAIR}.tsv", ROWS)
    write_lines(tmp_path / "mine" / f"{PAIR}.txt", ["one"])
    with pytest.raises(JobError, match="has 1 lines and"):
        compare_contrasts(tmp_path / "sets", [tmp_path / "mine"], tmp_path / "o", ContrastConfig())
