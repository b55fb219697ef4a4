"""Buckets of directions and their averages, against hand calculations and the published table."""

from pathlib import Path

import numpy as np
import pytest

from corpus.errors import DataError, UserError
from corpus.files import write_lines
from corpus.languages import Direction, known_languages, parse_direction
from eval.statistics.averages import ResampledMeans, average
from eval.statistics.buckets import (
    LanguageTable,
    built_in_table,
    count_level,
    direction_level,
    make_buckets,
    read_directions,
    read_language_table,
)


def directions(text: str) -> list[Direction]:
    return [parse_direction(part) for part in text.split()]


def test_counts_become_levels_at_nllbs_limits() -> None:
    counts = [100_000, 100_001, 999_999, 1_000_000]
    assert [count_level(count) for count in counts] == ["very_low", "low", "low", "high"]


def test_built_in_table_has_nllbs_202_languages_and_a_family_for_all_204() -> None:
    table = built_in_table()
    assert len(table.levels) == 202
    assert set(known_languages()) - set(table.levels) == {"arb_Latn", "min_Arab"}
    assert set(table.columns["family"]) == set(known_languages())
    # Published with NLLB-200: 161,186,278 sentences of English, 5,092 of Santali.
    assert (table.levels["eng_Latn"], table.levels["sat_Olck"]) == ("high", "very_low")


def test_all_nllb_directions_are_40602_and_levels_cover_them() -> None:
    table = built_in_table()
    every = [Direction(a, b) for a in table.levels for b in table.levels if a != b]
    buckets = make_buckets(every, table, pivot="eng_Latn")
    assert len(buckets["all"]) == 40_602
    assert len(buckets["high"]) + len(buckets["low"]) == 40_602
    assert buckets["very_low"] < buckets["low"]
    assert len(buckets["eng-xx"]) == len(buckets["xx-eng"]) == 201
    assert len(buckets["xx-yy"]) == 40_602 - 402


def test_unknown_version_of_counts_names_the_known() -> None:
    with pytest.raises(UserError, match=r"no counts `nllb-3`; there are nllb-200"):
        built_in_table("nllb-3")


def test_pivot_levels_scripts_and_supervision_make_buckets() -> None:
    pairs = directions("eng_Latn-rus_Cyrl rus_Cyrl-eng_Latn rus_Cyrl-hin_Deva eng_Latn-sat_Olck")
    buckets = make_buckets(pairs, built_in_table(), "eng_Latn", supervised=set(pairs[:2]))
    assert buckets["eng-xx"] == {pairs[0], pairs[3]}
    assert buckets["eng-xx/very_low"] == {pairs[3]}
    assert buckets["xx-yy"] == {pairs[2]}
    assert buckets["supervised"] == set(pairs[:2])
    assert buckets["zero-shot"] == set(pairs[2:])
    assert buckets["script:Deva"] == {pairs[2]}
    assert buckets["family:Austroasiatic"] == {pairs[3]}
    assert "eng-xx/low" in buckets
    assert next(iter(buckets)) == "all"
    assert "xx-yy" not in make_buckets(pairs, built_in_table(), "fra_Latn")


def test_own_table_may_count_sentences_and_add_columns(tmp_path: Path) -> None:
    rows = ["language\tsentences\tregion", "eng_Latn\t5000000\tEurope", "hin_Deva\t90000\tAsia"]
    write_lines(tmp_path / "l.tsv", rows)
    table = read_language_table(tmp_path / "l.tsv")
    assert table.levels == {"eng_Latn": "high", "hin_Deva": "very_low"}
    buckets = make_buckets(directions("eng_Latn-hin_Deva hin_Deva-eng_Latn"), table)
    assert buckets["region:Asia"] == set(directions("eng_Latn-hin_Deva"))


def test_count_that_is_no_number_is_named_with_its_line(tmp_path: Path) -> None:
    write_lines(tmp_path / "l.tsv", ["language\tsentences", "eng_Latn\tmany"])
    with pytest.raises(DataError, match=r"l\.tsv:2: sentences is `many`"):
        read_language_table(tmp_path / "l.tsv")


def test_supervised_directions_are_read_and_mistakes_named(tmp_path: Path) -> None:
    write_lines(tmp_path / "d.txt", ["direction", "eng_Latn-fra_Latn\t12", "", "fra_Latn-eng_Latn"])
    assert len(read_directions(tmp_path / "d.txt")) == 2
    write_lines(tmp_path / "d.txt", ["eng_Latn-fra_Latn", "eng-xyz"])
    with pytest.raises(DataError, match=r"d\.txt:2"):
        read_directions(tmp_path / "d.txt")


def test_language_without_a_level_is_in_no_level_but_in_all() -> None:
    pairs = directions("eng_Latn-arb_Latn eng_Latn-rus_Cyrl")
    assert direction_level(pairs[0], built_in_table().levels) is None
    buckets = make_buckets(pairs, built_in_table())
    assert len(buckets["all"]) == 2
    assert buckets["high"] == {pairs[1]}


def test_averages_carry_what_is_there_and_what_is_missing_with_an_interval() -> None:
    pairs = directions("eng_Latn-rus_Cyrl rus_Cyrl-eng_Latn eng_Latn-hin_Deva")
    buckets = make_buckets(pairs, LanguageTable())
    resampled = ResampledMeans(buckets)
    # Two directions, 40 resamples: means of 0..39 and 10..49 are 5..44; one of 40 off each end.
    scores = np.arange(40, dtype=np.float32) + np.array([[0], [10]], np.float32)
    resampled.add("s", "m", pairs[:2], scores)
    values = {("s", "m", pairs[0]): 20.0, ("s", "m", pairs[1]): 30.0}
    found = {one.bucket: one for one in average(values, buckets, resampled)}
    assert found["all"][3:] == (25.0, 2, 1, 6.0, 43.0, None)
    assert found["script:Deva"][3:] == (None, 0, 1, None, None, None)
