"""Temperature, thresholds, and the copy of a model that `tongues lid calibrate` writes."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from click.testing import CliRunner

from corpus.errors import UserError
from corpus.files import digest_file, write_lines
from lid.calibrate import calibrate
from lid.cli import group
from lid.config import CalibrationConfig
from lid.directory import read_thresholds
from lid.identifier import LanguageIdentifier, Ranked
from lid.training.calibration import (
    HeldOut,
    choose_familiarity,
    choose_temperature,
    choose_thresholds,
    measure_reliability,
    trace_thresholds,
)
from tests.lid.conftest import WORDS, make_sentences


def make_held(logits: np.ndarray, truth: list[int]) -> HeldOut:
    whole = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = (whole / whole.sum(axis=1, keepdims=True)).astype(np.float32)
    weights = np.full(len(truth), 1 / len(truth))
    classes = ["eng_Latn", "fra_Latn", "rus_Cyrl"][: logits.shape[1]]
    return HeldOut(probabilities, np.array(truth), weights, classes)


def temper(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probabilities whose logits are divided by a temperature."""
    with np.errstate(divide="ignore"):
        powers = np.exp(np.log(probabilities.astype(np.float64)) / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def test_temperature_undoes_overconfidence() -> None:
    # Answers drawn from the probabilities of the logits; a model that trebles them is three times
    # too sure.
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(4_000, 3)) * 2
    honest = make_held(logits, [0] * len(logits)).probabilities.astype(float)
    truth = [int(generator.choice(3, p=row / row.sum())) for row in honest]
    held = make_held(3 * logits, truth)
    temperature = choose_temperature(held)
    assert temperature == pytest.approx(3.0, rel=0.1)
    before = measure_reliability(held).ece
    after = measure_reliability(
        replace(
            held,
            probabilities=temper(held.probabilities, temperature).astype(np.float32),
        )
    ).ece
    assert before > 0.1
    assert after < 0.03


def test_calibration_error_matches_a_hand_calculation() -> None:
    # Two bins: four answers with .9 of which three are right, one with .6 that is wrong.
    held = make_held(np.log(np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]])), [0, 0, 0, 1, 1])
    reliability = measure_reliability(held)
    assert reliability.ece == pytest.approx(0.8 * 0.15 + 0.2 * 0.6, abs=1e-6)
    assert [one["n"] for one in reliability.bins] == [1, 4]


def test_threshold_is_the_lowest_that_keeps_the_target_precision() -> None:
    # Answers `eng_Latn` by score: right, right, wrong, right, wrong: precision 1, 1, 2/3, 3/4, 3/5.
    scores = [0.95, 0.9, 0.8, 0.7, 0.6]
    held = make_held(np.log(np.array([[s, 1 - s] for s in scores])), [0, 0, 1, 0, 1])
    for target, expected in ((0.9, 0.9), (0.75, 0.7), (0.5, 0.1)):
        config = CalibrationConfig(target_precision=target, min_threshold=0.1, max_threshold=0.99)
        thresholds = choose_thresholds(held, config)
        assert thresholds["eng_Latn"].score == pytest.approx(expected, abs=1e-6)
    assert thresholds["fra_Latn"].score == 0.1
    assert thresholds["eng_Latn"].familiarity == CalibrationConfig().min_familiarity


def test_sister_counts_as_right_where_thresholds_are_chosen() -> None:
    held = make_held(np.log(np.array([[0.9, 0.1], [0.8, 0.2]])), [1, 1])
    config = CalibrationConfig(groups=("eng_Latn,fra_Latn",))
    assert choose_thresholds(held, config)["eng_Latn"].score == 0.3
    with pytest.raises(UserError, match="occurs twice"):
        CalibrationConfig(groups=("eng_Latn,fra_Latn", "fra_Latn,deu_Latn"))


def test_class_that_never_reaches_the_target_needs_the_highest_threshold() -> None:
    held = make_held(np.log(np.array([[0.9, 0.1], [0.8, 0.2]])), [1, 1])
    thresholds = choose_thresholds(held, CalibrationConfig())
    assert thresholds["eng_Latn"].score == CalibrationConfig().max_threshold


def test_threshold_curve_keeps_less_and_starts_with_everything() -> None:
    logits = np.random.default_rng(1).normal(size=(200, 3))
    held = make_held(logits, [0] * 200)
    curve = trace_thresholds(held)
    kept = [point["kept"] for point in curve]
    assert kept[0] == pytest.approx(1.0)
    assert kept == sorted(kept, reverse=True)


def test_recalibrated_copy_has_tempered_scores_in_both_engines(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for language in WORDS:
        write_lines(tmp_path / "data" / f"{language}.txt", make_sentences(language, 40, 50_000))
    before = {path.name: digest_file(path) for path in model.iterdir() if path.is_file()}
    calibrate(model, tmp_path / "data", tmp_path / "copy", CalibrationConfig(min_threshold=0.4))
    after = {path.name: digest_file(path) for path in model.iterdir() if path.is_file()}
    assert before == after
    old, new = LanguageIdentifier.load(model), LanguageIdentifier.load(tmp_path / "copy")
    kind = json.loads((tmp_path / "copy" / "model.json").read_text())
    was = json.loads((model / "model.json").read_text())
    temperature = kind["temperature"] / was["temperature"]
    lines = [line[:8] for line in make_sentences("fra_Latn", 20, 60_000)]
    expected = temper(old.probabilities(lines), temperature)
    assert new.probabilities(lines) == pytest.approx(expected, abs=2e-3)
    monkeypatch.setattr("lid.identifier.is_compiled", lambda: False)
    plain = LanguageIdentifier.load(tmp_path / "copy")
    # Classes whose script is absent are left out of the answer, not of the probabilities' sum.
    assert plain.rank(lines)[0].score == pytest.approx(new.rank(lines)[0].score, abs=1e-2)
    assert not math.isclose(temperature, 1.0)


class Familiar:
    """An identifier to which a line is as familiar as it says, `language familiarity`."""

    def rank(self, lines: Sequence[str]) -> list[Ranked]:
        return [Ranked(line.split()[0], 0.9, float(line.split()[1])) for line in lines]


def test_language_needs_the_familiarity_of_which_a_share_of_its_lines_fall_short() -> None:
    lines = {
        "eng_Latn": [f"eng_Latn {n / 100}" for n in range(101)],
        "fra_Latn": [f"fra_Latn {-n}" for n in range(4)] + ["eng_Latn -9"] * 50,  # not its own
        "zxx": ["zxx 5"],
        "deu_Latn": [],
    }
    needs = choose_familiarity(cast(LanguageIdentifier, Familiar()), lines, 0.2)
    # A fifth of English lines are below .2, of French ones below -2.4, of all 105 lines (-3, -2,
    # -1, 0, 0, .01, .02, ...: number 20.8) below .168; each is drawn to all by fifty lines.
    assert needs == {
        "eng_Latn": pytest.approx((101 * 0.2 + 50 * 0.168) / 151),
        "fra_Latn": pytest.approx((4 * -2.4 + 50 * 0.168) / 54),
    }


def test_calibrated_copy_needs_other_familiarity_of_each_language(
    model: Path, tmp_path: Path
) -> None:
    for language in WORDS:
        write_lines(tmp_path / "data" / f"{language}.txt", make_sentences(language, 60, 50_000))
    config = CalibrationConfig(rejected_share=0.2)
    calibrate(model, tmp_path / "data", tmp_path / "copy", config)
    thresholds = read_thresholds(tmp_path / "copy" / "thresholds.tsv")
    assert len({thresholds[language].familiarity for language in WORDS}) == len(WORDS)


def test_calibration_into_the_model_itself_or_without_its_languages_is_refused(
    model: Path, tmp_path: Path
) -> None:
    for language in ("kor_Hang", "ell_Grek"):
        write_lines(tmp_path / "data" / f"{language}.txt", ["강물과 사람들"])
    with pytest.raises(UserError, match="is the model itself"):
        calibrate(model, tmp_path / "data", model, CalibrationConfig())
    result = CliRunner().invoke(
        group,
        [
            "calibrate",
            "--model",
            str(model),
            "--data",
            str(tmp_path / "data"),
            "--output",
            str(tmp_path / "copy"),
        ],
    )
    assert result.exit_code != 0
    assert not (tmp_path / "copy" / "checksums.json").exists()
