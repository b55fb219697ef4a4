"""Limits for sentences by language: general ones, those of its script, and its own.

Lengths and word rules that fit European languages reject whole scripts: a Chinese sentence has a
third of the characters, Thai, Lao, Khmer, Burmese and Tibetan put no space between words.
"""

import dataclasses
import sys
from typing import NamedTuple

from corpus.text import UNSPACED_SCRIPTS
from mining.sentences.config import FilterProfile, SentenceFilterConfig

_ANY = sys.maxsize
_HAN = FilterProfile(min_characters=4, max_characters=400, max_word_share=0.3)
_UNSPACED = FilterProfile(max_word_share=0.3)

SCRIPT_PROFILES = {
    "Hans": _HAN,
    "Hant": _HAN,
    "Jpan": _HAN,
    "Hang": FilterProfile(min_characters=4, max_characters=500),
    "Thai": _UNSPACED,
    "Laoo": _UNSPACED,
    "Khmr": _UNSPACED,
    "Mymr": _UNSPACED,
    "Tibt": _UNSPACED,
}
"""Limits of scripts. Tests check how much of every FLORES-200 language passes."""


class Limits(NamedTuple):
    """The limits of one language, as in `SentenceFilterConfig`."""

    min_characters: int
    max_characters: int
    min_words: int
    max_word_characters: int
    min_letter_share: float
    max_digit_share: float
    max_character_run: int
    max_word_share: float
    min_script_share: float
    min_lid_score: float
    has_words: bool
    """Whether spaces part its words; without, word rules do not apply."""


class Profiles:
    """The limits of every language under one configuration."""

    def __init__(self, config: SentenceFilterConfig) -> None:
        self._config = config
        self._limits: dict[str, Limits] = {}
        others = [*SCRIPT_PROFILES.values(), *config.profiles.values()]
        self.least_characters = min(
            [config.min_characters, *(one.min_characters or _ANY for one in others)]
        )
        """Shorter sentences are too short in any language."""
        self.most_characters = max(
            [config.max_characters, *(one.max_characters or 0 for one in others)]
        )
        """Longer ones are too long in any."""

    def of(self, language: str) -> Limits:
        """Return the limits of a language."""
        if language not in self._limits:
            self._limits[language] = self._choose(language)
        return self._limits[language]

    def _choose(self, language: str) -> Limits:
        script = language[4:8]
        given = self._config.profiles
        by_precedence = [
            given.get(language), given.get(script), SCRIPT_PROFILES.get(script), self._config,
        ]  # fmt: skip
        chosen = {
            name: next(
                value
                for profile in by_precedence
                if profile is not None and (value := getattr(profile, name)) is not None
            )
            for name in [field.name for field in dataclasses.fields(FilterProfile)]
        }
        return Limits(**chosen, has_words=script not in UNSPACED_SCRIPTS)
