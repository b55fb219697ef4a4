"""The tokens that files of transformers add to SentencePiece's, with their ids.

`tokenizer_config.json` numbers them in `added_tokens_decoder`; older checkpoints in
`added_tokens.json`, and `tokenizer.json` in `added_tokens`; the oldest not at all: there the
languages follow the pieces in the order of `additional_special_tokens`, and `<mask>` follows them.
transformers 4.57 reads them in this order (`PreTrainedTokenizerBase._from_pretrained`).
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import sentencepiece

from corpus.errors import DataError, UserError
from corpus.files import read_json
from nmt.vocabulary.vocabulary import CONTROL_SYMBOLS, MASK_SYMBOL, PIECE_OFFSET

logger = logging.getLogger(__name__)

PIECES_FILE = "sentencepiece.bpe.model"
TOKENIZER_FILE = "tokenizer_config.json"
SYMBOLS_FILE = "special_tokens_map.json"
ADDED_FILE = "added_tokens.json"
FAST_FILE = "tokenizer.json"

_CONTROLS = ("bos_token", "pad_token", "eos_token", "unk_token")
_LISTS = ("additional_special_tokens", "extra_special_tokens")
"""Names of the languages' list, by transformers 4 and 5."""
_OURS = dict(zip(_CONTROLS, CONTROL_SYMBOLS, strict=True))
_FLAG = "single_word"
"""What a word here cannot be. `lstrip` and `rstrip` drop spaces, which SentencePiece drops too."""


class AddedTokens(NamedTuple):
    """Tokens behind the pieces."""

    names: dict[int, str]
    """By id, rising."""

    words: frozenset[int]
    """Those that are ordinary text: `special` is false."""

    are_numbered: bool
    """Whether a file gives the ids."""


class _Token(NamedTuple):
    content: str
    is_special: bool
    is_single_word: bool


def read_added_tokens(
    directory: Path, processor: sentencepiece.SentencePieceProcessor
) -> AddedTokens:
    """Return the tokens that a checkpoint's files add to the pieces.

    Args:
        directory: The checkpoint.
        processor: Its pieces.

    Raises:
        UserError: If an ordinary word is to stand alone only, or a control symbol has another name.
        DataError: If a file is damaged, or the files contradict each other or the pieces.
    """
    tokenizer, symbols = (read_object(directory / name) for name in (TOKENIZER_FILE, SYMBOLS_FILE))
    if tokenizer.get("added_tokens_decoder"):  # transformers reads no other file then
        symbols = {}
    _check_controls(directory, tokenizer, symbols)
    special = _special_names(directory, tokenizer, symbols)
    numbered = _numbered(directory, tokenizer, special)
    first = processor.get_piece_size() + PIECE_OFFSET
    _check_pieces(directory, processor)
    names: dict[int, str] = {}
    words = set()
    for index, token in sorted(numbered.items()):
        if _stands_there(directory, index, token, processor):
            continue
        if not token.is_special and token.content not in special:
            words.add(index)
            if token.is_single_word:
                raise UserError(
                    f"{directory}: the added word `{token.content}` has {_FLAG}, which models here"
                    " do not support"
                )
        names[index] = token.content
    is_closed = bool(tokenizer.get("added_tokens_decoder"))
    _place_others(directory, special, names, first, is_closed=is_closed)
    if names and first not in names:
        raise DataError(
            f"{directory}: {PIECES_FILE} has {first - PIECE_OFFSET:,} pieces, so that added tokens"
            f" begin at {first:,}; the first, `{names[min(names)]}`, is {min(names):,}. It is not"
            " the SentencePiece model of this checkpoint."
        )
    repeated = [name for name in names.values() if list(names.values()).count(name) > 1]
    if repeated:
        raise DataError(f"{directory}: the token `{repeated[0]}` has two ids")
    return AddedTokens(dict(sorted(names.items())), frozenset(words), bool(numbered))


def _place_others(
    directory: Path, special: list[str], names: dict[int, str], first: int, *, is_closed: bool
) -> None:
    """Give special tokens without a number the free ids behind the pieces, in their order."""
    missing = [name for name in special if name not in names.values()]
    if missing and is_closed and missing != [MASK_SYMBOL]:
        raise DataError(
            f"{directory / TOKENIZER_FILE}: `{missing[0]}` is a special token, and"
            " `added_tokens_decoder` has no id of it"
        )
    if is_closed:
        return
    free = (
        index for index in range(first, first + len(special) + len(names)) if index not in names
    )
    names.update(dict(zip(free, missing, strict=False)))


def _stands_there(
    directory: Path, index: int, token: _Token, processor: sentencepiece.SentencePieceProcessor
) -> bool:
    """Whether an added token only repeats what its id means anyway: a control symbol or a piece.

    Raises:
        DataError: If something else stands there.
    """
    if index >= processor.get_piece_size() + PIECE_OFFSET:
        return False
    if index < len(CONTROL_SYMBOLS):
        there = CONTROL_SYMBOLS[index]
    else:
        there = processor.id_to_piece(index - PIECE_OFFSET)
    if index < 0 or there != token.content:
        raise DataError(
            f"{directory}: the added token `{token.content}` has the id {index}, where"
            f" {PIECES_FILE} has `{there}`; the tokenizer's files are not of one checkpoint"
        )
    return True


def _numbered(
    directory: Path, tokenizer: Mapping[str, Any], special: list[str]
) -> dict[int, _Token]:
    """Return the tokens that a file gives ids."""
    by_config = _decoder(directory / TOKENIZER_FILE, tokenizer.get("added_tokens_decoder") or {})
    by_list = {
        index: _Token(content, content in special, False)
        for content, index in _numbers(directory / ADDED_FILE).items()
    }
    by_fast = _fast_tokens(directory / FAST_FILE)
    numbered = by_config or {**by_list, **by_fast}
    for path, others in ((ADDED_FILE, by_list), (FAST_FILE, by_fast)):
        ids = {token.content: index for index, token in numbered.items()}
        for index, token in others.items():
            if ids.get(token.content, index) != index:
                raise DataError(
                    f"{directory}: `{token.content}` is {index} by {path} and {ids[token.content]}"
                    f" by {TOKENIZER_FILE if by_config else FAST_FILE}; which of them the embedding"
                    " was trained with cannot be told"
                )
    return numbered


def _decoder(path: Path, added: Any) -> dict[int, _Token]:
    if not isinstance(added, dict):
        raise DataError(f"{path}: `added_tokens_decoder` is not an object")
    try:
        return {int(index): _token(token) for index, token in added.items()}
    except ValueError as error:
        raise DataError(f"{path}: `added_tokens_decoder` is damaged: {error}") from error


def _numbers(path: Path) -> dict[str, int]:
    numbers = read_object(path)
    for content, index in numbers.items():
        if not isinstance(index, int) or isinstance(index, bool):
            raise DataError(f"{path}: `{content}` is {index!r}, no id")
    return numbers


def _fast_tokens(path: Path) -> dict[int, _Token]:
    added = read_object(path).get("added_tokens") or []
    try:
        return {int(token["id"]): _token(token) for token in added}
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(f"{path}: `added_tokens` is damaged: {error}") from error


def _check_pieces(directory: Path, processor: sentencepiece.SentencePieceProcessor) -> None:
    """Refuse a `tokenizer.json` whose pieces are not SentencePiece's.

    Raises:
        DataError: Naming the first that differs.
    """
    path = directory / FAST_FILE
    model = read_object(path).get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, list):  # Unigram: pieces and scores
        vocabulary = {str(entry[0]): i for i, entry in enumerate(vocabulary) if entry}
    if not isinstance(vocabulary, dict) or not vocabulary:
        return
    for piece in range(3, processor.get_piece_size()):
        content = processor.id_to_piece(piece)
        if vocabulary.get(content) != piece + PIECE_OFFSET:
            raise DataError(
                f"{path}: `{content}` has the id {vocabulary.get(content)}, by {PIECES_FILE} it is"
                f" {piece + PIECE_OFFSET}; they are not of one checkpoint"
            )


def _check_controls(
    directory: Path, tokenizer: Mapping[str, Any], symbols: Mapping[str, Any]
) -> None:
    for files, path in ((tokenizer, TOKENIZER_FILE), (symbols, SYMBOLS_FILE)):
        for name, ours in _OURS.items():
            value = files.get(name)
            if value is not None and _content_in(directory / path, value) != ours:
                raise UserError(
                    f"{directory / path}: `{name}` is `{_content_in(directory / path, value)}`; in"
                    f" NLLB's layout it is `{ours}`"
                )


def _special_names(
    directory: Path, tokenizer: Mapping[str, Any], symbols: Mapping[str, Any]
) -> list[str]:
    """Return the special tokens besides the control symbols, as older checkpoints order them."""
    names = []
    for files, path in ((tokenizer, TOKENIZER_FILE), (symbols, SYMBOLS_FILE)):
        for key in _LISTS:
            listed = files.get(key) or []
            if not isinstance(listed, list):
                raise DataError(f"{directory / path}: `{key}` is not a list")
            names += [_content_in(directory / path, token) for token in listed]
    mask = symbols.get("mask_token") or tokenizer.get("mask_token")
    if mask:
        names.append(_content_in(directory / SYMBOLS_FILE, mask))
    return [name for name in dict.fromkeys(names) if name not in CONTROL_SYMBOLS]


def read_object(path: Path) -> dict[str, Any]:
    """Return a JSON object, an empty one where there is no file.

    Raises:
        DataError: If the file holds something else.
    """
    content = read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no object")
    return content


def _content_in(path: Path, token: object) -> str:
    try:
        return _token(token).content
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _token(token: object) -> _Token:
    """Return a token that is given as text or as an object.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(token, str):
        return _Token(token, True, False)
    if not isinstance(token, dict) or not isinstance(token.get("content"), str):
        raise ValueError(f"{token!r} is not a token")
    return _Token(token["content"], bool(token.get("special", True)), token.get(_FLAG) is True)
