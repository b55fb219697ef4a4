"""Comparisons of several systems: tests against sacrebleu's, buckets, quoted numbers."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu.significance as peer_tests
from click.testing import CliRunner

from corpus.errors import DataError, UserError
from corpus.files import read_lines, write_lines
from corpus.languages import parse_direction
from eval.cli import group
from eval.compare import compare_systems
from eval.config import CompareConfig
from eval.metrics.formulas import chrf_scores
from eval.metrics.metrics import MetricModels, Scorer, build_peer
from eval.statistics.published_scores import read_quoted
from eval.statistics.significance import (
    Statistics,
    bootstrap_p_value,
    interval,
    minimum_detectable,
    p_value,
    randomization_p_value,
    resample_scores,
)

WORDS = "house mill tower bridge tree farm school market church inn wall gate river".split()  # noqa: SIM905
SEED = 12_345


def make_lines(seed: int, number: int = 60) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=8)) for _ in range(number)]


def damage(lines: list[str], seed: int, share: float) -> list[str]:
    chance = random.Random(seed)
    damaged = []
    for line in lines:
        words = [chance.choice(WORDS) if chance.random() < share else w for w in line.split()]
        damaged.append(" ".join(words))
    return damaged


@pytest.fixture(scope="module")
def pair() -> tuple[Statistics, Statistics]:
    references = make_lines(1)
    scorer = Scorer("chrf++", references, MetricModels())
    first, second = (damage(references, seed, 0.3) for seed in (2, 3))
    return scorer.statistics(first), scorer.statistics(second)


def run_peer(run: Any, first: Statistics, second: Statistics, draws: int) -> peer_tests.Result:
    """Run sacrebleu's test on statistics."""
    peer: Any = build_peer("chrf++", MetricModels())
    peer._extract_corpus_statistics = lambda hypotheses, references: second.tolist()
    score = float(chrf_scores(first.sum(axis=0)))
    info = {"x": (first, peer_tests.Result(score))}
    result: peer_tests.Result = run(
        info, "x", [""] * len(first), None, {"x": peer}, draws, -1, SEED
    )[1]["x"]
    return result


def test_randomization_has_sacrebleus_p_value(pair: tuple[Statistics, Statistics]) -> None:
    wanted = run_peer(peer_tests._paired_ar_test, *pair, 500).p_value
    found = randomization_p_value(*pair, chrf_scores, 500, SEED)
    # Ours counts a difference equal to the observed one as extreme, which is rare here.
    assert found == pytest.approx(wanted, abs=1.5 / 501)


def test_bootstrap_by_sacrebleus_name_has_sacrebleus_p_value(
    pair: tuple[Statistics, Statistics],
) -> None:
    wanted = run_peer(peer_tests._paired_bs_test, *pair, 400).p_value
    assert p_value("sacrebleu-bootstrap", *pair, chrf_scores, 400, SEED) == wanted


def test_interval_is_of_sacrebleus_resamples(pair: tuple[Statistics, Statistics]) -> None:
    peer = build_peer("chrf++", MetricModels())
    _, resampled = peer_tests._bootstrap_resample(pair[0].tolist(), peer, 300)
    mean, half = peer_tests.estimate_ci(np.array([one.score for one in resampled]))
    ours = resample_scores(pair[0], chrf_scores, 300, SEED)
    low, high = interval(ours, 0.95)
    # sacrebleu scores its resamples in single precision.
    assert ours.mean() == pytest.approx(mean, abs=1e-5)
    assert (high - low) / 2 == pytest.approx(half, abs=1e-5)


def test_sums_too_large_for_single_precision_stay_exact() -> None:
    statistics = np.full((9, 2), (1 << 24) + 1, np.int64)
    sums = resample_scores(statistics, lambda summed: summed[..., 0], 5, 1)
    assert (sums == 9 * ((1 << 24) + 1)).all()


def test_centered_bootstrap_keeps_its_level_and_sacrebleus_does_not(
    pair: tuple[Statistics, Statistics],
) -> None:
    generator = np.random.default_rng(3)
    found = {"bootstrap": 0, "sacrebleu-bootstrap": 0}
    for _ in range(200):
        swapped = generator.integers(2, size=(len(pair[0]), 1), dtype=bool)
        first, second = np.where(swapped, *pair), np.where(swapped, pair[1], pair[0])
        for test in found:
            found[test] += p_value(test, first, second, chrf_scores, 200, 1) <= 0.05
    # Binomial(200, .05) is at most 20 with probability .999.
    assert found["bootstrap"] <= 20
    assert found["sacrebleu-bootstrap"] > found["bootstrap"]


def test_bootstrap_finds_a_clear_difference_and_none_between_equals() -> None:
    references = make_lines(1)
    scorer = Scorer("chrf++", references, MetricModels())
    good, bad = (scorer.statistics(damage(references, 2, share)) for share in (0.1, 0.6))
    assert bootstrap_p_value(good, bad, chrf_scores, 199, 1) == 1 / 200
    assert bootstrap_p_value(good, good, chrf_scores, 199, 1) == 1.0


def test_minimum_detectable_difference_is_2_8_standard_errors() -> None:
    # z of .975 and of .8: 1.95996 + 0.84162
    assert minimum_detectable(np.array([-1.0, 1.0]), 0.05) == pytest.approx(2.80158, abs=1e-4)


@pytest.fixture
def flores(tmp_path: Path) -> Path:
    for seed, code in enumerate(("eng_Latn", "rus_Cyrl", "fra_Latn")):
        write_lines(tmp_path / "flores" / "devtest" / f"{code}.devtest", make_lines(seed))
    return tmp_path / "flores"


def make_system(directory: Path, flores: Path, seed: int, share: float) -> Path:
    for direction in ("rus_Cyrl-eng_Latn", "fra_Latn-eng_Latn", "eng_Latn-rus_Cyrl"):
        target = direction.split("-")[1]
        references = read_lines(flores / "devtest" / f"{target}.devtest")
        lines = damage(references, seed + len(direction), share)
        write_lines(directory / f"{direction}.txt", lines)
    return directory


CONFIG = CompareConfig(trials=300, resamples=100)


def test_several_systems_are_compared_with_the_first(flores: Path, tmp_path: Path) -> None:
    systems = [
        make_system(tmp_path / name, flores, seed, share)
        for name, seed, share in (("base", 1, 0.3), ("better", 2, 0.05), ("worse", 3, 0.8))
    ]
    found = compare_systems(systems, flores, "devtest", tmp_path / "o", CONFIG)
    outcomes = {(one.system, str(one.direction)): one.outcome for one in found.comparisons}
    assert len(outcomes) == 6
    for (system, _), outcome in outcomes.items():
        assert outcome == (1 if system == "better" else -1)
    rows = {(row["system"], row["bucket"]): row for row in found.buckets}
    assert rows["better", "all"]["wins"] == 3
    assert rows["worse", "xx-eng"]["losses"] == 2
    assert rows["worse", "all"]["mean_difference"] < rows["worse", "all"]["high"] < 0
    again = compare_systems(systems, flores, "devtest", tmp_path / "o", CONFIG)
    assert again.comparisons == found.comparisons


def test_lower_ter_is_better(flores: Path, tmp_path: Path) -> None:
    systems = [
        make_system(tmp_path / name, flores, 1, share) for name, share in (("a", 0.6), ("b", 0.05))
    ]
    config = CompareConfig(trials=300, resamples=100, metric="ter")
    found = compare_systems(systems, flores, "devtest", tmp_path / "o", config)
    assert {one.outcome for one in found.comparisons} == {1}
    assert all(one.difference is not None and one.difference < 0 for one in found.comparisons)


def test_comparison_counts_nothing_that_scoring_counted(
    flores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systems = [
        make_system(tmp_path / name, flores, seed, 0.3) for name, seed in (("a", 1), ("b", 2))
    ]
    store = tmp_path / "store"
    arguments = ["--flores", str(flores), "--config", f"store={store}"]
    arguments += [part for path in systems for part in ("--hypotheses", str(path))]
    scored = CliRunner().invoke(
        group, ["score", *arguments, "--metrics", "chrf++", "--output", str(tmp_path / "s")],
        catch_exceptions=False,
    )  # fmt: skip
    assert scored.exit_code == 0
    monkeypatch.setattr("eval.metrics.measures.count_chrf", None)
    result = CliRunner().invoke(
        group, ["compare", *arguments, "--output", str(tmp_path / "c"), "--config", "trials=50"],
        catch_exceptions=False,
    )  # fmt: skip
    assert result.exit_code == 0
    assert "wins" in result.stdout


def test_quoted_numbers_stand_beside_and_are_never_tested(flores: Path, tmp_path: Path) -> None:
    system = make_system(tmp_path / "mine", flores, 1, 0.3)
    write_lines(tmp_path / "nllb.csv", ["rus_Cyrl-eng_Latn,55.5", "eng_Latn-tha_Thai,40.1"])
    arguments = [
        "compare", "--hypotheses", str(system), "--quoted", str(tmp_path / "nllb.csv"),
        "--flores", str(flores), "--output", str(tmp_path / "o"),
    ]  # fmt: skip
    result = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "quoted, not measured" in result.stdout
    rows = read_lines(tmp_path / "o" / "quoted.tsv")
    assert len(rows) == 2
    assert rows[1].startswith("nllb\trus_Cyrl-eng_Latn\tchrf++\t")
    assert rows[1].endswith("\tquoted, not measured")
    table = [line.split("\t") for line in read_lines(tmp_path / "o" / "comparison.tsv")]
    assert {row[table[0].index("p_value")] for row in table[1:]} == {""}


def test_one_system_alone_is_refused(flores: Path, tmp_path: Path) -> None:
    system = make_system(tmp_path / "mine", flores, 1, 0.3)
    with pytest.raises(UserError, match="at least twice"):
        compare_systems([system], flores, "devtest", tmp_path / "o", CONFIG)


def test_leaderboard_rows_are_read_as_the_metric_they_hold(tmp_path: Path) -> None:
    row = "bos-eng\t{}\t{}\t13.5\turl\t1012\t24721"
    rows = [row.format("flores200-devtest", 0.4121), row.format("ntrex128", 0.3)]
    write_lines(tmp_path / "m.scores.txt", rows)
    direction = parse_direction("bos_Latn-eng_Latn")
    assert read_quoted(tmp_path / "m.scores.txt", "chrf", "devtest") == {
        direction: pytest.approx(41.21)
    }
    assert read_quoted(tmp_path / "m.scores.txt", "bleu", "devtest") == {direction: 13.5}
    with pytest.raises(DataError, match="has chrF and BLEU, not spbleu"):
        read_quoted(tmp_path / "m.scores.txt", "spbleu", "devtest")
    write_lines(tmp_path / "c.txt", ["cat-eng\tflores200-devtest\t0.64962"])
    assert read_quoted(tmp_path / "c.txt", "chrf++", "devtest") == {
        parse_direction("cat_Latn-eng_Latn"): pytest.approx(64.962)
    }


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["src-tgt,score", "eng_Latn-fra_Latn,many"], r"q\.csv:2: not a row"),
        (["eng_Latn-fra_Latn,1.0", "eng_Latn-fra_Latn,2.0"], r"q\.csv:2: .* is there twice"),
        (["eng_Latn-xxx_Latn,1.0"], r"q\.csv:1: `xxx_Latn` is not"),
        (["zho-eng,1.0"], r"q\.csv:1: `zho` may mean .*zho_Hans"),
        (["eng_Latn,1.0"], r"q\.csv:1: `eng_Latn` is not a direction"),
        (["eng_Latn-fra_Latn,nan"], r"q\.csv:1: nan is not a score"),
        (["eng_Latn-fra_Latn,-1"], r"q\.csv:1: -1\.0 is not a score.* delete the row"),
        (["src-tgt,score"], r"q\.csv has no scores of flores200-devtest"),
    ],
)
def test_damaged_quoted_numbers_are_named(rows: list[str], message: str, tmp_path: Path) -> None:
    write_lines(tmp_path / "q.csv", rows)
    with pytest.raises(DataError, match=message):
        read_quoted(tmp_path / "q.csv", "chrf++", "devtest")


def test_test_nobody_knows_is_refused() -> None:
    with pytest.raises(UserError, match=r"no test `t`\. Known: randomization"):
        CompareConfig(test="t")
