"""What `tongues mining score` and `embed-known` will cost: the commands on the first pairs."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from corpus.bitext import copy_first_pairs, count_pairs
from corpus.jobs import Cut, Price, Trial, finished, price_job, spread
from mining.bitext.config import ScoreConfig
from mining.bitext.score import SCORE_EMBED_JOB, SCORE_JOB, run_score, score_inputs
from mining.encoders.embed import runs_on_gpu
from mining.encoders.embed_config import KnownConfig
from mining.encoders.embed_known import known_bitext, pair_encoder_files, run_embed_known
from mining.parts import cut_bitext
from mining.search.known_pairs import KNOWN_JOB

_FIRST_PAIRS = 1000
_FIRST_KNOWN_PAIRS = 256
_CUT_DIRECTIONS = 8


def price_score(bitext: Path, encoder: Path, output: Path, config: ScoreConfig) -> Price:
    """Measure what scoring a bitext will cost. A TSV is read once, to count its pairs.

    Raises:
        UserError: If the bitext or the encoder is missing, or output and input are one file.
        DataError: If the bitext cannot be read.
    """
    score_inputs(bitext, encoder, output, config)
    name = output.name.split(".")[0]
    on_gpu = runs_on_gpu(config.embed)
    return price_job(
        Trial(
            command="mining score",
            unit="pairs",
            shards={name: count_pairs(bitext, config.columns)},
            done=finished(output.parent, SCORE_JOB, [name]),
            cut=functools.partial(cut_bitext, bitext=bitext, columns=config.columns),
            run=functools.partial(
                _score_part,
                names=(bitext.name, output.name),
                encoder=encoder,
                config=replace(config, embed=replace(config.embed, workers=1)),
            ),
            first=_FIRST_PAIRS,
            workers=1,
            counts=("pairs",),
            gpu_stages=(SCORE_EMBED_JOB,) if on_gpu else (),
            square_stages=(SCORE_JOB,),
            assumptions=(
                "Time is that of one process; `embed.workers` divide that of the embedding, and"
                " `threads` that of the search.",
                "What the embedding leaves on disk goes when the scores are there.",
            ),
        )
    )


def _score_part(
    part: Path, output: Path, *, names: tuple[str, str], encoder: Path, config: ScoreConfig
) -> None:
    run_score(part / names[0], encoder, output / names[1], config, keep_parts=True)


def price_embed_known(
    bitext: Sequence[Path], encoder: Path, output: Path, config: KnownConfig
) -> Price:
    """Measure what the directions that are not embedded yet will cost.

    Raises:
        UserError: If there is no bitext, or the directory is not an encoder's.
        DataError: If a bitext cannot be read.
    """
    files = {str(direction): paths for direction, paths in known_bitext(bitext).items()}
    pair_encoder_files(None, encoder, config.encoders)
    done = finished(output, KNOWN_JOB, files)
    on_gpu = runs_on_gpu(config)
    to_do = {name: paths for name, paths in files.items() if name not in done}
    return price_job(
        Trial(
            command="mining embed-known",
            unit="pairs",
            shards={
                name: sum(count_pairs(path, config.columns) for path in paths)
                for name, paths in files.items()
            },
            done=done,
            cut=functools.partial(_cut_directions, files=to_do, columns=config.columns),
            run=functools.partial(_embed_part, encoder=encoder, config=replace(config, workers=1)),
            first=_FIRST_KNOWN_PAIRS,
            workers=1 if on_gpu else config.workers,
            gpu_stages=(KNOWN_JOB,) if on_gpu else (),
            counts=("pairs",),
        )
    )


def _embed_part(part: Path, output: Path, *, encoder: Path, config: KnownConfig) -> None:
    run_embed_known(sorted(part.iterdir()), encoder, output, config)


def _cut_directions(
    size: int, folder: Path, *, files: Mapping[str, Sequence[Path]], columns: Mapping[str, str]
) -> Cut:
    """Write the first pairs of some directions, of each of their files in its own directory."""
    chosen = spread(list(files), _CUT_DIRECTIONS)
    cuts = []
    for name in chosen:
        left = wanted = -(-size // len(chosen))
        for number, path in enumerate(files[name]):
            copy = folder / str(number) / path.name
            left -= copy_first_pairs(path, copy, left, columns) if left else 0
        cuts.append(wanted - left)
    return Cut(sum(cuts), max(cuts))
