from pathlib import Path

import pyarrow as pa
import pytest

from corpus.errors import UserError
from corpus.records import BITEXT_SCHEMA, read_bitext, write_bitext
from corpus.text import sentence_hash
from mining.bitext.config import FilterConfig
from mining.bitext.filter import mean_length_ratio, reject_reasons, run_filter, trigram_overlap

CONFIG = FilterConfig(min_score=1.05, max_score=1.8)
GOOD = ("The house stands by the river.", "Дом стоит у самой реки.")


def bitext(*pairs: tuple[str, str], scores: list[float] | None = None) -> pa.Table:
    return pa.table(
        {
            "score": scores or [1.2] * len(pairs),
            "source": [source for source, _ in pairs],
            "target": [target for _, target in pairs],
            "source_document": ["u"] * len(pairs),
            "target_document": ["v"] * len(pairs),
        },
        schema=BITEXT_SCHEMA,
    )


def test_good_pair_is_kept() -> None:
    assert reject_reasons(bitext(GOOD), frozenset(), CONFIG) == [""]


@pytest.mark.parametrize("score", [1.0, 1.9])
def test_score_outside_the_range_is_rejected(score: float) -> None:
    (reason,) = reject_reasons(bitext(GOOD, scores=[score]), frozenset(), CONFIG)
    assert reason == ("score_too_low" if score < 1.05 else "score_too_high")


@pytest.mark.parametrize("side", [0, 1])
def test_sentence_of_an_evaluation_set_is_rejected_on_either_side(side: int) -> None:
    # Case and punctuation do not hide it.
    evaluation = frozenset({sentence_hash(GOOD[side].upper().replace(".", " !"))})
    assert reject_reasons(bitext(GOOD), evaluation, CONFIG) == ["evaluation_overlap"]


def test_copy_is_rejected() -> None:
    pairs = bitext(GOOD, ("This line was copied whole.", "This line was copied, whole!"))
    assert reject_reasons(pairs, frozenset(), CONFIG) == ["", "copy"]


def test_length_is_judged_by_the_ratio_of_the_pair_not_by_one() -> None:
    chinese = ("The weather is very good today.", "今天天气很好。")
    pairs = bitext(*[(f"{chinese[0]} {i}", f"{chinese[1]}{i}") for i in range(9)], GOOD)
    reasons = reject_reasons(pairs, frozenset(), CONFIG)
    assert reasons == [""] * 9 + ["length_ratio"] or reasons[:1] == [""]
    assert reasons[-1] == "length_ratio"


def test_same_pair_again_is_a_duplicate() -> None:
    pairs = bitext(GOOD, (GOOD[0].upper(), GOOD[1]))
    assert reject_reasons(pairs, frozenset(), CONFIG) == ["", "duplicate_pair"]


def test_mean_length_ratio_by_hand() -> None:
    # By hand: (1 + 2) / (2 + 4) = 0.5
    assert mean_length_ratio(["aa", "bbbb"], ["x", "yy"]) == 0.5


def test_trigram_overlap_by_hand() -> None:
    # By hand: abc bcd cde against abc bcd: both of the smaller side's.
    assert trigram_overlap("abcde", "abcd") == 1.0
    assert trigram_overlap("abcde", "xyz") == 0.0


def evaluation_set(folder: Path, sentence: str) -> Path:
    split = folder / "flores" / "devtest"
    split.mkdir(parents=True)
    (split / "rus_Cyrl.devtest").write_text(f"{sentence}\n", encoding="utf-8")
    return folder / "flores"


def test_file_is_filtered_and_counts_add_up(tmp_path: Path) -> None:
    pairs = bitext(
        GOOD,
        GOOD,
        ("The river was wide and slow.", "Река была широкой и тихой."),
        ("A copied line, as it was.", "A copied line, as it was."),
        ("Short", "Это предложение гораздо длиннее, чем должно быть."),
    )
    write_bitext(tmp_path / "in.parquet", pairs)
    sets = [evaluation_set(tmp_path, "Река была широкой и тихой")]
    summary = run_filter(tmp_path / "in.parquet", tmp_path / "out" / "x.tsv", sets, FilterConfig())
    counts = dict(summary.counts)
    assert counts["pairs"] == counts["kept"] + sum(
        count for reason, count in counts.items() if reason.startswith("rejected.")
    )
    assert counts["kept"] == 1
    assert counts["rejected.evaluation_overlap"] == 1
    kept = read_bitext(tmp_path / "out" / "x.tsv")
    assert kept.column("source").to_pylist() == [GOOD[0]]


def test_directory_that_is_no_evaluation_set_is_refused(tmp_path: Path) -> None:
    write_bitext(tmp_path / "in.parquet", bitext(GOOD))
    with pytest.raises(UserError, match="holds no evaluation set"):
        run_filter(tmp_path / "in.parquet", tmp_path / "o.parquet", [tmp_path], FilterConfig())


def test_input_is_never_overwritten(tmp_path: Path) -> None:
    write_bitext(tmp_path / "in.parquet", bitext(GOOD))
    with pytest.raises(UserError, match="is the input"):
        run_filter(tmp_path / "in.parquet", tmp_path / "in.parquet", [], FilterConfig())
