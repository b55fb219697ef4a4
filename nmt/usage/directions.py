"""Choice of the directions of a test set that are run through a model, with their text."""

from collections.abc import Sequence
from pathlib import Path

from corpus.errors import UserError
from corpus.flores import read_split, split_languages
from corpus.languages import Direction, check_language, find_language


def read_texts(
    trained: Sequence[Direction],
    flores: Path,
    split: str,
    directions: Sequence[Direction] = (),
    through: str = "",
) -> tuple[list[Direction], dict[str, list[str]]]:
    """Return the directions to run and the lines of their languages.

    Args:
        trained: What the model was trained on.
        flores: Directory in FLORES-200's layout.
        split: `dev` or `devtest`.
        directions: What to run; if empty, all that were trained and that the split has.
        through: Of these, only the ones from or into this language; all if empty.

    Raises:
        UserError: If nothing is left to run.
    """
    there = split_languages(flores, split)
    known = {code: find_language(code, there) for code in {code for d in trained for code in d}}
    chosen = list(directions) or [d for d in trained if known[d.source] and known[d.target]]
    if through:
        check_language(through)
        chosen = [direction for direction in chosen if through in direction]
    if not chosen:
        raise UserError(
            f"{flores / split} has no direction that the model was trained on"
            + (f" from or into {through}" if through else "")
        )
    return chosen, read_split(flores, split, sorted({lang for d in chosen for lang in d}))
