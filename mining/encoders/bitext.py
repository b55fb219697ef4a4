"""The sentence pairs an encoder is trained on, from any directions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from corpus.bitext import bitext_paths
from corpus.errors import DataError, UserError
from corpus.files import read_lines
from corpus.languages import Direction, check_language
from corpus.records import bitext_files, labeled_text_files, read_bitext

_PIVOT = "eng_Latn"
_MAX_VALIDATION_PAIRS = 200
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TrainingPairs:
    """Pairs as rows into one list of distinct sentences."""

    sentences: list[str]
    pairs: dict[Direction, Int64]
    """Rows of source and target, [n, 2], per direction."""


def training_files(
    directories: Sequence[Path], languages: Collection[str] = ()
) -> tuple[Path, ...]:
    """Return the files that `read_training_pairs` reads, in order."""
    files: list[Path] = []
    for directory in directories:
        if _has_bitext(directory):
            for direction, path in _bitext_of(directory, languages).items():
                files += bitext_paths(path, direction)
        else:
            files += _texts_of(directory, languages).values()
    return tuple(files)


def languages_with(directories: Sequence[Path], pivot: str) -> list[str]:
    """Return the languages that directories of bitext or line-aligned texts have with a pivot.

    Raises:
        UserError: If a directory is missing or holds neither.
    """
    found: set[str] = set()
    for directory in directories:
        if _has_bitext(directory):
            for direction in bitext_files(directory):
                found |= set(direction) if pivot in direction else set()
        else:
            texts = set(labeled_text_files(directory))
            found |= texts if pivot == _pivot(texts) else set()
    return sorted(found - {pivot})


def _bitext_of(directory: Path, languages: Collection[str]) -> dict[Direction, Path]:
    """Return the bitext files of a directory, or those with one of some languages."""
    return {
        direction: path
        for direction, path in bitext_files(directory).items()
        if not languages or set(direction) & set(languages)
    }


def _texts_of(directory: Path, languages: Collection[str]) -> dict[str, Path]:
    """Return the line-aligned texts of a directory, or those of some languages and the pivot."""
    texts = labeled_text_files(directory)
    wanted = {*languages, _pivot(texts)} if languages else set(texts)
    return {language: path for language, path in texts.items() if language in wanted}


def _pivot(texts: Collection[str]) -> str:
    return _PIVOT if _PIVOT in texts else min(texts)


def _has_bitext(directory: Path) -> bool:
    """Say whether a directory holds bitext rather than line-aligned texts."""
    if not directory.is_dir():
        raise UserError(f"bitext directory {directory} does not exist")
    try:
        bitext_files(directory)
    except UserError as error:
        try:
            labeled_text_files(directory)
        except UserError as no_text:
            raise UserError(f"{error} {no_text}") from None
        return False
    return True


def read_training_pairs(
    directories: Sequence[Path],
    languages: Collection[str] = (),
    columns: Mapping[str, str] | None = None,
) -> TrainingPairs:
    """Read all pairs of bitext directories and of directories of line-aligned texts.

    Line-aligned languages are paired with English where it is among them, else with the first.

    Args:
        directories: Of either kind.
        languages: Only pairs with one of these are read; all where there are none.
        columns: As `corpus.bitext.BitextReader` takes them.

    Raises:
        UserError: If a directory is missing or holds neither.
        DataError: If texts differ in length, or nothing is left to learn from.
    """
    rows: dict[str, int] = {}
    found: dict[Direction, list[tuple[int, int]]] = {}
    for directory in directories:
        for direction, sources, targets in _read_directory(directory, languages, columns):
            pairs = found.setdefault(direction, [])
            for source, target in zip(sources, targets, strict=True):
                if source.strip() and target.strip():
                    pairs.append(
                        (
                            rows.setdefault(source, len(rows)),
                            rows.setdefault(target, len(rows)),
                        )
                    )
    arrays = {
        direction: np.array(sorted(set(pairs)), np.int64)
        for direction, pairs in sorted(found.items())
        if pairs
    }
    if not arrays:
        raise DataError(f"{', '.join(map(str, directories))}: no sentence pairs to train on")
    return TrainingPairs(sentences=list(rows), pairs=arrays)


def _read_directory(
    directory: Path, languages: Collection[str], columns: Mapping[str, str] | None
) -> list[tuple[Direction, list[str], list[str]]]:
    if _has_bitext(directory):
        read = []
        for direction, path in _bitext_of(directory, languages).items():
            table = read_bitext(path, columns, direction)
            sources, targets = (table.column(name).to_pylist() for name in ("source", "target"))
            read.append((direction, sources, targets))
        return read
    texts = {
        check_language(language).code: read_lines(path)
        for language, path in _texts_of(directory, languages).items()
    }
    pivot = _pivot(texts)
    for language, lines in texts.items():
        if len(lines) != len(texts[pivot]):
            raise DataError(
                f"{directory}: {language} has {len(lines):,} lines and {pivot} has"
                f" {len(texts[pivot]):,}; the texts of a directory are line-aligned"
            )
    return [
        (Direction(pivot, language), texts[pivot], lines)
        for language, lines in texts.items()
        if language != pivot
    ]


def split_validation(
    pairs: TrainingPairs, share: float, seed: int
) -> tuple[dict[Direction, Int64], dict[Direction, Int64]]:
    """Hold out a share of each direction's pairs; return what is left and what was held out."""
    training, validation = {}, {}
    for number, (direction, rows) in enumerate(pairs.pairs.items()):
        order = np.random.default_rng((seed, number)).permutation(len(rows))
        count = min(_MAX_VALIDATION_PAIRS, int(len(rows) * share))
        validation[direction] = rows[order[:count]]
        training[direction] = rows[order[count:]]
    return training, validation


def sampling_plan(
    training: dict[Direction, Int64],
    *,
    epochs: float,
    batch_size: int,
    temperature: float,
    seed: int,
) -> list[tuple[Direction, Int64]]:
    """Return the batches of a training run: a direction and its pairs each.

    Every batch is of one direction, so that its negatives are sentences of the right language, as
    in mining. A direction with n pairs has batches in proportion to n^(1/temperature), and runs
    through its pairs in a new order each time it has used them up.
    """
    rng = np.random.default_rng((seed, 1 << 20))
    directions = list(training)
    sizes = np.array([len(training[direction]) for direction in directions], np.float64)
    weights = sizes ** (1 / temperature)
    updates = max(1, round(epochs * sizes.sum() / batch_size))
    drawn = rng.choice(len(directions), size=updates, p=weights / weights.sum())
    streams: dict[int, Int64] = {}
    plan = []
    for number in drawn.tolist():
        rows = training[directions[number]]
        left = streams.get(number, np.empty(0, np.int64))
        size = min(batch_size, len(rows))
        if len(left) < size:
            left = rng.permutation(len(rows))
        plan.append((directions[number], rows[left[:size]]))
        streams[number] = left[size:]
    return plan


def mixed_plan(
    training: dict[Direction, Int64],
    *,
    epochs: float,
    batch_size: int,
    temperature: float,
    seed: int,
) -> list[Int64]:
    """Return the batches of a training run whose targets are all of one language: their pairs.

    A batch has pairs of all directions, each drawn in proportion to n^(1/temperature) for n pairs;
    a direction runs through its pairs in a new order each time it has used them up.
    """
    rng = np.random.default_rng((seed, 1 << 20))
    parts = list(training.values())
    sizes = np.array([len(rows) for rows in parts], np.float64)
    weights = sizes ** (1 / temperature)
    updates = max(1, round(epochs * sizes.sum() / batch_size))
    batch_size = min(batch_size, int(sizes.sum()))
    streams = [rows[:0] for rows in parts]
    plan = []
    for _ in range(updates):
        batch = []
        for i, count in enumerate(rng.multinomial(batch_size, weights / weights.sum()).tolist()):
            while len(streams[i]) < count:
                streams[i] = np.concatenate([streams[i], rng.permutation(parts[i])])
            batch.append(streams[i][:count])
            streams[i] = streams[i][count:]
        plan.append(np.concatenate(batch))
    return plan
