"""Contrastive training of an encoder on bitext, reproducible for a given seed."""

import functools
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corpus.config import plain_config, without_execution
from corpus.files import digest_file
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.languages import Direction
from mining.encoders.architectures import ARCHITECTURES, new_learner
from mining.encoders.bitext import (
    Int64,
    TrainingPairs,
    read_training_pairs,
    sampling_plan,
    split_validation,
    training_files,
)
from mining.encoders.config import EncoderTrainingConfig, TrainEncoderConfig
from mining.encoders.learners import BagLearner, Learner
from mining.encoders.loop import (
    STATE_FILE,
    Loop,
    LoopSettings,
    Trained,
    Validation,
    learning_rate,
)
from mining.encoders.losses import contrastive_loss
from mining.encoders.negatives import HardNegatives
from mining.encoders.spectral import spectral_vectors
from mining.encoders.xsim import xsim_error

logger = logging.getLogger(__name__)

TRAIN_JOB, TRAIN_TASK = "train-encoder", "encoder"
_VALIDATION_NEIGHBORS = 4
_WHITENING_PAIRS = 500
_WHITENING_STREAM = 5


def run_train_encoder(bitext: Sequence[Path], output: Path, config: TrainEncoderConfig) -> Summary:
    """Train an encoder on bitext directories and write its directory.

    Raises:
        UserError: If a directory is missing or holds no bitext, or the state of an interrupted run
            is of another one.
    """
    task = Task(name=TRAIN_TASK, inputs=training_files(bitext))
    work = functools.partial(_train_task, bitext=tuple(bitext), output=output, config=config)
    return run_job(name=TRAIN_JOB, tasks=[task], work=work, output=output, config=config)


def _train_task(
    task: Task, *, bitext: Sequence[Path], output: Path, config: TrainEncoderConfig
) -> Outcome:
    pairs = read_training_pairs(bitext, columns=config.columns)
    settings = loop_settings(TRAIN_JOB, task, output, config)
    learner, trained = train_encoder(pairs, config, settings)
    facts = {
        "directions": sorted(str(direction) for direction in pairs.pairs),
        **trained.as_facts(),
        "seed": config.seed,
    }
    outputs = learner.save(output, facts=facts)
    settings.state_file.unlink(missing_ok=True)
    counts = {
        "pairs": sum(len(rows) for rows in pairs.pairs.values()),
        "directions": len(pairs.pairs),
        "updates": trained.updates,
    }
    return Outcome(counts=counts, outputs=outputs)


def loop_settings(
    name: str, task: Task, output: Path, config: EncoderTrainingConfig
) -> LoopSettings:
    """Return how often the run of a command validates and saves, and where."""
    values = without_execution(config, plain_config(config))
    parts = [values, dict(task.arguments), *map(digest_file, task.inputs)]
    text = json.dumps(parts, sort_keys=True)
    return LoopSettings(
        name=name,
        validations=config.validations,
        patience=config.patience,
        checkpoint_updates=config.checkpoint_updates,
        state_file=output / STATE_FILE,
        identity=hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest(),
    )


def train_encoder(
    pairs: TrainingPairs, config: TrainEncoderConfig, settings: LoopSettings
) -> tuple[Learner, Trained]:
    """Train an encoder with InfoNCE and an additive margin, negatives from the batch."""
    training, validation = split_validation(pairs, config.validation_share, config.seed)
    learner = new_learner(config.architecture, training_texts(pairs, validation), config)
    tokens = learner.extract(pairs.sentences)
    if isinstance(learner, BagLearner) and config.start == "spectral":
        known = np.concatenate(list(training.values()))
        table = learner.model.embeddings
        learner.start_from(spectral_vectors(tokens, known, table, config.seed))
    plan = sampling_plan(
        training,
        epochs=config.epochs,
        batch_size=config.batch_size,
        temperature=config.temperature,
        seed=config.seed,
    )
    log_plan(pairs, training, learner, len(plan))
    hard = HardNegatives(training, config.hard_negatives, config.seed)
    peak = config.learning_rate or ARCHITECTURES[config.architecture].learning_rate

    def step(number: int) -> None:
        direction, rows = plan[number]
        if number in hard.refresh_points(len(plan)):
            hard.refresh(learner, tokens)
        negatives = hard.draw(direction, rows, number)
        batch = tokens.take(np.concatenate([rows[:, 0], negatives, rows[:, 1]]))
        loss = functools.partial(_pair_loss, rows=rows, negatives=negatives, config=config)
        learner.update(batch, loss, number=number, rate=learning_rate(number, len(plan), peak))

    def validate() -> Validation | None:
        return validation_of(
            {
                direction: tuple(
                    learner.encode_tokens(tokens.take(rows[:, side])) for side in (0, 1)
                )
                for direction, rows in validation.items()
                if len(rows) > 1
            }
        )

    trained = Loop(learner, settings, len(plan), hard).run(step, validate)
    if isinstance(learner, BagLearner):
        learner.whiten(tokens, whitening_rows(training, config.seed), config.bag.whitening)
    return learner, trained


def whitening_rows(training: dict[Direction, Int64], seed: int) -> Int64:
    """Return sentences to measure variances on: both sides of some pairs of each direction."""
    rng = np.random.default_rng((seed, _WHITENING_STREAM))
    parts = [
        rows[rng.permutation(len(rows))[:_WHITENING_PAIRS]].ravel() for rows in training.values()
    ]
    return np.concatenate(parts)


def _pair_loss(
    vectors: Tensor, *, rows: Int64, negatives: Int64, config: TrainEncoderConfig
) -> Tensor:
    """Return the loss of a batch: sources, hard negatives, targets."""
    source, negative, target = torch.split(vectors, [len(rows), len(negatives), len(rows)])
    return contrastive_loss(
        source,
        target,
        negative,
        torch.from_numpy(rows).to(vectors.device),
        torch.from_numpy(negatives).to(vectors.device),
        margin=config.margin,
        scale=config.scale,
    )


def training_texts(pairs: TrainingPairs, validation: dict[Direction, Int64]) -> list[str]:
    """Return the sentences that are not held out."""
    held_out = {row for rows in validation.values() for row in rows.ravel().tolist()}
    return [text for row, text in enumerate(pairs.sentences) if row not in held_out]


def log_plan(
    pairs: TrainingPairs, training: dict[Direction, Int64], learner: Learner, updates: int
) -> None:
    """Log what is about to be done."""
    logger.info(
        "training on %s pairs of %d directions: %s sentences, %s parameters, %s updates",
        f"{sum(len(rows) for rows in training.values()):,}",
        len(training),
        f"{len(pairs.sentences):,}",
        f"{sum(one.numel() for one in learner.model.parameters()):,}",
        f"{updates:,}",
    )


def validation_of(vectors: dict[Direction, tuple[Any, ...]]) -> Validation | None:
    """Return xsim by direction and the mean distance of pairs; None where nothing is held out.

    Args:
        vectors: Unit vectors of held-out sources and of their targets, [n, D] each.
    """
    if not vectors:
        return None
    errors = {
        str(direction): xsim_error(
            source, target, neighbors=min(_VALIDATION_NEIGHBORS, len(source)), margin="ratio"
        )
        for direction, (source, target) in vectors.items()
    }
    distances = [1 - float((a * b).sum(axis=1).mean()) for a, b in vectors.values()]
    return Validation(errors=errors, distance=sum(distances) / len(distances))
