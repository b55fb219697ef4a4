"""The training loop: validation, early stopping, and a state on disk to resume from.

A run that is killed at any point and started again gives output identical to an undisturbed one:
the state holds weights, optimizer, best weights so far and what the caller adds, and is written
whole.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from corpus.console import Progress
from corpus.errors import DataError, UserError
from corpus.files import atomic_path
from mining.encoders.learners import Learner

logger = logging.getLogger(__name__)

STATE_FILE = "training-state.safetensors"
_WARM_UP_SHARE = 0.05
_FACTS = "facts"
_GROUPS = ("model", "optimizer", "best", "extra")


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How an encoder does on held-out pairs."""

    errors: dict[str, float]
    """xsim by direction."""

    distance: float
    """Mean of 1 - cosine of the pairs. Reported, but not a criterion: it grows when hard negatives
    spread the vectors, although true pairs then stand out more."""

    @property
    def error(self) -> float:
        """Mean error."""
        return sum(self.errors.values()) / max(len(self.errors), 1)


class Extra(Protocol):
    """Further state that must be restored when a run resumes."""

    def state(self) -> dict[str, Tensor]:
        """Return it as tensors by name."""
        ...

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore it."""
        ...


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How often a run validates and saves, and where."""

    name: str
    """Of the command, for progress."""

    validations: int
    patience: int
    checkpoint_updates: int

    state_file: Path
    """Where the state lies between updates."""

    identity: str
    """Digest of inputs and config: a state with another digest is refused."""


@dataclass(kw_only=True)
class _Standing:
    """The progress of a run."""

    update: int = 0
    best: Validation | None = None
    best_update: int = 0
    misses: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The result of a run; the learner has its best weights."""

    updates: int
    best_update: int
    validation_errors: dict[str, float]
    history: list[dict[str, float]]
    """Update, error and distance of each validation."""

    def as_facts(self) -> dict[str, object]:
        """Return the facts about training for an encoder's description."""
        return asdict(self)


def learning_rate(number: int, updates: int, peak: float) -> float:
    """Return the rate of update `number`: linear up over a twentieth of the run, then to zero."""
    warm_up = max(1.0, _WARM_UP_SHARE * updates)
    return peak * min((number + 1) / warm_up, 1 - number / updates)


class Loop:
    """Runs updates, starting from the state on disk."""

    def __init__(
        self, learner: Learner, settings: LoopSettings, updates: int, extra: Extra
    ) -> None:
        self._learner = learner
        self._updates = updates
        self._settings = settings
        self._extra = extra
        self._standing = _Standing()
        self._best: dict[str, Tensor] = {}

    def run(
        self, step: Callable[[int], None], validate: Callable[[], Validation | None]
    ) -> Trained:
        """Take all steps, or fewer if validation stops improving, and keep the best weights.

        Args:
            step: Takes the update of that number.
            validate: Measures the held-out pairs; None where there are none.
        """
        settings = self._settings
        self._resume()
        with Progress(self._updates, settings.name, "updates") as progress:
            progress.update(self._standing.update)
            while not self._is_over():
                standing = self._standing
                step(standing.update)
                standing.update += 1
                progress.update()
                if self._is_validation(standing.update):
                    self._look(validate())
                if standing.update % settings.checkpoint_updates == 0:
                    self._save()
        standing = self._standing
        if self._best:
            self._learner.model.load_state_dict(self._best)
        return Trained(
            updates=standing.update,
            best_update=standing.best_update,
            validation_errors=standing.best.errors if standing.best is not None else {},
            history=standing.history,
        )

    def _is_over(self) -> bool:
        patience, misses = self._settings.patience, self._standing.misses
        return self._standing.update >= self._updates or 0 < patience <= misses

    def _is_validation(self, update: int) -> bool:
        times, updates = self._settings.validations, self._updates
        return update * times // updates > (update - 1) * times // updates

    def _look(self, found: Validation | None) -> None:
        if found is None:
            return
        standing = self._standing
        error = found.error
        standing.history.append(
            {"update": standing.update, "error": error, "distance": found.distance}
        )
        worst = max(found.errors, key=lambda direction: found.errors[direction])
        logger.info(
            "update %s: validation error %.4f over %d directions, worst %s %.4f",
            f"{standing.update:,}",
            error,
            len(found.errors),
            worst,
            found.errors[worst],
        )
        # Of equal ones the last is best: the rate falls to zero, and the last updates converge.
        if standing.best is not None and error > standing.best.error:
            standing.misses += 1
            if 0 < self._settings.patience <= standing.misses:
                logger.info(
                    "stopping: %d validations in a row were worse than that of update %s",
                    standing.misses,
                    f"{standing.best_update:,}",
                )
            return
        standing.best, standing.best_update, standing.misses = found, standing.update, 0
        self._best = {
            name: one.detach().clone() for name, one in self._learner.model.state_dict().items()
        }

    def _save(self) -> None:
        states = (
            self._learner.model.state_dict(),
            self._learner.optimizer_state(),
            self._best,
            self._extra.state(),
        )
        tensors = {
            f"{group}.{name}": one.detach().cpu().contiguous()
            for group, state in zip(_GROUPS, states, strict=True)
            for name, one in state.items()
        }
        facts = json.dumps({"identity": self._settings.identity, **asdict(self._standing)})
        tensors[_FACTS] = torch.frombuffer(bytearray(facts.encode("utf-8")), dtype=torch.uint8)
        with atomic_path(self._settings.state_file) as temporary:
            save_file(tensors, temporary)

    def _resume(self) -> None:
        path = self._settings.state_file
        if not path.exists():
            return
        try:
            tensors = load_file(path)
            facts = json.loads(tensors.pop(_FACTS).numpy().tobytes())
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise DataError(f"{path} is damaged: {error}. Delete it to start over.") from error
        identity = facts.pop("identity")
        if identity != self._settings.identity:
            raise UserError(
                f"{path} is of other bitext or another config: its digest is {identity}, and now it"
                f" would be {self._settings.identity}. Delete it to start over."
            )
        best = facts.pop("best")
        self._standing = _Standing(best=Validation(**best) if best else None, **facts)
        groups: dict[str, dict[str, Tensor]] = {
            "model": {},
            "optimizer": {},
            "best": {},
            "extra": {},
        }
        for key, one in tensors.items():
            group, _, name = key.partition(".")
            groups[group][name] = one
        self._learner.model.load_state_dict(groups["model"])
        self._learner.load_optimizer_state(groups["optimizer"])
        self._best = groups["best"]
        self._extra.load_state(groups["extra"])
        logger.info("resuming from update %s in %s", f"{self._standing.update:,}", path)
