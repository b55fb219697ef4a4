"""Scattered text: the gold pairs are in the shards, whole, once, among other text."""

from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator

from corpus.errors import JobError, UserError
from corpus.files import read_lines, write_lines
from corpus.scatter import ScatterConfig, scatter

CONFIG = ScatterConfig(languages=("eng_Latn", "rus_Cyrl"), document_lines=4, documents_per_shard=3)
ALIGNED = {
    "eng_Latn": ["One cat.", "Two. Or three.", "Four dogs!", "One cat."],
    "rus_Cyrl": ["Один кот.", "Два или три.", "Четыре пса!", "Один кот."],
}
OTHER = {
    "eng_Latn": [f"Other line {i}." for i in range(20)] + ["One cat."],
    "rus_Cyrl": [f"Другая строка {i}." for i in range(20)],
}


def write(directory: Path, texts: dict[str, list[str]]) -> Path:
    for language, lines in texts.items():
        write_lines(directory / f"{language}.txt", lines)
    return directory


def shard_lines(directory: Path) -> list[str]:
    lines = []
    for shard in sorted((directory / "crawl").glob("*.warc.wet.gz")):
        with shard.open("rb") as stream:
            for record in ArchiveIterator(stream):
                if record.rec_type == "conversion":
                    lines += record.content_stream().read().decode().split("\n")
    return lines


def test_gold_pairs_stand_in_the_shards_once(tmp_path: Path) -> None:
    text, other = write(tmp_path / "text", ALIGNED), write(tmp_path / "other", OTHER)
    scatter(text, other, tmp_path / "out", CONFIG)
    gold = read_lines(tmp_path / "out" / "gold" / "eng_Latn-rus_Cyrl.tsv")
    # Line 2 may be split into two sentences and line 4 repeats line 1: neither is known.
    assert gold == ["One cat.\tОдин кот.", "Four dogs!\tЧетыре пса!"]
    lines = shard_lines(tmp_path / "out")
    for sentence in "\t".join(gold).split("\t"):
        assert lines.count(sentence) == 1
    assert sum(line.startswith("Other line") for line in lines) == 20


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    text, other = write(tmp_path / "text", ALIGNED), write(tmp_path / "other", OTHER)
    contents = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        config = ScatterConfig(languages=CONFIG.languages, seed=seed)
        scatter(text, other, tmp_path / name, config)
        shards = sorted((tmp_path / name / "crawl").iterdir())
        contents.append([shard.read_bytes() for shard in shards])
    assert contents[0] == contents[1] != contents[2]


def test_files_that_are_not_aligned_are_refused(tmp_path: Path) -> None:
    text = write(tmp_path / "text", {**ALIGNED, "rus_Cyrl": ["Один."]})
    other = write(tmp_path / "other", OTHER)
    with pytest.raises(JobError, match=r"eng_Latn 4, rus_Cyrl 1"):
        scatter(text, other, tmp_path / "out", CONFIG)


def test_language_without_text_is_named(tmp_path: Path) -> None:
    text, other = write(tmp_path / "text", ALIGNED), write(tmp_path / "other", OTHER)
    config = ScatterConfig(languages=("eng_Latn", "fra_Latn"))
    with pytest.raises(UserError, match="holds no text of `fra_Latn`"):
        scatter(text, other, tmp_path / "out", config)


def test_other_languages_have_documents_and_no_gold(tmp_path: Path) -> None:
    text = write(tmp_path / "text", ALIGNED)
    other = write(tmp_path / "other", {**OTHER, "ukr_Cyrl": ["Інший рядок.", "Ще один."]})
    config = ScatterConfig(languages=CONFIG.languages, other_languages=("ukr_Cyrl",))
    scatter(text, other, tmp_path / "out", config)
    lines = shard_lines(tmp_path / "out")
    assert lines.count("Інший рядок.") == lines.count("Ще один.") == 1
    assert [path.name for path in (tmp_path / "out" / "gold").iterdir()] == [
        "eng_Latn-rus_Cyrl.tsv"
    ]


def test_language_is_scattered_or_other(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`rus_Cyrl` is in both"):
        ScatterConfig(languages=CONFIG.languages, other_languages=("rus_Cyrl",))
