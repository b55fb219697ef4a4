"""The recipe's files, and the settings of all steps, are looked at before the first one runs."""

from collections.abc import Iterable
from pathlib import Path

import click

from corpus.config import load_config
from corpus.errors import TonguesError, UserError
from new_language.config import NewLanguageConfig
from new_language.steps import REPORT, Step


def check_files(config: NewLanguageConfig) -> None:
    """Look whether what the recipe names is there: some of it is read after hours.

    Raises:
        UserError: If a path does not exist.
    """
    named: dict[str, tuple[Path | None, ...]] = {
        "seed": config.seed,
        "flores": (config.flores,),
        "other_flores": (config.other_flores,),
        "student_bitext": config.student_bitext,
        "identifier_text": config.identifier_text,
        "identifier_test": (config.identifier_test,),
        "monolingual": config.monolingual,
        "replay": config.replay,
        "evaluation_sets": config.evaluation_sets,
        "true_pairs": config.true_pairs,
        "gold": (config.gold,),
    }
    for key, paths in named.items():
        for path in paths:
            if path is not None and not path.exists():
                raise UserError(f"`{key}`: {path} does not exist")


def check_settings(steps: Iterable[Step], front_door: click.Command) -> None:
    """Let the steps' commands read their config: a mistake would stop the run after hours.

    Args:
        steps: The steps.
        front_door: The command `tongues`, which has all others.

    Raises:
        UserError: If a command refuses its config.
    """
    for step in steps:
        if step.name == REPORT:
            continue
        command, words = front_door, list(step.words)
        context = click.Context(command)
        while isinstance(command, click.Group) and words:
            found = command.get_command(context, words.pop(0))
            if found is None:
                return  # not called by the front door
            command = found
        config_class = getattr(command.callback, "config_class", None)
        if config_class is None:
            continue
        given = command.make_context(step.name, words).params
        try:
            load_config(config_class, (), given["overrides"])
        except TonguesError as error:
            raise UserError(f"`settings` of the step `{step.name}`: {error}") from error
