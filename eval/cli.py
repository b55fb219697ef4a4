"""Commands of scoring."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from corpus.command import PATH, config_options, json_option, print_json
from corpus.console import format_table
from corpus.errors import LimitError
from eval.checks.config import CheckConfig
from eval.config import (
    CompareConfig,
    ContaminationConfig,
    ContrastConfig,
    CorrelateConfig,
    LearnedConfig,
    SampleConfig,
    ScoreConfig,
)

if TYPE_CHECKING:
    from eval.statistics.results import Scores
    from eval.statistics.system_table import SystemScore


F = TypeVar("F", bound=Callable[..., Any])


def test_set_options(function: F) -> F:
    """Add `--test-set`, which is also `--flores`, and `--split`."""
    path = click.option(
        "--test-set",
        "--flores",
        "test_set",
        type=PATH,
        required=True,
        help="Test set as it was published: FLORES, FLORES+, WMT, NTREX, …; directory or file.",
    )
    split = click.option(
        "--split", default="", help="Split that was translated.  [default: test or devtest]"
    )
    return path(split(function))


@click.group()
def group() -> None:
    """Score translations: spBLEU, chrF++, BLEU, comparisons, checks, reports."""


@group.command()
@click.option(
    "--hypotheses",
    "--manifest",
    "hypotheses",
    type=PATH,
    multiple=True,
    help="Directory of <source>-<target>.txt files, one per system, may be repeated; for other file"
    " names a TSV with the columns system, source, target, path.",
)
@test_set_options
@click.option("--output", type=PATH, required=True, help="Directory for scores and report.")
@click.option(
    "--metrics",
    default="spbleu,chrf++",
    show_default=True,
    help="spbleu, chrf++, chrf, bleu, ter.",
)
@click.option(
    "--baseline",
    metavar="NAME",
    help="System that the others are tested against.  [default: the first]",
)
@click.option(
    "--slice",
    "slices",
    multiple=True,
    metavar="COLUMN",
    help="Also score by domain, topic, document, … or length; may be repeated.",
)
@json_option
@config_options(ScoreConfig)
def score(
    hypotheses: tuple[Path, ...],
    test_set: Path,
    split: str,
    output: Path,
    metrics: str,
    baseline: str | None,
    slices: tuple[str, ...],
    as_json: bool,
    config: ScoreConfig,
) -> None:
    """Score hypotheses against a test set."""
    from eval.metrics.metrics import parse_metrics
    from eval.score import score_systems
    from eval.statistics.system_table import read_systems

    directories = [path for path in hypotheses if not path.is_file()]
    manifests = [path for path in hypotheses if path.is_file()]
    if len(manifests) > 1:
        raise click.UsageError("Give one table of systems; it may list any number.")
    manifest = manifests[0] if manifests else None
    config = dataclasses.replace(config, slices=tuple(dict.fromkeys((*config.slices, *slices))))
    scores = score_systems(
        directories, test_set, split, output, parse_metrics(metrics), config, manifest, baseline
    )
    _print_scores(scores, read_systems(output), as_json, output)
    click.echo(f"test set: {scores.test_set}", err=True)
    click.echo(f"{output / 'scores.tsv'}, {output / 'report.html'}", err=True)


def _print_scores(
    scores: Scores, systems: Sequence[SystemScore], as_json: bool, directory: Path
) -> None:
    """Print systems beside each other and the main averages, or everything as JSON.

    With them comes what lies beside the scores in their directory.
    """
    from eval.pages.findings_text import describe_content, describe_contrast
    from eval.pages.page_data import read_findings
    from eval.pages.slices_text import describe_slices
    from eval.pages.system_text import describe_systems
    from eval.statistics.averages import distinct_buckets
    from eval.statistics.buckets import is_main
    from eval.statistics.results import plain_scores
    from eval.statistics.slices import order_systems, read_slices
    from eval.statistics.system_table import list_systems, plain_systems

    slices, findings = read_slices(directory), read_findings(directory)
    content = findings.checks.get("content", {})
    table = [*systems, *findings.learned.table]
    averages = [*scores.averages, *findings.learned.averages]
    if as_json:
        slice_rows = [{**one._asdict(), "direction": str(one.direction)} for one in slices]
        print_json(
            {
                "systems": plain_systems(table),
                **plain_scores(dataclasses.replace(scores, averages=averages)),
                **({"slices": slice_rows} if slice_rows else {}),
                **({"content": content} if content else {}),
                **({"contrast": findings.contrast} if findings.contrast else {}),
            }
        )
        return
    names = list_systems(table)
    parts = [
        *describe_systems(table, averages),
        *describe_slices(slices, order_systems(slices, names)),
        *describe_content(content, names),
        *describe_contrast(findings.contrast, names),
    ]
    for line in parts:
        click.echo(line)
    header = ["system", "metric", "bucket", "mean", "n", "missing", "low", "high"]
    shown = set(distinct_buckets(scores.averages or averages))
    main = [one for one in averages if is_main(one.bucket) and one.bucket in shown]
    places = {system: i for i, system in enumerate(names)}
    main.sort(key=lambda one: places.get(one.system, len(places)))
    rows = [list(entry)[: len(header)] for entry in main]
    if any(entry.tokenizers for entry in main):
        header.append("tokenizers mixed")
        rows = [[*row, entry.tokenizers or ""] for row, entry in zip(rows, main, strict=True)]
    if rows:
        click.echo(format_table(header, rows))


@group.command()
@click.option(
    "--hypotheses",
    type=PATH,
    required=True,
    multiple=True,
    help="Directory of <source>-<target>.txt files; the others are compared with the first.",
)
@click.option(
    "--quoted",
    type=PATH,
    multiple=True,
    help="Published scores: src-tgt,score rows or a Helsinki leaderboard file; may be repeated.",
)
@test_set_options
@click.option("--output", type=PATH, required=True, help="Directory for the comparison.")
@json_option
@config_options(CompareConfig)
def compare(
    hypotheses: tuple[Path, ...],
    quoted: tuple[Path, ...],
    test_set: Path,
    split: str,
    output: Path,
    as_json: bool,
    config: CompareConfig,
) -> None:
    """Test in each direction whether other systems differ from the first."""
    from eval.compare import PAGE, compare_systems
    from eval.pages.comparison_page import verdict
    from eval.pages.system_text import describe_systems
    from eval.statistics.comparisons import BUCKET_COLUMNS, main_buckets
    from eval.statistics.system_table import show_p_value

    found = compare_systems(hypotheses, test_set, split, output, config, quoted)
    if as_json:
        print_json(found.as_json())
        return
    for line in describe_systems(found.table, found.means, config.test):
        click.echo(line)
    tested = [c for c in found.comparisons if c.system is not None]
    if tested:
        rows = [
            [
                c.system,
                str(c.direction),
                c.first,
                c.second,
                c.difference,
                None if c.p_value is None else show_p_value(c.p_value),
                verdict(c),
            ]
            for c in tested
        ]
        header = ["system", "direction", "first", "second", "difference", "p", "verdict"]
        click.echo(format_table(header, rows))
        click.echo()
        main = main_buckets(found.buckets)
        header = list(BUCKET_COLUMNS)
        if any(row["tokenizers"] for row in main):
            header.append("tokenizers")
        click.echo(format_table(header, [[row[name] for name in header] for row in main]))
    if found.quoted:
        rows = [
            [q.system, str(q.direction), q.measured, q.quoted, q.quoted - q.measured]
            for q in found.quoted
        ]
        header = ["quoted, not measured", "direction", "measured", "quoted", "difference"]
        click.echo(format_table(header, rows))
    if found.unshared:
        names = " ".join(map(str, found.unshared))
        click.echo(f"not compared, because not all systems have them: {names}", err=True)
    click.echo(f"test set: {found.test_set}", err=True)
    click.echo(f"{output / 'comparison.tsv'}, {output / PAGE}", err=True)


@group.command("test-set")
@test_set_options
@click.option(
    "--directions",
    default="",
    metavar="A-B,C-D",
    help="Directions to write.  [default: all languages or directions]",
)
@click.option("--output", type=PATH, required=True, help="Directory to write to.")
@json_option
def test_set_command(
    test_set: Path, split: str, directions: str, output: Path, as_json: bool
) -> None:
    """Write a public test set in FLORES-200's layout, to be translated or read by any command."""
    from corpus.languages import parse_directions
    from corpus.test_sets.files import write_flores_layout
    from corpus.test_sets.find import find_test_set

    found = find_test_set(test_set, split)
    written = write_flores_layout(found, parse_directions(directions), output)
    rows = [
        [str(output / name), files.split or "test", files.describe()]
        for name, files in written.items()
    ]
    if as_json:
        names = ("flores", "split", "test_set")
        print_json({"written": [dict(zip(names, row, strict=True)) for row in rows]})
        return
    click.echo(format_table(["--flores", "--split", "test set"], rows))


@group.command()
@click.option(
    "--bitext",
    type=PATH,
    required=True,
    help="Training text: a file of bitext, or a directory of such and of <language>.txt files.",
)
@click.option(
    "--test-set",
    "--flores",
    "test_sets",
    type=PATH,
    required=True,
    multiple=True,
    help="Test set as it was published, directory or file; may be repeated.",
)
@click.option("--split", default="", help="Split of the test sets.  [default: all]")
@click.option("--output", type=PATH, required=True, help="Directory for the tables and the page.")
@click.option(
    "--encoder",
    type=PATH,
    help="Directory of a sentence encoder, or `builtin`, to find paraphrases too.",
)
@click.option(
    "--limit",
    type=click.FloatRange(0, 1),
    default=None,
    help="Share of lines that may be found; above it the exit code is 3.  [default: 0.01]",
)
@json_option
@config_options(ContaminationConfig)
@click.pass_context
def contamination(
    context: click.Context,
    bitext: Path,
    test_sets: tuple[Path, ...],
    split: str,
    output: Path,
    encoder: Path | None,
    limit: float | None,
    as_json: bool,
    config: ContaminationConfig,
) -> None:
    """Say which lines of test sets are in training text, whole, in part, or paraphrased."""
    from eval.contamination import PAGE, SUMMARY_COLUMNS, find_contamination

    if limit is not None:
        config = dataclasses.replace(config, limit=limit)
    load = context.obj["load_encoder"] if encoder is not None else None
    found = find_contamination(bitext, test_sets, split, output, config, encoder, load)
    if as_json:
        print_json(found.as_json())
    else:
        header = [name.replace("_", " ") for name in SUMMARY_COLUMNS]
        click.echo(format_table(header, found.as_rows()))
    click.echo(f"{output / 'lines.tsv'}, {output / PAGE}", err=True)
    above = [one for one in found.parts if one.above_limit]
    if above:
        worst = above[0]
        raise LimitError(
            f"{worst.share:.2%} of {worst.test_set} {worst.language} are in {bitext}, more than"
            f" {config.limit:.2%}; {len(above)} of {len(found.parts)} texts are above the limit."
            " Remove them with `tongues mining filter --evaluation-sets`, or name these test sets"
            " as contaminated."
        )


@group.command()
@click.option(
    "--run",
    type=PATH,
    required=True,
    help="Directory of a whole pipeline run, or of scores: learned ones and checks count as such.",
)
@click.option("--output", type=PATH, required=True, help="HTML file to write.")
@json_option
def report(run: Path, output: Path, as_json: bool) -> None:
    """Write one page about a whole run or about scores, and print its summary table."""
    from eval.report import has_scores, write_report, write_score_report

    if has_scores(run):
        _print_scores(*write_score_report(run, output), as_json, run)
    else:
        columns = ["figure", "of", "value", "beside it"]
        rows = write_report(run, output)
        if as_json:
            print_json({"rows": [dict(zip(columns, row, strict=True)) for row in rows]})
        else:
            click.echo(format_table(columns, rows))
    if not as_json:
        click.echo(f"\nreport: {output}")


@group.command()
@click.option(
    "--hypotheses",
    type=PATH,
    required=True,
    multiple=True,
    help="Directory of <source>-<target>.txt files, one per system; may be repeated.",
)
@test_set_options
@click.option("--output", type=PATH, required=True, help="Directory for the tables.")
@click.option(
    "--lid",
    type=PATH,
    default=None,
    help="Model directory of a language identifier, for off-target rates.",
)
@click.option("--toxicity", type=PATH, default=None, help="Word lists: directory, .tsv or .zip.")
@click.option(
    "--segment-scores",
    type=PATH,
    multiple=True,
    help="Segment scores of COMET and others: JSONL, or COMET's own JSON; may be repeated.",
)
@json_option
@config_options(CheckConfig)
@click.pass_context
def check(
    context: click.Context,
    hypotheses: tuple[Path, ...],
    test_set: Path,
    split: str,
    output: Path,
    lid: Path | None,
    toxicity: Path | None,
    segment_scores: tuple[Path, ...],
    as_json: bool,
    config: CheckConfig,
) -> None:
    """Check hypotheses for hallucination, lost content, wrong languages and added toxicity."""
    from eval.check import CheckInputs, check_systems, summary_rows

    load = context.obj["load_identifier"] if lid is not None else None
    inputs = CheckInputs(lid, load, toxicity, segment_scores)
    summary = check_systems(hypotheses, test_set, split, output, inputs, config)
    if as_json:
        print_json(summary)
        return
    header = ["system", "check", "figure", "mean", "n", "missing"]
    click.echo(format_table(header, summary_rows(summary)))


@group.command()
@click.option(
    "--metric",
    required=True,
    help="comet-22, cometkiwi-22, cometkiwi-23, xcomet, xcomet-qe, metricx-24, metricx-24-qe,"
    " blaser-2, blaser-2-qe, sonar, sonar-qe.",
)
@click.option("--checkpoint", type=PATH, required=True, help="Directory of the model.")
@click.option(
    "--encoder",
    type=PATH,
    help="Directory of the encoder's configuration and tokenizer, if the model's has neither; for"
    " BLASER, of SONAR.",
)
@click.option(
    "--hypotheses",
    type=PATH,
    required=True,
    multiple=True,
    help="Directory of <source>-<target>.txt files, one per system; may be repeated.",
)
@test_set_options
@click.option("--output", type=PATH, required=True, help="Directory for the tables.")
@json_option
@config_options(LearnedConfig)
def learned(
    metric: str,
    checkpoint: Path,
    encoder: Path | None,
    hypotheses: tuple[Path, ...],
    test_set: Path,
    split: str,
    output: Path,
    as_json: bool,
    config: LearnedConfig,
) -> None:
    """Score hypotheses with COMET, MetricX, BLASER or SONAR, from a checkpoint at hand."""
    from eval.learned import Checkpoint, score_learned
    from eval.statistics.learned_results import FOLDER
    from eval.statistics.system_table import MARKS, show_p_value

    model = Checkpoint(metric, checkpoint, encoder or checkpoint)
    found = score_learned(model, hypotheses, test_set, split, output, config)
    if as_json:
        print_json(found)
        return
    header = ["direction", "system", metric, "low", "high", "best", "p", "against the baseline"]
    rows = [
        [
            row["direction"],
            row["system"],
            *(None if row[key] is None else round(row[key], 4) for key in ("value", "low", "high")),
            "*" if row["is_best"] else None,
            None if row["p_value"] is None else show_p_value(row["p_value"]),
            f"{row['outcome']} {MARKS.get(row['outcome'], '')}".strip() or None,
        ]
        for row in found["systems"]
    ]
    click.echo(format_table(header, rows))
    click.echo(f"{output / FOLDER / metric}", err=True)


@group.command()
@click.option(
    "--sets",
    type=PATH,
    required=True,
    help="Directory of <source>-<target>.tsv files with the columns source, right, wrong, [group].",
)
@click.option(
    "--hypotheses",
    type=PATH,
    required=True,
    multiple=True,
    help="Directory of translations of the sets, <source>-<target>.txt; may be repeated.",
)
@click.option("--output", type=PATH, required=True, help="Directory for the tables.")
@json_option
@config_options(ContrastConfig)
def contrast(
    sets: Path,
    hypotheses: tuple[Path, ...],
    output: Path,
    as_json: bool,
    config: ContrastConfig,
) -> None:
    """Count which of two versions systems write: gender, register, or what a set contrasts."""
    from eval.contrast import COLUMNS, compare_contrasts

    rows = compare_contrasts(sets, hypotheses, output, config)
    if as_json:
        print_json({"rows": rows})
        return
    click.echo(format_table(list(COLUMNS), [list(row.values()) for row in rows]))


@group.command()
@click.option(
    "--hypotheses",
    type=PATH,
    required=True,
    multiple=True,
    help="Directory of <source>-<target>.txt files, one per system; may be repeated.",
)
@test_set_options
@click.option(
    "--calibration", type=PATH, help="TSV with the columns source and target, scored by everyone."
)
@click.option("--output", type=PATH, required=True, help="Directory for the items and the pages.")
@json_option
@config_options(SampleConfig)
def sample(
    hypotheses: tuple[Path, ...],
    test_set: Path,
    split: str,
    calibration: Path | None,
    output: Path,
    as_json: bool,
    config: SampleConfig,
) -> None:
    """Draw translations for people to score (XSTS), and write the page they score them on."""
    from eval.sample import ITEMS, PAGES, sample_items

    found = sample_items(hypotheses, test_set, split, calibration, output, config)
    if as_json:
        print_json(found)
        return
    rows = [[direction, *counts.values()] for direction, counts in found["directions"].items()]
    click.echo(format_table(["direction", "items", "attention", "calibration"], rows))
    click.echo(f"{output / ITEMS}, {output / PAGES}", err=True)


@group.command("correlate")
@click.option(
    "--human",
    type=PATH,
    required=True,
    multiple=True,
    help="TSV with the columns evaluator, item, direction, score, or a published table of MQM or"
    " ESA; may be repeated.",
)
@click.option(
    "--sample", type=PATH, default=None, help="items.tsv of `eval sample`, if its pages were used."
)
@click.option(
    "--scores", type=PATH, required=True, multiple=True, help="scores.tsv; may be repeated."
)
@click.option(
    "--segments",
    type=PATH,
    multiple=True,
    help="Scores of segments to correlate as well: segments.jsonl of `eval learned`, Parquet of"
    " `eval score --config segments=true`; may be repeated.",
)
@click.option(
    "--calibration", type=PATH, default=None, help="TSV with the scores of the calibration set."
)
@click.option("--output", type=PATH, required=True, help="Directory for the tables.")
@json_option
@config_options(CorrelateConfig)
def correlate_command(
    human: tuple[Path, ...],
    sample: Path | None,
    scores: tuple[Path, ...],
    segments: tuple[Path, ...],
    calibration: Path | None,
    output: Path,
    as_json: bool,
    config: CorrelateConfig,
) -> None:
    """Correlate human scores (XSTS, ESA, MQM) with metrics."""
    from eval.correlate import correlate_human

    found = correlate_human(human, scores, calibration, output, config, sample, segments)
    if as_json:
        print_json(found)
        return
    header = ["system", "metric", "coefficient", "value", "low", "high", "n", "n_missing"]
    if any(row["direction"] for row in found["correlations"]):
        header.insert(1, "direction")
    click.echo(
        format_table(header, [[row[key] for key in header] for row in found["correlations"]])
    )
    if found["segments"]:
        header = ["direction", "metric", "coefficient", "value", "low", "high", "n", "n_missing"]
        click.echo(format_table(["segments: direction", *header[1:]], [
            [row[key] for key in header] for row in found["segments"]
        ]))  # fmt: skip
    rows = [[level, *found["agreement"][level].values()] for level in ("ordinal", "interval")]
    click.echo(format_table(["agreement", "alpha", "low", "high"], rows))
    if found["attention"]:
        rows = [list(row.values()) for row in found["attention"]]
        click.echo(format_table(["evaluator", "attention items", "failed", "left out"], rows))
