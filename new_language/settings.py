"""The settings of all steps are read before the first one runs."""

from collections.abc import Iterable

import click

from corpus.config import load_config
from corpus.errors import TonguesError, UserError
from new_language.steps import REPORT, Step


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
