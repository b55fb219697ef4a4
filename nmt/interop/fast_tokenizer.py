"""`tokenizer.json` of Hugging Face's tokenizers, from a SentencePiece model and back.

transformers 5 reads and writes this file only; from a SentencePiece model alone, its
`NllbTokenizer` cuts text otherwise: it ranks merges by the order of the pieces instead of their
scores, and turns two spaces into a token.
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

from corpus.errors import DataError, UserError
from nmt.vocabulary.vocabulary import CONTROL_SYMBOLS, PIECE_OFFSET

_TEXT_PIECES = 3
"""The first piece that is text; those before are <unk>, <s>, </s>."""

_BPE = 2
_NORMAL, _UNKNOWN, _CONTROL = 1, 2, 3
"""Numbers in SentencePiece's `sentencepiece_model.proto`."""

_NO_RULES = (1024).to_bytes(4, "little") + bytes(1024)
"""A table of normalization without a rule: the size of its trie, and a trie without an entry.
transformers 5 joins spaces only where a file has a table."""

_SPACE = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
_NORMALIZERS = ("Precompiled", "Strip", "Replace")
"""What SentencePiece's normalization is in this file."""


def write_fast_tokenizer(model: bytes, added: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return `tokenizer.json` of a SentencePiece model.

    Merges are ordered by the score of the piece that they make, as SentencePiece joins them.

    Args:
        model: SentencePiece's model; its first pieces are <unk>, <s>, </s>.
        added: Tokens that are not pieces, as that file lists them.

    Returns:
        The content, or None for a model that is not of byte-pair encoding or splits into bytes.
    """
    proto = ModelProto.FromString(model)
    if proto.trainer_spec.model_type != _BPE or proto.trainer_spec.byte_fallback:
        return None
    pieces = {piece.piece: piece.score for piece in proto.pieces[_TEXT_PIECES:]}
    indices = {symbol: index for index, symbol in enumerate(CONTROL_SYMBOLS)}
    indices |= {piece: index for index, piece in enumerate(pieces, len(CONTROL_SYMBOLS))}
    merges = [
        (-score, -place, piece[:place], piece[place:])
        for piece, score in pieces.items()
        for place in range(1, len(piece))
        if piece[:place] in pieces and piece[place:] in pieces
    ]
    rules = proto.normalizer_spec.precompiled_charsmap or _NO_RULES
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": list(added),
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(rules).decode()},
                {"type": "Strip", "strip_left": False, "strip_right": True},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"},
            ],
        },
        "pre_tokenizer": _SPACE,
        "post_processor": None,
        "decoder": _SPACE,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": CONTROL_SYMBOLS[3],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": indices,
            "merges": [[left, right] for _, _, left, right in sorted(merges)],
        },
    }


def read_fast_tokenizer(path: Path, content: Mapping[str, Any]) -> bytes:
    """Return the SentencePiece model that cuts text as a `tokenizer.json` does.

    A piece's score is the rank of the first merge that makes it, negative.

    Raises:
        UserError: If it is not byte-pair encoding, or normalizes text otherwise than SentencePiece.
        DataError: If it is damaged, or its ids are not NLLB's.
    """
    model = content.get("model")
    if not isinstance(model, dict) or model.get("type") != "BPE" or model.get("byte_fallback"):
        raise UserError(
            f"{path}: only byte-pair encoding can be imported without a SentencePiece model"
        )
    try:
        indices: dict[str, int] = dict(model["vocab"])
        merges = [
            merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]
        ]
        made = ["".join(merge) for merge in merges]
        ordered = sorted(indices, key=indices.__getitem__)
        rules = _normalization(path, content.get("normalizer"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is damaged: {error!r}") from error
    controls = tuple(ordered[: len(CONTROL_SYMBOLS)])
    if controls != CONTROL_SYMBOLS or list(indices.values()).count(0) != 1:
        raise DataError(
            f"{path}: the first ids are {', '.join(controls)}, not {', '.join(CONTROL_SYMBOLS)}"
        )
    if [indices[piece] for piece in ordered] != list(range(len(ordered))):
        raise DataError(f"{path}: the pieces are not numbered without gaps")
    ranks: dict[str, int] = {}
    for rank, piece in enumerate(made):
        ranks.setdefault(piece, rank)
    proto = ModelProto()
    for symbol, kind in zip(("<unk>", "<s>", "</s>"), (_UNKNOWN, _CONTROL, _CONTROL), strict=True):
        proto.pieces.add(piece=symbol, score=0.0, type=kind)
    for index, piece in enumerate(ordered[len(CONTROL_SYMBOLS) :]):
        rank = ranks.get(piece, len(made) + index)
        proto.pieces.add(piece=piece, score=-float(rank), type=_NORMAL)
    trainer, normalizer = proto.trainer_spec, proto.normalizer_spec
    trainer.model_type, trainer.vocab_size = _BPE, len(ordered) - PIECE_OFFSET
    trainer.unk_id, trainer.bos_id, trainer.eos_id, trainer.pad_id = 0, 1, 2, -1
    normalizer.name, normalizer.precompiled_charsmap = "identity" if not rules else "", rules
    return bytes(proto.SerializeToString(deterministic=True))


def _normalization(path: Path, normalizer: Mapping[str, Any] | None) -> bytes:
    """Return the table of normalization, empty if there is no rule.

    Raises:
        UserError: If there is something else.
    """
    parts = [] if normalizer is None else normalizer.get("normalizers", [normalizer])
    other = [part["type"] for part in parts if part["type"] not in _NORMALIZERS]
    if other:
        raise UserError(f"{path} normalizes text by `{other[0]}`, which SentencePiece lacks")
    tables = [part["precompiled_charsmap"] for part in parts if part["type"] == "Precompiled"]
    rules = base64.b64decode(tables[0], validate=True) if tables else b""
    return b"" if rules == _NO_RULES else rules
