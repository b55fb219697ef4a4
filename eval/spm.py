"""The SentencePiece models of spBLEU: given by the user, or SPM-200, verified.

sacrebleu downloads its model through a short link, checks nothing, and signs any file at that place
as `flores200`. Here a model is signed by its content: `flores200` only for the published file,
`spm-<sha256>` for every other.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import sentencepiece

from corpus.cache import cache_directory
from corpus.catalog import SPM200
from corpus.errors import DataError, UserError

SPM200_SHA256 = SPM200.sha256
SPM200_NAME = SPM200.file_name
_SHORT_HASH = 12


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
        is_published = digest == SPM200_SHA256
        self._signature = "flores200" if is_published else f"spm-{digest[:_SHORT_HASH]}"

    def signature(self) -> str:
        """Return what sacrebleu's signature says after `tok:`."""
        return self._signature

    @functools.lru_cache(maxsize=1 << 16)  # noqa: B019 - tokenizers live as long as the process
    def __call__(self, line: str) -> str:
        """Return the pieces of a line, joined by spaces."""
        return " ".join(self._model.encode(line, out_type=str))


def find_spm(given: Path | None) -> Path:
    """Return the model to use: the given one, or SPM-200 from the cache, its checksum verified.

    Raises:
        UserError: If none is given and none is in the cache.
        DataError: If the one in the cache is not SPM-200.
    """
    if given is not None:
        return given
    path = cache_directory() / SPM200_NAME
    if not path.is_file():
        raise UserError(
            f"spBLEU needs a SentencePiece model, and SPM-200 is not at {path}. Run `tongues data"
            " fetch spm200`, or put the published file there, or give another model with --config"
            " spm=FILE (its scores are signed with its own hash, not as flores200), or leave spbleu"
            " out of --metrics."
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SPM200_SHA256:
        raise DataError(
            f"{path} is not SPM-200: its sha256 is {digest}, the published file's is"
            f" {SPM200_SHA256}. It may be cut off; replace it, or give it with --config spm=FILE."
        )
    return path
