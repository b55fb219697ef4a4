"""What a training that starts from a model does where its recipe leaves it open.

Decided once, by the number of pairs and the model's width; `fine_tuning.json` beside the
checkpoints keeps it, so that a resumed training, on any number of processes, ends where it would
have ended.
"""

import dataclasses
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.files import read_json, write_json
from nmt.training.config import ResolvedTrainConfig, TrainConfig, resolve

logger = logging.getLogger(__name__)

DECISIONS_FILE = "fine_tuning.json"

_EPOCHS, _MOST_EPOCHS, _FEWEST_EPOCHS = 40, 40, 2
_PAIRS = 1000
"""Number of pairs that is trained for `_EPOCHS`; epochs fall with the cube root of the number."""

FILLED = 0.9
"""Share of a batch's positions that are no padding, about."""

_STEPS = 20
"""Validations of a training; updates are a multiple, so that the last one is validated."""

_CLOSEST = 10
"""Updates between validations, at least."""

_FEWEST_UPDATES = 200
_MOST_WARMUP = 4000
_LEARNING_RATE, _WIDTH = 1e-4, 1024
"""The rate for a width; at others it goes with the cube root, which gives the best measured at 128
(decision 0097)."""

_PATIENCE = 5
_DROPOUT, _FEW_PAIRS = 0.1, 20_000
"""Least dropout below a number of pairs; early stopping does the rest."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """What decides."""

    pairs: int
    """Pairs of all directions, without replayed ones."""

    tokens: int
    """Their source and target tokens."""

    is_replayed: bool
    """Whether there are replayed pairs, too."""

    processes: int
    model_dim: int
    dropout_p: float
    """Of the model."""

    is_validated: bool
    """Whether a direction of the training is."""


def decide(config: TrainConfig, data: Data) -> dict[str, Any]:
    """Return values for what the recipe leaves open, as plain JSON by section."""
    positions = config.batches.positions * config.compute.accumulated_batches * data.processes
    epochs = _EPOCHS * (_PAIRS / max(data.pairs, 1)) ** (1 / 3)
    epochs = min(max(epochs, _FEWEST_EPOCHS), _MOST_EPOCHS)
    share = 1 - config.batches.replay_share if data.is_replayed else 1.0
    enough = epochs * data.tokens / (FILLED * positions * share)
    wanted = max(_FEWEST_UPDATES, _STEPS * math.ceil(enough / _STEPS))
    updates = config.updates or min(wanted, config.max_updates or wanted)
    keep = config.selection.keep or ("best" if data.is_validated else "last")
    waits = keep == "best" and data.is_validated
    patience = config.selection.patience
    optimizer = config.optimizer
    rate = _LEARNING_RATE * (_WIDTH / data.model_dim) ** (1 / 3)
    decided: dict[str, Any] = {
        "updates": updates,
        "optimizer": {
            "learning_rate": optimizer.learning_rate or rate,
            "warmup_updates": min(_MOST_WARMUP, updates // 10)
            if optimizer.warmup_updates is None
            else optimizer.warmup_updates,
            "schedule": optimizer.schedule or "linear",
        },
        "selection": {
            "keep": keep,
            "patience": patience if patience is not None else _PATIENCE * waits,
        },
        "model": {},
    }
    if config.model.dropout_p is None:
        least = _DROPOUT if data.pairs < _FEW_PAIRS else 0.0
        decided["model"]["dropout_p"] = max(data.dropout_p, least)
    return decided | intervals(config, updates, keep)


def intervals(config: TrainConfig, updates: int, keep: str) -> dict[str, int]:
    """Return the updates between validations, checkpoints and reports, which must fit."""
    given = [every for every in (config.validate_every, config.checkpoint_every) if every]
    report = config.report_every or (math.gcd(*given) if given else max(1, updates // (5 * _STEPS)))
    usual = max(1, round(max(updates / _STEPS, _CLOSEST) / report)) * report
    validate = config.validate_every or (given[0] if given and keep == "best" else usual)
    return {
        "report_every": report,
        "validate_every": validate,
        "checkpoint_every": config.checkpoint_every or validate,
    }


def decide_once(path: Path, choose: Callable[[], dict[str, Any]], *, anew: bool) -> dict[str, Any]:
    """Decide, or return what was decided when the training began.

    Args:
        path: The file that keeps it.
        choose: Decides.
        anew: Whether to decide, on one process, before the others call this.
    """
    if anew:
        write_json(path, choose())
    decided: dict[str, Any] = read_json(path)
    return decided


def resolve_with(config: TrainConfig, decided: dict[str, Any]) -> ResolvedTrainConfig:
    """Return a config with what was decided."""
    values = {name: value for name, value in decided.items() if name != "model"}
    values["selection"] = dataclasses.replace(config.selection, **decided["selection"])
    return resolve(config, **values)


def describe(data: Data, decided: dict[str, Any]) -> str:
    """Return a line for the log."""
    optimizer, selection = decided["optimizer"], decided["selection"]
    dropout = decided["model"].get("dropout_p")
    parts = [
        f"{decided['updates']:,} updates (warm-up {optimizer['warmup_updates']:,}, learning rate"
        f" {optimizer['learning_rate']:.2g}, {optimizer['schedule']})",
        f"validation every {decided['validate_every']:,}",
        f"the {selection['keep']} update is kept",
    ]
    if selection["patience"]:
        parts.append(f"stops after {selection['patience']} validations without a better one")
    if dropout is not None:
        parts.append(f"dropout {dropout:g}")
    return f"fine-tuning on {data.pairs:,} pairs: {', '.join(parts)}"
