"""Back-translation: monolingual text as target, with a model's translation of it as source.

Sennrich, Haddow and Birch 2016; NLLB-200 section 6.4.1. A task per part of a shard; the parts of a
direction are then joined to one bitext file, which training takes as `bitext.back_translated`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from corpus.bitext import BitextReader, bitext_writer
from corpus.errors import UserError
from corpus.files import open_lines
from corpus.jobs import (
    LOCAL,
    RECEIPTS,
    Executor,
    Outcome,
    Summary,
    Task,
    forget_outdated,
    hold_lock,
    run_job,
)
from corpus.languages import Direction, parse_direction
from corpus.records import (
    BITEXT_SCHEMA,
    count_rows,
    labeled_text_files,
    sentence_batches,
    sentence_languages,
    sentence_shards,
)
from nmt.model.directory import read_description
from nmt.translation.decoding.config import BackTranslateConfig
from nmt.translation.translate_files import (
    model_files,
    model_languages,
    needed_arguments,
    shared_translator,
)
from nmt.translation.translator import Translation, check_direction
from nmt.usage.expert_selection import Needed

PARTS = "parts"
_NOTES = (
    "split", "too_long", "broken", "routed", "lost_expert", "unknown_characters",
    "lines_with_unknown_characters", "copied_characters", "omissions", "repaired_omissions",
    "terms", "lost_terms", "lost_urls", "lost_placeholders", "lost_numbers",
)  # fmt: skip
"""Counts of translation that a receipt holds too."""

TRANSLATE_JOB = "back-translate"
JOIN_JOB = "join"


class Sentence(NamedTuple):
    """A sentence and where it comes from."""

    text: str
    document: str


@dataclass(frozen=True)
class BackTranslate:
    """Work of a task: some sentences of a shard to `parts/<direction>/<shard>/<number>.parquet`."""

    model: Path
    output: Path
    config: BackTranslateConfig
    needed: Needed

    def __call__(self, task: Task) -> Outcome:
        """Translate the range of sentences in the task's arguments."""
        direction = parse_direction(task.name.split("/")[0])
        config = self.config.translate.for_sentences()
        translator = shared_translator(self.model, config, self.needed)
        translator.counts = Counter()
        first, count = int(task.arguments["first"]), int(task.arguments["count"])
        sentences = list(read_sentences(task.inputs[-1], first, count))
        lines = [sentence.text for sentence in sentences]
        found = translator.translate_scored(lines, direction.target, direction.source, first)
        translator.warn()
        path = part_path(self.output, task.name)
        writer = f"model:{read_description(self.model).weights_digest}"
        counts: Counter[str] = Counter(sentences=len(sentences), pairs=0)
        with bitext_writer(path, BITEXT_SCHEMA) as write:
            write(self._pairs(sentences, found, writer, counts))
        counts.update({n: translator.counts[n] for n in _NOTES if translator.counts[n]})
        return Outcome(counts=counts, outputs=(path,))

    def _pairs(
        self,
        sentences: Sequence[Sentence],
        translations: Sequence[Translation],
        writer: str,
        counts: Counter[str],
    ) -> pa.Table:
        """Return the pairs that are kept; the others are counted by reason."""
        rows = []
        for sentence, translation in zip(sentences, translations, strict=True):
            reason = self._reject(sentence, translation)
            counts[f"rejected.{reason}" if reason else "pairs"] += 1
            if not reason:
                rows.append(
                    (translation.score, translation.text, sentence.text, writer, sentence.document)
                )
        columns = zip(*rows, strict=True) if rows else ([] for _ in BITEXT_SCHEMA)
        return pa.table([list(column) for column in columns], schema=BITEXT_SCHEMA)

    def _reject(self, sentence: Sentence, translation: Translation) -> str:
        if not sentence.text.strip():
            return "empty"
        if not translation.text:
            return "empty_translation"
        if not translation.is_complete:
            return "unfinished"
        if translation.text == sentence.text:
            return "copy"
        if self.config.min_score is not None and translation.score < self.config.min_score:
            return "low_score"
        return ""


def back_translate(
    model: Path,
    text: Path,
    directions: Sequence[Direction],
    output: Path,
    config: BackTranslateConfig,
    executor: Executor = LOCAL,
) -> Summary:
    """Write bitext for directions from text of their targets.

    Args:
        model: Model directory; it translates from target to source.
        text: Sentences by language, as `tongues mining sentences` writes them, or a directory of
            `<language>.txt[.gz|.zst]`.
        directions: Directions of the bitext: the source is the model's, the target is the text.
        output: Directory; gets `<source>-<target>.parquet`.
        config: How.
        executor: Where the parts are worked on.

    Returns:
        Counts of the sentences and pairs, rejects by reason.

    Raises:
        UserError: If there is no text of a target, or the model does not know a language.
    """
    config.translate.check_single()
    shards = {d: _shards(text, d.target) for d in directions}
    vocabulary, trained = model_languages(model, config.translate.adapter)
    for direction in directions:
        check_direction(direction.reverse, vocabulary, trained)
    needed = Needed.of(direction.reverse for direction in directions)
    tasks = {d: list(_tasks(model, d, shards[d], config, needed)) for d in directions}
    for direction, parts in tasks.items():
        if not parts:
            raise UserError(f"{text} holds no sentence of `{direction.target}`")
    summary = run_job(
        name=TRANSLATE_JOB,
        tasks=[task for parts in tasks.values() for task in parts],
        work=BackTranslate(model, output, config, needed),
        output=output,
        config=config,
        executor=executor,
    )
    _join(output, tasks, executor)
    return summary


def _shards(text: Path, language: str) -> dict[str, Path]:
    """Return the files of text of a language by name.

    Raises:
        UserError: If there are none.
    """
    if text.is_dir() and language in sentence_languages(text):
        return {path.stem: path for path in sentence_shards(text, language)}
    files = labeled_text_files(text)
    if language not in files:
        raise UserError(
            f"{text} holds no text of `{language}`: neither {language}/*.parquet nor"
            f" {language}.txt, .txt.gz or .txt.zst"
        )
    return {language: files[language]}


def _tasks(
    model: Path,
    direction: Direction,
    shards: Mapping[str, Path],
    config: BackTranslateConfig,
    needed: Needed,
) -> Iterator[Task]:
    left = config.max_sentences or None
    for name, path in shards.items():
        rows = count_rows(path) if path.suffix == ".parquet" else sum(1 for _ in open_lines(path))
        if left is not None:
            rows = min(rows, left)
            left -= rows
        for number, first in enumerate(range(0, rows, config.part_sentences)):
            yield Task(
                name=f"{direction}/{name}/{number:05d}",
                inputs=(*model_files(model, config.translate), path),
                arguments={
                    "first": first,
                    "count": min(config.part_sentences, rows - first),
                    **needed_arguments(config.translate, needed),
                },
            )


def part_path(output: Path, task: str) -> Path:
    """Return where the pairs of a task are."""
    return output / PARTS / f"{task}.parquet"


def read_sentences(path: Path, first: int, count: int) -> Iterator[Sentence]:
    """Yield some sentences of a shard, with their document, or file and line.

    Args:
        path: Parquet with `text` and `document`, or lines.
        first: The first of them, from 0.
        count: How many.
    """
    if path.suffix != ".parquet":
        for number, line in enumerate(islice(open_lines(path), first, first + count), first + 1):
            yield Sentence(line, f"{path.name}:{number}")
        return
    place = 0
    for batch in sentence_batches(path, ["text", "document"]):
        begin, end = max(first - place, 0), min(first + count - place, batch.num_rows)
        place += batch.num_rows
        if begin < end:
            rows = batch.slice(begin, end - begin)
            columns = (rows.column(name).to_pylist() for name in ("text", "document"))
            for text, document in zip(*columns, strict=True):
                yield Sentence(text or "", document or "")
        if place >= first + count:
            return


@dataclass(frozen=True)
class Join:
    """Work of a task: the parts of a direction, in order, to `<source>-<target>.parquet`."""

    output: Path

    def __call__(self, task: Task) -> Outcome:
        """Join the task's inputs."""
        path = self.output / f"{task.name}.parquet"
        pairs = 0
        with bitext_writer(path, BITEXT_SCHEMA) as write:
            for part in task.inputs:
                for table in BitextReader(part):
                    write(table)
                    pairs += table.num_rows
        return Outcome(counts={"joined": pairs}, outputs=(path,))


def _join(output: Path, tasks: Mapping[Direction, Sequence[Task]], executor: Executor) -> None:
    joined = [
        Task(name=str(d), inputs=tuple(part_path(output, part.name) for part in parts))
        for d, parts in tasks.items()
    ]
    with hold_lock(output / RECEIPTS / ".lock", JOIN_JOB, wait=True):
        # There may be more parts than last time, where text was added.
        forget_outdated(output / RECEIPTS / JOIN_JOB, joined, keep_others=True)
    run_job(name=JOIN_JOB, tasks=joined, work=Join(output), output=output, executor=executor)
