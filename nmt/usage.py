"""Which experts the languages use (NLLB-200, section 6.2.4): shares of tokens, layer by layer.

Shape suffixes: T tokens; E experts; K choices of a token.
"""

# ruff: noqa: N806 (shape suffixes)

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from corpus.flores import read_split, split_languages
from nmt.fairseq import BatchLayout
from nmt.model import moe_layers
from nmt.model_directory import TrainedModel

_BATCH_SENTENCES = 64


def measure_usage(model: TrainedModel, flores: Path, split: str) -> dict[str, Any]:
    """Run a split through a model, each direction it was trained on, and count routed tokens.

    Encoder layers count by source language, decoder layers by target language. A token counts for
    each of its experts with its gate weight, so that a language's shares sum to 1.

    Returns:
        `layers`: by name, `languages` (code to shares by expert), `load` (shares over all
        languages), `entropy` of the load and `max_entropy`, ln E; `directions`, `sentences`.
    """
    there = set(split_languages(flores, split))
    directions = [d for d in model.directions if d.source in there and d.target in there]
    texts = read_split(flores, split, sorted({lang for d in directions for lang in d}))
    totals: dict[str, dict[str, Tensor]] = {}
    for direction in directions:
        _count_direction(model, direction, texts, totals)
    layers = {}
    for name, languages in totals.items():
        load_E = torch.stack(list(languages.values())).sum(0)
        load_E = load_E / load_E.sum()
        layers[name] = {
            "languages": {
                language: (count_E / count_E.sum()).tolist()
                for language, count_E in sorted(languages.items())
            },
            "load": load_E.tolist(),
            "entropy": -float(torch.xlogy(load_E, load_E).sum()),
            "max_entropy": float(torch.tensor(float(len(load_E))).log()),
        }
    return {
        "layers": layers,
        "directions": [str(direction) for direction in directions],
        "sentences": len(next(iter(texts.values()), [])),
    }


@torch.inference_mode()
def _count_direction(
    model: TrainedModel,
    direction: tuple[str, str],
    texts: dict[str, list[str]],
    totals: dict[str, dict[str, Tensor]],
) -> None:
    source, target = direction
    sources = _rows(model, texts[source], [], source)
    targets = _rows(model, texts[target], [model.vocabulary.end_index], target)
    for begin in range(0, len(sources), _BATCH_SENTENCES):
        batch = slice(begin, begin + _BATCH_SENTENCES)
        pad_index = model.vocabulary.pad_index
        model.translator(*_pad(sources[batch], pad_index), *_pad(targets[batch], pad_index))
        for name, layer in moe_layers(model.translator):
            assert layer.routing is not None
            expert_KT, weight_KT = layer.routing.expert_KT, layer.routing.weight_KT
            count_E = torch.zeros(layer.num_experts + 1, dtype=torch.float64)
            count_E.index_add_(0, expert_KT.flatten(), weight_KT.flatten().double())
            language = source if name.startswith("encoder") else target
            languages = totals.setdefault(name, {})
            languages[language] = languages.get(language, 0) + count_E[:-1]


def _rows(
    model: TrainedModel, lines: list[str], prefix: list[int], language: str
) -> list[list[int]]:
    vocabulary = model.vocabulary
    limit = int(model.translator.max_source_seq_len) - 3
    index = vocabulary.language_index(language)
    return [
        [*prefix, index, *pieces[:limit], vocabulary.end_index]
        for pieces in vocabulary.encode(lines)
    ]


def _pad(rows: list[list[int]], pad_index: int) -> tuple[Tensor, BatchLayout]:
    lengths = [len(row) for row in rows]
    seqs = torch.full((len(rows), max(lengths)), pad_index)
    for i, row in enumerate(rows):
        seqs[i, : len(row)] = torch.tensor(row)
    return seqs, BatchLayout.of(seqs, lengths)
