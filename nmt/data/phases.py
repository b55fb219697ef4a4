"""Which directions are trained when (NLLB-200, section 6.4: low-resource directions enter late)."""

import logging
from collections.abc import Mapping

from corpus.errors import UserError
from corpus.languages import Direction, parse_direction
from nmt.data.config import CurriculumConfig, PhaseConfig

logger = logging.getLogger(__name__)


def resource_level(num_pairs: int, config: CurriculumConfig) -> str:
    """Return `high`, `low` or `very_low` for a direction with so many pairs."""
    if num_pairs <= config.very_low_resource_pairs:
        return "very_low"
    return "high" if num_pairs >= config.high_resource_pairs else "low"


class Curriculum:
    """Phases with the directions of each."""

    def __init__(self, config: CurriculumConfig, num_pairs: Mapping[Direction, int]) -> None:
        """Resolve the phases.

        Args:
            config: Phases as a recipe gives them.
            num_pairs: Pairs of each direction there is.

        Raises:
            UserError: If a phase names a direction without pairs, or is left with none.
        """
        self._starts = [phase.from_update for phase in config.phases]
        self._directions = [_directions(phase, config, num_pairs) for phase in config.phases]
        never = sorted(set(num_pairs).difference(*self._directions))
        if never:
            logger.warning(
                "%d directions with bitext are in no phase, %s among them: they are not trained",
                len(never),
                never[0],
            )

    def phase(self, update: int) -> int:
        """Return the index of the phase that the update with this number, from 0, belongs to."""
        return max(i for i, start in enumerate(self._starts) if start <= update)

    def directions(self, phase: int) -> tuple[Direction, ...]:
        """Return the directions of a phase, sorted."""
        return self._directions[phase]

    def describe(self) -> list[str]:
        """Return a line per phase, for the log."""
        return [
            f"from update {start:,}: {len(directions)} directions"
            for start, directions in zip(self._starts, self._directions, strict=True)
        ]


def _directions(
    phase: PhaseConfig, config: CurriculumConfig, num_pairs: Mapping[Direction, int]
) -> tuple[Direction, ...]:
    named = {parse_direction(direction) for direction in phase.directions}
    for direction in named:
        if direction not in num_pairs:
            raise UserError(
                f"the phase from update {phase.from_update} names {direction}, for which there is"
                " no bitext"
            )
    chosen = named or {
        direction
        for direction, pairs in num_pairs.items()
        if resource_level(pairs, config) in phase.resource_levels
    }
    if not chosen:
        levels = ", ".join(phase.resource_levels)
        raise UserError(
            f"the phase from update {phase.from_update} has no direction: none of the bitext is of"
            f" level {levels}. Levels are set by `curriculum.high_resource_pairs` and"
            " `curriculum.very_low_resource_pairs`."
        )
    return tuple(sorted(chosen))
