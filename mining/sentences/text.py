"""`tongues mining text`: the sentences of each language as plain text or JSON lines."""

import functools
import itertools
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from corpus.crawl.documents import Shard
from corpus.errors import UserError
from corpus.files import write_lines
from corpus.jobs import LOCAL, Executor, Outcome, Task, run_job
from corpus.languages import check_language, find_language
from corpus.protocols import IdentifierLoader
from corpus.records import sentence_batches, sentence_languages, sentence_shards
from mining.sentences.config import TextConfig
from mining.sentences.sentences import run_sentences

logger = logging.getLogger(__name__)

TEXT_JOB = "text"
WRITTEN = "written"
SENTENCES_FOLDER = "sentences"
"""Folder of the sentences that come from shards, in the output."""

_SHOWN = 10
_SCORE_DIGITS = 6
_COLUMNS = ("text", "lid_score", "document", "position")


def run_text_of_shards(
    shards: Sequence[Shard],
    lid: Path,
    output: Path,
    config: TextConfig,
    load_identifier: IdentifierLoader,
    languages: Sequence[str] = (),
    executor: Executor = LOCAL,
) -> dict[str, int]:
    """Write the text of crawl shards; their sentences stay in `output/sentences`.

    Returns:
        The counts of `run_sentences` and of `run_text`.

    Raises:
        UserError: If a shard, the identifier or a language is missing.
        JobError: If shards are damaged. Then no text is written.
    """
    for language in languages:
        check_language(language)
    if languages:
        _check_known(load_identifier(lid).languages, languages, lid)
    sentences = output / SENTENCES_FOLDER
    counts = run_sentences(shards, lid, sentences, config.sentences, load_identifier, executor)
    return counts | run_text(sentences, output, config, languages, executor)


def run_text(
    sentences: Path,
    output: Path,
    config: TextConfig,
    languages: Sequence[str] = (),
    executor: Executor = LOCAL,
) -> dict[str, int]:
    """Write the sentences of some languages, or all, to `output/<language><suffix>`.

    A language of which no sentence is wanted has no file.

    Returns:
        Counts: sentences `read`, those `written`, their `characters`, and the rejects by reason.
        `read` is `written` plus all `rejected.…`.

    Raises:
        UserError: If there are no sentences, or none of a language that is asked for.
        JobError: If sentences are damaged; the other languages are finished.
    """
    summary = run_job(
        name=TEXT_JOB,
        tasks=_tasks(sentences, languages),
        work=functools.partial(_write_language, output=output, config=config),
        output=output,
        config=config,
        workers=config.workers,
        executor=executor,
    )
    return dict(summary.counts)


def _tasks(sentences: Path, languages: Sequence[str]) -> list[Task]:
    """Return a task for each language that is there; what is not is logged."""
    for language in languages:
        check_language(language)
    there = list(sentence_languages(sentences))
    if not there:
        raise UserError(f"{sentences} holds no sentences; `tongues mining sentences` makes them")
    named = {language: find_language(language, there) for language in languages or there}
    missing = [language for language, found in named.items() if found is None]
    if len(missing) == len(named):
        raise UserError(
            f"{sentences} holds no sentences of {_names(missing)}; it holds {_names(there)}"
        )
    if missing:
        logger.warning("%s holds no sentences of %s", sentences, _names(missing))
    return [
        Task(name=language, inputs=tuple(sentence_shards(sentences, found)))
        for language, found in named.items()
        if found is not None
    ]


def _check_known(known: Sequence[str], languages: Sequence[str], lid: Path) -> None:
    """Refuse languages that could not be found, before the shards are read."""
    unknown = [language for language in languages if find_language(language, known) is None]
    if unknown:
        raise UserError(
            f"the language identifier {lid} does not know {_names(unknown)}; it knows"
            f" {len(known)} languages. `tongues data list` names larger ones."
        )


def _names(languages: Sequence[str]) -> str:
    shown = ", ".join(f"`{language}`" for language in languages[:_SHOWN])
    return shown + (f" and {len(languages) - _SHOWN} more" if len(languages) > _SHOWN else "")


def _write_language(task: Task, *, output: Path, config: TextConfig) -> Outcome:
    path = output / f"{task.name}{config.suffix}"
    counts: Counter[str] = Counter(
        dict.fromkeys(("read", WRITTEN, "characters", "rejected.low_lid_score",
                       "rejected.too_short", "rejected.too_long"), 0)
    )  # fmt: skip
    as_line = _json_line if config.suffix.startswith(".jsonl") else _text_line
    rows: Iterator[dict[str, Any]] = _wanted(task.inputs, config, counts)
    first = next(rows, None)
    if first is None:
        return Outcome(counts=counts)
    rows = itertools.chain([first], rows)
    write_lines(path, (as_line(task.name, row) for row in rows))
    return Outcome(counts=counts, outputs=(path,))


def _wanted(
    shards: Sequence[Path], config: TextConfig, counts: Counter[str]
) -> Iterator[dict[str, Any]]:
    """Yield the rows that pass the filters, in the order of the shards; count all."""
    for shard in shards:
        for batch in sentence_batches(shard, _COLUMNS):
            for row in batch.to_pylist():
                counts["read"] += 1
                reason = _reason(row["text"] or "", row["lid_score"] or 0.0, config)
                if reason:
                    counts[f"rejected.{reason}"] += 1
                    continue
                counts[WRITTEN] += 1
                counts["characters"] += len(row["text"])
                yield row


def _reason(text: str, score: float, config: TextConfig) -> str:
    """Return why a sentence is not wanted; empty if it is."""
    if score < config.min_lid_score:
        return "low_lid_score"
    if len(text) < config.min_characters:
        return "too_short"
    if config.max_characters is not None and len(text) > config.max_characters:
        return "too_long"
    return ""


def _text_line(language: str, row: dict[str, Any]) -> str:
    """Return a sentence on one line; the sentences of other programs may hold line breaks."""
    text: str = row["text"]
    return text.replace("\r", " ").replace("\n", " ")


def _json_line(language: str, row: dict[str, Any]) -> str:
    # A float32 of .99 is .9900000095 as a float64.
    score = round(row["lid_score"], _SCORE_DIGITS)
    return json.dumps({"language": language, **row, "lid_score": score}, ensure_ascii=False)
