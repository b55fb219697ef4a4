"""The table of systems and directions: the best, the test, the order, on page and terminal."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from corpus.files import read_lines, write_lines
from corpus.languages import parse_direction
from eval.cli import group
from eval.pages.system_text import describe_systems, systems_section
from eval.statistics.averages import Average, distinct_buckets
from eval.statistics.readme_tables import latex_systems, markdown_systems
from eval.statistics.results import Row
from eval.statistics.significance import bootstrap_p_value, centered_p_value
from eval.statistics.system_table import (
    best_means,
    compare_in_table,
    read_systems,
    write_systems,
)

PAIR = parse_direction("eng_Latn-fra_Latn")
OTHER = parse_direction("eng_Latn-rus_Cyrl")
LINES = [f"the {word} line of a text that has {word}" for word in "abcdefghijklmnopqrst"]


def row(system: str, value: float, metric: str = "chrf", direction: object = PAIR) -> Row:
    return Row(system, direction, metric, value, 20, "x", value - 1, value + 1)  # type: ignore[arg-type]


def test_best_is_told_in_each_direction_and_copy_is_never_it() -> None:
    rows = [
        row("a", 40.0),
        row("b", 50.0),
        row("copy", 90.0),
        row("a", 7.0, "ter"),
        row("b", 9.0, "ter"),
    ]
    table = compare_in_table(rows, ["ter", "chrf"], ["b", "a", "copy"], "b", {}, 0.05)
    assert [(one.metric, one.system, one.is_best) for one in table] == [
        ("ter", "b", False),
        ("ter", "a", True),
        ("chrf", "b", True),
        ("chrf", "a", False),
        ("chrf", "copy", False),
    ]
    assert {one.outcome for one in table} == {""}


@pytest.mark.parametrize(("metric", "best"), [("chrf", "b"), ("ter", "a"), ("metricx-24", "a")])
def test_best_mean_alone_is_bold_and_starred(metric: str, best: str) -> None:
    means = [
        Average(system, metric, "all", mean, 2, 0)
        for system, mean in (("a", 4.0), ("b", 5.0), ("copy", 9.0))
    ]
    assert best_means(means) == {best}
    assert best_means(means[1:]) == set()
    assert best_means([means[0], means[1]._replace(n=1, n_missing=1)]) == set()
    if metric == "chrf":
        rows = [row("a", 4.0), row("b", 5.0)]
        table = compare_in_table(rows, ["chrf"], ["a", "b"], "a", {}, 0.05)
        last = systems_section(table, means).split('<tr class="mean">')[1]
        assert last.count("<b>") == 1
        assert "<b>5.0</b>" in last
        [line] = [one for one in describe_systems(table, means) if "mean" in one][:1]
        assert line.split("mean")[1].split("*")[0].split() == ["4.0", "5.0"]


def test_outcome_is_against_the_baseline_with_the_false_discovery_rate_controlled() -> None:
    rows = [row("base", 50.0), row("up", 60.0), row("down", 40.0), row("near", 50.5)]
    p_values = {
        ("up", "chrf", PAIR): 0.001,
        ("down", "chrf", PAIR): 0.002,
        ("near", "chrf", PAIR): 0.2,
    }
    table = compare_in_table(rows, ["chrf"], ["base", "up", "down", "near"], "base", p_values, 0.05)
    assert [one.outcome for one in table] == ["", "better", "worse", "not significant"]
    # Alone .04 is below .05; second of two, with .9 behind it, it has to be below .025.
    p_values = {("up", "chrf", PAIR): 0.04, ("near", "chrf", PAIR): 0.9}
    table = compare_in_table(rows, ["chrf"], ["base", "up", "near"], "base", p_values, 0.05)
    assert [one.outcome for one in table] == ["", "not significant", "not significant"]


def test_lower_is_better_where_the_metric_says_so() -> None:
    rows = [row("base", 50.0, "ter"), row("other", 40.0, "ter")]
    p_values = {("other", "ter", PAIR): 0.001}
    table = compare_in_table(rows, ["ter"], ["base", "other"], "base", p_values, 0.05)
    assert [(one.is_best, one.outcome) for one in table] == [(False, ""), (True, "better")]


def test_table_is_read_back(tmp_path: Path) -> None:
    p_values = {("b", "chrf", PAIR): 0.001}
    rows = [row("a", 40.0), row("b", 50.0), row("a", 3.0, direction=OTHER)]
    table = compare_in_table(rows, ["chrf"], ["a", "b"], "a", p_values, 0.05)
    write_systems(tmp_path, table)
    assert read_systems(tmp_path) == table
    assert read_systems(tmp_path / "none") == []


def test_p_value_of_resampled_differences_is_that_of_the_bootstrap() -> None:
    def score(summed: np.ndarray) -> np.ndarray:
        return np.asarray(summed[..., 0] / summed[..., 1], np.float64)

    generator = np.random.default_rng(3)
    first, second = (
        np.stack([generator.integers(0, 5, 40), np.ones(40, int)], 1) for _ in range(2)
    )
    expected = bootstrap_p_value(first, second, score, 200, 7)
    draws = np.random.default_rng(7).choice(40, size=(200, 40), replace=True)
    differences = (second[draws, 0] - first[draws, 0]).mean(axis=1)
    observed = float((second[:, 0] - first[:, 0]).mean())
    assert centered_p_value(differences, observed) == pytest.approx(expected)


def test_bucket_with_the_figures_of_another_is_left_out() -> None:
    averages = [
        Average("a", "chrf", "all", 40.0, 2, 0),
        Average("a", "chrf", "high", 40.0, 2, 0),
        Average("a", "chrf", "eng-xx", 41.0, 1, 0),
        Average("b", "chrf", "all", 50.0, 2, 0),
        Average("b", "chrf", "high", 50.0, 2, 0),
        Average("b", "chrf", "eng-xx", 41.0, 1, 0),
    ]
    assert distinct_buckets(averages) == ["all", "eng-xx"]


def test_names_of_systems_are_text_on_the_page() -> None:
    table = compare_in_table(
        [row("<b>", 40.0), row("b", 50.0)], ["chrf"], ["<b>", "b"], "b", {}, 0.05
    )
    shown = systems_section(table, [])
    assert "<b>50.0</b>" in shown
    assert "&lt;b&gt;" in shown
    assert describe_systems([], []) == []


def test_legend_leaves_the_case_of_a_systems_name_alone() -> None:
    p_values = {("b", "chrf", PAIR): 0.0004}
    rows = [row("NLLB", 40.0), row("b", 50.0)]
    table = compare_in_table(rows, ["chrf"], ["NLLB", "b"], "NLLB", p_values, 0.05)
    shown = systems_section(table, [])
    assert "worse than NLLB, unmarked" in shown
    assert 'title="better than NLLB, p &lt;0.001"' in shown


def test_mark_of_means_over_different_tokenizers_is_in_the_legend() -> None:
    table = compare_in_table([row("a", 1.0), row("b", 2.0)], ["chrf"], ["a", "b"], "a", {}, 0.05)
    mean = Average("a", "chrf", "all", 1.0, 2, 0)
    for means, is_marked in (([mean], False), ([mean._replace(tokenizers="13a, zh")], True)):
        assert ("† mean over scores of" in describe_systems(table, means)[-2]) == is_marked
        assert ("† mean over scores of" in systems_section(table, means)) == is_marked


def test_learned_metrics_have_three_decimals_and_a_legend_of_their_own() -> None:
    own = compare_in_table(
        [row("a", 40.0), row("b", 50.0)],
        ["chrf"],
        ["a", "b"],
        "a",
        {("b", "chrf", PAIR): 0.01},
        0.05,
    )
    learned = [one._replace(metric="comet-22", value=0.8123, low=None, high=None) for one in own]
    text = "\n".join(describe_systems([*own, *learned], []))
    assert "0.812" in text
    assert text.count("worse than a") == 1
    other = [one._replace(baseline="z" if one.baseline else "") for one in learned]
    text = "\n".join(describe_systems([*own, *other], []))
    assert "worse than a" in text
    assert "; comet-22: ▲ better and ▼ worse than z" in text
    assert "one system alone is not tested" in "\n".join(describe_systems(own[:1], []))


def test_tables_for_papers_have_directions_by_system_with_marks() -> None:
    p_values = {("b_2", "chrf", PAIR): 0.001, ("b_2", "chrf", OTHER): 0.001}
    rows = [
        row("a|x", 40.0),
        row("b_2", 50.0),
        row("a|x", 60.0, direction=OTHER),
        row("b_2", 30.0, direction=OTHER),
        row("c", 12.0),
    ]
    table = compare_in_table(rows, ["chrf"], ["a|x", "b_2", "c"], "a|x", p_values, 0.05)
    means = [Average("a|x", "chrf", "all", 50.0, 2, 0), Average("c", "chrf", "all", 12.0, 1, 1)]
    assert markdown_systems(table, means).split("\n")[:7] == [
        "### chrf",
        "",
        r"| direction | a\|x | b\_2 | c |",
        "| --- | --: | --: | --: |",
        "| eng_Latn-fra_Latn | 40.0 [39.0, 41.0] | **50.0** [49.0, 51.0] ▲ | 12.0 [11.0, 13.0] |",
        "| eng_Latn-rus_Cyrl | **60.0** [59.0, 61.0] | 30.0 [29.0, 31.0] ▼ | – |",
        "| mean | 50.0 | – | 12.0 (n = 1) |",
    ]
    latex = latex_systems(table, means).split("\n")
    assert latex[3] == r"direction & a|x & b\_2 & c \\"
    assert latex[5] == (
        r"eng\_Latn-fra\_Latn & 40.0 [39.0, 41.0] & \textbf{50.0} [49.0, 51.0] $\uparrow$"
        r" & 12.0 [11.0, 13.0] \\"
    )
    assert latex[6].endswith(r"30.0 [29.0, 31.0] $\downarrow$ & -- \\")
    assert latex[8] == r"mean & 50.0 & -- & 12.0 (n = 1) \\"
    assert r"% The best of each row is bold. $\uparrow$ better and $\downarrow$ worse" in latex[-2]


def score(folder: Path, *more: str, targets: tuple[str, ...] = ("fra_Latn", "rus_Cyrl")) -> Result:
    for language in ("eng_Latn", *targets):
        write_lines(folder / "flores" / "devtest" / f"{language}.devtest", LINES)
    for target in targets:
        good = [line.replace("that", "which") for line in LINES]
        for name, lines in (("zeta", [line[::2] for line in LINES]), ("alpha", good)):
            write_lines(folder / name / f"eng_Latn-{target}.txt", lines)
    return CliRunner().invoke(
        group,
        [
            "score",
            "--hypotheses",
            str(folder / "zeta"),
            "--hypotheses",
            str(folder / "alpha"),
            "--flores",
            str(folder / "flores"),
            "--output",
            str(folder / "out"),
            "--metrics",
            "chrf++,chrf",
            *more,
        ],
    )


def test_several_systems_are_compared_by_themselves_in_the_order_given(tmp_path: Path) -> None:
    result = score(tmp_path)
    assert result.exit_code == 0, result.output
    lines = result.stdout.split("\n")
    assert lines[0].split() == ["chrf++", "zeta", "alpha"]
    assert lines[2].startswith("eng_Latn-fra_Latn")
    assert lines[2].endswith("▲")
    assert "▲ better and ▼ worse than zeta, unmarked: not significant" in result.stdout
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.index("<h2>Systems</h2>") < page.index("<h2>By language</h2>")
    assert '<canvas id="map">' not in page  # one source: a list says more


def test_baseline_can_be_chosen_and_must_be_a_system(tmp_path: Path) -> None:
    assert score(tmp_path, "--baseline", "alpha").exit_code == 0
    table = read_systems(tmp_path / "out")
    assert {one.system: one.outcome for one in table} == {"zeta": "worse", "alpha": ""}
    refused = score(tmp_path, "--baseline", "beta")
    assert "--baseline beta is none of the systems: zeta, alpha" in str(refused.exception)


def test_table_of_an_earlier_run_does_not_stay_beside_one_system(tmp_path: Path) -> None:
    assert score(tmp_path).exit_code == 0
    assert len(read_lines(tmp_path / "out" / "systems.tsv")) == 9
    assert (tmp_path / "out" / "systems.tex").is_file()
    arguments = [
        "score",
        "--hypotheses",
        str(tmp_path / "zeta"),
        "--flores",
        str(tmp_path / "flores"),
        "--output",
        str(tmp_path / "out"),
        "--metrics",
        "chrf",
    ]
    result = CliRunner().invoke(group, arguments)
    assert result.exit_code == 0, result.output
    assert not list((tmp_path / "out").glob("systems.*"))
