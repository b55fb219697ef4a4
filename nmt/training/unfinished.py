"""What an unfinished training was begun on, so that only the same training resumes it.

There is no receipt before a training is done.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpus.config import plain_config, recorded_values, without_execution
from corpus.errors import UserError
from corpus.files import read_object, write_json
from corpus.jobs import CONFIG_FILE, describe_input, differences
from corpus.yaml_files import read_yaml
from nmt.data.tokenize import fingerprint
from nmt.training.config import TrainConfig
from nmt.training.directory import last_update

FINGERPRINT_FILE = "fingerprint.json"
_SHOWN_FILES = 3


def check_unfinished(directory: Path, config: TrainConfig, inputs: Sequence[Path]) -> None:
    """Record the settings and data of a training; refuse to resume one of others.

    Args:
        directory: Of the training.
        config: Its settings. Keys that an earlier version did not record have their defaults.
        inputs: All files that it reads, in order; their paths may change, their content may not.

    Raises:
        UserError: Naming the settings and the files that differ.
    """
    path = directory / FINGERPRINT_FILE
    settings = json.loads(json.dumps(without_execution(config, plain_config(config))))
    described = [describe_input(file) for file in inputs]
    files = {entry["path"]: entry["blake2b"] for entry in described}
    if last_update(directory) > 0 and path.exists():
        there = read_object(path)
        if "settings" in there:
            found = _differences(there, config, settings, files)
        else:
            found = _difference_from_digest(there, directory, config, settings, files)
        if found:
            raise UserError(
                f"{directory} holds an unfinished training that does not match: {found}. Undo the"
                f" change to resume it, or delete {directory.parent} to start over."
            )
    write_json(path, {"settings": settings, "files": files})


def _differences(
    there: dict[str, Any], config: TrainConfig, settings: Any, files: dict[str, str]
) -> str:
    """Return what differs of the settings and the files; empty if nothing does."""
    found = []
    recorded = without_execution(config, recorded_values(config, there["settings"]))
    if recorded != settings:
        found.append(differences(recorded, settings))
    before = there["files"]
    if list(before.values()) != list(files.values()):
        changed = [name for name in files if name in before and before[name] != files[name]]
        kinds = {
            "changed": changed,
            "new": [name for name in files if name not in before],
            "no longer used": [name for name in before if name not in files],
        }
        parts = [f"{kind}: {_listed(names)}" for kind, names in kinds.items() if names]
        found.append("files " + ("; ".join(parts) or "are in another order"))
    return "; ".join(found)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_FILES
    return ", ".join(names[:_SHOWN_FILES]) + (f" and {more:,} more" if more > 0 else "")


def _difference_from_digest(
    there: dict[str, Any],
    directory: Path,
    config: TrainConfig,
    settings: Any,
    files: dict[str, str],
) -> str:
    """Compare with what earlier versions recorded: one digest of settings and data.

    Those versions had fewer keys; the config beside the output has them as they were.
    """
    candidates = [settings]
    if (directory.parent / CONFIG_FILE).is_file():
        candidates.append(without_execution(config, read_yaml(directory.parent / CONFIG_FILE)))
    digests = list(files.values())
    if there.get("inputs") in [fingerprint(json.dumps(one), digests) for one in candidates]:
        return ""
    return (
        "it was begun by an earlier version of tongues, which recorded one digest of its settings"
        " and data that is not today's. Bitext, vocabulary or settings have changed since, or the"
        " versions record settings differently; that version can still resume it"
    )
