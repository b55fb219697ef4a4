"""Each rule of the filters at its threshold: what reaches it exactly, and what just misses it."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from corpus.errors import JobError, UserError
from corpus.evaluation_sets import EvaluationSentences
from corpus.languages import Direction
from corpus.protocols import Prediction
from corpus.records import BITEXT_SCHEMA, read_bitext, write_bitext
from corpus.terms import TermMatcher
from corpus.text import script_share
from mining.bitext.config import FilterConfig
from mining.bitext.filter import FilterInputs, run_filter
from mining.bitext.numbers import numbers_agree, numbers_of
from mining.bitext.pairs import lengths_fit, trigram_overlap
from mining.bitext.rules import Knowledge, PairFilter

RUSSIAN = Direction("eng_Latn", "rus_Cyrl")
GOOD = ("The house stands by the river.", "Дом стоит у самой реки.")


def reason(
    source: str, target: str, config: FilterConfig | None = None, *, score: float = 1.5,
    **known: object,
) -> str:  # fmt: skip
    table = pa.table({"score": [np.float32(score)], "source": [source], "target": [target]})
    knowledge = Knowledge(length_ratio=1.0, **known)  # type: ignore[arg-type]
    return PairFilter(knowledge, config or FilterConfig()).reasons(table)[0]


def above(score: float) -> float:
    return float(np.nextafter(np.float32(score), np.float32(np.inf)))


def below(score: float) -> float:
    return float(np.nextafter(np.float32(score), np.float32(-np.inf)))


def test_a_score_of_exactly_either_bound_is_kept() -> None:
    config = FilterConfig(min_score=1.25, max_score=1.75)
    found = [reason(*GOOD, config, score=score) for score in (below(1.25), 1.25, 1.75, above(1.75))]
    assert found == ["score_too_low", "", "", "score_too_high"]


def test_lengths_at_exactly_the_ratio_fit_either_way() -> None:
    # Five characters are added to each: 20 against 10, and 10 against 20.
    for source, target in ((5, 15), (15, 5)):
        assert lengths_fit("a" * source, "b" * target, 1.0, 2.0)
    assert not lengths_fit("a" * 5, "b" * 16, 1.0, 2.0)
    assert not lengths_fit("a" * 16, "b" * 5, 1.0, 2.0)
    assert reason("ab cd", "яж фгц щш ъьэюё") == ""
    assert reason("ab cd", "яж фгц щш ъьэюёя") == "length_ratio"


def test_a_pair_that_shares_exactly_the_most_trigrams_is_no_copy() -> None:
    # By hand: abc bcd against abc bcx.
    assert trigram_overlap("abcd", "abcx") == 0.5
    assert reason("abcd", "abcx", FilterConfig(max_overlap=0.5)) == ""
    assert reason("abcd", "abcx", FilterConfig(max_overlap=0.49)) == "copy"
    assert reason("abcd", "abcd", FilterConfig(max_overlap=1.0)) == ""


def test_trigrams_begin_at_three_characters() -> None:
    assert trigram_overlap("abc", "abcd") == 1.0  # abc of abc bcd
    assert trigram_overlap("ab", "ab") == 1.0
    assert trigram_overlap("ab", "abc") == 0.0  # ab is not a trigram of abc


def test_a_side_with_exactly_the_least_share_of_its_script_is_kept() -> None:
    mixed = "дом abc"
    assert script_share(mixed, "Cyrl") == 0.5
    for side in ((GOOD[0], mixed), (mixed, "дом стоит")):
        pair = ("house a", side[1]) if side[0] == GOOD[0] else side
        config = FilterConfig(max_overlap=1.0, max_length_ratio=9)
        stricter = FilterConfig(max_overlap=1.0, max_length_ratio=9, min_script_share=0.51)
        assert reason(*pair, config, direction=RUSSIAN) == ""
        assert reason(*pair, stricter, direction=RUSSIAN) == "wrong_script"


def test_numbers_at_exactly_the_least_agreement_agree() -> None:
    # By hand: four of eight digits.
    assert numbers_agree("1234 and 5678", "1234", 0.5)
    assert not numbers_agree("1234 and 5678", "1234", 0.51)
    assert numbers_agree("1234 and 5678", "1234", 0.0)


def test_two_digits_are_too_few_to_compare_and_three_are_not() -> None:
    assert numbers_agree("12 dogs", "dogs", 0.5)
    assert not numbers_agree("123 dogs", "dogs", 0.5)


def test_one_digit_is_no_number_and_two_are() -> None:
    assert list(numbers_of("7 of 42")) == ["42"]


@pytest.mark.parametrize(
    ("year", "other", "agrees"),
    [
        # By hand, 0.970224 AH + 621.5774: 1300 begins in 1882, 1500 in 2076.
        ("1300", "1881", True), ("1300", "1882", True), ("1300", "1883", True),
        ("1300", "1880", False), ("1300", "1884", False), ("1500", "2076", True),
        ("1299", "1881", False), ("1501", "2077", False),
        ("2400", "1857", True), ("2600", "2057", True), ("2400", "1858", False),
        ("2399", "1856", False), ("2601", "2058", False),
    ],
)  # fmt: skip
def test_calendars_are_told_by_the_years_they_are_used_in(
    year: str, other: str, agrees: bool
) -> None:
    assert numbers_agree(f"in {year}", f"in {other}", 1.0) is agrees
    assert numbers_agree(f"in {other}", f"in {year}", 1.0) is agrees


def test_sides_may_differ_by_exactly_the_most_words_of_the_lists() -> None:
    lists = {
        code: TermMatcher(terms, code)
        for code, terms in {"eng_Latn": ["darn"], "rus_Cyrl": ["чёрт"]}.items()
    }
    two, three = "Darn, darn it, I say.", "Darn, darn, darn it."
    for config, text, expected in (
        (FilterConfig(), two, ""),
        (FilterConfig(), three, "toxicity"),
        (FilterConfig(max_toxicity_difference=0), "Dear me, I say it.", ""),
        (FilterConfig(max_toxicity_difference=0), "Darn, I say it.", "toxicity"),
    ):
        found = reason(text, "Вот это да и как.", config, direction=RUSSIAN, toxicity=lists)
        assert found == expected, text


class Says:
    languages = ("fra_Latn",)

    def __init__(self, score: float) -> None:
        self._score = score

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        return [Prediction("fra_Latn", self._score) for _ in lines]


@pytest.mark.parametrize(
    ("score", "expected"), [(0.75, "wrong_language"), (math.nextafter(0.75, 0), "")]
)
def test_another_language_counts_from_exactly_its_least_score(score: float, expected: str) -> None:
    config = FilterConfig(min_other_language_score=0.75)
    assert reason(*GOOD, config, direction=RUSSIAN, identifier=Says(score)) == expected


def test_a_sentence_may_be_in_exactly_the_most_pairs() -> None:
    others = ["Слово номер раз.", "Слово номер два.", "Слово номер три."]
    table = pa.table({"source": ["A word and a number."] * 3, "target": others})
    for most, expected in ((3, ["", "", ""]), (2, ["", "", "repeated_source"])):
        config = FilterConfig(max_pairs_per_sentence=most)
        assert PairFilter(Knowledge(length_ratio=1.0), config).reasons(table) == expected


def test_a_sentence_that_shares_exactly_the_share_with_an_evaluation_sentence_is_kept() -> None:
    # N-grams of 24 letters at every sixth place: the first 24 of 48 letters are half of them.
    known = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuv"
    half = known[:24] + "0zyxwvutsrqponmlkjihgfe"[:24].replace("0", "я")
    evaluation = EvaluationSentences([known])
    assert evaluation.reasons([half + "q"], 0.5) == [""]
    assert evaluation.reasons([half + "q"], 0.49) == ["evaluation_containment"]


@pytest.mark.parametrize(
    ("setting", "accepted", "refused"),
    [
        ("max_length_ratio", 1.001, 1.0),
        ("max_toxicity_difference", 0, -1),
        ("max_pairs_per_sentence", 1, 0),
        ("max_overlap", 1.0, 1.001),
        ("max_overlap", 0.0, -0.001),
        ("evaluation_containment", 1.0, 1.001),
        ("evaluation_containment", 0.001, 0.0),
        ("min_script_share", 1.0, 1.001),
        ("min_number_agreement", 0.0, -0.001),
        ("min_other_language_score", 1.0, 1.001),
        ("min_score", 10.0, 10.001),
    ],
)
def test_settings_are_accepted_up_to_their_bounds(
    setting: str, accepted: float, refused: float
) -> None:
    FilterConfig(**{setting: accepted})  # type: ignore[arg-type]
    with pytest.raises(UserError, match=setting):
        FilterConfig(**{setting: refused})  # type: ignore[arg-type]


def test_a_bound_of_the_score_needs_scores(tmp_path: Path) -> None:
    path = tmp_path / "eng_Latn-rus_Cyrl.tsv"
    path.write_text(f"source\ttarget\tnote\n{GOOD[0]}\t{GOOD[1]}\t1.0\n", encoding="utf-8")
    output = tmp_path / "out" / "eng_Latn-rus_Cyrl.parquet"
    for config in (FilterConfig(min_score=1.05), FilterConfig(max_score=1.25)):
        with pytest.raises(UserError, match=r"no column `score`.*it has source, target, note"):
            run_filter(path, output, FilterInputs(), config)
    assert not output.exists()
    run_filter(path, output, FilterInputs(), FilterConfig())
    assert read_bitext(output).num_rows == 1


def test_a_bound_of_the_score_needs_a_score_of_every_pair(tmp_path: Path) -> None:
    path = tmp_path / "eng_Latn-rus_Cyrl.parquet"
    rows = [{"source": GOOD[0], "target": GOOD[1], "score": score} for score in (1.2, None)]
    write_bitext(path, pa.Table.from_pylist(rows, schema=BITEXT_SCHEMA))
    output = tmp_path / "out" / path.name
    with pytest.raises(JobError, match=r"eng_Latn-rus_Cyrl\.parquet has pairs without a score"):
        run_filter(path, output, FilterInputs(), FilterConfig(min_score=1.05))
    assert not output.exists()
