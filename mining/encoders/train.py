"""Contrastive training of an encoder on bitext, on a CPU, the same bytes for the same seed."""

import functools
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from corpus.console import Progress
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.languages import Direction
from mining.encoders.bag import BagEncoder, BagModel, make_extractor, save_bag
from mining.encoders.bitext import (
    Int64,
    TrainingPairs,
    read_training_pairs,
    sampling_plan,
    split_validation,
    training_files,
)
from mining.encoders.config import BagConfig, TrainEncoderConfig
from mining.encoders.features import Bags, prepare
from mining.encoders.negatives import HardNegatives

logger = logging.getLogger(__name__)

_WARM_UP_SHARE = 0.05
_DENSE_LEARNING_RATE_SHARE = 0.2
_EPSILON = 1e-8


def run_train_encoder(bitext: Sequence[Path], output: Path, config: TrainEncoderConfig) -> Summary:
    """Train an encoder on bitext directories and write its directory.

    Raises:
        UserError: If a directory is missing or holds no bitext.
    """
    task = Task(name="encoder", inputs=training_files(bitext))
    work = functools.partial(_train_task, bitext=tuple(bitext), output=output, config=config)
    return run_job(name="train-encoder", tasks=[task], work=work, output=output, config=config)


def _train_task(
    task: Task, *, bitext: Sequence[Path], output: Path, config: TrainEncoderConfig
) -> Outcome:
    pairs = read_training_pairs(bitext)
    trained = train_bag(pairs, config)
    save_bag(
        output,
        trained.model,
        trained.subwords,
        config.bag,
        directions=sorted(str(direction) for direction in pairs.pairs),
        validation_errors=trained.validation_errors,
        seed=config.seed,
    )
    counts = {
        "pairs": sum(len(rows) for rows in pairs.pairs.values()),
        "directions": len(pairs.pairs),
        "updates": trained.updates,
    }
    names = ("encoder.json", "subwords.model", "weights.safetensors")
    return Outcome(counts=counts, outputs=tuple(output / name for name in names))


@dataclass(frozen=True, kw_only=True)
class TrainedBag:
    """What training gives."""

    model: BagModel
    subwords: bytes
    validation_errors: dict[str, float]
    updates: int


def train_subwords(sentences: Sequence[str], bag: BagConfig) -> bytes:
    """Train a SentencePiece model and return it serialized."""
    model = io.BytesIO()
    texts = [prepare(sentence, bag.max_characters) for sentence in sentences]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=bag.vocabulary_size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        model_type="unigram",
        normalization_rule_name="identity",
        num_threads=1,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    return model.getvalue()


def train_bag(pairs: TrainingPairs, config: TrainEncoderConfig) -> TrainedBag:
    """Train a bag encoder with InfoNCE and an additive margin, negatives from the batch."""
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    training, validation = split_validation(pairs, config.validation_share, config.seed)
    held_out = {row for rows in validation.values() for row in rows.ravel().tolist()}
    subwords = train_subwords(
        [text for row, text in enumerate(pairs.sentences) if row not in held_out], config.bag
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=subwords)
    extractor = make_extractor(processor, config.bag)
    model = BagModel(extractor.rows, config.bag.dimension, config.bag.hidden)
    bags = extractor.extract(pairs.sentences)
    plan = sampling_plan(
        training,
        epochs=config.epochs,
        batch_size=config.batch_size,
        temperature=config.temperature,
        seed=config.seed,
    )
    logger.info(
        "training on %s pairs of %d directions: %s sentences, %s feature rows, %s updates",
        f"{sum(len(rows) for rows in training.values()):,}",
        len(training),
        f"{len(pairs.sentences):,}",
        f"{extractor.rows:,}",
        f"{len(plan):,}",
    )
    trainer = _Trainer(model, config, len(plan))
    encoder = BagEncoder(model, extractor, config.threads)
    hard = HardNegatives(training, config.hard_negatives, config.seed)
    with Progress(len(plan), "train-encoder", "updates") as progress:
        for number, (direction, rows) in enumerate(plan):
            if number in hard.refresh_points(len(plan)):
                hard.refresh(encoder, bags)
            trainer.update(bags, rows, hard.draw(direction, rows))
            progress.update()
    errors = _validation_errors(encoder, bags, validation)
    return TrainedBag(model=model, subwords=subwords, validation_errors=errors, updates=len(plan))


def _validation_errors(
    encoder: BagEncoder, bags: Bags, validation: dict[Direction, Int64]
) -> dict[str, float]:
    """Return the share of held-out sources whose nearest target is not their own."""
    errors = {}
    for direction, rows in validation.items():
        if len(rows) < 2:
            continue
        source, target = (encoder.encode_bags(bags.take(rows[:, side])) for side in (0, 1))
        nearest = (source @ target.T).argmax(axis=1)
        errors[str(direction)] = float((nearest != np.arange(len(rows))).mean())
    if errors:
        worst = max(errors, key=lambda direction: errors[direction])
        logger.info(
            "validation error %.4f over %d directions, worst %s %.4f",
            sum(errors.values()) / len(errors),
            len(errors),
            worst,
            errors[worst],
        )
    return errors


class _Trainer:
    """One model, its optimizer state, one update after the other.

    A batch touches few rows of the feature table. They are gathered, differentiated as a small
    dense table, and written back with row-wise Adagrad (one accumulator a row; Duchi et al. 2011),
    which costs a tenth of a dense Adam step over the whole table. The MLP has Adam.
    """

    def __init__(self, model: BagModel, config: TrainEncoderConfig, updates: int) -> None:
        self._model = model
        self._config = config
        self._updates = updates
        self._done = 0
        self._rng = np.random.default_rng((config.seed, 2))
        self._squares = torch.zeros(model.embeddings.shape[0])
        model.embeddings.requires_grad_(False)
        dense = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.Adam(dense)

    def _learning_rate(self) -> float:
        warm_up = max(1.0, _WARM_UP_SHARE * self._updates)
        share = min((self._done + 1) / warm_up, 1 - self._done / self._updates)
        return self._config.learning_rate * share

    def update(self, bags: Bags, rows: Int64, negatives: Int64) -> None:
        """Take one step on the pairs whose rows of `bags` are given, [B, 2].

        `negatives` are rows of more sentences in the language of the sources.
        """
        batch = bags.take(np.concatenate([rows[:, 0], negatives, rows[:, 1]])).drop(
            self._config.feature_dropout, self._rng
        )
        used, compact = np.unique(batch.ids, return_inverse=True)
        used_rows = torch.from_numpy(used.astype(np.int64))
        table = self._model.embeddings[used_rows].requires_grad_(True)
        vectors = self._model(
            table, torch.from_numpy(compact.astype(np.int32)), torch.from_numpy(batch.starts).int()
        )
        source, negative, target = vectors.split([len(rows), len(negatives), len(rows)])
        loss = contrastive_loss(
            source,
            target,
            negative,
            torch.from_numpy(rows),
            torch.from_numpy(negatives),
            margin=self._config.margin,
            scale=self._config.scale,
        )
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        rate = self._learning_rate()
        for group in self._optimizer.param_groups:
            group["lr"] = rate * _DENSE_LEARNING_RATE_SHARE
        self._optimizer.step()
        self._step_rows(used_rows, table, rate)
        self._done += 1

    @torch.no_grad()
    def _step_rows(self, rows: Tensor, table: Tensor, rate: float) -> None:
        gradient = table.grad
        assert gradient is not None
        squares = self._squares[rows] + gradient.square().mean(dim=1)
        self._squares[rows] = squares
        step = rate / (squares.sqrt() + _EPSILON)
        self._model.embeddings[rows] = table.detach() - gradient * step.unsqueeze(1)


def contrastive_loss(
    source: Tensor,
    target: Tensor,
    negative: Tensor,
    rows: Tensor,
    negative_rows: Tensor,
    *,
    margin: float,
    scale: float,
) -> Tensor:
    """Return the additive-margin InfoNCE loss of both directions (Yang et al. 2019).

    -log(exp(s (cos_ii - m)) / (exp(s (cos_ii - m)) + sum over j of exp(s cos_ij)))

    Args:
        source: Unit vectors, [B, D].
        target: Unit vectors of their translations, [B, D].
        negative: Unit vectors of sentences that the targets are told from besides, [H, D].
        rows: Which sentences these are, [B, 2]; another pair with the same source or target
            is no negative.
        negative_rows: Which sentences the negatives are, [H].
        margin: m above.
        scale: s above.
    """
    count = len(rows)
    logits = scale * (source @ target.T - margin * torch.eye(count))
    is_same = (rows[:, :1] == rows[:, 0]) | (rows[:, 1:] == rows[:, 1])
    is_same.fill_diagonal_(False)
    logits = logits.masked_fill(is_same, -torch.inf)
    more = (scale * (target @ negative.T)).masked_fill(rows[:, :1] == negative_rows, -torch.inf)
    labels = torch.arange(count)
    backward = F.cross_entropy(torch.cat([logits.T, more], dim=1), labels)
    return 0.5 * (F.cross_entropy(logits, labels) + backward)
