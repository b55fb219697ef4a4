"""Filtering bitext as others write it."""

from pathlib import Path

from corpus.records import read_bitext
from mining.bitext.config import FilterConfig
from mining.bitext.filter import FilterInputs, run_filter

SENTENCES = {"source": "The cat sleeps on the warm roof.", "target": "Le chat dort sur le toit."}


def test_scores_of_a_file_without_a_header_are_filtered_by_when_they_are_said(
    tmp_path: Path,
) -> None:
    path = tmp_path / "eng_Latn-fra_Latn.tsv"
    lines = [
        f"{score}\t{number} {SENTENCES['source']}\t{number} {SENTENCES['target']}\n"
        for number, score in (("One", 1.3), ("Two", 1.1))
    ]
    path.write_text("".join(lines), encoding="utf-8")
    config = FilterConfig(min_score=1.2, columns={"score": "1", "source": "2", "target": "3"})
    summary = run_filter(path, tmp_path / "kept.tsv", FilterInputs(), config)
    assert (summary.counts["pairs"], summary.counts["kept"]) == (2, 1)
    assert read_bitext(tmp_path / "kept.tsv").column("source").to_pylist() == [
        f"One {SENTENCES['source']}"
    ]


def test_header_of_languages_follows_the_config_of_the_direction(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(f"fr\ten\n{SENTENCES['target']}\t{SENTENCES['source']}\n", encoding="utf-8")
    config = FilterConfig(direction="eng_Latn-fra_Latn")
    run_filter(path, tmp_path / "kept.tsv", FilterInputs(), config)
    table = read_bitext(tmp_path / "kept.tsv")
    assert {name: table[name].to_pylist() for name in SENTENCES} == {
        name: [text] for name, text in SENTENCES.items()
    }
