import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import DataError, UserError
from nmt.vocabulary import train
from nmt.vocabulary.config import VocabularyConfig
from nmt.vocabulary.train import (
    SmallestHashes,
    Source,
    count_distinct,
    sample_distinct,
    share,
    size_for,
    train_vocabulary,
)
from nmt.vocabulary.vocabulary import LAYOUT_FILE, MODEL_FILE, Vocabulary
from tests.nmt.conftest import WORDS


def write_text(path: Path, lines: list[str]) -> Source:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return Source(path, (path.name.removesuffix(".txt"),))


@given(
    batches=st.lists(st.lists(st.integers(0, 200), max_size=30), min_size=1),
    limit=st.integers(1, 40),
)
def test_smallest_hashes_are_those_of_the_sorted_set(batches: list[list[int]], limit: int) -> None:
    smallest = SmallestHashes(limit)
    for batch in batches:
        hashes = np.array(batch, np.uint64)
        smallest.add(hashes, np.array([f"text {value}" for value in batch], object))
    expected = sorted({value for batch in batches for value in batch})
    hashes, values, is_all = smallest.result()
    assert hashes.tolist() == expected[:limit]
    assert values.tolist() == [f"text {value}" for value in expected[:limit]]
    assert is_all == (len(expected) <= limit)


def test_few_distinct_sentences_are_counted_exactly_and_many_closely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "SKETCH_HASHES", 2000)
    few = write_text(tmp_path / "qaa_Latn.txt", [str(i % 1500) for i in range(4000)])
    many = write_text(tmp_path / "qab_Latn.txt", [str(i % 30_000) for i in range(40_000)])
    sizes = count_distinct([many, few], seed=1)
    assert list(sizes) == ["qaa_Latn", "qab_Latn"]
    assert sizes["qaa_Latn"] == 1500
    assert sizes["qab_Latn"] == pytest.approx(30_000, rel=0.07)  # three times 1/√2000


def test_sample_is_of_distinct_sentences_whatever_their_files_and_order(tmp_path: Path) -> None:
    lines = [str(i) for i in range(500)]
    whole = [write_text(tmp_path / "a" / "qaa_Latn.txt", lines)]
    parts = [
        write_text(tmp_path / name / "qaa_Latn.txt", part)
        for name, part in (("b", lines[200:][::-1] * 2), ("c", lines[:300]))
    ]
    sample = sample_distinct(whole, {"qaa_Latn": 100}, seed=1)["qaa_Latn"].tolist()
    assert len(set(sample)) == 100
    assert sample_distinct(parts, {"qaa_Latn": 100}, seed=1)["qaa_Latn"].tolist() == sample
    assert sample_distinct(whole, {"qaa_Latn": 100}, seed=2)["qaa_Latn"].tolist() != sample
    halves = Counter(int(line) < 250 for line in sample)
    assert 30 < halves[True] < 70  # not the first ones, nor the last


def test_languages_share_by_temperature() -> None:
    config = VocabularyConfig(temperature=5.0, max_sentences=1000)
    # By hand: (1/100)^(1/5) = 0.398; 0.398 / 1.398 of a thousand.
    assert share({"qaa_Latn": 99_000, "qab_Latn": 990}, config) == {
        "qaa_Latn": 715,
        "qab_Latn": 285,
    }
    assert share({"qaa_Latn": 30, "qab_Latn": 10}, VocabularyConfig(temperature=1.0)) == {
        "qaa_Latn": 30,
        "qab_Latn": 10,
    }


def test_text_bitext_and_named_languages_make_one_vocabulary(tmp_path: Path, bitext: Path) -> None:
    lines = [" ".join(WORDS[i : i + 3]) for i in range(20)]
    write_text(tmp_path / "text" / "fra_Latn.txt", [*lines, "", "ba" * 3000, *lines])
    config = VocabularyConfig(size=80, languages=("swh_Latn", "fra_Latn"))
    summary = train_vocabulary([bitext], tmp_path / "v", config, [tmp_path / "text"])
    languages = ("fra_Latn", "qaa_Latn", "qab_Latn", "qac_Cyrl", "swh_Latn")
    assert Vocabulary.load(tmp_path / "v").languages == languages
    assert summary.counts["lines"] == 2 * 340 + 42
    assert summary.counts["rejected.empty"] == 1
    assert summary.counts["rejected.too_long"] == 1
    assert summary.counts["sentences"] <= 2 * 340 + 20


def test_same_bitext_gives_the_same_bytes(tmp_path: Path, bitext: Path) -> None:
    for name in ("a", "b"):
        train_vocabulary([bitext], tmp_path / name, VocabularyConfig(size=80))
    for name in (MODEL_FILE, LAYOUT_FILE):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_layout_is_spelled_out_in_the_order_of_the_tokens(vocabulary_directory: Path) -> None:
    layout = json.loads((vocabulary_directory / LAYOUT_FILE).read_text())
    indices = list(layout["symbols"].values())
    assert indices == sorted(indices)
    assert list(layout["symbols"])[:4] == ["<s>", "<pad>", "</s>", "<unk>"]
    assert layout["size"] == indices[-1] + 1


def test_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give `--bitext` or `--text`"):
        train_vocabulary([], tmp_path / "v", VocabularyConfig())
    write_text(tmp_path / "text" / "qaa_Latn.txt", ["", " \u200b "])
    with pytest.raises(DataError, match="no sentence"):
        share(
            count_distinct([Source(tmp_path / "text/qaa_Latn.txt", ("qaa_Latn",))], 1),
            VocabularyConfig(),
        )
    config = VocabularyConfig(languages=("xyz_Latn",))
    with pytest.raises(UserError, match="xyz_Latn"):
        train_vocabulary([], tmp_path / "v", config, [tmp_path / "text"])


def test_size_grows_with_the_square_root_of_the_sentences_up_to_nllbs() -> None:
    # By hand: 16 · √58,000 = 3,853; 16 · √12,000 = 1,753
    assert [size_for(n) for n in (1, 12_000, 58_000)] == [500, 2000, 4000]
    assert (size_for(256_000_000), size_for(10**12)) == (256_000, 256_000)


def test_text_decides_on_the_size_and_its_characters_count_besides(tmp_path: Path) -> None:
    alphabet = [chr(0x4E00 + i) for i in range(600)]
    lines = [f"{a}{b}" for a, b in zip(alphabet, alphabet[1:] + alphabet[:1], strict=True)]
    write_text(tmp_path / "text" / "qaa_Latn.txt", lines)
    train_vocabulary([], tmp_path / "v", VocabularyConfig(kind="unigram"), [tmp_path / "text"])
    vocabulary = Vocabulary.load(tmp_path / "v")
    # All 600 characters have a piece, which 16 · √600 pieces alone could not give them.
    assert all(vocabulary.unknown_index not in row for row in vocabulary.encode(alphabet))
