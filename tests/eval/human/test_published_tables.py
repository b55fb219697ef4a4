"""Tables of human scores in the layouts that Google (MQM) and WMT (ESA) publish."""

from pathlib import Path

import pytest

from corpus.errors import DataError, UserError
from corpus.files import write_lines
from eval.config import CorrelateConfig
from eval.correlate import correlate_human
from eval.human.published_tables import penalty, read_published

PAIR = "eng_Latn-deu_Latn"
MQM_2020 = "system\tdoc\tdoc_id\tseg_id\trater\tsource\ttarget\tcategory\tseverity\tcomment"
MQM_2023 = "system\tdoc\tdocSegId\tglobalSegId\trater\tsource\ttarget\tcategory\tseverity\tmetadata"
ERRORS = [
    ("a", 1, "rater1", "Terminology/Inappropriate for context", "Minor"),
    ("a", 1, "rater1", "Fluency/Punctuation", "Minor"),
    ("a", 1, "rater2", "Accuracy/Mistranslation", "Major"),
    ("a", 2, "rater1", "No-error", "No-error"),
    ("b", 1, "rater1", "Non-translation!", "Major"),
    ("b", 2, "rater1", "Source error", "Major"),
    ("b", 2, "rater1", "Style/Awkward", "HOTW-test"),
]


def mqm(header: str) -> list[str]:
    rows = [f'{s}\tnews "1\t1\t{i}\t{r}\tA.\tB <v>"C</v>.\t{c}\t{v}\t' for s, i, r, c, v in ERRORS]
    return [header, *rows]


@pytest.mark.parametrize("header", [MQM_2020, MQM_2023])
def test_penalties_of_a_segment_are_summed_by_rater(header: str, tmp_path: Path) -> None:
    write_lines(tmp_path / "m.tsv", mqm(header))
    found = read_published(tmp_path / "m.tsv", PAIR, ())
    assert found is not None
    assert found.scale.name == "mqm"
    scores = {(one.system, one.item, one.evaluator): one.score for one in found.judgments}
    assert scores == {
        ("a", "1", "rater1"): pytest.approx(-1.1), ("a", "1", "rater2"): -5.0,
        ("a", "2", "rater1"): 0.0, ("b", "1", "rater1"): -25.0, ("b", "2", "rater1"): 0.0,
    }  # fmt: skip
    with pytest.raises(UserError, match="does not name its languages"):
        read_published(tmp_path / "m.tsv", None, ())


def test_unknown_severity_is_refused_by_line(tmp_path: Path) -> None:
    write_lines(tmp_path / "m.tsv", [*mqm(MQM_2020), "a\td\t1\t3\tr\ts\tt\tStyle\tgrave\t"])
    with pytest.raises(DataError, match=r"m\.tsv:9: severity `grave`"):
        read_published(tmp_path / "m.tsv", PAIR, ())
    assert penalty("Fluency/Punctuation", "Major") == -5


def esa(
    who: str, system: str, segment: int, kind: str, score: object, document: str, end: float = 2.0
) -> str:
    spans = '"[{""start_i"":0,""end_i"":2,""severity"":""minor"",""error_type"":null}]"'
    return f"{who},{system},{segment},{kind},eng,zho,{score},{document},False,{spans},1.0,{end}"


ESA = [
    esa("e1", "ende-tutorial1", 1000001, "TGT", 0, "ende-tutorial1"),
    esa("e1", "wmt23.A", 7, "TGT", 60, "doc#A"),
    esa("e1", "wmt23.A", 7, "TGT", 80, "doc#A", 9.0),
    esa("e1", "wmt23.A", 7, "BAD", 30, "doc#A#bad2"),
    esa("e2", "wmt23.A", 7, "TGT", 90, "doc#A"),
    esa("e2", "wmt23.A", 7, "BAD", 95, "doc#A#bad1"),
    esa("e1", "B", 7, "TGT", 40, "doc"),
    esa("e1", "B", 8, "TGT", 10, "doc#incomplete"),
    esa("e1", "B", 9, "TGT", 10, "doc#dup"),
    esa("e1", "refA", 7, "TGT", 100, "doc"),
]


def test_last_scores_count_and_attention_items_do_not(tmp_path: Path) -> None:
    write_lines(tmp_path / "e.csv", ESA)
    found = read_published(tmp_path / "e.csv", None, ["eng_Latn", "zho_Hans"])
    assert found is not None
    scores = {(one.evaluator, one.system): one.score for one in found.judgments}
    assert scores == {("e1", "A"): 80, ("e2", "A"): 90, ("e1", "B"): 40, ("e1", "refA"): 100}
    assert {str(one.direction) for one in found.judgments} == {"eng_Latn-zho_Hans"}
    assert sorted(found.checks) == [("e1", True), ("e2", False)]


def test_language_in_two_scripts_is_asked_for(tmp_path: Path) -> None:
    write_lines(tmp_path / "e.csv", ESA)
    with pytest.raises(DataError, match="`zho` is zho_Hans, zho_Hant; say which"):
        read_published(tmp_path / "e.csv", None, ["eng_Latn"])
    found = read_published(tmp_path / "e.csv", "eng_Latn-zho_Hant", ())
    assert found is not None
    assert len(found.judgments) == 4
    other = read_published(tmp_path / "e.csv", "eng_Latn-ces_Latn", ())
    assert other is not None
    assert other.judgments == []


def test_row_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    write_lines(tmp_path / "e.csv", [*ESA, "e1,B,7,TGT,eng"])
    with pytest.raises(DataError, match="is not whole as a table of ESA"):
        read_published(tmp_path / "e.csv", "eng_Latn-zho_Hans", ())
    write_lines(tmp_path / "e.csv", [*ESA, esa("e1", "B", 3, "TGT", 101, "doc")])
    with pytest.raises(DataError, match=r"e\.csv:11: score 101; ESA goes from 0 to 100"):
        read_published(tmp_path / "e.csv", "eng_Latn-zho_Hans", ())


def test_published_tables_correlate_over_systems_without_calibration(tmp_path: Path) -> None:
    write_lines(tmp_path / "e.csv", ESA)
    pair = "eng_Latn-zho_Hans"
    scores = ["system\tdirection\tmetric\tvalue\tn\tsignature"]
    scores += [f"{name}\t{pair}\tchrf++\t{v}\t9\tx" for name, v in (("A", 30.5), ("B", 20.5))]
    write_lines(tmp_path / "scores.tsv", scores)
    config = CorrelateConfig(trials=20)
    found = correlate_human(
        [tmp_path / "e.csv"], [tmp_path / "scores.tsv"], None, tmp_path / "out", config
    )
    assert (found["scale"], found["calibration"]) == ("esa", "none")
    assert [row["left_out"] for row in found["attention"]] == [False, True]
    over_systems = [row for row in found["correlations"] if row["direction"] == pair]
    assert [(row["coefficient"], row["value"], row["n"]) for row in over_systems] == [
        ("spearman", 1.0, 2), ("kendall", 1.0, 2), ("pearson", pytest.approx(1.0), 2),
    ]  # fmt: skip
