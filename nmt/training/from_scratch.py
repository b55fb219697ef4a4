"""What a training with fresh weights does where its recipe leaves `updates` open.

Size, batches, schedule and validation are chosen by the number of pairs and by whether there is a
GPU, once; `from_scratch.json` beside the checkpoints keeps the choice, so that a resumed training
ends where it would have ended. What the recipe gives stays as it is given.

The row of some ten thousand pairs on a processor was measured on Multi30k (docs/experiments.md);
the others lie between it and published settings (decision 0111).
"""

import dataclasses
import logging
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from corpus.bitext import BitextReader
from corpus.config import REQUIRED
from corpus.languages import Direction
from nmt.data.config import BatchConfig
from nmt.data.tokenize import bitext_inputs, trained_ways
from nmt.model.config import DEFAULT_SIZE, ModelConfig, named_config, named_fields
from nmt.threads import find_device
from nmt.training.config import OptimizerConfig, ResolvedTrainConfig, TrainConfig, resolve
from nmt.training.fine_tuning import FILLED, intervals
from nmt.training.sections import SelectionConfig
from nmt.training.validation_data import covered_directions
from nmt.vocabulary.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

DECISIONS_FILE = "from_scratch.json"


@dataclass(frozen=True, kw_only=True)
class Level:
    """Settings for fewer than a number of pairs."""

    pairs: float
    cpu_size: str
    gpu_size: str
    cpu_tokens: int
    """Positions of a batch on a processor, where many small updates learn most in a given time."""

    gpu_tokens: int
    dropout_p: float


LEVELS = (
    Level(pairs=20_000, cpu_size="small_dense", gpu_size="small_dense",
          cpu_tokens=1000, gpu_tokens=2048, dropout_p=0.3),
    Level(pairs=100_000, cpu_size="small_dense", gpu_size="small_dense",
          cpu_tokens=1500, gpu_tokens=4096, dropout_p=0.2),
    Level(pairs=1_000_000, cpu_size="small_dense", gpu_size="medium",
          cpu_tokens=2048, gpu_tokens=8192, dropout_p=0.1),
    Level(pairs=10_000_000, cpu_size="medium", gpu_size="base",
          cpu_tokens=4096, gpu_tokens=16_384, dropout_p=0.1),
    Level(pairs=float("inf"), cpu_size="medium", gpu_size="big",
          cpu_tokens=8192, gpu_tokens=32_768, dropout_p=0.1),
)  # fmt: skip

_EPOCHS, _EPOCH_PAIRS = 20, 50_000
"""Epochs of a number of pairs on a processor; they fall with the square root of the number."""

_CPU_EPOCHS, _GPU_EPOCHS = (2, 40), (4, 80)
"""Fewest and most; a GPU trains for twice as many, as its updates take more pairs."""

_FEWEST_UPDATES, _MOST_UPDATES = 200, 300_000
"""The most are NLLB-200's."""

_UPDATES_STEP = 100
"""Updates are a multiple, so that twenty validations divide them, and reports those."""

_MOST_WARMUP, _WARMUP_SHARE = 4000, 10
_LEARNING_RATE, _WIDTH = 3e-3, 128
"""The rate of a width; at others it goes with the square root."""

_HELD_OUT = 500
"""Pairs of a direction that are held out for validation, about; a twentieth of them at most, a
thousandth at least."""

_MOST_HELD_OUT, _LEAST_HELD_OUT = 20, 1000

_MEASURED = 2000
"""First pairs of a file whose tokens are counted to show what would be chosen."""

_PATIENCE = 8
_VALIDATED, _VALIDATED_IN_ALL, _LEAST_VALIDATED = 500, 10_000, 50
"""Sentences of a validation: per direction, of all directions, per direction at least."""


@dataclass(frozen=True, kw_only=True)
class FreshData:
    """What decides."""

    pairs: int
    """Pairs of all directions."""

    directions: int
    tokens: int
    """Source and target tokens of the pairs."""

    has_test_set: bool
    """Whether `flores` has the languages of a direction."""

    processes: int = 1
    on_gpu: bool = False


def level(pairs: int) -> Level:
    """Return the settings for a number of pairs."""
    return next(one for one in LEVELS if pairs < one.pairs)


def held_out_every(config: TrainConfig, data: FreshData) -> int:
    """Return of how many pairs one is held out for validation; 0 if none is."""
    if config.held_out_every is not None:
        return config.held_out_every
    own = data.pairs // max(data.directions, 1)
    if data.has_test_set or own < _MOST_HELD_OUT:
        return 0
    return min(max(own // _HELD_OUT, _MOST_HELD_OUT), _LEAST_HELD_OUT)


def decide(config: TrainConfig, data: FreshData) -> dict[str, Any]:
    """Return values for what the recipe leaves open, as plain JSON by section."""
    fitting = level(data.pairs)
    shape = named_fields(config.model)
    size = config.model.size or (fitting.gpu_size if data.on_gpu else fitting.cpu_size)
    width = shape.get("model_dim", named_config(size).model_dim)
    usual = fitting.gpu_tokens if data.on_gpu else fitting.cpu_tokens
    max_tokens = config.batches.max_tokens or max(usual, 2 * (config.batches.max_length + 3))
    positions = max_tokens * config.compute.accumulated_batches * data.processes
    fewest, most = _GPU_EPOCHS if data.on_gpu else _CPU_EPOCHS
    epochs = _EPOCHS * (1 + data.on_gpu) * (_EPOCH_PAIRS / max(data.pairs, 1)) ** 0.5
    enough = min(max(epochs, fewest), most) * data.tokens / (FILLED * positions)
    warmup = config.optimizer.warmup_updates
    updates = min(max(enough, _FEWEST_UPDATES), _MOST_UPDATES)
    updates = _UPDATES_STEP * math.ceil(max(updates, (warmup or 0) + 1) / _UPDATES_STEP)
    updates = min(updates, config.max_updates or updates)
    every = held_out_every(config, data)
    is_validated = data.has_test_set or every > 0
    keep = config.selection.keep or ("best" if is_validated else "last")
    waits = keep == "best" and is_validated
    patience = config.selection.patience
    optimizer = config.optimizer
    per_direction = _VALIDATED_IN_ALL // max(data.directions, 1)
    return {
        "updates": updates,
        "held_out_every": every,
        "validation_sentences": config.validation_sentences
        or min(max(per_direction, _LEAST_VALIDATED), _VALIDATED),
        "model": {
            "size": size,
            "dropout_p": shape.get("dropout_p", fitting.dropout_p),
        },
        "batches": {"max_tokens": max_tokens},
        "optimizer": {
            "learning_rate": optimizer.learning_rate or _LEARNING_RATE * (_WIDTH / width) ** 0.5,
            "warmup_updates": min(_MOST_WARMUP, updates // _WARMUP_SHARE)
            if warmup is None
            else warmup,
            "schedule": optimizer.schedule or "linear",
        },
        "selection": {
            "keep": keep,
            "patience": patience if patience is not None else _PATIENCE * waits,
        },
        **intervals(config, updates, keep),
    }


def resolve_fresh(config: TrainConfig, decided: dict[str, Any]) -> ResolvedTrainConfig:
    """Return a config with what was decided."""
    return resolve(
        config,
        **decided
        | {
            "model": _with(config.model, ModelConfig, decided["model"]),
            "batches": _with(config.batches, BatchConfig, decided["batches"]),
            "selection": _with(config.selection, SelectionConfig, decided["selection"]),
        },
    )


def with_choices(config: TrainConfig) -> TrainConfig:
    """Return a config with what a training would choose, to be shown, if its data are there.

    Pairs are counted; their tokens are estimated from the first of each file, and none is rejected,
    so that a training may choose a few updates fewer.
    """
    bitext: Any = config.bitext
    if bitext is REQUIRED or config.vocabulary is None or not config.is_open:
        return config
    paths = [config.vocabulary, *(path for paths in config.bitext.values() for path in paths)]
    if not all(path.exists() for path in paths):
        return config
    vocabulary = Vocabulary.load(config.vocabulary)
    pairs: Counter[Direction] = Counter()
    tokens = 0.0
    for tag, direction, path in bitext_inputs(config.training_data):
        reader = BitextReader(path, columns=config.data.columns, direction=direction)
        number = reader.count()
        first = next(iter(reader), None)
        if not number or first is None:
            continue
        first = first.slice(0, _MEASURED)
        lengths = [
            int(vocabulary.encode_flat([text or "" for text in side.to_pylist()])[1].sum())
            for side in (first.column("source"), first.column("target"))
        ]
        for way in trained_ways(tag, direction, config.directions):
            pairs[way] += number
            tokens += number * sum(lengths) / len(first)
    if not pairs:
        return config
    data = FreshData(
        pairs=pairs.total(),
        directions=len(pairs),
        tokens=round(tokens),
        has_test_set=bool(covered_directions(config, list(pairs))),
        on_gpu=find_device("auto").type == "cuda",
    )
    resolved = resolve_fresh(config, decide(config, data))
    values = {field.name: getattr(resolved, field.name) for field in dataclasses.fields(config)}
    optimizer = OptimizerConfig(
        **{
            field.name: getattr(resolved.optimizer, field.name)
            for field in dataclasses.fields(OptimizerConfig)
        }
    )
    return TrainConfig(**values | {"optimizer": optimizer})


def _with(section: Any, section_class: Any, values: dict[str, Any]) -> Any:
    fields = {field.name: getattr(section, field.name) for field in dataclasses.fields(section)}
    return section_class(**fields | values)


def describe(data: FreshData, decided: dict[str, Any]) -> str:
    """Return a line for the log."""
    model, optimizer, every = decided["model"], decided["optimizer"], decided["held_out_every"]
    parts = [
        f"size {model['size'] or DEFAULT_SIZE}, dropout {model['dropout_p']:g}",
        f"batches of {decided['batches']['max_tokens']:,} positions",
        f"{decided['updates']:,} updates (warm-up {optimizer['warmup_updates']:,}, learning rate"
        f" {optimizer['learning_rate']:.2g}, {optimizer['schedule']})",
        f"validation every {decided['validate_every']:,}"
        + (f" on one pair of {every:,}, held out of training" if every else ""),
        f"the {decided['selection']['keep']} update is kept",
    ]
    if decided["selection"]["patience"]:
        parts.append(
            f"stops after {decided['selection']['patience']} validations without a better one"
        )
    return f"`updates` is open; chosen for {data.pairs:,} pairs: {', '.join(parts)}"
