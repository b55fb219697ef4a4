"""`tokenizer.json` from a SentencePiece model and back."""

import io
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from corpus.errors import DataError, UserError
from nmt.interop.fast_tokenizer import read_fast_tokenizer, write_fast_tokenizer

LINES = ["Ⅻ bara  kili", "barabara mo ", "kili ﬁ kilimo", "šegu mo domдом"]


def train(kind: str, normalization: str) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES * 10), model_writer=model, vocab_size=45, model_type=kind,
        normalization_rule_name=normalization, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


@pytest.mark.parametrize("normalization", ["identity", "nmt_nfkc"])
def test_model_made_from_the_file_cuts_text_as_the_one_that_it_was_made_of(
    normalization: str,
) -> None:
    model = train("bpe", normalization)
    content = write_fast_tokenizer(model, [])
    assert content is not None
    again = read_fast_tokenizer(Path("tokenizer.json"), content)
    read = sentencepiece.SentencePieceProcessor
    assert read(model_proto=again).encode(LINES) == read(model_proto=model).encode(LINES)


def test_unigram_model_has_no_such_file() -> None:
    # NllbTokenizer of transformers 5 would take it for byte-pair encoding.
    assert write_fast_tokenizer(train("unigram", "identity"), []) is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": {"type": "WordLevel", "vocab": {}}}, UserError, "only byte-pair encoding"),
        ({"model": None}, UserError, "only byte-pair encoding"),
        ({"normalizer": {"type": "Lowercase"}}, UserError, "normalizes text by `Lowercase`"),
        ({"normalizer": {"type": "Precompiled"}}, DataError, "is damaged"),
        ({"model": {"type": "BPE", "vocab": 3, "merges": []}}, DataError, "is damaged"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}, DataError, "first ids are a"),
    ],
)
def test_what_sentencepiece_cannot_be_is_refused(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    content = {**(write_fast_tokenizer(train("bpe", "identity"), []) or {}), **change}
    with pytest.raises(error, match=message):
        read_fast_tokenizer(Path("tokenizer.json"), content)


def test_gap_in_the_ids_is_refused() -> None:
    content = write_fast_tokenizer(train("bpe", "identity"), [])
    assert content is not None
    content["model"]["vocab"]["kili"] = 1000
    with pytest.raises(DataError, match="not numbered without gaps"):
        read_fast_tokenizer(Path("tokenizer.json"), content)
