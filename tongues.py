"""The front door: `tongues lid|mining|nmt|eval|data|new-language|…`.

Each group is imported only when it is called, so that help and mistakes answer at once. This is
also the only module that knows all stages: where a stage needs another's model at run time, its
loader is passed in here.
"""

import errno
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from corpus.console import set_up_logging
from corpus.errors import Preempted, TonguesError, UserError
from corpus.processes import keep_working_directory_out, share_processors

if TYPE_CHECKING:
    from corpus.protocols import (
        IdentifierOptions,
        LanguageIdentifier,
        SentenceEncoder,
        TranslationScorer,
    )

__version__ = "0.1.0"

EXIT_BUG = 1
EXIT_USER_MISTAKE = 2
EXIT_INTERRUPTED = 130

NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
UNUSABLE_PATHS = (errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENOTDIR)

GROUPS = {
    "data": ("corpus.cli", "Constructed languages, test data, public data sets and models."),
    "lid": ("lid.cli", "Language identification: train, calibrate, import, identify, measure."),
    "mining": ("mining.cli", "Crawl shards to filtered bitext."),
    "nmt": ("nmt.cli", "Vocabulary, Mixture-of-Experts training, translation."),
    "eval": ("eval.cli", "spBLEU, chrF++, baselines, reports."),
    "new-language": ("new_language.cli", "Seed pairs and crawl shards to a model and its scores."),
    "recipe": ("corpus.recipes", "Copy a recipe to start from."),
    "status": ("corpus.status", "How far the jobs in a directory are."),
}

EXTRA_PACKAGES = {
    "aiohttp", "fairseq2", "faiss", "fasttext", "ftfy", "ray", "sacrebleu", "safetensors",
    "sentencepiece", "torch", "transformers", "xxhash",
}  # fmt: skip
"""Packages that the stages' extras install."""

EXTRAS_OF_THEIR_OWN = {"aiohttp": "serve", "ray": "ray"}
LEARNED_PACKAGES = {"safetensors", "torch", "transformers"}
"""Of the extra `learned`, where eval needs them."""


def load_identifier(path: Path, options: "IdentifierOptions | None" = None) -> "LanguageIdentifier":
    """Load a language identifier: a model directory (`lid.identifier`), or the builtin one."""
    from lid.load import load_identifier as load

    return load(path) if options is None else load(path, options)


def load_encoder(path: Path, *, threads: int = 1) -> "SentenceEncoder":
    """Load a sentence encoder from its directory; see `mining.encoders`."""
    from mining.encoders import load_encoder as load

    encoder: SentenceEncoder = load(path, threads=threads)
    return encoder


def load_scorer() -> "TranslationScorer":
    """Load chrF++; see `eval.metrics.metrics`.

    Raises:
        UserError: If sacrebleu is not installed.
    """
    try:
        from eval.metrics.metrics import score_chrf
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "sacrebleu":
            raise
        raise UserError(
            "chrF++ of validation translations needs the package `sacrebleu`: run"
            " `pip install '.[eval]'` in a clone of the project, or set `chrf.sentences` to 0"
        ) from error
    return score_chrf


class _StageGroups(click.Group):
    """The stages as groups, each imported when it is called."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(GROUPS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in GROUPS:
            return None
        module = importlib.import_module(GROUPS[name][0])
        group: click.Command = module.group
        return group

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Stages"):
            formatter.write_dl([(name, text) for name, (_, text) in GROUPS.items()])


@click.group(cls=_StageGroups, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--verbose", is_flag=True, help="Log more on standard error.")
@click.version_option(package_name="tongues")
@click.pass_context
def cli(context: click.Context, verbose: bool) -> None:
    """Machine translation from web crawl shards to scored translations."""
    set_up_logging(verbose)
    # By its importable name, so that worker processes can load it too.
    front_door = importlib.import_module("tongues")
    context.obj = {
        "load_identifier": front_door.load_identifier,
        "load_scorer": front_door.load_scorer,
        "load_encoder": front_door.load_encoder,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code.

    0 done, 1 bug or environment, 2 the user's mistake, 3 some shards failed, 130 interrupted, 143
    stopped by the scheduler with a checkpoint.
    """
    _open_closed_streams()
    share_processors()
    keep_working_directory_out()
    odd = [text for text in sys.argv[1:] if not _is_utf8(text)] if arguments is None else []
    if odd:
        click.echo(
            f"error: {os.fsencode(odd[0])!r} is not UTF-8; tables and receipts could not name it."
            " Rename the file or directory.",
            err=True,
        )
        return EXIT_USER_MISTAKE
    with _terminations_as_interrupts():
        return _run(arguments)


def _open_closed_streams() -> None:
    """Replace standard streams that the caller closed by the null device."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stdin = sys.stdin or Path(os.devnull).open()  # noqa: SIM115


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def _terminations_as_interrupts() -> Iterator[None]:
    """Handle SIGTERM, which schedulers send before they kill, like Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(arguments: list[str] | None) -> int:
    try:
        result: Any = cli.main(arguments, prog_name="tongues", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        error.show()
        return EXIT_USER_MISTAKE
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; run the same command again to resume", err=True)
        return EXIT_INTERRUPTED
    except TonguesError as error:
        is_mistake = error.exit_code and not isinstance(error, Preempted)
        if str(error):
            click.echo(f"error: {error}" if is_mistake else str(error), err=True)
        return error.exit_code
    except ModuleNotFoundError as error:
        return _report_missing_package(error, sys.argv[1:] if arguments is None else arguments)
    except (BrokenPipeError, SystemExit):
        # The reader closed our output, as `head` does (click exits for it): write no more.
        sys.stdout = Path("/dev/null").open("w")  # noqa: SIM115
        return 0
    except OSError as error:
        if error.errno in NOT_ALLOWED:
            click.echo(f"error: {error}. Check its permissions, or choose another path.", err=True)
            return EXIT_USER_MISTAKE
        if error.errno in UNUSABLE_PATHS:
            click.echo(f"error: {error}. Choose another path.", err=True)
            return EXIT_USER_MISTAKE
        if error.errno not in DISK_FULL:
            raise
        click.echo(
            f"error: the disk is full: {error}. Make room, then run the same command again;"
            " finished shards are kept and nothing is half-written.",
            err=True,
        )
        return EXIT_BUG
    finally:
        logging.shutdown()
    return result if isinstance(result, int) else 0


def _report_missing_package(error: ModuleNotFoundError, arguments: list[str]) -> int:
    package = (error.name or "").split(".")[0]
    stage = next((argument for argument in arguments if argument in GROUPS), None)
    if package not in EXTRA_PACKAGES or stage is None:
        raise error
    extra = EXTRAS_OF_THEIR_OWN.get(package, stage)
    if stage == "eval" and package in LEARNED_PACKAGES:
        extra = "learned"
    click.echo(
        f"error: the package `{package}` is not installed; run `pip install '.[{extra}]'`"
        " in a clone of the project",
        err=True,
    )
    return EXIT_BUG


if __name__ == "__main__":
    sys.exit(main())
