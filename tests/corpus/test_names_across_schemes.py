"""Languages under other names: identifiers, word lists, directories of text."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from corpus.errors import UserError
from corpus.files import write_lines
from corpus.protocols import Prediction, Predictions
from corpus.records import labeled_text_files, sentence_languages, sentence_shards
from corpus.renamed_identifier import RenamedIdentifier
from corpus.word_lists import find_list, read_word_lists


class Parrot:
    """Answers each line with the code that it is."""

    languages: Sequence[str] = ("bre_Latn", "est_Latn", "zho_Hans")

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        return [Prediction(line, 0.9) for line in lines]


def test_an_identifier_answers_with_the_names_of_the_data() -> None:
    renamed = RenamedIdentifier(Parrot(), ["cmn_Hans", "bre_Latn", "fra_Latn"])
    assert renamed.languages == ["bre_Latn", "cmn_Hans", "est_Latn"]
    answers = renamed.identify(["zho_Hans", "bre_Latn", "est_Latn", "und"])
    assert [one.language for one in answers] == ["cmn_Hans", "bre_Latn", "est_Latn", "und"]


class ParrotOfArrays(Parrot):
    """Answers in arrays, too."""

    def identify_arrays(self, lines: Sequence[str]) -> Predictions:
        numbers = [self.languages.index(line) for line in lines]
        scores = np.full(len(lines), 0.9, np.float32)
        return Predictions(self.languages, np.array(numbers, np.int32), scores)


@pytest.mark.parametrize("identifier", [Parrot(), ParrotOfArrays()])
@pytest.mark.parametrize("names", [[], ["cmn_Hans"]])
def test_answers_in_arrays_are_those_in_objects(identifier: Parrot, names: list[str]) -> None:
    renamed = RenamedIdentifier(identifier, names)
    lines = ["zho_Hans", "bre_Latn", "zho_Hans"]
    languages, numbers, scores = renamed.identify_arrays(lines)
    found = [languages[number] for number in numbers]
    assert found == [one.language for one in renamed.identify(lines)]
    assert found[0] == ("cmn_Hans" if names else "zho_Hans")
    assert scores.tolist() == pytest.approx([0.9] * 3)


def test_a_word_list_is_found_under_another_name(tmp_path: Path) -> None:
    write_lines(tmp_path / "zho_Hans_twl.txt", ["坏"])
    write_lines(tmp_path / "twi_Latn_asan1239.txt", ["bɔne"])
    lists = read_word_lists(tmp_path)
    assert sorted(lists) == ["twi_Latn_asan1239", "zho_Hans"]
    assert find_list(lists, "cmn_Hans") == lists["zho_Hans"]
    assert find_list(lists, "aka_Latn") == lists["twi_Latn_asan1239"]
    assert find_list(lists, "bre_Latn") is None


def test_text_is_found_by_any_name_and_the_other_files_are_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("en.txt", "bre_Latn.txt.gz", "tyv.txt.zst", "readme.txt", "x.doc", "config.yaml"):
        write_lines(tmp_path / name, ["a"])
    caplog.set_level(logging.WARNING)
    assert list(labeled_text_files(tmp_path)) == ["bre_Latn", "eng_Latn", "tyv_Cyrl"]
    (record,) = caplog.records
    assert "left out because of the name: readme.txt, x.doc; text is in <language>.txt" in (
        record.getMessage()
    )
    write_lines(tmp_path / "zh.txt", ["a"])
    with pytest.raises(UserError, match=r"zh\.txt: `zh` may mean `zho_Hans` .* or `zho_Hant`"):
        labeled_text_files(tmp_path)


def test_directories_of_sentences_with_unknown_names_are_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("cmn_Hans", "bre_Latn", "breton", "rejects"):
        (tmp_path / name).mkdir()
    for name in ("cmn_Hans", "bre_Latn", "breton"):
        (tmp_path / name / "a.parquet").touch()
    caplog.set_level(logging.WARNING)
    assert list(sentence_languages(tmp_path)) == ["bre_Latn", "cmn_Hans"]
    (record,) = caplog.records
    assert "left out because of the name: breton; " in record.getMessage()
    with pytest.raises(UserError, match="no sentences of `zho_Hans`; it has them as `cmn_Hans`"):
        sentence_shards(tmp_path, "zho_Hans")
