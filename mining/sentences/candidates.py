"""The sentences of a line that may be kept in some language."""

from collections import Counter
from typing import NamedTuple, Protocol

from corpus.split import iterate_sentences
from corpus.text import normalize
from mining.sentences.clean import boilerplate_reason, is_notice, repair
from mining.sentences.filters import damage_reason
from mining.sentences.profiles import Profiles

SENTENCES = "sentences"


class Candidate(NamedTuple):
    """A sentence that may be kept, or what was rejected."""

    text: str
    document: str
    position: int


class Rejects(Protocol):
    """Takes what is rejected, and counts."""

    counts: Counter[str]

    def reject(self, reason: str, candidate: Candidate) -> None:
        """Take what is rejected before its language is known."""
        ...


def line_candidates(
    line: str, document: str, position: int, repairs: bool, profiles: Profiles, rows: Rejects
) -> tuple[list[Candidate], int]:
    """Return the sentences of a line, normalized, and the position after its last; reject others.

    Args:
        line: A line that holds something.
        document: Its document.
        position: Of the line's first sentence.
        repairs: Whether wrong decodings are undone.
        profiles: Limits by language.
        rows: Gets counts and rejects.
    """
    rows.counts["lines"] += 1
    repaired = repair(line) if repairs else line
    rows.counts["repaired_lines"] += repaired != line
    reason = boilerplate_reason(repaired)
    if reason:
        rows.reject(f"boilerplate_lines.{reason}", Candidate(repaired, document, position))
        return [], position
    found = []
    for sentence in iterate_sentences(repaired):
        text = normalize(sentence)
        if not text:
            continue
        rows.counts[SENTENCES] += 1
        candidate = Candidate(text, document, position)
        position += 1
        if not is_damaged(candidate, profiles, rows):
            found.append(candidate)
    return found, position


def is_damaged(candidate: Candidate, profiles: Profiles, rows: Rejects) -> bool:
    """Reject a normalized sentence, and say so, that is kept in no language."""
    reason = "notice" if is_notice(candidate.text) else damage_reason(candidate.text, profiles)
    if reason:
        rows.reject(f"rejected.{reason}", candidate)
    return bool(reason)
