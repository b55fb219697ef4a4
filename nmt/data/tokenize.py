"""Tokenization of bitext and monolingual text: a job with one shard per file.

What must not be trained on is excluded here and counted by reason: pairs with an empty, overlong or
damaged side (bytes that were not UTF-8) and sentences of evaluation sets.
"""

import functools
import hashlib
import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corpus.bitext import BitextReader, bitext_paths
from corpus.errors import DataError, UserError
from corpus.evaluation_files import evaluation_files
from corpus.evaluation_sets import EvaluationSentences
from corpus.files import digest_file
from corpus.jobs import (
    CONFIG_FILE,
    LOCAL,
    Executor,
    Outcome,
    Summary,
    Task,
    check_config,
    forget_receipts,
    has_receipt,
    run_job,
)
from corpus.languages import Direction, parse_direction
from corpus.records import bitext_files
from corpus.text import REPLACEMENT, sentence_key
from nmt.data.config import ONE_WAY_TAGS, REPLAY, TokenizeConfig, TrainingData
from nmt.data.directory import TOKENIZE_JOB, tokenize_config
from nmt.data.token_files import TokenShards, pick, token_dtype, token_paths, token_writer
from nmt.text_files import TextFile, read_text, text_files
from nmt.vocabulary import vocabulary as vocabulary_files
from nmt.vocabulary.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

EMPTY, TOO_LONG, DAMAGED = "empty", "too_long", "damaged_characters"
_LITTLE = 32 << 20
"""Bytes of files that are tokenized before a second process has begun."""


@dataclass(frozen=True)
class Block:
    """The pairs of one bitext file, or the sentences of one text file."""

    shard: int
    """Which shard they are in."""

    direction: Direction
    """Of the file; both languages are the same where it is text of one."""

    tag: str
    size: int
    """Pairs or sentences."""


@dataclass(frozen=True)
class TokenizedBitext:
    """Shards of tokens, and what is in them."""

    shards: TokenShards
    blocks: tuple[Block, ...]
    """Pairs, a block per bitext file."""

    text_blocks: tuple[Block, ...]
    """Sentences, a block per text file."""

    counts: Mapping[str, int]
    """Pairs and sentences read, kept, and rejected by reason."""

    def __len__(self) -> int:
        return sum(block.size for block in self.blocks)


@dataclass(frozen=True)
class Part:
    """Pairs of a direction that are in one shard, or sentences of a language."""

    shard: int
    source_side: int
    """Which sentence of a pair is the source, 0 or 1."""

    tag_index: int
    """Tag token of the pairs; -1 for none."""

    size: int
    """How many are trained on."""

    held_out_every: int = 0
    """One in this many rows of the shard is not; 0 if all are."""

    is_replay: bool = False
    """Whether the model that training starts from made the pairs."""

    def rows(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where in the shard the trained pairs of these numbers are."""
        return items + items // (self.held_out_every - 1) if self.held_out_every else items

    def held_out_rows(self, total: int) -> range:
        """Return where in its shard, of a total of pairs, those are that are held out."""
        every = self.held_out_every
        return range(every - 1, total, every) if every else range(0)


@dataclass(frozen=True)
class DirectionPairs:
    """The training data of one direction; for text both languages are the same."""

    direction: Direction
    parts: tuple[Part, ...]

    def __len__(self) -> int:
        return sum(part.size for part in self.parts)

    def of(self, *, is_replay: bool) -> "DirectionPairs":
        """Return those that are replayed, or the others."""
        parts = tuple(part for part in self.parts if part.is_replay == is_replay)
        return DirectionPairs(self.direction, parts)


def bitext_inputs(data: TrainingData) -> list[tuple[str, Direction, Path]]:
    """Return tag, direction and path of the bitext files that a run trains on."""
    return [(tag, direction, path) for tag, _, direction, path in _bitext_inputs(data)]


def _bitext_inputs(data: TrainingData) -> list[tuple[str, int, Direction, Path]]:
    wanted = {parse_direction(direction) for direction in data.directions}
    found = [
        (tag, number, direction, path)
        for tag, directories in data.bitext.items()
        for number, directory in enumerate(directories)
        for direction, path in bitext_files(directory).items()
        if not wanted or direction in wanted or direction.reverse in wanted
    ]
    there = {direction for _, _, direction, _ in found}
    for direction in wanted:
        if direction not in there and direction.reverse not in there:
            raise UserError(f"`directions` lists {direction}, for which there is no bitext")
    return found


def tokenize(
    data: TrainingData, vocabulary: Vocabulary, directory: Path, *, replace: bool = False
) -> TokenizedBitext:
    """Tokenize the bitext and text of a run into a directory; existing tokens are reused.

    Args:
        data: What is tokenized.
        vocabulary: Has the languages' tokens.
        directory: Where the tokens go.
        replace: As for `run_tokenize`.

    Raises:
        UserError: If the directory holds tokens of other data, if the vocabulary lacks a language,
            or if nothing is left to train on.
    """
    pairs, texts = _bitext_inputs(data), text_files(data.text)
    names = [f"{tag}/{number}/{direction}" for tag, number, direction, _ in pairs]
    # Checked before the work, which would be wasted.
    for language in sorted({language for _, _, direction, _ in pairs for language in direction}):
        vocabulary.language_index(language)
    summary = run_tokenize(data, directory, replace=replace)
    shards = TokenShards([directory / name for name in (*names, *(text.name for text in texts))])
    blocks = [
        Block(shard, direction, tag, shards.num_sentences(shard) // 2)
        for shard, (tag, _, direction, _) in enumerate(pairs)
    ]
    text_blocks = [
        Block(shard, Direction(text.language, text.language), "", shards.num_sentences(shard))
        for shard, text in enumerate(texts, len(pairs))
    ]
    if not any(block.size for block in blocks):
        raise UserError("the bitext holds no pair that is neither empty nor too long")
    return TokenizedBitext(shards, tuple(blocks), tuple(text_blocks), summary.counts)


def run_tokenize(
    data: TrainingData, directory: Path, executor: Executor = LOCAL, *, replace: bool = False
) -> Summary:
    """Run the tokenization job, one task per file; its counts list what was excluded and why.

    Args:
        data: What is tokenized.
        directory: Where the tokens go.
        executor: Where the tasks run.
        replace: Whether tokens of other settings or files are discarded instead of refused.
    """
    evaluation = evaluation_files(data.evaluation_sets)
    vocabulary = [
        data.vocabulary / name
        for name in (vocabulary_files.MODEL_FILE, vocabulary_files.LAYOUT_FILE)
    ]
    arguments = {"evaluation_sets": fingerprint("", [digest_file(file) for file in evaluation])}
    inputs = tokenize_inputs(data)
    tasks = [
        Task(name=name, inputs=(*_all_files(name, path), *vocabulary), arguments=arguments)
        for name, path in inputs.items()
    ]
    settings = tokenize_config(data)
    if replace:
        _discard_outdated(directory, tasks, settings)
    summary = run_job(
        name=TOKENIZE_JOB,
        tasks=tasks,
        work=_Tokenizer(data.vocabulary, evaluation, settings, directory),
        output=directory,
        config=settings,
        workers=tokenize_workers(data, list(inputs.values())),
        executor=executor,
    )
    logger.info("tokens: %s", ", ".join(f"{n:,} {what}" for what, n in summary.counts.items()))
    return summary


def _discard_outdated(directory: Path, tasks: Sequence[Task], settings: TokenizeConfig) -> None:
    """Let the job redo shards that were made with other settings or from other files."""
    if not (directory / CONFIG_FILE).is_file():
        return
    try:
        check_config(directory, TOKENIZE_JOB, settings)
    except UserError:
        shutil.rmtree(directory)
        return
    outdated = []
    for task in tasks:
        try:
            has_receipt(TOKENIZE_JOB, task, directory, settings)
        except (UserError, DataError):
            outdated.append(task.name)
    forget_receipts(directory, TOKENIZE_JOB, outdated)


def tokenize_inputs(data: TrainingData) -> dict[str, Path]:
    """Return the files of bitext and text that a run trains on, by the names of their tasks."""
    inputs = {
        f"{tag}/{number}/{direction}": path for tag, number, direction, path in _bitext_inputs(data)
    }
    return inputs | {text.name: text.path for text in text_files(data.text)}


def task_direction(name: str) -> Direction:
    """Return the direction of a task of bitext by its name, `<tag>/<number>/<direction>`."""
    return parse_direction(name.rpartition("/")[2])


def _all_files(name: str, path: Path) -> tuple[Path, ...]:
    """Return the files of a task of bitext or text, the one that it is given by first."""
    is_text = TextFile.of_task(name, path) is not None
    return (path,) if is_text else bitext_paths(path, task_direction(name))


def tokenize_workers(data: TrainingData, files: Sequence[Path]) -> int:
    """Return how many processes tokenize files; one where there is little to do."""
    is_little = sum(path.stat().st_size for path in files) < _LITTLE
    return 1 if is_little else data.workers


@dataclass(frozen=True)
class _Tokenizer:
    """Does a task of the job; what it needs is loaded once in each process."""

    vocabulary_directory: Path
    evaluation: tuple[Path, ...]
    config: TokenizeConfig
    directory: Path

    @functools.cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary.load(self.vocabulary_directory)

    @functools.cached_property
    def _evaluation(self) -> EvaluationSentences | None:
        return EvaluationSentences.read(self.evaluation) if self.evaluation else None

    def __call__(self, task: Task) -> Outcome:
        shard, path = self.directory / task.name, task.inputs[0]
        text = TextFile.of_task(task.name, path)
        unit = "pairs" if text is None else "sentences"
        counts: Counter[str] = Counter({unit: 0, f"{unit}.kept": 0})
        with token_writer(shard, token_dtype(self._vocabulary.size)) as writer:
            blocks = (
                self._pairs(path, task_direction(task.name))
                if text is None
                else ((lines,) for lines in read_text(path))
            )
            for sides in blocks:
                tokens, lengths, reasons = self._tokenize(sides)
                is_kept = np.array([not reason for reason in reasons], bool)
                ends = np.cumsum(lengths).reshape(lengths.shape)
                kept = lengths[:, is_kept].T.ravel()
                starts = (ends - lengths)[:, is_kept].T.ravel()
                writer.append(pick(tokens, starts, kept), kept)
                counts[unit] += len(reasons)
                counts[f"{unit}.kept"] += int(is_kept.sum())
                counts.update(f"{unit}.rejected.{reason}" for reason in reasons if reason)
        return Outcome(counts=counts, outputs=token_paths(shard))

    def _pairs(self, path: Path, direction: Direction) -> Iterator[tuple[list[str], list[str]]]:
        for table in BitextReader(path, columns=self.config.columns, direction=direction):
            source, target = (table.column(name).to_pylist() for name in ("source", "target"))
            yield source, target

    def _tokenize(
        self, sides: Sequence[Sequence[str]]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], list[str]]:
        """Return tokens of one side after the other, lengths [sides, N], and reasons to reject."""
        encoded = [self._vocabulary.encode_flat(side) for side in sides]
        lengths = np.stack([length for _, length in encoded])
        reasons = [""] * lengths.shape[1]
        if self._evaluation is not None:
            keys = [[sentence_key(sentence) for sentence in side] for side in sides]
            limit = self.config.evaluation_containment
            reasons = self._evaluation.pair_reasons((keys[0], keys[-1]), limit)
        for i in np.flatnonzero((lengths > self.config.max_length).any(0)):
            reasons[i] = reasons[i] or TOO_LONG
        for side in sides:
            for place in [i for i, sentence in enumerate(side) if REPLACEMENT in sentence]:
                reasons[place] = DAMAGED
        for i in np.flatnonzero((lengths == 0).any(0)):
            reasons[i] = EMPTY
        return np.concatenate([tokens for tokens, _ in encoded]), lengths, reasons


def fingerprint(config_text: str, digests: Sequence[str]) -> str:
    """Return what a partial training depends on, as one digest."""
    text = json.dumps([config_text, list(digests)])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def direction_pairs(
    bitext: TokenizedBitext, vocabulary: Vocabulary, directions: Sequence[str]
) -> dict[Direction, DirectionPairs]:
    """Return the pairs of each direction to train, sorted by direction.

    Args:
        bitext: Tokenized pairs.
        vocabulary: Gives the tags their tokens.
        directions: What to train; empty for both directions of everything but what is of a tag
            that is trained one way.

    Raises:
        UserError: If one of `directions` has no pairs.
    """
    wanted = {parse_direction(direction) for direction in directions}
    found: dict[Direction, list[Part]] = {}
    for block in bitext.blocks:
        tag_index = vocabulary.tag_index(block.tag)
        tag = -1 if tag_index is None else tag_index
        for direction in trained_ways(block.tag, block.direction, directions):
            if block.size:
                side = int(direction != block.direction)
                part = Part(block.shard, side, tag, block.size, is_replay=block.tag == REPLAY)
                found.setdefault(direction, []).append(part)
    missing = sorted(wanted - set(found))
    if missing:
        raise UserError(
            f"no pair of the bitext can be trained from {missing[0].source} to {missing[0].target},"
            " which `directions` names: its pairs were all left out, or are trained one way, the"
            " other"
        )
    return {
        direction: DirectionPairs(direction, tuple(found[direction])) for direction in sorted(found)
    }


def trained_ways(tag: str, direction: Direction, directions: Sequence[str]) -> list[Direction]:
    """Return which directions the bitext of one is trained in: `directions` as for a config."""
    wanted = {parse_direction(one) for one in directions}
    ways = [direction] if tag in ONE_WAY_TAGS else [direction, direction.reverse]
    return [way for way in ways if not wanted or way in wanted]


def count_tokens(bitext: TokenizedBitext, pairs: DirectionPairs) -> int:
    """Return the source and target tokens of a direction's pairs, of a shard's mean length each."""
    return sum(
        int(bitext.shards.offsets(part.shard)[-1])
        * part.size
        // max(bitext.shards.num_sentences(part.shard) // 2, 1)
        for part in pairs.parts
    )


def hold_out(
    pairs: Mapping[Direction, DirectionPairs], every: int
) -> dict[Direction, DirectionPairs]:
    """Return the pairs without every so-manieth of each shard, in both of its directions.

    Only bitext without a tag gives any, where there is some: mined and back-translated pairs are
    noisy.

    Args:
        pairs: What there is.
        every: Of so many rows, from the first, the last is held out; at least 2.
    """
    is_untagged = any(part.tag_index < 0 for own in pairs.values() for part in own.parts)
    return {
        direction: DirectionPairs(
            direction,
            tuple(
                part
                if is_untagged and part.tag_index >= 0
                else replace(part, size=part.size - part.size // every, held_out_every=every)
                for part in own.parts
            ),
        )
        for direction, own in pairs.items()
    }


def language_text(bitext: TokenizedBitext) -> dict[str, DirectionPairs]:
    """Return the sentences of each language that there is text of, sorted by language."""
    found: dict[str, list[Part]] = {}
    for block in bitext.text_blocks:
        if block.size:
            part = Part(block.shard, 0, -1, block.size)
            found.setdefault(block.direction.source, []).append(part)
    return {
        language: DirectionPairs(Direction(language, language), tuple(found[language]))
        for language in sorted(found)
    }
