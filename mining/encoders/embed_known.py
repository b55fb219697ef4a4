"""`mining embed-known`: vectors of pairs known to be translations, for calibration."""

import functools
import logging
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from corpus.bitext import bitext_paths
from corpus.errors import DataError, UserError
from corpus.files import write_json
from corpus.jobs import LOCAL, Executor, Outcome, Summary, Task, run_job
from corpus.languages import Direction, parse_direction
from corpus.records import bitext_files, read_bitext, write_table
from corpus.text import normalize
from mining.embeddings import write_array
from mining.encoders import (
    Encoder,
    check_builtin_languages,
    encoder_files,
    encoder_space,
    load_encoder,
)
from mining.encoders.embed import runs_on_gpu
from mining.encoders.embed_config import KnownConfig
from mining.search.known_pairs import KNOWN_JOB, KNOWN_SPACE_SUFFIX

logger = logging.getLogger(__name__)


def run_embed_known(
    bitext: Sequence[Path],
    encoder: Path,
    output: Path,
    config: KnownConfig,
    executor: Executor = LOCAL,
    languages: Container[str] | None = None,
) -> Summary:
    """Embed known pairs to `output/<source>-<target>.parquet` and `.npy`.

    Where languages are given, directions of others are left out.

    Raises:
        UserError: If there is no bitext, the directory is not an encoder's, or the builtin
            encoder does not know a language.
        JobError: If a file cannot be read.
    """
    tasks = [
        Task(
            name=str(direction),
            inputs=(
                *paths,
                *(other for path in paths for other in bitext_paths(path, direction)[1:]),
                *pair_encoder_files(
                    direction, encoder, config.encoders, all_languages=config.all_languages
                ),
            ),
            arguments={"bitexts": len(paths)},
        )
        for direction, paths in known_bitext(bitext).items()
        if languages is None or all(language in languages for language in direction)
    ]
    work = functools.partial(_embed_file, encoder=encoder, output=output, config=config)
    on_gpu = runs_on_gpu(config)
    return run_job(
        name=KNOWN_JOB,
        tasks=tasks,
        work=work,
        output=output,
        config=config,
        workers=1 if on_gpu else config.workers,
        executor=executor,
        gpus=1 if on_gpu else 0,
    )


def known_bitext(directories: Sequence[Path]) -> dict[Direction, list[Path]]:
    """Return the files of known pairs by direction, sorted; a direction may have several.

    Raises:
        UserError: If a directory is missing or holds no bitext.
    """
    found: dict[Direction, list[Path]] = {}
    for directory in directories:
        for direction, path in bitext_files(directory).items():
            found.setdefault(direction, []).append(path)
    return dict(sorted(found.items()))


def pair_encoder_files(
    direction: Direction | None,
    encoder: Path,
    encoders: Mapping[str, Path],
    *,
    all_languages: bool,
) -> tuple[Path, ...]:
    """Return the files of the encoders of both languages, each encoder once, in their order.

    Not in that of the paths, which are spelled in several ways: receipts list files in order.

    Args:
        direction: The languages, where they are known.
        encoder: Of languages that have none of their own.
        encoders: Languages with an encoder of their own.
        all_languages: Whether the builtin encoder may embed languages that it does not know.

    Raises:
        UserError: If a directory is not an encoder's, the encoders' spaces differ, or the builtin
            encoder does not know a language.
    """
    if not all_languages:
        for language in direction or ():
            check_builtin_languages(encoders.get(language, encoder), [language])
    used = dict.fromkeys(
        [encoder] if direction is None else [encoders.get(one, encoder) for one in direction]
    )
    spaces = {encoder_space(path): path for path in used}
    if len(spaces) > 1:
        first, second = spaces.values()
        raise UserError(
            f"{first} and {second} are encoders of different spaces; a language's own encoder must"
            " be a student of the other (`tongues mining distill`)"
        )
    return tuple(file for path in used for file in encoder_files(path))


@functools.lru_cache(maxsize=2)
def _encoder(path: Path, device: str, batch_tokens: int) -> Encoder:
    """Load an encoder once per process instead of once per side of each direction."""
    return load_encoder(path, threads=1, device=device, batch_tokens=batch_tokens)


def _embed_file(task: Task, *, encoder: Path, output: Path, config: KnownConfig) -> Outcome:
    pairs: dict[tuple[str, str], None] = {}
    for path in task.inputs[: task.arguments["bitexts"]]:
        table = read_bitext(path, config.columns, parse_direction(task.name))
        columns = [table.column(name).to_pylist() for name in ("source", "target")]
        pairs.update(
            dict.fromkeys(
                (normalize(source or ""), normalize(target or ""))
                for source, target in zip(*columns, strict=True)
            )
        )
    kept = [pair for pair in pairs if all(pair)]
    if not kept:
        raise DataError(f"{task.inputs[0]} holds no pair")
    sides = []
    for side, language in enumerate(task.name.split("-")):
        loaded = _encoder(
            config.encoders.get(language, encoder), config.device, config.batch_tokens
        )
        sides.append(loaded.encode([pair[side] for pair in kept], language).astype(np.float16))
    matrix = np.stack(sides)
    outputs = (output / f"{task.name}.parquet", output / f"{task.name}.npy")
    names = ("source", "target")
    columns = [pa.array([pair[side] for pair in kept], pa.string()) for side in (0, 1)]
    write_table(outputs[0], pa.table(dict(zip(names, columns, strict=True))))
    write_array(outputs[1], matrix)
    space = outputs[0].with_suffix(KNOWN_SPACE_SUFFIX)
    write_json(space, {"space": encoder_space(encoder)})
    counts = {"pairs": len(kept), "rejected.empty": len(pairs) - len(kept)}
    return Outcome(counts=counts, outputs=(*outputs, space))
