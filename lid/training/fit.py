"""Fit the n-gram vectors and classes of a model to drawn lines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corpus.console import Progress
from lid.config import TrainConfig
from lid.engine.trainer import NgramTrainer
from lid.fasttext_model.write_model import write_ngram_model

_CHUNK_LINES = 20_000
_MOST_THREADS = 16
"""More threads than lines of a batch have nothing to do."""


def fit_compiled(
    model_file: Path,
    lines: Sequence[str],
    labels: NDArray[np.int32],
    classes: Sequence[str],
    config: TrainConfig,
) -> None:
    """Learn from lines in order, `epochs` times, with all cores, and write the model file.

    The result is the same with any number of threads.

    Args:
        model_file: Where the model goes.
        lines: Prepared lines, N.
        labels: Their class numbers, [N].
        classes: Names of the classes.
        config: The model's shape, its learning rate and epochs.
    """
    trainer = NgramTrainer(
        buckets=min(config.max_buckets, config.buckets_per_class * len(classes)),
        dim=config.dim,
        classes=len(classes),
        min_ngram=config.min_ngram,
        max_ngram=config.max_ngram,
        threads=min(_cores(), _MOST_THREADS),
        seed=config.seed,
    )
    whole = config.epochs * len(lines)
    with Progress(whole, "training", "lines") as progress:
        for epoch in range(config.epochs):
            for start in range(0, len(lines), _CHUNK_LINES):
                chunk = lines[start : start + _CHUNK_LINES]
                done = epoch * len(lines) + start
                first, last = (
                    config.learning_rate * (1 - at / whole) for at in (done, done + len(chunk))
                )
                trainer.learn(chunk, labels[start : start + len(chunk)], first, last)
                progress.update(len(chunk))
    drawn = np.bincount(labels, minlength=len(classes)).tolist()
    write_ngram_model(
        model_file,
        trainer.rows,
        trainer.output,
        classes,
        lines=drawn,
        min_ngram=config.min_ngram,
        max_ngram=config.max_ngram,
        epochs=config.epochs,
    )


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
