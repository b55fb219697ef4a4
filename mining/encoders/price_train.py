"""What `tongues mining train-encoder` and `distill` will cost: trainings on the first pairs."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from corpus.bitext import BITEXT_SUFFIXES, copy_first_pairs, count_pairs
from corpus.files import open_lines, write_lines
from corpus.jobs import Cut, Price, Trial, finished, price_job
from mining.encoders.bitext import training_files
from mining.encoders.config import DistillConfig, TrainEncoderConfig
from mining.encoders.distill import DISTILL_JOB, DISTILL_TASK, run_distill
from mining.encoders.train import TRAIN_JOB, TRAIN_TASK, run_train_encoder

_FIRST_LINES = 1000
_ASSUMPTIONS = (
    "Training goes on to its last update; `patience` may end it before.",
    "`threads` divide the time.",
)
_HARD_NEGATIVES = (
    "Neighbors for hard negatives are searched three times among all sentences of a language, which"
    " grows faster than the rest.",
)


def price_train_encoder(bitext: Sequence[Path], output: Path, config: TrainEncoderConfig) -> Price:
    """Measure what training an encoder will cost. The bitext is read once, to count its lines.

    Raises:
        UserError: If a directory is missing or holds no bitext.
        DataError: If a file cannot be read.
    """
    return _price(
        (TRAIN_JOB, TRAIN_TASK), training_files(bitext), output, config, _train_part,
        assumptions=_ASSUMPTIONS + (_HARD_NEGATIVES if config.hard_negatives else ()),
    )  # fmt: skip


def price_distill(
    teacher: Path,
    bitext: Sequence[Path],
    output: Path,
    config: DistillConfig,
    languages: Sequence[str] = (),
) -> Price:
    """Measure what distilling a student will cost. The bitext is read once, to count its lines.

    Raises:
        UserError: If a directory is missing or holds no bitext.
        DataError: If a file cannot be read.
    """
    run = functools.partial(_distill_part, teacher=teacher, languages=tuple(languages))
    return _price(
        (DISTILL_JOB, DISTILL_TASK), training_files(bitext, languages), output, config, run,
        assumptions=_ASSUMPTIONS,
    )  # fmt: skip


def _price(
    job_and_task: tuple[str, str], files: Sequence[Path], output: Path,
    config: TrainEncoderConfig | DistillConfig, run: Callable[..., None],
    *, assumptions: tuple[str, ...],
) -> Price:  # fmt: skip
    job, task = job_and_task
    sizes = {path: _count_lines(path, config.columns) for path in files}
    return price_job(
        Trial(
            command=f"mining {job}",
            unit="lines",
            shards={task: sum(sizes.values())},
            done=finished(output, job, [task]),
            cut=functools.partial(_cut, sizes=sizes, columns=config.columns),
            run=functools.partial(run, config=dataclasses.replace(config, patience=0)),
            first=_FIRST_LINES,
            workers=1,
            counts=("pairs",),
            gpu_stages=(job,) if _trains_on_gpu(config) else (),
            output_is_fixed=True,
            assumptions=assumptions,
        )
    )


def _trains_on_gpu(config: TrainEncoderConfig | DistillConfig) -> bool:
    has_gpu = config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())
    return has_gpu and config.architecture != "bag"


def _is_bitext(path: Path) -> bool:
    return path.name.endswith(BITEXT_SUFFIXES)


def _count_lines(path: Path, columns: Mapping[str, str]) -> int:
    return count_pairs(path, columns) if _is_bitext(path) else sum(1 for _ in open_lines(path))


def _train_part(part: Path, output: Path, *, config: TrainEncoderConfig) -> None:
    run_train_encoder(sorted(part.iterdir()), output, config)


def _distill_part(
    part: Path, output: Path, *, teacher: Path, config: DistillConfig, languages: tuple[str, ...]
) -> None:
    run_distill(teacher, sorted(part.iterdir()), output, config, languages)


def _cut(size: int, folder: Path, *, sizes: Mapping[Path, int], columns: Mapping[str, str]) -> Cut:
    """Write the first lines of every file, as large a share of each: line-aligned text stays so."""
    share = size / sum(sizes.values())
    numbers = {parent: str(i) for i, parent in enumerate(dict.fromkeys(p.parent for p in sizes))}
    written = 0
    for path, lines in sizes.items():
        copy = folder / numbers[path.parent] / path.name
        first = math.ceil(lines * share)
        if _is_bitext(path):
            written += copy_first_pairs(path, copy, first, columns)
        else:
            head = (line for _, line in zip(range(first), open_lines(path), strict=False))
            written += write_lines(copy, head)
    return Cut(written, written)
