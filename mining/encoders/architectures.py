"""The architectures of encoders, a row each: settings, loader, learners, learning rate.

A new one is a model, its settings in `mining.encoders.config`, and a row here.
"""

import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import sentencepiece
import torch

from mining.encoders.bag import load_bag, make_bag
from mining.encoders.config import (
    BagConfig,
    EncoderTrainingConfig,
    LstmConfig,
    SequenceConfig,
    TransformerConfig,
    UniversalConfig,
)
from mining.encoders.directory import SUBWORDS_FILE, read_description, read_settings
from mining.encoders.features import prepare
from mining.encoders.learners import BagLearner, Learner, SequenceLearner
from mining.encoders.lstm import LstmModel
from mining.encoders.products import use_cpu
from mining.encoders.protocol import Encoder
from mining.encoders.sequence import (
    SequenceEncoder,
    SequenceModel,
    load_sequence,
    sequence_tokenizer,
)
from mining.encoders.tokens import FIRST_PIECE, VOCABULARY_FILE, pieces_of, read_vocabulary
from mining.encoders.transformer import TransformerModel
from mining.encoders.universal_student import (
    ARCHITECTURE,
    UniversalLearner,
    known_stems,
    load_student,
    new_model,
    read_student,
    student_text,
)

_SUBWORD_SENTENCES = 1_000_000
_SUBWORD_CHARACTERS = 1000
"""Of a sentence's beginning, when subwords of lstm and transformer are learned."""


class Load(Protocol):
    """Loads an encoder from its directory."""

    def __call__(self, path: Path, *, threads: int, device: str, batch_tokens: int) -> Encoder:
        """Return the encoder; see `mining.encoders.load_encoder`."""
        ...


class NewLearner(Protocol):
    """Makes a learner with random weights and subwords of its own."""

    def __call__(self, sentences: Sequence[str], config: EncoderTrainingConfig) -> Learner:
        """Return the learner; torch's seed decides its weights."""
        ...


class CopyLearner(Protocol):
    """Makes a learner that begins with the weights and the vocabulary of an encoder."""

    def __call__(self, path: Path, config: EncoderTrainingConfig) -> Learner:
        """Return the learner."""
        ...


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One architecture."""

    settings: type[Any]
    """Its config, which the config of training has under the architecture's name."""

    learning_rate: float
    """Peak where the config gives none; `bag` has row-wise Adagrad, the others Adam."""

    load: Load
    new_learner: NewLearner
    copy_learner: CopyLearner


def new_learner(name: str, sentences: Sequence[str], config: EncoderTrainingConfig) -> Learner:
    """Return a learner of an architecture with random weights and subwords of its own."""
    torch.manual_seed(config.seed)
    use_cpu(config.threads)
    return ARCHITECTURES[name].new_learner(sentences, config)


def train_subwords(sentences: Sequence[str], vocabulary_size: int, max_characters: int) -> bytes:
    """Train a SentencePiece model and return it serialized.

    Of more than a million sentences an evenly spaced million is read.
    """
    texts = [prepare(sentence, max_characters) for sentence in _some(sentences)]
    return _train_pieces(texts, vocabulary_size)


def _some(sentences: Sequence[str]) -> Sequence[str]:
    return sentences[:: -(-len(sentences) // _SUBWORD_SENTENCES) or 1]


def _train_pieces(texts: Sequence[str], vocabulary_size: int) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=vocabulary_size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        model_type="unigram",
        normalization_rule_name="identity",
        num_threads=1,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    return model.getvalue()


def _load_bag(path: Path, *, threads: int, device: str, batch_tokens: int) -> Encoder:
    return load_bag(path, threads=threads)  # on the CPU, whatever the device


def _new_bag(sentences: Sequence[str], config: EncoderTrainingConfig) -> Learner:
    bag = config.bag
    subwords = train_subwords(sentences, bag.vocabulary_size, bag.max_characters)
    encoder = make_bag(subwords, bag, config.threads)
    return BagLearner(encoder, subwords, bag, dropout=config.feature_dropout, seed=config.seed)


def _copy_bag(path: Path, config: EncoderTrainingConfig) -> Learner:
    return BagLearner(
        load_bag(path, threads=config.threads),
        (path / SUBWORDS_FILE).read_bytes(),
        read_settings(read_description(path), BagConfig),
        dropout=config.feature_dropout,
        seed=config.seed,
    )


def _new_sequence(
    sentences: Sequence[str],
    config: EncoderTrainingConfig,
    *,
    name: str,
    model: type[SequenceModel],
) -> Learner:
    settings: SequenceConfig = getattr(config, name)
    subwords = train_subwords(sentences, settings.vocabulary_size, _SUBWORD_CHARACTERS)
    processor = sentencepiece.SentencePieceProcessor(model_proto=subwords)
    vocabulary = pieces_of(processor)
    encoder = SequenceEncoder(
        model(len(vocabulary) + FIRST_PIECE, settings),  # type: ignore[arg-type]
        sequence_tokenizer(processor, vocabulary, settings),
        threads=config.threads,
        device=config.device,
    )
    return SequenceLearner(encoder, name, subwords, vocabulary, settings, seed=config.seed)


def _copy_sequence(
    path: Path,
    config: EncoderTrainingConfig,
    *,
    name: str,
    settings: type[SequenceConfig],
    model: type[SequenceModel],
) -> Learner:
    return SequenceLearner(
        load_sequence(
            path, settings=settings, model=model, threads=config.threads, device=config.device
        ),
        name,
        (path / SUBWORDS_FILE).read_bytes(),
        read_vocabulary(path / VOCABULARY_FILE),
        read_settings(read_description(path), settings),
        seed=config.seed,
    )


def _sequence(
    name: str, settings: type[SequenceConfig], model: type[SequenceModel], learning_rate: float
) -> Architecture:
    """Return the row of an encoder that reads tokens in order."""
    return Architecture(
        settings=settings,
        learning_rate=learning_rate,
        load=functools.partial(load_sequence, settings=settings, model=model),
        new_learner=functools.partial(_new_sequence, name=name, model=model),
        copy_learner=functools.partial(_copy_sequence, name=name, settings=settings, model=model),
    )


def _new_universal(sentences: Sequence[str], config: EncoderTrainingConfig) -> Learner:
    settings = config.universal
    texts = [student_text(sentence, settings.max_tokens) for sentence in _some(sentences)]
    subwords = _train_pieces(texts, settings.vocabulary_size)
    processor = sentencepiece.SentencePieceProcessor(model_proto=subwords)
    model = new_model(processor, config.seed)
    stems = known_stems(texts)
    return UniversalLearner(model, subwords, settings, stems, threads=config.threads)


def _copy_universal(path: Path, config: EncoderTrainingConfig) -> Learner:
    return UniversalLearner(*read_student(path), threads=config.threads)


ARCHITECTURES = {
    "bag": Architecture(
        settings=BagConfig, learning_rate=0.03,
        load=_load_bag, new_learner=_new_bag, copy_learner=_copy_bag,
    ),
    "lstm": _sequence("lstm", LstmConfig, LstmModel, 0.001),
    "transformer": _sequence("transformer", TransformerConfig, TransformerModel, 0.0005),
    ARCHITECTURE: Architecture(
        settings=UniversalConfig, learning_rate=0.0003,
        load=load_student, new_learner=_new_universal, copy_learner=_copy_universal,
    ),
}  # fmt: skip
