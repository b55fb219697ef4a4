"""Vocabularies: transformers' tokenizer files to ours and back.

`NllbTokenizer` has `<s> <pad> </s> <unk>` first, then the pieces of SentencePiece that are text,
then what `tokenizer_config.json` or `special_tokens_map.json` add: the languages, `<mask>` and any
others. A language is `eng_Latn` there and `__eng_Latn__` here.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sentencepiece

from corpus.errors import DataError, UserError
from corpus.files import read_json
from corpus.languages import is_language
from nmt.vocabulary.vocabulary import (
    CONTROL_SYMBOLS,
    MASK_SYMBOL,
    MODEL_FILE,
    PIECE_OFFSET,
    TAG_SYMBOLS,
    Vocabulary,
    language_symbol,
)

logger = logging.getLogger(__name__)

PIECES_FILE = "sentencepiece.bpe.model"
TOKENIZER_FILE = "tokenizer_config.json"
SYMBOLS_FILE = "special_tokens_map.json"

_OTHER_CODES = {"sat_Beng": "sat_Olck"}
"""NLLB-200 names Santali after the wrong script; its text is in Ol Chiki, as in FLORES-200."""

_PAD_PIECE = "<pad>"
_TEXT_PIECES = 3
"""The first piece that is text; those before are <unk>, <s>, </s>."""

_PIECE_FIELD = b"\x0a"
"""Tag of `pieces`, the first field of SentencePiece's model, and of `piece` within one of them."""


class TokenizerFiles(NamedTuple):
    """A vocabulary as `NllbTokenizer` reads it."""

    pieces: bytes
    """SentencePiece's model."""
    tokenizer: Mapping[str, Any]
    symbols: Mapping[str, Any]
    rows: tuple[int, ...]
    """Our index of each of its ids."""


def import_vocabulary(directory: Path, size: int) -> tuple[bytes, Vocabulary]:
    """Return SentencePiece's model of a checkpoint and its vocabulary; indices are its ids.

    Where the languages are followed by `<mask>` and two rows without a name, as in NLLB-200's own
    checkpoints, the three are the data-source tags that they were trained as: fairseq added no mask
    (fairseq2, `fairseq2/models/nllb/tokenizer.py`, has the same order).

    Args:
        directory: The checkpoint.
        size: Rows of its embedding.

    Raises:
        UserError: If there is no SentencePiece model, or nothing tells the languages.
        DataError: If the files do not fit each other.
    """
    path = directory / PIECES_FILE
    if not path.is_file():
        raise UserError(f"{directory} has no {PIECES_FILE}, NllbTokenizer's pieces")
    model = path.read_bytes()
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(model)
    except RuntimeError as error:
        raise DataError(f"{path} is no SentencePiece model: {error}") from error
    first = processor.get_piece_size() + PIECE_OFFSET
    named = _named_tokens(directory, first)
    outside = [content for index, content in named.items() if index >= size]
    if outside:
        raise DataError(f"{directory}: `{outside[0]}` is beyond the embedding's {size:,} rows")
    symbols = {symbol: i for i, symbol in enumerate(CONTROL_SYMBOLS)}
    symbols |= _symbols(named, first, size)
    languages = [_their_name(symbol) for symbol in symbols if _their_name(symbol) != symbol]
    if not languages:
        raise UserError(
            f"{directory}: neither {TOKENIZER_FILE} nor {SYMBOLS_FILE} names the languages' tokens"
        )
    try:
        vocabulary = Vocabulary(
            model, languages, symbols=symbols, piece_offset=PIECE_OFFSET, size=size
        )
    except ValueError as error:
        raise DataError(
            f"{directory}: the tokenizer's files do not fit each other: {error}"
        ) from error
    return model, vocabulary


def _named_tokens(directory: Path, first: int) -> dict[int, str]:
    """Return the tokens behind the pieces by id, as transformers numbers them."""
    tokenizer = _read(directory / TOKENIZER_FILE)
    added = tokenizer.get("added_tokens_decoder")
    if isinstance(added, dict) and added:
        try:
            tokens = {int(index): _content(token) for index, token in added.items()}
        except ValueError as error:
            raise DataError(
                f"{directory / TOKENIZER_FILE}: `added_tokens_decoder` is damaged: {error}"
            ) from error
        return {index: content for index, content in sorted(tokens.items()) if index >= first}
    symbols = _read(directory / SYMBOLS_FILE)
    languages = symbols.get("additional_special_tokens") or tokenizer.get(
        "additional_special_tokens"
    )
    if not isinstance(languages, list):
        return {}
    mask = symbols.get("mask_token") or tokenizer.get("mask_token")
    try:
        names = [*map(_content, languages), *([_content(mask)] if mask else [])]
    except ValueError as error:
        raise DataError(f"{directory / SYMBOLS_FILE}: {error}") from error
    return {first + i: content for i, content in enumerate(dict.fromkeys(names))}


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no object")
    return content


def _content(token: object) -> str:
    content = token.get("content") if isinstance(token, dict) else token
    if not isinstance(content, str):
        raise ValueError(f"{token!r} is no token")
    return content


def _symbols(named: Mapping[int, str], first: int, size: int) -> dict[str, int]:
    names = dict(named)
    if names:
        last = max(names)
        if names[last] == MASK_SYMBOL and size - last == len(TAG_SYMBOLS):
            names |= {last + i: symbol for i, symbol in enumerate(TAG_SYMBOLS.values())}
    symbols = {}
    for index, content in sorted(names.items()):
        code = _OTHER_CODES.get(content, content)
        symbols[language_symbol(code) if is_language(code) else content] = index
    unnamed = size - first - len(symbols)
    if unnamed > 0:
        logger.info("%d rows of the embedding have no token", unnamed)
    return symbols


def export_vocabulary(directory: Path, *, nllb_codes: bool = False) -> TokenizerFiles:
    """Return a vocabulary as transformers' `NllbTokenizer` reads it.

    Args:
        directory: The vocabulary.
        nllb_codes: Name languages as NLLB-200's tokenizer does where FLORES-200 has another code;
            else there is a warning, as that tokenizer takes an unknown name for `<unk>`.

    Raises:
        UserError: If SentencePiece's control symbols stand where `NllbTokenizer` has no place for
            them.
    """
    vocabulary = Vocabulary.load(directory)
    model = (directory / MODEL_FILE).read_bytes()
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    offset: int = vocabulary.layout()["piece_offset"]
    if processor.pad_id() == 0:
        model, offset = without_first_piece(model), offset + 1
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    controls = (processor.unk_id(), processor.bos_id(), processor.eos_id())
    if controls != (0, 1, 2) or processor.pad_id() >= 0:
        raise UserError(
            f"{directory / MODEL_FILE}: transformers' NllbTokenizer needs <unk>, <s>, </s> as the"
            f" pieces 0, 1, 2 and no <pad>; they are {controls}"
        )
    symbols: dict[str, int] = vocabulary.layout()["symbols"]
    after = [symbol for symbol in symbols if symbol not in CONTROL_SYMBOLS]
    pieces = [piece + offset for piece in range(_TEXT_PIECES, processor.get_piece_size())]
    rows = [symbols[symbol] for symbol in CONTROL_SYMBOLS] + pieces + [symbols[s] for s in after]
    rows += sorted(set(range(vocabulary.size)) - set(rows))
    names = [_their_name(symbol) for symbol in after]
    contents = [*CONTROL_SYMBOLS, *(_nllb_names(names) if nllb_codes else names)]
    if not nllb_codes:
        _warn_of_codes(names)
    first = len(CONTROL_SYMBOLS) + len(pieces)
    ids = [*range(len(CONTROL_SYMBOLS)), *range(first, first + len(after))]
    return TokenizerFiles(model, _tokenizer(contents, ids), _symbol_map(contents), tuple(rows))


def _their_name(symbol: str) -> str:
    inside = symbol.removeprefix("__").removesuffix("__")
    return inside if symbol == language_symbol(inside) else symbol


def _nllb_names(names: Sequence[str]) -> list[str]:
    theirs = {ours: code for code, ours in _OTHER_CODES.items()}
    return [theirs.get(name, name) for name in names]


def _warn_of_codes(names: Sequence[str]) -> None:
    for name, theirs in zip(names, _nllb_names(names), strict=True):
        if name != theirs:
            logger.warning(
                "`%s` is `%s` in NLLB-200's own tokenizer, which programs written for it may ask"
                " for; `--config nllb_codes=true` writes that name", name, theirs,
            )  # fmt: skip


def _symbol_map(contents: list[str]) -> dict[str, Any]:
    begin, pad, end, unknown = contents[: len(CONTROL_SYMBOLS)]
    mask = MASK_SYMBOL if MASK_SYMBOL in contents else None
    others = [name for name in contents[len(CONTROL_SYMBOLS) :] if name != MASK_SYMBOL]
    return {
        "bos_token": begin, "cls_token": begin, "eos_token": end, "sep_token": end,
        "unk_token": unknown, "pad_token": pad, **({"mask_token": mask} if mask else {}),
        "additional_special_tokens": others,
    }  # fmt: skip


def _tokenizer(contents: list[str], ids: list[int]) -> dict[str, Any]:
    return {
        "added_tokens_decoder": {
            str(index): {
                "content": content, "lstrip": content == MASK_SYMBOL, "normalized": False,
                "rstrip": False, "single_word": False, "special": True,
            }
            for index, content in zip(ids, contents, strict=True)
        },
        "clean_up_tokenization_spaces": False,
        "legacy_behaviour": False,
        "mask_token": None,
        **_symbol_map(contents),
        "tokenizer_class": "NllbTokenizer",
    }  # fmt: skip


def without_first_piece(model: bytes) -> bytes:
    """Return a SentencePiece model without its first piece; the others move down by one.

    The model is a protocol buffer whose first field, repeated, are the pieces.

    Raises:
        ValueError: If the first piece is not `<pad>`.
    """
    begin, length = _read_varint(model, len(_PIECE_FIELD))
    name = _PIECE_FIELD + bytes([len(_PAD_PIECE)]) + _PAD_PIECE.encode()
    if not model.startswith(_PIECE_FIELD) or not model[begin:].startswith(name):
        raise ValueError("the SentencePiece model does not begin with the piece <pad>")
    return model[begin + length :]


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    """Return the place behind a number of variable length, and the number."""
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return place, value
