"""`tongues eval sample`: items for people to score, and the page on which they do."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corpus.files import digest_file, write_text
from corpus.jobs import Outcome, Task, run_job
from corpus.languages import Direction
from eval.checks.batches import Batch, find_batches, read_text
from eval.config import SampleConfig
from eval.human.annotation_page import render_page
from eval.human.sampling import (
    ATTENTION,
    CALIBRATION,
    ITEM,
    Item,
    draw_items,
    read_calibration,
    read_items,
    write_items,
)
from eval.metrics.metrics import MetricModels, Scorer
from eval.statistics.cells import TEST_SET

ITEMS = "items.tsv"
PAGES = "pages"
_METRIC = "chrf++"
"""Whose sentence scores make the bands."""


def sample_items(
    hypotheses: Sequence[Path],
    test_set: Path,
    split: str,
    calibration: Path | None,
    output: Path,
    config: SampleConfig,
) -> dict[str, Any]:
    """Draw items in every direction of the systems; write items.tsv and a page for each direction.

    Args:
        hypotheses: Directories, a system each.
        test_set: As it was published; see `corpus.test_sets.find`.
        split: Which part of it; the usual one if empty.
        calibration: Items whose mean is known, scored by everyone; a TSV with source and target.
        output: Directory of the sample.
        config: How many, and the seed.

    Returns:
        `directions`: for each, how many items of each kind its page has; `test_set` in words.

    Raises:
        UserError: If a directory, a file or a language is missing.
        JobError: If hypotheses and references differ in length, or the calibration set is damaged.
    """
    batches = find_batches(hypotheses, test_set, split, output / TEST_SET, config.references)
    batches.sort(key=lambda batch: batch.system)  # what is drawn is not by the order of options
    files = sorted({file for batch in batches for file in _inputs(batch)})
    task = Task(
        name="all",
        inputs=(*files, *([calibration] if calibration is not None else [])),
        arguments={"directions": [f"{b.system} {pair}" for b in batches for pair in b.directions]},
    )
    work = functools.partial(
        _work, batches=batches, calibration=calibration, output=output, config=config
    )
    read_text.cache_clear()
    run_job(name="sample", tasks=[task], work=work, output=output, config=config)
    counts: dict[str, dict[str, int]] = {}
    seen = set()
    for item in read_items(output / ITEMS):
        kinds = counts.setdefault(str(item.direction), {ITEM: 0, ATTENTION: 0, CALIBRATION: 0})
        if (item.direction, item.item) not in seen:
            seen.add((item.direction, item.item))
            kinds[item.kind] += 1
    return {"directions": counts, "test_set": batches[0].tests.describe()}


def _inputs(batch: Batch) -> list[Path]:
    sources = [batch.text(source) for source in batch.sources]
    return [*batch.hypotheses, batch.references, *sources]


def _work(
    task: Task,
    *,
    batches: Sequence[Batch],
    calibration: Path | None,
    output: Path,
    config: SampleConfig,
) -> Outcome:
    systems: dict[Direction, list[tuple[Batch, int]]] = defaultdict(list)
    for batch in batches:
        for index, direction in enumerate(batch.directions):
            systems[direction].append((batch, index))
    pages = {}
    items: list[Item] = []
    for direction, own in sorted(systems.items()):
        batch = own[0][0]
        references = read_text(batch.references)
        texts = {batch.system: batch.read(index) for batch, index in own}
        scorer = Scorer(_METRIC, references, MetricModels(), direction.target)
        scores = np.mean([scorer.score_sentences(lines) for lines in texts.values()], axis=0)
        drawn = draw_items(
            direction,
            texts,
            read_text(batch.text(direction.source)),
            references,
            scores,
            count=config.lines,
            attention_share=config.attention_share,
            seed=config.seed,
        )
        if calibration is not None:
            drawn += read_calibration(calibration, direction, config.seed)
        items += drawn
        pages[direction] = drawn
    outputs = [output / ITEMS]
    write_items(output / ITEMS, items)
    sample = digest_file(output / ITEMS)
    for direction, drawn in pages.items():
        outputs.append(output / PAGES / f"{direction}.html")
        write_text(outputs[-1], render_page(direction, drawn, sample))
    return Outcome(counts={"items": len(items)}, outputs=tuple(outputs))
