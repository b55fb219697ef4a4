"""Models that sentence-transformers or transformers saved, read from their own directory.

With `modules.json`, sentence-transformers runs all of its modules; without, transformers runs the
model and the mean of the last states is taken. Nothing is fetched, no code of the model's is run,
and weights must be safetensors, since other formats are pickles.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corpus.errors import DataError, UserError
from mining.embeddings import Float32, unit
from mining.encoders.sequence import choose_device, half_precision, token_batches


class TransformersEncoder:
    """A transformers model; the mean of its last states over a sentence's tokens."""

    def __init__(
        self, model: Any, tokenizer: Any, *, threads: int, device: str, batch_tokens: int
    ) -> None:
        self._device = choose_device(device)
        self._model = model.to(self._device).eval()
        self._tokenizer = tokenizer
        self._threads = threads
        self._batch_tokens = batch_tokens
        # Tokenizers without a limit say 10^30.
        positions = getattr(model.config, "max_position_embeddings", tokenizer.model_max_length)
        self._max_tokens = min(tokenizer.model_max_length, positions)

    @property
    def dimension(self) -> int:
        """Width of an embedding."""
        return int(self._model.config.hidden_size)

    def encode(self, sentences: Sequence[str]) -> Float32:
        """Return unit vectors, [N, dimension]."""
        torch.set_num_threads(self._threads)
        vectors = np.empty((len(sentences), self.dimension), np.float32)
        if not sentences:
            return vectors
        tokens = self._tokenizer(
            [sound(text) for text in sentences],
            truncation=True,
            max_length=self._max_tokens,
            return_attention_mask=False,
        )["input_ids"]
        lengths = np.array([len(row) for row in tokens], np.int64)
        with torch.inference_mode(), half_precision(self._device):
            for rows in token_batches(lengths, self._batch_tokens):
                batch = self._tokenizer.pad(
                    {"input_ids": [tokens[row] for row in rows.tolist()]}, return_tensors="pt"
                ).to(self._device)
                states = self._model(**batch).last_hidden_state.float()
                mask = batch["attention_mask"].unsqueeze(-1)
                mean = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
                vectors[rows] = mean.cpu().numpy()
        return unit(vectors)


class SentenceTransformersEncoder:
    """A sentence-transformers model with all of its modules."""

    def __init__(self, model: Any, *, threads: int, batch_tokens: int) -> None:
        self._model = model
        self._threads = threads
        self._batch_tokens = batch_tokens

    @property
    def dimension(self) -> int:
        """Width of an embedding."""
        return int(self._model.get_embedding_dimension())

    def encode(self, sentences: Sequence[str]) -> Float32:
        """Return unit vectors, [N, dimension]."""
        torch.set_num_threads(self._threads)
        vectors = np.empty((len(sentences), self.dimension), np.float32)
        # Its own batches are of sentences, so they are made here by length: a token has about
        # two characters in the scripts with the shortest ones.
        lengths = np.array([len(text) // 2 + 2 for text in sentences], np.int64)
        for rows in token_batches(lengths, self._batch_tokens):
            vectors[rows] = self._model.encode(
                [sound(sentences[row]) for row in rows.tolist()],
                batch_size=len(rows),
                show_progress_bar=False,
                convert_to_numpy=True,
            )
        return unit(vectors)


def sound(text: str) -> str:
    """Return text that can be written as UTF-8: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def load_hub_model(
    path: Path, *, threads: int, device: str, batch_tokens: int
) -> TransformersEncoder | SentenceTransformersEncoder:
    """Load a model that sentence-transformers or transformers saved.

    Raises:
        UserError: If the package that can load it is not installed.
        DataError: If it cannot be loaded.
    """
    needs = "sentence_transformers" if (path / "modules.json").is_file() else "transformers"
    if not any(path.rglob("*.safetensors")):
        raise DataError(
            f"{path} has no *.safetensors; other weight files are pickles, which are not loaded."
            " Save the model with `save_pretrained(..., safe_serialization=True)`."
        )
    try:
        if needs == "sentence_transformers":
            return _load_sentence_transformers(path, threads, device, batch_tokens)
        return _load_transformers(path, threads, device, batch_tokens)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{path} was saved by {needs.replace('_', '-')}, and the package `{error.name}` is not"
            " installed; `pip install 'tongues[hub]'` brings it"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be loaded: {error}") from error


def _load_transformers(
    path: Path, threads: int, device: str, batch_tokens: int
) -> TransformersEncoder:
    from transformers import AutoModel, AutoTokenizer

    safe = {"local_files_only": True, "trust_remote_code": False}
    tokenizer: Any = AutoTokenizer
    tokenizer = tokenizer.from_pretrained(str(path), **safe)
    model = AutoModel.from_pretrained(str(path), use_safetensors=True, **safe)
    return TransformersEncoder(
        model, tokenizer, threads=threads, device=device, batch_tokens=batch_tokens
    )


def _load_sentence_transformers(
    path: Path, threads: int, device: str, batch_tokens: int
) -> SentenceTransformersEncoder:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(path),
        device=str(choose_device(device)),
        local_files_only=True,
        trust_remote_code=False,
        model_kwargs={"use_safetensors": True},
    )
    return SentenceTransformersEncoder(model.eval(), threads=threads, batch_tokens=batch_tokens)
