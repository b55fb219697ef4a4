"""Vocabularies of checkpoints as they are published, and of the first layout of our own."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from corpus.errors import DataError, UserError
from nmt.interop.tokens import export_vocabulary, import_vocabulary, without_first_piece
from nmt.vocabulary.vocabulary import Vocabulary

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def write_tokenizer(folder: Path, vocabulary_path: Path, **files: Any) -> int:
    """Write SentencePiece's model and JSON files; return the ids below those that they add."""
    pieces = (vocabulary_path / "sentencepiece.model").read_bytes()
    (folder / "sentencepiece.bpe.model").write_bytes(pieces)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    count: int = sentencepiece.SentencePieceProcessor(model_proto=pieces).get_piece_size()
    return count + 1


def test_languages_of_nllb_200_are_all_known_and_their_tags_named(
    tmp_path: Path, vocabulary_path: Path
) -> None:
    from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

    symbols = {"additional_special_tokens": FAIRSEQ_LANGUAGE_CODES, "mask_token": "<mask>"}
    first = write_tokenizer(tmp_path, vocabulary_path, special_tokens_map=symbols)
    # As published: 256,001 + 202 languages + 3 tags = 256,206 rows.
    _, vocabulary = import_vocabulary(tmp_path, first + 202 + 3)
    assert len(vocabulary.languages) == 202
    assert vocabulary.language_index("ace_Arab") == first
    assert vocabulary.language_index("zul_Latn") == first + 201
    assert vocabulary.language_index("sat_Olck") == first + FAIRSEQ_LANGUAGE_CODES.index("sat_Beng")
    tags = [vocabulary.tag_index(tag) for tag in ("mined", "back_translated")]
    assert tags == [first + 202, first + 203]
    with pytest.raises(UserError, match="no token <mask>"):
        assert vocabulary.mask_index


def test_mask_stays_a_mask_where_no_rows_follow_it(tmp_path: Path, vocabulary_path: Path) -> None:
    first = write_tokenizer(
        tmp_path,
        vocabulary_path,
        special_tokens_map={
            "additional_special_tokens": [{"content": "fra_Latn"}, {"content": "eng_Latn"}],
            "mask_token": {"content": "<mask>"},
        },
    )
    _, vocabulary = import_vocabulary(tmp_path, first + 3)
    assert vocabulary.languages == ("fra_Latn", "eng_Latn")
    assert vocabulary.mask_index == first + 2


def test_ids_that_the_tokenizer_spells_out_win(tmp_path: Path, vocabulary_path: Path) -> None:
    first = write_tokenizer(
        tmp_path, vocabulary_path, special_tokens_map={"additional_special_tokens": ["deu_Latn"]}
    )
    added = {str(first + 1): {"content": "fra_Latn"}, str(first): {"content": "<MINED_DATA>"}}
    write_tokenizer(
        tmp_path, vocabulary_path, tokenizer_config={"added_tokens_decoder": {"0": "<s>", **added}}
    )
    _, vocabulary = import_vocabulary(tmp_path, first + 4)
    assert vocabulary.languages == ("fra_Latn",)
    assert vocabulary.language_index("fra_Latn") == first + 1
    assert vocabulary.tag_index("mined") == first
    assert vocabulary.size == first + 4


@pytest.mark.parametrize(
    "added",
    [
        {"x": {"content": "fra_Latn"}},
        {"300": {"text": "fra_Latn"}},
        {"300": None},
        {"9": {"content": "fra_Latn"}},
    ],
)
def test_tokenizer_files_that_make_no_sense_are_refused(
    tmp_path: Path, vocabulary_path: Path, added: Any
) -> None:
    write_tokenizer(tmp_path, vocabulary_path, tokenizer_config={"added_tokens_decoder": added})
    with pytest.raises((DataError, UserError), match=r"tokenizer_config|tokenizer's files"):
        import_vocabulary(tmp_path, 400)


def test_token_beyond_the_embedding_is_named(tmp_path: Path, vocabulary_path: Path) -> None:
    symbols = {"additional_special_tokens": ["fra_Latn", "eng_Latn"]}
    first = write_tokenizer(tmp_path, vocabulary_path, special_tokens_map=symbols)
    with pytest.raises(DataError, match="`eng_Latn` is beyond the embedding"):
        import_vocabulary(tmp_path, first + 1)


def test_damaged_pieces_are_named(tmp_path: Path, vocabulary_path: Path) -> None:
    write_tokenizer(tmp_path, vocabulary_path)
    (tmp_path / "sentencepiece.bpe.model").write_bytes(b"no model")
    with pytest.raises(DataError, match=r"sentencepiece\.bpe\.model is not a SentencePiece model"):
        import_vocabulary(tmp_path, 400)


def test_checkpoint_without_languages_or_pieces_is_refused(
    tmp_path: Path, vocabulary_path: Path
) -> None:
    with pytest.raises(UserError, match=r"neither sentencepiece\.bpe\.model nor tokenizer\.json"):
        import_vocabulary(tmp_path, 400)
    write_tokenizer(tmp_path, vocabulary_path)
    with pytest.raises(UserError, match="names the languages' tokens"):
        import_vocabulary(tmp_path, 400)


def train_pieces(path: Path, **ids: int) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["bara kili mo tu", "ki bara to mi ka lu"] * 20),
        model_writer=model,
        vocab_size=30,
        hard_vocab_limit=False,
        minloglevel=2,
        **ids,
    )
    path.mkdir(exist_ok=True)
    (path / "sentencepiece.model").write_bytes(model.getvalue())
    return model.getvalue()


def test_first_layout_with_a_pad_piece_is_exported_with_the_same_tokens(tmp_path: Path) -> None:
    from transformers import NllbTokenizer

    pieces = train_pieces(tmp_path, pad_id=0, unk_id=1, bos_id=2, eos_id=3)
    count = sentencepiece.SentencePieceProcessor(model_proto=pieces).get_piece_size()
    layout = {"size": count + 4, "pieces": count, "languages": ["qaa_Latn"]}
    (tmp_path / "vocabulary.json").write_text(json.dumps(layout), encoding="utf-8")
    vocabulary = Vocabulary.load(tmp_path)
    files = export_vocabulary(tmp_path)
    (tmp_path / "sentencepiece.bpe.model").write_bytes(files.pieces)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(files.tokenizer), encoding="utf-8")
    tokenizer = NllbTokenizer.from_pretrained(tmp_path, src_lang="qaa_Latn")
    ids = tokenizer("bara ki tuq").input_ids
    ours = [vocabulary.language_index("qaa_Latn"), *vocabulary.encode(["bara ki tuq"])[0]]
    assert [files.rows[i] for i in ids] == [*ours, vocabulary.end_index]
    assert sorted(files.rows) == list(range(vocabulary.size))
    assert files.rows[:4] == (2, 0, 3, 1)


def test_pieces_that_have_no_place_in_transformers_are_refused(tmp_path: Path) -> None:
    pieces = train_pieces(tmp_path, unk_id=2, bos_id=0, eos_id=1, pad_id=-1)
    count = sentencepiece.SentencePieceProcessor(model_proto=pieces).get_piece_size()
    symbols = {symbol: i for i, symbol in enumerate(SPECIAL)} | {"__qaa_Latn__": count + 1}
    layout = {
        "size": count + 2,
        "pieces": count,
        "piece_offset": 1,
        "languages": ["qaa_Latn"],
        "symbols": symbols,
    }
    (tmp_path / "vocabulary.json").write_text(json.dumps(layout), encoding="utf-8")
    with pytest.raises(UserError, match="needs <unk>, <s>, </s> as the pieces 0, 1, 2"):
        export_vocabulary(tmp_path)


def test_only_a_pad_piece_is_taken_out(tmp_path: Path) -> None:
    pieces = train_pieces(tmp_path, unk_id=0, bos_id=1, eos_id=2, pad_id=-1)
    with pytest.raises(ValueError, match="does not begin with the piece <pad>"):
        without_first_piece(pieces)
