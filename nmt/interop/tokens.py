"""Converts vocabularies from and to transformers' tokenizer files.

`NllbTokenizer` has `<s> <pad> </s> <unk>` first, then the pieces of SentencePiece that are text,
then what `tokenizer_config.json` or `special_tokens_map.json` add: the languages, `<mask>` and any
others. A language is `eng_Latn` there and `__eng_Latn__` here.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sentencepiece
from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

from corpus.errors import DataError, UserError
from corpus.languages import is_language
from nmt.interop.added_tokens import (
    ADDED_FILE,
    FAST_FILE,
    PIECES_FILE,
    SYMBOLS_FILE,
    TOKENIZER_FILE,
    AddedTokens,
    read_added_tokens,
    read_object,
)
from nmt.interop.fast_tokenizer import read_fast_tokenizer, write_fast_tokenizer
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

FILES = (TOKENIZER_FILE, SYMBOLS_FILE, ADDED_FILE, FAST_FILE)

_CODE = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}(?:_[a-z0-9]+)?")
"""A language, its script, and in FLORES+ its variety."""

_OTHER_CODES = {"sat_Beng": "sat_Olck"}
"""NLLB-200 names Santali after the wrong script; its text is in Ol Chiki, as in FLORES-200."""

_PAD_PIECE = "<pad>"
_TEXT_PIECES = 3
"""The first piece that is text; those before are <unk>, <s>, </s>."""


class TokenizerFiles(NamedTuple):
    """A vocabulary as `NllbTokenizer` reads it."""

    pieces: bytes
    """SentencePiece's model."""
    tokenizer: Mapping[str, Any]
    symbols: Mapping[str, Any]
    fast: Mapping[str, Any] | None
    """`tokenizer.json`; None if the pieces are not of byte-pair encoding."""
    rows: tuple[int, ...]
    """Our index of each of its ids."""


def import_vocabulary(directory: Path, size: int) -> tuple[bytes, Vocabulary]:
    """Return SentencePiece's model of a checkpoint and its vocabulary; indices are its ids.

    Where there is only `tokenizer.json`, as transformers 5 writes it, the model is made from that.

    Where the languages are followed by `<mask>` and two rows without a name, as in NLLB-200's own
    checkpoints, the three are the data-source tags that they were trained as: fairseq added no mask
    (fairseq2, `fairseq2/models/nllb/tokenizer.py`, has the same order).

    Args:
        directory: The checkpoint.
        size: Rows of its embedding.

    Raises:
        UserError: If there are no pieces, nothing tells the languages, or a token is of a kind that
            ours cannot be.
        DataError: If the files do not fit each other.
    """
    path = directory / PIECES_FILE
    if path.is_file():
        model = path.read_bytes()
    elif (directory / FAST_FILE).is_file():
        model = read_fast_tokenizer(directory / FAST_FILE, read_object(directory / FAST_FILE))
    else:
        raise UserError(
            f"{directory} has neither {PIECES_FILE} nor {FAST_FILE}: nothing tells its pieces"
        )
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(model)
    except RuntimeError as error:
        raise DataError(f"{path} is not a SentencePiece model: {error}") from error
    tokens = read_added_tokens(directory, processor)
    outside = [content for index, content in tokens.names.items() if index >= size]
    if outside:
        raise DataError(f"{directory}: `{outside[0]}` is beyond the embedding's {size:,} rows")
    first = processor.get_piece_size() + PIECE_OFFSET
    names = _with_tags(tokens.names, size)
    words = {names.pop(index): index for index in tokens.words if index in names}
    symbols = {symbol: i for i, symbol in enumerate(CONTROL_SYMBOLS)} | _symbols(names)
    languages = [_their_name(symbol) for symbol in symbols if _their_name(symbol) != symbol]
    if not languages:
        raise UserError(f"{directory}: none of {', '.join(FILES)} names the languages' tokens")
    _check_size(directory, tokens, size - first - len(names) - len(words), first)
    try:
        vocabulary = Vocabulary(
            model,
            languages,
            symbols=symbols,
            piece_offset=PIECE_OFFSET,
            size=size,
            words=words,
            language_is_last=_is_legacy(directory),
        )
    except ValueError as error:
        raise DataError(
            f"{directory}: the tokenizer's files do not fit each other: {error}"
        ) from error
    return model, vocabulary


def _is_legacy(directory: Path) -> bool:
    """Return whether sources end in their language; see `NllbTokenizer`'s `legacy_behaviour`."""
    value = read_object(directory / TOKENIZER_FILE).get("legacy_behaviour", False)
    if not isinstance(value, bool):
        raise DataError(f"{directory / TOKENIZER_FILE}: `legacy_behaviour` is {value!r}")
    if value:
        logger.warning(
            "%s: `legacy_behaviour`: sources are translated as `[text, </s>, language]`; training"
            " here has `[language, text, </s>]`",
            directory / TOKENIZER_FILE,
        )
    return value


def _with_tags(names: Mapping[int, str], size: int) -> dict[int, str]:
    last = max(names, default=0)
    if names and names[last] == MASK_SYMBOL and size - last == len(TAG_SYMBOLS):
        return {**names, **{last + i: symbol for i, symbol in enumerate(TAG_SYMBOLS.values())}}
    return dict(names)


def _check_size(directory: Path, tokens: AddedTokens, unnamed: int, first: int) -> None:
    """Refuse a SentencePiece model that is not the one which the embedding was trained with."""
    if unnamed > 0 and not tokens.are_numbered:
        raise DataError(
            f"{directory}: the embedding has {unnamed:,} rows more than {PIECES_FILE} and the"
            f" tokenizer's files have tokens ({first:,} of them pieces), and no file says which"
            " rows they are. Is this the SentencePiece model that the checkpoint was trained with?"
            " transformers writes the numbers: NllbTokenizer.from_pretrained(DIR)"
            ".save_pretrained(DIR)"
        )
    if unnamed > 0:
        logger.info("%d rows of the embedding have no token", unnamed)


def _symbols(names: Mapping[int, str]) -> dict[str, int]:
    symbols = {}
    for index, content in sorted(names.items()):
        code = _OTHER_CODES.get(content, content)
        symbols[language_symbol(code) if _names_language(code) else content] = index
    return symbols


def _names_language(content: str) -> bool:
    """Whether a token is a language: one of FLORES-200, or an added one."""
    return is_language(content) or _CODE.fullmatch(content) is not None


def export_vocabulary(directory: Path, *, nllb_codes: bool = False) -> TokenizerFiles:
    """Return a vocabulary in the form of transformers' `NllbTokenizer`.

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
    indices = vocabulary.piece_indices
    if processor.pad_id() == 0:
        model, indices = without_first_piece(model), indices[1:]
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    controls = (processor.unk_id(), processor.bos_id(), processor.eos_id())
    if controls != (0, 1, 2) or processor.pad_id() >= 0:
        raise UserError(
            f"{directory / MODEL_FILE}: transformers' NllbTokenizer needs <unk>, <s>, </s> as the"
            f" pieces 0, 1, 2 and no <pad>; they are {controls}"
        )
    symbols: dict[str, int] = vocabulary.layout()["symbols"]
    after = [symbol for symbol in symbols if symbol not in CONTROL_SYMBOLS]
    pieces = indices[_TEXT_PIECES:].tolist()
    words: dict[str, int] = vocabulary.layout().get("words", {})
    named = [symbols[symbol] for symbol in after] + list(words.values())
    rows = [symbols[symbol] for symbol in CONTROL_SYMBOLS] + pieces + named
    rows += sorted(set(range(vocabulary.size)) - set(rows))
    names = [_their_name(symbol) for symbol in after]
    contents = [*CONTROL_SYMBOLS, *(_nllb_names(names) if nllb_codes else names)]
    if not nllb_codes:
        _warn_of_codes(names)
    first = len(CONTROL_SYMBOLS) + len(pieces)
    ids = [*range(len(CONTROL_SYMBOLS)), *range(first, first + len(after))]
    tokenizer = _tokenizer(contents, ids)
    for index, word in enumerate(words, first + len(after)):
        # Spaces before a word are dropped here; transformers 5 does so only with `lstrip`.
        spaces = {"special": False, "lstrip": True}
        tokenizer["added_tokens_decoder"][str(index)] = {**_added(word), **spaces}
    tokenizer["legacy_behaviour"] = vocabulary.language_is_last
    decoder = tokenizer["added_tokens_decoder"].items()
    added = [{"id": int(index), **token} for index, token in decoder]
    fast = write_fast_tokenizer(model, added)
    if fast is None:
        logger.warning(
            "%s is not of byte-pair encoding: transformers 5 will cut text otherwise than 4.57",
            directory / MODEL_FILE,
        )
    return TokenizerFiles(model, tokenizer, _symbol_map(contents), fast, tuple(rows))


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
                " for; `--config nllb_codes=true` writes that name",
                name,
                theirs,
            )


def _symbol_map(contents: list[str]) -> dict[str, Any]:
    begin, pad, end, unknown = contents[: len(CONTROL_SYMBOLS)]
    mask = MASK_SYMBOL if MASK_SYMBOL in contents else None
    others = [name for name in contents[len(CONTROL_SYMBOLS) :] if name != MASK_SYMBOL]
    return {
        "bos_token": begin,
        "cls_token": begin,
        "eos_token": end,
        "sep_token": end,
        "unk_token": unknown,
        "pad_token": pad,
        **({"mask_token": mask} if mask else {}),
        "additional_special_tokens": others,
    }


def _tokenizer(contents: list[str], ids: list[int]) -> dict[str, Any]:
    return {
        "added_tokens_decoder": {
            str(index): _added(content) for index, content in zip(ids, contents, strict=True)
        },
        "clean_up_tokenization_spaces": False,
        "legacy_behaviour": False,
        "mask_token": None,
        **_symbol_map(contents),
        "tokenizer_class": "NllbTokenizer",
    }


def _added(content: str) -> dict[str, Any]:
    return {
        "content": content,
        "lstrip": content == MASK_SYMBOL,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
        "special": True,
    }


def without_first_piece(model: bytes) -> bytes:
    """Return a SentencePiece model without its first piece; the others move down by one.

    Raises:
        ValueError: If the first piece is not `<pad>`.
    """
    proto = ModelProto.FromString(model)
    if proto.pieces[0].piece != _PAD_PIECE:
        raise ValueError("the SentencePiece model does not begin with the piece <pad>")
    del proto.pieces[0]
    return bytes(proto.SerializeToString(deterministic=True))
