import pytest

from nmt.translation.decoding.minimum_risk import most_agreeing, pairwise_chrf

TEXTS = [
    "The cat sat on the mat.", "the cat, sat on a mat", "Un chat !", "x", "", "(12) 猫は座った。",
    "The cat sat on the mat . The cat", "ab",
]  # fmt: skip


def test_utility_is_chrf_of_sacrebleu() -> None:
    metrics = pytest.importorskip("sacrebleu.metrics")
    chrf = metrics.CHRF(word_order=2)
    expected = [[chrf.sentence_score(a, [b]).score for b in TEXTS] for a in TEXTS]
    found = pairwise_chrf(TEXTS)
    for i, row in enumerate(expected):
        assert found[i].tolist() == pytest.approx(row, abs=1e-9)


def test_text_in_the_middle_of_the_others_is_taken_and_repeats_count() -> None:
    assert most_agreeing(["a b c d", "a b x d", "a b c y", "q q q"]) == 0
    assert most_agreeing(["one", "two words", "two words"]) == 1
    assert most_agreeing(["same", "same"]) == 0
    assert most_agreeing(["", ""]) == 0
