"""Calls into fastText: training, quantization and prediction. No other module imports it.

fastText trusts its input: a truncated model file crashes the process, an empty line gets an answer
of .996, `predict` fails on NumPy 2, a newline inside a line raises. So files are checked before it
sees them (`lid.fasttext_model.model_file`), lines are prepared before it sees them, and its
bindings are called directly.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
from fasttext import FastText
from numpy.typing import NDArray

from lid.fasttext_model.model_file import check_weights, read_fasttext_file

NO_WORDS = 2_000_000_000
"""A word minimum count that no word reaches: only character n-grams get vectors, so `</s>`
gets none either (an empty line then says nothing)."""

_PARTS_OF_TWO = 2


def fit(training_file: Path, model_file: Path, settings: Mapping[str, Any]) -> None:
    """Train a fastText classifier and save it. Call it in a process of its own.

    Args:
        training_file: Lines `__label__<class> <prepared text>`.
        model_file: Where the model goes.
        settings: dim, min_ngram, max_ngram, buckets, learning_rate, epochs, threads, seed,
            word_min_count.
    """
    model = fasttext.train_supervised(
        input=str(training_file),
        dim=settings["dim"],
        minn=settings["min_ngram"],
        maxn=settings["max_ngram"],
        bucket=settings["buckets"],
        lr=settings["learning_rate"],
        epoch=settings["epochs"],
        thread=settings["threads"],
        seed=settings["seed"],
        minCount=settings["word_min_count"] or NO_WORDS,
        loss="softmax",
        verbose=2,
    )
    model.save_model(str(model_file))


def quantize(model_file: Path, quantized_file: Path) -> None:
    """Write a model with product-quantized n-gram vectors. Call it in a process of its own."""
    read_fasttext_file(model_file)
    model = FastText.load_model(str(model_file))
    model.quantize(retrain=False, qnorm=True, dsub=_PARTS_OF_TWO)
    model.save_model(str(quantized_file))


class FastTextModel:
    """A model loaded by fastText. Lines given to it must be prepared and hold a letter."""

    def __init__(self, model_file: Path) -> None:
        """Load a model file after checking all that fastText reads of it.

        Raises:
            DataError: If it is not a fastText classifier, or damaged.
        """
        head = read_fasttext_file(model_file)
        check_weights(head)
        self.labels = head.labels
        self._index = {label: number for number, label in enumerate(head.labels)}
        self._binding = FastText.fasttext.fasttext()
        self._binding.loadModel(str(model_file))

    def predict(
        self, lines: Sequence[str], top: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the numbers of the best `top` labels and their probabilities, each [N, top].

        Labels fastText leaves out are -1 with probability 0.
        """
        texts = [line + "\n" for line in lines]
        labels, values = self._binding.multilinePredict(texts, top, 0.0, "strict")
        sizes = np.fromiter(map(len, labels), np.int64, len(labels))
        ranks = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        places = np.repeat(np.arange(len(lines)), sizes), ranks
        numbers = np.full((len(lines), top), -1, np.int32)
        scores = np.zeros((len(lines), top), np.float32)
        found = map(self._index.__getitem__, itertools.chain.from_iterable(labels))
        numbers[places] = np.fromiter(found, np.int32, len(ranks))
        scores[places] = np.fromiter(itertools.chain.from_iterable(values), np.float32, len(ranks))
        return numbers, np.minimum(scores, np.float32(1))
