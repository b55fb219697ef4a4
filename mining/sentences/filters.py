"""Whether a sentence of a crawl is kept, and if not, why."""

import itertools
from collections import Counter

import regex

from corpus.languages import NO_LANGUAGE, UNKNOWN_LANGUAGE
from corpus.protocols import Prediction
from corpus.text import script_share
from mining.sentences.config import SentenceFilterConfig

_LETTERS = regex.compile(r"[\p{L}\p{M}\u200c\u200d]")
_DIGITS = regex.compile(r"\p{N}")
_SPACES = regex.compile(r"\s")
_MARKUP = regex.compile(r"</?\p{L}+[^<]{0,80}>|[{}]|https?://|www\.|[;{]\s*\$|\\[nrtu]")
_MIN_WORDS_FOR_REPETITION = 8
_REPLACEMENT = "\ufffd"


def form_reason(text: str, config: SentenceFilterConfig) -> str:
    """Return why a normalized sentence is rejected by its form; empty if it is kept."""
    if len(text) < config.min_characters:
        return "too_short"
    if len(text) > config.max_characters:
        return "too_long"
    if _REPLACEMENT in text:
        return "damaged_characters"
    if _MARKUP.search(text):
        return "markup"
    visible = len(text) - len(_SPACES.findall(text))
    if len(_DIGITS.findall(text)) > config.max_digit_share * visible:
        return "many_digits"
    if len(_LETTERS.findall(text)) < config.min_letter_share * visible:
        return "few_letters"
    if _has_run(text, config.max_character_run) or _is_repetitive(text, config.max_word_share):
        return "repetition"
    return ""


def _has_run(text: str, length: int) -> bool:
    run = 1
    for previous, character in itertools.pairwise(text):
        run = run + 1 if character == previous else 1
        if run >= length:
            return True
    return False


def _is_repetitive(text: str, max_share: float) -> bool:
    words = text.split()
    if len(words) < _MIN_WORDS_FOR_REPETITION:
        return False
    return Counter(words).most_common(1)[0][1] > max_share * len(words)


def language_reason(
    text: str, prediction: Prediction, languages: frozenset[str], config: SentenceFilterConfig
) -> str:
    """Return why a sentence is rejected by its identified language; empty if it is kept.

    Args:
        text: The normalized sentence.
        prediction: What the identifier says of it.
        languages: Languages wanted; empty for all.
        config: The thresholds.
    """
    if prediction.language == UNKNOWN_LANGUAGE:
        return "unknown_language"
    if prediction.language == NO_LANGUAGE:
        return "no_language"
    if prediction.score < config.min_lid_score:
        return "low_lid_score"
    if languages and prediction.language not in languages:
        return "other_language"
    if script_share(text, prediction.language[4:8]) < config.min_script_share:
        return "wrong_script"
    return ""
