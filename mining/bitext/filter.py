"""Filtering of mined pairs as a stream in two passes; every rejected pair has a reason."""

import functools
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from corpus import stores
from corpus.bitext import (
    BitextReader,
    bitext_paths,
    bitext_writer,
    direction_of,
)
from corpus.errors import DataError, UserError
from corpus.evaluation_files import evaluation_files
from corpus.evaluation_sets import EvaluationSentences
from corpus.jobs import LOCAL, Executor, Outcome, Summary, Task, run_job
from corpus.languages import Direction, parse_direction
from corpus.protocols import LanguageIdentifier, identifier_inputs
from corpus.terms import TermMatcher
from corpus.word_lists import WordList, find_list, read_word_lists
from mining.bitext.config import FilterConfig
from mining.bitext.files import check_files
from mining.bitext.pairs import median_length_ratio
from mining.bitext.rules import PROBABILITY, REASONS, Knowledge, PairFilter

logger = logging.getLogger(__name__)

FILTER_JOB = "filter"


@dataclass(frozen=True, kw_only=True)
class FilterInputs:
    """Files that pairs are checked against, each optional."""

    evaluation_sets: tuple[Path, ...] = ()
    lid: Path | None = None
    """Model directory of the language identifier."""

    toxicity: Path | None = None
    """Word lists by language; see `corpus.word_lists`."""

    def files(self, direction: Direction | None) -> tuple[Path, ...]:
        """Return all files that the result depends on.

        Raises:
            UserError: If one of the places holds none.
        """
        models = () if self.lid is None else identifier_inputs(self.lid)
        lists = {known.origin for known in self.toxicity_lists(direction).values()}
        return (*evaluation_files(self.evaluation_sets), *models, *sorted(lists))

    def toxicity_lists(self, direction: Direction | None) -> dict[str, WordList]:
        """Return the lists of the two languages, as far as they exist."""
        if self.toxicity is None:
            return {}
        lists = read_word_lists(self.toxicity)
        found = {language: find_list(lists, language) for language in direction or ()}
        return {language: one for language, one in found.items() if one is not None}


def run_filter(
    bitext: Path,
    output: Path,
    inputs: FilterInputs,
    config: FilterConfig,
    *,
    rejects: Path | None = None,
    load_identifier: Callable[[Path], LanguageIdentifier] | None = None,
    executor: Executor = LOCAL,
) -> Summary:
    """Write the pairs of a bitext file that pass all filters, with all their columns.

    The file is read twice in bounded memory: for the median length ratio, and for the pairs. Of the
    pairs kept, 24 bytes each are remembered, for duplicates and the limits per sentence.

    Args:
        bitext: Pairs, `.parquet` or `.tsv`, named by their direction unless the config has it.
        output: Where those that are kept go.
        inputs: Evaluation sets, language identifier, toxicity lists.
        config: The thresholds.
        rejects: Where the others go, with their `reason`; nowhere if not given.
        load_identifier: Loads the identifier; needed with `inputs.lid`.
        executor: Where it runs.

    Raises:
        UserError: If an input is missing, or two of the files are one.
    """
    stores.fetch(bitext)
    _check_files(bitext, output, rejects)
    task = _task(bitext, output, inputs, config, rejects)
    work = functools.partial(
        _filter_file,
        output=output.parent,
        config=config,
        know=functools.partial(_know, inputs=inputs, load_identifier=load_identifier),
    )
    return run_job(
        name=FILTER_JOB,
        tasks=[task],
        work=work,
        output=output.parent,
        config=config,
        config_name=f"{task.name}.config.yaml",
        executor=executor,
    )


def run_filter_pairs(
    bitexts: Sequence[Path],
    output: Path,
    inputs: FilterInputs,
    config: FilterConfig,
    *,
    workers: int = 1,
    executor: Executor = LOCAL,
) -> Summary:
    """Filter many bitext files as one job, each into a file of its name in `output`.

    Languages are not identified again: this is for pairs whose sentences were told apart so.

    Raises:
        UserError: As `run_filter`.
        JobError: If files failed; the others are done.
    """
    for bitext in bitexts:
        stores.fetch(bitext)
        check_files(bitext, output / bitext.name)
    return run_job(
        name=FILTER_JOB,
        tasks=[_task(bitext, output / bitext.name, inputs, config, None) for bitext in bitexts],
        work=functools.partial(
            _filter_file,
            output=output,
            config=config,
            know=functools.partial(_know, inputs=inputs, load_identifier=None),
        ),
        output=output,
        config=config,
        workers=workers,
        executor=executor,
    )


def _task(
    bitext: Path, output: Path, inputs: FilterInputs, config: FilterConfig, rejects: Path | None
) -> Task:
    direction = _direction(bitext, config)
    return Task(
        name=output.name.split(".")[0],
        inputs=(*bitext_paths(bitext, direction), *inputs.files(direction)),
        arguments={
            "output": output.name,
            **({"rejects": str(rejects)} if rejects is not None else {}),
        },
    )


def _direction(bitext: Path, config: FilterConfig) -> Direction | None:
    return parse_direction(config.direction) if config.direction else direction_of(bitext)


def _check_files(bitext: Path, output: Path, rejects: Path | None) -> None:
    check_files(bitext, output, *([] if rejects is None else [rejects]))
    if rejects is not None and output.resolve() == rejects.resolve():
        raise UserError(f"{output} is to hold both the pairs that are kept and the rejects")


def _know(
    direction: Direction | None,
    length_ratio: float,
    *,
    inputs: FilterInputs,
    load_identifier: Callable[[Path], LanguageIdentifier] | None,
) -> Knowledge:
    """Loads what pairs are checked against; picklable, for workers on other machines."""
    evaluation = evaluation_files(inputs.evaluation_sets)
    identifier = None
    if inputs.lid is not None and load_identifier is not None:
        identifier = load_identifier(inputs.lid)
    toxicity = None
    if inputs.toxicity is not None:
        lists = inputs.toxicity_lists(direction)
        toxicity = {code: TermMatcher(known.terms, code) for code, known in lists.items()}
    return Knowledge(
        length_ratio=length_ratio,
        direction=direction,
        evaluation=EvaluationSentences.read(evaluation) if evaluation else None,
        identifier=identifier,
        toxicity=toxicity,
    )


def _filter_file(
    task: Task,
    *,
    output: Path,
    config: FilterConfig,
    know: Callable[[Direction | None, float], Knowledge],
) -> Outcome:
    named = parse_direction(config.direction) if config.direction else None
    reader = BitextReader(task.inputs[0], columns=config.columns, direction=named)
    _check_score_column(task.inputs[0], reader.schema, config)
    _check_judged_columns(task.inputs[0], reader.schema, config)
    knowledge = know(_direction(task.inputs[0], config), median_length_ratio(reader))
    kept = output / task.arguments["output"]
    rejects = Path(task.arguments["rejects"]) if "rejects" in task.arguments else None
    counts: Counter[str] = Counter({"pairs": 0, "kept": 0})
    counts.update({f"rejected.{reason}": 0 for reason in REASONS})
    pair_filter = PairFilter(knowledge, config)
    with ExitStack() as stack:
        keep = stack.enter_context(bitext_writer(kept, reader.schema))
        reject = None
        if rejects is not None:
            schema = reader.schema.append(pa.field("reason", pa.string()))
            reject = stack.enter_context(bitext_writer(rejects, schema))
        for table in reader:
            _check_scores(task.inputs[0], table, config)
            reasons = pair_filter.reasons(table)
            counts["pairs"] += table.num_rows
            for reason, count in Counter(reasons).items():
                counts[f"rejected.{reason}" if reason else "kept"] += count
            is_kept = pa.array([not reason for reason in reasons], pa.bool_())
            keep(table.filter(is_kept))
            if reject is not None:
                column = pa.array(reasons, pa.string())
                reject(table.append_column("reason", column).filter(pc.invert(is_kept)))
    for name in knowledge.unmeasured():
        counts[f"unmeasured.{name}"] = counts["pairs"]
        logger.warning("%s: no pair could be asked for %s", task.inputs[0], name)
    outputs = (kept,) if rejects is None else (kept, rejects)
    return Outcome(counts=counts, outputs=outputs)


def _check_score_column(path: Path, schema: pa.Schema, config: FilterConfig) -> None:
    """Refuse to filter by a score that a file does not have: all pairs would be kept.

    Raises:
        UserError: Naming the columns that there are.
    """
    if config.filters_by_score and "score" not in schema.names:
        raise UserError(
            f"{path} has no column `score` to compare with `min_score` {config.min_score} and"
            f" `max_score` {config.max_score}; it has {', '.join(schema.names)}. Score the pairs"
            " with `tongues mining score`, or leave both settings out."
        )


def _check_judged_columns(path: Path, schema: pa.Schema, config: FilterConfig) -> None:
    """Refuse limits of columns that a file does not have.

    Raises:
        UserError: Naming the columns that there are.
    """
    wanted = [PROBABILITY] if config.min_probability else []
    for name in [*wanted, *config.min_quality]:
        if name not in schema.names:
            raise UserError(
                f"{path} has no column `{name}` to filter by; it has {', '.join(schema.names)}"
            )


def _check_scores(path: Path, table: pa.Table, config: FilterConfig) -> None:
    if config.filters_by_score and table.column("score").null_count:
        raise DataError(
            f"{path} has pairs without a score, and `min_score` or `max_score` is set; score all"
            " pairs with `tongues mining score`"
        )
