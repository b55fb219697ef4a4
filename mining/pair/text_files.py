"""Text files, or Parquet with a column `text`, to sentence shards that know their lines."""

import functools
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from corpus.errors import DataError, UserError
from corpus.files import digest_file, lines_of_file
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.records import SENTENCES_SCHEMA, sentence_batches, write_table
from corpus.split import split_sentences
from corpus.text import key_hash, normalize, script_share, sentence_key
from mining.pair.config import PairConfig

TEXT_JOB = "pair-text"
SHARD_LINES = 50_000
"""Sentences of a shard: what a process embeds at a time."""

_PARQUET = ".parquet"
_MOST_INVALID = 0.2
"""Share of lines that are not UTF-8 from which a file is taken for no text."""

_SCRIPT_LINES = 1000
"""Lines by which the script of a file is told, and whether it is text."""

_FEWEST_LINES = 20
_OWN_SCRIPT = 0.5
"""Share of the letters that are expected in the script of the language, 0 to 1."""


class Line(NamedTuple):
    """A line, or a sentence of one."""

    number: int
    """From 0."""

    text: str
    """Normalized."""


def check_texts(files: tuple[Path, Path]) -> None:
    """Refuse files that are missing, or the same, or whose first lines are no text.

    Raises:
        UserError: Naming the file.
        DataError: Likewise.
    """
    for file in files:
        if not file.is_file():
            kind = "is a directory, not a file" if file.is_dir() else "does not exist"
            raise UserError(f"{file} {kind}")
        _check_first_lines(file)
    sizes = [file.stat().st_size for file in files]
    if sizes[0] == sizes[1] and len({digest_file(file) for file in files}) == 1:
        raise UserError(
            f"{files[0]} and {files[1]} have the same content; give one file for each language"
        )


def _check_first_lines(file: Path) -> None:
    lines = _sentences(file, "line", Counter())
    if not list(itertools.islice(lines, _SCRIPT_LINES)):
        raise DataError(f"{file} holds no line with text")


def run_text_files(
    files: tuple[Path, Path], languages: tuple[str, str], output: Path, config: PairConfig
) -> Summary:
    """Write the lines of two files as sentence shards, `output/<language>/<number>.parquet`.

    Blank lines, and those without letters or digits, are left out and counted.

    Raises:
        JobError: If a file is no text, or has no line.
    """
    tasks = [
        Task(name=language, inputs=(file,), arguments={"unit": config.unit})
        for file, language in zip(files, languages, strict=True)
    ]
    work = functools.partial(_write_shards, output=output, unit=config.unit)
    return run_job(name=TEXT_JOB, tasks=tasks, work=work, output=output)


def _write_shards(task: Task, *, output: Path, unit: str) -> Outcome:
    file = task.inputs[0]
    counts: Counter[str] = Counter({"lines": 0, "kept": 0, "rejected.no_letters": 0})
    written: list[Path] = []
    lines = _sentences(file, unit, counts)
    hashes: list[np.ndarray] = []
    while batch := list(itertools.islice(lines, SHARD_LINES)):
        keys = [key_hash(sentence_key(line.text)) for line in batch]
        hashes.append(np.array(keys, np.uint64))
        table = pa.table(
            {
                "text": [line.text for line in batch],
                "lid_score": np.ones(len(batch), np.float32),
                "document": [file.name] * len(batch),
                "position": np.array([line.number for line in batch], np.int32),
                "hash": hashes[-1],
            },
            schema=SENTENCES_SCHEMA,
        )
        written.append(output / task.name / f"{len(written):05}.parquet")
        write_table(written[-1], table)
        counts["kept"] += len(batch)
    if not written:
        raise DataError(f"{file} holds no line with text")
    # Copies share a key; mining takes one of each.
    counts["repeated"] = counts["kept"] - len(np.unique(np.concatenate(hashes)))
    return Outcome(counts=counts, outputs=tuple(written))


def _sentences(file: Path, unit: str, counts: Counter[str]) -> Iterator[Line]:
    for number, text in enumerate(_lines(file, counts)):
        counts["lines"] += 1
        for sentence in (split_sentences(text) if unit == "sentence" else []) or [text]:
            clean = normalize(sentence)
            if sentence_key(clean):
                yield Line(number, clean)
            else:
                counts["rejected.no_letters"] += 1


def _lines(file: Path, counts: Counter[str]) -> Iterator[str]:
    """Yield the lines of a file, or the texts of a Parquet file."""
    if file.suffix == _PARQUET:
        for batch in sentence_batches(file, ["text"]):
            yield from (text or "" for text in batch.column(0).to_pylist())
        return
    with lines_of_file(file) as lines:
        yield from lines
        if lines.invalid_lines > _MOST_INVALID * counts["lines"]:
            raise DataError(
                f"{file} is no text in UTF-8: {lines.invalid_lines:,} of its"
                f" {counts['lines']:,} lines are not. Text in another encoding is converted with"
                " `iconv`; compressed text ends in .gz or .zst."
            )


def suspicious_scripts(shards: tuple[Path, Path], languages: tuple[str, str]) -> str | None:
    """Say what is odd about the scripts of two languages' text, or nothing.

    Args:
        shards: The first shard of each language.
        languages: What they are said to be.
    """
    texts = []
    for shard in shards:
        batch = next(sentence_batches(shard, ["text"], _SCRIPT_LINES))
        texts.append(" ".join(batch.column(0).to_pylist()) if len(batch) >= _FEWEST_LINES else "")
    scripts = [language[4:8] for language in languages]
    own = [script_share(text, script) for text, script in zip(texts, scripts, strict=True)]
    if not all(texts) or min(own) >= _OWN_SCRIPT:
        return None
    other = [script_share(text, script) for text, script in zip(texts, scripts[::-1], strict=True)]
    if max(own) < _OWN_SCRIPT <= min(other):
        return (
            f"the first file is in the script of `{languages[1]}` and the second in that of"
            f" `{languages[0]}`: are the files, or the languages, swapped?"
        )
    side = own.index(min(own))
    return (
        f"only {own[side]:.0%} of the letters of the {('first', 'second')[side]} file are in the"
        f" script of `{languages[side]}`: is this its language?"
    )
