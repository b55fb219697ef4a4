"""Lines of test sets in training text: whole, in part, on either side, and as pairs."""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from corpus.errors import LimitError, UserError
from corpus.files import read_lines, write_lines
from eval.checks.paraphrases import embed_lines, find_paraphrases
from eval.cli import group
from eval.config import ContaminationConfig
from eval.contamination import Contamination, find_contamination

ENGLISH = [
    "The committee will present its final report on the new harbor bridge in early September.",
    "Most visitors arrive by ferry because the coastal road is closed during the winter months.",
    "Scientists measured the temperature of the lake every morning for almost eleven years.",
    "Yes.",
]
GERMAN = [
    "Der Ausschuss legt seinen Abschlussbericht zur neuen Hafenbrücke Anfang September vor.",
    "Die meisten Besucher kommen mit der Fähre, weil die Küstenstraße im Winter gesperrt ist.",
    "Forscher maßen die Temperatur des Sees fast elf Jahre lang an jedem einzelnen Morgen.",
    "Ja.",
]
CLEAN = ("An unrelated sentence about gardens.", "Ein anderer Satz über Gärten.")


@pytest.fixture
def flores(tmp_path: Path) -> Path:
    for code, lines in (("eng_Latn", ENGLISH), ("deu_Latn", GERMAN), ("fra_Latn", ["a"] * 4)):
        write_lines(tmp_path / "flores" / "devtest" / f"{code}.devtest", lines)
    return tmp_path / "flores"


def search(
    tmp_path: Path, flores: Path, pairs: list[tuple[str, str]], **options: object
) -> Contamination:
    table = pa.table({"source": [one for one, _ in pairs], "target": [one for _, one in pairs]})
    (tmp_path / "bitext").mkdir(exist_ok=True)
    pq.write_table(table, tmp_path / "bitext" / "eng_Latn-deu_Latn.parquet")
    config = ContaminationConfig(**options)  # type: ignore[arg-type]
    return find_contamination(tmp_path / "bitext", [flores], "", tmp_path / "out", config)


def test_whole_lines_are_found_whatever_their_case_and_punctuation(
    flores: Path, tmp_path: Path
) -> None:
    pairs = [CLEAN, (ENGLISH[0].upper().replace(".", " !"), CLEAN[1]), (ENGLISH[0], CLEAN[1])]
    found = search(tmp_path, flores, pairs)
    (one,) = found.found
    assert (one.line.number, one.is_whole, one.side, one.row) == (1, True, "source", 2)
    assert (one.share, one.times, one.in_pair) == (1.0, 2, False)
    english, german = found.parts
    assert (english.language, english.whole, english.part, english.share) == (
        "eng_Latn",
        1,
        0,
        0.25,
    )
    assert (german.language, german.share) == ("deu_Latn", 0.0)


def test_parts_are_found_from_the_share_that_was_set(flores: Path, tmp_path: Path) -> None:
    part = "we read that " + ENGLISH[1][:65] + " and then something else"
    assert search(tmp_path, flores, [(part, CLEAN[1])], min_share=0.9).found == []
    (one,) = search(tmp_path, flores, [(part, CLEAN[1])], min_share=0.4).found
    assert (one.line.number, one.is_whole) == (2, False)
    assert 0.4 < one.share < 0.8


def test_a_pair_with_a_line_and_its_translation_is_told_apart(flores: Path, tmp_path: Path) -> None:
    pairs = [(ENGLISH[2], GERMAN[2]), (ENGLISH[1], GERMAN[0])]
    found = search(tmp_path, flores, pairs)
    assert {(one.line.language, one.line.number) for one in found.found if one.in_pair} == {
        ("eng_Latn", 3), ("deu_Latn", 3),
    }  # fmt: skip
    assert [one.in_pairs for one in found.parts] == [1, 1]


def test_either_side_counts_for_every_language_of_the_test_set(
    flores: Path, tmp_path: Path
) -> None:
    # A German line on the English side is as bad.
    (one,) = search(tmp_path, flores, [(GERMAN[0], CLEAN[1])]).found
    assert (one.line.language, one.side) == ("deu_Latn", "source")


def test_text_files_are_read_and_files_are_merged(flores: Path, tmp_path: Path) -> None:
    write_lines(tmp_path / "bitext" / "eng_Latn.txt.gz", ["x", ENGLISH[0]])
    found = search(tmp_path, flores, [(ENGLISH[0][:70], CLEAN[1])])
    (one,) = found.found
    assert (one.file, one.row, one.side, one.times) == ("eng_Latn.txt.gz", 2, "text", 2)
    assert {part.language for part in found.parts} == {"eng_Latn", "deu_Latn", "fra_Latn"}


def test_command_ends_with_three_above_the_limit(flores: Path, tmp_path: Path) -> None:
    write_lines(tmp_path / "b" / "eng_Latn-deu_Latn.tsv", [f"{ENGLISH[0]}\t{CLEAN[1]}"])
    arguments = [
        "contamination", "--bitext", str(tmp_path / "b"), "--test-set", str(flores),
        "--output", str(tmp_path / "o"), "--json", "--limit",
    ]  # fmt: skip
    result = CliRunner().invoke(group, [*arguments, "0.1"])
    assert isinstance(result.exception, LimitError)
    assert result.exception.exit_code == 3
    assert "25.00% of FLORES-200 devtest eng_Latn" in str(result.exception)
    assert json.loads(result.stdout)["parts"][0]["whole"] == 1
    assert CliRunner().invoke(group, [*arguments, "0.3"]).exit_code == 0
    header, line = (tmp_path / "o" / "lines.tsv").read_text(encoding="utf-8").splitlines()
    assert header.startswith("test_set\tlanguage\tline\tfound\tshare\tcosine\ttimes\tin_pair")
    assert line.startswith(
        "FLORES-200 devtest\teng_Latn\t1\twhole\t1.0\t\t1\tno\teng_Latn-deu_Latn.tsv\t1"
    )
    page = (tmp_path / "o" / "contamination.html").read_text(encoding="utf-8")
    assert "harbor bridge" in page


def test_nothing_to_compare_is_an_error(flores: Path, tmp_path: Path) -> None:
    write_lines(tmp_path / "b" / "swh_Latn-xho_Latn.tsv", ["a\tb"])
    with pytest.raises(UserError, match="no line is in a language of"):
        find_contamination(tmp_path / "b", [flores], "", tmp_path / "o", ContaminationConfig())
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no bitext"):
        find_contamination(tmp_path / "empty", [flores], "", tmp_path / "o", ContaminationConfig())


def test_bitext_of_others_is_searched_as_pairs_and_once(flores: Path, tmp_path: Path) -> None:
    folder = tmp_path / "others"
    write_lines(folder / "News.en-de.en", [CLEAN[0], ENGLISH[1]])
    write_lines(folder / "News.en-de.de", [CLEAN[1], GERMAN[1]])
    row = {"translation": {"en": ENGLISH[2], "de": CLEAN[1]}}
    write_lines(folder / "deep" / "x.jsonl", [json.dumps(row)])
    write_lines(folder / "config.json", ["{", "}"])
    config = ContaminationConfig()
    found = find_contamination(folder, [flores], "", tmp_path / "out", config).found
    assert [(one.line.language, one.line.number, one.times, one.in_pair) for one in found] == [
        ("deu_Latn", 2, 1, True),
        ("eng_Latn", 2, 1, True),
        ("eng_Latn", 3, 1, False),
    ]


def test_columns_of_the_bitext_may_be_numbered(flores: Path, tmp_path: Path) -> None:
    file = tmp_path / "bitext" / "eng_Latn-deu_Latn.tsv"
    write_lines(file, [f"0.5\t{one}\t{two}" for one, two in zip(ENGLISH, GERMAN, strict=True)])
    config = ContaminationConfig(columns={"source": "2", "target": "3"})
    found = find_contamination(file, [flores], "", tmp_path / "out", config)
    assert sum(one.is_whole for one in found.found) == 8


SAME = {"ship": "ferry", "shore": "coastal", "street": "road", "travelers": "visitors"}


class WordVectors:
    """A sentence encoder that knows a few words and which of them mean the same."""

    def encode(self, sentences: Sequence[str], language: str = "") -> NDArray[np.float32]:
        vectors = np.zeros((len(sentences), 512), np.float32)
        for row, text in enumerate(sentences):
            for word in text.casefold().rstrip(".").split():
                vectors[row, zlib.crc32(SAME.get(word, word).encode()) % 512] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def load_words(path: Path, *, threads: int = 1) -> WordVectors:
    return WordVectors()


REWORDED = (
    "Most travelers arrive by ship because the shore street is closed during winter this time."
)


def test_paraphrases_are_found_by_an_encoder_and_whole_lines_stay_whole(
    flores: Path, tmp_path: Path
) -> None:
    write_lines(tmp_path / "bitext" / "eng_Latn-deu_Latn.tsv", [
        "source\ttarget", f"{CLEAN[0]}\t{CLEAN[1]}", f"{REWORDED}\t{CLEAN[1]}",
        f"{ENGLISH[0]}\t{CLEAN[1]}",
    ])  # fmt: skip
    arguments: list[str | Path] = [
        "contamination", "--bitext", tmp_path / "bitext", "--test-set", flores, "--output",
        tmp_path / "out", "--encoder", "builtin", "--limit", "1",
    ]  # fmt: skip
    result = CliRunner().invoke(
        group, list(map(str, arguments)), obj={"load_encoder": load_words}, catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    lines = [line.split("\t") for line in read_lines(tmp_path / "out" / "lines.tsv")]
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    assert [(row["line"], row["found"], row["row"]) for row in rows] == [
        ("1", "whole", "3"), ("2", "paraphrase", "2"),
    ]  # fmt: skip
    assert rows[0]["cosine"] == rows[1]["share"] == ""
    assert 0.7 < float(rows[1]["cosine"]) < 1
    parts = json.loads((tmp_path / "out" / "contamination.json").read_text())["parts"]
    english = next(part for part in parts if part["language"] == "eng_Latn")
    assert (english["whole"], english["paraphrase"], english["share"]) == (1, 1, 0.5)
    page = (tmp_path / "out" / "contamination.html").read_text(encoding="utf-8")
    assert "closer to a line by its meaning" in page
    # Without the encoder, what was found by it is gone from the tables.
    without = CliRunner().invoke(group, [str(one) for one in arguments if one not in (
        "--encoder", "builtin")])  # fmt: skip
    assert without.exit_code == 0, without.output
    assert len(read_lines(tmp_path / "out" / "lines.tsv")) == 2


def test_limit_of_paraphrases_is_the_test_sets_own_and_copies_do_not_raise_it() -> None:
    lines = ["a b c d", "a b c e", "a x y z", "a b c d"]
    found = embed_lines(lines, [5, 6, 7, 8], "eng_Latn", WordVectors(), 1.0)
    assert found.limit == pytest.approx(0.75)
    (one,) = find_paraphrases(["a x y z"], "eng_Latn", [found], WordVectors())
    assert (one.text, one.line, one.cosine) == (0, 7, pytest.approx(1.0))
    assert not list(find_paraphrases([], "eng_Latn", [found], WordVectors()))
