"""Characters that the vocabulary lacks, copied from the source to the translation on request.

Those at the beginning and end of a text, such as emoji and quotation marks, are cut off before it
is translated and put back in their places. Those inside go through the model as its unknown token,
and take, in order, the places of the unknown tokens of the translation.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Copied(NamedTuple):
    """Unknown characters of a text, by their places."""

    before: str = ""
    """At its beginning, with white space up to the rest."""

    inside: tuple[str, ...] = ()
    """Runs in its middle, each a single unknown token."""

    after: str = ""
    """At its end, with white space from the rest."""


def cut_unknown(text: str, runs: Sequence[str]) -> tuple[str, Copied]:
    """Return a text without the unknown characters at its ends, and what is to be copied.

    Args:
        text: Normalized text.
        runs: Its runs of unknown characters, in order.
    """
    begin, end = 0, len(text)
    first, last = 0, len(runs)
    while first < last and text[begin:end].lstrip().startswith(runs[first]):
        begin = text.index(runs[first], begin, end) + len(runs[first])
        first += 1
    while first < last and text[begin:end].rstrip().endswith(runs[last - 1]):
        end = text.rindex(runs[last - 1], begin, end)
        last -= 1
    rest = text[begin:end]
    begin += len(rest) - len(rest.lstrip())
    end = max(begin, end - len(rest) + len(rest.rstrip()))
    return text[begin:end], Copied(text[:begin], tuple(runs[first:last]), text[end:])
