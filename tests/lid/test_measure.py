"""Scores of answers, the comparison of two models, text that no model knows, and both pages."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import DataError, UserError
from corpus.files import read_json, write_lines
from corpus.protocols import Prediction
from lid.cli import group
from lid.config import MeasureConfig
from lid.identifier import LanguageIdentifier
from lid.measure import read_training_lines
from lid.measuring.measurement import explain, measure, measure_unknown, resource_level
from lid.measuring.report_page import render_measure, write_report
from lid.measuring.scores import (
    compare,
    mcnemar_p_value,
    mean_score,
    merge_groups,
    micro_f1,
    randomization_p_value,
    score_languages,
)
from lid.training.report_page import training_page

CODES = ["aka_Latn", "eng_Latn", "hin_Deva", "twi_Latn"]


class Parrot:
    """A stand-in for a model: each line says what its answer is, and with which score."""

    def __init__(self, languages: Sequence[str], replaced: Mapping[str, str] | None = None) -> None:
        self.languages = sorted(languages)
        self.replaced = replaced or {}

    def rank(self, lines: Sequence[str]) -> list[Prediction]:
        parts = [line.split() for line in lines]
        return [Prediction(self.replaced.get(code, code), float(score)) for code, score in parts]

    def apply_threshold(self, best: Prediction) -> Prediction:
        return best if best.score >= 0.5 else Prediction("und", best.score)


def write_split(directory: Path, lines: Mapping[str, Sequence[str]]) -> Path:
    for language, own in lines.items():
        write_lines(directory / "devtest" / f"{language}.devtest", own)
    return directory


@pytest.fixture
def flores(tmp_path: Path) -> Path:
    """Ten lines a language: all of Akan is taken for Twi, three lines of English are unsure."""
    lines = {code: [f"{code} 0.9"] * 10 for code in CODES}
    lines["aka_Latn"] = ["twi_Latn 0.9"] * 9 + ["aka_Latn 0.9"]
    lines["eng_Latn"][:3] = ["eng_Latn 0.4"] * 3
    lines["kor_Hang"] = ["kor_Hang 0.9"] * 10
    return write_split(tmp_path / "flores", lines)


def test_answers_are_compared_by_the_names_that_the_split_has(tmp_path: Path) -> None:
    """FLORES+ calls `cmn_Hans` what a model of FLORES-200 calls `zho_Hans`."""
    lines = {"cmn_Hans": ["zho_Hans 0.9"] * 4, "bre_Latn": ["bre_Latn 0.9"] * 3 + ["zho_Hans 0.9"]}
    flores = write_split(tmp_path, lines)
    known = {"zho_Hans": 7, "bre_Latn": 3}
    measured = measure(
        Parrot(list(known)), flores, "devtest", MeasureConfig(), training_lines=known
    )  # type: ignore[arg-type]
    assert measured["training_lines"] == {"cmn_Hans": 7, "bre_Latn": 3}
    assert measured["languages"]["cmn_Hans"]["recall"] == 1
    assert measured["languages"]["bre_Latn"]["recall"] == 0.75
    assert measured["confusions"][0] == {"language": "bre_Latn", "answer": "cmn_Hans", "count": 1}
    assert measured["languages_without_model"] == measured["languages_without_lines"] == []


def test_scores_match_a_hand_calculation() -> None:
    # a: 8 right of 10, 1 wrong from b; b: 4 right of 5; 2 of a are `und`.
    answers = Counter({("a", "a"): 8, ("a", "und"): 2, ("b", "b"): 4, ("b", "a"): 1})
    scores = score_languages(answers, ["a", "b"])
    assert scores["a"]["precision"] == pytest.approx(8 / 9)
    assert scores["a"]["recall"] == pytest.approx(0.8)
    assert scores["a"]["f1"] == pytest.approx(16 / 19)
    assert scores["a"]["fpr"] == pytest.approx(1 / 5)
    assert scores["b"]["fpr"] == 0.0
    # 12 right, 15 lines, 13 of them answered with a or b.
    assert micro_f1(answers, ["a", "b"]) == pytest.approx(24 / 28)


def test_answers_within_a_group_are_right_once_merged() -> None:
    answers = Counter({("a", "b"): 6, ("a", "a"): 4, ("b", "b"): 10, ("c", "c"): 8, ("c", "a"): 2})
    merged = merge_groups(answers, ["a", "b", "c"], ["a,b", "x,y"])
    # The group: 20 right, 20 lines, 22 answers; c: 8 right, 10 lines, 8 answers.
    assert merged["groups"] == {"a,b": pytest.approx(40 / 42)}
    assert merged["macro_f1"] == pytest.approx((40 / 42 + 16 / 18) / 2)
    assert merged["languages"] == 2


def test_group_of_one_language_or_of_an_unknown_one_is_refused() -> None:
    with pytest.raises(UserError, match="fewer than two"):
        MeasureConfig(groups=("aka_Latn",))
    with pytest.raises(UserError, match="twi_Latn"):
        MeasureConfig(groups=("aka_Latn,twi_Ltan",))
    with pytest.raises(UserError, match="occurs twice"):
        MeasureConfig(groups=("aka_Latn,twi_Latn", "twi_Latn,eng_Latn"))


def test_measurement_tells_scripts_levels_and_groups_apart(flores: Path) -> None:
    learned = {"aka_Latn": 499, "eng_Latn": 5_000, "hin_Deva": 500}
    identifier = Parrot([*CODES, "fra_Latn"])
    measured = measure(identifier, flores, "devtest", MeasureConfig(), training_lines=learned)
    assert set(measured["languages"]) == set(CODES)
    assert set(measured["languages"]["eng_Latn"]) == {"f1", "precision", "recall", "fpr", "n"}
    assert measured["macro_f1"] == pytest.approx(mean_score(measured["languages"], "f1"))
    assert measured["languages_without_model"] == ["kor_Hang"]
    assert measured["languages_without_lines"] == ["fra_Latn"]
    assert measured["unknown_share"] == pytest.approx(3 / 40)
    assert list(measured["levels"]) == ["high", "low", "very low", "unknown"]
    assert {name: entry["languages"] for name, entry in measured["scripts"].items()} == {
        "Deva": 1,
        "Latn": 3,
    }
    assert measured["levels"]["low"]["macro_f1"] == 1.0
    # Merged, Akan and Twi are all right; English keeps its three unsure lines but for `closed`.
    assert measured["merged"]["macro_f1"] == pytest.approx((1 + 14 / 17 + 1) / 3)
    assert measured["closed"]["merged"]["macro_f1"] == 1.0
    assert measured["closed"]["macro_f1"] < 1.0
    assert "against" not in measured
    assert "open" not in measured
    json.dumps(measured, allow_nan=False)


def test_poor_language_is_explained_by_where_its_lines_go(flores: Path) -> None:
    learned = {"aka_Latn": 120, "twi_Latn": 2_000}
    measured = measure(Parrot(CODES), flores, "devtest", MeasureConfig(), training_lines=learned)
    assert measured["explanations"] == {
        "aka_Latn": "Akan (aka_Latn): 1 of 10 lines are right; 9 go to Twi (twi_Latn)."
        " Training lines: aka_Latn 120, twi_Latn 2,000."
    }


def test_explanation_counts_everything_it_does_not_name() -> None:
    answers = Counter(
        {("a", "b"): 5, ("a", "und"): 4, ("a", "c"): 2, ("a", "d"): 1, ("b", "a"): 3, ("b", "b"): 9}
    )
    text = explain(answers, score_languages(answers, ["a", "b"]), {"b": 7})["a"]
    assert "0 of 12 lines are right; 5 go to b, 4 go to und (not sure enough)" in text
    assert "3 go elsewhere." in text
    assert "It is given 3 lines of b." in text
    assert text.endswith("Training lines: a unknown, b 7.")


def test_levels_begin_where_the_documentation_says() -> None:
    limits = [0, 499, 500, 4_999, 5_000, None]
    expected = ["very low", "very low", "low", "low", "high", "unknown"]
    assert [resource_level(lines) for lines in limits] == expected


def test_training_lines_of_an_imported_model_are_unknown(tmp_path: Path) -> None:
    path = tmp_path / "languages.tsv"
    write_lines(path, ["language\tlines\tdrawn", "aka_Latn\t12\t24", "eng_Latn\t\t"])
    assert read_training_lines(tmp_path) == {"aka_Latn": 12}
    write_lines(path, ["language\tlabel", "aka_Latn\t__label__aka"])
    assert read_training_lines(tmp_path) == {}


def test_measuring_on_languages_the_model_lacks_is_refused(flores: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of the model's languages"):
        measure(Parrot(["fra_Latn"]), flores, "devtest", MeasureConfig())
    with pytest.raises(UserError, match="two models share none"):
        measure(Parrot(CODES), flores, "devtest", MeasureConfig(), other=Parrot(["fra_Latn"]))
    empty = write_split(tmp_path / "empty", {"eng_Latn": []})
    with pytest.raises(DataError, match="holds no lines"):
        measure(Parrot(CODES), empty, "devtest", MeasureConfig())


def test_unknown_text_is_accepted_where_a_language_is_answered(tmp_path: Path) -> None:
    write_lines(tmp_path / "gothic.txt.gz", ["eng_Latn 0.9", "", "eng_Latn 0.1", "zxx 0.9"])
    write_lines(tmp_path / "noise.txt", ["zxx 1.0"])
    write_lines(tmp_path / "notes.md", ["eng_Latn 0.9"])
    found = measure_unknown(Parrot(CODES), tmp_path)
    assert found["lines"] == 4
    assert found["accepted_share"] == pytest.approx(1 / 4)
    assert found["files"]["gothic.txt.gz"] == {
        "lines": 3,
        "accepted_share": pytest.approx(1 / 3),
        "answers": {"eng_Latn": 1},
    }
    assert found["files"]["noise.txt"]["accepted_share"] == 0.0


def test_unknown_text_must_be_there_and_not_in_a_known_language(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a directory"):
        measure_unknown(Parrot(CODES), tmp_path / "none")
    with pytest.raises(UserError, match="holds no lines"):
        measure_unknown(Parrot(CODES), tmp_path)
    write_lines(tmp_path / "eng_Latn.txt", ["eng_Latn 0.9"])
    with pytest.raises(UserError, match="the model knows"):
        measure_unknown(Parrot(CODES), tmp_path)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_the_sum_of_binomials(first: int, second: int) -> None:
    total = first + second
    tail = sum(math.comb(total, k) for k in range(min(first, second) + 1))
    assert mcnemar_p_value(first, second) == pytest.approx(min(1.0, 2 * tail / 2**total))


def test_mcnemar_holds_for_many_lines() -> None:
    total, least = 40_000, 19_700
    term = math.comb(total, least)
    tail = 0
    for k in range(least, least - 2_000, -1):
        tail += term
        term = term * k // (total - k + 1)
    assert mcnemar_p_value(least, total - least) == pytest.approx(2 * tail / 2**total, rel=1e-8)
    assert mcnemar_p_value(0, 100_000) == 0.0


def test_randomization_agrees_with_swapping_line_by_line() -> None:
    generator = np.random.default_rng(5)
    names = np.array(["a", "b", "c"])
    truth = np.repeat(names, 40)
    first = np.where(generator.random(120) < 0.75, truth, generator.choice(names, 120))
    second = np.where(generator.random(120) < 0.62, truth, generator.choice(names, 120))

    def macro_f1(answers: np.ndarray) -> float:
        pairs = Counter(zip(truth.tolist(), answers.tolist(), strict=True))
        return mean_score(score_languages(pairs, ["a", "b", "c"]), "f1")

    observed = abs(macro_f1(first) - macro_f1(second))
    extreme = 0
    for _ in range(600):
        swap = generator.random(120) < 0.5
        one, two = np.where(swap, second, first), np.where(swap, first, second)
        extreme += abs(macro_f1(one) - macro_f1(two)) >= observed - 1e-12
    triples = Counter(zip(truth.tolist(), first.tolist(), second.tolist(), strict=True))
    p_value = randomization_p_value(triples, ["a", "b", "c"], 4_000, 1)
    # Standard error of the slow estimate at most sqrt(.25 / 600) = .02.
    assert p_value == pytest.approx((1 + extreme) / 601, abs=0.07)
    assert p_value == randomization_p_value(triples, ["a", "b", "c"], 4_000, 1)


def test_model_does_not_differ_from_itself() -> None:
    same = Counter({("a", "a", "a"): 9, ("a", "b", "b"): 3, ("b", "b", "b"): 5})
    found = compare(same, ["a", "b"], 100, 1)
    assert found["difference"] == 0.0
    assert found["mcnemar_p"] == found["randomization_p"] == 1.0


def test_comparison_counts_what_only_one_gets_right(flores: Path) -> None:
    config = MeasureConfig(trials=200)
    better = Parrot([*CODES, "fra_Latn"], {})
    worse = Parrot(["eng_Latn", "hin_Deva", "twi_Latn"], {"hin_Deva": "fra_Latn"})
    found = measure(better, flores, "devtest", config, other=worse)["against"]
    assert set(found["languages"]) == {"eng_Latn", "hin_Deva", "twi_Latn"}
    assert found["lines"] == 30
    assert (found["only_right"], found["only_other_right"]) == (10, 0)
    assert found["mcnemar_p"] == pytest.approx(2 / 2**10)
    assert found["languages"]["hin_Deva"]["difference"] == 1.0
    assert found["difference"] == pytest.approx(1 / 3)
    assert found["difference"] == pytest.approx(found["macro_f1"] - found["other_macro_f1"])
    assert found["randomization_p"] < 0.05
    assert found["closed"]["macro_f1"] == 1.0
    swapped = measure(worse, flores, "devtest", config, other=better)["against"]
    assert swapped["difference"] == pytest.approx(-found["difference"])
    assert swapped["mcnemar_p"] == found["mcnemar_p"]


def test_command_writes_the_page_and_prints_what_it_holds(
    flores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LanguageIdentifier, "load", lambda *_, **__: Parrot(CODES))
    model = tmp_path / "model"
    write_lines(model / "languages.tsv", ["language\tlines", "aka_Latn\t12"])
    write_lines(tmp_path / "unknown" / "<b>.txt", ["eng_Latn 0.9", "zxx 0.9"])
    arguments = ["measure", "--model", str(model), "--flores", str(flores)]
    arguments += ["--unknown", str(tmp_path / "unknown"), "--against", str(model)]
    arguments += ["--output", str(tmp_path / "out"), "--config", "trials=50"]
    result = CliRunner().invoke(group, arguments)
    assert result.exit_code == 0, result.output
    assert "50.00% of 2 lines of unknown text accepted" in result.stdout
    assert "macro-F1" in result.stdout
    assert f"against {model}" in result.stdout
    measured = read_json(tmp_path / "out" / "measure.json")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"{measured['macro_f1']:.4f}" in page
    assert "1 of 10 lines are right; 9 go to Twi" in page
    assert "&lt;b&gt;.txt" in page
    assert "<b>.txt" not in page
    assert "http" not in page
    as_json = CliRunner().invoke(group, [*arguments, "--json"])
    assert json.loads(as_json.stdout) == measured


def test_page_of_a_perfect_model_has_nothing_to_explain(tmp_path: Path) -> None:
    lines = {code: [f"{code} 0.9"] * 4 for code in ("eng_Latn", "hin_Deva")}
    flores = write_split(tmp_path, lines)
    measured = measure(Parrot(lines), flores, "devtest", MeasureConfig())
    page = render_measure(measured)
    assert "There are none." in page
    assert "No line got a wrong answer." in page
    assert "Comparison" not in page
    write_report(tmp_path / "out", measured)
    assert not list((tmp_path / "out").glob("*tmp*"))
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8") == page


def training_summary() -> dict[str, object]:
    def language(code: str, f1: float, recall: float) -> dict[str, object]:
        return {
            "language": code,
            "lines": 1_000,
            "drawn": 2_000,
            "validation": 50,
            "recall": recall,
            "f1": f1,
            "threshold": 0.5,
        }

    bins = [
        {"confidence": 0.25, "accuracy": 0.4, "n": 10},
        {"confidence": 0.5, "accuracy": math.nan, "n": 0},
        {"confidence": 0.95, "accuracy": 0.9, "n": 90},
    ]
    return {
        "languages": [
            language("eng_Latn", 0.99, 0.98),
            language("aka_Latn", 0.41, 0.5),
            language("zxx", math.nan, math.nan),
        ],
        "confusions": [{"language": "aka_Latn", "answer": "twi_Latn", "count": 25}],
        "groups": [
            {"name": "<Akan>", "languages": ["aka_Latn", "twi_Latn"], "matrix": [[25, 75], [0, 0]]}
        ],
        "calibration": {
            "temperature": 1.37,
            "before": {"ece": 0.061, "bins": bins},
            "after": {"ece": 0.012, "bins": bins},
        },
        "threshold_curve": [
            {"threshold": 0.3, "kept": 0.99, "precision": 0.95},
            {"threshold": 0.9, "kept": 0.81, "precision": None},
        ],
        "quantized": {"bytes": 3_400_000, "f1": 0.69, "f1_loss": 0.01},
        "counts": {"read": 3_100, "given_to_another_language": 4},
    }


def test_training_page_shows_the_worst_first_and_what_is_missing_last() -> None:
    page = training_page(training_summary())
    bars = page[page.index("F1 by language") : page.index("Hard groups")]
    assert bars.index("aka_Latn") < bars.index("eng_Latn") < bars.index("zxx")
    assert "missing" in bars
    assert ">nan<" not in page
    assert "&lt;Akan&gt;" in page
    assert "aka_Latn → twi_Latn: 75" in page
    assert "0.0120" in page
    assert "3.4 MB" in page
    assert page.count("<polyline") == 4
    assert "http" not in page


def test_training_page_of_a_model_without_held_out_lines_says_so() -> None:
    nothing = {"ece": math.nan, "bins": []}
    page = training_page(
        {
            "languages": [],
            "confusions": [],
            "groups": [],
            "calibration": {"temperature": 1.0, "before": nothing, "after": nothing},
            "threshold_curve": [],
            "quantized": None,
            "counts": {},
        }
    )
    assert "error missing" in page
    assert "Quantized" not in page
    assert "No held-out line got a wrong answer." in page
