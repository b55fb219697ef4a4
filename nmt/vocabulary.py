"""The vocabulary: SentencePiece pieces, then language tokens, data-source tags and `<mask>`."""

import functools
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from corpus.errors import DataError, UserError
from corpus.files import atomic_path, read_json, write_json
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.languages import Direction
from corpus.records import bitext_files, read_bitext
from corpus.text import normalize
from nmt.config import TAGS, VocabularyConfig

MODEL_FILE = "sentencepiece.model"
LAYOUT_FILE = "vocabulary.json"
PAD, UNKNOWN, BEGIN, END = range(4)
MASK_SYMBOL = "<mask>"
TAG_SYMBOLS = {"mined": "<MINED_DATA>", "back_translated": "<MMT_BT_DATA>"}
"""Symbols of NLLB-200's checkpoints; primary bitext has none."""


def language_symbol(language: str) -> str:
    """Return the token of a language, `__eng_Latn__`."""
    return f"__{language}__"


class Vocabulary:
    """Text to token indices and back.

    Indices: the pieces of SentencePiece (0 pad, 1 unknown, 2 begin, 3 end), the languages in sorted
    order, the tags, `<mask>`.
    """

    def __init__(self, model: bytes, languages: Sequence[str]) -> None:
        self._pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.num_pieces: int = self._pieces.get_piece_size()
        self.languages = tuple(languages)
        symbols = [
            *(language_symbol(language) for language in languages),
            *TAG_SYMBOLS.values(),
            MASK_SYMBOL,
        ]
        self._symbols = {symbol: self.num_pieces + i for i, symbol in enumerate(symbols)}
        self.size = self.num_pieces + len(symbols)

    @classmethod
    def load(cls, directory: Path) -> "Vocabulary":
        """Load a directory written by `tongues nmt vocabulary`.

        Raises:
            UserError: If the directory is not one.
            DataError: If its files do not fit each other.
        """
        if not (directory / LAYOUT_FILE).is_file() or not (directory / MODEL_FILE).is_file():
            raise UserError(
                f"{directory} is not a vocabulary: it needs {MODEL_FILE} and {LAYOUT_FILE}."
                " `tongues nmt vocabulary` writes one."
            )
        layout = read_json(directory / LAYOUT_FILE)
        try:
            vocabulary = cls((directory / MODEL_FILE).read_bytes(), layout["languages"])
        except (RuntimeError, KeyError) as error:
            raise DataError(f"{directory} is not a readable vocabulary: {error}") from error
        if vocabulary.size != layout.get("size"):
            raise DataError(
                f"{directory}: {LAYOUT_FILE} says {layout.get('size')} tokens, {MODEL_FILE} makes"
                f" {vocabulary.size}"
            )
        return vocabulary

    def language_index(self, language: str) -> int:
        """Return the token of a language.

        Raises:
            UserError: If the vocabulary has none.
        """
        index = self._symbols.get(language_symbol(language))
        if index is None:
            known = ", ".join(self.languages)
            raise UserError(f"the vocabulary has no language `{language}`; it has {known}")
        return index

    def tag_index(self, tag: str) -> int | None:
        """Return the token of a data-source tag; None for primary bitext, which has none."""
        return self._symbols[TAG_SYMBOLS[tag]] if tag in TAG_SYMBOLS else None

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Return the pieces of each sentence, without language, tag and end."""
        normalized = [normalize(sentence) for sentence in sentences]
        encoded: list[list[int]] = self._pieces.encode(normalized, num_threads=1)
        return encoded

    def decode(self, indices: Sequence[int]) -> str:
        """Return the text of token indices; control symbols are left out."""
        text: str = self._pieces.decode([i for i in indices if END < i < self.num_pieces])
        return text


def train_vocabulary(bitext: Sequence[Path], output: Path, config: VocabularyConfig) -> Summary:
    """Train a vocabulary on both sides of bitext directories, as a job with a receipt."""
    inputs = tuple(path for directory in bitext for path in bitext_files(directory).values())
    task = Task(name="vocabulary", inputs=inputs)
    work = functools.partial(_write_vocabulary, bitext=tuple(bitext), output=output, config=config)
    return run_job(name="vocabulary", tasks=[task], work=work, output=output, config=config)


def _write_vocabulary(
    task: Task, bitext: tuple[Path, ...], output: Path, config: VocabularyConfig
) -> Outcome:
    texts = _read_texts(bitext)
    sentences = list(_sample(texts, config))
    model = _train_sentencepiece(sentences, config)
    with atomic_path(output / MODEL_FILE) as temporary:
        temporary.write_bytes(model)
    vocabulary = Vocabulary(model, sorted(texts))
    write_json(
        output / LAYOUT_FILE,
        {
            "size": vocabulary.size,
            "pieces": vocabulary.num_pieces,
            "languages": list(vocabulary.languages),
            "tags": {tag: vocabulary.tag_index(tag) for tag in TAGS},
        },
    )
    return Outcome(
        counts={
            "sentences": sum(len(lines) for lines in texts.values()),
            "sampled": len(sentences),
            "tokens": vocabulary.size,
        },
        outputs=(output / MODEL_FILE, output / LAYOUT_FILE),
    )


def _read_texts(bitext: Sequence[Path]) -> dict[str, list[str]]:
    """Return the distinct sentences of each language, sorted."""
    texts: dict[str, set[str]] = {}
    for directory in bitext:
        for direction, path in bitext_files(directory).items():
            table = read_bitext(path)
            for language, column in zip(Direction(*direction), ("source", "target"), strict=True):
                lines = (normalize(line) for line in table.column(column).to_pylist())
                texts.setdefault(language, set()).update(line for line in lines if line)
    return {language: sorted(lines) for language, lines in sorted(texts.items())}


def _sample(texts: dict[str, list[str]], config: VocabularyConfig) -> Iterator[str]:
    """Yield sentences, languages by temperature; one that has too few gives some repeatedly."""
    sizes = np.array([len(lines) for lines in texts.values()], np.float64)
    shares = (sizes / sizes.sum()) ** (1 / config.temperature)
    wanted = shares / shares.sum() * min(config.max_sentences, int(sizes.sum()))
    generator = np.random.default_rng(config.seed)
    for lines, count in zip(texts.values(), wanted, strict=True):
        chosen: NDArray[np.int64] = np.concatenate(
            [
                generator.permutation(len(lines))
                for _ in range(-(-round(count) // max(len(lines), 1)))
            ]
            or [np.empty(0, np.int64)]
        )[: round(count)]
        yield from (lines[i] for i in chosen)


def _train_sentencepiece(sentences: Sequence[str], config: VocabularyConfig) -> bytes:
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            vocab_size=config.size,
            model_type=config.kind,
            character_coverage=config.character_coverage,
            normalization_rule_name="identity",
            pad_id=PAD,
            unk_id=UNKNOWN,
            bos_id=BEGIN,
            eos_id=END,
            num_threads=1,
            shuffle_input_sentence=False,
            hard_vocab_limit=False,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise DataError(
            f"SentencePiece cannot make {config.size:,} pieces from {len(sentences):,} sentences:"
            f" {error}"
        ) from error
    return model.getvalue()
