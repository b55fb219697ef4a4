"""Whether a sentence of a crawl is kept, and if not, why."""

from collections import Counter
from typing import NamedTuple

import regex

from corpus.languages import NO_LANGUAGE, UNKNOWN_LANGUAGE
from corpus.protocols import Prediction
from corpus.text import REPLACEMENT, script_of_character, script_parts
from mining.sentences.profiles import Limits, Profiles

LETTER = regex.compile(r"[\p{L}\p{M}\u200c\u200d]")
DIGIT = regex.compile(r"\p{N}")
# Tibetan tsheg and the Ethiopic word space part syllables and words as spaces do.
SPACE = regex.compile(r"[\s\u0f0b\u0f0c\u1361]")
_MARKUP = regex.compile(r"</?\p{L}+[^<]{0,80}>|[{}]|https?://|www\.|[;{]\s*\$|\\[nrtu]")
_MARKUP_SIGNS = ("<", "{", "}", "://", "www.", ";", "\\")
_MIN_UNITS_FOR_REPETITION = 8
_ETHIOPIC_SPACE = "\u1361"


def damage_reason(text: str, profiles: Profiles) -> str:
    """Return why a normalized sentence is rejected in any language; empty if it may be kept."""
    if len(text) < profiles.least_characters:
        return "too_short"
    if len(text) > profiles.most_characters:
        return "too_long"
    if REPLACEMENT in text:
        return "damaged_characters"
    if any(sign in text for sign in _MARKUP_SIGNS) and _MARKUP.search(text):
        return "markup"
    return ""


def language_reason(prediction: Prediction, languages: frozenset[str], min_lid_score: float) -> str:
    """Return why a sentence is rejected by what was identified; empty if it is kept.

    Args:
        prediction: The identifier's prediction.
        languages: Languages wanted; empty for all.
        min_lid_score: The least probability.
    """
    if prediction.language == UNKNOWN_LANGUAGE:
        return "unknown_language"
    if prediction.language == NO_LANGUAGE:
        return "no_language"
    if "," in prediction.language:
        return "confusable"
    if prediction.score < min_lid_score:
        return "low_lid_score"
    if languages and prediction.language not in languages:
        return "other_language"
    return ""


def form_reason(text: str, language: str, limits: Limits) -> str:
    """Return why a normalized sentence is rejected in its language; empty if it is kept."""
    if len(text) < limits.min_characters:
        return "too_short"
    if len(text) > limits.max_characters:
        return "too_long"
    characters = Counter(text)
    shares = _measure(characters, script_parts(language[4:8]))
    if shares.digits > limits.max_digit_share * shares.visible:
        return "many_digits"
    if shares.letters < limits.min_letter_share * shares.visible:
        return "few_letters"
    if shares.own_script < limits.min_script_share * shares.any_script or not shares.any_script:
        return "wrong_script"
    run = limits.max_character_run
    if len(text) >= run:
        often = [character for character, count in characters.items() if count >= run]
        if any(character * run in text for character in often):
            return "repetition"
    if not limits.has_words:
        is_long_enough = shares.letters >= _MIN_UNITS_FOR_REPETITION
        too_many = shares.commonest > limits.max_word_share * shares.letters
        return "repetition" if is_long_enough and too_many else ""
    return _word_reason(text, limits)


class _Shares(NamedTuple):
    """How many characters of a text are what."""

    visible: int
    letters: int
    digits: int
    any_script: int
    own_script: int
    commonest: int


def _measure(characters: Counter[str], own: frozenset[str]) -> _Shares:
    spaces = letters = digits = any_script = own_script = commonest = 0
    for character, count in characters.items():
        kind, script = _FACTS[character]
        if kind == "L":
            letters += count
            if count > commonest:  # not max(): a call per character is what this loop costs
                commonest = count
        elif kind == "N":
            digits += count
        elif kind == "Z":
            spaces += count
        if script is not None:
            any_script += count
            if script in own:
                own_script += count
    visible = characters.total() - spaces
    return _Shares(visible, letters, digits, any_script, own_script, commonest)


class _Facts(dict[str, tuple[str, str | None]]):
    """Of each character met: letter, digit, space or neither, and its script."""

    def __missing__(self, character: str) -> tuple[str, str | None]:
        kind = ""
        for name, pattern in (("L", LETTER), ("N", DIGIT), ("Z", SPACE)):
            if pattern.match(character):
                kind = name
        facts = (kind, script_of_character(character))
        self[character] = facts
        return facts


_FACTS = _Facts()


def _word_reason(text: str, limits: Limits) -> str:
    if _ETHIOPIC_SPACE in text:
        text = text.replace(_ETHIOPIC_SPACE, " ")
    words = text.split()
    if len(words) < limits.min_words:
        return "few_words"
    if len(max(words, key=len)) > limits.max_word_characters:
        return "long_word"
    if len(words) < _MIN_UNITS_FOR_REPETITION:
        return ""
    # So many different words leave too few places for the commonest one.
    if len(words) - len(set(words)) + 1 <= limits.max_word_share * len(words):
        return ""
    most = Counter(words).most_common(1)[0][1]
    return "repetition" if most > limits.max_word_share * len(words) else ""
