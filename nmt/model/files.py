"""The files of a model directory; imports no torch, so that a wrong path is refused at once."""

from pathlib import Path

from corpus.errors import UserError

WEIGHTS_FILE = "model.safetensors"
DESCRIPTION_FILE = "model.json"
VOCABULARY_DIRECTORY = "vocabulary"


def check_model(directory: Path) -> None:
    """Refuse a directory that is not a model.

    Raises:
        UserError: If the description or the weights are missing.
    """
    for name in (DESCRIPTION_FILE, WEIGHTS_FILE):
        if not (directory / name).is_file():
            raise UserError(
                f"{directory} is not a translation model: it has no {name}. `tongues nmt train`"
                " writes one; an interrupted training resumes when the same command is run again."
            )
