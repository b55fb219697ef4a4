"""One language pair searched in blocks of sources and targets, which are shards of a job.

Several machines search a pair together so, and a search that was killed loses a block. What is
merged is what a search of the whole finds: neighbors within a block are exact, their cosines do not
depend on what else is compared, and of equal ones the lower id is nearer everywhere.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from corpus import stores
from corpus.errors import DataError
from corpus.files import atomic_path
from corpus.jobs import Outcome, Task
from corpus.languages import Direction
from corpus.records import count_rows
from mining.search.calibrate import merge_neighbors
from mining.search.config import MineConfig, SearchConfig
from mining.search.language_vectors import load_language_once
from mining.search.margin import Neighbors
from mining.search.neighbors import Found, as_vectors, find_neighbors
from mining.search.places import MineFiles, MinePlaces, files_of
from mining.search.vectors import scratch_array

SEARCH_JOB = "search"
_PARTS = ".search"


class Blocks(NamedTuple):
    """How a language pair is divided."""

    pair: str
    """Names the parts."""

    rows: tuple[int, int]
    """Sentences of both sides, copies included."""

    size: int
    """Sentences of each side in a block."""

    @property
    def counts(self) -> tuple[int, int]:
        """Blocks of sources and of targets."""
        source, target = (max(1, -(-rows // self.size)) for rows in self.rows)
        return source, target

    @property
    def is_whole(self) -> bool:
        """Whether there is one block, which needs no job of its own."""
        return self.counts == (1, 1)

    def name(self, source: int, target: int) -> str:
        """Return the name of a block's task."""
        return f"{self.pair}/{self.size}/{source:05}-{target:05}"

    def part(self, output: Path, source: int, target: int) -> Path:
        """Return where the neighbors within a block lie."""
        return output / _PARTS / f"{self.name(source, target)}.safetensors"


def divide(pair: str, files: MineFiles, direction: Direction, config: MineConfig) -> Blocks:
    """Return the blocks of a language pair; one where the shared index is searched."""
    source, target = (sum(map(count_rows, files.shards[language])) for language in direction)
    size = max(source, target, 1) if files.shared_index else config.block_sentences
    return Blocks(pair, (source, target), size)


def block_tasks(blocks: Blocks, files: MineFiles, direction: Direction) -> list[Task]:
    """Return the tasks that search a language pair; none if it is one block."""
    if blocks.is_whole:
        return []
    inputs = files_of(files.shards, files.vectors)
    sources, targets = blocks.counts
    return [
        Task(
            name=blocks.name(i, j),
            inputs=tuple(inputs),
            arguments={"direction": list(direction), "blocks": list(blocks), "block": [i, j]},
        )
        for i in range(sources)
        for j in range(targets)
    ]


def part_of(task: Task, output: Path) -> Path:
    """Return where the neighbors within a task's block lie."""
    pair, rows, size = task.arguments["blocks"]
    return Blocks(pair, tuple(rows), size).part(output, *task.arguments["block"])


def search_block(task: Task, *, places: MinePlaces, config: SearchConfig) -> Outcome:
    """Find the neighbors within a block, in both directions, and write them."""
    direction = Direction(*task.arguments["direction"])
    size = task.arguments["blocks"][-1]
    files = places._replace(known=None).files(direction, config)
    sides = []
    for language, number in zip(direction, task.arguments["block"], strict=True):
        own = slice(number * size, (number + 1) * size)
        shards, vectors = files.shards[language], files.vectors[language]
        loaded = load_language_once(shards, vectors, places.output, own)
        sides.append(as_vectors(loaded.vectors, config, f"embeddings of {language}"))
    counts = [len(side.matrix) for side in sides]
    if all(counts):
        found = find_neighbors(sides[0], sides[1], config, places.output)
    else:  # copies were dropped, and nothing is left for the last block
        found = Found(*(_nothing(count) for count in counts))
    path = part_of(task, places.output)
    with atomic_path(path) as temporary:
        save_file(
            {
                f"{way}.{name}": np.ascontiguousarray(values)
                for way, near in found._asdict().items()
                for name, values in near._asdict().items()
            },
            temporary,
        )
    return Outcome(
        counts={"source_sentences": counts[0], "target_sentences": counts[1]}, outputs=(path,)
    )


def _nothing(count: int) -> Neighbors:
    return Neighbors(np.empty((count, 0), np.int64), np.empty((count, 0), np.float32))


def merge_blocks(
    blocks: Blocks, sizes: tuple[int, int], output: Path, neighbors: int, scratch: Path | None
) -> Found:
    """Return the neighbors of a whole language pair from those within its blocks.

    Args:
        blocks: How it was divided.
        sizes: Sentences of both sides, copies left out.
        output: As the tasks had it.
        neighbors: How many were wanted, k.
        scratch: A folder for what is kept of every sentence.

    Raises:
        DataError: If a part is damaged.
    """
    sources, targets = blocks.counts
    grid = [
        [stores.fetch(blocks.part(output, i, j)) for j in range(targets)] for i in range(sources)
    ]
    turned = [list(column) for column in zip(*grid, strict=True)]
    return Found(
        _merge(grid, "forward", blocks.size, sizes[0], min(neighbors, sizes[1]), scratch),
        _merge(turned, "backward", blocks.size, sizes[1], min(neighbors, sizes[0]), scratch),
    )


def _merge(
    grid: list[list[Path]], way: str, size: int, count: int, most: int, scratch: Path | None
) -> Neighbors:
    """Merge a line of blocks after the other; a line has the same sentences."""
    merged = Neighbors(
        scratch_array((count, most), np.int64, scratch),
        scratch_array((count, most), np.float32, scratch),
    )
    for number, line in enumerate(grid):
        best = _read(line[0], way)
        for other, path in enumerate(line[1:], 1):
            near = _read(path, way)
            width = min(most, best.ids.shape[1] + near.ids.shape[1])
            best = merge_neighbors(best, near, other * size, width)
        if len(best.ids):
            own = slice(number * size, number * size + len(best.ids))
            merged.ids[own], merged.cosines[own] = best
    return merged


def _read(path: Path, way: str) -> Neighbors:
    try:
        with safe_open(path, framework="numpy") as file:
            return Neighbors(*(file.get_tensor(f"{way}.{name}") for name in Neighbors._fields))
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{path} is damaged: {error}. Delete it and run the command again, which redoes it."
        ) from error


def remove_parts(output: Path, pair: str) -> None:
    """Delete the parts of a pair that has been mined."""
    stores.remove_all(output / _PARTS / pair)
    shutil.rmtree(output / _PARTS / pair, ignore_errors=True)
    if (output / _PARTS).is_dir() and not any((output / _PARTS).iterdir()):
        (output / _PARTS).rmdir()
