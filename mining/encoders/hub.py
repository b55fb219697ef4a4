"""Models that sentence-transformers or transformers saved, read from their own directory.

With `modules.json`, sentence-transformers runs all of its modules; without, transformers runs the
model, or its encoder where it has a decoder too, and the mean of the last states is taken, as SONAR
does, unless the directory bears the name of a model that pools otherwise (`hub_models`). Nothing is
fetched, no code of the model's is run, weights must be safetensors, since other
formats are pickles, and all of them must be there: transformers fills what is missing with random
numbers.
"""

import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from corpus.errors import DataError, UserError
from corpus.files import read_object
from corpus.pretrained import loading_pretrained
from mining.embeddings import Float32, unit
from mining.encoders.hub_models import HubModel, Pooling, find_hub_model
from mining.encoders.products import use_cpu
from mining.encoders.sequence import choose_device, half_precision, token_batches

logger = logging.getLogger(__name__)


class TransformersEncoder:
    """A transformers model, its last states pooled over a sentence's tokens."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        known: HubModel,
        *,
        threads: int,
        device: str,
        batch_tokens: int,
    ) -> None:
        self._known = known
        self._device = choose_device(device)
        self._model = model.to(self._device).eval()
        self._tokenizer = tokenizer
        self._threads = threads
        self._batch_tokens = batch_tokens
        # Tokenizers without a limit say 10^30.
        self._max_tokens = min(tokenizer.model_max_length, position_limit(model))

    @property
    def dimension(self) -> int:
        """Width of an embedding."""
        return int(self._model.config.hidden_size)

    def encode(self, sentences: Sequence[str], language: str = "") -> Float32:
        """Return unit vectors, [N, dimension].

        Raises:
            UserError: If the tokenizer writes the language before the text and has none of it.
        """
        use_cpu(self._threads)
        vectors = np.empty((len(sentences), self.dimension), np.float32)
        if not sentences:
            return vectors
        if hasattr(self._tokenizer, "src_lang"):
            set_language(self._tokenizer, language)
        tokens = self._tokenizer(
            [self._known.prefix + sound(text) for text in sentences],
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
                output = self._model(**batch)
                pooled = pool(output, batch["attention_mask"], self._known.pooling)
                vectors[rows] = pooled.cpu().numpy()
        return unit(vectors)


def pool(output: Any, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Return a vector for each sentence from a model's output.

    Args:
        output: Of a transformers model.
        mask: 1 where a token stands, 0 in padding, [B, T].
        pooling: How.
    """
    if pooling == "pooler":
        pooled: torch.Tensor = output.pooler_output.float()
        return pooled
    states: torch.Tensor = output.last_hidden_state.float()
    if pooling == "cls":
        return states[:, 0]
    weights = mask.unsqueeze(-1)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


class SentenceTransformersEncoder:
    """A sentence-transformers model with all of its modules."""

    def __init__(self, model: Any, prefix: str, *, threads: int, batch_tokens: int) -> None:
        self._model = model
        self._prefix = prefix
        self._threads = threads
        self._batch_tokens = batch_tokens

    @property
    def dimension(self) -> int:
        """Width of an embedding."""
        return int(self._model.get_embedding_dimension())

    def encode(self, sentences: Sequence[str], language: str = "") -> Float32:
        """Return unit vectors, [N, dimension], whatever the language."""
        use_cpu(self._threads)
        vectors = np.empty((len(sentences), self.dimension), np.float32)
        # Its own batches are of sentences, so they are made here by length: a token has about
        # two characters in the scripts with the shortest ones.
        lengths = np.array([len(text) // 2 + 2 for text in sentences], np.int64)
        for rows in token_batches(lengths, self._batch_tokens):
            vectors[rows] = self._model.encode(
                [self._prefix + sound(sentences[row]) for row in rows.tolist()],
                batch_size=len(rows),
                show_progress_bar=False,
                convert_to_numpy=True,
            )
        return unit(vectors)


def sound(text: str) -> str:
    """Return text that can be written as UTF-8: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def set_language(tokenizer: Any, language: str) -> None:
    """Tell a tokenizer whose encoder reads the language as a token which one follows.

    Raises:
        UserError: If it has no token for the language.
    """
    if language not in tokenizer.all_special_tokens:
        name = f"the language `{language}`" if language else "which language the text is in"
        some = ", ".join(tokenizer.all_special_tokens[-3:])
        raise UserError(
            f"{tokenizer.name_or_path}: this encoder reads the language as a token before the text,"
            f" and its tokenizer does not know {name}. Its last codes are {some}; embed other"
            " languages with a student of it (`tongues mining distill`)."
        )
    tokenizer.src_lang = language


def position_limit(model: nn.Module) -> int:
    """Return how many tokens a model has positions for, a very large number if for any.

    RoBERTa and its relatives (XLM-R, CamemBERT, MPNet …) count positions from the one behind that
    of padding, so 514 positions serve 512 tokens.
    """
    limits = [
        table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
        for name, table in model.named_modules()
        if name.endswith(("position_embeddings", "embed_positions"))
        and isinstance(table, nn.Embedding)
    ]
    named = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    return min(limits) if limits else named or sys.maxsize


def load_hub_model(
    path: Path, *, threads: int, device: str, batch_tokens: int
) -> TransformersEncoder | SentenceTransformersEncoder:
    """Load a model that sentence-transformers or transformers saved.

    Raises:
        UserError: If the package that can load it is not installed.
        DataError: If it cannot be loaded, or weights are missing.
    """
    needs = "sentence_transformers" if (path / "modules.json").is_file() else "transformers"
    if not any(path.rglob("*.safetensors")):
        raise DataError(
            f"{path} has no *.safetensors; other weight files are pickles, which are not loaded."
            " Save the model with `save_pretrained(..., safe_serialization=True)`."
        )
    try:
        with loading_pretrained(path):
            if needs == "sentence_transformers":
                return _load_sentence_transformers(path, threads, device, batch_tokens)
            return _load_transformers(path, threads, device, batch_tokens)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{path} was saved by {needs.replace('_', '-')}, and the package `{error.name}` is not"
            " installed; run `pip install '.[hub]'` in a clone of the project"
        ) from error


def _load_transformers(
    path: Path, threads: int, device: str, batch_tokens: int
) -> TransformersEncoder:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer
    tokenizer = tokenizer.from_pretrained(str(path), **_SAFE)
    known = find_hub_model(path)
    logger.info("%s: pooling %s, prefix %r", path, known.pooling, known.prefix)
    return TransformersEncoder(
        _whole_model(path, needs_pooler=known.pooling == "pooler"),
        tokenizer,
        known,
        threads=threads,
        device=device,
        batch_tokens=batch_tokens,
    )


_SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
_UNUSED = re.compile(r"(.*\.)?pooler\.|.*position_ids$")
"""Weights that pooling the last states does without, so that they may be missing."""


def _whole_model(path: Path, *, needs_pooler: bool = False) -> Any:
    """Load the encoder of a model.

    Args:
        path: Its directory.
        needs_pooler: Whether its pooler is used.

    Raises:
        DataError: If the files lack weights of it, or have them in other sizes.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(path), **_SAFE)
    model, found = _model_class(config).from_pretrained(
        str(path), use_safetensors=True, output_loading_info=True, **_SAFE
    )
    missing = sorted(
        name
        for name in found["missing_keys"]
        if not _UNUSED.match(name) or (needs_pooler and "pooler." in name)
    )
    if missing or found["mismatched_keys"]:
        others = sorted(found["unexpected_keys"])
        raise DataError(
            f"{path} lacks {len(missing)} weights of {type(model).__name__}, {_some(missing)}"
            f"; its files have {len(others)} others{': ' if others else ''}{_some(others)}. It was"
            " saved from another class of model, or not whole: save it again with"
            " `save_pretrained`."
        )
    return model.get_encoder() if config.is_encoder_decoder and _has_decoder(model) else model


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _has_decoder(model: Any) -> bool:
    return hasattr(model, "decoder") and hasattr(model, "get_encoder")


def _model_class(config: Any) -> Any:
    """Return the class of a model: the encoder itself where only that was saved."""
    import transformers

    name = (config.architectures or [""])[0]
    if name == "M2M100Encoder":  # SONAR's text encoder, which no Auto class knows
        from transformers.models.m2m_100.modeling_m2m_100 import M2M100Encoder

        return M2M100Encoder
    if name.endswith("EncoderModel") and hasattr(transformers, name):  # of T5, MT5, UMT5
        return getattr(transformers, name)
    return transformers.AutoModel


def _load_sentence_transformers(
    path: Path, threads: int, device: str, batch_tokens: int
) -> SentenceTransformersEncoder:
    from sentence_transformers import SentenceTransformer

    for part in (path, *sorted(file.parent for file in path.glob("*/config.json"))):
        if (part / "config.json").is_file() and any(part.glob("model*.safetensors")):
            _check_part(part)
    model = SentenceTransformer(
        str(path),
        device=str(choose_device(device)),
        local_files_only=True,
        trust_remote_code=False,
        model_kwargs={"use_safetensors": True},
    )
    most = model.max_seq_length or sys.maxsize
    model.max_seq_length = min(most, position_limit(model))
    prefix = find_hub_model(path).prefix
    return SentenceTransformersEncoder(
        model.eval(), prefix, threads=threads, batch_tokens=batch_tokens
    )


def _check_part(part: Path) -> None:
    """Refuse a module of sentence-transformers whose transformer lacks weights.

    `config.json` of its other modules (a dense layer, pooling) names no type of model.

    Raises:
        DataError: Naming the weights.
    """
    if "model_type" in read_object(part / "config.json"):
        _whole_model(part)
