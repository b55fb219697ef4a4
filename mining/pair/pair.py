"""Two text files to calibrated bitext, with a page about it and what to expect of it.

The steps are the jobs of the commands of their names, in a folder beside the output that goes when
the bitext is there: lines to sentence shards, `embed`, `embed-known` where pairs are known, `mine`,
`probability` if pairs are filtered by it, `filter`, `report`.
"""

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from corpus.bitext import BITEXT_SUFFIXES, BitextReader, bitext_paths, bitext_writer, direction_of
from corpus.errors import UserError
from corpus.evaluation_files import evaluation_files
from corpus.files import read_json, remove_parts, write_json
from corpus.jobs import Outcome, Summary, Task, has_receipt, run_job
from corpus.languages import Direction, check_language
from corpus.records import bitext_files, read_bitext, sentence_shards, write_bitext
from corpus.text import normalize
from mining.bitext.filter import FilterInputs, run_filter
from mining.bitext.probability import ProbabilityInputs, run_probability_pairs
from mining.bitext.report import write_report
from mining.encoders.embed import run_embed
from mining.encoders.embed_config import KnownConfig
from mining.encoders.embed_known import pair_encoder_files, run_embed_known
from mining.pair.config import PairConfig
from mining.pair.text_files import check_texts, run_text_files, suspicious_scripts
from mining.search.mine import run_mine
from mining.search.mine_calibrated import calibration_file

logger = logging.getLogger(__name__)

PAIR_JOB = "pair"
_PARTS = ".pair"
_FEW_SENTENCES = 5000
"""Fewer are embedded sooner than a second process has loaded the encoder."""

_EXPECTED = ("expected_precision", "expected_precision_low", "expected_recall")
_LINE_COLUMNS = {"source_position": "source_line", "target_position": "target_line"}


@dataclass(frozen=True, kw_only=True)
class PairInputs:
    """What is paired, and by what."""

    files: tuple[Path, Path]
    """Text of the source and of the target language."""

    direction: Direction
    encoder: Path
    known: Path | None = None
    """Bitext, or a directory with bitext of the direction, to calibrate with."""

    evaluation_sets: tuple[Path, ...] = ()
    """Sets whose sentences must not be among the pairs."""

    def known_bitext(self) -> Path | None:
        """Return the file of known pairs.

        Raises:
            UserError: If there is none, or it is of other languages.
        """
        if self.known is None:
            return None
        ways = (self.direction, self.direction.reverse)
        if self.known.is_dir():
            found = bitext_files(self.known)
            for way in ways:
                if way in found:
                    return found[way]
            there = ", ".join(map(str, found))
            raise UserError(
                f"{self.known} holds no pairs of {self.direction}, either way round: {there}"
            )
        if not self.known.is_file():
            raise UserError(f"the known pairs {self.known} do not exist")
        named = direction_of(self.known)
        if named is not None and named not in ways:
            raise UserError(f"{self.known} is named as pairs of {named}, not of {self.direction}")
        return self.known

    def known_direction(self, known: Path) -> Direction:
        """Return which way round a file of known pairs is read; as it tells, else ours."""
        return direction_of(known, self.direction) or self.direction


def run_pair(inputs: PairInputs, output: Path, config: PairConfig) -> tuple[Path, Summary]:
    """Find the translations in two text files; return the bitext's path and the counts.

    Beside `<name>.tsv` stand `<name>.html`, the page, and `<name>.calibration.json`.

    Args:
        inputs: Files, languages, encoder.
        output: The bitext, or a directory for `<source>-<target>.tsv`.
        config: How each step works.

    Raises:
        UserError: If a file is missing, both are the same, the languages are the same, or the
            encoder does not know one.
        JobError: If a file has no text, or no threshold reaches the precision asked for.
    """
    source, target = inputs.direction
    for language in inputs.direction:
        check_language(language)
    if source == target:
        raise UserError(f"source and target are both `{source}`")
    check_texts(inputs.files)
    output = bitext_path(output, inputs)
    known = inputs.known_bitext()
    config = replace(config, mine=replace(config.mine, positions=True))
    encoder_files = pair_encoder_files(
        inputs.direction, inputs.encoder, config.encoders, all_languages=config.embed.all_languages
    )
    name = output.name.split(".")[0]
    task = Task(
        name=name,
        inputs=(
            *inputs.files,
            *([] if known is None else bitext_paths(known, inputs.known_direction(known))),
            *encoder_files,
            *evaluation_files(inputs.evaluation_sets),
        ),
        arguments={"source": source, "target": target, "output": output.name},
    )
    parts = output.parent / _PARTS / name
    if not has_receipt(PAIR_JOB, task, output.parent, config):
        _run_steps(inputs, known, parts, config)
    summary = run_job(
        name=PAIR_JOB,
        tasks=[task],
        work=functools.partial(_finish, parts=parts, output=output, direction=inputs.direction),
        output=output.parent,
        config=config,
        config_name=f"{name}.config.yaml",
    )
    remove_parts(parts)
    return output, summary


def bitext_path(output: Path, inputs: PairInputs) -> Path:
    """Return where the bitext goes.

    Raises:
        UserError: If that is one of the inputs, or neither bitext nor a directory.
    """
    if not output.name.endswith(BITEXT_SUFFIXES):
        if output.is_file() or (output.suffix and not output.is_dir()):
            raise UserError(
                f"{output}: bitext is written as {', '.join(BITEXT_SUFFIXES)}, or into a directory"
            )
        output = output / f"{inputs.direction}.tsv"
    elif output.is_dir():
        raise UserError(f"{output} is a directory; bitext is written to a file")
    for path in (*inputs.files, inputs.known_bitext()):
        if path is not None and path.resolve() == output.resolve():
            raise UserError(f"{output} is an input; choose another output")
    return output


def _run_steps(inputs: PairInputs, known: Path | None, parts: Path, config: PairConfig) -> None:
    """Run the jobs that lead to filtered pairs; those that are done are skipped."""
    source, target = inputs.direction
    sentences, embeddings = parts / "sentences", parts / "embeddings"
    texts = run_text_files(inputs.files, (source, target), sentences, config)
    if texts.counts["kept"] < _FEW_SENTENCES:
        config = replace(config, embed=replace(config.embed, workers=1))
    first = tuple(sentence_shards(sentences, language)[0] for language in inputs.direction)
    doubt = suspicious_scripts((first[0], first[1]), (source, target))
    if doubt:
        logger.warning("%s", doubt)
    for encoder, languages in _encoders(inputs, config).items():
        run_embed(sentences, encoder, embeddings, config.embed, languages)
    planted, pairs = None, parts / "known-pairs"
    if known is not None:
        planted = parts / "known"
        write_bitext(pairs / f"{inputs.direction}.parquet", _known_table(known, inputs, config))
        given = {name: getattr(config.embed, name) for name in config.embed.__dataclass_fields__}
        run_embed_known(
            [pairs], inputs.encoder, planted, KnownConfig(encoders=config.encoders, **given)
        )
    mined = parts / "mined" / f"{inputs.direction}.parquet"
    run_mine(sentences, embeddings, source, target, mined, config.mine, planted)
    judged = mined
    if config.filter.min_probability:
        own = known if known is None else pairs / mined.name
        by = ProbabilityInputs(encoder=inputs.encoder, known=own)
        learned = replace(config.probability, encoders=config.encoders, embed=config.embed)
        run_probability_pairs({mined: by}, parts / "judged", learned)
        judged = parts / "judged" / mined.name
    run_filter(
        judged,
        parts / "filtered" / mined.name,
        FilterInputs(evaluation_sets=inputs.evaluation_sets),
        config.filter,
    )


def _encoders(inputs: PairInputs, config: PairConfig) -> dict[Path, list[str]]:
    """Return the languages that each encoder embeds."""
    used: dict[Path, list[str]] = {}
    for language in inputs.direction:
        used.setdefault(config.encoders.get(language, inputs.encoder), []).append(language)
    return used


def _known_table(known: Path, inputs: PairInputs, config: PairConfig) -> pa.Table:
    """Return known pairs with the source language first."""
    direction = inputs.known_direction(known)
    table = read_bitext(known, config.columns, direction).select(["source", "target"])
    sides = (table.column(name).to_pylist() for name in ("source", "target"))
    if not any(normalize(a or "") and normalize(b or "") for a, b in zip(*sides, strict=True)):
        raise UserError(f"the known pairs {known} hold no pair")
    swaps = direction == inputs.direction.reverse
    return table.rename_columns(["target", "source"]) if swaps else table


def _finish(task: Task, *, parts: Path, output: Path, direction: Direction) -> Outcome:
    """Write bitext, page and calibration, each whole."""
    filtered = parts / "filtered" / f"{direction}.parquet"
    reader = BitextReader(filtered)
    names = [_LINE_COLUMNS.get(name, name) for name in reader.schema.names]
    with bitext_writer(output, _with_lines(reader.schema.empty_table(), names).schema) as write:
        for table in reader:
            write(_with_lines(table, names))
    page = output.with_name(f"{output.name.split('.')[0]}.html")
    write_report(
        page,
        bitext=filtered.parent,
        mined=parts / "mined",
        sentences=parts / "sentences",
        embeddings=parts / "embeddings",
    )
    mined = read_json(calibration_file(parts / "mined" / filtered.name))
    beside = calibration_file(output)
    write_json(beside, mined)
    counts = {
        name: mined[name] for name in ("source_sentences", "target_sentences", "candidate_pairs")
    }
    counts["mined_pairs"] = mined["pairs"]
    counts["pairs"] = reader.count()
    return Outcome(counts=counts, outputs=(output, page, beside))


def _with_lines(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return pairs with line numbers from 1, as editors count."""
    columns = [
        pa.array(column.to_numpy() + np.int32(1), pa.int32()) if name in _LINE_COLUMNS else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    return pa.table(dict(zip(names, columns, strict=True)))


def expected_of(output: Path) -> dict[str, Any]:
    """Return threshold and expectation of a bitext, as its calibration file has them."""
    known: dict[str, Any] = read_json(calibration_file(output))
    return {name: known[name] for name in ("threshold", "calibrated_by", *_EXPECTED, "translated")}


def describe_pairs(output: Path, counts: Mapping[str, int]) -> str:
    """Say in a few lines what was found and what to expect of it."""
    found = expected_of(output)
    rejected = counts["mined_pairs"] - counts["pairs"]
    return "\n".join(
        [
            f"{counts['source_sentences']:,} and {counts['target_sentences']:,} distinct texts;"
            f" {counts['mined_pairs']:,} pairs score at least {found['threshold']:.3f}; filters"
            f" reject {rejected:,} of them; {counts['pairs']:,} are in {output}",
            _expectation(found),
            f"page: {output.with_name(output.name.split('.')[0] + '.html')}",
        ]
    )


def _expectation(found: Mapping[str, Any]) -> str:
    precision, low, recall = (found[name] for name in _EXPECTED)
    if precision is None:
        return (
            "how many of them are translations is not known, because there are too few lines to"
            " tell, or the threshold was given; known pairs (--known) tell"
        )
    by = "the known pairs"
    if found["calibrated_by"] == "mutual pairs":
        by = "the most mutual pairs found; known pairs (--known) would be more certain"
    return (
        f"before the filters, {precision:.1%} of them should be translations (at least {low:.1%}),"
        f" {recall:.1%} of some {found['translated']:,} that can be found, estimated by {by}"
    )
