"""Sentences to token ids for the encoders that read them in order.

Ids are fairseq's: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, then the pieces of the vocabulary, line
i of `vocabulary.txt` being id i + 4.
"""

import functools
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import sentencepiece

from corpus.files import read_text
from mining.encoders.features import TokenRows, prepare

BOS, PAD, EOS, UNK = 0, 1, 2, 3
FIRST_PIECE = 4
VOCABULARY_FILE = "vocabulary.txt"

# Indexes of sacremoses' list for English where LASER differs from it, to agree with the Moses
# scripts of release 4: laser_encoders/laser_tokenizer.py of facebookresearch/LASER.
_LASER_QUOTES = {21: "‘", 22: "‚"}


class Tokenizer:
    """Turns sentences into token ids that end with `</s>`."""

    def __init__(
        self,
        subwords: sentencepiece.SentencePieceProcessor,
        vocabulary: Sequence[str],
        *,
        clean: Callable[[str], str],
        max_tokens: int,
        prepend_bos: bool,
    ) -> None:
        self._subwords = subwords
        self._ids = {piece: row for row, piece in enumerate(vocabulary, FIRST_PIECE) if piece}
        self._clean = clean
        self._max_pieces = max_tokens - 1 - prepend_bos
        self._start = [BOS] if prepend_bos else []

    def extract(self, sentences: Sequence[str]) -> TokenRows:
        """Return the ids of sentences, one after the other; each has at least `</s>`."""
        pieces = self._subwords.encode([self._clean(text) for text in sentences], out_type=str)
        # fairseq joins pieces by spaces and splits again: a piece that is a space of a rare kind
        # is then none.
        rows = [
            [*self._start, *(self._ids.get(piece, UNK) for piece in split), EOS]
            for split in (" ".join(row).split()[: self._max_pieces] for row in pieces)
        ]
        starts = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
        return TokenRows(np.array([token for row in rows for token in row], np.int32), starts)


def make_tokenizer(
    subwords: sentencepiece.SentencePieceProcessor,
    vocabulary: Sequence[str],
    *,
    preprocessing: str,
    max_tokens: int,
    prepend_bos: bool,
) -> Tokenizer:
    """Return a tokenizer; `preprocessing` is `normalized` or `laser`."""
    clean: Callable[[str], str] = laser_clean
    if preprocessing == "normalized":
        clean = functools.partial(prepare, max_characters=_CHARACTERS_PER_TOKEN * max_tokens)
    return Tokenizer(
        subwords, vocabulary, clean=clean, max_tokens=max_tokens, prepend_bos=prepend_bos
    )


_CHARACTERS_PER_TOKEN = 16
"""No language's pieces are longer on average; what is beyond would be cut off anyway."""


@functools.cache
def _moses_rules() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Return the punctuation rules for English of Moses, as LASER has them, compiled once."""
    from sacremoses import MosesPunctNormalizer

    rules = list(MosesPunctNormalizer("en", perl_parity=True).substitutions)
    for index, quote in _LASER_QUOTES.items():
        if rules[index][0] != quote:
            raise RuntimeError(f"sacremoses' rule {index} is {rules[index]}, not that of `{quote}`")
        rules[index] = (quote, '"')
    return tuple((re.compile(pattern), replacement) for pattern, replacement in rules)


def laser_clean(text: str) -> str:
    """Return text as LASER's encoders were trained on it.

    Characters of category C become spaces, punctuation is normalized by the English rules of Moses
    whatever the language, letters become lower case.
    """
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(letter)[0] == "C" else letter for letter in text)
    for pattern, replacement in _moses_rules():
        text = pattern.sub(replacement, text)
    return text.strip().lower()


def read_vocabulary(path: Path) -> list[str]:
    r"""Read the pieces of a vocabulary, one a line; lines end at `\n` only."""
    return read_text(path).split("\n")[:-1]


def vocabulary_bytes(pieces: Sequence[str]) -> bytes:
    """Return the content of a vocabulary file."""
    return "".join(f"{piece}\n" for piece in pieces).encode("utf-8")


def pieces_of(subwords: sentencepiece.SentencePieceProcessor) -> list[str]:
    """Return the pieces of a SentencePiece model that text can become, in its order."""
    return [
        subwords.id_to_piece(row)
        for row in range(subwords.get_piece_size())
        if not (subwords.is_control(row) or subwords.is_unknown(row))
    ]
