"""What the commands of all stages share: config options, results, exit codes."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from corpus import jobs as jobs  # its import starts the clock of the first job
from corpus.config import dump_config, load_config
from corpus.console import format_table

F = TypeVar("F", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)


def config_options(config_class: type[Any]) -> Callable[[F], F]:
    """Add `--config-file`, `--config` and `--dump-config`; pass the resolved `config`."""

    def decorate(function: F) -> F:
        @click.option("--config-file", type=PATH, default=None, help="YAML file with what differs.")
        @click.option(
            "--config", "overrides", multiple=True, metavar="KEY=VALUE",
            help="One value, as a.b=3; may be repeated. Wins over the file.",
        )  # fmt: skip
        @click.option(
            "--dump-config", is_flag=True, is_eager=False, help="Print the resolved config, stop."
        )
        @functools.wraps(function)
        def command(
            *args: Any,
            config_file: Path | None,
            overrides: tuple[str, ...],
            dump_config: bool,
            **kwargs: Any,
        ) -> Any:
            config = load_config(config_class, config_file, overrides)
            if dump_config:
                _print_config(config)
                return None
            return function(*args, config=config, **kwargs)

        return command  # type: ignore[return-value]

    return decorate


def _print_config(config: Any) -> None:
    click.echo(dump_config(config), nl=False)


def print_json(value: Any) -> None:
    """Print one JSON object on standard output, for machines."""
    click.echo(json.dumps(value, ensure_ascii=False))


def print_counts(title: str, counts: dict[str, int]) -> None:
    """Print counts by reason as a table on standard error, for people."""
    rows = [[reason, count] for reason, count in counts.items()]
    click.echo(format_table([title, "count"], rows), err=True)
