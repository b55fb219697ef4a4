"""`tongues lid extend`: a language more for an identifier whose training text is not there."""

from __future__ import annotations

import functools
import hashlib
import heapq
import logging
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from corpus.errors import DataError, UserError
from corpus.files import make_directory, read_lines, write_lines
from corpus.jobs import RECEIPTS, Outcome, Summary, Task, run_job
from corpus.languages import script_of
from corpus.protocols import BUILTIN, identifier_inputs
from lid.config import ExtendConfig
from lid.directory import SPECIAL_CLASSES, refuse_other_model
from lid.extended import BASE, DETECTOR, write_extended
from lid.fasttext_model.subprocess_trainer import check_installed
from lid.labeled_text import labeled_files
from lid.train import train_model
from lid.training.data import prepare_all
from lid.training.unmix import find_own_lines

logger = logging.getLogger(__name__)

JOB = "extend"
_TEXT = "text"

Files = Mapping[str, Sequence[Path]]


def extend(
    model: Path,
    language: str,
    text: Sequence[Path],
    labeled: Sequence[Path],
    output: Path,
    config: ExtendConfig,
) -> Summary:
    """Write an identifier that knows a language more: `model` with a detector beside it.

    Args:
        model: Identifier directory, or `builtin`.
        language: The language.
        text: Directories with text known to be in it, `<language>.txt[.gz|.zst]`.
        labeled: Directories of text that the identifier labeled, one file per language. Some of it
            is in the new language, under others' labels.
        output: Directory to write.
        config: How the detector is trained.

    Raises:
        UserError: If fastText is not installed, there is no text, no other language of its script
            in `labeled`, or another model in `output`.
    """
    check_installed()
    refuse_other_model(output, JOB)
    known = [files[language] for one in text if language in (files := labeled_files(one, least=1))]
    if not known:
        raise UserError(f"{', '.join(map(str, text))}: there is no text of `{language}`")
    labels: dict[str, list[Path]] = {}
    for one in labeled:
        for label, path in labeled_files(one, least=1).items():
            labels.setdefault(label, []).append(path)
    for label in {language, *SPECIAL_CLASSES} & labels.keys():
        logger.info("%s: text labeled so is left out", label)
        del labels[label]
    read = [*known, *(path for label in sorted(labels) for path in labels[label])]
    task = Task(
        name="identifier",
        inputs=(*read, *identifier_inputs(model)),
        arguments={"language": language, "labels": sorted(labels), "base": model.name},
    )
    work = functools.partial(
        _extend,
        model=model,
        language=language,
        known=known,
        labels=labels,
        output=output,
        config=config,
    )
    return run_job(name=JOB, tasks=[task], work=work, output=output, config=config)


def _extend(
    task: Task,
    *,
    model: Path,
    language: str,
    known: Sequence[Path],
    labels: Files,
    output: Path,
    config: ExtendConfig,
) -> Outcome:
    """Sort the labeled text, train the detector on it, and join the two."""
    counts: Counter[str] = Counter()
    texts = _sorted_text(language, known, labels, config, counts)
    shutil.rmtree(output / _TEXT, ignore_errors=True)
    make_directory(output / _TEXT)
    files = {label: [output / _TEXT / f"{label}.txt"] for label in texts}
    for label, lines in texts.items():
        write_lines(files[label][0], lines)
    make_directory(output / DETECTOR)
    trained = train_model(task, files=files, output=output / DETECTOR, config=config)
    base = model if model == BUILTIN else output / BASE
    if base != BUILTIN:
        shutil.rmtree(base, ignore_errors=True)
        shutil.copytree(model, base, ignore=shutil.ignore_patterns(RECEIPTS, "*.html", "*.tmp"))
    written = write_extended(output, language, base)
    copied = sorted(path for path in base.rglob("*") if path.is_file()) if base != model else []
    texts_written = [path for paths in files.values() for path in paths]
    return Outcome(
        counts={**counts, **{f"trained_{key}": n for key, n in trained.counts.items()}},
        outputs=(*texts_written, *trained.outputs, *copied, *written),
    )


def _sorted_text(
    language: str,
    known: Sequence[Path],
    labels: Files,
    config: ExtendConfig,
    counts: Counter[str],
) -> dict[str, list[str]]:
    """Return lines by language: the new one's are the known ones and those found elsewhere."""
    own = _sample(known, config.most_lines)
    counts["known"] = len(own)
    if not own:
        raise DataError(f"{', '.join(map(str, known))}: no line has letters")
    texts: dict[str, dict[str, str]] = {}
    for label, paths in sorted(labels.items()):
        lines = _sample(paths, config.most_lines)
        if len(lines) < config.least_lines:
            counts["labels_left_out"] += 1
            continue
        texts[label] = {prepared: line for prepared, line in lines.items() if prepared not in own}
        counts["labeled"] += len(lines)
    rivals = [label for label in texts if script_of(label) == script_of(language)]
    if not rivals:
        raise UserError(
            f"the labeled text has no language of the script of {language} with at least"
            f" {config.least_lines} lines (`least_lines`): there is nothing to tell it from."
        )
    taken = find_own_lines(list(own), {label: list(texts[label]) for label in rivals})
    result = {language: list(own.values())}
    for label, lines in texts.items():
        moved = taken[label].tolist() if label in taken else [False] * len(lines)
        kept = [line for line, is_taken in zip(lines.values(), moved, strict=True) if not is_taken]
        result[language] += [
            line for line, is_taken in zip(lines.values(), moved, strict=True) if is_taken
        ]
        if number := sum(moved):
            logger.info(
                "%s: %s of %s lines are %s", label, f"{number:,}", f"{len(lines):,}", language
            )
        counts["moved"] += number
        if len(kept) >= config.least_lines:
            result[label] = kept
    return result


def _sample(paths: Sequence[Path], most: int) -> dict[str, str]:
    """Return distinct lines by how they are prepared, at most so many: those of lowest hash."""
    lines = [line for path in paths for line in read_lines(path)]
    found = dict(zip(prepare_all(lines), lines, strict=True))
    found.pop("", None)
    if len(found) <= most:
        return found
    return {one: found[one] for one in heapq.nsmallest(most, found, key=_hash)}


def _hash(line: str) -> bytes:
    return hashlib.blake2b(line.encode("utf-8"), digest_size=8).digest()
