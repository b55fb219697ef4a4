"""New SentencePiece pieces for a language whose text is cut into too many.

A piece is added for each character that the model lacks, and for pairs of pieces that often follow
each other in a word of the language, the most frequent first (byte-pair encoding, Sennrich et al.
2016), learned on top of what the model makes of the text. Scores place new pieces behind all old
ones, so that other text is cut differently only where old pieces leave both halves of a new one.
"""

import heapq
import itertools
import struct
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence, Set
from typing import NamedTuple

from sentencepiece import SentencePieceProcessor

_SPACE = "\u2581"
"""What SentencePiece writes for a space; a word begins with it."""

_LONGEST = 16
"""Characters of a piece (default of SentencePiece's trainer)."""

_PREFERENCE = 1e-3
"""By how much the score of a new piece exceeds the sum of its halves', in a unigram model."""


class NewPiece(NamedTuple):
    """A piece to add."""

    text: str

    halves: tuple[str, ...]
    """The two pieces that it joins; none for a character that the model lacks."""

    parts: tuple[str, ...]
    """The model's own pieces that it replaces; `<unk>` is one for a character."""


class Cut(NamedTuple):
    """The words of a text as a model cuts them."""

    words: Counter[tuple[str, ...]]

    unknown: Counter[str]
    """Characters without a piece."""

    characters: int

    @property
    def tokens(self) -> int:
        """Tokens of the text; each unknown character counts."""
        return sum(len(word) * count for word, count in self.words.items())


def cut_words(processor: SentencePieceProcessor, lines: Sequence[str]) -> Cut:
    """Return the words of lines with how often each occurs, cut into pieces."""
    words: Counter[tuple[str, ...]] = Counter()
    unknown: Counter[str] = Counter()
    for line in lines:
        word: list[str] = []
        for piece in processor.encode(line, out_type=str):
            if piece.startswith(_SPACE) and word:
                words[tuple(word)] += 1
                word = []
            if processor.piece_to_id(piece) == processor.unk_id():
                unknown.update(piece.replace(_SPACE, ""))
                word += list(piece)
            else:
                word.append(piece)
        if word:
            words[tuple(word)] += 1
    return Cut(words, unknown, sum(map(len, lines)))


def learn_pieces(
    processor: SentencePieceProcessor,
    cut: Cut,
    *,
    max_pieces: int,
    min_count: int,
    tokens_per_character: float,
    forbidden: Collection[str] = (),
) -> list[NewPiece]:
    """Return pieces to add, in the order in which they are to be merged.

    Args:
        processor: The model.
        cut: The text of the language.
        max_pieces: At most so many.
        min_count: How often the pair, or the unknown character, occurs at least.
        tokens_per_character: Pairs are joined only while the text has more.
        forbidden: Pieces that must not be added.
    """
    unknown = processor.id_to_piece(processor.unk_id())
    common = sorted(cut.unknown.items(), key=lambda item: (-item[1], item[0]))
    added = [
        NewPiece(character, (), (unknown,))
        for character, count in common
        if count >= min_count and character not in forbidden
    ][:max_pieces]
    parts = {piece.text: piece.parts for piece in added}
    merges = _Merges(cut.words, cut.unknown.keys() - parts.keys())
    while len(added) < max_pieces and merges.tokens > tokens_per_character * cut.characters:
        best = merges.pop(min_count)
        if best is None:
            break
        text = "".join(best)
        is_new = processor.piece_to_id(text) == processor.unk_id() and text not in parts
        if is_new and _is_word_part(text) and text not in forbidden:
            parts[text] = tuple(part for half in best for part in parts.get(half, (half,)))
            added.append(NewPiece(text, best, parts[text]))
            merges.merge(best)
    return added


def _is_word_part(text: str) -> bool:
    """Return whether a piece is short and holds nothing but letters, and a space before them."""
    letters = text.removeprefix(_SPACE)
    is_word = bool(letters) and all(unicodedata.category(c)[0] in "LM" for c in letters)
    return is_word and len(text) <= _LONGEST


class _Merges:
    """Words in which pairs of pieces are joined, and how often each pair occurs."""

    def __init__(self, words: Mapping[tuple[str, ...], int], lacking: Set[str]) -> None:
        """Begin with words as a model cuts them; characters it is left lacking join nothing."""
        self._words = [list(word) for word in words]
        self._counts = list(words.values())
        self._lacking = lacking
        self.tokens = sum(len(w) * n for w, n in zip(self._words, self._counts, strict=True))
        self._pairs: Counter[tuple[str, str]] = Counter()
        self._places: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        for number in range(len(self._words)):
            self._count(number, 1)
        self._heap = [(-count, pair) for pair, count in self._pairs.items()]
        heapq.heapify(self._heap)

    def _count(self, number: int, sign: int) -> set[tuple[str, str]]:
        """Add a word's pairs to the counts, or take them off; return them."""
        pairs = [
            pair
            for pair in itertools.pairwise(self._words[number])
            if self._lacking.isdisjoint(pair)
        ]
        for pair in pairs:
            self._pairs[pair] += sign * self._counts[number]
            self._places[pair].add(number)
        return set(pairs)

    def pop(self, min_count: int) -> tuple[str, str] | None:
        """Return the most frequent pair, the first by its text among equals; None without any."""
        while self._heap:
            negative, pair = heapq.heappop(self._heap)
            count = self._pairs[pair]
            if count == -negative:
                return pair if count >= min_count else None
            if count < -negative:  # else another entry has the count of now
                heapq.heappush(self._heap, (-count, pair))
        return None

    def merge(self, pair: tuple[str, str]) -> None:
        """Join a pair wherever it occurs."""
        changed: set[tuple[str, str]] = set()
        for number in sorted(self._places.pop(pair)):
            word = self._words[number]
            joined = _joined(word, pair)
            if len(joined) < len(word):
                self._count(number, -1)
                self.tokens -= (len(word) - len(joined)) * self._counts[number]
                self._words[number] = joined
                changed |= self._count(number, 1)
        for one in sorted(changed):
            heapq.heappush(self._heap, (-self._pairs[one], one))


def _joined(word: Sequence[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for piece in word:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def append_pieces(model: bytes, pieces: Sequence[NewPiece]) -> bytes:
    """Return a SentencePiece model with pieces at the end, scored behind all others.

    Byte-pair encoding joins by rank: scores go on falling. A unigram model takes the cut with the
    highest sum: a new piece gets hardly more than its halves.

    The model is a protocol buffer whose first field, repeated, are the pieces; they may continue
    behind other fields.
    """
    processor = SentencePieceProcessor(model_proto=model)
    scores = {
        processor.id_to_piece(i): float(processor.get_score(i))
        for i in range(processor.get_piece_size())
    }
    lowest = min(scores.values())
    is_ranked = all(score == round(score) for score in scores.values())
    encoded = [model]
    for rank, piece in enumerate(pieces, start=1):
        score = lowest - rank if is_ranked else lowest
        if piece.halves and not is_ranked:
            score = sum(scores[half] for half in piece.halves) + _PREFERENCE
        scores[piece.text] = score
        text = piece.text.encode()
        entry = b"\x0a" + bytes([len(text)]) + text + b"\x15" + struct.pack("<f", score)
        encoded.append(b"\x0a" + bytes([len(entry)]) + entry)
    return b"".join(encoded)
