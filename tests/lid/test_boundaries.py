"""Values exactly at a threshold, and next to it."""

import math
import random

import numpy as np
import pytest

from corpus.errors import UserError
from lid.config import CalibrationConfig, MeasureConfig, TrainConfig
from lid.directory import Threshold
from lid.engine.engines import Engine
from lid.engine.kernel import CHARACTERS, COUNTS, EMPTY, NO_LETTERS, SECOND, Answers
from lid.engine.preparation import MAX_CHARACTERS, prepare
from lid.identifier import LanguageIdentifier, Ranked
from lid.measuring.measurement import explain, resource_level
from lid.training import noise
from lid.training.calibration import HeldOut, choose_thresholds, trace_thresholds
from lid.training.data import crop, sample_sizes, split_validation


class Fixed(Engine):
    """Answers every line with class 0 and the score that the line says."""

    def identify(self, lines: list[str], top: int = 1) -> Answers:
        counts = np.zeros((len(lines), COUNTS), np.int32)
        counts[:, CHARACTERS] = [{"": EMPTY, "1": NO_LETTERS}.get(line, 10) for line in lines]
        counts[:, SECOND] = -1
        scores = np.array([[float(line or 0)] for line in lines], np.float32)
        return Answers(np.zeros((len(lines), 1), np.int32), scores, counts)


def test_score_at_its_threshold_is_accepted() -> None:
    one = LanguageIdentifier(Fixed(), ["eng_Latn"], {"eng_Latn": Threshold(score=0.5)}, {})
    below = float(np.nextafter(np.float32(0.5), np.float32(0)))
    assert [a.language for a in one.identify(["0.5", repr(below)])] == ["eng_Latn", "und"]
    assert one.apply_threshold(Ranked("eng_Latn", 0.5, 0.0)).language == "eng_Latn"
    assert one.apply_threshold(Ranked("eng_Latn", below, 0.0)).language == "und"


def test_familiarity_at_its_threshold_is_accepted() -> None:
    # A class without a profile has familiarity 0.
    for need, answer in ((0.0, "eng_Latn"), (1e-9, "und")):
        threshold = {"eng_Latn": Threshold(familiarity=need)}
        one = LanguageIdentifier(Fixed(), ["eng_Latn"], threshold, {})
        assert one.identify(["0.5"])[0].language == answer
        assert one.apply_threshold(Ranked("eng_Latn", 0.5, 0.0)).language == answer


def test_empty_line_is_unknown_and_one_without_letters_is_no_language() -> None:
    one = LanguageIdentifier(Fixed(), ["eng_Latn"], {}, {})
    assert one.identify(["", "1"]) == [("und", 0.0), ("zxx", 1.0)]


def test_line_is_read_to_its_two_thousandth_character() -> None:
    assert prepare("a" * MAX_CHARACTERS + "b") == "a" * MAX_CHARACTERS
    assert prepare("a" * (MAX_CHARACTERS - 1) + "bc") == "a" * (MAX_CHARACTERS - 1) + "b"


def test_run_without_spaces_is_cut_after_four_letters_if_more_follow() -> None:
    assert [prepare("水" * n) for n in (4, 5, 8, 9)] == [
        "水水水水",
        "水水水水 水",
        "水水水水 水水水水",
        "水水水水 水水水水 水",
    ]


def test_resource_levels_begin_at_their_number_of_lines() -> None:
    levels = {5_000: "high", 4_999: "low", 500: "low", 499: "very low", 0: "very low"}
    assert {lines: resource_level(lines) for lines in levels} == levels


def test_language_with_half_its_lines_right_is_not_explained() -> None:
    scores = {"n": 10, "precision": 0.5, "recall": 0.5, "fpr": 0.0}
    for f1, explained in ((0.5, False), (math.nextafter(0.5, 0), True)):
        found = explain({("eng_Latn", "eng_Latn"): 5}, {"eng_Latn": {**scores, "f1": f1}}, {})
        assert bool(found) == explained


def test_precision_at_its_target_is_enough() -> None:
    # Scores .9, .8, .7, .6, right but for the second: precision 1, 1/2, 2/3, 3/4.
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    held = HeldOut(
        np.stack([scores, 1 - scores], axis=1),
        np.array([0, 1, 0, 0]),
        np.full(4, 0.25),
        ["eng_Latn", "fra_Latn"],
    )
    for target, expected in ((0.75, 0.0), (0.7500001, 0.9)):
        config = CalibrationConfig(target_precision=target, min_threshold=0.0, max_threshold=1.0)
        assert choose_thresholds(held, config)["eng_Latn"].score == pytest.approx(expected)


def test_curve_keeps_a_line_at_the_threshold() -> None:
    held = HeldOut(np.array([[0.5, 0.5]], np.float32), np.array([0]), np.ones(1), ["a", "b"])
    kept = {point["threshold"]: point["kept"] for point in trace_thresholds(held)}
    assert (kept[0.5], kept[0.55]) == (1, 0)


def test_validation_holds_out_its_share_and_no_more_than_its_lines() -> None:
    lines = [f"line {n}" for n in range(50)]
    assert split_validation(lines, 0.0, 10) == (lines, [])
    assert [len(part) for part in split_validation(lines, 1.0, 10)] == [40, 10]
    assert split_validation(lines, 1.0, 50) == (lines, [])  # something must be left to learn
    assert split_validation(lines, 1.0, 0) == (lines, [])


def test_language_is_drawn_at_most_its_repeats_and_at_least_once() -> None:
    assert sample_sizes({"a": 2, "b": 2}, 100, 1.0, 6) == {"a": 12, "b": 12}
    assert sample_sizes({"a": 2, "b": 2}, 24, 1.0, 6) == {"a": 12, "b": 12}
    assert sample_sizes({"a": 1, "b": 10_000}, 10, 1.0, 6) == {"a": 1, "b": 10}


def test_line_of_as_many_words_as_a_crop_stays_whole() -> None:
    generator = np.random.default_rng(1)
    assert crop(["a"], 1.0, 1, generator) == ["a"]
    assert crop(["a b"], 1.0, 1, generator)[0] in ("a", "b")
    assert crop(["a b"], 0.0, 1, generator) == ["a b"]


def test_decoding_that_damages_a_fifth_of_the_characters_is_noise() -> None:
    # In Latin-1 each é becomes two wrong characters: 2 of 10 are damaged, or 2 of 11.
    class Chance(random.Random):
        def randrange(self, *_: int) -> int:  # type: ignore[override]
            return 0

        def random(self) -> float:
            return 0.5

    assert noise._mojibake(Chance(), "abcdefghé") == "abcdefghÃ©"
    assert noise._mojibake(Chance(), "abcdefghié") == ""


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("crop_share", 0, 1), ("validation_share", 0, 1), ("strip_share", 0, 1),
     ("profile_bits", 8, 26), ("threads", 11, None), ("dim", 1, None), ("epochs", 1, None),
     ("sampled_lines", 1, None), ("max_repeats", 1, None), ("profile_lines", 1, None),
     ("max_crop_words", 1, None), ("counted_characters", 1, None), ("buckets_per_class", 1, None),
     ("max_buckets", 1, None), ("length_exponent", 0, None), ("word_min_count", 0, None),
     ("max_validation_lines", 0, None)],
)  # fmt: skip
def test_training_value_at_its_bound_is_taken_and_next_to_it_refused(
    name: str, least: int, most: int | None
) -> None:
    for value in (least, most if most is not None else least):
        assert getattr(TrainConfig(**{name: value}), name) == value  # type: ignore[arg-type]
    for value in (least - 1, most + 1 if most is not None else least - 1):
        with pytest.raises(UserError, match=name):
            TrainConfig(**{name: value})  # type: ignore[arg-type]


def test_value_that_must_be_above_zero_is_refused_at_zero() -> None:
    for name in ("learning_rate", "sampling_temperature"):
        with pytest.raises(UserError, match=name):
            TrainConfig(**{name: 0.0})  # type: ignore[arg-type]
        assert TrainConfig(**{name: 1e-9})  # type: ignore[arg-type]
    assert TrainConfig(min_ngram=4, max_ngram=4)
    with pytest.raises(UserError, match="max_ngram"):
        TrainConfig(min_ngram=5, max_ngram=4)


def test_calibration_and_measurement_values_at_their_bounds() -> None:
    assert CalibrationConfig(min_threshold=0.0, max_threshold=1.0, target_precision=1.0)
    assert CalibrationConfig(min_threshold=0.5, max_threshold=0.5, target_precision=0.0)
    for values in (
        {"min_threshold": -0.01},
        {"max_threshold": 1.01},
        {"target_precision": 1.01},
        {"target_precision": -0.01},
        {"min_threshold": 0.6, "max_threshold": 0.5},
    ):
        with pytest.raises(UserError):
            CalibrationConfig(**values)  # type: ignore[arg-type]
    assert MeasureConfig(confusions=0, trials=1)
    for values in ({"confusions": -1}, {"trials": 0}):
        with pytest.raises(UserError):
            MeasureConfig(**values)  # type: ignore[arg-type]
