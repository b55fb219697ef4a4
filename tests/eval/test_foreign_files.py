"""Files that are not what a command expects: each is refused by name, or read as it was meant."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from corpus.errors import DataError, TonguesError, UserError
from corpus.files import read_lines, write_json, write_lines
from corpus.languages import Direction
from eval.cli import group
from eval.human.judgments import read_judgments
from eval.hypotheses import find_systems
from eval.pages.page_data import read_findings
from eval.pages.run_files import read_run
from eval.statistics.buckets import read_directions, read_language_table
from eval.statistics.published_scores import read_quoted
from eval.statistics.results import read_scores
from eval.statistics.store import read_text

BOM = "\ufeff"
PAIR = "eng_Latn-fra_Latn"
LANGUAGE = {"f1": 0.9, "precision": 1.0, "recall": 0.9, "n": 3}
SCORE = "system\tdirection\tmetric\tvalue\tn\tsignature"
HUMAN = "evaluator\titem\tdirection\tscore"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(group, list(map(str, arguments)), obj={})


def make_test_set(folder: Path, lines: list[str]) -> Path:
    for language in ("eng_Latn", "fra_Latn"):
        write_lines(folder / "flores" / "devtest" / f"{language}.devtest", lines)
    return folder / "flores"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("lid_measure.json", {}, "lacks `macro_f1`"),
        ("lid_measure.json", [], "no JSON object"),
        (
            "lid_measure.json",
            {"macro_f1": 1, "macro_fpr": 0, "languages": []},
            "`languages` is .*an object is needed",
        ),
        (
            "lid_measure.json",
            {"macro_f1": 1, "macro_fpr": 0, "languages": {"eng_Latn": {**LANGUAGE, "f1": "x"}}},
            r"`languages\.eng_Latn\.f1` is 'x'; a number is needed",
        ),
        ("lid_measure.json", {"macro_f1": float("nan")}, "`macro_f1` is nan"),
        ("xsim.json", {"mean_error": 0.1, "pairs": {}}, "`pairs` needs errors"),
        ("xsim.json", {"mean_error": 0.1, "pairs": {"eng": 0.1}}, "`pairs` needs errors"),
        ("mining.json", {"pairs": {PAIR: 0.5}}, "an object is needed"),
        ("experts.json", {"layers": {"a": 1}}, "an object is needed"),
        (
            "experts.json",
            {
                "layers": {
                    "a": {"entropy": 1, "max_entropy": 1, "load": [1], "languages": {"x": []}}
                }
            },
            "as many for each of `languages`",
        ),
        ("data/languages.tsv", ["code\tname"], "needs the columns language"),
        ("data/languages.tsv", ["language\tresource", "eng_Latn"], ":2: 1 columns"),
        ("scores/scores.tsv", ["a\tb"], "needs the columns system"),
        ("scores/scores.tsv", [SCORE, f"a\t{PAIR}\tchrf\tx\t1\ts"], ":2: not a row of scores"),
        ("scores/scores.tsv", [SCORE, "a\tb\tchrf\t1\t1\ts"], ":2: not a row of scores"),
        ("lid/receipts/runs.jsonl", ['{"name": "train"}'], ":1: not a record of a run"),
        ("lid/receipts/runs.jsonl", ["[" * 99_999], ":1: not a record of a run"),
        ("hypotheses/notes.txt", ["x"], r"notes\.txt: `notes` is not a direction"),
    ],
)
def test_report_names_the_file_that_is_not_of_a_run(
    name: str, content: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if path.suffix == ".json":
        write_json(path, content)
    else:
        write_lines(path, content)
    with pytest.raises(DataError, match=message) as error:
        read_run(tmp_path, 3)
    assert path.name in str(error.value)


def test_receipt_without_counts_of_numbers_is_named(tmp_path: Path) -> None:
    record = {"name": "t", "seconds": 1, "peak_memory_mb": 1, "done": 1, "skipped": 0, "failed": 0}
    write_lines(tmp_path / "lid" / "receipts" / "runs.jsonl", [json.dumps(record), ""])
    for content in ([], {"counts": 3}, {"counts": {"kept": "x"}}):
        write_json(tmp_path / "lid" / "receipts" / "t" / "x.json", content)
        with pytest.raises(DataError, match=r"x\.json (is not a receipt|holds a list)"):
            read_run(tmp_path, 3)


def test_report_into_a_directory_is_refused(tmp_path: Path) -> None:
    result = run("report", "--run", tmp_path, "--output", tmp_path)
    assert isinstance(result.exception, UserError)
    assert "is a directory" in str(result.exception)


@pytest.mark.parametrize(
    "content", [[], {"mine": 3}, {"mine": {"into": {}}}, {"systems": {"mine": {"into": 5}}}]
)
def test_summary_of_a_check_that_is_none_is_named(content: Any, tmp_path: Path) -> None:
    write_json(tmp_path / "toxicity.json", content)
    with pytest.raises(DataError, match=r"toxicity\.json is not what `tongues eval check` writes"):
        read_findings(tmp_path)


def test_byte_order_mark_is_part_of_no_table(tmp_path: Path) -> None:
    def write(name: str, *lines: str) -> Path:
        write_lines(tmp_path / name, [BOM + lines[0], *lines[1:]])
        return tmp_path / name

    hypotheses = write(f"mine/{PAIR}.txt", "one", "two")
    assert read_text(hypotheses).lines == ["one", "two"]
    manifest = write(
        "m.tsv", "system\tsource\ttarget\tpath", f"a\teng_Latn\tfra_Latn\tmine/{PAIR}.txt"
    )
    assert list(find_systems([], manifest)) == ["a"]
    languages = write("l.tsv", "language\tresource", "eng_Latn\thigh")
    assert read_language_table(languages).levels == {"eng_Latn": "high"}
    assert len(read_directions(write("d.txt", PAIR))) == 1
    assert len(read_judgments(write("h.tsv", HUMAN, f"a\t1\t{PAIR}\t3"))) == 1
    assert len(read_scores(write("s.tsv", SCORE, f"a\t{PAIR}\tchrf\t1.5\t2\tx"))) == 1
    assert len(read_quoted(write("q.csv", f"{PAIR},48.1"), "chrf", "devtest")) == 1


def test_byte_order_mark_in_a_test_set_changes_no_score(tmp_path: Path) -> None:
    flores = make_test_set(tmp_path, ["a b c", "d e f"])
    write_lines(tmp_path / "mine" / f"{PAIR}.txt", ["a b", "d e f"])
    tables = []
    for number, mark in enumerate(("", BOM)):
        for path in (flores / "devtest" / "fra_Latn.devtest", tmp_path / "mine" / f"{PAIR}.txt"):
            lines = [line.removeprefix(BOM) for line in read_lines(path)]
            write_lines(path, [mark + lines[0], *lines[1:]])
        output = tmp_path / f"out{number}"
        result = run(
            "score",
            "--hypotheses",
            tmp_path / "mine",
            "--flores",
            flores,
            "--output",
            output,
            "--metrics",
            "chrf",
        )
        assert result.exit_code == 0, result.output
        tables.append(read_lines(output / "scores.tsv"))
    assert tables[0] == tables[1]


def test_directory_called_copy_is_told_why(tmp_path: Path) -> None:
    write_lines(tmp_path / "copy" / f"{PAIR}.txt", ["x"])
    with pytest.raises(UserError, match="that is the baseline that returns the source"):
        find_systems([tmp_path / "copy"])


@pytest.mark.parametrize("name", ["a\tb", "a\nb", "  "])
def test_names_that_a_table_cannot_hold_are_refused(name: str, tmp_path: Path) -> None:
    write_lines(tmp_path / name / f"{PAIR}.txt", ["x"])
    with pytest.raises(UserError, match="a system cannot be called"):
        find_systems([tmp_path / name])


@pytest.mark.parametrize("name", ["fra_Latn.txt", "eng_Latn_fra_Latn.txt", "en-xy.txt"])
def test_file_of_another_name_is_told_of_the_manifest(name: str, tmp_path: Path) -> None:
    write_lines(tmp_path / "mine" / name, ["x"])
    with pytest.raises(UserError, match=r"(?s)Rename the files .*--manifest FILE"):
        find_systems([tmp_path / "mine"])


def test_files_left_out_of_hypotheses_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (f"{PAIR}.txt", "eng_Latn-hau_Latn.hyp", "readme.md", "config.yaml", ".hidden"):
        write_lines(tmp_path / "mine" / name, ["x"])
    (tmp_path / "mine" / "receipts").mkdir()
    assert list(find_systems([tmp_path / "mine"])["mine"]) == [Direction("eng_Latn", "fra_Latn")]
    (record,) = caplog.records
    assert ": eng_Latn-hau_Latn.hyp, readme.md; hypotheses are in <s" in record.getMessage()


def test_file_named_by_other_codes_is_of_their_direction(tmp_path: Path) -> None:
    write_lines(tmp_path / "mine" / "en-fr.txt", ["x"])
    (files,) = find_systems([tmp_path / "mine"]).values()
    assert [str(direction) for direction in files] == ["eng_Latn-fra_Latn"]


def test_directory_without_texts_is_told_of_the_manifest(tmp_path: Path) -> None:
    write_lines(tmp_path / "mine" / "eng_Latn-fra_Latn.out", ["x"])
    with pytest.raises(UserError, match=r"(?s)holds no hypotheses .*--manifest FILE"):
        find_systems([tmp_path / "mine"])


@pytest.mark.parametrize("content", ["", "x" * 5_000, "\0\0\0", "{}", "a\tb\nc\n"])
@pytest.mark.parametrize("command", ["score", "correlate"])
def test_tables_that_are_none_are_refused_briefly(
    command: str, content: str, tmp_path: Path
) -> None:
    flores = make_test_set(tmp_path, ["a"])
    (tmp_path / "t.tsv").write_text(content)
    if command == "score":
        result = run(
            "score",
            "--manifest",
            tmp_path / "t.tsv",
            "--flores",
            flores,
            "--output",
            tmp_path / "o",
        )
    else:
        result = run(
            "correlate",
            "--human",
            tmp_path / "t.tsv",
            "--scores",
            tmp_path / "t.tsv",
            "--output",
            tmp_path / "o",
            "--config",
            "calibration=none",
        )
    assert isinstance(result.exception, TonguesError)
    assert "needs the columns" in str(result.exception)
    assert len(str(result.exception)) < 1_000


def test_column_that_the_header_has_twice_is_refused(tmp_path: Path) -> None:
    write_lines(tmp_path / "l.tsv", ["language\tresource\tresource", "eng_Latn\thigh\tlow"])
    with pytest.raises(DataError, match=r"l\.tsv:1: the header has `resource` twice"):
        read_language_table(tmp_path / "l.tsv")


def test_source_of_another_length_than_the_reference_is_named(tmp_path: Path) -> None:
    flores = make_test_set(tmp_path, ["a", "b"])
    write_lines(flores / "devtest" / "eng_Latn.devtest", ["a"])
    write_lines(tmp_path / "mine" / f"{PAIR}.txt", ["x", "y"])
    result = run(
        "check", "--hypotheses", tmp_path / "mine", "--flores", flores, "--output", tmp_path / "o"
    )
    assert isinstance(result.exception, TonguesError)
    assert "eng_Latn.devtest has 1 lines and" in str(result.exception)


def test_damaged_cells_are_named(tmp_path: Path) -> None:
    flores = make_test_set(tmp_path, ["a", "b"])
    write_lines(tmp_path / "mine" / f"{PAIR}.txt", ["x", "y"])
    scores = ("--hypotheses", tmp_path / "mine", "--flores", flores, "--output", tmp_path / "o")
    assert run("score", *scores, "--metrics", "chrf").exit_code == 0
    (tmp_path / "o" / "cells" / "fra_Latn.parquet").write_bytes(b"PAR1")
    result = run("report", "--run", tmp_path / "o", "--output", tmp_path / "x.html")
    assert isinstance(result.exception, DataError)
    assert "fra_Latn.parquet" in str(result.exception)
