"""WMT's XML and SGML, and IWSLT's: the same segments as sacrebleu takes, and nothing dangerous."""

from pathlib import Path

import pytest
from sacrebleu.dataset.wmt_xml import WMTXMLDataset

from corpus.errors import DataError, UserError
from corpus.files import write_text
from corpus.test_sets.find import find_test_set
from corpus.test_sets.markup import read_wmt_xml

WMT = """<?xml version='1.0' encoding='utf-8'?>
<dataset id="wmttest2022">
  <doc origlang="en" id="news.1" domain="news">
    <src lang="en"><p><seg id="2">Second &amp;  last.</seg><seg id="1">First.</seg></p></src>
    <ref lang="de" translator="A"><p><seg id="1">Erstes.</seg><seg id="2">Zweites.</seg></p></ref>
    <ref lang="de" translator="B"><p><seg id="1">Das erste.</seg><seg id="2"/></p></ref>
    <hyp system="x" lang="de"><p><seg id="1">E.</seg><seg id="2">Z.</seg></p></hyp>
  </doc>
  <doc origlang="en" id="t.1" testsuite="gender" domain="news">
    <src lang="en"><p><seg id="1">Suite.</seg></p></src>
  </doc>
  <doc origlang="en" id="social.1" domain="social">
    <src lang="en"><p><seg id="1">Third.</seg><seg id="2">Nobody translated it.</seg></p></src>
    <ref lang="de" translator="A"><p><seg id="1">Drittes.</seg></p></ref>
  </doc>
</dataset>
"""


def test_wmt_xml_gives_the_segments_that_sacrebleu_takes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "wmttest2022.en-de.all.xml"
    write_text(path, WMT)
    theirs = WMTXMLDataset._unwrap_wmt21_or_later(str(path))
    clean = WMTXMLDataset._clean
    (read,) = find_test_set(path).pairs.values()
    found = read()
    assert "1 segments without a reference are left out" in caplog.text
    assert found.source == [clean(line) for line in theirs["src"]]
    assert found.references == [[clean(line) for line in theirs[f"ref:{name}"]] for name in "AB"]
    assert found.translators == ("A", "B")
    assert found.columns["domain"] == theirs["domain"]
    assert found.columns["document"] == theirs["docid"]


def test_references_can_be_chosen_by_translator(tmp_path: Path) -> None:
    write_text(tmp_path / "x.xml", WMT)
    assert read_wmt_xml(tmp_path / "x.xml", ["B"]).references == [["Das erste."]]
    with pytest.raises(UserError, match="no reference by `C`; it has A, B"):
        read_wmt_xml(tmp_path / "x.xml", ["C"])


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>',
        '<!DOCTYPE d SYSTEM "file:///etc/passwd">',
    ],
)
def test_xml_with_a_document_type_is_refused(tmp_path: Path, declaration: str) -> None:
    write_text(tmp_path / "x.xml", WMT.replace("<dataset", f"{declaration}<dataset", 1))
    with pytest.raises(DataError, match="document type declaration"):
        read_wmt_xml(tmp_path / "x.xml")


def test_damaged_and_nested_xml_is_refused(tmp_path: Path) -> None:
    write_text(tmp_path / "cut.xml", WMT[:400])
    with pytest.raises(DataError, match="is not XML"):
        read_wmt_xml(tmp_path / "cut.xml")
    write_text(tmp_path / "deep.xml", "<a>" * 100 + "</a>" * 100)
    with pytest.raises(DataError, match="nested more than"):
        read_wmt_xml(tmp_path / "deep.xml")


def sgml(side: str, language: str, texts: list[str]) -> str:
    segments = "\n".join(f'<seg id="{n}">{text}</seg>' for n, text in enumerate(texts, 1))
    return (
        f'<{side}set setid="newstest2019" srclang="any" trglang="{language}">\n'
        f'<doc sysid="ref" docid="bbc.1" genre="news" origlang="en">\n<p>\n{segments}\n</p>\n'
        f"</doc>\n</{side}set>\n"
    )


def test_sgml_pairs_source_with_all_references(tmp_path: Path) -> None:
    write_text(
        tmp_path / "newstest2020-ende-src.en.sgm", sgml("src", "en", ["R&D &amp; more", "x"])
    )
    write_text(tmp_path / "newstest2020-ende-ref.de.sgm", sgml("ref", "de", ["F&E", "y"]))
    write_text(tmp_path / "newstestB2020-ende-ref.de.sgm", sgml("ref", "de", ["Forschung", "z"]))
    found = find_test_set(tmp_path)
    (read,) = found.pairs.values()
    assert read().source == ["R&D & more", "x"]
    assert read().references == [["F&E", "y"], ["Forschung", "z"]]
    assert read().columns["document"] == ["bbc.1", "bbc.1"]
    assert found.kind == "WMT SGML"


def test_sgml_of_several_years_needs_a_split(tmp_path: Path) -> None:
    for year in ("2018", "2019"):
        for side, code in (("src", "en"), ("ref", "de")):
            path = tmp_path / f"newstest{year}-ende-{side}.{code}.sgm"
            write_text(path, sgml(side, code, [year]))
    with pytest.raises(UserError, match="newstest2018 and newstest2019"):
        find_test_set(tmp_path)
    (read,) = find_test_set(tmp_path, "newstest2019").pairs.values()
    assert read().source == ["2019"]
    (read,) = find_test_set(tmp_path / "newstest2018-ende-ref.de.sgm").pairs.values()
    assert read().source == ["2018"]


def test_iwslt_takes_references_from_the_other_direction_where_they_are(tmp_path: Path) -> None:
    for source, target in (("en", "de"), ("de", "en")):
        talk = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<mteval>\n<srcset setid="iwslt2017-tst2017"'
            f' srclang="{source}">\n<doc docid="1" genre="lectures">\n<keywords>talks, R&D'
            f'</keywords>\n<seg id="1"> {source} line </seg>\n</doc>\n</srcset>\n</mteval>\n'
        )
        write_text(tmp_path / f"IWSLT17.TED.tst2017.{source}-{target}.{source}.xml", talk)
    found = find_test_set(tmp_path, "tst2017")
    texts = {str(pair): read() for pair, read in found.pairs.items()}
    assert texts["eng_Latn-deu_Latn"].source == ["en line"]
    assert texts["eng_Latn-deu_Latn"].references == [["de line"]]
    assert found.kind == "IWSLT"
