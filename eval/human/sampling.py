"""Which translations people score: lines drawn by strata, with attention and calibration items.

Lines are drawn in each direction by length of the source and by the systems' mean score, a third
each, every stratum in proportion to its size: the plain mean over the items is then that of the
test set, with less variance than lines drawn at random. Every system is judged on the same lines.
What several systems translate alike is one item, scored once for all of them.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.errors import DataError
from corpus.languages import Direction, parse_direction
from eval.human.judgments import HIGHEST, LOWEST
from eval.tables import read_rows, write_table

ITEM, ATTENTION, CALIBRATION = "item", "attention", "calibration"
BANDS = ("low", "middle", "high")
"""Thirds of the lines, by length and by score."""

_WRONG_AT_MOST = 2.0
_RIGHT_AT_LEAST = 3.0
"""A reference may be free or poor; nobody who reads it gives it less."""

Floats = NDArray[np.float64]


class Item(NamedTuple):
    """A row of items.tsv: a translation of a system, or an item of another kind."""

    item: str
    kind: str
    direction: Direction
    system: str
    """Empty for attention and calibration items."""
    line: int
    """From 1; 0 for calibration items."""
    length_band: str
    score_band: str
    lowest: float
    """Scores that an attentive person gives an attention item."""
    highest: float
    source: str
    target: str


def draw_lines(
    lengths: Floats, scores: Floats, count: int, seed: int
) -> list[tuple[int, str, str]]:
    """Draw lines by strata; return them sorted, each with its bands of length and score.

    Args:
        lengths: Of the source lines, [N].
        scores: Mean scores of the systems, [N].
        count: How many to draw; all where there are fewer.
        seed: Of the draw.
    """
    bands = _thirds(lengths), _thirds(scores)
    strata: dict[tuple[int, int], list[int]] = defaultdict(list)
    for line, key in enumerate(zip(*bands, strict=True)):
        strata[key].append(line)
    generator = np.random.default_rng(seed)
    total, count = len(lengths), min(count, len(lengths))
    # Largest remainders; equal ones in random order, as the first strata are the short lines.
    exact = {key: count * len(lines) / total for key, lines in sorted(strata.items())}
    quotas = {key: int(share) for key, share in exact.items()}
    order = [list(exact)[place] for place in generator.permutation(len(exact))]
    order.sort(key=lambda key: quotas[key] - exact[key])
    for key in order[: count - sum(quotas.values())]:
        quotas[key] += 1
    drawn = [
        (int(line), BANDS[key[0]], BANDS[key[1]])
        for key, quota in quotas.items()
        for line in generator.choice(strata[key], quota, replace=False)
    ]
    return sorted(drawn)


def _thirds(values: Floats) -> list[int]:
    """Return 0, 1 or 2 for each value, by rank; equal values keep their order."""
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return [int(rank) * len(BANDS) // len(values) for rank in ranks]


def draw_items(
    direction: Direction,
    texts: Mapping[str, Sequence[str]],
    sources: Sequence[str],
    references: Sequence[str],
    scores: Floats,
    *,
    count: int,
    attention_share: float,
    seed: int,
) -> list[Item]:
    """Return the items of a direction: every system's translation of the lines drawn, attention.

    Args:
        direction: Of the lines.
        texts: Hypotheses by system, [N] each.
        sources: The lines, [N].
        references: Of the same lines, [N].
        scores: Mean scores of the systems, [N].
        count: Lines to draw.
        attention_share: Attention items for each item.
        seed: Of the draws.
    """
    lengths = np.array([len(line) for line in sources], dtype=np.float64)
    chosen = draw_lines(lengths, scores, count, seed)
    rows = []
    for line, length_band, score_band in chosen:
        for system, lines in texts.items():
            name = _name(seed, direction, sources[line], lines[line])
            rows.append(
                Item(
                    name, ITEM, direction, system, line + 1, length_band, score_band,
                    LOWEST, HIGHEST, sources[line], lines[line],
                )
            )  # fmt: skip
    items = {row.item for row in rows}
    wanted = round(attention_share * len(items)) if attention_share else 0
    generator = np.random.default_rng([seed, 1])
    drawn = [line for line, _, _ in chosen]
    places = generator.permutation(len(drawn)).tolist()
    for index, place in enumerate(places[: max(wanted, 2 if attention_share else 0)]):
        line = drawn[place]
        is_wrong = index % 2 == 0
        other = drawn[(place + len(drawn) // 2) % len(drawn)] if is_wrong else line
        if is_wrong and references[other] == references[line]:
            continue
        name = _name(seed, direction, sources[line], references[other])
        if name not in items:  # a system may have written just that
            items.add(name)
            low, high = (LOWEST, _WRONG_AT_MOST) if is_wrong else (_RIGHT_AT_LEAST, HIGHEST)
            rows.append(
                Item(
                    name, ATTENTION, direction, "", line + 1, "", "", low, high, sources[line],
                    references[other],
                )
            )  # fmt: skip
    return rows


def read_calibration(path: Path, direction: Direction, seed: int) -> list[Item]:
    """Read a calibration set, a TSV with the columns source and target, as items of a direction.

    Raises:
        UserError: If it does not exist.
        DataError: If a column is missing, or a row is empty or there twice.
    """
    rows: dict[str, Item] = {}
    for number, cells in read_rows(path, ["source", "target"]):
        source, target = cells["source"], cells["target"]
        if not source.strip() or not target.strip():
            raise DataError(f"{path}:{number}: an item needs a source and a target")
        name = _name(seed, direction, source, target)
        if name in rows:
            raise DataError(f"{path}:{number}: this item is there already")
        rows[name] = Item(
            name, CALIBRATION, direction, "", 0, "", "", LOWEST, HIGHEST, source, target
        )
    if not rows:
        raise DataError(f"{path} has a header and no items")
    return list(rows.values())


def _name(seed: int, direction: Direction, source: str, target: str) -> str:
    """Return an item's name, which does not give away what kind it is or whose."""
    text = "\0".join((str(seed), str(direction), source, target))
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=6).hexdigest()


def write_items(path: Path, items: Sequence[Item]) -> None:
    """Write items.tsv; tabs in texts become spaces."""
    write_table(path, Item._fields, items)


def read_items(path: Path) -> list[Item]:
    """Read items.tsv.

    Raises:
        UserError: If it does not exist.
        DataError: If it is not as `write_items` writes it; the message names the line.
    """
    items = []
    for number, cells in read_rows(path, Item._fields):
        try:
            items.append(
                Item(
                    item=cells["item"],
                    kind=cells["kind"],
                    direction=parse_direction(cells["direction"]),
                    system=cells["system"],
                    line=int(cells["line"]),
                    length_band=cells["length_band"],
                    score_band=cells["score_band"],
                    lowest=float(cells["lowest"]),
                    highest=float(cells["highest"]),
                    source=cells["source"],
                    target=cells["target"],
                )
            )
        except ValueError as error:
            raise DataError(f"{path}:{number}: {error}") from None
    return items
