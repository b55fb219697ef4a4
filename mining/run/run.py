"""Crawl shards to filtered bitext of all wanted language pairs, with one page about it.

The steps are the jobs of the commands of their names, each in its directory of the output:
`sentences`, `embed`, `embed-known` where pairs are known, `mine` and `filter` with a task per
language pair, `report`. What is done is skipped, wherever the run was killed.
"""

import glob
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from corpus import stores
from corpus.config import dump_config
from corpus.crawl.documents import Shard
from corpus.errors import BudgetSpent, JobError, UserError
from corpus.files import read_json, write_text
from corpus.jobs import (
    CONFIG_FILE,
    LOCAL,
    Executor,
    Outcome,
    Task,
    WithinBudget,
    core_seconds,
    redo_changed,
    run_job,
    task_counts,
)
from corpus.languages import Direction, parse_direction
from corpus.protocols import IdentifierLoader
from corpus.records import bitext_files
from corpus.remote import find_files
from mining.bitext.filter import FILTER_JOB, FilterInputs, run_filter_pairs
from mining.bitext.probability import ProbabilityInputs, run_probability_pairs
from mining.bitext.report import write_report
from mining.encoders.embed import run_embed
from mining.encoders.embed_config import KnownConfig
from mining.encoders.embed_known import pair_encoder_files, run_embed_known
from mining.run.config import RunConfig
from mining.run.language_pairs import choose_pairs, named_languages
from mining.search.mine import MINE_JOB, run_mine_pairs
from mining.search.mine_calibrated import calibration_file
from mining.search.places import MinePlaces
from mining.sentences.merge import KEPT, MERGE_JOB
from mining.sentences.sentences import count_by_language, run_sentences

logger = logging.getLogger(__name__)

REPORT_JOB = "report"
_SECONDS_PER_HOUR = 3600.0
_FOUND = ("threshold", "expected_precision", "expected_recall")


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run has made so far."""

    pairs: Mapping[str, Mapping[str, Any]]
    """Per language pair: sentences of both sides, threshold, what is expected there, pairs mined
    and kept."""

    left: tuple[str, ...]
    """What was not begun because the budget is spent: language pairs, or shards of an earlier
    step."""

    stopped_in: str | None
    """The step that they are left of; None if the run is complete."""

    core_hours: float
    """CPU time of all steps up to mining, over all runs."""

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "pairs": dict(self.pairs),
            "left": list(self.left),
            "stopped_in": self.stopped_in,
            "core_hours": round(self.core_hours, 4),
        }


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A run: where it writes, and what it is told."""

    output: Path
    config: RunConfig
    load_identifier: IdentifierLoader
    executor: Executor
    """Of what does not count."""

    @property
    def places(self) -> MinePlaces:
        known = self.output / "known" if self.config.known else None
        sentences = self.config.extracted or self.output / "sentences"
        return MinePlaces(sentences, self.output / "embeddings", self.output / "mined", known)

    @property
    def bitext(self) -> Path:
        return self.output / "bitext"

    @property
    def counted(self) -> tuple[Path, ...]:
        """Outputs of the jobs whose CPU time counts."""
        own = (path for path in self.places if path is not None)
        return tuple(path for path in own if path != self.config.extracted)

    @property
    def limited(self) -> Executor:
        """The executor, within the budget."""
        hours = self.config.budget_core_hours
        if hours is None:
            return self.executor
        return WithinBudget(self.executor, self.counted, hours * _SECONDS_PER_HOUR)


def run_mining(
    output: Path,
    config: RunConfig,
    load_identifier: IdentifierLoader,
    executor: Executor = LOCAL,
) -> RunResult:
    """Mine crawl shards; write bitext, calibration and a page.

    Args:
        output: Gets `sentences`, `embeddings`, `known`, `mined` and `bitext`, with a file for
            each language pair, and `report.html`.
        config: The recipe.
        load_identifier: Loads the language identifier.
        executor: Where the shards and the language pairs are processed.

    Raises:
        UserError: If an input is missing, a language was not found or has no encoder, or the
            output was made with other settings.
        JobError: If shards or language pairs failed. What the others gave is there.
        ShareDone: If this process did its share, and the next step needs those of others.
    """
    run = _Run(output=output, config=config, load_identifier=load_identifier, executor=executor)
    failed: JobError | None = None
    left: tuple[str, ...] = ()
    stopped_in = None
    try:
        _check_encoders(config)
        _extract(run)
        pairs = choose_pairs(config, _sentence_counts(run))
        _embed(run, pairs)
        run_mine_pairs(run.places, pairs, config.mine, workers=config.workers, executor=run.limited)
    except BudgetSpent as spent:
        logger.warning("%s", spent)
        stopped_in, left = spent.job, tuple(sorted(spent.left))
    except JobError as error:
        failed = error
    mined = _done(run.places.output, MINE_JOB)
    if mined:
        try:
            _filter(run, mined)
        except JobError as error:
            failed = failed or error
        _report(run, left if stopped_in == MINE_JOB else ())
    if failed is not None:
        raise failed
    return RunResult(
        pairs={pair: _found(run, pair) for pair in mined},
        left=left,
        stopped_in=stopped_in,
        core_hours=core_seconds(run.counted) / _SECONDS_PER_HOUR,
    )


def _check_encoders(config: RunConfig) -> None:
    """Refuse encoders that are missing or do not fit together, before hours of work.

    Raises:
        UserError: Naming the encoder or the language.
    """
    for language in sorted(named_languages(config) | set(config.encoders)):
        pair_encoder_files(
            Direction(language, language),
            config.encoder,
            config.encoders,
            all_languages=config.embed.all_languages,
        )


def _extract(run: _Run) -> None:
    if run.config.extracted is not None:
        return
    run_sentences(
        shard_files(run.config.shards),
        run.config.lid,
        run.places.sentences,
        replace(run.config.sentences, languages=run.config.languages),
        run.load_identifier,
        run.limited,
    )


def shard_files(patterns: Sequence[str]) -> list[Shard]:
    """Return the crawl shards that paths, wildcards and URLs name, in order.

    Raises:
        UserError: If a wildcard matches nothing.
    """
    found: list[str] = []
    for pattern in patterns:
        is_local = "://" not in pattern and glob.has_magic(pattern)
        matches = sorted(glob.glob(pattern)) if is_local else [pattern]  # noqa: PTH207
        if not matches:
            raise UserError(f"`shards`: no file matches {pattern}")
        found += matches
    return list(find_files(found))


def _sentence_counts(run: _Run) -> dict[str, int]:
    """Return the sentences of each language; of another run's, those of `languages` only."""
    wanted, extracted = run.config.languages, run.config.extracted
    counts = count_by_language(run.places.sentences, MERGE_JOB, wanted)
    found = {language: count[KEPT] for language, count in counts.items() if count[KEPT]}
    if extracted is not None and (missing := sorted(set(wanted) - set(found))):
        raise UserError(f"{extracted} has no sentences of {', '.join(missing)}, of `languages`")
    return found


def _embed(run: _Run, pairs: Sequence[Direction]) -> None:
    config = run.config
    languages = sorted({language for pair in pairs for language in pair})
    used: dict[Path, list[str]] = {}
    for language in languages:
        used.setdefault(config.encoders.get(language, config.encoder), []).append(language)
    for encoder, own in used.items():
        run_embed(
            run.places.sentences, encoder, run.places.embeddings, config.embed, own, run.limited
        )
    if run.places.known is not None:
        given = {name: getattr(config.embed, name) for name in config.embed.__dataclass_fields__}
        run_embed_known(
            config.known,
            config.encoder,
            run.places.known,
            KnownConfig(encoders=config.encoders, **given),
            run.limited,
            languages,
        )


def _filter(run: _Run, mined: Sequence[str]) -> None:
    """Filter what was mined; it does not count, so that nothing is mined and then not usable."""
    folder = run.places.output
    if run.config.filter.min_probability:
        folder = _judge(run, mined)
    inputs = FilterInputs(evaluation_sets=run.config.evaluation_sets, toxicity=run.config.toxicity)
    run_filter_pairs(
        [folder / f"{pair}.parquet" for pair in mined],
        run.bitext,
        inputs,
        run.config.filter,
        workers=run.config.workers,
        executor=run.executor,
    )


def _judge(run: _Run, mined: Sequence[str]) -> Path:
    """Add probabilities to what was mined; return the directory."""
    config = run.config
    known = [bitext_files(files) for files in config.known]
    bitexts = {}
    for pair in mined:
        direction = parse_direction(pair)
        own = [found[direction] for found in known if direction in found]
        bitexts[run.places.output / f"{pair}.parquet"] = ProbabilityInputs(
            encoder=config.encoder, known=own[0] if own else None
        )
    judged = run.output / "judged"
    run_probability_pairs(
        bitexts,
        judged,
        replace(config.probability, encoders=config.encoders, embed=config.embed),
        workers=config.workers,
        executor=run.executor,
    )
    return judged


def _report(run: _Run, left: Sequence[str]) -> None:
    """Write the page again if anything that it shows is new."""
    filtered = _done(run.bitext, FILTER_JOB)
    if not filtered:
        return
    files = [run.bitext / f"{pair}.parquet" for pair in filtered]
    files += [calibration_file(run.places.output / file.name) for file in files]
    task = Task(name="report", inputs=tuple(files), arguments={"left": list(left)})

    def work(_: Task) -> Outcome:
        page = run.output / "report.html"
        write_report(
            page,
            bitext=run.bitext,
            mined=run.places.output,
            sentences=run.places.sentences,
            embeddings=run.places.embeddings,
            left=left,
        )
        write_text(run.output / CONFIG_FILE, dump_config(run.config))
        return Outcome(outputs=(page, run.output / CONFIG_FILE))

    redo_changed(REPORT_JOB, [task], run.output)
    run_job(name=REPORT_JOB, tasks=[task], work=work, output=run.output)


def _done(directory: Path, job: str) -> list[str]:
    """Return the language pairs that a job has finished in a directory, sorted."""
    return list(task_counts(directory, job))


def _found(run: _Run, pair: str) -> dict[str, Any]:
    known = read_json(stores.fetch(calibration_file(run.places.output / f"{pair}.parquet")))
    filtered = task_counts(run.bitext, FILTER_JOB).get(pair)
    return {
        "source_sentences": known["source_sentences"],
        "target_sentences": known["target_sentences"],
        **{name: known[name] for name in _FOUND},
        "mined": known["pairs"],
        "kept": None if filtered is None else filtered["kept"],
    }
