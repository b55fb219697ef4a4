"""Labeled text: read, prepare, deduplicate, split and sample."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corpus.console import Progress
from corpus.errors import DataError
from corpus.files import read_lines
from lid.engine.kernel import is_compiled, prepare_lines
from lid.engine.numpy_preparation import prepare_many
from lid.engine.preparation import without_diacritics


@dataclass(frozen=True)
class LabeledText:
    """Distinct prepared lines of each class, and what became of the lines read."""

    lines: Mapping[str, Sequence[str]]
    counts: Mapping[str, int]


def read_labeled(files: Mapping[str, Sequence[Path]]) -> LabeledText:
    """Read and prepare all lines; one found in several classes goes to the most frequent.

    One that is equally common in two classes says nothing about either and is dropped. Lines
    read = kept + empty + repeated + given_to_another_language + ambiguous.

    Raises:
        DataError: If a class is left without lines.
    """
    found: dict[str, Counter[str]] = {}
    counts: Counter[str] = Counter()
    with Progress(len(files), "reading", "languages") as progress:
        for name, paths in files.items():
            raw = [line for path in paths for line in read_lines(path)]
            prepared = Counter(prepare_all(raw))
            counts["read"] += len(raw)
            counts["empty"] += prepared.pop("", 0)
            counts["repeated"] += prepared.total() - len(prepared)
            found[name] = prepared
            progress.update()
    owners = _owners(found)
    lines: dict[str, list[str]] = {}
    for name, prepared in found.items():
        lines[name] = [line for line in prepared if owners[line] == name]
        ambiguous = sum(owners[line] == "" for line in prepared)
        counts["ambiguous"] += ambiguous
        counts["given_to_another_language"] += len(prepared) - len(lines[name]) - ambiguous
        counts["kept"] += len(lines[name])
        if not lines[name]:
            raise DataError(
                f"{', '.join(map(str, files[name]))} leaves no line to learn `{name}` from: all are"
                " empty or stand in other languages' files as well. Remove the file or add text."
            )
    return LabeledText(lines, dict(counts))


def prepare_all(lines: Sequence[str]) -> list[str]:
    """Prepare lines, compiled where that is possible."""
    return prepare_lines(lines) if is_compiled() else prepare_many(lines)


def _owners(found: Mapping[str, Counter[str]]) -> dict[str, str]:
    """Return the class of each line; the empty string where two have it equally often."""
    best: dict[str, tuple[int, str]] = {}
    for name, prepared in found.items():
        for line, count in prepared.items():
            there, _ = best.get(line, (0, ""))
            if count > there:
                best[line] = (count, name)
            elif count == there:
                best[line] = (count, "")
    return {line: name for line, (_, name) in best.items()}


def split_validation(
    lines: Sequence[str], share: float, max_lines: int
) -> tuple[list[str], list[str]]:
    """Split lines into training and validation by their hash, the same way in every run."""
    training: list[str] = []
    validation: list[str] = []
    for line in lines:
        digest = hashlib.blake2b(line.encode("utf-8"), digest_size=8).digest()
        held_out = int.from_bytes(digest, "little") < share * 2.0**64
        if held_out and len(validation) < max_lines:
            validation.append(line)
        else:
            training.append(line)
    return (training, validation) if training else (validation, [])


def sample_sizes(
    available: Mapping[str, int], total: int, temperature: float, max_repeats: int
) -> dict[str, int]:
    """Say how many lines each class contributes to an epoch.

    A class with n lines gets a share of n^(1/temperature) of `total`, at least one line and at
    most `max_repeats` × n; what classes with little text leave is shared by the others.
    """
    weights = {name: count ** (1 / temperature) for name, count in available.items()}
    sizes: dict[str, int] = {}
    while open_classes := available.keys() - sizes.keys():
        whole = sum(weights[name] for name in open_classes)
        left = max(total - sum(sizes.values()), 0)
        shares = {name: left * weights[name] / whole for name in open_classes}
        most = {name: max_repeats * available[name] for name in open_classes}
        full = {name: most[name] for name in open_classes if shares[name] >= most[name]}
        sizes |= full or {name: max(1, round(share)) for name, share in shares.items()}
    return {name: sizes[name] for name in available}


def draw(
    lines: Sequence[str],
    number: int,
    generator: np.random.Generator,
    exponent: float = 0.0,
    counted_characters: int = 150,
) -> list[str]:
    """Draw `number` lines, each in proportion to its length to the power of `exponent`.

    Every line is drawn as often as its share says, rounded up or down; with exponent 0 every line
    once before any line twice.

    Args:
        lines: At least one line.
        number: How many to draw.
        generator: Decides the rounding.
        exponent: 0 for all lines alike.
        counted_characters: Length beyond which a line weighs no more.
    """
    lengths = np.fromiter(map(len, lines), np.float64, len(lines))
    weights = np.minimum(np.maximum(lengths, 1), counted_characters) ** exponent
    order = generator.permutation(len(lines))
    ends = np.cumsum(weights[order]) / weights.sum() * number
    ends[-1] = number
    offset = generator.random()
    times = np.diff(np.floor(ends + offset), prepend=np.floor(offset)).astype(np.int64)
    return [
        lines[i]
        for i, count in zip(order.tolist(), times.tolist(), strict=True)
        for _ in range(count)
    ]


def strip_diacritics(
    lines: Sequence[str], share: float, generator: np.random.Generator
) -> list[str]:
    """Remove the diacritics of a share of the lines; see `preparation.without_diacritics`."""
    chosen = generator.random(len(lines)) < share
    return [
        without_diacritics(line) if is_chosen else line
        for line, is_chosen in zip(lines, chosen.tolist(), strict=True)
    ]


def crop(
    lines: Sequence[str], share: float, max_words: int, generator: np.random.Generator
) -> list[str]:
    """Cut a share of the lines to a few neighboring words each."""
    chosen = generator.random(len(lines)) < share
    lengths = generator.integers(1, max_words, len(lines), endpoint=True)
    starts = generator.random(len(lines))
    cropped = []
    for line, is_chosen, length, start in zip(lines, chosen, lengths, starts, strict=True):
        words = line.split(" ") if is_chosen else []
        if len(words) > length:
            first = int(start * (len(words) - length + 1))
            cropped.append(" ".join(words[first : first + length]))
        else:
            cropped.append(line)
    return cropped
