"""Models with tokens of more languages, and pieces for their text; old tokens stay as they are."""

import functools
import itertools
import logging
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from corpus.console import format_table
from corpus.errors import UserError
from corpus.files import atomic_path, write_json
from corpus.flores import read_split, split_file, split_languages
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.languages import find_language
from corpus.pickled_tensors import Stored
from corpus.text import normalize
from nmt.interop.names import OUR_EMBEDDINGS
from nmt.interop.weights import NewTensor, write_tensors
from nmt.model.directory import (
    DESCRIPTION_FILE,
    VOCABULARY_DIRECTORY,
    WEIGHTS_FILE,
    describe_model,
    read_description,
)
from nmt.model.tensor_files import read_header, read_into, whole
from nmt.text_files import TextFile, read_text, text_files
from nmt.vocabulary.config import ExtendConfig
from nmt.vocabulary.new_pieces import NewPiece, append_pieces, cut_words, learn_pieces
from nmt.vocabulary.vocabulary import (
    LAYOUT_FILE,
    MASK_SYMBOL,
    MODEL_FILE,
    TAG_SYMBOLS,
    Vocabulary,
    language_symbol,
)

logger = logging.getLogger(__name__)

MEASURES_FILE = "extension.json"
_ROUNDS = 20
"""How often pieces that change old text are replaced by others."""
_SIMILAR = 3
"""Languages whose tokens a new language's begins as the mean of, without `like`."""


@dataclass(frozen=True)
class NewLanguage:
    """A language to add."""

    language: str
    like: str | None
    """The language whose token its token begins as; None for the most similar ones."""


class Cost(NamedTuple):
    """How a vocabulary cuts text."""

    tokens_per_character: float
    unknown_characters: int


class Extension(NamedTuple):
    """A vocabulary with a language more."""

    vocabulary: Vocabulary
    model: bytes
    pieces: list[NewPiece]
    before: Cost
    after: Cost
    changed: int
    """Old sentences whose tokens changed."""


def extend_model(
    model: Path, languages: Sequence[NewLanguage], text: Path, output: Path, config: ExtendConfig
) -> Summary:
    """Write a model with tokens of more languages, and pieces of their text; runs as a job.

    Args:
        model: The model directory.
        languages: What is added, one after the other.
        text: Text of theirs, as `<language>.txt` or sentences; text of the model's languages there
            is checked to be cut as before.
        output: Directory of the new model.
        config: How pieces are chosen.

    Raises:
        UserError: If the model has a language already, there is no text of one, or too much of the
            old languages' text would be cut otherwise.
    """
    vocabulary = Vocabulary.load(model / VOCABULARY_DIRECTORY)
    files = text_files([text])
    for new in languages:
        if new.language in vocabulary.languages:
            raise UserError(f"{model} has `{new.language}` already")
        if new.like is not None:
            vocabulary.language_index(new.like)
        if not any(file.language == new.language for file in files):
            raise UserError(f"{text} has no text of `{new.language}`")
    inputs = [model / WEIGHTS_FILE, model / DESCRIPTION_FILE]
    inputs += [model / VOCABULARY_DIRECTORY / name for name in (MODEL_FILE, LAYOUT_FILE)]
    inputs += [file.path for file in files]
    inputs += _flores_files(config, vocabulary)
    task = Task(
        name="model",
        inputs=tuple(inputs),
        arguments={"languages": {new.language: new.like for new in languages}},
    )
    work = functools.partial(
        _extend, model=model, languages=languages, files=files, output=output, config=config
    )
    return run_job(name="extend", tasks=[task], work=work, output=output, config=config)


def _flores_files(config: ExtendConfig, vocabulary: Vocabulary) -> list[Path]:
    if config.flores is None:
        return []
    there = split_languages(config.flores, config.split)
    return [
        split_file(config.flores, config.split, language)
        for language in vocabulary.languages
        if find_language(language, there)
    ]


def _extend(
    task: Task,
    model: Path,
    languages: Sequence[NewLanguage],
    files: Sequence[TextFile],
    output: Path,
    config: ExtendConfig,
) -> Outcome:
    description = read_description(model)
    vocabulary = Vocabulary.load(model / VOCABULARY_DIRECTORY)
    pieces = (model / VOCABULARY_DIRECTORY / MODEL_FILE).read_bytes()
    embedding, stored = _read_embedding(model / WEIGHTS_FILE)
    old = _old_lines(vocabulary, files, config)
    rows = [embedding]
    measures: dict[str, Any] = {"old_sentences": sum(map(len, old.values())), "languages": {}}
    for new in languages:
        lines = _lines(files, new.language, config.max_sentences)
        like = (
            [new.like]
            if new.like is not None
            else _most_similar(vocabulary, torch.cat(rows), lines, old, new.language)
        )
        extension = add_language(vocabulary, pieces, new.language, lines, old, config)
        rows.append(
            _new_rows(extension, vocabulary, torch.cat(rows), [language_symbol(x) for x in like])
        )
        measures["languages"][new.language] = _measures(extension, like, len(lines))
        vocabulary, pieces = extension.vocabulary, extension.model
    lacking = [s for s in (*TAG_SYMBOLS.values(), MASK_SYMBOL) if s not in vocabulary.symbols]
    vocabulary = vocabulary.extended(pieces, lacking)
    mean = torch.cat(rows)[vocabulary.text_indices].mean(0, keepdim=True)
    rows.append(mean.repeat(len(lacking), 1))
    outputs = _write(output, model / WEIGHTS_FILE, stored, torch.cat(rows[1:]), vocabulary, pieces)
    write_json(output / MEASURES_FILE, {**measures, "added_symbols": lacking})
    _log(measures)
    shape = replace(description.config, vocab_size=vocabulary.size)
    outputs.append(describe_model(output, shape, description.directions))
    added = sum(one["new_pieces"] for one in measures["languages"].values())
    counts = {"languages": len(languages), "pieces": added, "symbols": len(lacking)}
    counts["tokens"] = vocabulary.size
    return Outcome(counts=counts, outputs=(*outputs, output / MEASURES_FILE))


def add_language(
    vocabulary: Vocabulary,
    model: bytes,
    language: str,
    lines: Sequence[str],
    old: Mapping[str, Sequence[str]],
    config: ExtendConfig,
) -> Extension:
    """Return a vocabulary with a language's token, and with pieces if its text needs them.

    Pieces that occur in old text are replaced by others while that text changes too much.

    Args:
        vocabulary: What there is.
        model: Its SentencePiece model.
        language: The language.
        lines: Its text.
        old: Sentences of other languages, which are to be cut as before.
        config: How pieces are chosen.

    Raises:
        UserError: If more than `max_changed_share` of the old sentences would be cut otherwise.
    """
    cut = cut_words(vocabulary.pieces, [normalize(line) for line in lines])
    before = measure(vocabulary, lines)
    sentences = [line for own in old.values() for line in own]
    cut_before = vocabulary.encode(sentences)
    forbidden: set[str] = set()
    changed: list[int] = []
    for _ in range(_ROUNDS):
        pieces = learn_pieces(
            vocabulary.pieces,
            cut,
            max_pieces=config.max_pieces,
            min_count=config.min_count,
            tokens_per_character=config.tokens_per_character,
            forbidden=forbidden,
        )
        if pieces and not sentences:
            raise UserError(
                f"text of `{language}` needs new pieces, and there is no text to check that other"
                " languages are cut as before: give `flores`, or text of the model's languages"
                " beside it; or set `max_pieces` to 0"
            )
        longer = append_pieces(model, pieces)
        extended = vocabulary.extended(longer, [language_symbol(language)])
        cut_after = extended.encode(sentences)
        # A character that was unknown is gained; only what was cut well counts as cut otherwise.
        gained = {vocabulary.size + i for i, piece in enumerate(pieces) if not piece.halves}
        gained.add(vocabulary.unknown_index)
        changed = [
            i
            for i, own in enumerate(cut_after)
            if own != cut_before[i] and _without(own, gained) != _without(cut_before[i], gained)
        ]
        if len(changed) <= config.max_changed_share * len(sentences):
            after = measure(extended, lines)
            return Extension(extended, longer, pieces, before, after, len(changed))
        used = {token for i in changed for token in cut_after[i] if token >= vocabulary.size}
        forbidden |= {pieces[token - vocabulary.size].text for token in used}
    raise UserError(
        f"with pieces for `{language}`, {len(changed):,} of {len(sentences):,} old sentences would"
        f" be cut otherwise, more than `max_changed_share`, {config.max_changed_share:g}; raise"
        " `min_count`, or lower `max_pieces`"
    )


def _without(tokens: Sequence[int], characters: Set[int]) -> list[int]:
    return [token for token in tokens if token not in characters]


def measure(vocabulary: Vocabulary, lines: Sequence[str]) -> Cost:
    """Return how a vocabulary cuts text."""
    cut = cut_words(vocabulary.pieces, [normalize(line) for line in lines])
    return Cost(cut.tokens / max(cut.characters, 1), sum(cut.unknown.values()))


def _lines(files: Sequence[TextFile], language: str, limit: int) -> list[str]:
    own = (file for file in files if file.language == language)
    sentences = (line for file in own for batch in read_text(file.path) for line in batch if line)
    return list(itertools.islice(sentences, limit))


def _old_lines(
    vocabulary: Vocabulary, files: Sequence[TextFile], config: ExtendConfig
) -> dict[str, list[str]]:
    """Return text of the vocabulary's languages: of FLORES, and what was given."""
    old = {}
    for language in sorted({file.language for file in files} & set(vocabulary.languages)):
        old[language] = _lines(files, language, config.max_sentences)
    if config.flores is not None:
        there = split_languages(config.flores, config.split)
        covered = [one for one in vocabulary.languages if find_language(one, there)]
        for language, lines in read_split(config.flores, config.split, covered).items():
            old[language] = [*old.get(language, []), *lines]
    return old


def _read_embedding(weights: Path) -> tuple[Tensor, Stored]:
    stored = next(tensor for name, tensor in read_header(weights).items() if name in OUR_EMBEDDINGS)
    embedding = torch.empty(stored.shape)
    read_into(stored, embedding)
    return embedding, stored


def _most_similar(
    vocabulary: Vocabulary,
    rows: Tensor,
    lines: Sequence[str],
    old: Mapping[str, Sequence[str]],
    language: str,
) -> list[str]:
    """Return the languages whose text is most like a new one's, the most similar first.

    Each is the mean embedding of its text's tokens, less the mean over languages; the similarity of
    two is the cosine.
    """
    if not old:
        raise UserError(
            f"nothing tells which languages `{language}` is like: give --like, or `flores`, or text"
            " of the model's languages beside its own"
        )
    names = [language, *old]
    means = torch.stack([_mean_row(vocabulary, rows, own) for own in (lines, *old.values())])
    means = torch.nn.functional.normalize(means - means.mean(0), dim=1)
    order = (means[1:] @ means[0]).argsort(descending=True)[:_SIMILAR]
    return [names[1 + int(i)] for i in order]


def _mean_row(vocabulary: Vocabulary, rows: Tensor, lines: Sequence[str]) -> Tensor:
    tokens, _ = vocabulary.encode_flat(lines)
    indices, counts = np.unique(tokens, return_counts=True)
    weights = torch.from_numpy(counts / max(counts.sum(), 1)).float()
    return weights @ rows[torch.from_numpy(indices.astype(np.int64))]


def _new_rows(
    extension: Extension, vocabulary: Vocabulary, rows: Tensor, like: Sequence[str]
) -> Tensor:
    """Return the embeddings of new pieces, then of the language's token: means of what is there."""
    indices: NDArray[np.int32] = vocabulary.piece_indices
    new = [
        rows[[int(indices[vocabulary.pieces.piece_to_id(part)]) for part in piece.parts]].mean(0)
        for piece in extension.pieces
    ]
    new.append(rows[[vocabulary.symbols[symbol] for symbol in like]].mean(0))
    return torch.stack(new)


def _write(
    output: Path,
    weights: Path,
    stored: Stored,
    new_rows: Tensor,
    vocabulary: Vocabulary,
    pieces: bytes,
) -> list[Path]:
    """Write vocabulary and weights; all weights but the new rows go from file to file."""
    folder = output / VOCABULARY_DIRECTORY
    with atomic_path(folder / MODEL_FILE) as temporary:
        temporary.write_bytes(pieces)
    write_json(folder / LAYOUT_FILE, vocabulary.layout())
    with atomic_path(output / "new_rows.safetensors") as temporary:
        safetensors.torch.save_file({"rows": new_rows}, temporary)
        (added,) = read_header(temporary).values()
        tensors = []
        for name, tensor in read_header(weights).items():
            spans, shape = [whole(tensor)], tensor.shape
            if name == stored.key:
                spans, shape = [*spans, whole(added)], (vocabulary.size, *tensor.shape[1:])
            tensors.append(NewTensor(name, tensor.dtype, shape, tuple(spans)))
        write_tensors(output / WEIGHTS_FILE, tensors)
    (output / "new_rows.safetensors").unlink()
    return [folder / MODEL_FILE, folder / LAYOUT_FILE, output / WEIGHTS_FILE]


def _measures(extension: Extension, like: Sequence[str], sentences: int) -> dict[str, Any]:
    return {
        "sentences": sentences,
        "new_pieces": len(extension.pieces),
        "before": extension.before._asdict(),
        "after": extension.after._asdict(),
        "old_sentences_changed": extension.changed,
        "token_like": list(like),
    }


def _log(measures: Mapping[str, Any]) -> None:
    rows = []
    counts: Counter[str] = Counter()
    for language, own in measures["languages"].items():
        counts["changed"] += own["old_sentences_changed"]
        rows.append(
            [
                language,
                own["new_pieces"],
                *(f"{own[when]['tokens_per_character']:.3f}" for when in ("before", "after")),
                *(own[when]["unknown_characters"] for when in ("before", "after")),
                ", ".join(own["token_like"]),
            ]
        )
    header = ["language", "pieces", "tokens/character", "after", "unknown", "after", "token like"]
    logger.info("%s", format_table(header, rows))
    logger.info(
        "%d of %s old sentences are cut otherwise",
        counts["changed"],
        f"{measures['old_sentences']:,}",
    )
