"""`mining probability`: how likely a pair is a translation, learned from planted pairs."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import DataError, JobError, UserError
from corpus.records import read_bitext, write_bitext
from mining.bitext import probability as module
from mining.bitext.config import FilterConfig, ProbabilityConfig
from mining.bitext.filter import FilterInputs, run_filter
from mining.bitext.hard_negatives import change_number, drop_part
from mining.bitext.numbers import numbers_of
from mining.bitext.pair_features import Rivals, text_features, vector_features
from mining.bitext.probability import ProbabilityInputs, run_probability, shift_prior

WORDS = [a + b + c for a in "bdfgklmn" for b in "aeiou" for c in ("r", "st", "nt", "l")]
CYRILLIC = str.maketrans("abdefgiklmnorstu", "абдефгиклмнорсту")
LATIN = str.maketrans({new: old for old, new in CYRILLIC.items()})


class WordVectors:
    """An encoder whose vectors are means of random vectors of words; numbers hardly matter."""

    dimension = 48

    def encode(self, sentences: Sequence[str], language: str = "") -> np.ndarray:
        rows = [
            sum(self._word(word) for word in text.translate(LATIN).split()) for text in sentences
        ]
        matrix = np.array(rows, np.float32)
        return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)

    def _word(self, word: str) -> np.ndarray:
        weight = 0.2 if word.strip(".").isdigit() else 1.0
        seed = sum(ord(letter) * 31**place for place, letter in enumerate(word)) % 2**32
        return weight * np.random.default_rng(seed).standard_normal(self.dimension)


def sentences(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join([*rng.sample(WORDS, 8), str(rng.randrange(100, 999))]) for _ in range(count)]


def bitext(folder: Path) -> tuple[Path, np.ndarray]:
    """Write 150 translations, 100 pairs of unlike sentences and 30 with another number."""
    right = [(text, text.translate(CYRILLIC)) for text in sentences(150, 1)]
    unlike = zip(sentences(100, 2), sentences(100, 3), strict=True)
    wrong = [(a, b.translate(CYRILLIC)) for a, b in unlike]
    rng = random.Random(4)
    numbers = [
        (text, str(change_number(text, rng)).translate(CYRILLIC)) for text in sentences(30, 5)
    ]
    rows = [*right, *wrong, *numbers]
    sides = [pa.array(list(side)) for side in zip(*rows, strict=True)]
    path = folder / "qaa_Latn-qac_Cyrl.parquet"
    scores = pa.array(np.linspace(1.3, 1.0, len(rows)), pa.float32())
    write_bitext(path, pa.table({"score": scores, "source": sides[0], "target": sides[1]}))
    known = [f"{text}\t{text.translate(CYRILLIC)}\n" for text in sentences(200, 6)]
    (folder / "known.tsv").write_text("".join(known), encoding="utf-8")
    return path, np.arange(len(rows)) < len(right)


@pytest.fixture
def _encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setattr(module, "load_encoder", lambda *_, **__: WordVectors())
    monkeypatch.setattr(module, "pair_encoder_files", lambda *_, **__: ())


@pytest.mark.usefixtures("_encoder")
@pytest.mark.parametrize("is_known", [True, False])
def test_translations_are_probable_and_the_doubt_names_what_is_wrong(
    tmp_path: Path, is_known: bool
) -> None:
    path, is_right = bitext(tmp_path)
    known = tmp_path / "known.tsv" if is_known else None
    output = tmp_path / "out" / path.name
    inputs = ProbabilityInputs(encoder=Path("encoder"), known=known)
    counts = run_probability(path, output, inputs, ProbabilityConfig()).counts
    table = read_bitext(output)
    probability = table.column("probability").to_numpy()
    doubt = np.array(table.column("doubt").to_pylist())
    assert (probability[is_right] > 0.5).mean() > 0.95
    assert (probability[150:250] < 0.5).mean() > 0.95
    if is_known:
        assert (probability[250:] < 0.5).mean() > 0.8
        assert set(doubt[250:]) <= {"", "numbers", "digits"}
    else:  # the best margins are all that it learns from
        assert probability[250:].mean() < probability[:150].mean() - 0.1
    assert not any(doubt[probability >= 0.5])
    # Without known pairs, those with another number pass for right.
    assert counts["expected_right"] == pytest.approx(150 if is_known else 170, abs=15)
    assert counts["learned.number"] == counts["learned.right"]
    assert sum(n for name, n in counts.items() if name.startswith("doubt.")) == sum(doubt != "")
    # The columns that were there stay as they were.
    assert table.select(["score", "source", "target"]).equals(read_bitext(path))


@pytest.mark.usefixtures("_encoder")
def test_too_few_pairs_to_learn_from_are_an_error(tmp_path: Path) -> None:
    path, _ = bitext(tmp_path)
    (tmp_path / "few.tsv").write_text("bar\tбар\n", encoding="utf-8")
    inputs = ProbabilityInputs(encoder=Path("encoder"), known=tmp_path / "few.tsv")
    with pytest.raises(JobError, match="1 pairs to learn from are too few; 40 are needed"):
        run_probability(path, tmp_path / "o" / path.name, inputs, ProbabilityConfig())


def test_known_pair_has_the_features_of_the_same_pair_mined() -> None:
    # By hand, k = 2: the pair's own .8 joins both neighborhoods, (.8 + .4) / 2 = .6 and
    # (.8 + .2) / 2 = .5; margin .8 / .55.
    rivals = Rivals(
        np.array([0.8], np.float32),
        np.array([[0.4, 0.3]], np.float32),
        np.array([[0.2, 0.1]], np.float32),
    )
    assert vector_features(rivals)[0] == pytest.approx([0.8 / 0.55, 0.8, 0.4, 0.6])


def test_text_features_of_a_pair_that_agrees_are_zero() -> None:
    rows = text_features(
        ["In 1962 he paid 45 euros?", "He paid 457 euros"],
        ["В 1962 году он отдал 45 €?", "Он отдал 623 евро!"],
        26 / 25,
        None,
    )
    length, _, numbers, digits, copy, ending = rows[0]
    assert (round(length, 1), numbers, digits, copy, ending) == (0, 0, 0, 0, 0)
    assert rows[1][2] == 1.0
    assert rows[1][3] == 1.0
    assert rows[1][5] == 1.0


@given(st.text(max_size=60), st.integers(0, 99))
def test_negatives_differ_from_what_they_are_made_of(text: str, seed: int) -> None:
    changed = change_number(text, random.Random(seed))
    if changed is not None:
        assert len(changed) == len(text)
        assert changed != text
    shorter = drop_part(text, random.Random(seed))
    assert shorter is None or 0 < len(shorter) < len(text)


def test_numbers_are_changed_in_their_script_and_parts_end_at_commas() -> None:
    rng = random.Random(1)
    assert numbers_of(str(change_number("सन् १९६२ में", rng))) != numbers_of("सन् १९६२ में")
    assert drop_part("When it rained, we stayed at home all day.", rng) in (
        "When it rained", "we stayed at home all day.",
    )  # fmt: skip
    assert drop_part("short", rng) is None


def test_share_of_right_pairs_is_estimated_from_the_pairs() -> None:
    rng = np.random.default_rng(1)
    is_right = rng.random(4000) < 0.1
    # Log likelihood ratios of unit normals at +1.5 and -1.5 are 3 x.
    logits = 3 * (rng.standard_normal(4000) + np.where(is_right, 1.5, -1.5))
    probability = shift_prior(logits, 0.5)
    assert probability.mean() == pytest.approx(0.1, abs=0.02)
    high = (probability > 0.4) & (probability < 0.8)
    assert probability[high].mean() == pytest.approx(is_right[high].mean(), abs=0.15)


def test_filter_rejects_by_probability_and_by_scores_of_other_tools(tmp_path: Path) -> None:
    path = tmp_path / "deu_Latn-eng_Latn.tsv"
    rows = [
        "source\ttarget\tprobability\tcometkiwi",
        "Ein Haus steht da\tA house stands there\t0.9\t0.8",
        "Er geht nach Hause\tHe is going home\t0.2\t0.9",
        "Sie liest ein Buch\tShe is reading a book\t0.8\t0.3",
    ]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    config = FilterConfig(min_probability=0.5, min_quality={"cometkiwi": 0.5})
    counts = run_filter(path, tmp_path / "o" / path.name, FilterInputs(), config).counts
    found = [counts[name] for name in ("kept", "rejected.improbable", "rejected.low_quality")]
    assert found == [1, 1, 1]
    missing = FilterConfig(min_quality={"bicleaner": 0.5})
    with pytest.raises((UserError, JobError), match="no column `bicleaner` to filter by; it has"):
        run_filter(path, tmp_path / "p" / path.name, FilterInputs(), missing)
    words = FilterConfig(min_quality={"source": 0.5})
    with pytest.raises((DataError, JobError), match="the column `source` is not of numbers"):
        run_filter(path, tmp_path / "q" / path.name, FilterInputs(), words)
