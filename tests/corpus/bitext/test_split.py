"""Known pairs are split the same way whatever they are given as."""

from pathlib import Path

import pytest

from corpus.bitext.split import SplitConfig, split_bitext
from corpus.errors import JobError, UserError
from corpus.files import read_lines, write_lines
from corpus.languages import Direction

PAIR = Direction("eng_Latn", "ces_Latn")
PAIRS = [(f"Sentence {i}.", f"Věta {i}.") for i in range(40)]


def written(output: Path, name: str) -> list[tuple[str, ...]]:
    header, *lines = read_lines(output / name / f"{PAIR}.tsv")
    assert header == "source\ttarget"
    return [tuple(line.split("\t")) for line in lines]


def write_pairs(path: Path, pairs: list[tuple[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_lines(path, ["\t".join(pair) for pair in pairs])
    return path


def test_every_pair_is_in_one_part_and_the_text_is_that_of_training(tmp_path: Path) -> None:
    given = write_pairs(tmp_path / "eng_Latn-ces_Latn.tsv", PAIRS)
    summary = split_bitext([given], PAIR, tmp_path / "out", SplitConfig(held_out=8))
    train, held_out = (written(tmp_path / "out", name) for name in ("train", "held_out"))
    assert sorted(train + held_out) == sorted(PAIRS)
    assert (len(train), len(held_out)) == (32, 8)
    assert read_lines(tmp_path / "out/text/ces_Latn.txt") == [target for _, target in train]
    assert (summary.counts["train"], summary.counts["held_out"]) == (32, 8)


def test_pairs_the_other_way_round_in_another_format_are_split_alike(tmp_path: Path) -> None:
    first = write_pairs(tmp_path / "eng_Latn-ces_Latn.tsv", PAIRS)
    write_lines(tmp_path / "moses/train.cs-en.cs", [target for _, target in PAIRS])
    write_lines(tmp_path / "moses/train.cs-en.en", [source for source, _ in PAIRS])
    write_lines(tmp_path / "moses/train.de-en.de", ["Satz"])
    write_lines(tmp_path / "moses/train.de-en.en", ["Sentence"])
    split_bitext([first], PAIR, tmp_path / "a", SplitConfig(held_out=8))
    split_bitext([tmp_path / "moses"], PAIR, tmp_path / "b", SplitConfig(held_out=8))
    for name in ("train", "held_out"):
        assert written(tmp_path / "a", name) == written(tmp_path / "b", name)


def test_copies_and_empty_sides_are_dropped_and_counted(tmp_path: Path) -> None:
    pairs = [*PAIRS[:8], PAIRS[0], ("Alone.", " "), ("", "Sama.")]
    given = write_pairs(tmp_path / "eng_Latn-ces_Latn.tsv", pairs)
    summary = split_bitext([given], PAIR, tmp_path / "out", SplitConfig(held_out=100))
    assert summary.counts == {
        "pairs": 11, "dropped.empty": 2, "dropped.repeated": 1, "train": 6, "held_out": 2,
    }  # fmt: skip


def test_bitext_of_other_languages_or_without_pairs_is_refused(tmp_path: Path) -> None:
    other = write_pairs(tmp_path / "other/eng_Latn-deu_Latn.tsv", [("a", "b")])
    with pytest.raises(UserError, match="no bitext of ces_Latn and eng_Latn"):
        split_bitext([other.parent], PAIR, tmp_path / "out", SplitConfig())
    empty = write_pairs(tmp_path / "empty/eng_Latn-ces_Latn.tsv", [("a", ""), ("", "b")])
    with pytest.raises(JobError, match="no pair has two sides"):
        split_bitext([empty], PAIR, tmp_path / "out", SplitConfig())
