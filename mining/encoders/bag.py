"""The `bag` encoder: a sum of subword and character n-gram vectors, then a residual MLP.

On a CPU it reaches in minutes what sequence models do not reach in hours; docs/decisions/0005.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mining.embeddings import Float32
from mining.encoders.config import BagConfig
from mining.encoders.directory import (
    SUBWORDS_FILE,
    load_weights,
    read_description,
    read_settings,
    save_encoder,
)
from mining.encoders.features import FeatureExtractor, TokenRows
from mining.encoders.products import use_cpu
from mining.encoders.whitening import Whitening

_BATCH_CHARACTERS = 100_000
"""Of a batch; a longer text is one of its own. Bounds memory, never changes a vector."""


class BagModel(nn.Module):
    """Sentence vectors from feature vectors.

    x = sum of the rows of the sentence's features / sqrt(their number)
    y = x + W2 gelu(W1 layer_norm(x)), divided by its length

    and whitened, where the model has a whitening.
    """

    def __init__(self, rows: int, dimension: int, hidden: int, has_whitening: bool) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(torch.empty(rows, dimension))
        nn.init.normal_(self.embeddings, std=dimension**-0.5)
        self.norm = nn.LayerNorm(dimension)
        self.inner = nn.Linear(dimension, hidden)
        self.outer = nn.Linear(hidden, dimension)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)
        self.whitening = Whitening(dimension) if has_whitening else None

    def forward(self, table: Tensor, ids: Tensor, starts: Tensor) -> Tensor:
        """Return unit vectors, [N, D].

        Args:
            table: Feature vectors, [R, D]: all embeddings, or those that a batch needs.
            ids: Rows of the table, [F].
            starts: Where each sentence's features begin in `ids`, and the end, [N + 1].
        """
        summed = F.embedding_bag(ids, table, starts, mode="sum", include_last_offset=True)
        counts = (starts[1:] - starts[:-1]).clamp(min=1)
        x = summed * counts.to(summed.dtype).rsqrt().unsqueeze(1)
        y = x + self.outer(F.gelu(self.inner(self.norm(x))))
        unit = F.normalize(y, dim=1)
        return unit if self.whitening is None else self.whitening(unit)


class BagEncoder:
    """A trained bag model with its subwords."""

    def __init__(self, model: BagModel, extractor: FeatureExtractor, threads: int = 1) -> None:
        self.model = model.eval()
        self._extractor = extractor
        self._threads = threads

    @property
    def dimension(self) -> int:
        """Width of an embedding."""
        return int(self.model.embeddings.shape[1])

    def encode(self, sentences: Sequence[str], language: str = "") -> Float32:
        """Return unit vectors, [N, dimension], whatever the language."""
        vectors = np.empty((len(sentences), self.dimension), np.float32)
        sizes = np.cumsum([len(sentence) for sentence in sentences]) // _BATCH_CHARACTERS
        ends = [*(np.flatnonzero(np.diff(sizes)) + 1).tolist(), len(sentences)]
        start = 0
        for end in ends if sentences else []:
            vectors[start:end] = self.encode_tokens(self.extract(sentences[start:end]))
            start = end
        return vectors

    def extract(self, sentences: Sequence[str]) -> TokenRows:
        """Return the features of sentences."""
        return self._extractor.extract(sentences)

    def encode_tokens(self, tokens: TokenRows) -> Float32:
        """Return the unit vectors of sentences whose features are known."""
        use_cpu(self._threads)
        with torch.inference_mode():
            ids = torch.from_numpy(tokens.ids)
            starts = torch.from_numpy(tokens.starts).to(torch.int32)
            vectors: Float32 = self.model(self.model.embeddings, ids, starts).numpy()
        return vectors


def make_extractor(
    subwords: sentencepiece.SentencePieceProcessor, bag: BagConfig
) -> FeatureExtractor:
    """Return the feature extractor that a model of this configuration reads."""
    return FeatureExtractor(
        subwords,
        vocabulary_size=subwords.get_piece_size(),
        buckets=bag.buckets,
        min_n=bag.min_n,
        max_n=bag.max_n,
        max_characters=bag.max_characters,
        romanize=bag.romanize,
    )


def make_bag(subwords: bytes, bag: BagConfig, threads: int = 1) -> BagEncoder:
    """Return a bag encoder with random weights; torch's seed decides them."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=subwords)
    extractor = make_extractor(processor, bag)
    model = BagModel(extractor.rows, bag.dimension, bag.hidden, has_whitening=bag.whitening > 0)
    return BagEncoder(model, extractor, threads)


def save_bag(
    path: Path, model: BagModel, subwords: bytes, bag: BagConfig, **more: Any
) -> tuple[Path, ...]:
    """Write the directory of a bag encoder; see `save_encoder`."""
    files = {SUBWORDS_FILE: subwords}
    return save_encoder(path, "bag", bag, weights=model.state_dict(), files=files, **more)


def load_bag(path: Path, *, threads: int = 1) -> BagEncoder:
    """Load a bag encoder and check that its files belong together.

    Raises:
        DataError: If a file is damaged or of another encoder.
    """
    bag = read_settings(read_description(path), BagConfig)
    encoder = make_bag((path / SUBWORDS_FILE).read_bytes(), bag, threads)
    load_weights(path, encoder.model)
    return encoder
