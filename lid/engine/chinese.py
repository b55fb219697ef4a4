"""Simplified or traditional Chinese, decided by the characters of a line.

A character that GB 2312 has and Big5 lacks is simplified, the reverse is traditional; Python's own
codecs hold both sets. On FLORES-200 (dev and devtest) every line of `zho_Hans`, `zho_Hant` and
`yue_Hant` has more of its own kind.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

CHINESE = SIMPLIFIED, TRADITIONAL = "zho_Hans", "zho_Hant"

_LEADS = range(0xA1, 0xFA)
_TRAILS = range(0x40, 0xFF)


def chinese_script(text: str, otherwise: str) -> str:
    """Return `zho_Hans` or `zho_Hant`, whichever has more characters of its own in the text.

    Args:
        text: A line in Chinese.
        otherwise: What is returned where both have the same number, as in a line of characters
            that both share.
    """
    simplified, traditional = own_characters()
    difference = sum((c in simplified) - (c in traditional) for c in text)
    if difference == 0:
        return otherwise
    return SIMPLIFIED if difference > 0 else TRADITIONAL


@functools.cache
def own_characters() -> tuple[frozenset[str], frozenset[str]]:
    """Return the characters that only GB 2312 has, and those that only Big5 has."""
    simplified, traditional = _ideographs("gb2312"), _ideographs("big5")
    return simplified - traditional, traditional - simplified


def _ideographs(encoding: str) -> frozenset[str]:
    return frozenset(c for c in _two_byte_characters(encoding) if "\u4e00" <= c <= "\u9fff")


def _two_byte_characters(encoding: str) -> Iterable[str]:
    for lead in _LEADS:
        for trail in _TRAILS:
            yield from bytes((lead, trail)).decode(encoding, "ignore")
