"""Bitext as others write it: headers in any words, scores and addresses first, or a refusal."""

import csv
import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.bitext import BitextReader, copy_first_pairs, count_pairs
from corpus.bitext_columns import check_columns, column_languages
from corpus.errors import DataError, UserError
from corpus.languages import Direction
from corpus.records import bitext_files, read_bitext

PAIR = {"source": ["Good day."], "target": ["Bonjour."]}


def tsv(folder: Path, text: str, name: str = "eng_Latn-fra_Latn.tsv") -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8"))
    return path


@pytest.mark.parametrize(
    "header",
    [
        "source\ttarget", "Source\tTarget", "SRC\tTGT", '"source"\t"target"', "src\ttrg",
        "source_text\ttarget_text", "Source Text\tTarget Text", "src_sentence\ttgt_sentence",
        "sentence_src\tsentence_tgt", "sentence1\tsentence2", "text\ttranslation",
        "#source\ttarget",
        "eng_Latn\tfra_Latn", "en\tfr", "EN\tFR", "eng\tfra", "English\tFrench", "en_US\tfr-FR",
        "sentence_eng_Latn\tsentence_fra_Latn", "text_en\ttext_fr",
        "translation.en\ttranslation.fr",
        "source:\ttarget:", "sourceText\ttargetText", "src\tfra_Latn",
    ],
)  # fmt: skip
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "with a byte-order mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_header_in_other_words_names_the_columns(
    tmp_path: Path, header: str, mark: str, end: str
) -> None:
    path = tsv(tmp_path, f"{mark}{header}{end}Good day.\tBonjour.{end}")
    assert read_bitext(path).to_pydict() == PAIR
    first, second = header.split("\t")
    swapped = tsv(tmp_path, f"{mark}{second}\t{first}{end}Bonjour.\tGood day.{end}")
    if "1" in header or header.startswith("#"):
        return
    table = read_bitext(swapped)
    assert (table["source"].to_pylist(), table["target"].to_pylist()) == tuple(PAIR.values())


@pytest.mark.parametrize("code", ["twi_Latn_asan1239", "cmn_Hans", "ekk_Latn", "fas_Arab"])
def test_columns_that_are_named_by_a_code_mean_that_code(code: str) -> None:
    """Not what FLORES-200 calls it: outputs keep the names of the data."""
    names = [f"sentence_{code}", f"translation.{code}", code]
    assert column_languages(names) == [frozenset({code})] * 3


def test_byte_order_mark_is_no_part_of_the_first_sentence(tmp_path: Path) -> None:
    assert read_bitext(tsv(tmp_path, "\ufeffGood day.\tBonjour.\n")).to_pydict() == PAIR
    (tmp_path / "x.tsv.gz").write_bytes(gzip.compress("\ufeffGood day.\tBonjour.\n".encode()))
    assert read_bitext(tmp_path / "x.tsv.gz").to_pydict() == PAIR


def test_header_of_languages_follows_the_direction_that_is_asked_for(tmp_path: Path) -> None:
    path = tsv(tmp_path, "fr\ten\nBonjour.\tGood day.\n", "pairs.tsv")
    reader = BitextReader(path, direction=Direction("eng_Latn", "fra_Latn"))
    assert next(iter(reader)).select(["source", "target"]).to_pydict() == PAIR
    assert next(iter(BitextReader(path)))["source"].to_pylist() == ["Bonjour."]  # as they stand
    named = tsv(tmp_path, "fr\ten\nBonjour.\tGood day.\n", "eng_Latn-deu_Latn.tsv")
    with pytest.raises(DataError, match="named after the languages fr, en, the file is of eng_Lat"):
        read_bitext(named)


def test_score_is_found_by_its_usual_names_and_other_columns_are_kept(tmp_path: Path) -> None:
    # The columns of Bitextor's and Bicleaner's sent.gz.
    header = "src_url\ttrg_url\tsrc_text\ttrg_text\tbicleaner_score\tsrc_url"
    path = tsv(tmp_path, f"{header}\nhttp://a\thttp://b\tGood day.\tBonjour.\t0.75\tx\n")
    assert read_bitext(path).to_pydict() == {
        "src_url": ["http://a"],
        "trg_url": ["http://b"],
        **PAIR,
        "score": [0.75],
        "src_url_2": ["x"],
    }
    index = tsv(tmp_path, "\tScore\tSource\tTarget\n0\t0.5\tGood day.\tBonjour.\n")
    assert read_bitext(index).to_pydict() == {"column_1": ["0"], "score": [0.5], **PAIR}


def test_language_columns_beside_the_text_are_not_the_text(tmp_path: Path) -> None:
    path = tsv(tmp_path, "src_lang\ttgt_lang\tsrc\ttgt\nen\tfr\tGood day.\tBonjour.\n")
    assert read_bitext(path).select(["source", "target"]).to_pydict() == PAIR


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("1.2163\tGood day.\tBonjour.", "numbers"),  # LASER's mine_bitexts.py
        ("1,21\tGood day.\tBonjour.", "numbers"),
        ("17\tGood day.\t204\tBonjour.", "numbers"),  # Tatoeba's pairs
        ("0.9\tGood day.", "numbers"),
        ("http://a/x\thttp://b/y\tGood day.\tBonjour.\t0.9", "addresses"),  # Bicleaner
        ("www.a.org\tGood day.\tBonjour.", "addresses"),
        ("2021-03-04\tGood day.\tBonjour.", "dates"),
        ("Good day.\t0.9\tBonjour.", "numbers"),
        ("en\tfr\tGood day.\tBonjour.", "language codes"),
        ("en\tfr\tGo\tVa", "language codes"),
        ("doc-17\tGood day.\tBonjour.", "identifiers"),
        ("9f86d081884c7d65\tGood day.\tBonjour.", "identifiers"),
    ],
)
def test_columns_that_are_no_text_are_refused_with_the_remedy(
    tmp_path: Path, line: str, kind: str
) -> None:
    path = tsv(tmp_path, f"{line}\n" * 3)
    with pytest.raises(DataError, match=rf"holds {kind} .*columns\.source=2") as error:
        read_bitext(path)
    assert "name the columns `source`, `target`" in str(error.value)


@pytest.mark.parametrize(
    "header", ["source\tcible", "id\ttext", "url1\tanything\tx", "en\tsource_url", "score\ta\tb"]
)
def test_header_that_is_not_understood_is_refused_with_the_remedy(
    tmp_path: Path, header: str
) -> None:
    with pytest.raises(DataError, match=r"looks like a header .*columns\.source"):
        read_bitext(tsv(tmp_path, f"{header}\na\tb\tc\n"))


@pytest.mark.parametrize(
    "header", ["français\tenglish", "Franc\u0327ais\tAnglais", "french\tEnglish"]
)
def test_header_of_languages_by_their_names_in_either_one(tmp_path: Path, header: str) -> None:
    path = tsv(tmp_path, f"{header}\nBonjour.\tGood day.\n")
    assert read_bitext(path).to_pydict() == PAIR
    hindi = tsv(tmp_path, "हिन्दी\tनेपाली\nएक।\tदुई।\n", "npi_Deva-hin_Deva.tsv")
    assert read_bitext(hindi).to_pydict() == {"source": ["दुई।"], "target": ["एक।"]}


SENTENCES = ["Good day.\tBonjour.", "How are you?\tComment allez-vous ?", "I see it\tJe le vois"]


@pytest.mark.parametrize("count", [3, 24])
@pytest.mark.parametrize(
    "header", ["foo\tbar", "text_a\ttext_b", "sourceText1\ttargetText1", "foo\tbar\tbaz"]
)
def test_first_line_of_words_unlike_all_others_is_refused_with_the_remedy(
    tmp_path: Path, header: str, count: int
) -> None:
    cells = "\tx" * (header.count("\t") - 1)
    others = (SENTENCES * 8)[:count]
    path = tsv(tmp_path, "\n".join([header, *(f"{line}{cells}" for line in others)]))
    with pytest.raises(DataError, match="header") as caught:
        read_bitext(path)
    first, second = header.split("\t")[:2]
    assert f"--config columns.source={first} --config columns.target={second}" in str(caught.value)
    assert read_bitext(path, {"source": first, "target": second}).num_rows == count
    assert read_bitext(path, {"source": "1", "target": "2"}).num_rows >= count


@pytest.mark.parametrize(
    "lines",
    [
        ["water\teau", "fire\tfeu", "to go\taller"],
        ["apple\tpomme", "ice cream\tglace", "hot dog\thot dog"],
        ["Hello.\tHallo.", *SENTENCES * 8],
        ["hello\tbonjour", "good day\tbonjour", *SENTENCES],
        ["hello\tbonjour"],
        ["Hello\tBonjour", *SENTENCES],
        ["Hello\tBonjour", "Stop\tArrêt", *SENTENCES * 8],
        ["English\tanglais", *SENTENCES],
        ["French\tfrançais", "English\tanglais"],
        ["l'eau\tthe water", *SENTENCES],
    ],
)
def test_pairs_of_single_words_stay_pairs(tmp_path: Path, lines: list[str]) -> None:
    assert read_bitext(tsv(tmp_path, "\n".join(lines))).num_rows == len(lines)


@pytest.mark.parametrize(
    "lines",
    [["one\tun"], ["12\t12"], ["1\t1", "2\t2"], ["no\tnon"], ["English\tanglais"], ["a b\tc d"],
     ["2012\t2012", "a\tb"], ["Hello world\tBonjour le monde"], ["text\ttexte"], ["\tx", "y\t"]],
)  # fmt: skip
def test_pairs_without_a_header_stay_pairs(tmp_path: Path, lines: list[str]) -> None:
    table = read_bitext(tsv(tmp_path, "\n".join(lines) + "\n"))
    assert [f"{s}\t{t}" for s, t in zip(*table.to_pydict().values(), strict=True)] == lines


def test_columns_are_given_by_number_or_by_name(tmp_path: Path) -> None:
    path = tsv(tmp_path, "1.25\tGood day.\tBonjour.\n")
    given = {"source": "2", "target": "3", "score": "1"}
    assert read_bitext(path, given).to_pydict() == {**PAIR, "score": [1.25]}
    direction = Direction("eng_Latn", "fra_Latn")
    assert count_pairs(path, given) == 1
    assert copy_first_pairs(path, tmp_path / "copy", direction, 5, given) == 1
    assert (tmp_path / "copy" / path.name).read_bytes() == path.read_bytes()
    with pytest.raises(DataError, match="asks for column 4; the first line has 3"):
        read_bitext(path, {"source": "2", "target": "4"})
    path = tsv(tmp_path, "Quelle\tZiel\nGood day.\tBonjour.\n")
    assert read_bitext(path, {"source": "quelle", "target": "Ziel"}).to_pydict() == PAIR
    with pytest.raises(DataError, match=r"no column `Sinn`.*it|first line has `Quelle`, `Ziel`"):
        read_bitext(path, {"source": "Sinn", "target": "Ziel"})
    path = tsv(tmp_path, "source\ttarget\nBonjour.\tGood day.\n")
    swapped = read_bitext(path, {"source": "2", "target": "1"})  # the header is still one
    assert swapped.select(["source", "target"]).to_pydict() == PAIR


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"source": "1"}, "lacks the key `target`"),
        ({"src": "1"}, "has no key `src`"),
        ({"source": "0", "target": "1"}, "number from 1"),
        ({"source": "1", "target": "1"}, "twice"),
    ],
)
def test_wrong_columns_are_refused(columns: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_columns(columns)


def test_file_of_the_csv_module_loses_its_quotation_marks(tmp_path: Path) -> None:
    rows = [("source", "target"), ('He said "so"', "two\tcells"), ("a\nb", '"')]
    path = tmp_path / "x.tsv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL).writerows(rows)
    assert [tuple(row.values()) for row in read_bitext(path).to_pylist()] == rows[1:]
    assert count_pairs(path) == 2
    path.write_text('"source"\t"target"\n"a"\t"b"\n"c"\t"d\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"x\.tsv:\d: .*do not close"):
        read_bitext(path)


@pytest.mark.parametrize("first", ['"No." "Why?" "No."\t"Na." "Pam?" "Na."', '"Why?"\t"Pam?"'])
def test_dialogue_in_the_first_line_keeps_its_quotation_marks(tmp_path: Path, first: str) -> None:
    path = tsv(tmp_path, f'{first}\nI sing.\tDw i\'n canu.\n"Yes," he said.\t"Ie," meddai.\n')
    pairs = read_bitext(path)
    assert "\t".join(pairs.column(side)[0].as_py() for side in ("source", "target")) == first
    assert pairs.column("source").to_pylist()[1:] == ["I sing.", '"Yes," he said.']


def test_score_that_is_no_number_is_named_by_its_line(tmp_path: Path) -> None:
    path = tsv(tmp_path, "score\tsource\ttarget\n1\ta\tb\nhigh\ta\tb\n")
    with pytest.raises(DataError, match=r"fra_Latn\.tsv:3: column `score`"):
        read_bitext(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_utf_16_is_refused(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.tsv"
    path.write_bytes("Good day.\tBonjour.\n".encode(encoding))
    with pytest.raises(DataError, match="UTF-16"):
        read_bitext(path)


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.string_view(), pa.large_string()], ids=str
)
def test_binary_columns_of_utf_8_are_text(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "x.parquet"
    text = pa.array([b"a", None], pa.binary())
    text = text.cast(kind) if "view" not in str(kind) else pa.array(["a", None], kind)
    pq.write_table(pa.table({"Source": text, "tgt": text}), path)
    assert read_bitext(path).to_pydict() == {"source": ["a", ""], "target": ["a", ""]}


def test_invalid_byte_in_a_parquet_file_is_named_by_file_and_row(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    texts = pa.array([b"a"] * 700 + [b"\xff"] + [b"b"] * 9, pa.binary())
    for column in (texts, pa.StringArray.from_buffers(len(texts), *texts.buffers()[1:])):
        pq.write_table(pa.table({"source": ["x"] * 710, "target": column}), path)
        with pytest.raises(DataError, match=r"x\.parquet: row 701 of column `target`"):
            list(BitextReader(path, rows=100))


def test_columns_of_a_translation_structure_are_told_by_language(tmp_path: Path) -> None:
    path = tmp_path / "eng_Latn-fra_Latn.parquet"
    translation = [{"fr": "Bonjour.", "en": "Good day."}]
    pq.write_table(pa.table({"id": ["0"], "translation": translation}), path)
    assert read_bitext(path).select(["source", "target"]).to_pydict() == PAIR


def test_columns_of_any_language_are_told_by_the_direction(tmp_path: Path) -> None:
    """Short codes count where the file is of the language: `src` is also Logudorese Sardinian."""
    for language, column in [("tyv_Cyrl", "tyv"), ("bre_Latn", "br"), ("ekk_Latn", "est_Latn")]:
        path = tsv(tmp_path, f"en\t{column}\nGood day.\tx\n", f"eng_Latn-{language}.tsv")
        assert read_bitext(path).column("target").to_pylist() == ["x"]


def test_files_that_are_left_out_because_of_their_name_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("eng_Latn-fra_Latn.tsv", "en-zh.tsv", "fra_Latn.tsv", "config.yaml", ".hidden"):
        tsv(tmp_path, "a\tb\n", name)
    (tmp_path / "parts").mkdir()
    for _ in range(2):
        assert list(bitext_files(tmp_path)) == [Direction("eng_Latn", "fra_Latn")]
    (record,) = caplog.records
    choices = "eng_Latn-zho_Hans.tsv or eng_Latn-zho_Hant.tsv"
    assert f"en-zh.tsv ({choices}?), fra_Latn.tsv, parts/ (of directories," in record.getMessage()
    (tmp_path / "eng_Latn-fra_Latn.tsv").unlink()
    with pytest.raises(UserError, match=r"holds no bitext; .* It holds en-zh\.tsv"):
        bitext_files(tmp_path)
