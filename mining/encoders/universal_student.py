"""Students of the builtin encoder: its network, with a vocabulary of their languages' own.

The network transfers to any script; the pieces do not. A student begins with the teacher's network
and, of the pieces that the teacher has too, with the teacher's rows. Other rows begin as means of
the teacher's rows of what they translate to in the bitext; without bitext they are random, at half
the spread of the teacher's. Only the rows that occur in a batch are updated.

Words whose stem is not in the text that a student was trained on are mostly names and loans. They
are read in Latin letters, in the teacher's pieces, whose rows stay as they are.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from anyascii import anyascii
from torch import Tensor, nn

from corpus.errors import DataError
from corpus.files import read_lines
from corpus.text import normalize
from mining.embeddings import Float32
from mining.encoders.config import UniversalConfig
from mining.encoders.directory import (
    SUBWORDS_FILE,
    load_weights,
    read_description,
    read_settings,
    save_encoder,
)
from mining.encoders.features import Int64, TokenRows
from mining.encoders.learners import Adam, Loss
from mining.encoders.lexicon import learn_lexicon
from mining.encoders.universal import (
    BEGIN,
    DIMENSION,
    END,
    BuiltinTokenizer,
    Network,
    UniversalEncoder,
    check_files,
    pack,
    read_weights,
)

ARCHITECTURE = "universal"
_OTHER_SPREAD = 0.5
_CHARACTERS_PER_TOKEN = 16
STEMS_FILE = "stems.txt"
"""A line for each stem that the training text has."""

_STEM_CHARACTERS = 5
_LONGEST_MEAN_WORD = 12
"""Characters between spaces, on average, beyond which they do not set words apart."""

_REVERSE_POWER = 0.5
"""Of p(source | target) in the weight of a translation: xsim of Amharic before any update is .283
without and .173 with it, .213 at 1 (docs/experiments.md)."""


def student_text(sentence: str, max_tokens: int) -> str:
    """Return a sentence as students read it: normalized, compatibility forms replaced, cut."""
    cut = normalize(sentence)[: _CHARACTERS_PER_TOKEN * max_tokens]
    return unicodedata.normalize("NFKC", cut).encode("utf-8", "replace").decode("utf-8")


class StudentModel(nn.Module):
    """The network and the vectors of its pieces, then those of `<s>` and `</s>`."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.network = Network()
        self.embeddings = nn.Parameter(torch.zeros(rows, DIMENSION), requires_grad=False)


def known_stems(texts: Iterable[str]) -> frozenset[str]:
    """Return the stems of the words in texts; none where words are not set apart by spaces."""
    words = [word for text in texts for word in text.split()]
    if sum(map(len, words)) > _LONGEST_MEAN_WORD * len(words):
        return frozenset()
    return frozenset(map(_stem, words))


def _stem(word: str) -> str:
    return word.casefold()[:_STEM_CHARACTERS]


class StudentTokenizer:
    """Sentences to ids of pieces between `<s>` and `</s>`.

    Ids are those of the student's pieces, `<s>`, `</s>`, then those of the teacher's pieces.
    """

    def __init__(
        self,
        subwords: sentencepiece.SentencePieceProcessor,
        settings: UniversalConfig,
        stems: frozenset[str],
    ) -> None:
        self.subwords = subwords
        self._max_tokens = settings.max_tokens
        self.begin = subwords.get_piece_size()
        self.end = self.begin + 1
        self._stems = stems
        if stems:
            teacher = check_files()[0]
            self._teacher = sentencepiece.SentencePieceProcessor(model_file=str(teacher))

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Return the ids of sentences."""
        texts = [student_text(text, self._max_tokens) for text in sentences]
        found = self.subwords.encode(texts)
        if self._stems:
            for i, text in enumerate(texts):
                words = text.split()
                is_known = [_stem(word) in self._stems for word in words]
                if not all(is_known):
                    found[i] = self._with_unknown(words, is_known)
        return [[self.begin, *pieces[: self._max_tokens - 2], self.end] for pieces in found]

    def _with_unknown(self, words: Sequence[str], is_known: Sequence[bool]) -> list[int]:
        pieces: list[int] = []
        for word, known in zip(words, is_known, strict=True):
            if known:
                pieces += self.subwords.encode(word)
            else:
                latin = self._teacher.encode(anyascii(word))
                pieces += [self.end + 1 + piece for piece in latin]
        return pieces


class StudentLookup:
    """The vectors of a student's pieces, behind them those of the teacher's."""

    def __init__(self, table: Tensor) -> None:
        self._table = table

    def rows(self, tokens: Int64) -> Tensor:
        """Return the vectors of tokens, which are sorted, [U, 512]."""
        own = int(np.searchsorted(tokens, len(self._table)))
        rows = self._table[torch.from_numpy(tokens[:own])]
        if own == len(tokens):
            return rows
        _, teacher = read_weights(check_files()[1])
        return torch.cat([rows, teacher.rows(tokens[own:] - len(self._table))])


def new_model(subwords: sentencepiece.SentencePieceProcessor, seed: int) -> StudentModel:
    """Return a model that begins with the teacher's network and the rows it has for the pieces.

    Raises:
        UserError: If the builtin encoder is not installed.
    """
    model_file, weights = check_files()
    network, lookup = read_weights(weights)
    teacher = sentencepiece.SentencePieceProcessor(model_file=str(model_file))
    model = StudentModel(subwords.get_piece_size() + 2)
    model.network.load_state_dict(network.state_dict())
    same = _same_pieces(subwords, teacher)
    known = np.flatnonzero(same >= 0)
    table = model.embeddings.data
    taken = lookup.rows(np.concatenate([same[known], [BEGIN, END]]))
    spread = float(taken[:-2].std()) if len(known) > 1 else float(taken.std())
    generator = torch.Generator().manual_seed(seed)
    table.normal_(0.0, _OTHER_SPREAD * spread, generator=generator)
    table[torch.from_numpy(known)] = taken[:-2]
    table[-2:] = taken[-2:]
    return model


def _same_pieces(
    subwords: sentencepiece.SentencePieceProcessor, teacher: sentencepiece.SentencePieceProcessor
) -> Int64:
    """Return the teacher's id of each piece, -1 where it does not have it."""
    pieces = [subwords.id_to_piece(number) for number in range(subwords.get_piece_size())]
    same = np.array([teacher.piece_to_id(piece) for piece in pieces], np.int64)
    return np.where(same == teacher.unk_id(), -1, same)


class UniversalLearner:
    """A student that learns: Adam for the network, sparse Adam for the rows that occur."""

    def __init__(
        self,
        model: StudentModel,
        subwords: bytes,
        settings: UniversalConfig,
        stems: frozenset[str],
        *,
        threads: int,
    ) -> None:
        self.model = model
        self._subwords = subwords
        self._stems = stems
        self._settings = settings
        self._threads = threads
        processor = sentencepiece.SentencePieceProcessor(model_proto=subwords)
        self._tokenizer = StudentTokenizer(processor, settings, stems)
        self._adam = Adam(model.network)
        self._rows = torch.optim.SparseAdam([model.embeddings])

    def extract(self, sentences: Sequence[str]) -> TokenRows:
        """Return the tokens of sentences."""
        rows = self._tokenizer.encode(sentences)
        starts = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
        return TokenRows(np.array([token for row in rows for token in row], np.int32), starts)

    def start_from_translations(
        self, sentences: Sequence[str], translations: Sequence[str], seed: int
    ) -> None:
        """Begin with vectors of pieces that are means of the teacher's, by what they translate to.

        The weight of the teacher's piece e for piece f is p(e | f) times the root of p(f | e).

        Pieces that the teacher has too, and those not in the sentences, stay as they are.

        Args:
            sentences: In the student's languages.
            translations: In a language of the builtin encoder.
            seed: Of the pairs that are read, where there are very many.
        """
        model_file, weights_file = check_files()
        teacher = sentencepiece.SentencePieceProcessor(model_file=str(model_file))
        # `<s>` stands for what translates nothing, and `</s>` would be a second of its kind.
        sources = [row[:-1] for row in self._tokenizer.encode(sentences)]
        targets = [row[1:-1] or row for row in BuiltinTokenizer(teacher).encode(translations)]
        lexicon = learn_lexicon(sources, targets, seed=seed)
        tokens, columns = np.unique(lexicon.target, return_inverse=True)
        rows = read_weights(weights_file)[1].rows(tokens)
        places = torch.from_numpy(np.stack([lexicon.source, columns]))
        size = (len(self.model.embeddings), len(tokens))
        weights = lexicon.probability * lexicon.reverse**_REVERSE_POWER
        weights /= np.bincount(lexicon.source, weights=weights)[lexicon.source]
        shares = torch.sparse_coo_tensor(places, torch.from_numpy(weights), size)
        is_new = np.isin(np.arange(size[0]), lexicon.source)
        is_new[:-2] &= _same_pieces(self._tokenizer.subwords, teacher) < 0
        is_new[-2:] = False
        new = torch.from_numpy(np.flatnonzero(is_new))
        self.model.embeddings.data[new] = (shares @ rows)[new]

    def encode_tokens(self, tokens: TokenRows) -> Float32:
        """Return unit vectors with the weights as they are."""
        encoder = UniversalEncoder(
            self.model.network,
            StudentLookup(self.model.embeddings.detach()),
            self._tokenizer,
            threads=self._threads,
        )
        return encoder.encode_tokens(_lists(tokens))

    def update(self, tokens: TokenRows, loss: Loss, *, number: int, rate: float) -> None:
        """Take one step on the loss of a batch."""
        distinct, layout = pack(_lists(tokens))
        own = int(np.searchsorted(distinct, len(self.model.embeddings)))
        rows = torch.from_numpy(distinct[:own])
        found = StudentLookup(self.model.embeddings.detach()).rows(distinct)
        table = found[:own].clone().requires_grad_(True)
        vectors = self.model.network(torch.cat([table, found[own:]]), layout)
        self._adam.step(loss(vectors), rate)
        assert table.grad is not None
        self.model.embeddings.grad = torch.sparse_coo_tensor(
            rows[None], table.grad, self.model.embeddings.shape
        )
        for group in self._rows.param_groups:
            group["lr"] = rate * self._settings.row_rate_factor
        self._rows.step()  # type: ignore[no-untyped-call]
        self.model.embeddings.grad = None

    def optimizer_state(self) -> dict[str, Tensor]:
        """Return the accumulators of both optimizers."""
        rows = self._rows.state[self.model.embeddings]
        sparse = {f"rows.{name}": torch.as_tensor(value) for name, value in rows.items()}
        return {**sparse, **self._adam.state()}

    def load_optimizer_state(self, state: dict[str, Tensor]) -> None:
        """Restore the accumulators."""
        rows = {
            name: state.pop(f"rows.{name}").clone() for name in ("step", "exp_avg", "exp_avg_sq")
        }
        self._rows.state[self.model.embeddings] = {**rows, "step": int(rows["step"])}
        self._adam.load(state)

    def save(self, path: Path, **more: Any) -> tuple[Path, ...]:
        """Write the encoder's directory."""
        stems = "".join(f"{stem}\n" for stem in sorted(self._stems))
        files = {SUBWORDS_FILE: self._subwords, STEMS_FILE: stems.encode("utf-8")}
        weights = self.model.state_dict()
        return save_encoder(
            path, ARCHITECTURE, self._settings, weights=weights, files=files, **more
        )


def _lists(tokens: TokenRows) -> list[list[int]]:
    ids = tokens.ids.tolist()
    return [ids[a:b] for a, b in zip(tokens.starts[:-1], tokens.starts[1:], strict=True)]


def load_student(
    path: Path, *, threads: int, device: str = "cpu", batch_tokens: int = 0
) -> UniversalEncoder:
    """Load a student; it computes on the CPU, whatever the device.

    Raises:
        DataError: If a file is damaged or of another encoder.
    """
    model, subwords, settings, stems = read_student(path)
    processor = sentencepiece.SentencePieceProcessor(model_proto=subwords)
    return UniversalEncoder(
        model.network,
        StudentLookup(model.embeddings.detach()),
        StudentTokenizer(processor, settings, stems),
        threads=threads,
    )


def read_student(path: Path) -> tuple[StudentModel, bytes, UniversalConfig, frozenset[str]]:
    """Read model, SentencePiece model, settings and known stems of a student.

    Students of earlier versions know no stems, and read all words in their own pieces.

    Raises:
        DataError: If a file is damaged or of another encoder.
    """
    settings = read_settings(read_description(path), UniversalConfig)
    subwords = (path / SUBWORDS_FILE).read_bytes()
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=subwords)
    except RuntimeError as error:
        raise DataError(f"{path / SUBWORDS_FILE} is not a SentencePiece model: {error}") from error
    model = StudentModel(processor.get_piece_size() + 2)
    load_weights(path, model)
    stems = path / STEMS_FILE
    known = frozenset(read_lines(stems)) if stems.is_file() else frozenset[str]()
    return model, subwords, settings, known
