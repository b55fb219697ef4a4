"""Sounds: classes, sound changes in the notation of historical linguistics, affixes, harmony.

A word is a string with one character per phoneme. A proper name begins with `NAME_MARK`.
"""

import functools
import re
from collections.abc import Sequence

VOWELS = "aeiouöüɨ"
CONSONANTS = "pbtdkgqmnŋfvszšžčǰxɣhrlywθφχ"

NAME_MARK = "^"
"""First character of a proper name, which scripts with case write with a capital."""

_CLASSES = {"V": f"[{VOWELS}]", "C": f"[{CONSONANTS}]"}
_FRONT = str.maketrans("aouɨ", "eöüi")
_BACK = str.maketrans("eöüi", "aouɨ")
_FRONT_VOWELS = frozenset("eöüi")
_OPTIONAL_SOUND = re.compile(r"\((.)\)")


def parse_change(rule: str) -> tuple[re.Pattern[str], dict[str, str]]:
    """Return the pattern and the replacements of one sound change.

    `p t > f s / V_#` reads: p becomes f and t becomes s after a vowel at the end of a word.
    `V` and `C` are any vowel and any consonant, `[ei]` either of two sounds, `#` the edge of the
    word, `0` nothing; one sound after `>` serves for all before it. The sounds before `>` change
    all at once, so chains do not feed themselves.

    Raises:
        ValueError: If the two sides do not match.
    """
    change, _, environment = rule.partition("/")
    before, arrow, after = change.partition(">")
    sources, targets = before.split(), after.split()
    if sources == ["V"]:
        sources = list(VOWELS)
    if len(targets) == 1:
        targets = targets * len(sources)
    if not arrow or len(sources) != len(targets):
        raise ValueError(
            f"`{rule}` is not a sound change: it needs one sound after `>`, or as many as before it"
        )
    left, _, right = environment.strip().partition("_")
    behind = "".join(_environment(part, edge="^") for part in _sounds(left))
    ahead = "".join(_environment(part, edge="$") for part in _sounds(right))
    core = "|".join(re.escape(sound) for sound in sorted(sources, key=len, reverse=True))
    lookbehind = f"(?<={behind})" if behind not in ("", "^") else behind
    pattern = re.compile(
        f"{lookbehind}(?:{core})(?={ahead})" if ahead else f"{lookbehind}(?:{core})"
    )
    return pattern, {s: "" if t == "0" else t for s, t in zip(sources, targets, strict=True)}


def _sounds(environment: str) -> list[str]:
    return re.findall(r"\[[^\]]+\]|.", environment.strip())


def _environment(part: str, edge: str) -> str:
    return edge if part == "#" else _CLASSES.get(part, part)


def apply_changes(word: str, changes: Sequence[str]) -> str:
    """Apply sound changes to a word, in order; see `parse_change` for their notation."""
    for rule in changes:
        word = _change(word, *_parsed(rule))
    return word


def _change(word: str, pattern: re.Pattern[str], replacements: dict[str, str]) -> str:
    return pattern.sub(lambda match: replacements[match[0]], word)


_parsed = functools.cache(parse_change)


def ends_in_vowel(word: str) -> bool:
    """Whether the last sound of a word is a vowel."""
    return word[-1:] in VOWELS


def harmonize(word: str) -> str:
    """Give all vowels of a word the class, front or back, of its first vowel."""
    first = next((sound for sound in word if sound in VOWELS), "a")
    return word.translate(_BACK if first not in _FRONT_VOWELS else _FRONT)


def attach(stem: str, affix: str, harmony: bool = False) -> str:
    """Attach an affix to a stem.

    `-(a)n` is a suffix, `ma-` a prefix, `+ta` a word of its own after the stem, `ta+` one before
    it. A sound in parentheses appears where it keeps vowels and consonants apart: a vowel between
    two consonants, a consonant between two vowels. With harmony a suffix takes the vowel class of
    the stem's last vowel.
    """
    if not affix:
        return stem
    if affix.startswith("+"):
        return f"{stem} {affix[1:]}"
    if affix.endswith("+"):
        return f"{affix[:-1]} {stem}"
    optional = _OPTIONAL_SOUND.search(affix)
    if affix.endswith("-"):
        bare = stem.removeprefix(NAME_MARK)
        mark = stem[: len(stem) - len(bare)]
        return mark + _link(affix[:-1], optional, bare[0] in VOWELS) + bare
    suffix = _link(affix[1:], optional, ends_in_vowel(stem))
    if harmony:
        last = next((sound for sound in reversed(stem) if sound in VOWELS), "a")
        suffix = suffix.translate(_FRONT if last in _FRONT_VOWELS else _BACK)
    return stem + suffix


def _link(affix: str, optional: re.Match[str] | None, beside_vowel: bool) -> str:
    if optional is None:
        return affix
    sound = optional[1]
    keeps = (sound in VOWELS) != beside_vowel
    return affix.replace(optional[0], sound if keeps else "")
