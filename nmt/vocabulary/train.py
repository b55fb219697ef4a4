"""Training of a vocabulary on distinct sentences, sampled by temperature, in two passes.

Memory is bounded whatever the amount of text. The first pass estimates how many distinct sentences
each language has, from the smallest hashes of its sentences; the second keeps as many sentences of
each as its share is, again those with the smallest hashes: a sample of the distinct ones that does
not depend on the order or the number of files.
"""

import functools
import hashlib
import io
import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from corpus.bitext import BitextReader, bitext_paths
from corpus.errors import DataError, UserError
from corpus.files import atomic_path, write_json
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.languages import Direction, check_language
from corpus.records import bitext_files
from corpus.text import REPLACEMENT, normalize
from nmt.text_files import read_text, text_files
from nmt.vocabulary.config import VocabularyConfig
from nmt.vocabulary.vocabulary import LAYOUT_FILE, MODEL_FILE, Vocabulary

logger = logging.getLogger(__name__)

UInt64 = NDArray[np.uint64]

SKETCH_HASHES = 1 << 16
"""Hashes kept of a language: fewer sentences are counted exactly, more to 0.4 percent (1/√k)."""

_MAX_BYTES = 4192
"""SentencePiece's own limit, beyond which it drops sentences silently."""

_PIECES, _PIECES_STEP, _MOST_PIECES = 16, 500, 256_000
"""Pieces for a sentence, which grow with the square root; what they are rounded to; NLLB-200's."""

_COUNTED = ("lines", "rejected.empty", "rejected.damaged_characters", "rejected.too_long")

_MANY_SENTENCES = 10_000_000
"""Size from which SentencePiece needs wider counters."""


@dataclass(frozen=True)
class Source:
    """A file with the language of each of its columns."""

    path: Path
    languages: tuple[str, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    """As `corpus.bitext.BitextReader` takes them."""

    def files(self) -> tuple[Path, ...]:
        """Return all files, such as both of a Moses pair."""
        if len(self.languages) == 1:
            return (self.path,)
        return bitext_paths(self.path, Direction(*self.languages))


def train_vocabulary(
    bitext: Sequence[Path],
    output: Path,
    config: VocabularyConfig,
    text: Sequence[Path] = (),
) -> Summary:
    """Train a vocabulary as a job with a receipt.

    Args:
        bitext: Directories of bitext; both sides are read.
        output: The directory to write.
        config: Size, sampling, further languages.
        text: Directories of `<language>.txt`, or of sentences by language.

    Raises:
        UserError: If there is no directory, or one holds nothing.
    """
    sources = [
        Source(path, tuple(direction), config.columns)
        for directory in bitext
        for direction, path in bitext_files(directory).items()
    ]
    sources += [Source(found.path, (found.language,)) for found in text_files(text)]
    if not sources:
        raise UserError("a vocabulary is trained on text; give `--bitext` or `--text`")
    for language in config.languages:
        check_language(language)
    task = Task(
        name="vocabulary", inputs=tuple(path for source in sources for path in source.files())
    )
    work = functools.partial(_write, sources=sources, output=output, config=config)
    return run_job(name="vocabulary", tasks=[task], work=work, output=output, config=config)


def _write(
    task: Task, sources: Sequence[Source], output: Path, config: VocabularyConfig
) -> Outcome:
    counts: Counter[str] = Counter(dict.fromkeys(_COUNTED, 0))
    sizes = count_distinct(sources, config.seed, counts)
    wanted = share(sizes, config)
    sample = sample_distinct(sources, wanted, config.seed)
    for language, size in sizes.items():
        logger.info("%s: %s of %s sentences", language, f"{wanted[language]:,}", f"{size:,}")
    size = config.size or _chosen_size(sample, wanted, sum(sizes.values()), config)
    model = _train_sentencepiece(sample, wanted, size, config)
    with atomic_path(output / MODEL_FILE) as temporary:
        temporary.write_bytes(model)
    vocabulary = Vocabulary(model, sorted({*sizes, *config.languages}))
    write_json(output / LAYOUT_FILE, vocabulary.layout())
    return Outcome(
        counts={
            **counts,
            "sentences": sum(sizes.values()),
            "sampled": sum(wanted.values()),
            "tokens": vocabulary.size,
        },
        outputs=(output / MODEL_FILE, output / LAYOUT_FILE),
    )


def _read(sources: Sequence[Source], counts: Counter[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield sentences that SentencePiece takes, normalized, by language; count the others."""
    for language, lines in _read_all(sources):
        kept = []
        for line in map(normalize, lines):
            if not line:
                counts["rejected.empty"] += 1
            elif REPLACEMENT in line:
                counts["rejected.damaged_characters"] += 1
            elif len(line.encode("utf-8", "replace")) > _MAX_BYTES:
                counts["rejected.too_long"] += 1
            else:
                kept.append(line)
        counts["lines"] += len(lines)
        yield language, kept


def _read_all(sources: Sequence[Source]) -> Iterator[tuple[str, list[str]]]:
    for source in sources:
        if len(source.languages) == 1:
            for lines in read_text(source.path):
                yield source.languages[0], lines
            continue
        reader = BitextReader(
            source.path, columns=source.columns, direction=Direction(*source.languages)
        )
        for table in reader:
            for language, side in zip(source.languages, ("source", "target"), strict=True):
                yield language, [line or "" for line in table.column(side).to_pylist()]


def _hashes(lines: Sequence[str], seed: int) -> UInt64:
    key = seed.to_bytes(16, "little", signed=True)
    digests = (
        hashlib.blake2b(line.encode("utf-8", "replace"), digest_size=8, key=key).digest()
        for line in lines
    )
    return np.frombuffer(b"".join(digests), np.dtype("<u8"))


class SmallestHashes:
    """The smallest distinct hashes of all that are added, up to a number, with their values."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bound: int | None = None
        self._hashes = np.empty(0, np.uint64)
        self._values: NDArray[Any] | None = None
        self._pending: list[tuple[UInt64, NDArray[Any]]] = []
        self._num_pending = 0

    def add(self, hashes: UInt64, values: NDArray[Any]) -> None:
        """Add hashes with what they are of, [N] each."""
        if self._bound is not None:
            is_small = hashes < np.uint64(self._bound)
            hashes, values = hashes[is_small], values[is_small]
        self._pending.append((hashes, values))
        self._num_pending += len(hashes)
        if self._num_pending > self._limit:
            self._merge()

    def result(self) -> tuple[UInt64, NDArray[Any], bool]:
        """Return the hashes, rising, their values, and whether these are all that were added."""
        self._merge()
        assert self._values is not None
        return self._hashes, self._values, self._bound is None

    def _merge(self) -> None:
        parts = [] if self._values is None else [(self._hashes, self._values)]
        parts += self._pending
        hashes = np.concatenate([part[0] for part in parts])
        values = np.concatenate([part[1] for part in parts])
        self._pending, self._num_pending = [], 0
        self._hashes, first = np.unique(hashes, return_index=True)
        if len(first) > self._limit:
            self._bound = int(self._hashes[self._limit])
            self._hashes, first = self._hashes[: self._limit], first[: self._limit]
        self._values = values[first]


def count_distinct(
    sources: Sequence[Source], seed: int, counts: Counter[str] | None = None
) -> dict[str, int]:
    """Return how many distinct sentences each language has, sorted by language.

    Exact up to `SKETCH_HASHES`; beyond, (k - 1) / h where h is the k-th smallest hash as a share of
    all hashes (Bar-Yossef et al. 2002, "Counting distinct elements in a data stream").

    Args:
        sources: The files.
        seed: Of the hashes.
        counts: Counts the lines that are left out, by reason.
    """
    counts = Counter() if counts is None else counts
    sketches: dict[str, SmallestHashes] = {}
    for language, lines in _read(sources, counts):
        hashes = _hashes(lines, seed)
        sketches.setdefault(language, SmallestHashes(SKETCH_HASHES)).add(hashes, hashes)
    sizes = {}
    for language, sketch in sorted(sketches.items()):
        hashes, _, is_all = sketch.result()
        largest = 1.0 if is_all else int(hashes[-1]) / (1 << 64)
        sizes[language] = len(hashes) if is_all else round((SKETCH_HASHES - 1) / largest)
    return sizes


def sample_distinct(
    sources: Sequence[Source], wanted: Mapping[str, int], seed: int
) -> dict[str, NDArray[np.object_]]:
    """Return as many distinct sentences of each language as are wanted, or all that there are."""
    smallest = {language: SmallestHashes(max(1, count)) for language, count in wanted.items()}
    for language, lines in _read(sources, Counter()):
        smallest[language].add(_hashes(lines, seed), np.array(lines, object))
    return {language: own.result()[1] for language, own in smallest.items()}


def share(sizes: dict[str, int], config: VocabularyConfig) -> dict[str, int]:
    """Return how many sentences of each language are taken, p ∝ n^(1/temperature)."""
    numbers = np.array(list(sizes.values()), np.float64)
    if not numbers.sum():
        raise DataError("the text holds no sentence that SentencePiece could take")
    powers = (numbers / numbers.sum()) ** (1 / config.temperature)
    wanted = powers / powers.sum() * min(config.max_sentences, int(numbers.sum()))
    return {language: round(count) for language, count in zip(sizes, wanted, strict=True)}


def _repeated(sample: dict[str, NDArray[np.object_]], wanted: dict[str, int]) -> Iterator[str]:
    """Yield the sentences, repeating those of languages that have too few."""
    for language, lines in sample.items():
        for i in range(wanted[language] if len(lines) else 0):
            yield lines[i % len(lines)]


def _chosen_size(
    sample: dict[str, NDArray[np.object_]],
    wanted: dict[str, int],
    num_sentences: int,
    config: VocabularyConfig,
) -> int:
    """Return how many pieces the text is enough for: those of `size_for`, and its characters.

    Characters are those that SentencePiece gives a piece: the most frequent ones that make up the
    share `character_coverage` of the text.
    """
    counts: Counter[str] = Counter()
    for line in _repeated(sample, wanted):
        counts.update(line)
    numbers = np.sort(np.array(list(counts.values())))[::-1].cumsum()
    characters = int(np.searchsorted(numbers, config.character_coverage * numbers[-1])) + 1
    chosen = size_for(num_sentences) + characters
    logger.info(
        "%s pieces for %s distinct sentences with %s characters; `size` changes it",
        f"{chosen:,}",
        f"{num_sentences:,}",
        f"{characters:,}",
    )
    return chosen


def size_for(num_sentences: int) -> int:
    """Return how many pieces a number of distinct sentences is enough for.

    16 · √n, rounded up to a multiple of 500: 4,000 for the 58,000 sentences of Multi30k in two
    languages, and NLLB-200's 256,000 from 256 million on.
    """
    pieces = _PIECES_STEP * math.ceil(_PIECES * math.sqrt(num_sentences) / _PIECES_STEP)
    return min(pieces, _MOST_PIECES)


def _train_sentencepiece(
    sample: dict[str, NDArray[np.object_]],
    wanted: dict[str, int],
    size: int,
    config: VocabularyConfig,
) -> bytes:
    model = io.BytesIO()
    total = sum(wanted.values())
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_repeated(sample, wanted),
            model_writer=model,
            vocab_size=size,
            model_type=config.kind,
            character_coverage=config.character_coverage,
            normalization_rule_name="identity",
            # As NLLB-200's; `PIECE_OFFSET` makes room for the padding.
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            num_threads=1,
            shuffle_input_sentence=False,
            hard_vocab_limit=False,
            max_sentence_length=_MAX_BYTES,
            train_extremely_large_corpus=total > _MANY_SENTENCES,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise DataError(
            f"SentencePiece cannot make {size:,} pieces from {total:,} sentences: {error}"
        ) from error
    return model.getvalue()
