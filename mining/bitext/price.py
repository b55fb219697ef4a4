"""What `tongues mining filter` and `metadata` will cost: the commands on the first pairs."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from corpus.bitext import count_pairs
from corpus.jobs import Cut, Price, Trial, finished, price_job
from corpus.protocols import IdentifierLoader
from corpus.records import count_rows, read_bitext
from corpus.text import sentence_hash
from mining.bitext.config import FilterConfig
from mining.bitext.filter import FILTER_JOB, FilterInputs, check_files, run_filter
from mining.bitext.metadata import METADATA_JOB, metadata_inputs, run_metadata
from mining.parts import copy_needed, cut_bitext

_FIRST_PAIRS = 2000


def price_filter(
    bitext: Path,
    output: Path,
    inputs: FilterInputs,
    config: FilterConfig,
    *,
    rejects: Path | None = None,
    load_identifier: IdentifierLoader,
) -> Price:
    """Measure what filtering a bitext file will cost. A TSV is read once, to count its pairs.

    Raises:
        UserError: If an input is missing, or two of the files are one.
        DataError: If the bitext cannot be read.
    """
    check_files(bitext, output, rejects)
    name = output.name.split(".")[0]
    done = finished(output.parent, FILTER_JOB, [name])
    return price_job(
        Trial(
            command="mining filter",
            unit="pairs",
            shards={name: count_pairs(bitext, config.columns)},
            done=done,
            cut=functools.partial(cut_bitext, bitext=bitext, columns=config.columns),
            run=functools.partial(
                _run_part,
                names=(bitext.name, output.name, rejects.name if rejects is not None else None),
                inputs=inputs,
                config=config,
                load_identifier=load_identifier,
            ),
            first=_FIRST_PAIRS,
            workers=1,
            counts=("pairs", "kept"),
        )
    )


def _run_part(
    part: Path, output: Path, *, names: tuple[str, str, str | None], inputs: FilterInputs,
    config: FilterConfig, load_identifier: IdentifierLoader,
) -> None:  # fmt: skip
    bitext, kept, rejects = names
    run_filter(
        part / bitext, output / kept, inputs, config,
        rejects=output / "rejects" / rejects if rejects is not None else None,
        load_identifier=load_identifier,
    )  # fmt: skip


def price_metadata(bitext: Path, sentences: Path, output: Path) -> Price:
    """Measure what writing the metadata of a bitext will cost. A TSV is read to count its pairs.

    Raises:
        UserError: If the bitext is missing or not named by its direction, or a language has no
            sentences.
        DataError: If the bitext or a shard cannot be read.
    """
    _, shards = metadata_inputs(bitext, sentences, output)
    name = output.name.split(".")[0]
    pairs = count_pairs(bitext)
    return price_job(
        Trial(
            command="mining metadata",
            unit="pairs",
            shards={name: pairs},
            done=finished(output.parent, METADATA_JOB, [name]),
            cut=functools.partial(_cut_sentences, bitext=bitext, shards=shards, pairs=pairs),
            run=functools.partial(_write_part, names=(bitext.name, output.name)),
            first=_FIRST_PAIRS,
            workers=1,
            counts=("pairs", "written"),
        )
    )


def _write_part(part: Path, output: Path, *, names: tuple[str, str]) -> None:
    run_metadata(part / names[0], part / "sentences", output / names[1])


def _cut_sentences(
    size: int, folder: Path, *, bitext: Path, shards: Mapping[str, Sequence[Path]], pairs: int
) -> Cut:
    """Write the first pairs, their sentences, and as large a share of the others."""
    cut = cut_bitext(size, folder, bitext=bitext)
    table = read_bitext(folder / bitext.name)
    for side, (language, paths) in zip(("source", "target"), shards.items(), strict=True):
        texts = table.column(side).to_pylist()
        needed = pa.array({sentence_hash(text) for text in texts if text}, pa.uint64())
        for path in paths:
            copy = folder / "sentences" / language / path.name
            copy_needed(path, copy, "hash", needed, round(count_rows(path) * cut.units / pairs))
    return cut
