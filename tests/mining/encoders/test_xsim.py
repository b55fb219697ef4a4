from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import UserError
from corpus.files import read_json
from mining.embeddings import Float32
from mining.encoders import xsim
from mining.encoders.embed_config import XsimConfig
from mining.encoders.xsim import XsimResult, measure_xsim, xsim_error
from mining.encoders.xsim_page import render_xsim, write_xsim
from mining.encoders.xsim_plus_plus import alter_sentences

ENGLISH = [
    "The 3,500 people in Paris agreed with Angela Merkel on Monday.",
    "He was born in London before the war.",
    "It can rise by 20% in seven years.",
    "We did not see the old house in New York.",
]


class LetterCounts:
    """Counts letters: a changed word moves a sentence, and word order does not."""

    dimension = 128

    def encode(self, sentences: Sequence[str], language: str = "") -> Float32:
        rows = np.array(
            [np.bincount([ord(c) % 128 for c in text + " "], minlength=128) for text in sentences],
            np.float32,
        )
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def flores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """English; the same words the other way round; and the same but for digits and capitals."""
    texts = {
        "eng_Latn": ENGLISH,
        "qaa_Latn": [" ".join(reversed(text.split())) for text in ENGLISH],
        "qab_Latn": ["".join(c for c in text if c.islower()) for text in ENGLISH],
    }
    for language, lines in texts.items():
        path = tmp_path / "devtest" / f"{language}.devtest"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setattr(xsim, "load_encoder", lambda *_, **__: LetterCounts())
    monkeypatch.setattr(xsim, "encoder_space", lambda path: "one")
    return tmp_path


def test_altered_sentences_mean_something_else_and_are_the_same_every_time() -> None:
    altered = alter_sentences(ENGLISH)
    assert altered == alter_sentences(ENGLISH)
    texts = [one.text for one in altered]
    assert len(set(texts)) == len(texts)
    assert not set(texts) & set(ENGLISH)
    assert {one.kind for one in altered} == {"number", "entity", "causality"}
    made = {(one.row, one.kind): one.text for one in altered}
    assert "He was not born in London before the war." in texts
    assert "He was born in London after the war." in texts
    assert "It cannot rise by 20% in seven years." in texts
    assert "It can fall by 20% in seven years." in texts
    assert "It can rise by 20% in ten years." in texts
    assert "We did see the old house in New York." in texts
    assert any("on Thursday." in text for text in texts)
    assert made[0, "entity"].startswith("The 3,500 people in ")
    assert any(one.kind == "number" and one.row == 0 and "3,500" not in one.text for one in altered)


def test_numbers_keep_their_form() -> None:
    altered = [one.text for one in alter_sentences(["From 1999 to 12:45, 3.5 of 007."])]
    assert len(altered) == 4
    for text in altered:
        assert [len(word) for word in text.split()] == [4, 4, 2, 6, 3, 2, 4]


@settings(max_examples=50)
@given(st.lists(st.text(max_size=60), max_size=6))
def test_any_text_can_be_altered(texts: list[str]) -> None:
    altered = alter_sentences(texts)
    assert not {one.text for one in altered} & set(texts)
    assert all(0 <= one.row < len(texts) for one in altered)


def test_hard_negatives_can_only_add_errors(flores: Path) -> None:
    config = XsimConfig(neighbors=2, hard_negatives=True, margin="absolute")
    measured = measure_xsim(flores, flores, "devtest", config)
    assert measured.mean_error == 0.0
    assert measured.hard is not None
    # The reversed words have the letters of the sentence itself; without digits and capitals a
    # sentence with another number is as near.
    assert measured.hard.pairs["qaa_Latn-eng_Latn"] == 0.0
    assert measured.hard.pairs["qab_Latn-eng_Latn"] > 0.0
    for direction, kinds in measured.hard.kinds.items():
        assert sum(kinds.values()) == pytest.approx(measured.hard.pairs[direction])
    assert sum(measured.hard.altered.values()) == len(alter_sentences(ENGLISH))


def test_result_says_only_what_was_measured(flores: Path, tmp_path: Path) -> None:
    plain = measure_xsim(flores, flores, "devtest", XsimConfig(neighbors=2))
    assert set(plain.as_json()) == {"mean_error", "pairs"}
    hard = measure_xsim(flores, flores, "devtest", XsimConfig(neighbors=2, hard_negatives=True))
    write_xsim(tmp_path / "out", hard, "letters on <devtest>")
    assert read_json(tmp_path / "out" / "xsim.json") == hard.as_json()
    lines = (tmp_path / "out" / "xsim.tsv").read_text(encoding="utf-8").split("\n")
    assert lines[0].split("\t")[:3] == ["direction", "xsim", "xsim++"]
    assert [line.split("\t")[0] for line in lines[1:-1]] == [*hard.pairs, "mean"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "&lt;devtest&gt;" in page
    assert page.count("<svg") == 2
    assert "http" not in page.replace("http-equiv", "")


def test_page_shows_the_worst_language_first() -> None:
    pairs = {"fra_Latn-eng_Latn": 0.1, "deu_Latn-eng_Latn": 0.7}
    page = render_xsim(XsimResult(mean_error=0.4, pairs=pairs), "x")
    assert page.index("German (deu_Latn)") < page.index("French (fra_Latn)")


def test_hard_negatives_need_english(flores: Path) -> None:
    config = XsimConfig(directions=("eng_Latn-qaa_Latn",), hard_negatives=True)
    with pytest.raises(UserError, match="no direction is into it"):
        measure_xsim(flores, flores, "devtest", config)


def test_more_targets_than_sources_are_candidates_too() -> None:
    # By hand: the first source is nearer to the extra target than to its own.
    source = np.eye(3, dtype=np.float32)
    own = np.array([[0.6, 0.8, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    extra = source[:1]
    target = np.concatenate([own, extra])
    assert xsim_error(source, target, neighbors=4, margin="absolute") == pytest.approx(1 / 3)
