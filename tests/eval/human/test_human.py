"""Human scores: agreement and correlation against published values, calibration by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import DataError, JobError, UserError
from corpus.files import read_lines, write_lines
from eval.cli import group
from eval.config import CorrelateConfig
from eval.correlate import correlate_human
from eval.human.agreement import Coincidences, Level
from eval.human.correlation import COEFFICIENTS, correlate, mean_ranks
from eval.human.judgments import calibrate, read_judgments, score_directions

_ = math.nan
# Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, part E: four observers, 12 units.
FOUR_OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
]
# en.wikipedia.org/wiki/Krippendorff's_alpha, "A computational example": three coders, 15 units.
THREE_CODERS = [
    [_, _, _, _, _, 3, 4, 1, 2, 1, 1, 3, 3, _, 3],
    [1, _, 2, 1, 3, 3, 4, 3, _, _, _, _, _, _, _],
    [_, _, 2, 1, 3, 4, 4, _, 2, 1, 1, 3, 3, _, 4],
]


def items_of(table: list[list[float]]) -> list[list[float]]:
    return [[x for x in column if not math.isnan(x)] for column in zip(*table, strict=True)]


@pytest.mark.parametrize(
    ("table", "level", "published"),
    [
        (FOUR_OBSERVERS, "nominal", 0.743),
        (FOUR_OBSERVERS, "ordinal", 0.815),
        (FOUR_OBSERVERS, "interval", 0.849),
        (THREE_CODERS, "nominal", 0.691),
        (THREE_CODERS, "interval", 0.811),
    ],
)
def test_alpha_is_as_published(table: list[list[float]], level: Level, published: float) -> None:
    assert Coincidences(items_of(table)).alpha(level) == pytest.approx(published, abs=5e-4)


def test_alpha_is_one_when_all_agree_and_nothing_when_nothing_varies() -> None:
    assert Coincidences([[1, 1], [2, 2], [5, 5, 5]]).alpha("ordinal") == 1.0
    assert Coincidences([[3, 3], [3, 3]]).alpha("ordinal") is None
    assert Coincidences([[3], [4]]).alpha("interval") is None
    assert Coincidences([]).alpha("interval") is None


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), min_size=2, max_size=12))
def test_alpha_does_not_depend_on_the_order_of_annotators_or_items(items: list[list[int]]) -> None:
    for level in ("nominal", "ordinal", "interval"):
        first = Coincidences(items).alpha(level)  # type: ignore[arg-type]
        other = Coincidences([list(reversed(one)) for one in reversed(items)]).alpha(level)  # type: ignore[arg-type]
        assert first == pytest.approx(other) if first is not None else other is None
        assert first is None or first <= 1 + 1e-9


def test_sampled_items_weigh_as_often_as_they_were_drawn() -> None:
    items = items_of(FOUR_OBSERVERS)[:11]
    weights = np.array([2, 0, 1, 1, 3, 0, 1, 1, 1, 0, 1], dtype=float)
    repeated = [item for item, count in zip(items, weights, strict=True) for _ in range(int(count))]
    for level in ("nominal", "interval", "ordinal"):
        expected = Coincidences(repeated).alpha(level)  # type: ignore[arg-type]
        assert Coincidences(items).alpha(level, weights) == pytest.approx(expected)  # type: ignore[arg-type]


def test_interval_of_alpha_holds_it_and_is_repeatable() -> None:
    coincidences = Coincidences(items_of(FOUR_OBSERVERS))
    first = coincidences.interval("ordinal", 300, 1, 0.95)
    assert first == coincidences.interval("ordinal", 300, 1, 0.95)
    assert first is not None
    assert first[0] < 0.815 < first[1]


@pytest.mark.parametrize(
    ("name", "x", "y", "published"),
    [
        # Examples in SciPy's documentation of pearsonr, spearmanr and kendalltau.
        ("pearson", [1, 2, 3, 4, 5, 6, 7], [10, 9, 2.5, 6, 4, 3, 2], -0.828503883588428),
        ("spearman", [1, 2, 3, 4, 5], [5, 6, 7, 8, 7], 0.8207826816681233),
        ("kendall", [12, 2, 1, 12, 2], [1, 4, 7, 1, 0], -0.47140452079103173),
        # en.wikipedia.org/wiki/Spearman's_rank_correlation_coefficient: IQ and hours of television.
        (
            "spearman",
            [106, 100, 86, 101, 99, 103, 97, 113, 112, 110],
            [7, 27, 2, 50, 28, 29, 20, 12, 6, 17],
            -29 / 165,
        ),
        # By hand: of six pairs five agree in order, one does not.
        ("kendall", [1, 2, 3, 4], [1, 3, 2, 4], 4 / 6),
    ],
)
def test_coefficients_are_as_published(
    name: str, x: list[float], y: list[float], published: float
) -> None:
    found = COEFFICIENTS[name](np.array(x, dtype=float), np.array(y, dtype=float))
    assert found == pytest.approx(published)


def test_equal_values_share_their_mean_rank() -> None:
    assert mean_ranks(np.array([30.0, 10, 20, 20, 10, 10])).tolist() == [6, 2, 4.5, 4.5, 2, 2]


def test_interval_covers_the_true_correlation_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    covered = 0
    for seed in range(100):
        x = generator.normal(size=60)
        y = 0.7 * x + math.sqrt(1 - 0.49) * generator.normal(size=60)
        found = correlate(x.tolist(), y.tolist(), "pearson", trials=200, seed=seed, confidence=0.95)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.7 <= found.high
    assert 86 <= covered <= 100  # 95 expected; percentile intervals are a little narrow


def test_what_does_not_vary_correlates_with_nothing() -> None:
    for name in COEFFICIENTS:
        kinds = {"trials": 10, "seed": 1, "confidence": 0.95}
        assert correlate([1, 2, 3], [5, 5, 5], name, **kinds) == (None, None, None)  # type: ignore[arg-type]
        assert correlate([1], [5], name, **kinds) == (None, None, None)  # type: ignore[arg-type]


# Calibration.


def test_shift_adds_what_the_group_lacks_to_the_nominal_mean() -> None:
    assert calibrate(4.0, 2.6, "shift", 3.0) == pytest.approx(4.4)
    assert calibrate(4.0, 2.6, "none", 3.0) == 4.0


@given(score=st.floats(1, 5), other=st.floats(1, 5), mean=st.floats(1.05, 4.95))
def test_moderated_calibration_stays_on_the_scale_and_keeps_the_order(
    score: float, other: float, mean: float
) -> None:
    low, high = sorted((score, other))
    first, second = (calibrate(value, mean, "moderated", 3.0) for value in (low, high))
    assert 1 <= first <= second + 1e-9 <= 5 + 2e-9
    assert calibrate(mean, mean, "moderated", 3.0) == pytest.approx(3.0)
    assert calibrate(1, mean, "moderated", 3.0) == 1
    assert calibrate(5, mean, "moderated", 3.0) == 5
    assert calibrate(score, 3.0, "moderated", 3.0) == pytest.approx(score)


def test_moderated_calibration_by_hand() -> None:
    # 4 is half-way from 3.5 to 5 at one third: 5 - (5 - 4) * (5 - 3) / (5 - 3.5)
    assert calibrate(4.0, 3.5, "moderated", 3.0) == pytest.approx(5 - 2 / 1.5)
    with pytest.raises(DataError, match="an end of the scale"):
        calibrate(4.0, 5.0, "moderated", 3.0)


# Tables.

HEADER = "evaluator\titem\tdirection\tscore"
FRENCH, HINDI = "eng_Latn-fra_Latn", "eng_Latn-hin_Deva"
JUDGMENTS = [
    HEADER,
    f"a\t1\t{FRENCH}\t5", f"b\t1\t{FRENCH}\t4", f"c\t1\t{FRENCH}\t4",
    f"a\t2\t{FRENCH}\t3", f"b\t2\t{FRENCH}\t5", f"c\t2\t{FRENCH}\t1",
    f"d\t1\t{HINDI}\t2", f"e\t1\t{HINDI}\t3",
]  # fmt: skip
CALIBRATION = [
    HEADER,
    f"a\tx\t{FRENCH}\t4", f"b\tx\t{FRENCH}\t4", f"c\tx\t{FRENCH}\t2",
    f"a\ty\t{FRENCH}\t3", f"b\ty\t{FRENCH}\t3", f"c\ty\t{FRENCH}\t3",
    f"d\tx\t{HINDI}\t2", f"d\ty\t{HINDI}\t3",
]  # fmt: skip
SCORES = ["system\tdirection\tmetric\tvalue\tn\tsignature"] + [
    f"{system}\t{direction}\t{metric}\t{value}\t4\tsigned"
    for system, direction, metric, value in [
        ("mine", FRENCH, "chrf++", 60.5), ("mine", HINDI, "chrf++", 40.5),
        ("mine", FRENCH, "spbleu", 30.5), ("copy", FRENCH, "chrf++", 10.5),
    ]
]  # fmt: skip


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    write_lines(tmp_path / "human.tsv", JUDGMENTS)
    write_lines(tmp_path / "calibration.tsv", CALIBRATION)
    write_lines(tmp_path / "scores.tsv", SCORES)
    return tmp_path


def test_score_is_the_mean_of_medians(tables: Path) -> None:
    french, hindi = score_directions(read_judgments(tables / "human.tsv"))
    assert (french.mean, french.items, french.evaluators) == (3.5, 2, 3)  # medians 4 and 3
    assert (hindi.mean, hindi.items, hindi.evaluators) == (2.5, 1, 2)


@pytest.mark.parametrize(
    ("kind", "french", "hindi"),
    [
        ("none", 3.5, 2.5),
        ("shift", 3.0, 3.0),  # calibration means: medians 4 and 3 give 3.5; 2 and 3 give 2.5
        ("moderated", 3.0, 3.0),
    ],
)
def test_scores_are_calibrated_by_the_group(
    kind: str, french: float, hindi: float, tables: Path
) -> None:
    config = CorrelateConfig(calibration=kind, trials=20)  # type: ignore[arg-type]
    correlate_human(
        [tables / "human.tsv"],
        [tables / "scores.tsv"],
        tables / "calibration.tsv",
        tables / "out",
        config,
    )
    rows = [line.split("\t") for line in read_lines(tables / "out" / "human.tsv")]
    found = {row[1]: float(row[rows[0].index("calibrated")]) for row in rows[1:]}
    assert found == {FRENCH: pytest.approx(french), HINDI: pytest.approx(hindi)}


def test_group_without_calibration_scores_is_left_out_and_named(tables: Path) -> None:
    write_lines(tables / "calibration.tsv", CALIBRATION[:-2])
    found = correlate_human(
        [tables / "human.tsv"],
        [tables / "scores.tsv"],
        tables / "calibration.tsv",
        tables / "out",
        CorrelateConfig(trials=20),
    )
    assert found["not_calibrated"] == [HINDI]
    row = next(row for row in found["correlations"] if row["metric"] == "chrf++")
    assert (row["value"], row["n"], row["n_missing"]) == (None, 1, 1)


def test_calibration_without_its_set_is_refused(tables: Path) -> None:
    with pytest.raises(UserError, match="--config calibration=none"):
        correlate_human(
            [tables / "human.tsv"], [tables / "scores.tsv"], None, tables / "out", CorrelateConfig()
        )


def test_command_writes_correlations_of_every_metric_but_not_of_the_baseline(
    tables: Path,
) -> None:
    arguments = [
        "correlate", "--human", str(tables / "human.tsv"), "--scores", str(tables / "scores.tsv"),
        "--output", str(tables / "out"), "--config", "calibration=none", "--json",
    ]  # fmt: skip
    result = CliRunner().invoke(group, arguments, catch_exceptions=False)
    found = json.loads(result.stdout)
    rows = {(row["metric"], row["coefficient"]): row for row in found["correlations"]}
    assert len(rows) == 2 * 3
    assert rows["chrf++", "spearman"]["value"] == pytest.approx(1.0)
    assert (rows["chrf++", "kendall"]["n"], rows["spbleu", "kendall"]["n_missing"]) == (2, 1)
    assert found["agreement"]["items"] == 3
    written = {path.name: path.read_bytes() for path in (tables / "out").glob("*.tsv")}
    again = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert json.loads(again.stdout) == found
    assert {path.name: path.read_bytes() for path in (tables / "out").glob("*.tsv")} == written


def test_directions_of_every_target_correlate_together(tables: Path) -> None:
    signed = [line.replace("signed", f"v:1|refs:{number}") for number, line in enumerate(SCORES)]
    write_lines(tables / "scores.tsv", signed)
    config = CorrelateConfig(calibration="none", trials=20)
    scores = tables / "scores.tsv"
    found = correlate_human([tables / "human.tsv"], [scores], None, tables / "o", config)
    rows = {(row["metric"], row["coefficient"]): row for row in found["correlations"]}
    assert len(rows) == len(found["correlations"]) == 2 * 3
    assert (rows["chrf++", "pearson"]["n"], rows["chrf++", "pearson"]["signature"]) == (2, "v:1")


def test_scores_of_two_test_sets_are_not_mixed(tables: Path) -> None:
    again = f"mine\t{FRENCH}\tchrf++\t61.5\t4\tsigned|refs:other"
    write_lines(tables / "scores.tsv", [*SCORES, again])
    config = CorrelateConfig(calibration="none", trials=20)
    scores = tables / "scores.tsv"
    with pytest.raises(
        JobError, match=r"two chrf\+\+ scores in eng_Latn-fra_Latn, 60\.5 and 61\.5"
    ):
        correlate_human([tables / "human.tsv"], [scores], None, tables / "o", config)


def test_several_systems_need_a_column_to_tell_them_apart(tables: Path) -> None:
    write_lines(tables / "scores.tsv", [*SCORES, f"other\t{FRENCH}\tchrf++\t50.5\t4\tsigned"])
    config = CorrelateConfig(calibration="none", trials=20)
    inputs = ([tables / "human.tsv"], [tables / "scores.tsv"], None)
    with pytest.raises(UserError, match="add a column `system`"):
        correlate_human(*inputs, tables / "out", config)
    rows = [f"{line}\tother" for line in JUDGMENTS[1:]]
    write_lines(tables / "human.tsv", [f"{HEADER}\tsystem", *rows])
    found = correlate_human(*inputs, tables / "out", config)
    assert {row["system"] for row in found["correlations"]} == {"other"}
    write_lines(
        tables / "human.tsv", [f"{HEADER}\tsystem", *(f"{x}\tthird" for x in JUDGMENTS[1:])]
    )
    with pytest.raises(UserError, match="of system `third`"):
        correlate_human(*inputs, tables / "out2", config)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["evaluator\titem\tscore"], "needs the columns"),
        ([], "needs the columns"),
        ([HEADER], "has a header and no scores"),
        ([HEADER, f"a\t1\t{FRENCH}\t6"], r"human\.tsv:2: score 6; XSTS goes from 1 to 5"),
        ([HEADER, f"a\t1\t{FRENCH}\tnan"], r"human\.tsv:2: score nan"),
        ([HEADER, f"a\t1\t{FRENCH}\tgood"], r"human\.tsv:2: could not convert"),
        ([HEADER, "a\t1\teng-xyz\t4"], r"human\.tsv:2: `xyz` is not a language"),
        ([HEADER, f"a\t1\t{FRENCH}"], r"human\.tsv:2: 3 columns where the header has 4"),
        ([HEADER, f"\t1\t{FRENCH}\t3"], "needs an evaluator and an item"),
        ([*JUDGMENTS, JUDGMENTS[1]], r"human\.tsv:10: a scored item 1 .* already in line 2"),
        (
            [f"{HEADER}\tgroup", f"a\t1\t{FRENCH}\t3\tg", f"a\t2\t{FRENCH}\t3\th"],
            "was scored by the groups g, h",
        ),
    ],
)
def test_odd_tables_are_refused_by_line(rows: list[str], message: str, tables: Path) -> None:
    write_lines(tables / "human.tsv", rows)
    config = CorrelateConfig(calibration="none", trials=20)
    with pytest.raises(JobError, match=message):
        correlate_human(
            [tables / "human.tsv"], [tables / "scores.tsv"], None, tables / "out", config
        )
    assert not (tables / "out" / "human.tsv").exists()
