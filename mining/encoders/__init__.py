"""Sentence encoders behind one protocol; torch stays in this package."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from corpus.errors import DataError, UserError
from corpus.files import read_json
from mining.search.margin import Float32

DESCRIPTION_FILE = "encoder.json"


class Encoder(Protocol):
    """Maps sentences of all its languages into one space."""

    @property
    def dimension(self) -> int:
        """Width of an embedding."""
        ...

    def encode(self, sentences: Sequence[str]) -> Float32:
        """Return unit vectors, [N, dimension]; the same for a sentence whatever the batch."""
        ...


def encoder_files(path: Path) -> tuple[Path, ...]:
    """Return the files that make up an encoder, sorted.

    Raises:
        UserError: If the directory is not an encoder's.
        DataError: If a file of it is missing.
    """
    description = path / DESCRIPTION_FILE
    if not description.is_file():
        raise UserError(
            f"{path} is not an encoder directory: it has no {DESCRIPTION_FILE}."
            " `tongues mining train-encoder` makes one."
        )
    names = read_json(description)["files"]
    missing = [name for name in names if not (path / name).is_file()]
    if missing:
        raise DataError(f"encoder {path} lacks {', '.join(missing)}; train it again")
    return (description, *(path / name for name in sorted(names)))


def load_encoder(path: Path, *, threads: int = 1) -> Encoder:
    """Load an encoder from its directory.

    Args:
        path: What `tongues mining train-encoder` wrote.
        threads: CPU threads of its arithmetic.

    Raises:
        UserError: If the directory is not an encoder's.
        DataError: If it is damaged, or of an architecture this version does not know.
    """
    encoder_files(path)
    description = read_json(path / DESCRIPTION_FILE)
    if description.get("architecture") != "bag":
        raise DataError(
            f"{path / DESCRIPTION_FILE}: architecture `{description.get('architecture')}` is not"
            " one of: bag"
        )
    from mining.encoders.bag import load_bag

    return load_bag(path, threads=threads)
