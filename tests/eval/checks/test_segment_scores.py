"""Segment scores of other models: averaged only where their model covers the languages."""

import json
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import JobError, UserError
from corpus.files import read_lines, write_lines
from eval.check import summary_rows
from eval.checks.batches import find_batches
from eval.checks.config import SegmentScoresConfig
from eval.checks.segment_scores import measure_segment_scores
from eval.statistics.results import read_scores

LANGUAGES = ("eng_Latn", "fra_Latn", "ayr_Latn")
HEADER = {"metric": "comet", "model": "m22", "languages": ["eng_Latn", "fra_Latn"]}


def row(target: str, line: int, score: Any, **more: Any) -> dict[str, Any]:
    direction = f"eng_Latn-{target}"
    return {"system": "mine", "direction": direction, "line": line, "score": score, **more}


ROWS = [row("fra_Latn", 1, 0.5), row("fra_Latn", 2, 0.9), row("ayr_Latn", 1, 0.8)]


def measure(folder: Path, *files: list[Any]) -> dict[str, Any]:
    for language in LANGUAGES:
        write_lines(folder / "flores" / "devtest" / f"{language}.devtest", ["a", "b"])
        if language != "eng_Latn":
            write_lines(folder / "mine" / f"eng_Latn-{language}.txt", ["a", "b"])
    paths = []
    for number, objects in enumerate(files):
        paths.append(folder / f"{number}.jsonl")
        lines = [one if isinstance(one, str) else json.dumps(one) for one in objects]
        write_lines(paths[-1], lines)
    batches = find_batches([folder / "mine"], folder / "flores", "devtest", folder / "texts")
    return measure_segment_scores(paths, batches, folder / "out")


def test_direction_that_the_model_does_not_cover_has_no_mean(tmp_path: Path) -> None:
    found = measure(tmp_path, [HEADER, *ROWS])["comet"]["mine"]
    assert found["mean"] == pytest.approx(0.7)
    assert (found["n"], found["n_missing"]) == (1, 0)
    assert found["not_covered"] == ["eng_Latn-ayr_Latn"]
    (score,) = read_scores(tmp_path / "out" / "segment_scores.tsv")
    assert (str(score.direction), score.value, score.n) == ("eng_Latn-fra_Latn", 0.7, 2)
    assert score.signature == "mean of segments|model:m22"


def test_scores_that_need_no_language_cover_all(tmp_path: Path) -> None:
    found = measure(tmp_path, [{**HEADER, "languages": "all"}, *ROWS])["comet"]["mine"]
    assert (found["n"], found["mean"]) == (2, pytest.approx(0.75))
    assert found["incomplete"] == ["eng_Latn-ayr_Latn"]


def test_several_metrics_stand_beside_each_other(tmp_path: Path) -> None:
    other = {"metric": "logprob", "languages": "all"}
    found = measure(tmp_path, [HEADER, *ROWS], [other, row("fra_Latn", 1, -3)])
    assert sorted(found) == ["comet", "logprob"]
    assert len(read_lines(tmp_path / "out" / "segment_scores.tsv")) == 3


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"variance": 0.01},  # unbabel-comet 1 with `--mc_dropout`
        {"errors": [{"text": "b", "confidence": 0.4, "severity": "minor", "start": 0, "end": 1}]},
    ],
)
def test_all_layouts_that_comet_writes_are_read(tmp_path: Path, more: dict[str, Any]) -> None:
    # comet/cli/score.py: a list by the file's path as given, `ref` unless the model needs none.
    segment = {"src": "a", "mt": "b", "ref": "c", "COMET": 0.5, **more}
    content = {"mine/eng_Latn-fra_Latn.txt": [segment, {**segment, "COMET": 0.7}]}
    found = measure_comet(tmp_path, content, model="xcomet-xl", languages=("all",))
    assert found["comet"]["mine"]["mean"] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([{"metric": "comet"}, *ROWS], r"0\.jsonl:1: the first line says what the scores are"),
        (ROWS, "the first line says"),
        ([], "the first line says"),
        ([HEADER, "{"], r"0\.jsonl:2: not JSON"),
        ([HEADER, "[1]"], "not a JSON object"),
        ([HEADER, row("fra_Latn", 3, 0.5)], "line 3 of 2"),
        ([HEADER, row("fra_Latn", True, 0.5)], "line True of 2"),
        ([HEADER, row("fra_Latn", 1, float("nan"))], "the score is nan"),
        ([HEADER, row("fra_Latn", 1, "good")], "a number as `score`"),
        ([HEADER, ROWS[0], ROWS[0]], r"0\.jsonl:3: line 1 of mine .* has a score already"),
        ([HEADER, {**ROWS[0], "system": "yours"}], "system `yours` has no hypotheses"),
        ([HEADER, {**ROWS[0], "direction": "eng-xyz"}], "`xyz` is not a language"),
        ([HEADER, {**ROWS[0], "direction": 5}], r"0\.jsonl:2: `5` is not a direction"),
        ([HEADER, {**ROWS[0], "system": ["mine"]}], "has no hypotheses"),
        ([HEADER, row("fra_Latn", 1, 10**400)], "a number as `score`"),
        ([{**HEADER, "languages": ["xyz"]}, *ROWS], r"0\.jsonl:1: `xyz` is not a language"),
        ([HEADER, "[" * 99_999], r"0\.jsonl:2: not JSON"),
    ],
)
def test_odd_files_are_refused_by_line(objects: list[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=message):
        measure(tmp_path, objects)
    assert not (tmp_path / "out" / "segment_scores.tsv").exists()


def test_two_files_of_one_metric_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="are both of `comet`"):
        measure(tmp_path, [HEADER, *ROWS], [HEADER, *ROWS])


def test_missing_lines_are_counted_logged_and_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = measure(tmp_path, [HEADER, ROWS[0]])
    assert found["comet"]["mine"]["lines_missing"] == 1
    assert "1 lines have no score; means of eng_Latn-fra_Latn" in caplog.text
    (shown,) = summary_rows({"segment_scores": found})
    assert shown[-1] == "1 and 1 lines"


COMET = {
    "mine/eng_Latn-fra_Latn.txt": [{"src": "a", "mt": "b", "COMET": 0.5}, {"COMET": 0.9}],
    "mine/eng_Latn-ayr_Latn.txt": [{"COMET": 0.1}, {"COMET": 0.2}],
}


def measure_comet(folder: Path, content: Any, **more: Any) -> dict[str, Any]:
    measure(folder, [HEADER, *ROWS])
    (folder / "comet.json").write_text(json.dumps(content, indent=4))
    batches = find_batches([folder / "mine"], folder / "flores", "devtest", folder / "texts")
    config = SegmentScoresConfig(**more)
    return measure_segment_scores([folder / "comet.json"], batches, folder / "o", config)


def test_json_of_comet_is_read_as_it_writes_it(tmp_path: Path) -> None:
    # unbabel-comet 2, `comet-score --to_json`: {file: [{"src", "mt", "ref", "COMET", "errors"}]}.
    found = measure_comet(tmp_path, COMET, model="m22", languages=("eng_Latn", "fra_Latn"))
    assert found["comet"]["mine"]["mean"] == pytest.approx(0.7)
    assert found["comet"]["mine"]["not_covered"] == ["eng_Latn-ayr_Latn"]
    assert read_scores(tmp_path / "o" / "segment_scores.tsv")[0].signature.endswith("model:m22")


@pytest.mark.parametrize(
    ("content", "languages", "message"),
    [
        (COMET, (), r"add --config\s+segment_scores\.model"),
        ({"a.txt": [{"score": 1}]}, ("all",), "entry 1 of `a.txt` has no `COMET`"),
        ({"a.txt": [{"COMET": 1}]}, ("all",), "`a` is not a direction"),
        ({"a": 1}, ("all",), "neither JSONL"),
        ([1, 2], ("all",), "neither JSONL"),
    ],
)
def test_json_that_is_not_comets_is_refused(
    content: Any, languages: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises((JobError, UserError), match=message):
        measure_comet(tmp_path, content, languages=languages)
