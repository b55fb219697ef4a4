"""The `training` directory of a model: its checkpoints, and whether a run has made anything yet.

It loads nothing heavy, so that a config that does not belong to an output is refused at once.
"""

from pathlib import Path
from typing import Any

from corpus.jobs import CONFIG_FILE, check_config, forget_config, task_counts
from nmt.data.directory import check_tokens
from nmt.model.files import check_model

TRAINING_DIRECTORY = "training"
TRAIN_JOB = "train"
CHECKPOINTS = "checkpoints"
STEP = "step_"


def saved_updates(training: Path) -> list[int]:
    """Return the updates of whole checkpoints, in no order."""
    names = [path.parent.name for path in (training / CHECKPOINTS).glob(f"{STEP}*/trainer")]
    numbers = [name.removeprefix(STEP) for name in names]
    return [int(number) for number in numbers if number.isdecimal()]


def last_update(training: Path) -> int:
    """Return the update after which training resumes; 0 without a whole checkpoint."""
    return max(saved_updates(training), default=0)


def has_begun(output: Path) -> bool:
    """Return whether a run left a complete checkpoint or a model, which fix its config."""
    return bool(task_counts(output, TRAIN_JOB)) or last_update(output / TRAINING_DIRECTORY) > 0


def check_output(output: Path, config: Any) -> None:
    """Refuse an output that a run with another config has started, and tokens of other settings.

    Raises:
        UserError: Naming every key that differs.
    """
    if config.start_from is not None:
        check_model(config.start_from)
    if has_begun(output):
        if (output / CONFIG_FILE).is_file():
            check_config(output, TRAIN_JOB, config)
    elif config.data.directory is not None:
        check_tokens(config.data.directory, config.training_data)


def forget_failed_run(output: Path) -> None:
    """Delete the config of a run that ended before its first checkpoint."""
    if (output / CONFIG_FILE).is_file() and not has_begun(output):
        forget_config(output)
