"""Encoders that read tokens in order: tokenization, batches of similar length, pooling."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sentencepiece
import torch
from torch import Tensor, nn

from corpus.errors import DataError, UserError
from mining.embeddings import Float32, unit
from mining.encoders.config import LstmConfig, SequenceConfig, TransformerConfig
from mining.encoders.directory import (
    SUBWORDS_FILE,
    load_weights,
    read_description,
    read_settings,
    save_encoder,
)
from mining.encoders.features import TokenRows
from mining.encoders.lstm import LstmModel
from mining.encoders.products import use_cpu
from mining.encoders.protocol import DEFAULT_BATCH_TOKENS
from mining.encoders.tokens import (
    FIRST_PIECE,
    PAD,
    VOCABULARY_FILE,
    Tokenizer,
    make_tokenizer,
    read_vocabulary,
    vocabulary_bytes,
)
from mining.encoders.transformer import TransformerModel

Int64 = npt.NDArray[np.int64]
SequenceModel = LstmModel | TransformerModel


class SequenceEncoder:
    """A model of tokens in order, with its tokenizer."""

    def __init__(
        self,
        model: SequenceModel,
        tokenizer: Tokenizer,
        *,
        threads: int = 1,
        device: str = "cpu",
        batch_tokens: int = DEFAULT_BATCH_TOKENS,
    ) -> None:
        self.device = choose_device(device)
        self.model = model.to(self.device).eval()
        self.tokenizer = tokenizer
        self.batch_tokens = batch_tokens
        self._threads = threads

    @property
    def dimension(self) -> int:
        """Width of an embedding."""
        return self.model.dimension

    def extract(self, sentences: Sequence[str]) -> TokenRows:
        """Return the token ids of sentences."""
        return self.tokenizer.extract(sentences)

    def encode(self, sentences: Sequence[str], language: str = "") -> Float32:
        """Return unit vectors, [N, dimension], whatever the language."""
        return self.encode_tokens(self.extract(sentences))

    def encode_tokens(self, tokens: TokenRows) -> Float32:
        """Return the unit vectors of sentences whose tokens are known."""
        use_cpu(self._threads)
        self.model.eval()
        vectors = np.empty((len(tokens.starts) - 1, self.dimension), np.float32)
        with torch.inference_mode(), half_precision(self.device):
            for rows in token_batches(np.diff(tokens.starts), self.batch_tokens):
                ids, lengths = pad(tokens.take(rows))
                found = self.model(ids.to(self.device), lengths)
                vectors[rows] = found.float().cpu().numpy()
        return unit(vectors)


def choose_device(device: str) -> torch.device:
    """Return the device of that name; `auto` is the GPU where there is one.

    Raises:
        UserError: If it is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("`device` is `cuda`, and torch finds no GPU here; `auto` takes the CPU")
    return torch.device(device)


def half_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which a GPU multiplies in float16; on a CPU, nothing changes."""
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.float16)
    return nullcontext()


def pad(tokens: TokenRows) -> tuple[Tensor, Tensor]:
    """Return token ids padded on the right, [N, T], and the lengths, [N]."""
    lengths = np.diff(tokens.starts)
    ids = np.full((len(lengths), int(lengths.max())), PAD, np.int64)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = tokens.ids
    return torch.from_numpy(ids), torch.from_numpy(lengths)


def token_batches(lengths: Int64, budget: int) -> Iterator[Int64]:
    """Yield the rows of sentences in batches, longest first, each row once.

    Args:
        lengths: Tokens of each sentence.
        budget: Tokens of a batch with its padding; a longer sentence is a batch of its own. A batch
            ends where sentences of another length begin once it is half full, so that most
            batches have no padding.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = max(int(lengths[order[start]]), 1)
        stop = min(start + max(budget // longest, 1), len(order))
        changes = np.flatnonzero(np.diff(lengths[order[start:stop]])) + 1
        late = changes[changes * 2 >= stop - start]
        if len(late) and stop < len(order):
            stop = start + int(late[-1])
        yield order[start:stop]
        start = stop


def save_sequence(
    path: Path,
    architecture: str,
    settings: SequenceConfig,
    *,
    model: nn.Module,
    subwords: bytes,
    vocabulary: Sequence[str],
    **more: Any,
) -> tuple[Path, ...]:
    """Write the directory of an encoder of tokens in order; see `save_encoder`."""
    files = {SUBWORDS_FILE: subwords, VOCABULARY_FILE: vocabulary_bytes(vocabulary)}
    return save_encoder(
        path, architecture, settings, weights=model.state_dict(), files=files, **more
    )


def load_sequence(
    path: Path,
    *,
    settings: type[SequenceConfig],
    model: type[SequenceModel],
    threads: int = 1,
    device: str = "cpu",
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
) -> SequenceEncoder:
    """Load an encoder of tokens in order and check that its files belong together.

    Args:
        path: Its directory.
        settings: Class of its settings.
        model: Class of its model.
        threads: CPU threads of its arithmetic.
        device: `cpu`, `cuda` or `auto`.
        batch_tokens: Of a batch, padding included.

    Raises:
        DataError: If a file is damaged or of another encoder.
    """
    config = read_settings(read_description(path), settings)
    vocabulary = read_vocabulary(path / VOCABULARY_FILE)
    empty = model(len(vocabulary) + FIRST_PIECE, config)  # type: ignore[arg-type]
    load_weights(path, empty)
    try:
        subwords = sentencepiece.SentencePieceProcessor(model_file=str(path / SUBWORDS_FILE))
    except RuntimeError as error:
        raise DataError(f"{path / SUBWORDS_FILE} is not a SentencePiece model: {error}") from error
    return SequenceEncoder(
        empty,
        sequence_tokenizer(subwords, vocabulary, config),
        threads=threads,
        device=device,
        batch_tokens=batch_tokens,
    )


def sequence_tokenizer(
    subwords: sentencepiece.SentencePieceProcessor,
    vocabulary: Sequence[str],
    settings: LstmConfig | TransformerConfig,
) -> Tokenizer:
    """Return the tokenizer that a model of this configuration reads."""
    return make_tokenizer(
        subwords,
        vocabulary,
        preprocessing=settings.preprocessing,
        max_tokens=settings.max_tokens,
        prepend_bos=isinstance(settings, TransformerConfig) and settings.prepend_bos,
    )
