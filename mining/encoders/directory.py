"""Encoder directories: weights, vocabulary and architecture, under one fingerprint."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from corpus.config import load_config
from corpus.errors import DataError
from corpus.files import atomic_path, digest_file, read_object, write_json
from mining.encoders.protocol import DESCRIPTION_FILE

WEIGHTS_FILE = "weights.safetensors"
SUBWORDS_FILE = "subwords.model"
T = TypeVar("T")


def save_encoder(
    path: Path,
    architecture: str,
    settings: Any,
    *,
    weights: Mapping[str, Tensor],
    files: Mapping[str, bytes],
    space: str | None = None,
    facts: Mapping[str, object] | None = None,
) -> tuple[Path, ...]:
    """Write an encoder directory, its description last; return its files.

    Args:
        path: The directory.
        architecture: What loads it.
        settings: The architecture's config, a dataclass; stored under the architecture's name.
        weights: Of the model.
        files: Vocabulary and the like, by file name.
        space: The space its vectors lie in; one of its own if not given.
        facts: What else the description should tell, as plain JSON values.
    """
    for name, content in files.items():
        with atomic_path(path / name) as temporary:
            temporary.write_bytes(content)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    with atomic_path(path / WEIGHTS_FILE) as temporary:
        save_file(plain, temporary)
    names = sorted([*files, WEIGHTS_FILE])
    described = {
        "architecture": architecture,
        architecture: asdict(settings),
        "files": {name: digest_file(path / name) for name in names},
    }
    fingerprint = description_fingerprint(described)
    description = {**described, "fingerprint": fingerprint, "space": space or fingerprint}
    write_json(path / DESCRIPTION_FILE, {**description, **(facts or {})})
    return (path / DESCRIPTION_FILE, *(path / name for name in names))


def description_fingerprint(description: Mapping[str, Any]) -> str:
    """Return the digest of what decides an encoder's vectors: architecture, settings, files."""
    architecture = description["architecture"]
    return _digest({key: description.get(key) for key in ("architecture", architecture, "files")})


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest()


def fingerprint_files(folder: Path, files: Sequence[Path]) -> str:
    """Return the digest of files of a folder, by name and content."""
    return _digest({str(path.relative_to(folder)): digest_file(path) for path in files})


def read_description(path: Path) -> dict[str, Any]:
    """Read the description of an encoder and check that its files belong together.

    Raises:
        DataError: If a file is damaged or of another encoder.
    """
    description = read_object(path / DESCRIPTION_FILE, files=dict)
    if description.get("fingerprint") != description_fingerprint(description):
        raise DataError(
            f"{path / DESCRIPTION_FILE} is damaged or was changed: its fingerprint is not that of"
            " the settings and digests in it. Make the encoder again."
        )
    for name, digest in description["files"].items():
        if digest_file(path / name) != digest:
            raise DataError(f"{path / name} is not the file that {DESCRIPTION_FILE} describes")
    return description


def read_settings(description: Mapping[str, Any], config_class: type[T]) -> T:
    """Return the architecture's config from a description."""
    values = description[description["architecture"]]
    return load_config(
        config_class, None, [f"{key}={json.dumps(value)}" for key, value in values.items()]
    )


def load_weights(path: Path, model: nn.Module) -> None:
    """Fill a model with the weights of an encoder directory.

    Raises:
        DataError: If they do not fit.
    """
    try:
        model.load_state_dict(load_file(path / WEIGHTS_FILE))
    except (SafetensorError, RuntimeError) as error:
        raise DataError(f"{path / WEIGHTS_FILE} does not fit its description: {error}") from error
