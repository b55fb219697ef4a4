"""Pairs per second and core: batches from tokenized shards against fairseq2's native pipeline.

    python benchmarks/batch_speed.py --bitext DIR [--bitext DIR ...] [--flores DIR]

Both make batches of the same size from the same files, all directions both ways. Ours reads tokens
that were written beforehand, which is timed too; fairseq2's pipeline tokenizes as it goes, with the
same SentencePiece model. All times are CPU times of the process, threads included. Everything is
timed in turns, and the median is printed.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import fairseq2
from fairseq2.data.data_pipeline import Collater, DataPipeline
from fairseq2.data.text import read_text
from fairseq2.data.tokenizers.sentencepiece import SentencePieceEncoder, SentencePieceModel

from corpus.files import write_lines
from corpus.records import bitext_files, read_bitext
from nmt.data.batches import Batch, BatchStream
from nmt.data.config import BatchConfig, CurriculumConfig, DataConfig
from nmt.data.phases import Curriculum
from nmt.data.tokenize import TokenizedBitext, direction_pairs, tokenize
from nmt.training.config import TrainConfig
from nmt.vocabulary.config import VocabularyConfig
from nmt.vocabulary.train import train_vocabulary
from nmt.vocabulary.vocabulary import MODEL_FILE, Vocabulary

TURNS = 5
PIECES = 16_000
WORLD_SIZE = 8


def main() -> None:
    """Time everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bitext", type=Path, action="append", required=True)
    parser.add_argument("--flores", type=Path)
    parser.add_argument(
        "--pairs", type=int, default=200_000, help="Pairs that a turn of ours takes."
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _run(arguments.bitext, arguments.flores, arguments.pairs, Path(folder))


def _run(bitext: list[Path], flores: Path | None, pairs: int, folder: Path) -> None:
    train_vocabulary(bitext, folder / "vocabulary", VocabularyConfig(size=PIECES))
    vocabulary = Vocabulary.load(folder / "vocabulary")
    names = iter(itertools.count())

    def write(with_flores: bool) -> TokenizedBitext:
        config = TrainConfig(
            vocabulary=folder / "vocabulary",
            bitext={"mined": tuple(bitext)},
            flores=flores if with_flores else None,
            data=DataConfig(workers=1),
        )
        return tokenize(config.training_data, vocabulary, folder / f"tokens{next(names)}")

    tokenized = write(False)
    read = tokenized.counts["pairs"]
    tokens = sum(len(tokenized.shards.tokens(block.shard)) for block in tokenized.blocks)
    print(
        f"<!-- fairseq2 {fairseq2.__version__}, {read:,} pairs of {len(tokenized.blocks)} files,"
        f" {tokens / 2 / len(tokenized):.1f} tokens a side, {vocabulary.size:,} tokens -->"
    )
    alone = _stream(tokenized, vocabulary)
    one_of_many = _stream(tokenized, vocabulary, WORLD_SIZE)
    native = _native(bitext, folder / "vocabulary" / MODEL_FILE, folder)
    runs: dict[str, Callable[[], int]] = {
        "fairseq2's native pipeline": lambda: _take_native(native, pairs // 10),
        "ours, one process": lambda: _take(alone, pairs),
        f"ours, one of {WORLD_SIZE} processes": lambda: _take(one_of_many, pairs // 2),
        "tokenizing beforehand": lambda: write(False).counts["pairs"],
    }
    if flores is not None:
        runs["the same, evaluation sets removed"] = lambda: write(True).counts["pairs"]
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TURNS):
        for name, run in runs.items():
            started = time.process_time()
            count = run()
            rates[name].append(count / (time.process_time() - started))
    print("| what | pairs per CPU second | times fairseq2's |\n|---|---|---|")
    base = rates["fairseq2's native pipeline"]
    for name, own in rates.items():
        ratio = statistics.median(a / b for a, b in zip(own, base, strict=True))
        print(f"| {name} | {statistics.median(own):,.0f} | {ratio:.1f} |")


def _stream(bitext: TokenizedBitext, vocabulary: Vocabulary, world_size: int = 1) -> BatchStream:
    pairs = direction_pairs(bitext, vocabulary, ())
    config = CurriculumConfig()
    curriculum = Curriculum(config, {direction: len(own) for direction, own in pairs.items()})
    return BatchStream(
        bitext, pairs, vocabulary, curriculum, BatchConfig(), seed=1, world_size=world_size
    )


def _take(stream: Iterator[Batch], pairs: int) -> int:
    count = 0
    while count < pairs:
        count += len(next(stream).source)
    return count


def _native(bitext: list[Path], model: Path, folder: Path) -> Iterator[Any]:
    """Build the pipeline that a fairseq2 recipe for translation has, on plain text files."""
    sentencepiece = SentencePieceModel(model)
    batches = BatchConfig()
    directions = []
    for number, directory in enumerate(bitext):
        for direction, path in bitext_files(directory).items():
            table, files = read_bitext(path), []
            for side in ("source", "target"):
                files.append(folder / f"{number}-{direction}.{side}")
                write_lines(files[-1], table.column(side).to_pylist())
            directions += [_native_direction(pair, sentencepiece) for pair in (files, files[::-1])]
    sizes = [
        (max(1, batches.max_tokens // (2 * length)), length)
        for length in range(8, batches.max_length + 1, 8)
    ]
    return iter(
        DataPipeline.sample(directions, seed=1)
        .shuffle(batches.round_size, seed=1)
        .bucket_by_length(sizes, selector="source,target", skip_above_max_examples=True)
        .map(Collater(pad_value=1))
        .prefetch(2)
        .and_return()
    )


def _native_direction(files: Sequence[Path], sentencepiece: SentencePieceModel) -> DataPipeline:
    encoder = SentencePieceEncoder(sentencepiece, suffix_tokens=["</s>"])
    sides = [
        read_text(file, rtrim=True, memory_map=True).map(encoder).repeat().and_return()
        for file in files
    ]
    # One thread, as the time is per core.
    return DataPipeline.zip(sides, ["source", "target"], disable_parallelism=True).and_return()


def _take_native(batches: Iterator[Any], pairs: int) -> int:
    count = 0
    while count < pairs:
        count += len(next(batches)["source"]["seqs"])
    return count


if __name__ == "__main__":
    main()
