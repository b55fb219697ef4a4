"""Translations that are made wrong by a small change: another number, a part dropped."""

import itertools
import random

import regex

_DIGITS = regex.compile(r"\p{Nd}+")
_PART = regex.compile(r"(?<=[,;:،、，；—–])\s*|\s+(?=[(（])")
_FEWEST_DROPPED = 0.2
_MOST_DROPPED = 0.7
"""Share of the characters that a dropped part may have."""


def change_number(text: str, rng: random.Random) -> str | None:
    """Return a text with a digit of one of its numbers changed; None where there is no number."""
    numbers = list(_DIGITS.finditer(text))
    if not numbers:
        return None
    number = rng.choice(numbers)
    place = rng.randrange(number.start(), number.end())
    zero = ord(text[place]) - int(text[place])
    other = (int(text[place]) + rng.randrange(1, 10)) % 10
    return f"{text[:place]}{chr(zero + other)}{text[place + 1 :]}"


def drop_part(text: str, rng: random.Random) -> str | None:
    """Return a text without one of its parts: what stands between commas, else words at an end.

    None for texts that are too short to lose a part.
    """
    edges = [0, *(match.end() for match in _PART.finditer(text)), len(text)]
    parts = [
        (start, stop)
        for start, stop in itertools.pairwise(edges)
        if _FEWEST_DROPPED <= (stop - start) / max(len(text), 1) <= _MOST_DROPPED
    ]
    if parts:
        start, stop = rng.choice(parts)
        return (text[:start] + text[stop:]).strip(" ,;،、，；") or None
    units = text.split(" ")
    space = " "
    if len(units) < 4:
        units, space = list(text), ""
    if len(units) < 8:
        return None
    count = round(len(units) * rng.uniform(0.3, 0.5))
    kept = units[count:] if rng.random() < 0.5 else units[:-count]
    return space.join(kept).strip() or None
