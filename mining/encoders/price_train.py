"""What `tongues mining train-encoder` and `distill` will cost: trainings on the first pairs."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from corpus.bitext import BITEXT_SUFFIXES, copy_first_pairs, count_pairs
from corpus.files import open_lines, write_lines
from corpus.prices import Price
from corpus.pricing import Cut, Trial, finished, price_job
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
    config_of_part = dataclasses.replace(config, patience=0)
    return _price(
        "mining train-encoder",
        TRAIN_JOB,
        TRAIN_TASK,
        training_files(bitext),
        output,
        functools.partial(_train_part, config=config_of_part),
        on_gpu=_trains_on_gpu(config),
        assumptions=_ASSUMPTIONS + (_HARD_NEGATIVES if config.hard_negatives else ()),
    )


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
    config_of_part = dataclasses.replace(config, patience=0)
    return _price(
        "mining distill",
        DISTILL_JOB,
        DISTILL_TASK,
        training_files(bitext, languages),
        output,
        functools.partial(
            _distill_part, teacher=teacher, config=config_of_part, languages=tuple(languages)
        ),
        on_gpu=_trains_on_gpu(config),
        assumptions=_ASSUMPTIONS,
    )


def _price(
    command: str, job: str, task: str, files: Sequence[Path], output: Path,
    run: Callable[[Path, Path], object], *, on_gpu: bool, assumptions: tuple[str, ...],
) -> Price:  # fmt: skip
    sizes = {path: _count_lines(path) for path in files}
    return price_job(
        Trial(
            command=command,
            unit="lines",
            shards={task: sum(sizes.values())},
            done=finished(output, job, [task]),
            cut=functools.partial(_cut, sizes=sizes),
            run=run,
            first=_FIRST_LINES,
            workers=1,
            counts=("pairs",),
            gpu_stages=(job,) if on_gpu else (),
            output_is_fixed=True,
            assumptions=assumptions,
        )
    )


def _trains_on_gpu(config: TrainEncoderConfig | DistillConfig) -> bool:
    has_gpu = config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())
    return has_gpu and config.architecture != "bag"


def _is_bitext(path: Path) -> bool:
    return path.name.endswith(BITEXT_SUFFIXES)


def _count_lines(path: Path) -> int:
    return count_pairs(path) if _is_bitext(path) else sum(1 for _ in open_lines(path))


def _train_part(part: Path, output: Path, *, config: TrainEncoderConfig) -> None:
    run_train_encoder(sorted(part.iterdir()), output, config)


def _distill_part(
    part: Path, output: Path, *, teacher: Path, config: DistillConfig, languages: tuple[str, ...]
) -> None:
    run_distill(teacher, sorted(part.iterdir()), output, config, languages)


def _cut(size: int, folder: Path, *, sizes: Mapping[Path, int]) -> Cut:
    """Write the first lines of every file, as large a share of each: line-aligned text stays so."""
    share = size / sum(sizes.values())
    numbers = {parent: str(i) for i, parent in enumerate(dict.fromkeys(p.parent for p in sizes))}
    written = 0
    for path, lines in sizes.items():
        copy = folder / numbers[path.parent] / path.name
        first = math.ceil(lines * share)
        if _is_bitext(path):
            written += copy_first_pairs(path, copy, first)
        else:
            head = (line for _, line in zip(range(first), open_lines(path), strict=False))
            written += write_lines(copy, head)
    return Cut(written, written)
