"""Cost estimate of `tongues nmt tokenize`, from a trial run on the beginnings of some files."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from corpus.bitext import copy_first_pairs, count_pairs
from corpus.files import write_lines
from corpus.jobs import Cut, Price, Trial, finished, price_job, spread
from corpus.records import count_rows, write_table
from nmt.data.config import TrainingData
from nmt.data.directory import TOKENIZE_JOB
from nmt.data.tokenize import (
    run_tokenize,
    task_direction,
    tokenize_inputs,
    tokenize_workers,
)
from nmt.text_files import TextFile, read_text

_FIRST_LINES = 2000
_CUT_FILES = 8


def price_tokenize(data: TrainingData, output: Path) -> Price:
    """Estimate the cost of the files that are not tokenized yet. Lines of text files are counted.

    Raises:
        UserError: If a file is missing.
        DataError: If one cannot be read.
    """
    files = tokenize_inputs(data)
    sizes = {name: _count(name, path, data.columns) for name, path in files.items()}
    done = finished(output, TOKENIZE_JOB, files)
    to_do = {name: path for name, path in files.items() if name not in done}
    return price_job(
        Trial(
            command="nmt tokenize",
            unit="pairs or sentences",
            shards=sizes,
            done=done,
            cut=functools.partial(_cut, files=to_do, sizes=sizes, columns=data.columns),
            run=functools.partial(_run_part, data=data),
            first=_FIRST_LINES,
            workers=tokenize_workers(data, list(files.values())),
            counts=("pairs", "pairs.kept", "sentences", "sentences.kept"),
        )
    )


def _count(name: str, path: Path, columns: Mapping[str, str]) -> int:
    if TextFile.of_task(name, path) is None:
        return count_pairs(path, columns, task_direction(name))
    if path.suffix == ".parquet":
        return count_rows(path)
    return sum(map(len, read_text(path)))


def _run_part(part: Path, output: Path, *, data: TrainingData) -> None:
    """Tokenize the files of a part, which lie under the tags and numbers of their directories."""
    bitext: dict[str, tuple[Path, ...]] = {}
    texts: tuple[Path, ...] = ()
    for tag in sorted(part.iterdir()):
        directories = tuple(sorted(tag.iterdir()))
        if tag.name in data.bitext:
            bitext[tag.name] = directories
        else:
            texts = directories
    of_part = dataclasses.replace(data, bitext=bitext, text=texts, directions=())
    run_tokenize(of_part, output)


def _cut(
    size: int,
    folder: Path,
    *,
    files: Mapping[str, Path],
    sizes: Mapping[str, int],
    columns: Mapping[str, str],
) -> Cut:
    """Write the first lines of some files, with the whole's proportions of bitext and text."""
    kinds: tuple[list[str], list[str]] = [], []
    for name, path in files.items():
        kinds[TextFile.of_task(name, path) is not None].append(name)
    total = sum(sizes[name] for name in files)
    cuts = []
    for names in kinds:
        chosen = spread(names, _CUT_FILES)
        share = sum(sizes[name] for name in names) / max(1, total)
        each = -(-round(size * share) // max(1, len(chosen)))
        cuts += [_copy(name, files[name], folder, each, columns) for name in chosen]
    return Cut(sum(cuts), max(cuts))


def _copy(name: str, path: Path, folder: Path, lines: int, columns: Mapping[str, str]) -> int:
    part = folder / Path(name).parent
    if TextFile.of_task(name, path) is None:
        return copy_first_pairs(path, part, task_direction(name), lines, columns)
    copy = part / path.name
    first = _first_lines(path, lines)
    if path.suffix == ".parquet":
        write_table(copy, pa.table({"text": pa.array(first, pa.string())}))
    else:
        write_lines(copy, first)
    return len(first)


def _first_lines(path: Path, lines: int) -> Sequence[str]:
    found: list[str] = []
    for block in read_text(path):
        found += block[: lines - len(found)]
        if len(found) == lines:
            break
    return found
