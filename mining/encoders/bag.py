"""The `bag` encoder: a sum of subword and character n-gram vectors, then a residual MLP.

On a CPU it reaches in minutes what sequence models do not reach in hours; docs/decisions/0005.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from corpus.config import load_config
from corpus.errors import DataError
from corpus.files import atomic_path, digest_file, read_json, write_json
from mining.encoders import DESCRIPTION_FILE
from mining.encoders.config import BagConfig
from mining.encoders.features import Bags, FeatureExtractor
from mining.search.margin import Float32

WEIGHTS_FILE = "weights.safetensors"
SUBWORDS_FILE = "subwords.model"


class BagModel(nn.Module):
    """Sentence vectors from feature vectors.

    x = sum of the rows of the sentence's features / sqrt(their number)
    y = x + W2 gelu(W1 layer_norm(x)), divided by its length
    """

    def __init__(self, rows: int, dimension: int, hidden: int) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(torch.empty(rows, dimension))
        nn.init.normal_(self.embeddings, std=dimension**-0.5)
        self.norm = nn.LayerNorm(dimension)
        self.inner = nn.Linear(dimension, hidden)
        self.outer = nn.Linear(hidden, dimension)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

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
        return F.normalize(y, dim=1)


class BagEncoder:
    """A trained bag model with its subwords."""

    def __init__(self, model: BagModel, extractor: FeatureExtractor, threads: int = 1) -> None:
        self._model = model.eval()
        self._extractor = extractor
        self._threads = threads

    @property
    def dimension(self) -> int:
        """Width of an embedding."""
        return int(self._model.embeddings.shape[1])

    def encode(self, sentences: Sequence[str]) -> Float32:
        """Return unit vectors, [N, dimension]."""
        if not sentences:
            return np.empty((0, self.dimension), np.float32)
        return self.encode_bags(self._extractor.extract(sentences))

    def encode_bags(self, bags: Bags) -> Float32:
        """Return the unit vectors of sentences whose features are known."""
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            ids = torch.from_numpy(bags.ids)
            starts = torch.from_numpy(bags.starts).to(torch.int32)
            vectors: Float32 = self._model(self._model.embeddings, ids, starts).numpy()
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
    )


def save_bag(path: Path, model: BagModel, subwords: bytes, bag: BagConfig, **facts: object) -> None:
    """Write an encoder directory, its description last.

    Args:
        path: The directory.
        model: The trained model.
        subwords: The serialized SentencePiece model.
        bag: Its configuration.
        **facts: What else the description should tell, as plain JSON values.
    """
    with atomic_path(path / SUBWORDS_FILE) as temporary:
        temporary.write_bytes(subwords)
    weights = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(path / WEIGHTS_FILE) as temporary:
        save_file(weights, temporary)
    files = {name: digest_file(path / name) for name in (SUBWORDS_FILE, WEIGHTS_FILE)}
    description = {"architecture": "bag", "bag": asdict(bag), "files": files, **facts}
    write_json(path / DESCRIPTION_FILE, description)


def load_bag(path: Path, *, threads: int = 1) -> BagEncoder:
    """Load a bag encoder and check that its files belong together.

    Raises:
        DataError: If a file is damaged or of another encoder.
    """
    description = read_json(path / DESCRIPTION_FILE)
    for name, digest in description["files"].items():
        if digest_file(path / name) != digest:
            raise DataError(f"{path / name} is not the file that {DESCRIPTION_FILE} describes")
    bag = load_config(
        BagConfig, None, [f"{key}={json.dumps(value)}" for key, value in description["bag"].items()]
    )
    subwords = sentencepiece.SentencePieceProcessor(model_file=str(path / SUBWORDS_FILE))
    extractor = make_extractor(subwords, bag)
    model = BagModel(extractor.rows, bag.dimension, bag.hidden)
    try:
        model.load_state_dict(load_file(path / WEIGHTS_FILE))
    except (SafetensorError, RuntimeError) as error:
        raise DataError(f"{path / WEIGHTS_FILE} does not fit its description: {error}") from error
    return BagEncoder(model, extractor, threads)
