"""Pre-tokenized bitext: memory-mapped token arrays with the directions they serve."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.errors import UserError
from corpus.files import atomic_path, read_json, write_json
from corpus.languages import Direction, parse_direction
from corpus.records import bitext_files, read_bitext
from nmt.config import TrainConfig
from nmt.vocabulary import Vocabulary

TOKENS_FILE = "tokens.npy"
OFFSETS_FILE = "offsets.npy"
LAYOUT_FILE = "layout.json"


@dataclass(frozen=True)
class Block:
    """Consecutive pairs of one bitext file, in the order of its name."""

    direction: Direction
    tag: str
    first_pair: int
    num_pairs: int


@dataclass(frozen=True)
class TokenizedBitext:
    """Pairs as tokens. Sentence 2i is the first side of pair i, 2i + 1 the second."""

    tokens: NDArray[Any]
    """All sentences after each other."""

    offsets: NDArray[np.int64]
    """Where sentence i begins; one more at the end."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class DirectionPairs:
    """What there is to train for one direction."""

    direction: Direction
    source_sentences: NDArray[np.int64]
    """Index of the source sentence of each pair."""

    target_sentences: NDArray[np.int64]
    tag_indices: NDArray[np.int64]
    """Tag token of each pair; -1 for none."""

    def __len__(self) -> int:
        return len(self.source_sentences)


def bitext_inputs(config: TrainConfig) -> list[tuple[str, Direction, Path]]:
    """Return tag, direction and path of the bitext files that a run trains on."""
    wanted = {parse_direction(direction) for direction in config.directions}
    found = [
        (tag, direction, path)
        for tag, directories in config.bitext.items()
        for directory in directories
        for direction, path in bitext_files(directory).items()
        if not wanted or direction in wanted or direction.reverse in wanted
    ]
    there = {direction for _, direction, _ in found}
    for direction in wanted:
        if direction not in there and direction.reverse not in there:
            raise UserError(f"no bitext for direction {direction}, which `directions` names")
    return found


def tokenize(config: TrainConfig, vocabulary: Vocabulary, directory: Path) -> TokenizedBitext:
    """Tokenize the bitext of a run into a directory, or open what is there already."""
    if not (directory / LAYOUT_FILE).is_file():
        _write(config, vocabulary, directory)
    layout = read_json(directory / LAYOUT_FILE)
    return TokenizedBitext(
        tokens=np.load(directory / TOKENS_FILE, mmap_mode="r"),
        offsets=np.load(directory / OFFSETS_FILE),
        blocks=tuple(
            Block(parse_direction(block["direction"]), block["tag"], block["first"], block["pairs"])
            for block in layout["blocks"]
        ),
    )


def _write(config: TrainConfig, vocabulary: Vocabulary, directory: Path) -> None:
    dtype = np.uint16 if vocabulary.size <= np.iinfo(np.uint16).max else np.int32
    parts: list[NDArray[Any]] = []
    lengths: list[int] = []
    blocks = []
    first = 0
    for tag, direction, path in bitext_inputs(config):
        table = read_bitext(path)
        sides = (
            vocabulary.encode(table.column("source").to_pylist()),
            vocabulary.encode(table.column("target").to_pylist()),
        )
        kept = 0
        for pair in zip(*sides, strict=True):
            if all(0 < len(sentence) <= config.batches.max_length for sentence in pair):
                kept += 1
                for sentence in pair:
                    lengths.append(len(sentence))
                    parts.append(np.array(sentence, dtype))
        blocks.append({"direction": str(direction), "tag": tag, "first": first, "pairs": kept})
        first += kept
    if first == 0:
        raise UserError("the bitext holds no pair that is neither empty nor too long")
    with atomic_path(directory / TOKENS_FILE) as temporary, temporary.open("wb") as file:
        np.save(file, np.concatenate(parts))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    with atomic_path(directory / OFFSETS_FILE) as temporary, temporary.open("wb") as file:
        np.save(file, offsets)
    # Last: the layout says that the arrays are whole.
    write_json(directory / LAYOUT_FILE, {"blocks": blocks})


def fingerprint(config_text: str, digests: Sequence[str]) -> str:
    """Return what a partial training depends on, as one digest."""
    text = json.dumps([config_text, list(digests)])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def direction_pairs(
    bitext: TokenizedBitext, vocabulary: Vocabulary, directions: Sequence[str]
) -> dict[Direction, DirectionPairs]:
    """Return the pairs of each direction to train, sorted by direction.

    Args:
        bitext: Tokenized pairs.
        vocabulary: Gives the tags their tokens.
        directions: What to train; empty for both directions of everything.
    """
    wanted = {parse_direction(direction) for direction in directions}
    found: dict[Direction, list[NDArray[np.int64]]] = {}
    for block in bitext.blocks:
        pairs = np.arange(block.first_pair, block.first_pair + block.num_pairs, dtype=np.int64)
        tag_index = vocabulary.tag_index(block.tag)
        tags = np.full(len(pairs), -1 if tag_index is None else tag_index, np.int64)
        for direction, source_side in ((block.direction, 0), (block.direction.reverse, 1)):
            if not wanted or direction in wanted:
                rows = np.stack([2 * pairs + source_side, 2 * pairs + 1 - source_side, tags])
                found.setdefault(direction, []).append(rows)
    joined = {
        direction: DirectionPairs(direction, *np.concatenate(found[direction], axis=1))
        for direction in sorted(found)
    }
    return {direction: pairs for direction, pairs in joined.items() if len(pairs)}
