"""The SentencePiece models of spBLEU: given by the user, or SPM-200, verified.

sacrebleu downloads its model through a short link without a checksum, and signs any file in its
place as `flores200`. Here a model is signed by its content: `flores200` only for the published
file, `spm-<sha256>` for every other.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import sentencepiece

from corpus.errors import DataError, UserError
from corpus.fetch.catalog import SPM200
from corpus.fetch.fetch import cache_directory
from eval.metrics.counts import Int64, Symbols, TokenIds

SPM200_SHA256 = SPM200.sha256
SPM200_NAME = SPM200.file_name
SPM100_NAME = "sacrebleu_tokenizer_spm.model"
"""Of FLORES-101. Its checksum is published nowhere, so it is signed by its content."""

_NAMED = {"flores200": SPM200_NAME, "flores101": SPM100_NAME}
_SHORT_HASH = 12


class _Numbers(dict[str, int]):
    """Numbers of tokens; one that is new gets the next beyond the vocabulary."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self._next = vocabulary

    def __missing__(self, token: str) -> int:
        number = self[token] = self._next
        self._next += 1
        return number


class PieceTokenizer:
    """Splits a line into SentencePiece pieces, as sacrebleu's own tokenizer does.

    The whole line is segmented at once: word by word gives other pieces now and then.
    """

    def __init__(self, path: Path) -> None:
        """Load a model.

        Raises:
            UserError: If the file does not exist.
            DataError: If it is not a SentencePiece model.
        """
        if not path.is_file():
            raise UserError(f"{path} does not exist; give a SentencePiece model with --config spm=")
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (RuntimeError, OSError) as error:
            raise DataError(f"{path} is not a SentencePiece model: {error}") from None
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.sha256 = digest
        is_published = digest == SPM200_SHA256
        self._signature = "flores200" if is_published else f"spm-{digest[:_SHORT_HASH]}"
        # Pieces that are several tokens, or none, once sacrebleu has split the line at spaces;
        # and the unknown piece, which stands for many. Lines with such ids go by their text.
        size = self._model.get_piece_size()
        pieces = [self._model.id_to_piece(i) for i in range(size)]
        odd = [i for i, piece in enumerate(pieces) if piece.split() != [piece]]
        self._by_text = np.zeros(size, np.bool_)
        self._by_text[[*odd, self._model.unk_id()]] = True
        self._numbers = _Numbers(size)
        self._numbers.update({p: i for i, p in enumerate(pieces) if not self._by_text[i]})

    def signature(self) -> str:
        """Return what sacrebleu's signature says after `tok:`."""
        return self._signature

    @functools.lru_cache(maxsize=1 << 16)  # noqa: B019 - tokenizers live as long as the process
    def __call__(self, line: str) -> str:
        """Return the pieces of a line, joined by spaces."""
        return " ".join(self._model.encode(line, out_type=str))

    def number(self, lines: Sequence[str]) -> TokenIds:
        """Return the tokens of lines as sacrebleu has them, numbered; equal tokens, equal numbers.

        A known piece has its id. Unknown ones are distinguished by their text, as in sacrebleu, so
        numbers beyond the vocabulary mean something to this object only.
        """
        texts = [line.rstrip() for line in lines]
        rows = self._model.encode(texts, out_type=int, num_threads=1)
        offsets, ids = _flatten(rows)
        places = np.flatnonzero(self._by_text[ids])
        if len(places):
            offsets, ids = self._number_by_text(texts, rows, offsets, ids, places)
        return TokenIds(ids, offsets)

    def _number_by_text(
        self,
        texts: Sequence[str],
        rows: list[Sequence[int]],
        offsets: Int64,
        ids: Symbols,
        places: Int64,
    ) -> tuple[Int64, Symbols]:
        """Number the pieces at `places` by their text; those with spaces are several tokens."""
        owners = np.searchsorted(offsets, places, side="right") - 1
        where = list(dict.fromkeys(owners.tolist()))  # np.unique imports numpy.ma
        found = self._model.encode([texts[row] for row in where], out_type=str, num_threads=1)
        pieces = dict(zip(where, found, strict=True))
        spaced = set()
        columns = (places - offsets[owners]).tolist()
        for place, row, column in zip(places.tolist(), owners.tolist(), columns, strict=True):
            piece = pieces[row][column]
            if piece.split() == [piece]:
                ids[place] = self._numbers[piece]
            else:
                spaced.add(row)
        if not spaced:
            return offsets, ids
        for row in where:
            rows[row] = list(map(self._numbers.__getitem__, " ".join(pieces[row]).split()))
        return _flatten(rows)


def _flatten(rows: Sequence[Sequence[int]]) -> tuple[Int64, Symbols]:
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, rows), np.int64, len(rows)), out=offsets[1:])
    return offsets, np.fromiter(chain.from_iterable(rows), np.uint32, int(offsets[-1]))


def find_spm(given: Path | None) -> Path:
    """Return the model to use: the given one, or SPM-200 from the cache, its checksum verified.

    `flores200` and `flores101` name the models of the cache, where no file has that name.

    Raises:
        UserError: If none is given and none is in the cache.
        DataError: If the one in the cache is not SPM-200.
    """
    name = "flores200" if given is None else str(given)
    if given is not None and (name not in _NAMED or given.exists()):
        return given
    path = cache_directory() / _NAMED[name]
    if not path.is_file():
        which, resource = {"flores200": ("SPM-200", "spm200"), "flores101": ("SPM-100", "spm100")}[
            name
        ]
        raise UserError(
            f"spBLEU needs a SentencePiece model, and {which} is not at {path}. Run `tongues data"
            f" fetch {resource}`, or put the published file there, or give another model with"
            " --config spm=FILE (its scores are signed with its own hash, not as flores200), or"
            " leave spbleu out of --metrics."
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if name == "flores200" and digest != SPM200_SHA256:
        raise DataError(
            f"{path} is not SPM-200: its sha256 is {digest}, the published file's is"
            f" {SPM200_SHA256}. It may be truncated; replace it, or give it with --config spm=FILE."
        )
    return path
