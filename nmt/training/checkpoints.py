"""The checkpoints of a training, as fairseq2 keeps them: listing and loading them.

`checkpoints/step_<update>/` is one, renamed from `step_<update>.tmp` when it is whole;
`checkpoints/scores/step_<update>.txt` holds the score of its validation, higher is better.
"""

import pickle
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch

from corpus.errors import DataError
from nmt.model.translator import Translator
from nmt.training.directory import CHECKPOINTS, STEP, saved_updates

_SCORES = "scores"
_WEIGHTS = Path("model", "pp_00", "tp_00", "sdp_00.pt")


def best_update(training: Path) -> int:
    """Return the saved update with the best score, the latest of equal ones.

    Raises:
        DataError: If no checkpoint has a score.
    """
    scores = [
        (float(file.read_text(encoding="utf-8")), update)
        for update in saved_updates(training)
        if (file := training / CHECKPOINTS / _SCORES / f"{STEP}{update}.txt").is_file()
    ]
    if not scores:
        raise DataError(f"no checkpoint in {training / CHECKPOINTS} was validated")
    return max(scores)[1]


def step_directory(training: Path, update: int) -> Path:
    """Return where the checkpoint after an update is."""
    return training / CHECKPOINTS / f"{STEP}{update}"


def load_weights(training: Path, update: int, model: Translator) -> None:
    """Put the weights of a checkpoint of one process into a model.

    Raises:
        DataError: If the file is damaged.
    """
    path = step_directory(training, update) / _WEIGHTS
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"{path} is damaged: {error}. Delete {training} to start over.") from error


class _AtOnce:
    """Has the interface of fairseq2's thread pool, and does what is queued before it returns."""

    def queue(self, callback: Callable[[], Any]) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(callback())
        return done


def save_without_copies(manager: Any) -> None:
    """Write checkpoints before training goes on, from the tensors themselves.

    fairseq2 copies a state to the memory of the host and writes it in the background. Where it is
    there already, that would hold weights and moments twice.

    Args:
        manager: fairseq2's checkpoint manager, of a training on processors.
    """
    manager._copy_state_dict_to_host = lambda record, step_nr, memo: None
    manager._thread_pool = _AtOnce()


def hold_while_validating(
    manager: Any, validator: Any, then: Callable[[float | None], float | None]
) -> None:
    """Finish a checkpoint only after its validation.

    fairseq2 saves in the background and may rename a checkpoint while its update is validated. A
    training killed then would resume after that update, and its validation would be missing from
    the curves and from the choice of the best update.

    Args:
        manager: fairseq2's checkpoint manager.
        validator: Its validator.
        then: Takes the mean score of a validation, and returns the one that selects.
    """
    complete: Callable[..., bool | None] = manager.maybe_complete_save_operation
    run: Callable[[int], float | None] = validator.run
    is_validating = False

    def run_alone(update: int) -> float | None:
        nonlocal is_validating
        is_validating = True
        try:
            score = run(update)
        finally:
            is_validating = False
        return then(score)

    def complete_later(*, blocking: bool = False) -> bool | None:
        return False if is_validating and not blocking else complete(blocking=blocking)

    validator.run = run_alone
    manager.maybe_complete_save_operation = complete_later
