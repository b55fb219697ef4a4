"""Off-target rates: a floor from the references, groups of confusable languages, scripts."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from corpus.errors import JobError, UserError
from corpus.files import read_lines, write_lines
from corpus.protocols import Prediction
from eval.checks.batches import find_batches
from eval.checks.config import OffTargetConfig
from eval.checks.off_target import OffTarget, confusable_groups, measure_off_target
from eval.checks.scripts import lines_in_other_script
from eval.cli import group


class ByFirstWord:
    """Identifies a line by its first word, which names its language."""

    languages = ("bos_Latn", "eng_Latn", "hrv_Latn", "rus_Cyrl")

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        return [Prediction(line.split()[0] if line.strip() else "und", 0.9) for line in lines]


def load_by_first_word(path: Path) -> ByFirstWord:
    assert (path / "model.bin").is_file()
    return ByFirstWord()


TEXTS = {
    "eng_Latn": ["eng_Latn one", "eng_Latn two", "eng_Latn three", "eng_Latn four"],
    "bos_Latn": ["bos_Latn a", "hrv_Latn b", "bos_Latn c", "bos_Latn d"],
    "rus_Cyrl": ["rus_Cyrl одна красная строка", *["rus_Cyrl ещё одна длинная строка"] * 3],
    "tam_Taml": ["tam_Taml x"] * 4,
}


@pytest.fixture
def system(tmp_path: Path) -> Path:
    for language, lines in TEXTS.items():
        write_lines(tmp_path / "flores" / "devtest" / f"{language}.devtest", lines)
    (tmp_path / "lid").mkdir()
    (tmp_path / "lid" / "model.bin").write_bytes(b"stand-in")
    folder = tmp_path / "mine"
    answers = ["bos_Latn a", "hrv_Latn b", "eng_Latn c", " "]
    write_lines(folder / "eng_Latn-bos_Latn.txt", answers)
    answers = ["rus_Cyrl по-русски всё верно", "eng_Latn wrong", "und what", "zxx 123"]
    write_lines(folder / "eng_Latn-rus_Cyrl.txt", answers)
    write_lines(folder / "eng_Latn-tam_Taml.txt", ["tam_Taml x"] * 4)
    return folder


def measure(system: Path, config: OffTargetConfig | None = None) -> dict[str, OffTarget]:
    root = system.parent
    rows = measure_off_target(
        find_batches([system], root / "flores", "devtest", root / "texts"),
        root / "lid",
        load_by_first_word,
        root / "out",
        config or OffTargetConfig(),
        1,
    )
    return {str(row.direction): row for row in rows}


def test_rate_is_over_lines_that_are_not_empty(system: Path) -> None:
    row = measure(system)["eng_Latn-bos_Latn"]
    assert (row.n, row.empty, row.off_target) == (3, 1, 2)
    assert row.off_target_rate == pytest.approx(2 / 3)
    assert row.identified == "eng_Latn:1 hrv_Latn:1"


def test_references_are_the_floor_and_make_the_groups(system: Path) -> None:
    row = measure(system)["eng_Latn-bos_Latn"]
    assert row.reference_rate == pytest.approx(1 / 4)
    assert (row.outside_group, row.outside_group_rate) == (1, pytest.approx(1 / 3))
    written = json.loads((system.parent / "out" / "off_target.json").read_text())
    assert written["groups"] == [["bos_Latn", "hrv_Latn"]]
    assert written["references"]["bos_Latn"] == {"bos_Latn": 3, "hrv_Latn": 1}


def test_unsure_answers_are_off_target_and_counted_by_themselves(system: Path) -> None:
    row = measure(system)["eng_Latn-rus_Cyrl"]
    assert (row.n, row.off_target, row.unknown, row.no_language) == (4, 3, 1, 1)


def test_script_is_judged_without_the_identifier(system: Path) -> None:
    row = measure(system)["eng_Latn-rus_Cyrl"]
    # "rus_Cyrl по-русски всё верно": 7 Latin letters, 16 Cyrillic; the others are all Latin.
    assert (row.off_script, row.off_script_rate) == (3, pytest.approx(3 / 4))
    assert row.reference_script_rate == 0.0


def test_language_that_the_identifier_does_not_know_is_not_measured(system: Path) -> None:
    row = measure(system)["eng_Latn-tam_Taml"]
    assert (row.off_target, row.off_target_rate, row.reference_rate) == (None, None, None)
    written = json.loads((system.parent / "out" / "off_target.json").read_text())
    assert written["not_measured"] == ["tam_Taml"]
    means = written["systems"]["mine"]["off_target_rate"]
    assert (means["n"], means["n_missing"]) == (2, 1)
    assert means["mean"] == pytest.approx((2 / 3 + 3 / 4) / 2)


def test_groups_are_connected_and_unsure_answers_link_nothing() -> None:
    confusions = {
        "a": {"a": 90, "b": 10},
        "b": {"b": 95, "c": 5},
        "c": {"c": 50, "und": 50},
        "d": {"d": 96, "a": 4},
        "e": {"und": 100},
    }
    groups = confusable_groups(confusions, 0.05)
    assert groups["a"] == groups["b"] == groups["c"] == {"a", "b", "c"}
    assert (groups["d"], groups["e"]) == ({"d"}, {"e"})


@pytest.mark.parametrize(
    ("line", "script", "is_other"),
    [
        ("日本語の文", "Jpan", False),
        ("中文", "Jpan", False),
        ("漢字 English words everywhere", "Hant", True),
        ("한국어와 漢字", "Hang", False),
        ("1234 — 5678!", "Cyrl", False),
        ("", "Cyrl", False),
        ("Ⰰ Ⰱ", "Cyrl", True),  # Glagolitic: a script the package does not list
        ("नमस्ते दुनिया", "Deva", False),
        ("a\ufe0f\u0301", "Latn", False),
    ],
)
def test_line_is_in_another_script_by_its_letters(line: str, script: str, is_other: bool) -> None:
    assert lines_in_other_script([line], script, 0.5) == is_other
    assert lines_in_other_script(["x" if script != "Latn" else "я", line], script, 0.5) == (
        1 + is_other
    )


def test_missing_model_and_short_hypotheses_are_named(system: Path) -> None:
    write_lines(system / "eng_Latn-bos_Latn.txt", ["bos_Latn a"])
    with pytest.raises(JobError, match=r"eng_Latn-bos_Latn\.txt has 1 lines .* has 4"):
        measure(system)
    (system.parent / "lid" / "model.bin").unlink()
    with pytest.raises(UserError, match="is not a language identifier"):
        measure(system)


def test_new_direction_is_not_mixed_silently_into_old_results(system: Path) -> None:
    measure(system)
    write_lines(system / "rus_Cyrl-bos_Latn.txt", TEXTS["bos_Latn"])
    with pytest.raises(UserError, match="sources"):
        measure(system)


def test_check_command_hands_the_identifier_in(system: Path) -> None:
    root = system.parent
    arguments = [
        "check", "--hypotheses", str(system), "--flores", str(root / "flores"),
        "--output", str(root / "out"), "--lid", str(root / "lid"),
    ]  # fmt: skip
    result = CliRunner().invoke(
        group, arguments, obj={"load_identifier": load_by_first_word}, catch_exceptions=False
    )
    assert "off_target_rate" in result.stdout
    header = read_lines(root / "out" / "off_target.tsv")[0]
    assert header.split("\t") == list(OffTarget._fields)
