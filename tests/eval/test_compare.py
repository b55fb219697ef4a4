"""Significance by approximate randomization, against hand calculations and a true null."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from corpus.errors import UserError
from corpus.files import write_lines
from eval.cli import group
from eval.compare import compare_systems
from eval.config import CompareConfig
from eval.statistics.significance import Statistics, discoveries, randomization_p_value


def mean_score(summed: NDArray[Any]) -> NDArray[np.float64]:
    """Matches over lines: the statistics are (matches, 1)."""
    scores: NDArray[np.float64] = np.asarray(summed[..., 0] / summed[..., 1], np.float64)
    return scores


def statistics(matches: list[int]) -> Statistics:
    return np.array([[match, 1] for match in matches], dtype=np.int64)


def test_equal_systems_have_p_value_one() -> None:
    same = statistics([1, 0, 1, 1, 0])
    assert randomization_p_value(same, same, mean_score, trials=200, seed=1) == 1.0


def test_p_value_of_a_small_case_is_the_exact_one() -> None:
    # Four segments, all better by one: only the 2 of 16 swaps that move all or none of them
    # reach the observed difference, so p → 2/16.
    first, second = statistics([0] * 4), statistics([1] * 4)
    p_value = randomization_p_value(first, second, mean_score, trials=20_000, seed=1)
    assert p_value == pytest.approx(2 / 16, abs=0.01)


def test_clear_difference_reaches_the_smallest_p_value() -> None:
    first, second = statistics([0] * 60), statistics([1] * 60)
    assert randomization_p_value(first, second, mean_score, trials=999, seed=1) == 1 / 1000


def test_true_null_is_rejected_about_as_often_as_said() -> None:
    generator = np.random.default_rng(5)
    rejected = 0
    for _ in range(200):
        both = generator.integers(0, 10, (2, 80))
        first, second = (statistics(row.tolist()) for row in both)
        rejected += randomization_p_value(first, second, mean_score, trials=199, seed=3) <= 0.05
    # Binomial(200, .05): 2 to 20 with probability .999.
    assert 2 <= rejected <= 20


def test_same_seed_gives_the_same_p_value() -> None:
    first, second = statistics([0, 1, 1, 0, 1] * 9), statistics([1, 1, 0, 1, 1] * 9)
    values = {
        randomization_p_value(first, second, mean_score, trials=500, seed=seed)
        for seed in (1, 1, 2)
    }
    assert len(values) == 2


def test_discoveries_follow_benjamini_and_hochberg() -> None:
    # Thresholds .01, .02, .03, .04, .05: the third is over its own, but the fourth saves it.
    assert discoveries([0.001, 0.039, 0.031, 0.019, 0.9], 0.05) == [True, True, True, True, False]
    assert discoveries([0.04, 0.5], 0.05) == [False, False]
    assert discoveries([], 0.05) == []


def make_system(directory: Path, noise: int) -> Path:
    lines = [f"the {word} stood by the river in year {i}" for i, word in enumerate(WORDS)]
    for direction in ("rus_Cyrl-eng_Latn", "fra_Latn-eng_Latn"):
        broken = [line[noise * (i % 3) :] for i, line in enumerate(lines)]
        write_lines(directory / f"{direction}.txt", broken)
    return directory


WORDS = ("house mill tower bridge tree farm school market church inn wall gate " * 3).split()


@pytest.fixture
def flores(tmp_path: Path) -> Path:
    lines = [f"the {word} stood by the river in year {i}" for i, word in enumerate(WORDS)]
    for language in ("eng_Latn", "rus_Cyrl", "fra_Latn"):
        write_lines(tmp_path / "flores" / "devtest" / f"{language}.devtest", lines)
    return tmp_path / "flores"


def test_worse_system_is_found_and_unshared_directions_are_named(
    flores: Path, tmp_path: Path
) -> None:
    good, bad = make_system(tmp_path / "good", 1), make_system(tmp_path / "bad", 8)
    write_lines(good / "eng_Latn-fra_Latn.txt", WORDS)
    output = tmp_path / "out"
    arguments = [
        "compare", "--hypotheses", str(good), "--hypotheses", str(bad), "--flores", str(flores),
        "--output", str(output), "--config", "trials=300",
    ]  # fmt: skip
    result = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("second is worse") == 2
    assert "eng_Latn-fra_Latn" in result.stderr
    lines = result.stdout.split("\n")
    assert lines[0].split() == ["chrf++", "good", "bad"]  # the table comes first
    assert lines[2].startswith("fra_Latn-eng_Latn")
    assert lines[2].endswith("▼")
    assert "worse than good, unmarked: not significant (approximate randomization" in result.stdout
    table = (output / "comparison.tsv").read_text(encoding="utf-8").split("\n")
    assert table[0].split("\t")[:3] == ["direction", "first", "second"]
    assert len(table) == 4


def test_page_of_a_comparison_begins_with_the_systems_beside_each_other(
    flores: Path, tmp_path: Path
) -> None:
    systems = [make_system(tmp_path / "Good", 1), make_system(tmp_path / "bad", 8)]
    config = CompareConfig(trials=300, test="bootstrap")
    found = compare_systems(systems, flores, "devtest", tmp_path / "out", config)
    page = (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    titles = re.findall("<h2>(.*?)</h2>", page)
    assert titles == ["Systems", "Wins and losses", "Differences"]
    assert "worse than Good, unmarked: not significant (paired bootstrap" in page
    assert "p &lt;0.001" in page or "p 0.0" in page
    for one in found.table:
        assert one.low is not None
        assert one.high is not None
        assert one.low < one.value < one.high
    assert [one.n for one in found.means] == [2, 2]
    # Two sources into English: the bucket into the pivot has the figures of all, and is left out.
    assert page.count("xx-eng") == 0


def test_means_have_the_intervals_that_scoring_gives_them(flores: Path, tmp_path: Path) -> None:
    systems = [make_system(tmp_path / name, noise) for name, noise in (("a", 1), ("b", 2))]
    arguments = [part for system in systems for part in ("--hypotheses", str(system))]
    arguments += ["--flores", str(flores)]
    found = {}
    for command, options in (("compare", ["--config", "trials=100"]), ("score", [])):
        output = ["--output", str(tmp_path / command), "--json"]
        metrics = ["--metrics", "chrf++"] if command == "score" else []
        result = CliRunner().invoke(
            group, [command, *arguments, *options, *output, *metrics], catch_exceptions=False
        )
        found[command] = {
            one["system"]: [one["mean"], one["low"], one["high"]]
            for one in json.loads(result.stdout)["averages"]
            if one["bucket"] == "all"
        }
    assert set(found["compare"]) == {"a", "b"}
    for system, figures in found["compare"].items():
        assert figures == pytest.approx(found["score"][system], abs=1e-4)
        assert figures[1] < figures[0] < figures[2]
    text = CliRunner().invoke(group, ["compare", *arguments, "--output", str(tmp_path / "text")])
    mean = next(line for line in text.stdout.split("\n") if line.startswith("mean"))
    assert mean.count("[") == 2


def test_a_direction_of_one_line_has_no_interval_and_harms_no_other(tmp_path: Path) -> None:
    text = [f"the {word} stood by the river in year {i}" for i, word in enumerate(WORDS)]
    for target, code, lines in (("fr", "fra_Latn", text), ("de", "deu_Latn", text[:1])):
        segments = "".join(f'<seg id="{n}">{one}</seg>' for n, one in enumerate(lines, 1))
        for kind, language in (("src", "en"), ("ref", target)):
            path = tmp_path / "wmt" / f"newstest2019-en{target}-{kind}.{language}.sgm"
            whole = f'<{kind}set setid="x"><doc docid="d">{segments}</doc></{kind}set>'
            write_lines(path, [whole])
        for cut, system in enumerate(("a", "b"), 1):
            write_lines(tmp_path / system / f"eng_Latn-{code}.txt", [one[cut:] for one in lines])
    config = CompareConfig(trials=100)
    systems = [tmp_path / "a", tmp_path / "b"]
    found = compare_systems(systems, tmp_path / "wmt", "", tmp_path / "out", config)
    assert [(str(one.direction), one.low is None) for one in found.table] == [
        ("eng_Latn-deu_Latn", True), ("eng_Latn-deu_Latn", True),
        ("eng_Latn-fra_Latn", False), ("eng_Latn-fra_Latn", False),
    ]  # fmt: skip
    assert [(one.n, one.low) for one in found.means] == [(2, None), (2, None)]


def test_comparison_of_an_earlier_version_is_tested_again(flores: Path, tmp_path: Path) -> None:
    systems = [make_system(tmp_path / "good", 1), make_system(tmp_path / "bad", 8)]
    arguments = (systems, flores, "devtest", tmp_path / "out", CompareConfig(trials=50))
    compare_systems(*arguments)
    receipt = tmp_path / "out" / "receipts" / "compare" / "table.jsonl"
    text = receipt.read_text(encoding="utf-8")
    receipt.write_text(text.replace("second_high", "second_top"), encoding="utf-8")
    assert "second_high" in text
    assert compare_systems(*arguments).table


def test_systems_without_a_common_direction_are_refused(flores: Path, tmp_path: Path) -> None:
    good = make_system(tmp_path / "good", 1)
    write_lines(tmp_path / "other" / "eng_Latn-fra_Latn.txt", WORDS)
    with pytest.raises(UserError, match="no direction in common"):
        compare_systems(
            [good, tmp_path / "other"], flores, "devtest", tmp_path / "o", CompareConfig()
        )
