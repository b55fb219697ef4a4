"""Sequence-level distillation: a teacher's translations of a bitext's sources as new bitext.

Kim and Rush 2016, "Sequence-Level Knowledge Distillation", section 3.2: the student is trained on
the teacher's best hypothesis in place of the reference.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from corpus.bitext import BitextReader, bitext_paths, bitext_writer
from corpus.errors import UserError
from corpus.jobs import LOCAL, Executor, Outcome, Summary, Task, run_job
from corpus.languages import Direction, parse_direction
from corpus.records import bitext_files
from nmt.translation.decoding.config import DistillBitextConfig
from nmt.translation.translate_files import (
    model_files,
    model_languages,
    needed_arguments,
    shared_translator,
)
from nmt.translation.translator import TextTranslator, check_direction
from nmt.usage.expert_selection import Needed

SCHEMA = pa.schema([("score", pa.float32()), ("source", pa.string()), ("target", pa.string())])
"""The score is the teacher's: log-probability / tokens^`length_penalty`."""


@dataclass(frozen=True)
class DistillBitext:
    """Work of a task: the sources of one direction and the teacher's translations."""

    teacher: Path
    output: Path
    config: DistillBitextConfig
    needed: Needed

    def __call__(self, task: Task) -> Outcome:
        """Translate the direction that the task is named by."""
        direction = parse_direction(task.name)
        source = "source" if task.arguments["forward"] else "target"
        translator = shared_translator(self.teacher, self.config.for_sentences(), self.needed)
        translator.counts = Counter()
        path = self.output / f"{direction}.parquet"
        counts: Counter[str] = Counter()
        with bitext_writer(path, SCHEMA) as write:
            of_file = direction if task.arguments["forward"] else direction.reverse
            reader = BitextReader(task.inputs[-1], columns=self.config.columns, direction=of_file)
            for table in reader:
                lines = table.column(source).to_pylist()
                write(_translate(lines, direction, translator, counts))
        translator.warn()
        return Outcome(counts={**counts, **translator.counts}, outputs=(path,))


def _translate(
    lines: list[str | None],
    direction: Direction,
    translator: TextTranslator,
    counts: Counter[str],
) -> pa.Table:
    """Return a block's pairs; lines that are empty, before or after, are counted and left out."""
    first = translator.counts["lines"]
    texts = [line or "" for line in lines]
    translations = translator.translate_scored(texts, *direction, first)
    kept = [(t.score, text, t.text) for t, text in zip(translations, texts, strict=True) if t.text]
    counts["pairs"] += len(kept)
    counts["empty"] += len(texts) - len(kept)
    scores, sources, targets = zip(*kept, strict=True) if kept else ((), (), ())
    return pa.table([scores, sources, targets], schema=SCHEMA)


def distill_bitext(
    teacher: Path,
    bitext: Path,
    directions: Sequence[Direction],
    output: Path,
    config: DistillBitextConfig,
    executor: Executor = LOCAL,
) -> Summary:
    """Translate the sources of a bitext with a teacher, a task per direction.

    `<source>-<target>.parquet` in `output` holds `score`, `source` and `target`; its targets must
    not be used as sources, so training takes it as `bitext.distilled`, from source to target only,
    or as `bitext.replay`.

    Args:
        teacher: Model directory.
        bitext: Directory of bitext; of a file `A-B` both directions can be distilled.
        directions: Those to distill; empty for all of the bitext that the teacher was trained on.
        output: Directory of the new bitext.
        config: How to read the bitext and to translate.
        executor: Where the directions are worked on.

    Raises:
        UserError: If a direction has no bitext, or nothing is left to do.
    """
    config.check_single()
    vocabulary, trained = model_languages(teacher, config.adapter)
    files = dict(_both_ways(bitext))
    chosen = list(directions) or [direction for direction in sorted(files) if direction in trained]
    if not chosen:
        raise UserError(f"the teacher {teacher} was trained on no direction of the bitext {bitext}")
    for direction in chosen:
        if direction not in files:
            raise UserError(f"{bitext} has no bitext for direction {direction}")
        check_direction(direction, vocabulary, trained)
    needed = Needed.of(chosen)
    tasks = [
        Task(
            name=str(direction),
            inputs=(*model_files(teacher, config), *_all_files(direction, *files[direction])),
            arguments={
                "forward": files[direction][1],
                **needed_arguments(config, needed),
            },
        )
        for direction in chosen
    ]
    return run_job(
        name="distill",
        tasks=tasks,
        work=DistillBitext(teacher, output, config, needed),
        output=output,
        config=config,
        executor=executor,
    )


def _all_files(direction: Direction, path: Path, is_forward: bool) -> tuple[Path, ...]:
    """Return the files of a bitext, the one that it is given by last."""
    of_file = direction if is_forward else direction.reverse
    return bitext_paths(path, of_file)[::-1]


def _both_ways(bitext: Path) -> Iterator[tuple[Direction, tuple[Path, bool]]]:
    """Yield directions with their file and whether the file names them as they are.

    Where a directory has both `A-B` and `B-A`, each direction takes the file of its own name.
    """
    found = bitext_files(bitext)
    for direction, path in found.items():
        yield direction, (path, True)
        if direction.reverse not in found:
            yield direction.reverse, (path, False)
