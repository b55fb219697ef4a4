"""COMET, CometKiwi and XCOMET (Rei et al. 2020, 2022, 2023; Guerreiro et al. 2024), inference only.

As unbabel-comet 2.2 computes them: an XLM-R encoder whose layers are mixed by learned weights, then
a feed-forward estimator over sentence embeddings (COMET-22), or over the first token of hypothesis,
source and reference in one sequence (CometKiwi, XCOMET). XCOMET also tags the hypothesis' tokens
with error severities, whose penalty is part of its score.

A checkpoint is a directory with `hparams.yaml` and `checkpoints/model.ckpt`. It has neither the
configuration nor the tokenizer of its encoder; they come from a directory with `config.json` and
`tokenizer.json` or `sentencepiece.bpe.model`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor, nn
from transformers import AutoConfig, XLMRobertaModel, XLMRobertaTokenizerFast, XLMRobertaXLModel
from transformers.modeling_utils import no_init_weights

from corpus.errors import DataError, UserError
from corpus.files import read_text
from corpus.pretrained import loading_pretrained
from eval.learned_models.weights import by_batches, fill, find_file, pad, read_weights

_ENCODERS = {"XLM-RoBERTa": XLMRobertaModel, "XLM-RoBERTa-XL": XLMRobertaXLModel}
_ACTIVATIONS = {"Tanh": nn.Tanh, "Sigmoid": nn.Sigmoid, "Softplus": nn.Softplus}
_SEPARATORS = 2
"""Tokens between two segments of XLM-R."""
_SEVERITIES = {"minor": 1, "major": 5, "critical": 10}
_MOST_PENALTY = 25
_SPAN_WEIGHTS = (0.1667, 0.3333, 0.5)
"""Of source, reference and both, where tokens are tagged."""
_SCORE_WEIGHTS = (0.12, 0.33, 0.33, 0.22)
"""Of source, reference, both, and the penalty, in XCOMET's score."""
_KEPT_EMBEDDINGS = 50_000


class Sequences(NamedTuple):
    """A batch of the encoder's output."""

    layers: tuple[Tensor, ...]
    """Hidden states, [N, T, D] each, embeddings first."""
    mixed: Tensor
    """Their mixture, or the one layer that is used, [N, T, D]."""


class LayerMixture(nn.Module):
    """gamma times the sum of all layers, each with its share (comet/modules)."""

    def __init__(self, layers: int, transformation: str, layer_norm: bool) -> None:
        super().__init__()
        self.scalar_parameters = nn.ParameterList(
            nn.Parameter(torch.zeros(1)) for _ in range(layers)
        )
        self.gamma = nn.Parameter(torch.ones(1))
        # `sparsemax_patch` is what those checkpoints say that were trained with a softmax.
        self._is_sparse = transformation == "sparsemax"
        self._layer_norm = layer_norm

    def forward(self, layers: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Return the mixture of layers, [N, T, D]."""
        weights = torch.cat(list(self.scalar_parameters))
        shares = sparsemax(weights) if self._is_sparse else torch.softmax(weights, dim=0)
        total = torch.zeros_like(layers[0])
        for share, layer in zip(shares, layers, strict=True):
            total = total + share * (_normalize(layer, mask) if self._layer_norm else layer)
        return self.gamma * total


def sparsemax(values: Tensor) -> Tensor:
    """Return the projection of values, [K], to the simplex (Martins and Astudillo 2016)."""
    ordered, _ = torch.sort(values, descending=True)
    above = ordered.cumsum(0) - 1
    ranks = torch.arange(1, len(values) + 1, dtype=values.dtype, device=values.device)
    size = int((ranks * ordered > above).sum())
    return torch.clamp(values - above[size - 1] / size, min=0)


def _normalize(layer: Tensor, mask: Tensor) -> Tensor:
    """Normalize each sentence over all of its tokens and features."""
    wide = mask.unsqueeze(-1).to(layer.dtype)
    count = (wide.sum((1, 2)) * layer.shape[-1]).view(-1, 1, 1)
    mean = (layer * wide).sum((1, 2), keepdim=True) / count
    variance = (((layer * wide - mean) * wide) ** 2).sum((1, 2), keepdim=True) / count
    return (layer - mean) / torch.sqrt(variance + 1e-12)


def _estimator(inputs: int, hparams: dict[str, Any]) -> nn.Sequential:
    """Return the feed-forward network of comet/modules/feedforward.py, without its dropout."""
    modules: list[nn.Module] = []
    for size in hparams["hidden_sizes"]:
        modules += [nn.Linear(inputs, size), _activation(hparams["activations"]), nn.Identity()]
        inputs = size
    modules.append(nn.Linear(inputs, 1))
    if hparams.get("final_activation"):
        modules.append(_activation(hparams["final_activation"]))
    return nn.Sequential(*modules)


def _activation(name: str) -> nn.Module:
    if name.title() not in _ACTIVATIONS:
        raise DataError(f"activation `{name}` is not known; known: {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name.title()]()


class Comet:
    """A checkpoint of COMET's; see the module."""

    def __init__(
        self,
        directory: Path,
        encoder: Path,
        kinds: Sequence[str],
        *,
        with_reference: bool,
        device: torch.device,
        dtype: torch.dtype,
        batch_tokens: int,
    ) -> None:
        """Load it.

        Raises:
            UserError: If a file is missing, or it is of another kind.
            DataError: If its weights do not fit its encoder.
        """
        self._hparams = _read_hparams(directory, kinds)
        self._kind: str = self._hparams["class_identifier"]
        self._device, self._batch_tokens = device, batch_tokens
        self._with_reference = with_reference
        find_file(encoder, ["config.json"], "the encoder's configuration; see --encoder")
        find_file(
            encoder,
            ["tokenizer.json", "sentencepiece.bpe.model"],
            "the encoder's tokenizer; see --encoder",
        )
        with loading_pretrained(encoder):
            self._tokenizer = XLMRobertaTokenizerFast.from_pretrained(
                encoder, local_files_only=True
            )
        path = find_file(directory / "checkpoints", ["model.ckpt"], "the weights")
        weights = read_weights(path)
        model: Any = _ENCODERS[self._hparams["encoder_model"]]
        with loading_pretrained(encoder), no_init_weights():
            config = AutoConfig.from_pretrained(encoder, local_files_only=True)
            self._encoder: Any = model(config, add_pooling_layer=False)
        fill(self._encoder, weights, "encoder.model.", path)
        # As COMET has it: two of the positions are the offset of XLM-R's.
        self._positions = config.max_position_embeddings - 2
        width, layers = config.hidden_size, config.num_hidden_layers + 1
        inputs = {"regression_metric": 6, "referenceless_regression_metric": 4}.get(self._kind, 1)
        self._estimator = _estimator(inputs * width, self._hparams)
        fill(self._estimator, weights, "estimator.ff.", path)
        self._layer = self._hparams.get("sent_layer", self._hparams.get("layer", "mix"))
        self._mixture: LayerMixture | None = None
        if self._layer == "mix":
            self._mixture = LayerMixture(
                layers, self._hparams["layer_transformation"], self._hparams["layer_norm"]
            )
            fill(self._mixture, weights, "layerwise_attention.", path)
        self._labels = ["O"]
        self._tagger: nn.Linear | None = None
        if self._kind == "xcomet_metric":
            self._labels += list(_SEVERITIES)
            self._tagger = nn.Linear(width, len(self._labels))
            fill(self._tagger, weights, "hidden2tag.", path)
        for module in (self._encoder, self._estimator, self._mixture, self._tagger):
            if module is not None:
                module.to(device, dtype).eval()
        self._embeddings: dict[str, Tensor] = {}

    @torch.inference_mode()
    def score(
        self, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str] | None
    ) -> list[float]:
        """Return the score of each segment.

        Args:
            sources: [N].
            hypotheses: [N].
            references: [N]; None where the metric uses none.
        """
        if self._kind in ("regression_metric", "referenceless_regression_metric"):
            return self._score_embeddings(sources, hypotheses, references)
        return self._score_sequences(sources, hypotheses, references)

    def _encode(self, rows: Sequence[Sequence[int]]) -> tuple[Sequences, Tensor, Tensor]:
        """Return the encoder's output, its tokens and the mask of what is no padding, [N, T]."""
        tokens, mask = pad(rows, self._tokenizer.pad_token_id, self._device)
        output = self._encoder(input_ids=tokens, attention_mask=mask, output_hidden_states=True)
        layers = output.hidden_states
        mixed = layers[self._layer] if self._mixture is None else self._mixture(layers, mask)
        return Sequences(layers, mixed), tokens, mask

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        found: list[list[int]] = self._tokenizer(
            list(texts), truncation=True, max_length=self._positions - 2
        )["input_ids"]
        return found

    # COMET-22: a sentence embedding for each text.

    def _score_embeddings(
        self, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str] | None
    ) -> list[float]:
        needed = dict.fromkeys([*sources, *hypotheses, *(references or ())])
        self._embed([text for text in needed if text not in self._embeddings])
        features = []
        for place, (source, hypothesis) in enumerate(zip(sources, hypotheses, strict=True)):
            s, h = self._embeddings[source], self._embeddings[hypothesis]
            if references is None:
                parts: tuple[Tensor, ...] = (h, s, h * s, (h - s).abs())
            else:
                r = self._embeddings[references[place]]
                parts = (h, r, h * r, (h - r).abs(), h * s, (h - s).abs())
            features.append(torch.cat(parts))
        scores: list[float] = self._estimator(torch.stack(features)).view(-1).float().tolist()
        if len(self._embeddings) > _KEPT_EMBEDDINGS:
            self._embeddings.clear()
        return scores

    def _embed(self, texts: Sequence[str]) -> None:
        rows = self._tokens(texts)

        def run(batch: list[int]) -> list[Tensor]:
            sequences, tokens, mask = self._encode([rows[place] for place in batch])
            return list(self._pool(sequences, tokens, mask).unbind())

        for text, embedding in zip(texts, by_batches(rows, self._batch_tokens, run), strict=True):
            self._embeddings[text] = embedding

    def _pool(self, sequences: Sequences, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return the sentence embeddings, [N, D].

        As published, a padding token that the text itself spells out (`<pad>`) adds nothing to an
        average, but counts in its length.
        """
        pool, mixed = self._hparams.get("pool", "avg"), sequences.mixed
        padding = (tokens == self._tokenizer.pad_token_id).unsqueeze(-1)
        if pool == "avg":
            return mixed.masked_fill(padding, 0).sum(1) / mask.sum(1, keepdim=True)
        if pool == "max":
            return mixed.masked_fill(padding, -torch.inf).amax(1)
        return mixed[:, 0] if pool == "cls" else sequences.layers[-1][:, 0]

    # CometKiwi and XCOMET: all texts in one sequence.

    def _score_sequences(
        self, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str] | None
    ) -> list[float]:
        segments = self._hparams.get("input_segments", ["mt", "src", "ref"])
        ours, theirs = self._tokens(hypotheses), self._tokens(sources)
        inputs = [[self._join(h, s) for h, s in zip(ours, theirs, strict=True)]]
        if self._with_reference and references is not None and "ref" in segments:
            golden = self._tokens(references)
            inputs.append([self._join(h, r) for h, r in zip(ours, golden, strict=True)])
            inputs.append([self._join(*row) for row in zip(ours, theirs, golden, strict=True)])
        longest = [max(map(len, row)) for row in zip(*inputs, strict=True)]

        def run(batch: list[int]) -> list[float]:
            return self._run(
                [[kind[place] for place in batch] for kind in inputs],
                [len(ours[place]) for place in batch],
            )

        return by_batches([range(length) for length in longest], self._batch_tokens, run)

    def _join(self, *parts: Sequence[int]) -> list[int]:
        """Return texts as one sequence, with separators between them, cut where it is too long."""
        special = self._tokenizer.pad_token_id
        plain = [[token for token in part if token != special] for part in parts]
        sequence = plain[0]
        for part in plain[1:]:
            sequence = self._tokenizer.build_inputs_with_special_tokens(sequence[1:-1], part[1:-1])
        room = self._positions - (1 + len(parts) * _SEPARATORS)
        if sum(len(part) - 2 for part in plain) > room:
            sequence = sequence[: self._positions]
        return sequence

    def _run(
        self, inputs: Sequence[Sequence[Sequence[int]]], lengths: Sequence[int]
    ) -> list[float]:
        scores, tags = [], []
        for rows in inputs:
            sequences, _, _ = self._encode(rows)
            scores.append(self._estimator(sequences.mixed[:, 0]).view(-1).float())
            if self._tagger is not None:
                words = sequences.layers[self._hparams["word_layer"]]
                tags.append(torch.softmax(self._tagger(words).float(), dim=2))
        if self._tagger is None:
            return [float(value) for value in torch.stack(scores).mean(0)]
        clipped = [torch.clamp(score, max=1.0) for score in scores]
        if len(inputs) == 1:
            score, likely = sum(_SCORE_WEIGHTS[:3]) * clipped[0], tags[0]
        else:
            width = max(lengths)
            score, likely = torch.zeros_like(clipped[0]), torch.zeros_like(tags[0][:, :width])
            for weight, one in zip(_SCORE_WEIGHTS, clipped, strict=False):
                score = score + weight * one
            for weight, one in zip(_SPAN_WEIGHTS, tags, strict=True):
                likely = likely + weight * one[:, :width]
        penalties = [
            self._penalty(likely[place, :length].argmax(1).tolist())
            for place, length in enumerate(lengths)
        ]
        quality = (_MOST_PENALTY - torch.tensor(penalties)) / _MOST_PENALTY
        total = score + _SCORE_WEIGHTS[3] * quality.to(score)
        return [float(value) for value in total]

    def _penalty(self, labels: Sequence[int]) -> int:
        """Return what the error spans of a hypothesis take off, at most 25.

        A span has the severity of its first token, and counts once a token without error follows.
        """
        total, severity = 0, ""
        for label in labels:
            if label == 0:
                total += _SEVERITIES.get(severity, 0)
                severity = ""
            elif not severity:
                severity = self._labels[label]
        return min(total, _MOST_PENALTY)


def _read_hparams(directory: Path, kinds: Sequence[str]) -> dict[str, Any]:
    path = find_file(directory, ["hparams.yaml"], "is it a directory as Unbabel publishes them?")
    try:
        hparams = yaml.safe_load(read_text(path))
        kind, encoder = hparams["class_identifier"], hparams["encoder_model"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not COMET's hparams.yaml: {error}") from error
    if kind not in kinds:
        raise UserError(f"{directory} is a `{kind}`; this metric needs {' or '.join(kinds)}")
    if encoder not in _ENCODERS:
        raise UserError(
            f"{directory} has the encoder `{encoder}`; supported are {', '.join(_ENCODERS)}"
        )
    return dict(hparams)
