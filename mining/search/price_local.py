"""What `tongues mining mine-local` will cost: the command on some of the pairs of documents."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from corpus.files import write_lines
from corpus.jobs import Cut, Price, Trial, finished, price_job, spread
from corpus.records import count_rows
from mining.parts import copy_embeddings, copy_needed
from mining.search.config import LocalConfig
from mining.search.mine_local import LOCAL_JOB, local_inputs, read_document_pairs, run_mine_local

_FIRST_DOCUMENT_PAIRS = 100
_LIST = "documents.tsv"


def price_mine_local(
    sentences: Path,
    embeddings: Path,
    source: str,
    target: str,
    documents: Path,
    output: Path,
    config: LocalConfig,
) -> Price:
    """Measure what mining inside pairs of documents will cost.

    Raises:
        UserError: If a language or the list is missing, or the output's suffix is not a bitext's.
        DataError: If the list is damaged.
    """
    shards, _ = local_inputs(sentences, embeddings, source, target, documents, output)
    listed = read_document_pairs(documents)
    name = output.name.split(".")[0]
    return price_job(
        Trial(
            command="mining mine-local",
            unit="document pairs",
            shards={name: len(listed)},
            done=finished(output.parent, LOCAL_JOB, [name]),
            cut=functools.partial(
                _cut_documents,
                listed=listed,
                shards=shards,
                embeddings=embeddings,
                background=config.background,
            ),
            run=functools.partial(_run_part, languages=(source, target), config=config),
            first=_FIRST_DOCUMENT_PAIRS,
            workers=1,
            counts=("document_pairs", "pairs"),
            assumptions=("`threads` divide the time of the search in the background.",),
        )
    )


def _run_part(part: Path, output: Path, *, languages: tuple[str, str], config: LocalConfig) -> None:
    run_mine_local(
        part / "sentences", part / "embeddings", *languages, part / _LIST,
        output / "part.parquet", config,
    )  # fmt: skip


def _cut_documents(
    size: int, folder: Path, *, listed: Sequence[tuple[str, str]],
    shards: Mapping[str, Sequence[Path]], embeddings: Path, background: int,
) -> Cut:  # fmt: skip
    """Write some pairs of documents, their sentences, and as large a share of the others.

    Of the others never so few that there is less background than in the whole.
    """
    chosen = spread(listed, size)
    write_lines(folder / _LIST, ("\t".join(pair) for pair in chosen))
    for side, (language, paths) in enumerate(shards.items()):
        needed = pa.array(sorted({pair[side] for pair in chosen}), pa.string())
        total = max(1, sum(map(count_rows, paths)))
        share = min(1.0, max(len(chosen) / len(listed), background / total))
        for path in paths:
            name = f"{language}/{path.stem}"
            copy = folder / "sentences" / f"{name}.parquet"
            first = round(count_rows(path) * share)
            rows = copy_needed(path, copy, "document", needed, first)
            copy_embeddings(embeddings / f"{name}.npy", folder / "embeddings" / f"{name}.npy", rows)
    return Cut(len(chosen), len(chosen))
