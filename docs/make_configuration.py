"""Write docs/configuration.md from the config classes of all commands."""

import importlib
from pathlib import Path
from typing import Any

import click

from corpus.config_reference import reference_page
from tongues import GROUPS

PAGE = Path(__file__).parent / "configuration.md"
UPDATE = "python docs/make_configuration.py"


def config_classes() -> dict[str, type[Any]]:
    """Return the config class of each command that has one, by `STAGE COMMAND`."""
    found: dict[str, type[Any]] = {}
    for stage, (module, _) in GROUPS.items():
        group: click.Command = importlib.import_module(module).group
        commands = (
            {f"{stage} {name}": command for name, command in sorted(group.commands.items())}
            if isinstance(group, click.Group)
            else {stage: group}
        )
        for name, command in commands.items():
            config_class = getattr(command.callback, "config_class", None)
            if config_class is not None:
                found[name] = config_class
    return found


if __name__ == "__main__":
    PAGE.write_text(reference_page(config_classes(), UPDATE), encoding="utf-8")
