"""Files of a command that reads bitext and writes it."""

from pathlib import Path

from corpus.bitext import check_bitext_name
from corpus.errors import UserError
from corpus.jobs import check_not_inputs


def check_files(bitext: Path, *outputs: Path) -> None:
    """Refuse a missing bitext, and outputs that are unusable or the bitext itself.

    Raises:
        UserError: Naming the file.
    """
    if not bitext.is_file():
        raise UserError(f"bitext {bitext} does not exist or is not a file")
    for path in outputs:
        check_bitext_name(path)
    check_not_inputs(outputs, [bitext])
