"""`tongues data split`: known pairs of two languages, some of them held out of training."""

import functools
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from corpus.bitext.convert import find_inputs
from corpus.bitext.directions import directions_of
from corpus.bitext.reader import BitextReader, bitext_paths
from corpus.bitext_columns import check_columns
from corpus.config import Config, NonNegativeInt
from corpus.errors import DataError, UserError
from corpus.files import write_lines
from corpus.jobs import Outcome, Summary, Task, check_not_inputs, run_job
from corpus.languages import Direction

SPLIT_JOB = "split"
TRAIN, HELD_OUT, TEXT = "train", "held_out", "text"
_MOST_SHARE = 4
"""At most one of so many pairs is held out."""


@dataclass(frozen=True, kw_only=True)
class SplitConfig(Config):
    """How known pairs are split."""

    held_out: NonNegativeInt = 200
    """Pairs that are held out, to calibrate mining with: at most a quarter of all."""

    columns: dict[str, str] = field(default_factory=dict)
    """Name, or number from 1, of the columns `source` and `target` of bitext whose header does not
    say which they are."""

    def __post_init__(self) -> None:
        """Check the columns as well."""
        super().__post_init__()
        check_columns(self.columns)


class _Given(NamedTuple):
    """A bitext of the two languages, and in which order it has them."""

    path: Path
    direction: Direction


def split_bitext(
    inputs: Sequence[Path], direction: Direction, output: Path, config: SplitConfig
) -> Summary:
    """Write the pairs of two languages, each once, as training and held-out bitext.

    `output` gets `train/<source>-<target>.tsv`, `held_out/<source>-<target>.tsv` and
    `text/<target>.txt`, the target side of training. Which pairs are held out depends on the pairs
    alone. Pairs of which a side is empty are dropped.

    Args:
        inputs: Files and directories of bitext, in either order of the languages.
        direction: In which order they are written.
        output: The directory.
        config: How many are held out.

    Raises:
        UserError: If an input is missing, or has no pair of these languages.
    """
    given = [one for path in inputs for one in _given(path, direction)]
    if not given:
        names = ", ".join(map(str, inputs))
        raise UserError(f"{names}: there is no bitext of {' and '.join(sorted(direction))}")
    files = tuple(file for one in given for file in bitext_paths(*one))
    task = Task(name=str(direction), inputs=files)
    outputs = [output / name / f"{direction}.tsv" for name in (TRAIN, HELD_OUT)]
    outputs.append(output / TEXT / f"{direction.target}.txt")
    check_not_inputs(outputs, files)
    work = functools.partial(
        _split, given=given, direction=direction, outputs=outputs, config=config
    )
    return run_job(name=SPLIT_JOB, tasks=[task], work=work, output=output, config=config)


def _given(path: Path, direction: Direction) -> Iterator[_Given]:
    """Yield the bitext of a file or directory that is of the two languages."""
    if path.is_dir():
        for one, files in find_inputs([path], None).items():
            if set(one) == set(direction):
                yield from (_Given(file, one) for file in files)
    else:
        named = [one for one in directions_of(path) if set(one) == set(direction)]
        [(one, files)] = find_inputs([path], named[0] if named else direction).items()
        yield from (_Given(file, one) for file in files)


def _split(
    task: Task,
    *,
    given: Sequence[_Given],
    direction: Direction,
    outputs: Sequence[Path],
    config: SplitConfig,
) -> Outcome:
    counts: Counter[str] = Counter({"pairs": 0, "dropped.empty": 0, "dropped.repeated": 0})
    pairs: dict[tuple[str, str], None] = {}
    for one in given:
        sides = ("source", "target") if one.direction == direction else ("target", "source")
        reader = BitextReader(one.path, columns=config.columns, direction=one.direction)
        for table in reader:
            for pair in zip(*(table.column(side).to_pylist() for side in sides), strict=True):
                source, target = (" ".join((text or "").split()) for text in pair)
                counts["pairs"] += 1
                counts["dropped.empty"] += not (source and target)
                counts["dropped.repeated"] += (source, target) in pairs
                if source and target:
                    pairs[source, target] = None
    if not pairs:
        raise DataError(f"{', '.join(str(one.path) for one in given)}: no pair has two sides")
    size = min(config.held_out, len(pairs) // _MOST_SHARE)
    held_out = set(sorted(pairs, key=_hash)[:size])
    training = [pair for pair in pairs if pair not in held_out]
    held = [pair for pair in pairs if pair in held_out]
    for path, own in zip(outputs, (training, held), strict=False):
        write_lines(path, ["source\ttarget", *("\t".join(pair) for pair in own)])
    write_lines(outputs[-1], list(dict.fromkeys(target for _, target in training)))
    counts.update({TRAIN: len(training), HELD_OUT: len(held)})
    return Outcome(counts=counts, outputs=tuple(outputs))


def _hash(pair: tuple[str, str]) -> bytes:
    return hashlib.blake2b("\t".join(pair).encode(), digest_size=8).digest()
