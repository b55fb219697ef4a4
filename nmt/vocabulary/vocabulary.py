"""The vocabulary: SentencePiece pieces, languages, data-source tags, `<mask>`, as in NLLB-200."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from corpus.errors import DataError, UserError
from corpus.files import read_object
from corpus.languages import find_language
from corpus.text import normalize

MODEL_FILE = "sentencepiece.model"
LAYOUT_FILE = "vocabulary.json"
BEGIN_SYMBOL, PAD_SYMBOL, END_SYMBOL, UNKNOWN_SYMBOL = CONTROL_SYMBOLS = (
    "<s>",
    "<pad>",
    "</s>",
    "<unk>",
)
"""In fairseq's order, which NLLB-200's checkpoints have."""

MASK_SYMBOL = "<mask>"
TAG_SYMBOLS = {
    "mined": "<MINED_DATA>",
    "back_translated": "<MMT_BT_DATA>",
    "smt_back_translated": "<SMT_BT_DATA>",
}
"""Symbols of NLLB-200's checkpoints, in their order; primary bitext has none."""

_SPACE_PIECE = "\u2581"
"""What SentencePiece writes for a space."""

PIECE_OFFSET = 1
"""SentencePiece has three control symbols of its own, fairseq four."""

_FIRST_SYMBOLS = (PAD_SYMBOL, UNKNOWN_SYMBOL, BEGIN_SYMBOL, END_SYMBOL)
_FIRST_TAGS = ("mined", "back_translated")


def language_symbol(language: str) -> str:
    """Return the token of a language, `__eng_Latn__`."""
    return f"__{language}__"


def nllb_symbols(num_pieces: int, languages: Sequence[str]) -> dict[str, int]:
    """Return the indices of all symbols, as in NLLB-200's checkpoints.

    `<s> <pad> </s> <unk>`, then the pieces of SentencePiece that are text, the languages in the
    order given, the tags, and last `<mask>`, which those checkpoints lack.
    """
    after = [*map(language_symbol, languages), *TAG_SYMBOLS.values(), MASK_SYMBOL]
    symbols = {symbol: i for i, symbol in enumerate(CONTROL_SYMBOLS)}
    return symbols | {symbol: num_pieces + PIECE_OFFSET + i for i, symbol in enumerate(after)}


class Vocabulary:
    """Text to token indices and back.

    A symbol has the index that the layout gives it, a piece of SentencePiece its own plus
    `piece_offset`. So a layout can be that of any checkpoint with these symbols.
    """

    def __init__(
        self,
        model: bytes,
        languages: Sequence[str],
        *,
        symbols: Mapping[str, int] | None = None,
        piece_offset: int = PIECE_OFFSET,
        size: int | None = None,
        words: Mapping[str, int] | None = None,
        language_is_last: bool = False,
        added_pieces: Sequence[tuple[int, int]] = (),
    ) -> None:
        """Join a SentencePiece model and a layout.

        Args:
            model: The model, serialized.
            languages: Those that have a token.
            symbols: Index of each symbol; `nllb_symbols` if not given.
            piece_offset: What is added to the number of a piece.
            size: Tokens; as many as there must be if not given.
            words: Text that is one token wherever it stands, and its index, as transformers' added
                tokens are; text before and after is cut into pieces by itself.
            language_is_last: Whether a source is `[text, </s>, language]`, as of checkpoints with
                transformers' `legacy_behaviour`, and not `[language, text, </s>]`.
            added_pieces: Pieces from which on, and the indices from which on, pieces are numbered
                that were added to a model: behind all that there was.

        Raises:
            RuntimeError: If the model is none.
            ValueError: If a symbol is missing or two tokens have one index.
        """
        self._pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.num_pieces: int = self._pieces.get_piece_size()
        self.languages = tuple(languages)
        self._piece_offset = piece_offset
        self._symbols = dict(
            nllb_symbols(self.num_pieces, languages) if symbols is None else symbols
        )
        needed = [*CONTROL_SYMBOLS, *map(language_symbol, languages)]
        missing = [symbol for symbol in needed if symbol not in self._symbols]
        if missing:
            raise ValueError(f"no index for {', '.join(missing)}")
        self.begin_index, self.pad_index, self.end_index, self.unknown_index = (
            self._symbols[symbol] for symbol in CONTROL_SYMBOLS
        )
        self._indices = np.arange(self.num_pieces, dtype=np.int32) + np.int32(piece_offset)
        is_text = np.ones(self.num_pieces, bool)
        self._added_pieces = [(int(piece), int(index)) for piece, index in added_pieces]
        for piece, index in self._added_pieces:
            self._indices[piece:] = np.arange(self.num_pieces - piece) + index
        for symbol, piece in self._control_pieces().items():
            self._indices[piece] = self._symbols[symbol]
            is_text[piece] = False
        self._words = dict(words or {})
        self._word_pattern = _any_of(self._words)
        self._words_at = {index: word for word, index in self._words.items()}
        self.language_is_last = language_is_last
        others = [*self._symbols.values(), *self._words.values()]
        taken = np.concatenate([self._indices[is_text], others])
        self.size = int(taken.max()) + 1 if size is None else size
        if taken.min() < 0 or taken.max() >= self.size:
            raise ValueError(f"indices outside 0 to {self.size - 1}, the size less one")
        # Not `np.unique`, which imports `numpy.ma`: a tenth of a second at every start.
        if (np.diff(np.sort(taken)) == 0).any():
            raise ValueError("two tokens have the same index")
        self._pieces_at = np.full(self.size, -1, np.int32)
        """Piece of each index; -1 for symbols and what is not a token."""
        self._pieces_at[self._indices[is_text]] = np.flatnonzero(is_text)

    def _control_pieces(self) -> dict[str, int]:
        """Return SentencePiece's own control symbols, those that the model has."""
        pieces = {
            BEGIN_SYMBOL: self._pieces.bos_id(),
            PAD_SYMBOL: self._pieces.pad_id(),
            END_SYMBOL: self._pieces.eos_id(),
            UNKNOWN_SYMBOL: self._pieces.unk_id(),
        }
        return {symbol: piece for symbol, piece in pieces.items() if piece >= 0}

    @classmethod
    def load(cls, directory: Path) -> "Vocabulary":
        """Load a directory written by `tongues nmt vocabulary` or `tongues nmt import`.

        Raises:
            UserError: If the directory is not one.
            DataError: If its files do not fit each other.
        """
        if not (directory / LAYOUT_FILE).is_file() or not (directory / MODEL_FILE).is_file():
            raise UserError(
                f"{directory} is not a vocabulary: it needs {MODEL_FILE} and {LAYOUT_FILE}."
                " `tongues nmt vocabulary` writes one."
            )
        layout = read_object(directory / LAYOUT_FILE)
        model = (directory / MODEL_FILE).read_bytes()
        try:
            if "symbols" not in layout:
                layout |= _first_layout(layout["pieces"], layout["languages"])
            vocabulary = cls(
                model,
                layout["languages"],
                symbols=layout["symbols"],
                piece_offset=layout["piece_offset"],
                size=layout["size"],
                words=layout.get("words"),
                language_is_last=layout.get("language_is_last", False),
                added_pieces=layout.get("added_pieces", ()),
            )
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{directory} is not a readable vocabulary: {error}") from error
        if vocabulary.num_pieces != layout.get("pieces"):
            raise DataError(
                f"{directory}: {LAYOUT_FILE} says {layout.get('pieces')} pieces, {MODEL_FILE} has"
                f" {vocabulary.num_pieces}"
            )
        return vocabulary

    def layout(self) -> dict[str, Any]:
        """Return what `vocabulary.json` holds."""
        return {
            "size": self.size,
            "pieces": self.num_pieces,
            "piece_offset": self._piece_offset,
            "languages": list(self.languages),
            "symbols": dict(sorted(self._symbols.items(), key=lambda item: item[1])),
            **({"words": self._words} if self._words else {}),
            **({"language_is_last": True} if self.language_is_last else {}),
            **({"added_pieces": self._added_pieces} if self._added_pieces else {}),
        }

    def extended(self, model: bytes, symbols: Sequence[str]) -> "Vocabulary":
        """Return this vocabulary with more tokens, behind those that there are.

        Args:
            model: This one's SentencePiece model with pieces at its end.
            symbols: New symbols; those of the form `__eng_Latn__` are languages.

        Raises:
            ValueError: If a symbol is there already.
        """
        known = [symbol for symbol in symbols if symbol in self._symbols]
        if known:
            raise ValueError(f"the vocabulary has {known[0]} already")
        pieces = sentencepiece.SentencePieceProcessor(model_proto=model).get_piece_size()
        first = self.size + pieces - self.num_pieces
        added = [(self.num_pieces, self.size)] if pieces > self.num_pieces else []
        names = [symbol.removeprefix("__").removesuffix("__") for symbol in symbols]
        languages = [n for n, s in zip(names, symbols, strict=True) if s == language_symbol(n)]
        return Vocabulary(
            model,
            [*self.languages, *languages],
            symbols={**self._symbols, **{symbol: first + i for i, symbol in enumerate(symbols)}},
            piece_offset=self._piece_offset,
            size=first + len(symbols),
            words=self._words,
            language_is_last=self.language_is_last,
            added_pieces=[*self._added_pieces, *added],
        )

    @property
    def symbols(self) -> Mapping[str, int]:
        """The token of each symbol."""
        return self._symbols

    @property
    def pieces(self) -> sentencepiece.SentencePieceProcessor:
        """The SentencePiece model."""
        return self._pieces

    @property
    def piece_indices(self) -> NDArray[np.int32]:
        """The token of each piece of the SentencePiece model."""
        return self._indices

    def language_index(self, language: str) -> int:
        """Return the token of a language, under whatever name the vocabulary has it.

        Raises:
            UserError: If the vocabulary has none.
        """
        index = self._symbols.get(language_symbol(language))
        if index is not None:
            return index
        name = find_language(language, self.languages)
        if name is None:
            known = ", ".join(self.languages)
            raise UserError(f"the vocabulary has no language `{language}`; it has {known}")
        return self._symbols[language_symbol(name)]

    def tag_index(self, tag: str) -> int | None:
        """Return the token of a data-source tag; None for primary bitext, which has none.

        Raises:
            UserError: If the vocabulary has none for a tag that needs one.
        """
        symbol = TAG_SYMBOLS.get(tag)
        return None if symbol is None else self._symbol_index(symbol)

    @property
    def mask_index(self) -> int:
        """The token that stands for text that a model is to fill in.

        Raises:
            UserError: If the vocabulary has none.
        """
        return self._symbol_index(MASK_SYMBOL)

    @property
    def text_indices(self) -> NDArray[np.int32]:
        """The tokens that are text."""
        return np.flatnonzero(self._pieces_at >= 0).astype(np.int32)

    def _symbol_index(self, symbol: str) -> int:
        if symbol not in self._symbols:
            raise UserError(
                f"the vocabulary has no token {symbol}; those of `tongues nmt vocabulary` have one"
            )
        return self._symbols[symbol]

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each sentence, without language, tag and end."""
        tokens, lengths = self.encode_flat(sentences)
        ends = np.cumsum(lengths).tolist()
        flat = tokens.tolist()
        return [flat[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]

    def encode_flat(self, sentences: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the tokens of all sentences end to end, and how many each has."""
        normalized = [normalize(sentence) for sentence in sentences]
        if self._word_pattern is not None:
            rows = self._encode_around_words(normalized)
            lengths = np.fromiter(map(len, rows), np.int64, len(rows))
            return np.fromiter(itertools.chain.from_iterable(rows), np.int32), lengths
        encoded = self._pieces.encode(normalized, num_threads=1)
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        flat = itertools.chain.from_iterable(encoded)
        return self._indices[np.fromiter(flat, np.int32, int(lengths.sum()))], lengths

    def _encode_around_words(self, sentences: Sequence[str]) -> list[list[int]]:
        """Return the tokens of sentences, cut at the words that are tokens of their own."""
        assert self._word_pattern is not None
        parts = [self._word_pattern.split(sentence) for sentence in sentences]
        between = iter(
            self._pieces.encode([text for row in parts for text in row[::2]], num_threads=1)
        )
        rows = []
        for row in parts:
            tokens: list[int] = []
            for i, text in enumerate(row):
                tokens += [self._words[text]] if i % 2 else self._indices[next(between)].tolist()
            rows.append(tokens)
        return rows

    def source_row(self, language: str, pieces: Sequence[int]) -> list[int]:
        """Return the tokens of a source sentence with its language and its end.

        Raises:
            UserError: If the vocabulary has no such language.
        """
        index = self.language_index(language)
        if self.language_is_last:
            return [*pieces, self.end_index, index]
        return [index, *pieces, self.end_index]

    def unknown_texts(self, sentence: str) -> list[str]:
        """Return the parts of a sentence that no token represents."""
        text = normalize(sentence)
        parts = [text] if self._word_pattern is None else self._word_pattern.split(text)[::2]
        found = []
        for part in parts:
            pieces = self._pieces.encode(part, out_type=str)
            numbers = self._pieces.encode(part, out_type=int)
            unknown = self._pieces.unk_id()
            found += [p for p, n in zip(pieces, numbers, strict=True) if n == unknown]
        return [piece.replace(_SPACE_PIECE, "") for piece in found]

    def decode(self, indices: Sequence[int], unknown: Iterable[str] = ()) -> str:
        """Return the text of token indices; symbols are left out.

        Args:
            indices: The tokens.
            unknown: What unknown tokens stand for, in order; those beyond it are left out too.
        """
        copies = iter(unknown)
        if not self._words_at.keys().isdisjoint(indices):
            return self._decode_around_words(indices, copies)
        text: str
        pieces = self._pieces_at[np.asarray(indices, np.int64)]
        if self.unknown_index not in indices:
            text = self._pieces.decode(pieces[pieces >= 0].tolist())
            return text
        names = [
            next(copies, "") if index == self.unknown_index else self._pieces.id_to_piece(piece)
            for index, piece in zip(indices, pieces.tolist(), strict=True)
            if piece >= 0 or index == self.unknown_index
        ]
        text = self._pieces.decode([name for name in names if name])
        return text

    def _decode_around_words(self, indices: Sequence[int], copies: Iterator[str]) -> str:
        parts = []
        is_word = self._words_at.__contains__
        for word, run in itertools.groupby(map(int, indices), is_word):
            tokens = list(run)
            parts += [self._words_at[i] for i in tokens] if word else [self.decode(tokens, copies)]
        return " ".join(filter(None, parts))


def _any_of(words: Mapping[str, int]) -> re.Pattern[str] | None:
    """Return what matches one of some words, the longest that stands at a place, as a group."""
    if not words:
        return None
    ordered = sorted(words, key=lambda word: (-len(word), word))
    return re.compile(f"({'|'.join(map(re.escape, ordered))})")


def _first_layout(num_pieces: int, languages: Sequence[str]) -> dict[str, Any]:
    """Return the layout of old directories, which do not record it."""
    after = [
        *map(language_symbol, languages),
        *(TAG_SYMBOLS[tag] for tag in _FIRST_TAGS),
        MASK_SYMBOL,
    ]
    symbols = {symbol: i for i, symbol in enumerate(_FIRST_SYMBOLS)}
    symbols |= {symbol: num_pieces + i for i, symbol in enumerate(after)}
    return {"symbols": symbols, "piece_offset": 0}
