import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.evaluation_sets import (
    CONTAINED,
    SAME,
    EvaluationSentences,
    _rolling_hashes,
)
from corpus.text import sentence_key

ENGLISH = "On Monday scientists announced a new tool that sorts cells by their type."
CHINESE = "周一科学家宣布发明了一种新的诊断工具，可以按类型对细胞进行分类。"
OTHERS = [
    "Nothing here is like any of the sentences of the evaluation set.",
    "今天天气很好。",
]


def reasons(sentences: list[str], *lines: str, share: float = 0.5) -> list[str]:
    return EvaluationSentences(sentences).reasons([sentence_key(line) for line in lines], share)


def test_same_sentence_is_found_whatever_its_case_punctuation_and_numbers() -> None:
    shouted = ENGLISH.upper().replace(",", " –")
    assert reasons([ENGLISH, CHINESE], shouted, ENGLISH, *OTHERS) == [SAME, SAME, "", ""]
    assert reasons(["It has 12 rooms."], "it has 99 rooms") == [SAME]


@pytest.mark.parametrize("sentence", [ENGLISH, CHINESE])
def test_part_of_a_sentence_and_a_sentence_inside_more_text_are_found(sentence: str) -> None:
    half = sentence[: 2 * len(sentence) // 3]
    longer = f"{OTHERS[0]} {sentence} {OTHERS[0]}"
    assert reasons([sentence], half, longer, OTHERS[0]) == [CONTAINED, CONTAINED, ""]


def test_share_is_of_the_shorter_sentence_and_decides() -> None:
    # A stretch of 46 letters in two sentences of about 110.
    common = "the committee of the united nations met in geneva to"
    left = f"Last week {common} talk of the rain, of the harvest and of the price of bread."
    right = f"It is said that {common} choose a new head, which took all of them by surprise."
    assert reasons([left], right, share=0.5) == [""]
    assert reasons([left], right, share=0.3) == [CONTAINED]


def test_common_phrase_is_no_leak() -> None:
    assert reasons([ENGLISH], "On Monday scientists announced that they had lost their keys.") == [
        ""
    ]


def test_short_sentences_are_compared_as_wholes_only() -> None:
    assert reasons(["Good morning to you."], "Good morning to you. How are you?") == [""]


def test_sentence_without_letters_leaks_nothing() -> None:
    assert reasons(["", "!!!"], "", "...", "text") == ["", "", ""]


def test_phrase_of_very_many_evaluation_sentences_is_counted_within_bounds() -> None:
    sentences = [f"According to the report of the ministry of health {i:b}" for i in range(500)]
    (found,) = reasons(
        sentences, "According to the report of the ministry of health nothing is new."
    )
    assert found == CONTAINED


@settings(max_examples=25)
@given(st.lists(st.integers(0, 0x10FFFF), min_size=24, max_size=60), st.integers(1, 24))
def test_rolling_hash_of_a_place_depends_on_its_characters_only(codes: list[int], n: int) -> None:
    array = np.array(codes, np.uint32)
    rolled = _rolling_hashes(array, n)
    assert len(rolled) == len(codes) - n + 1
    for i in range(len(rolled)):
        assert rolled[i] == _rolling_hashes(array[i : i + n], n)[0]


@settings(max_examples=25)
@given(st.text(max_size=40), st.lists(st.text(max_size=40), max_size=5))
def test_any_text_can_be_looked_up(line: str, sentences: list[str]) -> None:
    (found,) = reasons(sentences, line)
    assert (found == SAME) == (
        sentence_key(line) in {key for key in map(sentence_key, sentences) if key}
    )
