"""SONAR's text encoder, cosine of its embeddings, and BLASER 2.0 over them.

SONAR (Duquenne et al. 2023): NLLB's encoder, whose outputs are averaged. BLASER 2.0 (Dale and
Costa-jussà 2024): a multilayer perceptron over unit embeddings, their products and differences, on
XSTS's scale. As sonar-space 0.5 computes them (sonar/models/{sonar_text,blaser}).

The encoder's directory has `sonar_text_encoder.pt` and `sentencepiece.source.256000.model`; that of
BLASER has `model.pt`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from sentencepiece import SentencePieceProcessor
from torch import Tensor, nn
from transformers import M2M100Config
from transformers.modeling_utils import no_init_weights
from transformers.models.m2m_100.modeling_m2m_100 import M2M100Encoder
from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

from corpus.errors import DataError
from eval.learned_models.weights import by_batches, fill, find_file, pad, read_weights

_BOS, _PAD, _EOS, _UNKNOWN = 0, 1, 2, 3
_FAIRSEQ2_ROWS = [2, 0, 3, 1]
"""Rows of BOS, PAD, EOS and UNK in fairseq2's embeddings, where they are PAD, UNK, BOS, EOS."""
_NAMES = {
    "self_attn.output_proj": "self_attn.out_proj",
    "ffn.inner_proj": "fc1",
    "ffn.output_proj": "fc2",
    "ffn_layer_norm": "final_layer_norm",
}
"""fairseq2's names of the parts of a layer, and transformers'."""
_TAGS = {"sat_Olck": "sat_Beng"}
"""Languages that NLLB calls otherwise."""
_HEAD_WIDTH = 64
"""Of published models: 16 heads of 1024."""
_MAX_TOKENS = 514
_KEPT_EMBEDDINGS = 50_000
_LINEARS = 3


class Sonar:
    """Embeddings of sentences."""

    def __init__(
        self,
        directory: Path,
        *,
        device: torch.device,
        dtype: torch.dtype,
        batch_tokens: int,
    ) -> None:
        """Load the encoder.

        Raises:
            UserError: If a file is missing.
            DataError: If the weights are no encoder's.
        """
        path = find_file(
            directory, ["sonar_text_encoder.pt"], "the weights of SONAR's text encoder"
        )
        spm = find_file(
            directory, ["sentencepiece.source.256000.model"], "SONAR's SentencePiece model"
        )
        self._pieces = SentencePieceProcessor(model_file=str(spm))
        weights = _as_transformers(read_weights(path), path)
        self._encoder: Any = _build_encoder(weights)
        fill(self._encoder, weights, "", path)
        self._encoder.to(device, dtype).eval()
        self._languages = self._pieces.get_piece_size() + 1
        self._device, self._batch_tokens = device, batch_tokens
        self._embeddings: dict[tuple[str, str], Tensor] = {}

    @torch.inference_mode()
    def embed(self, texts: Sequence[str], language: str) -> Tensor:
        """Return the embeddings of texts of a language, [N, D], not normalized."""
        if len(self._embeddings) > _KEPT_EMBEDDINGS:
            self._embeddings.clear()
        new = [text for text in dict.fromkeys(texts) if (language, text) not in self._embeddings]
        rows = [self._tokens(text, language) for text in new]

        def run(batch: list[int]) -> list[Tensor]:
            tokens, mask = pad([rows[place] for place in batch], _PAD, self._device)
            states = self._encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
            wide = mask.unsqueeze(-1).to(states.dtype)
            return list(((states * wide).sum(1) / (wide.sum(1) + 1e-7)).unbind())

        for text, embedding in zip(new, by_batches(rows, self._batch_tokens, run), strict=True):
            self._embeddings[language, text] = embedding
        return torch.stack([self._embeddings[language, text] for text in texts])

    def _tokens(self, text: str, language: str) -> list[int]:
        """Return the language's token, the text's, and the end of sentence; cut where too long."""
        special = {0: _UNKNOWN, 1: _BOS, 2: _EOS}
        pieces = [special.get(piece, piece + 1) for piece in self._pieces.encode(text)]
        tag = self._languages + FAIRSEQ_LANGUAGE_CODES.index(_TAGS.get(language, language))
        return [tag, *pieces, _EOS][:_MAX_TOKENS]


def _as_transformers(weights: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return fairseq2's weights under transformers' names and in its order of tokens."""
    if "encoder_frontend.embed.weight" not in weights:
        raise DataError(f"{path} has no `encoder_frontend.embed.weight`: it is not a SONAR encoder")
    found = {}
    for name, tensor in weights.items():
        if name == "encoder_frontend.embed.weight":
            found["embed_tokens.weight"] = torch.cat([tensor[_FAIRSEQ2_ROWS], tensor[4:]])
            continue
        for theirs, ours in _NAMES.items():
            name = name.replace(theirs, ours)
        found[name.removeprefix("encoder.")] = tensor
    return found


def _build_encoder(weights: Mapping[str, Tensor]) -> Any:
    vocabulary, width = weights["embed_tokens.weight"].shape
    layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("layers."))
    config = M2M100Config(  # type: ignore[no-untyped-call]
        vocab_size=vocabulary,
        d_model=width,
        encoder_layers=layers,
        encoder_attention_heads=max(1, width // _HEAD_WIDTH),
        encoder_ffn_dim=weights["layers.0.fc1.weight"].shape[0],
        activation_function="relu",
        scale_embedding=True,
        max_position_embeddings=_MAX_TOKENS,
        pad_token_id=_PAD,
    )
    with no_init_weights():
        return M2M100Encoder(config)


class SonarCosine:
    """Cosine of the hypothesis with the reference, or with the source where there is none."""

    def __init__(self, encoder: Sonar, source: str, target: str) -> None:
        """Keep the encoder and the languages of the texts."""
        self._encoder, self._source, self._target = encoder, source, target

    def score(
        self, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str] | None
    ) -> list[float]:
        """Return the cosine of each segment, -1 to 1, from texts, [N] each."""
        ours = self._encoder.embed(hypotheses, self._target).float()
        theirs = (
            self._encoder.embed(sources, self._source)
            if references is None
            else self._encoder.embed(references, self._target)
        ).float()
        found: list[float] = nn.functional.cosine_similarity(ours, theirs).tolist()
        return found


class Blaser:
    """The perceptron of BLASER 2.0."""

    def __init__(self, directory: Path, *, with_reference: bool, device: torch.device) -> None:
        """Load it.

        Raises:
            UserError: If its file is missing.
            DataError: If it is of the other kind, with or without reference.
        """
        path = find_file(directory, ["model.pt", "model.safetensors"], "the weights of BLASER 2.0")
        weights = read_weights(path)
        sizes = [one.shape for name, one in sorted(weights.items()) if name.endswith(".weight")]
        if len(sizes) != _LINEARS or any(len(size) != 2 for size in sizes):
            raise DataError(f"{path} is not BLASER 2.0, a perceptron of {_LINEARS} layers")
        modules: list[nn.Module] = []
        for outputs, inputs in sizes:
            modules += [nn.Identity(), nn.Linear(inputs, outputs), nn.Tanh()]
        self._inputs = sizes[0][1]
        self._parts = 6 if with_reference else 4
        self._path = path
        self._model = nn.Sequential(*modules[:-1])  # no activation after the last
        fill(self._model, weights, "mlp.", path)
        self._model.to(device).eval()

    @torch.inference_mode()
    def score(self, source: Tensor, hypothesis: Tensor, reference: Tensor | None) -> list[float]:
        """Return the score of each segment, about 1 to 5, from embeddings, [N, D] each."""
        s, h = (nn.functional.normalize(one.float()) for one in (source, hypothesis))
        if reference is None:
            parts = [s, h, s * h, (h - s).abs()]
        else:
            r = nn.functional.normalize(reference.float())
            parts = [r, h, s * h, r * h, (h - s).abs(), (h - r).abs()]
        features = torch.cat(parts, dim=-1)
        if features.shape[1] != self._inputs:
            raise DataError(
                f"{self._path} takes {self._inputs} features, and {len(parts)} parts of"
                f" {s.shape[1]} are {features.shape[1]}: is it BLASER with"
                f"{'out' if reference is not None else ''} a reference?"
            )
        found: list[float] = self._model(features).view(-1).tolist()
        return found


class BlaserMetric:
    """BLASER 2.0 of one direction."""

    def __init__(self, encoder: Sonar, model: Blaser, source: str, target: str) -> None:
        """Keep the models and the languages of the texts."""
        self._encoder, self._model = encoder, model
        self._source, self._target = source, target

    def score(
        self, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str] | None
    ) -> list[float]:
        """Return the score of each segment from texts, [N] each."""
        embed = self._encoder.embed
        reference = None if references is None else embed(references, self._target)
        return self._model.score(
            embed(sources, self._source), embed(hypotheses, self._target), reference
        )
