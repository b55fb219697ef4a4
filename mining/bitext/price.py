"""What `tongues mining filter` will cost: the command on the first pairs of the bitext."""

import functools
from pathlib import Path

from corpus.bitext import BitextReader, bitext_writer
from corpus.prices import Price
from corpus.pricing import Cut, Trial, finished, price_job
from corpus.protocols import IdentifierLoader
from corpus.records import count_rows
from mining.bitext.config import FilterConfig
from mining.bitext.filter import FILTER_JOB, FilterInputs, check_files, run_filter

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
            shards={name: _count_pairs(bitext)},
            done=done,
            cut=functools.partial(_cut_bitext, bitext=bitext),
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


def _count_pairs(bitext: Path) -> int:
    if bitext.suffix == ".parquet":
        return count_rows(bitext)
    return sum(table.num_rows for table in BitextReader(bitext))


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


def _cut_bitext(size: int, folder: Path, *, bitext: Path) -> Cut:
    """Write the first pairs, under the same name, since that says the languages."""
    reader = BitextReader(bitext)
    left = size
    with bitext_writer(folder / bitext.name, reader.schema) as write:
        for table in reader:
            write(table.slice(0, left))
            left -= min(left, table.num_rows)
            if not left:
                break
    return Cut(size - left, size - left)
