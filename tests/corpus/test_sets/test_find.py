"""Test sets are found by their layout; the files are made up, in the published layouts."""

import json
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.errors import DataError, UserError
from corpus.files import read_lines, write_lines
from corpus.flores import read_split
from corpus.languages import Direction
from corpus.test_sets.codes import choose_codes, is_language_suffix, standard_language
from corpus.test_sets.files import TestFiles, open_test_files, write_flores_layout
from corpus.test_sets.find import find_test_set

EN_DE = Direction("eng_Latn", "deu_Latn")
EN_ZH = Direction("eng_Latn", "zho_Hans")


def lines_of(
    path: Path, direction: Direction, tmp_path: Path, **options: object
) -> list[list[str]]:
    """Return the sources and each text of references."""
    files = open_files(path, [direction], tmp_path, **options)
    paths = [files.source_file(direction), *files.reference_files(direction)]
    return [read_lines(one) for one in paths]


def open_files(
    path: Path, directions: Iterable[Direction], tmp_path: Path, split: str = "", **options: object
) -> TestFiles:
    return open_test_files(path, split, directions, tmp_path / "prepared", **options)  # type: ignore[arg-type]


def write_json_lines(path: Path, rows: Iterable[dict[str, object]]) -> None:
    write_lines(path, [json.dumps(row, ensure_ascii=False) for row in rows])


def flores_plus_rows(code: str, texts: dict[int, str]) -> list[dict[str, object]]:
    language, script = code.split("_")[:2]
    return [
        {
            "id": number, "iso_639_3": language, "iso_15924": script, "glottocode": "stan1293",
            "text": text, "url": f"https://example.org/{number // 2}", "domain": "wikinews",
            "topic": "health" if number % 2 else "", "has_image": "no", "last_updated": "1.0",
        }
        for number, text in texts.items()
    ]  # fmt: skip


def test_flores_plus_as_json_lines_aligns_by_id_and_codes_meet(tmp_path: Path) -> None:
    folder = tmp_path / "set" / "devtest"
    write_json_lines(folder / "eng_Latn.jsonl", flores_plus_rows("eng_Latn", {1: "a", 2: "b"}))
    # Another order: what belongs together is told by the ids.
    write_json_lines(folder / "cmn_Hans.jsonl", flores_plus_rows("cmn_Hans", {2: "乙", 1: "甲"}))
    files = open_files(tmp_path / "set", [EN_ZH], tmp_path)
    assert read_lines(files.reference_files(EN_ZH)[0]) == ["甲", "乙"]
    assert files.describe() == "FLORES+ devtest; zho_Hans is its cmn_Hans"
    columns = files.read_columns(EN_ZH)
    assert columns["domain"] == ["wikinews", "wikinews"]
    assert (
        columns["document"] == columns["url"] == ["https://example.org/0", "https://example.org/1"]
    )


def test_flores_plus_as_one_parquet_file_of_all_languages(tmp_path: Path) -> None:
    rows = [
        *flores_plus_rows("eng_Latn", {7: "a", 8: "b"}),
        *flores_plus_rows("cmn_Hans", {7: "甲", 8: "乙"}),
    ]
    (tmp_path / "set").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "set" / "devtest.parquet")
    assert lines_of(tmp_path / "set", EN_ZH, tmp_path) == [["a", "b"], ["甲", "乙"]]


def test_flores_plus_as_text_and_as_tsv(tmp_path: Path) -> None:
    for code, text in (("eng_Latn", "a"), ("cmn_Hans", "甲")):
        write_lines(tmp_path / "text" / "dev" / f"dev.{code}", [text])
        write_lines(tmp_path / "tsv" / "dev" / f"{code}.tsv", ["id\ttext\tdomain", f"1\t{text}\tw"])
    assert lines_of(tmp_path / "text", EN_ZH, tmp_path, split="dev") == [["a"], ["甲"]]
    assert lines_of(tmp_path / "tsv", EN_ZH, tmp_path) == [["a"], ["甲"]]


def test_ids_that_a_language_lacks_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "set" / "devtest"
    write_json_lines(folder / "eng_Latn.jsonl", flores_plus_rows("eng_Latn", {1: "a", 2: "b"}))
    write_json_lines(folder / "cmn_Hans.jsonl", flores_plus_rows("cmn_Hans", {2: "乙"}))
    with pytest.raises(DataError, match=r"cmn_Hans has 1 segments and eng_Latn has 2.*ids 1"):
        open_files(tmp_path / "set", [EN_ZH], tmp_path)


def test_ntrex_has_documents_and_a_second_spanish_reference(tmp_path: Path) -> None:
    folder = tmp_path / "ntrex" / "NTREX-128"
    texts = {
        "src.eng": "a",
        "ref.spa": "un a",
        "ref-2.spa": "el a",
        "ref.fra-CA": "q",
        "ref.fra": "f",
    }
    for name, text in texts.items():
        write_lines(folder / f"newstest2019-{name}.txt", [text, text])
    write_lines(tmp_path / "ntrex" / "DOCUMENT_IDS.tsv", ["bbc.1", "cnn.2"])
    spanish, french = Direction("eng_Latn", "spa_Latn"), Direction("eng_Latn", "fra_Latn")
    files = open_files(tmp_path / "ntrex", [spanish, french], tmp_path)
    assert [read_lines(one)[0] for one in files.reference_files(spanish)] == ["un a", "el a"]
    assert [read_lines(one)[0] for one in files.reference_files(french)] == ["f"]
    assert files.read_columns(spanish)["document"] == ["bbc.1", "cnn.2"]
    assert "fra-CA" in files.describe()
    assert files.describe().startswith("NTREX-128")


def test_ntrex_below_the_folder_that_was_unpacked_keeps_its_source(tmp_path: Path) -> None:
    folder = tmp_path / "down" / "NTREX-52b9c57" / "NTREX-128"
    for name in ("src.eng", "ref.eng-US", "ref.spa", "ref-2.spa"):
        write_lines(folder / f"newstest2019-{name}.txt", [name])
    texts = lines_of(tmp_path / "down", Direction("eng_Latn", "spa_Latn"), tmp_path)
    assert texts == [["src.eng"], ["ref.spa"], ["ref-2.spa"]]


def test_tico_pairs_languages_by_id(tmp_path: Path) -> None:
    header = (
        "sourceLang\ttargetLang\tsourceString\ttargetString\tstringID\turl\tlicense\ttranslator_ID"
    )
    for code, texts in (("es-LA", ("uno", "dos")), ("zh", ("二", "一"))):
        order = (1, 2) if code == "es-LA" else (2, 1)
        rows = [
            f"en\t{code}\t{'one' if n == 1 else 'two'}\t{text}\tPubMed_8:{n}\thttps://x\tpublic\t7"
            for n, text in zip(order, texts, strict=True)
        ]
        write_lines(tmp_path / "tico" / "test" / f"test.en-{code}.tsv", [header, *rows])
    direction = Direction("spa_Latn", "zho_Hans")
    assert lines_of(tmp_path / "tico", direction, tmp_path) == [["uno", "dos"], ["一", "二"]]
    files = open_files(tmp_path / "tico", [direction], tmp_path)
    assert files.describe() == "TICO-19 test; spa_Latn is its es-LA; zho_Hans is its zh"


def test_wmt24pp_leaves_out_bad_sources_and_takes_whole_hypotheses_too(tmp_path: Path) -> None:
    rows = [
        {
            "lp": "en-de_DE", "domain": "news", "document_id": "d", "segment_id": n,
            "is_bad_source": n == 1, "source": f"s{n}", "target": f"t{n}\nmore",
            "original_target": "o",
        }
        for n in range(3)
    ]  # fmt: skip
    write_json_lines(tmp_path / "pp" / "en-de_DE.jsonl", rows)
    files = open_files(tmp_path / "pp" / "en-de_DE.jsonl", [EN_DE], tmp_path)
    assert read_lines(files.source_file(EN_DE)) == ["s0", "s2"]
    assert read_lines(files.reference_files(EN_DE)[0]) == ["t0 more", "t2 more"]
    assert list(files.keep(["x", "y", "z"])) == ["x", "z"]
    assert list(files.keep(["x", "z"])) == ["x", "z"]
    assert "1 of 3 lines are marked as bad sources" in files.describe()
    assert files.read_columns(EN_DE)["document"] == ["d", "d"]


def test_bouquet_takes_sentences_unless_paragraphs_are_named(tmp_path: Path) -> None:
    for level in ("sentence_level", "paragraph_level"):
        for code, text in (("ces_Latn", "Dům."), ("cmn_Hans", "房子。")):
            row = {
                "level": level, "split": "test", "uniq_id": "P1-S1", "src_lang": code,
                "tgt_lang": "eng_Latn", "src_text": f"{text}{level[0]}", "tgt_text": "House.",
                "par_id": "P1", "domain": "how-to", "register": "formal",
            }  # fmt: skip
            path = tmp_path / "bouquet" / "data" / level / "test" / f"{code}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist([row]), path)
    direction = Direction("ces_Latn", "zho_Hans")
    root = tmp_path / "bouquet" / "data"
    assert lines_of(root, direction, tmp_path) == [["Dům.s"], ["房子。s"]]
    assert lines_of(root / "paragraph_level", direction, tmp_path) == [["Dům.p"], ["房子。p"]]
    assert lines_of(root, EN_ZH, tmp_path) == [["House."], ["房子。s"]]


def test_tatoeba_challenge_and_pairs_go_both_ways(tmp_path: Path) -> None:
    write_lines(tmp_path / "tc" / "deu-eng" / "test.txt", ["deu\teng\tHaus\thouse"])
    write_lines(tmp_path / "pairs" / "eng_Latn-deu_Latn.tsv", ["house\tHaus"])
    for name in ("tc", "pairs"):
        assert lines_of(tmp_path / name, EN_DE, tmp_path) == [["house"], ["Haus"]]
        assert lines_of(tmp_path / name, EN_DE.reverse, tmp_path) == [["Haus"], ["house"]]


def test_any_two_line_aligned_files_are_a_test_set(tmp_path: Path) -> None:
    write_lines(tmp_path / "a" / "eng_Latn.txt", ["house"])
    write_lines(tmp_path / "a" / "deu_Latn.txt", ["Haus"])
    write_lines(tmp_path / "b" / "corpus.en-de.en", ["house"])
    write_lines(tmp_path / "b" / "corpus.en-de.de", ["Haus"])
    for path in (tmp_path / "a", tmp_path / "b", tmp_path / "b" / "corpus.en-de.de"):
        assert lines_of(path, EN_DE, tmp_path) == [["house"], ["Haus"]]


def test_a_table_may_hold_several_references(tmp_path: Path) -> None:
    rows = [{"source": "house", "refA": "Haus", "refB": "Gebäude", "topic": "city"}]
    write_json_lines(tmp_path / "mine.en-de.jsonl", rows)
    found = lines_of(tmp_path / "mine.en-de.jsonl", EN_DE, tmp_path)
    assert found == [["house"], ["Haus"], ["Gebäude"]]
    described = open_files(tmp_path / "mine.en-de.jsonl", [EN_DE], tmp_path).describe()
    assert "2 references of eng_Latn-deu_Latn" in described


def test_what_is_missing_is_said_with_what_there_is(tmp_path: Path) -> None:
    write_lines(tmp_path / "s" / "test.en", ["house"])
    write_lines(tmp_path / "s" / "test.de", ["Haus"])
    with pytest.raises(UserError, match="no text for fra_Latn; it has deu_Latn, eng_Latn"):
        open_files(tmp_path / "s", [Direction("eng_Latn", "fra_Latn")], tmp_path)
    with pytest.raises(UserError, match="no split `dev`"):
        open_files(tmp_path / "s", [EN_DE], tmp_path, split="dev")
    write_lines(tmp_path / "empty" / "notes", ["x"])
    with pytest.raises(UserError, match="not a test set in a known layout"):
        open_files(tmp_path / "empty", [EN_DE], tmp_path)


def test_codes_of_test_sets_become_ours() -> None:
    codes = {
        "en": "eng_Latn", "zh": "zho_Hans", "zh_TW": "zho_Hant", "zho-CN": "zho_Hans",
        "cmn_Hant": "cmn_Hant", "pt-BR": "por_Latn", "es-LA": "spa_Latn", "srp-Latn": "srp_Latn",
        "ar_EG": "arz_Arab", "no": "nob_Latn", "chv_Cyrl": "chv_Cyrl", "hello": "",
    }  # fmt: skip
    assert {code: standard_language(code) for code in codes} == codes
    assert choose_codes(["fra-CA", "fra", "xyz!"]) == ({"fra_Latn": "fra"}, ["fra-CA", "xyz!"])
    assert choose_codes(["fr_CA", "fr_FR"])[0] == {"fra_Latn": "fr_FR"}
    assert [is_language_suffix(name) for name in ("de", "deu", "txt", "en-de")] == [
        True,
        True,
        False,
        False,
    ]


def test_writing_again_leaves_equal_files_alone(tmp_path: Path) -> None:
    write_lines(tmp_path / "s" / "test.en", ["house"])
    write_lines(tmp_path / "s" / "test.de", ["Haus"])
    first = open_files(tmp_path / "s", [EN_DE], tmp_path)
    before = first.source_file(EN_DE).stat().st_mtime_ns
    assert open_files(tmp_path / "s", [EN_DE], tmp_path) == first
    assert first.source_file(EN_DE).stat().st_mtime_ns == before


def test_a_set_can_be_written_in_the_layout_of_flores(tmp_path: Path) -> None:
    write_json_lines(
        tmp_path / "plus" / "dev" / "eng_Latn.jsonl", flores_plus_rows("eng_Latn", {1: "a"})
    )
    write_json_lines(
        tmp_path / "plus" / "dev" / "ces_Latn.jsonl", flores_plus_rows("ces_Latn", {1: "á"})
    )
    write_flores_layout(find_test_set(tmp_path / "plus"), [], tmp_path / "out")
    assert read_split(tmp_path / "out", "dev") == {"ces_Latn": ["á"], "eng_Latn": ["a"]}
    again = find_test_set(tmp_path / "out", "dev")
    assert again.kind == "FLORES-200"
    write_lines(tmp_path / "pairs" / "deu_Latn-eng_Latn.tsv", ["Haus\thouse"])
    pairs = find_test_set(tmp_path / "pairs")
    found = write_flores_layout(pairs, [EN_DE], tmp_path / "out2")
    assert list(found) == ["eng_Latn-deu_Latn"]
    assert read_split(tmp_path / "out2" / "eng_Latn-deu_Latn", "test")["deu_Latn"] == ["Haus"]
    with pytest.raises(UserError, match="has no eng_Latn-fra_Latn; it has deu_Latn-eng_Latn"):
        write_flores_layout(pairs, [Direction("eng_Latn", "fra_Latn")], tmp_path / "out3")


def test_the_metrics_tasks_have_named_references_and_documents(tmp_path: Path) -> None:
    root = tmp_path / "wmt23"
    write_lines(root / "sources" / "en-de.txt", ["house", "tree"])
    write_lines(root / "references" / "en-de.refA.txt", ["Haus", "Baum"])
    write_lines(root / "references" / "en-de.refB.txt", ["Gebäude", "Baum"])
    write_lines(root / "documents" / "en-de.docs", ["news bbc.1", "social x.2"])
    files = open_files(root, [EN_DE], tmp_path)
    assert "2 references of eng_Latn-deu_Latn, by refA, refB" in files.describe()
    assert files.read_columns(EN_DE) == {
        "domain": ["news", "social"], "document": ["bbc.1", "x.2"],
    }  # fmt: skip
    found = lines_of(root, EN_DE, tmp_path, references=["refB"])
    assert found == [["house", "tree"], ["Gebäude", "Baum"]]
    with pytest.raises(UserError, match="no reference by `refC`; it has refA, refB"):
        open_files(root, [EN_DE], tmp_path, references=["refC"])


def write_flores_plus_parquet(path: Path, text: pa.Array) -> None:
    path.parent.mkdir()
    table = {
        "id": [1, 2, 1, 2],
        "iso_639_3": ["eng"] * 2 + ["deu"] * 2,
        "iso_15924": ["Latn"] * 4,
        "text": text,
    }
    pq.write_table(pa.table(table), path)


def test_text_stored_as_bytes_is_text(tmp_path: Path) -> None:
    raw = pa.array([text.encode() for text in ("a", "b", "ä", "ö")])
    write_flores_plus_parquet(tmp_path / "set" / "devtest.parquet", raw)
    assert lines_of(tmp_path / "set", EN_DE, tmp_path) == [["a", "b"], ["ä", "ö"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (pa.array([b"a", b"b", b"\xe4", b"c"]), "column `text` is not UTF-8 in one of the rows 1"),
        (pa.array(["a", "b", None, " "]), "column `text` is empty in all 2 rows"),
    ],
)
def test_column_without_text_is_named(tmp_path: Path, text: pa.Array, message: str) -> None:
    write_flores_plus_parquet(tmp_path / "set" / "devtest.parquet", text)
    with pytest.raises(DataError, match=rf"devtest\.parquet: .*{message}"):
        lines_of(tmp_path / "set", EN_DE, tmp_path)


@pytest.mark.parametrize("header", ["foo\tbar", "English\tGerman"])
def test_header_of_pairs_is_not_a_pair(tmp_path: Path, header: str) -> None:
    path = tmp_path / "set" / "eng_Latn-deu_Latn.tsv"
    write_lines(path, [header, "A sentence.\tEin Satz.", "Yes.\tJa."])
    with pytest.raises(DataError, match=r"eng_Latn-deu_Latn\.tsv: the first line .*header"):
        lines_of(tmp_path / "set", EN_DE, tmp_path)
