"""The config beside the outputs of a job: written once, and from then on the only one."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from corpus.config import dump_config, without_execution
from corpus.errors import UserError
from corpus.files import write_text
from corpus.locks import hold_lock
from corpus.receipts import first_difference

logger = logging.getLogger(__name__)

RECEIPTS = "receipts"
CONFIG_FILE = "config.yaml"
LOCK = ".lock"


def settle_config(
    output: Path, name: str, config_name: str, config: Any, values: Any,
    has_begun: Callable[[], bool],
) -> None:  # fmt: skip
    """Write the config, or check that the one already there is the same.

    One that nothing was made with, because the job failed at once, gives way.

    Args:
        output: Directory of the outputs.
        name: Names the job.
        config_name: The file.
        config: A dataclass, or None for no config.
        values: What of it the results depend on, as plain values.
        has_begun: Whether tasks of the job are done, or being done.

    Raises:
        UserError: If it is another, and something was made with that.
    """
    if config is None:
        return
    path = output / config_name
    if not path.exists():
        with hold_lock(output / RECEIPTS / LOCK, config_name, wait=True):
            if not path.exists():  # nobody else wrote one while this process waited
                write_text(path, dump_config(config))
                return
    there = without_execution(config, yaml.safe_load(path.read_text(encoding="utf-8")))
    here = json.loads(json.dumps(values))
    if there == here:
        return
    is_shared = config_name == CONFIG_FILE
    if not has_begun() and not (is_shared and _holds_files(output)):
        with hold_lock(output / RECEIPTS / LOCK, config_name, wait=True):
            write_text(path, dump_config(config))
        logger.info("%s: nothing was made with the config before; it is replaced", path)
        return
    made = str(output)
    if not is_shared:  # what others made lies in the directory too
        made = f"{path} and its receipts in {output / RECEIPTS / name}"
    raise UserError(
        f"{path} is of another config: {first_difference(there, here)}. Choose another"
        f" output, or delete {made} to make it anew."
    )


def _holds_files(output: Path) -> bool:
    """Return whether a directory holds more than a config and receipts' own bookkeeping."""
    others = (path for path in output.iterdir() if path.name not in (CONFIG_FILE, RECEIPTS))
    return any(others) or any((output / RECEIPTS).rglob("*.json"))
