"""The compiled trainer: what it writes, and that threads do not change it."""

from pathlib import Path

import numpy as np
import pytest

from lid.engine.kernel import is_compiled
from lid.engine.trainer import NgramTrainer
from lid.fasttext_model.bindings import FastTextModel
from lid.fasttext_model.write_model import write_ngram_model
from tests.lid.conftest import WORDS, make_sentences

pytestmark = pytest.mark.skipif(not is_compiled(), reason="the compiled trainer was not built")

BUCKETS = 3_001


def fit(threads: int, classes: int = len(WORDS)) -> NgramTrainer:
    lines = [line for code in WORDS for line in make_sentences(code, 40)]
    labels = np.repeat(np.arange(len(WORDS), dtype=np.int32), 40)
    order = np.random.default_rng(3).permutation(len(lines))
    trainer = NgramTrainer(
        buckets=BUCKETS,
        dim=24,
        classes=classes,
        min_ngram=1,
        max_ngram=4,
        threads=threads,
        seed=1,
    )
    for rate in (0.8, 0.4):
        trainer.learn([lines[i] for i in order], labels[order], rate, rate / 2)
    return trainer


def test_any_number_of_threads_learns_the_same() -> None:
    one, three, seven = fit(1), fit(3), fit(7)
    for other in (three, seven):
        assert np.array_equal(one.rows, other.rows)
        assert np.array_equal(one.output, other.output)


def test_model_is_read_by_fasttext_and_knows_its_classes(tmp_path: Path) -> None:
    trainer = fit(2)
    write_ngram_model(
        tmp_path / "model.bin",
        trainer.rows,
        trainer.output,
        list(WORDS),
        lines=[40] * len(WORDS),
        min_ngram=1,
        max_ngram=4,
        epochs=2,
    )
    model = FastTextModel(tmp_path / "model.bin")
    assert [label.removeprefix("__label__") for label in model.labels] == list(WORDS)
    lines = [line for code in WORDS for line in make_sentences(code, 20, 900)]
    found, _ = model.predict(lines, 1)
    assert found[:, 0].tolist() == np.repeat(np.arange(len(WORDS)), 20).tolist()


def test_two_thousand_classes_learn_and_empty_lines_teach_nothing() -> None:
    trainer = fit(2, classes=2_000)
    assert np.isfinite(trainer.rows).all()
    assert (np.abs(trainer.output[: len(WORDS)]).max(axis=1) > 0.1).all()
    before = trainer.rows.copy(), trainer.output.copy()
    trainer.learn(["", ""], np.array([0, 1_999], np.int32), 0.8, 0.8)
    assert np.array_equal(before[0], trainer.rows)
    assert np.array_equal(before[1], trainer.output)


def test_one_update_matches_the_formula() -> None:
    trainer = NgramTrainer(
        buckets=11, dim=8, classes=3, min_ngram=2, max_ngram=2, threads=1, seed=5
    )
    trainer.output[:] = np.random.default_rng(2).normal(size=(3, 8))
    rows, output = trainer.rows.astype(np.float64), trainer.output.astype(np.float64)
    trainer.learn(["ab"], np.array([1], np.int32), 0.5, 0.5)
    used = [fnv("<a") % 11, fnv("ab") % 11, fnv("b>") % 11]
    hidden = rows[used].mean(axis=0)
    odds = np.exp(output @ hidden)
    delta = 0.5 * ((np.arange(3) == 1) - odds / odds.sum())
    for row in used:
        rows[row] += delta @ output / 3
    assert trainer.rows == pytest.approx(rows, abs=1e-6)
    assert trainer.output == pytest.approx(output + np.outer(delta, hidden), abs=1e-6)


def fnv(text: str) -> int:
    found = 2_166_136_261
    for byte in text.encode():
        found = (found ^ byte) * 16_777_619 % 2**32
    return found
