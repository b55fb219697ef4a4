"""The config beside a job's outputs: written once, and checked by every later run."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from corpus import stores
from corpus.config import dump_config, plain_config, recorded_values, without_execution
from corpus.errors import UserError
from corpus.files import write_text
from corpus.jobs.locks import hold_lock
from corpus.jobs.logs import LOCK, read_log
from corpus.jobs.receipts import RECEIPTS, differences, recorded_jobs
from corpus.yaml_files import read_yaml

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.yaml"
RUNNING = ".running"
"""Lock shared by all processes that run jobs with a config."""


@contextmanager
def hold_config(
    output: Path,
    name: str,
    config_name: str,
    config: Any,
    values: Any,
    has_begun: Callable[[], bool],
) -> Iterator[None]:
    """Write the config, or check that the existing one is the same; keep it during the block.

    A config that no result was made with, because the job failed at once, is replaced, unless
    another process is running with it.

    Args:
        output: Directory of the outputs.
        name: Names the job.
        config_name: The file.
        config: A dataclass, or None for no config.
        values: What of it the results depend on, as plain values.
        has_begun: Whether tasks of the job are done, or being done.

    Raises:
        UserError: If it is another, and something was made with that, or is being made.
    """
    path, receipts = output / config_name, output / RECEIPTS
    with ExitStack() as held:
        if (
            config is not None
            and path.exists()
            and receipts.is_dir()
            and not _is_writable(receipts)
        ):
            _check_config(path, name, config, values)
        elif config is not None:
            with hold_lock(receipts / LOCK, config_name, wait=True):
                if not _give_way(path, config, values, has_begun):
                    _check_config(path, name, config, values)
                shared = hold_lock(receipts / RUNNING, config_name, wait=True, is_shared=True)
                held.enter_context(shared)
        yield


def check_config(output: Path, name: str, config: Any, config_name: str = CONFIG_FILE) -> None:
    """Refuse a config other than the one beside outputs that are there.

    Raises:
        UserError: Naming every key that differs.
    """
    values = without_execution(config, plain_config(config))
    _check_config(output / config_name, name, config, values)


def forget_config(output: Path, config_name: str = CONFIG_FILE) -> None:
    """Delete a config that nothing was made with, unless a process is running with it."""
    with hold_lock(output / RECEIPTS / RUNNING, config_name) as is_alone:
        if is_alone:
            stores.remove(output / config_name)


def _is_writable(directory: Path) -> bool:
    return os.access(directory, os.W_OK)


def _give_way(path: Path, config: Any, values: Any, has_begun: Callable[[], bool]) -> bool:
    """Write the config if there is none, or none that was used; return whether it was written."""
    if not path.exists():
        write_text(path, dump_config(config))
        return True
    if _difference(path, config, values) is None or has_begun():
        return False
    if path.name == CONFIG_FILE and _holds_files(path.parent):
        return False
    with hold_lock(path.parent / RECEIPTS / RUNNING, path.name) as is_alone:
        if is_alone:
            write_text(path, dump_config(config))
            logger.info("%s: no result was made with the previous config; it is replaced", path)
        return is_alone


def _check_config(path: Path, name: str, config: Any, values: Any) -> None:
    difference = _difference(path, config, values)
    if difference is None:
        return
    made = str(path.parent)
    if path.name != CONFIG_FILE:  # what others made lies in the directory too
        made = f"{path} and what `{name}` made with it"
    raise UserError(
        f"{path} was written with another config: {difference}. Choose another"
        f" output, or delete {made} to start over."
    )


def _difference(path: Path, config: Any, values: Any) -> str | None:
    """Return how the existing config differs, or None."""
    there = without_execution(config, recorded_values(config, read_yaml(path)))
    here = json.loads(json.dumps(values))
    return None if there == here else differences(there, here)


def _holds_files(output: Path) -> bool:
    """Return whether a directory holds more than a config and receipts' own bookkeeping."""
    others = (path for path in output.iterdir() if path.name not in (CONFIG_FILE, RECEIPTS))
    return any(others) or any(
        read_log(output / RECEIPTS / job).receipts for job in recorded_jobs(output)
    )
