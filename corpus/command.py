"""Shared parts of commands: config options, results, exit codes."""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from corpus import stores
from corpus.config import load_config
from corpus.config_reference import commented_yaml
from corpus.console import format_table
from corpus.errors import UserError
from corpus.jobs import EXECUTORS, LOCAL, Executor, Price, describe_price, find_executor
from corpus.languages import parse_language
from corpus.remote import RemoteFile, is_url

F = TypeVar("F", bound=Callable[..., Any])


class _PathType(click.Path):
    """A path on this machine. A URL would be taken for a directory named `s3:`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if is_url(str(value)):
            option = "this" if param is None else param.opts[0]
            raise UserError(
                f"`{option}` takes a path on this machine, not the URL {RemoteFile(str(value))};"
                " docs/guide.md names the commands that work in object stores"
            )
        return super().convert(value, param, ctx)


PATH = _PathType(path_type=Path)


class _PlaceType(click.ParamType):  # type: ignore[type-arg]
    name = "place"

    def convert(
        self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        return stores.open_place(str(value))


PLACE = _PlaceType()
"""A path, or a URL of an object store, which is worked on in a copy; see `corpus.stores`."""


class _LanguageType(click.ParamType):  # type: ignore[type-arg]
    name = "language"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return parse_language(value).code


LANGUAGE = _LanguageType()
"""A language by its code, or by what others call it where that means one: `en`, `zh-Hans`."""


def config_options(
    config_class: type[Any],
    *,
    is_recipe: bool = False,
    show: Callable[[Any], Any] | None = None,
) -> Callable[[F], F]:
    """Add `--config-file`, `--config` and `--dump-config`; pass the resolved `config`.

    With `is_recipe` the files are the command's arguments, instead of `--config-file`. `show` makes
    of the config that `--dump-config` was given the one that it prints, where a command decides
    what the config leaves open.

    The command has the class as its attribute `config_class`. `--dump-config` needs none of the
    command's required options, and no key of the config that has no default.
    """

    def dump(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        given = context.params
        if given.get("dump_config"):
            files, overrides = given.get("config_file", ()), given.get("overrides", ())
            config = load_config(config_class, files, overrides, is_partial=True)
            click.echo(commented_yaml(show(config) if show else config), nl=False)
            context.exit()

    files = click.option(
        "--config-file",
        type=PATH,
        multiple=True,
        is_eager=True,
        help="YAML file with the keys to change; may be repeated, later files win.",
    )
    if is_recipe:
        files = click.argument(
            "config_file", metavar="RECIPE...", nargs=-1, type=PATH, is_eager=True
        )

    def decorate(function: F) -> F:
        # Eager options are read before required ones are missed, those that were given first: when
        # the hidden one is reached, all others have their values.
        @files
        @click.option(
            "--config",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            is_eager=True,
            help="One value, such as a.b=3; may be repeated. Overrides the files.",
        )
        @click.option(
            "--dump-config",
            is_flag=True,
            is_eager=True,
            help="Print the resolved config with comments, and stop.",
        )
        @click.option(
            "--dump-config-now",
            is_flag=True,
            is_eager=True,
            hidden=True,
            expose_value=False,
            callback=dump,
        )
        @functools.wraps(function)
        def command(
            *args: Any,
            config_file: tuple[Path, ...],
            overrides: tuple[str, ...],
            dump_config: bool,
            **kwargs: Any,
        ) -> Any:
            config = load_config(config_class, config_file, overrides)
            return function(*args, config=config, **kwargs)

        command.config_class = config_class  # type: ignore[attr-defined]
        return command  # type: ignore[return-value]

    return decorate


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobOptions:
    """The options of a command over shards."""

    executor: Executor
    dry_run: bool
    as_json: bool

    def print_price(self, price: Price) -> None:
        """Print a cost estimate: as tables, or as one JSON object."""
        if self.as_json:
            print_json(price.as_json())
        else:
            click.echo(describe_price(price))

    def print_counts(self, title: str, counts: Mapping[str, int]) -> None:
        """Print the counts of a job; see `print_counts`."""
        print_counts(title, counts, self.as_json)


_executor = click.option(
    "--executor",
    type=click.Choice(EXECUTORS),
    default="local",
    show_default=True,
    help="Where shards are processed: on this machine, a Ray cluster, or a Slurm array.",
)
_dry_run = click.option(
    "--dry-run", is_flag=True, help="List the shards, estimate their cost from a sample, and stop."
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
)


def executor_option(function: F) -> F:
    """Add `--executor` alone to a command over shards; pass the executor as `executor`."""

    @_executor
    @functools.wraps(function)
    def command(*args: Any, executor: str, **kwargs: Any) -> Any:
        return function(*args, executor=find_executor(executor), **kwargs)

    return command  # type: ignore[return-value]


def job_options(function: F) -> F:
    """Add `--executor` and `--json` to a command over shards; pass them as `job`."""

    @_executor
    @json_option
    @functools.wraps(function)
    def command(
        *args: Any, executor: str, as_json: bool, dry_run: bool = False, **kwargs: Any
    ) -> Any:
        # An estimate needs no cluster and no job array.
        where = LOCAL if dry_run else find_executor(executor)
        job = JobOptions(executor=where, dry_run=dry_run, as_json=as_json)
        return function(*args, job=job, **kwargs)

    return command  # type: ignore[return-value]


def priced_job_options(function: F) -> F:
    """Add `--dry-run` to what `job_options` adds."""
    return _dry_run(job_options(function))


def print_json(value: Any) -> None:
    """Print one JSON object on standard output, for machines."""
    click.echo(json.dumps(value, ensure_ascii=False))


def print_counts(title: str, counts: Mapping[str, float], as_json: bool = False) -> None:
    """Print counts by reason: as a table on standard error, or as JSON."""
    if as_json:
        print_json(dict(counts))
        return
    rows = [[reason, count] for reason, count in counts.items()]
    click.echo(format_table([title, "count"], rows), err=True)
