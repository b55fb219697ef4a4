from pathlib import Path

import pytest

from corpus.errors import UserError
from nmt.config import VocabularyConfig
from nmt.vocabulary import LAYOUT_FILE, MODEL_FILE, Vocabulary, train_vocabulary


def test_encoding_and_decoding_is_a_round_trip_in_two_scripts(vocabulary_directory: Path) -> None:
    vocabulary = Vocabulary.load(vocabulary_directory)
    lines = ["bara kili", "šeдом mono", ""]
    assert [vocabulary.decode(pieces) for pieces in vocabulary.encode(lines)] == lines


def test_languages_tags_and_mask_follow_the_pieces(vocabulary_directory: Path) -> None:
    vocabulary = Vocabulary.load(vocabulary_directory)
    indices = [vocabulary.language_index(code) for code in ("qaa_Latn", "qab_Latn", "qac_Cyrl")]
    indices += [vocabulary.tag_index("mined"), vocabulary.tag_index("back_translated")]
    assert indices == list(range(vocabulary.num_pieces, vocabulary.num_pieces + 5))
    assert vocabulary.tag_index("primary") is None
    assert vocabulary.size == vocabulary.num_pieces + 6


def test_same_bitext_gives_the_same_bytes(tmp_path: Path, bitext: Path) -> None:
    for name in ("a", "b"):
        train_vocabulary([bitext], tmp_path / name, VocabularyConfig(size=80))
    for name in (MODEL_FILE, LAYOUT_FILE):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_unknown_language_is_refused_with_the_known_ones(vocabulary_directory: Path) -> None:
    vocabulary = Vocabulary.load(vocabulary_directory)
    with pytest.raises(UserError, match="no language `fra_Latn`; it has qaa_Latn, qab_Latn"):
        vocabulary.language_index("fra_Latn")


def test_directory_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a vocabulary.*tongues nmt vocabulary"):
        Vocabulary.load(tmp_path)
