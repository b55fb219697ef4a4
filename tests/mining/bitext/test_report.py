import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from corpus.errors import DataError, UserError
from corpus.files import write_json
from corpus.records import BITEXT_SCHEMA, SENTENCES_SCHEMA, write_bitext, write_table
from mining.bitext.config import FilterConfig
from mining.bitext.filter import FilterInputs, run_filter
from mining.bitext.report import write_report
from mining.bitext.report_data import BANDS, NO_ADDRESS, collect, domain_of
from mining.search.config import MineConfig
from mining.search.mine import run_mine
from tests.mining.search.test_calibrate import known  # noqa: F401
from tests.mining.search.test_mine import SOURCE, TARGET, write_corpus

PAIR = "eng_Latn-arb_Arab"
ROWS = [
    {
        "score": 1.0 + i / 100,
        "source": f"Sentence {i} <b>here</b> & there.",
        "target": f"الجملة {i} هنا.",
        "source_document": f"https://www.example.org/{i}" if i % 2 else "no url",
        "target_document": "http://news.example.com:8080/x",
    }
    for i in range(50)
]
CALIBRATION: dict[str, Any] = {
    "margin": "ratio", "neighbors": 4, "threshold": 1.06, "pairs": 80, "expected_precision": 0.9,
    "expected_precision_low": 0.85, "expected_recall": 0.8, "known.planted_whole": 100,
    "curve": [
        {"threshold": 1.0, "pairs": 100, "precision": 0.6, "recall": 0.9},
        {"threshold": 1.06, "pairs": 80, "precision": 0.9, "recall": 0.8},
    ],
    "histogram": {"edges": [1.0, 1.1, 1.2], "mined": [60, 40], "found": [5, 70], "wrong": [9, 0]},
}  # fmt: skip


def receipt(directory: Path, name: str, counts: dict[str, int]) -> None:
    write_json(directory / "receipts" / f"{name}.json", {"counts": counts})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_bitext(tmp_path / "bitext" / f"{PAIR}.parquet", pa.Table.from_pylist(ROWS, BITEXT_SCHEMA))
    counts = {"pairs": 80, "kept": 50, "rejected.numbers": 27, "rejected.evaluation_overlap": 3}
    receipt(tmp_path / "bitext", f"filter/{PAIR}", {**counts, "unmeasured.toxicity.arb_Arab": 80})
    mined = {"source_sentences": 500, "target_sentences": 400, "candidate_pairs": 300, "pairs": 80}
    receipt(tmp_path / "mined", f"mine/{PAIR}", mined)
    write_json(tmp_path / "mined" / f"{PAIR}.calibration.json", CALIBRATION)
    for shard in ("a", "b"):
        extracted = {"documents": 10, "lines": 700, "sentences": 600, "rejected.too_short": 50}
        receipt(tmp_path / "sentences", f"extract/{shard}", extracted)
    receipt(tmp_path / "sentences", "merge/eng_Latn", {"kept": 1100})
    rows = [
        {"text": f"{i}", "lid_score": 1.0, "document": f"https://example.org/{i % 3}",
         "position": i, "hash": i}
        for i in range(100)
    ]  # fmt: skip
    for language in ("eng_Latn", "fra_Latn"):
        path = tmp_path / "sentences" / language / "a.parquet"
        write_table(path, pa.Table.from_pylist(rows, SENTENCES_SCHEMA))
    receipt(tmp_path / "embeddings", "embed/eng_Latn/a", {"sentences": 1100})
    return tmp_path


def page(run: Path, **directories: Path) -> str:
    write_report(run / "report.html", bitext=run / "bitext", **directories)
    return (run / "report.html").read_text(encoding="utf-8")


def whole(run: Path) -> str:
    names = ("mined", "sentences", "embeddings")
    return page(run, **{name: run / name for name in names})


def test_page_has_the_counts_of_every_step(run: Path) -> None:
    text = whole(run)
    for words in ("1,100", "1,200", ">80<", ">50<", "90.0%", "threshold 1.060", "0.800"):
        assert words in text, words
    assert "numbers" in text
    assert "toxicity.arb_Arab: 80 pairs" in text
    assert "3</b><span>pairs with text of evaluation sets removed" in text


def test_page_is_one_file_that_asks_for_nothing(run: Path) -> None:
    text = whole(run)
    assert not re.search(r"(src|href)\s*=|url\(|@import", text)
    assert text == whole(run)


def test_text_is_escaped_and_stands_in_the_direction_of_its_script(run: Path) -> None:
    text = whole(run)
    assert "<b>here</b>" not in text
    assert "&lt;b&gt;here&lt;/b&gt; &amp; there." in text
    assert re.search(r'<div lang="ara?b?-Arab" dir="rtl">الجملة \d+ هنا\.</div>', text)
    assert 'dir="ltr">Sentence' in text


def test_samples_are_from_every_fifth_and_the_same_whatever_the_order(run: Path) -> None:
    bands = collect(run / "bitext", None, None, None).directions[0].bands
    assert len(bands) == BANDS
    for band in bands:
        assert len(band.samples) == 4
        assert all(band.low <= sample.score <= band.high for sample in band.samples)
    path = run / "bitext" / f"{PAIR}.parquet"
    write_bitext(path, pa.Table.from_pylist(ROWS[::-1], BITEXT_SCHEMA))
    assert collect(run / "bitext", None, None, None).directions[0].bands == bands


def test_domains_are_counted_by_side_and_held_against_their_sentences(run: Path) -> None:
    found = collect(run / "bitext", None, run / "sentences", None).domains
    assert {domain.name: (domain.pairs, domain.sentences) for domain in found} == {
        "news.example.com": (50, 0), "example.org": (25, 100), NO_ADDRESS: (25, 0),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("document", "domain"),
    [
        ("https://www.Example.org:443/a?b", "example.org"),
        ("crawl-0001.txt:123", NO_ADDRESS),
        ("http://[", NO_ADDRESS),
        ("", NO_ADDRESS),
    ],
)
def test_domain_is_the_host_of_an_address(document: str, domain: str) -> None:
    assert domain_of(document) == domain


def test_what_is_not_there_is_said(run: Path) -> None:
    text = page(run)
    assert "not known" in text
    assert f"Missing: {PAIR}.calibration.json" in text
    assert "Not at hand: documents" in text


def test_bitext_without_scores_or_pairs_has_a_page_too(tmp_path: Path) -> None:
    (tmp_path / "bitext").mkdir()
    (tmp_path / "bitext" / "eng_Latn-fra_Latn.tsv").write_text("a\tb\n", encoding="utf-8")
    empty = pa.Table.from_pylist([], BITEXT_SCHEMA)
    write_bitext(tmp_path / "bitext" / "eng_Latn-deu_Latn.parquet", empty)
    assert "Missing: pairs with a score" in page(tmp_path)


def test_missing_directories_are_the_users_mistake(run: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        page(run, mined=run / "nowhere")
    with pytest.raises(UserError, match="holds no bitext"):
        write_report(run / "x.html", bitext=run / "mined")
    with pytest.raises(UserError, match=r"its name should end in \.html"):
        write_report(run / "x.tsv", bitext=run / "bitext")


def test_damaged_sentences_are_named_by_their_file(run: Path) -> None:
    path = next((run / "sentences").glob("*/*.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=rf"{path.name} is not a readable Parquet file"):
        page(run, sentences=run / "sentences")


@pytest.mark.parametrize("planted", [True, False])
def test_page_of_what_the_commands_write_has_all_its_parts(
    tmp_path: Path,
    known: Path,  # noqa: F811
    planted: bool,
) -> None:
    write_corpus(tmp_path)
    mined = tmp_path / "mined" / f"{SOURCE}-{TARGET}.parquet"
    sentences, embeddings = tmp_path / "sentences", tmp_path / "embeddings"
    plants = known if planted else None
    config = MineConfig(margin_threshold=1.2)
    run_mine(sentences, embeddings, SOURCE, TARGET, mined, config, plants)
    rules = FilterConfig(max_overlap=1.0, min_script_share=0.0)
    run_filter(mined, tmp_path / "bitext" / mined.name, FilterInputs(), rules)
    text = page(tmp_path, mined=mined.parent, sentences=sentences, embeddings=embeddings)
    assert "Missing" not in text
    shown = re.search(r"At the threshold: precision \S+, at least \S+, recall", text)
    assert bool(shown) is planted
    assert ("Not calibrated" in text) is not planted
    assert text.count('class="pair"') > 10
