"""Which experts the languages use (NLLB-200, section 6.2.4): shares of tokens, layer by layer.

Shape suffixes: T tokens; E experts; K choices of a token.
"""

# ruff: noqa: N806 (shape suffixes)

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corpus.languages import Direction
from nmt.fairseq import BatchLayout
from nmt.model.directory import TrainedModel
from nmt.model.translator import moe_layers
from nmt.usage.directions import read_texts

_BATCH_SENTENCES = 64

Counts = Mapping[str, Sequence[float]]
"""Tokens of one direction by layer, for each expert."""


class Measured(NamedTuple):
    """Expert usage of one direction's text in a model."""

    direction: Direction
    counts: Counts


def is_encoder(layer: str) -> bool:
    """Whether a layer, by its name, is the encoder's: it reads source languages."""
    return layer.startswith("encoder")


def measure_usage(
    model: TrainedModel, flores: Path, split: str, directions: Sequence[Direction] = ()
) -> dict[str, Any]:
    """Run a split through a model, each direction it was trained on, and count routed tokens.

    Returns:
        As `summarize_usage`.
    """
    chosen, texts = read_texts(model.directions, flores, split, directions)
    measured = [
        Measured(direction, count_direction(model, direction, texts)) for direction in chosen
    ]
    return summarize_usage(measured, len(next(iter(texts.values()), [])))


def summarize_usage(measured: Iterable[Measured], num_sentences: int) -> dict[str, Any]:
    """Sum the counts of directions to shares by language.

    Encoder layers count by source language, decoder layers by target language. A token counts for
    each of its experts with its gate weight, so that a language's shares sum to 1.

    Returns:
        `layers`: by name, `languages` (code to shares by expert), `load` (shares over all
        languages), `entropy` of the load and `max_entropy`, ln E; `directions`, `sentences`.
    """
    totals: dict[str, dict[str, NDArray[np.float64]]] = {}
    directions = []
    for direction, counts in measured:
        directions.append(str(direction))
        for layer, count in counts.items():
            language = direction.source if is_encoder(layer) else direction.target
            languages = totals.setdefault(layer, {})
            languages[language] = languages.get(language, 0) + np.asarray(count)
    layers = {}
    for layer, languages in totals.items():
        load = np.sum(list(languages.values()), axis=0)
        load = load / load.sum()
        used = load[load > 0]
        layers[layer] = {
            "languages": {
                language: (count / count.sum()).tolist()
                for language, count in sorted(languages.items())
            },
            "load": load.tolist(),
            "entropy": -float(used @ np.log(used)),
            "max_entropy": float(np.log(len(load))),
        }
    return {"layers": layers, "directions": directions, "sentences": num_sentences}


@torch.inference_mode()
def count_direction(
    model: TrainedModel, direction: Direction, texts: Mapping[str, Sequence[str]]
) -> dict[str, list[float]]:
    """Return the tokens that each expert of each layer gets, with their gate weights."""
    source, target = direction
    totals: dict[str, Tensor] = {}
    sources = _rows(model, texts[source], [], source)
    targets = _rows(model, texts[target], [model.vocabulary.end_index], target)
    for begin in range(0, len(sources), _BATCH_SENTENCES):
        batch = slice(begin, begin + _BATCH_SENTENCES)
        model.translator(*_pad(model, sources[batch]), *_pad(model, targets[batch]))
        for name, layer in moe_layers(model.translator):
            assert layer.routing is not None
            expert_KT, weight_KT = layer.routing.expert_KT, layer.routing.weight_KT
            count_E = torch.zeros(
                layer.num_experts + 1, dtype=torch.float64, device=expert_KT.device
            )
            count_E.index_add_(0, expert_KT.flatten(), weight_KT.flatten().double())
            totals[name] = totals.get(name, 0) + count_E[:-1]
    return {name: count_E.tolist() for name, count_E in totals.items()}


def _rows(
    model: TrainedModel, lines: Sequence[str], prefix: list[int], language: str
) -> list[list[int]]:
    vocabulary = model.vocabulary
    limit = int(model.translator.max_source_seq_len) - 3
    index = vocabulary.language_index(language)
    return [
        [*prefix, index, *pieces[:limit], vocabulary.end_index]
        for pieces in vocabulary.encode(lines)
    ]


def _pad(model: TrainedModel, rows: list[list[int]]) -> tuple[Tensor, BatchLayout]:
    lengths = [len(row) for row in rows]
    seqs = torch.full((len(rows), max(lengths)), model.vocabulary.pad_index)
    for i, row in enumerate(rows):
        seqs[i, : len(row)] = torch.tensor(row)
    seqs = seqs.to(model.translator.output_weight.device)
    return seqs, BatchLayout.of(seqs, lengths)
