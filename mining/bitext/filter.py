"""Which mined pairs are kept; every reject has a reason."""

import functools
import logging
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from corpus.errors import DataError, UserError
from corpus.files import read_lines
from corpus.flores import split_languages
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.records import read_bitext, write_bitext
from corpus.text import sentence_hash, sentence_key
from mining.bitext.config import FilterConfig

logger = logging.getLogger(__name__)

_SPLITS = ("dev", "devtest", "test")
_TRIGRAM = 3
REASONS = (
    "score_too_low",
    "score_too_high",
    "evaluation_overlap",
    "length_ratio",
    "copy",
    "duplicate_pair",
)


def evaluation_files(directories: Sequence[Path]) -> tuple[Path, ...]:
    """Return all files of evaluation sets in the layout of FLORES.

    Raises:
        UserError: If a directory holds none, since a filter of nothing would pass unseen.
    """
    files: list[Path] = []
    for directory in directories:
        splits = [split for split in _SPLITS if (directory / split).is_dir()]
        if not splits:
            raise UserError(
                f"{directory} holds no evaluation set: no folder {', '.join(_SPLITS)} with files"
                " <language>.<split>"
            )
        for split in splits:
            files += [
                directory / split / f"{language}.{split}"
                for language in split_languages(directory, split)
            ]
    return tuple(files)


def run_filter(
    bitext: Path, output: Path, evaluation_sets: Sequence[Path], config: FilterConfig
) -> Summary:
    """Write the pairs of a bitext file that pass all filters.

    Raises:
        UserError: If the bitext or an evaluation set is missing, or output and input are one file.
    """
    if not bitext.is_file():
        raise UserError(f"bitext {bitext} does not exist")
    if bitext.resolve() == output.resolve():
        raise UserError(f"{output} is the input; choose another output")
    name = output.name.split(".")[0]
    task = Task(name=name, inputs=(bitext, *evaluation_files(evaluation_sets)))
    work = functools.partial(_filter_file, output=output, config=config)
    return run_job(
        name="filter",
        tasks=[task],
        work=work,
        output=output.parent,
        config=config,
        config_name=f"{name}.config.yaml",
    )


def _filter_file(task: Task, *, output: Path, config: FilterConfig) -> Outcome:
    bitext, *evaluation = task.inputs
    table = read_bitext(bitext)
    counts: Counter[str] = Counter(pairs=table.num_rows)
    reasons = reject_reasons(table, evaluation_hashes(evaluation), config)
    for reason in REASONS:
        counts[f"rejected.{reason}"] = 0
    for reason in reasons:
        counts["kept" if not reason else f"rejected.{reason}"] += 1
    kept = table.filter(pa.array([not reason for reason in reasons], pa.bool_()))
    write_bitext(output, kept)
    return Outcome(counts=counts, outputs=(output,))


def evaluation_hashes(files: Sequence[Path]) -> frozenset[int]:
    """Return the hashes of all sentences of evaluation files, those without letters aside."""
    return frozenset(
        sentence_hash(line) for path in files for line in read_lines(path) if sentence_key(line)
    )


def reject_reasons(table: pa.Table, evaluation: frozenset[int], config: FilterConfig) -> list[str]:
    """Return per pair why it is rejected; empty if it is kept. The first reason that holds counts.

    Raises:
        DataError: If a side of a pair is null.
    """
    sources, targets = (table.column(name).to_pylist() for name in ("source", "target"))
    if None in sources or None in targets:
        raise DataError("the bitext has pairs without a source or a target")
    has_scores = "score" in table.column_names
    scores = table.column("score").to_pylist() if has_scores else [None] * len(sources)
    expected = mean_length_ratio(sources, targets)
    seen: set[tuple[int, int]] = set()
    reasons = []
    for source, target, score in zip(sources, targets, scores, strict=True):
        hashes = (sentence_hash(source), sentence_hash(target))
        reason = ""
        if score is not None and score < config.min_score:
            reason = "score_too_low"
        elif score is not None and score > config.max_score:
            reason = "score_too_high"
        elif not evaluation.isdisjoint(hashes):
            reason = "evaluation_overlap"
        elif not _fits(source, target, expected, config.max_length_ratio):
            reason = "length_ratio"
        elif trigram_overlap(source, target) > config.max_overlap:
            reason = "copy"
        elif hashes in seen:
            reason = "duplicate_pair"
        else:
            seen.add(hashes)
        reasons.append(reason)
    return reasons


def mean_length_ratio(sources: Sequence[str], targets: Sequence[str]) -> float:
    """Return the characters of all targets by those of all sources.

    A script of syllables writes a sentence in half the letters of an alphabet, so a pair's lengths
    are compared with this ratio, not with 1.
    """
    total = sum(map(len, sources))
    return sum(map(len, targets)) / total if total else 1.0


def _fits(source: str, target: str, expected: float, limit: float) -> bool:
    if not source or not target:
        return False
    return abs(math.log(len(target) / len(source) / expected)) <= math.log(limit)


def trigram_overlap(source: str, target: str) -> float:
    """Return the share of the smaller side's character trigrams that the other side has too."""
    left, right = (_trigrams(sentence_key(text)) for text in (source, target))
    smaller = min(len(left), len(right))
    return len(left & right) / smaller if smaller else float(left == right)


def _trigrams(text: str) -> set[str]:
    return {text[i : i + _TRIGRAM] for i in range(max(1, len(text) - _TRIGRAM + 1))}
