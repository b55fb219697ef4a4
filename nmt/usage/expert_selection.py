"""Which experts some languages need, by the measured usage of a model."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from corpus.errors import UserError
from corpus.files import read_json
from corpus.languages import Direction
from nmt.usage.measure import is_encoder
from nmt.usage.pruning import experts_for_languages


class Needed(NamedTuple):
    """Languages that a pruned model is for."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]

    @classmethod
    def of(cls, directions: Iterable[Direction]) -> "Needed":
        """Return the languages of directions, sorted."""
        there = list(directions)
        return cls(
            tuple(sorted({direction.source for direction in there})),
            tuple(sorted({direction.target for direction in there})),
        )


def needed_experts(usage: Path, needed: Needed, share: float) -> dict[str, list[int]]:
    """Return the experts that a model needs for some languages.

    Args:
        usage: `usage.json` of `tongues nmt experts`.
        needed: Encoder layers are for the sources, decoder layers for the targets.
        share: Share of each language's tokens that its experts keep, by gate weight.

    Raises:
        UserError: If the file is not an usage of experts, or a language was not measured.
    """
    if not usage.is_file():
        raise UserError(f"{usage} does not exist; `tongues nmt experts --json` writes one")
    measured = read_json(usage)
    if not isinstance(measured, dict) or not isinstance(measured.get("layers"), dict):
        raise UserError(f"{usage} is not the usage of experts that `tongues nmt experts` writes")
    sides = (needed.targets, needed.sources)
    kept = [experts_for_languages(measured, languages, share) for languages in sides]
    return {layer: kept[is_encoder(layer)][layer] for layer in measured["layers"]}
