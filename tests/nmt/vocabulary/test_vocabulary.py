import json
from pathlib import Path

import pytest
import sentencepiece

from corpus.errors import DataError, UserError
from nmt.vocabulary.vocabulary import (
    LAYOUT_FILE,
    MASK_SYMBOL,
    MODEL_FILE,
    Vocabulary,
    nllb_symbols,
)


def test_encoding_and_decoding_is_a_round_trip_in_two_scripts(vocabulary_directory: Path) -> None:
    vocabulary = Vocabulary.load(vocabulary_directory)
    lines = ["bara kili", "šeдом mono", ""]
    assert [vocabulary.decode(pieces) for pieces in vocabulary.encode(lines)] == lines


def test_symbols_have_the_indices_of_nllb_checkpoints(vocabulary_directory: Path) -> None:
    # Controls in fairseq's order, then pieces: SentencePiece's third, its first of text, is token 4
    # of facebook/nllb-200-distilled-600M; 256,000 pieces there put the first language at 256,001,
    # the first of three tags at 256,203 = 256,001 + 202.
    vocabulary = Vocabulary.load(vocabulary_directory)
    controls = (vocabulary.begin_index, vocabulary.pad_index, vocabulary.end_index)
    assert (*controls, vocabulary.unknown_index) == (0, 1, 2, 3)
    assert min(vocabulary.encode_flat(["bara kili mono tugu"])[0]) >= 4
    indices = [vocabulary.language_index(code) for code in ("qaa_Latn", "qab_Latn", "qac_Cyrl")]
    tags = ("mined", "back_translated", "smt_back_translated")
    indices += [vocabulary.tag_index(tag) or 0 for tag in tags]
    indices += [vocabulary.mask_index]
    first = vocabulary.num_pieces + 1
    assert indices == list(range(first, first + 7))
    assert vocabulary.tag_index("primary") is None
    assert vocabulary.size == first + 7
    assert nllb_symbols(256_000, ["ace_Arab"] * 202)["<MINED_DATA>"] == 256_203


def test_text_without_a_piece_becomes_the_unknown_token(vocabulary_directory: Path) -> None:
    vocabulary = Vocabulary.load(vocabulary_directory)
    assert vocabulary.unknown_index in vocabulary.encode(["漢"])[0]
    assert vocabulary.decode(vocabulary.encode(["ba漢ra"])[0]).replace(" ", "") == "bara"


def rewrite_layout(source: Path, directory: Path, **differences: object) -> Path:
    directory.mkdir()
    (directory / MODEL_FILE).write_bytes((source / MODEL_FILE).read_bytes())
    layout = json.loads((source / LAYOUT_FILE).read_text())
    layout = {key: value for key, value in {**layout, **differences}.items() if value is not None}
    (directory / LAYOUT_FILE).write_text(json.dumps(layout))
    return directory


def test_tokens_of_another_layout_are_the_same_text(
    tmp_path: Path, vocabulary_directory: Path
) -> None:
    vocabulary = Vocabulary.load(vocabulary_directory)
    symbols = vocabulary.layout()["symbols"]
    moved = {symbol: i if i < 4 else i + 13 for symbol, i in symbols.items()}
    del moved[MASK_SYMBOL]
    directory = rewrite_layout(
        vocabulary_directory,
        tmp_path / "other",
        symbols=moved,
        piece_offset=8,
        size=vocabulary.size + 20,
    )
    other = Vocabulary.load(directory)
    line = "bara kili mono"
    assert [i + 7 for i in vocabulary.encode([line])[0]] == other.encode([line])[0]
    assert other.decode(other.encode([line])[0]) == line
    # What no token has, as the last rows of a padded embedding, is no text.
    assert other.decode([*other.encode([line])[0], other.size - 1]) == line
    assert other.language_index("qab_Latn") == vocabulary.language_index("qab_Latn") + 13
    with pytest.raises(UserError, match="no token <mask>"):
        _ = other.mask_index


def test_directories_without_a_spelled_out_layout_have_the_first_one(tmp_path: Path) -> None:
    # As `tongues nmt vocabulary` wrote them at first: SentencePiece's own four control symbols.
    (tmp_path / "text").write_text("bara kili mono\n" * 9)
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"),
        model_prefix=str(tmp_path / "sentencepiece"),
        vocab_size=30,
        hard_vocab_limit=False,
        minloglevel=2,
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
    )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / MODEL_FILE))
    pieces = processor.get_piece_size()
    (tmp_path / LAYOUT_FILE).write_text(
        json.dumps({"size": pieces + 5, "pieces": pieces, "languages": ["qaa_Latn", "qab_Latn"]})
    )
    old = Vocabulary.load(tmp_path)
    assert (old.pad_index, old.unknown_index, old.begin_index, old.end_index) == (0, 1, 2, 3)
    assert old.encode(["bara kili"]) == processor.encode(["bara kili"])
    assert (old.language_index("qaa_Latn"), old.mask_index) == (pieces, pieces + 4)
    with pytest.raises(UserError, match="no token <SMT_BT_DATA>"):
        old.tag_index("smt_back_translated")


@pytest.mark.parametrize(
    ("differences", "problem"),
    [
        ({"piece_offset": 2}, "two tokens have the same index"),
        ({"size": 50}, "indices outside 0 to 49"),
        ({"languages": ["fra_Latn"]}, "no index for __fra_Latn__"),
        ({"pieces": 3}, "says 3 pieces"),
        ({"symbols": {"<s>": "zero"}}, "not a readable vocabulary"),
    ],
)
def test_layouts_that_cannot_be_are_refused(
    tmp_path: Path, vocabulary_directory: Path, differences: dict[str, object], problem: str
) -> None:
    directory = rewrite_layout(vocabulary_directory, tmp_path / "other", **differences)
    with pytest.raises(DataError, match=problem):
        Vocabulary.load(directory)


def test_unknown_language_is_refused_with_the_known_ones(vocabulary_directory: Path) -> None:
    vocabulary = Vocabulary.load(vocabulary_directory)
    with pytest.raises(UserError, match="no language `fra_Latn`; it has qaa_Latn, qab_Latn"):
        vocabulary.language_index("fra_Latn")


def test_directory_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a vocabulary.*tongues nmt vocabulary"):
        Vocabulary.load(tmp_path)
