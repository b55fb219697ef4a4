"""Answers with a confusable group where a line fits several of its languages and none clearly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from corpus.errors import DataError
from corpus.jobs import CONFIG_FILE
from corpus.protocols import Prediction
from lid.config import CONFUSABLE_GROUPS, group_codes
from lid.identifier import LanguageIdentifier, Ranked

SURE = 0.7
"""Score from which a language is answered alone: no class's threshold is higher by default
(`CalibrationConfig.max_threshold`)."""


class GroupIdentifier:
    """An identifier that answers with a group of languages where it cannot decide between them.

    Where the two best languages are in one group and the best one's score is below `SURE`, the
    answer is the group: its languages that the model knows, with commas between, and the sum of
    their scores. As for a language, the answer is `und` below the thresholds of the best one.
    """

    def __init__(self, identifier: LanguageIdentifier, groups: Sequence[str]) -> None:
        """Wrap an identifier; `groups` are codes with commas between, as in the config."""
        self._identifier = identifier
        known = set(identifier.languages)
        self._group_of: dict[str, str] = {}
        for group in groups:
            codes = [code for code in group_codes(group) if code in known]
            if len(codes) > 1:
                self._group_of |= dict.fromkeys(codes, ",".join(codes))
        largest = max((name.count(",") + 1 for name in self._group_of.values()), default=1)
        # The model of another publisher may have several labels for one language.
        self._top = largest + len(identifier.classes) - len(set(identifier.classes))

    @property
    def languages(self) -> list[str]:
        """The languages that the model knows, sorted."""
        return self._identifier.languages

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        """Return one answer per line, in order: a language, a group, `und` or `zxx`."""
        return [self._answer(ranked) for ranked in self._identifier.rank_top(lines, self._top)]

    def _answer(self, ranked: Sequence[Ranked]) -> Prediction:
        best = ranked[0]
        second = next((one for one in ranked if one.language != best.language), None)
        group = self._group_of.get(best.language)
        if (
            second is None
            or group is None
            or self._group_of.get(second.language) != group
            or best.score >= SURE
        ):
            return self._identifier.apply_threshold(best)
        score = sum(one.score for one in ranked if self._group_of.get(one.language) == group)
        answer = self._identifier.apply_threshold(best._replace(score=score))
        return answer if answer.language != best.language else Prediction(group, score)


def read_groups(model: Path) -> tuple[str, ...]:
    """Return the groups a model was trained or calibrated with; the usual ones if it was not.

    Raises:
        DataError: If the model's config holds no valid groups.
    """
    file = model / CONFIG_FILE
    if not file.is_file():
        return CONFUSABLE_GROUPS
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        return tuple(map(str, config.get("calibration", config)["groups"]))
    except (yaml.YAMLError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} names no groups of languages ({error}). Train the model again."
        ) from None
