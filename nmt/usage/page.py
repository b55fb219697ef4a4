"""The page of `tongues nmt experts`: similarity of languages and their experts, as heat maps.

One file that needs no network; `page.js` draws the maps from packed numbers when it is opened. With
202 languages and 128 experts a map takes 54 kB.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.languages import check_language
from corpus.report.html import (
    INTERACTIVE_CSS,
    SORT_SCRIPT,
    as_script,
    escape,
    figure,
    interactive_script,
    page,
    section,
    select,
    table,
)
from nmt.usage.similarity import (
    LayerSimilarity,
    cluster_order,
    contrast,
    shown_layers,
    similarity,
)

_FULL = 255
_STYLE = """
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr));
  gap: 22px; }
.panels h3 { margin: 0 0 8px; color: var(--ink); }
.panels h3 small { font-weight: 400; }
td { white-space: nowrap; } .panel { min-width: 0; } canvas { touch-action: pan-y; }
.legend { flex-wrap: nowrap; } #legend { flex: 0 1 220px; min-width: 40px; }
#usage-room { margin-top: 10px; max-height: 720px; overflow: auto; }
"""
_ORDERS = [
    ("cluster", "similarity"),
    ("family", "family"),
    ("script", "script"),
    ("name", "name"),
]
_COLORS = [("all", "of all maps"), ("own", "of each map")]


def render_usage(usage: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        usage: As `measure_usage` returns it.
    """
    layers: Mapping[str, Mapping[str, Any]] = usage["layers"]
    found = [similarity(name, layer) for name, layer in layers.items()]
    languages = sorted({language for layer in layers.values() for language in layer["languages"]})
    shown = shown_layers(list(layers))
    body = [
        _figures(usage, languages, found, shown),
        f'<div class="controls">{select("order", "languages sorted by", _ORDERS)}</div>',
        _similarity_section(shown),
        _usage_section(layers),
        _layer_section(layers, found),
        "<footer>One file, no network. The same numbers are in usage.json, shares.tsv and"
        " similarity.tsv beside it.</footer>",
        '<div id="tip" hidden></div>',
        as_script(_data(layers, languages, found, shown)),
    ]
    script = (resources.files("nmt") / "usage" / "page.js").read_text(encoding="utf-8")
    return page(
        "Which experts the languages use",
        f"{len(languages):,} languages, {len(usage['directions']):,} directions of"
        f" {usage['sentences']:,} sentences each. Encoder layers count the source language's"
        " tokens, decoder layers the target language's.",
        body,
        "\n".join([SORT_SCRIPT, interactive_script(), script]),
        INTERACTIVE_CSS + _STYLE,
    )


def _figures(
    usage: Mapping[str, Any],
    languages: Sequence[str],
    found: Sequence[LayerSimilarity],
    shown: Mapping[str, str],
) -> str:
    layers = usage["layers"]
    experts = max(len(layer["load"]) for layer in layers.values())
    evenness = min(layer["entropy"] / max(layer["max_entropy"], 1e-9) for layer in layers.values())
    cards = [
        figure(f"{len(languages):,}", "languages"),
        figure(f"{len(layers):,}", f"layers with {experts:,} experts each"),
        figure(f"{100 * evenness:.0f} %", "of the greatest entropy, in the least even layer"),
    ]
    for one in found:
        if one.layer in shown and len(one.languages) > 1:
            pairs = one.cosine[np.triu_indices(len(one.languages), 1)]
            name = shown[one.layer].lower()
            cards.append(figure(f"{pairs.mean():.2f}", f"mean similarity of two languages, {name}"))
    return f'<div class="figures">{"".join(cards)}</div>'


def _similarity_section(shown: Mapping[str, str]) -> str:
    panels = "".join(
        f'<div class="panel"><h3>{escape(title)} <small>{escape(layer)}</small></h3>'
        f'<canvas data-layer="{escape(layer)}"></canvas></div>'
        for layer, title in shown.items()
    )
    legend = (
        f'<div class="legend">{select("colors", "colors", _COLORS)}<span id="legend-low"></span>'
        '<span id="legend"></span><span id="legend-high"></span></div>'
    )
    return section(
        "How alike languages are",
        "Cosine of the shares of two languages' tokens over the experts, in the first and the last"
        " layer with experts of either side. Point at a cell, or tap it, for its languages.",
        f'{legend}<div class="panels">{panels}</div>',
    )


def _usage_section(layers: Mapping[str, Mapping[str, Any]]) -> str:
    names = [(name, name) for name in layers]
    return section(
        "Who uses which expert",
        "Languages down, experts across, the most used ones first. The color is a language's share"
        " of tokens at an expert; the strongest is the largest share of the layer.",
        select("layer", "layer", names) + '<div id="usage-room"><canvas id="usage"></canvas></div>',
    )


def _layer_section(
    layers: Mapping[str, Mapping[str, Any]], found: Sequence[LayerSimilarity]
) -> str:
    rows: list[list[object]] = []
    for one in found:
        layer = layers[one.layer]
        family, script = contrast(one, by="family"), contrast(one, by="script")
        load = layer["load"]
        most = int(np.argmax(load))
        rows.append(
            [
                one.layer,
                layer["entropy"] / max(layer["max_entropy"], 1e-9),
                math.exp(layer["entropy"]),
                f"{most} ({100 * load[most]:.1f} %)",
                family.alike,
                family.other,
                script.alike,
                script.other,
            ]
        )
    header = [
        "layer", "entropy / greatest", "experts, evenly used", "most used", "same family",
        "other families", "same script", "other scripts",
    ]  # fmt: skip
    return section(
        "Layer by layer",
        "Entropy of the load over all languages, as a share of the greatest and as the number of"
        " evenly used experts with that entropy; mean similarity of two languages of one family or"
        " script and of two others.",
        table(header, rows, sortable=True),
    )


def _data(
    layers: Mapping[str, Mapping[str, Any]],
    languages: Sequence[str],
    found: Sequence[LayerSimilarity],
    shown: Mapping[str, str],
) -> dict[str, Any]:
    described = [check_language(code) for code in languages]
    clusters = cluster_order(languages, found)
    place = {code: i for i, code in enumerate(languages)}
    return {
        "languages": [
            {"code": one.code, "name": one.name, "family": one.family, "script": one.script}
            for one in described
        ],
        "cluster": [place[code] for code in clusters],
        "similarity": {
            one.layer: {
                "languages": [place[code] for code in one.languages],
                "cells": _pack(one.cosine),
            }
            for one in found
            if one.layer in shown
        },
        "usage": {name: _usage_data(layer, place) for name, layer in layers.items()},
    }


def _usage_data(layer: Mapping[str, Any], place: Mapping[str, int]) -> dict[str, Any]:
    """Return shares by language and expert, experts by falling load."""
    order = np.argsort(-np.asarray(layer["load"]), kind="stable")
    shares = np.array(list(layer["languages"].values()))[:, order]
    top = float(shares.max())
    return {
        "languages": [place[code] for code in layer["languages"]],
        "experts": order.tolist(),
        "load": [round(float(layer["load"][expert]), 5) for expert in order],
        "top": top,
        "cells": _pack(shares / max(top, 1e-9)),
    }


def _pack(values: NDArray[np.float64]) -> str:
    """Return numbers from 0 to 1 in a byte each."""
    return base64.b64encode(np.rint(values * _FULL).astype(np.uint8).tobytes()).decode("ascii")
