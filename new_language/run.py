"""Runs the steps of a recipe, one command after the other."""

import importlib.util
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from corpus.console import format_duration
from corpus.errors import TonguesError, UserError
from corpus.files import make_directory, read_lines, write_text
from corpus.jobs import RECEIPTS, Outcome, Task, begin_job, hold_lock, redo_changed, run_job
from corpus.languages import find_language
from corpus.protocols import BUILTIN, BUILTIN_PACKAGE
from new_language.report import write_report
from new_language.steps import REPORT, SPLIT, Plan, Step, check_test_sets, make_steps
from new_language.times import Times, note_time, step_times

logger = logging.getLogger(__name__)

_LOCK, _NAME = "steps.lock", "steps"
_LOOKED_AT = 200
"""Lines of the seed that are identified, to see that its sides are in the right order."""

_MEASURE_JOB = "measure"
_NO_CONFIG = "measure.config.yaml"
"""Measurements have none; named so that other directories are not looked through for leftovers."""
_RECORDS = {RECEIPTS, "logs", "statistics"}


class StepFailed(TonguesError):  # noqa: N818 - the command of a step failed, not this one
    """The command of a step failed; its own message was printed by it."""

    def __init__(self, step: Step, code: int) -> None:
        """Say which step, its command, and what helps.

        Args:
            step: The step.
            code: Exit code of its command, negative for a signal.
        """
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        super().__init__(
            f"step `{step.name}` failed ({how}); what it says is above. Its command:\n"
            f"  {step.shell()}\n{step.by_hand}\nThen run the same command again; what is done stays"
            " as it is."
        )
        self.exit_code = code if code > 0 else 1


def script(plan: Plan) -> str:
    """Return the steps as a shell script."""
    lines = ["#!/usr/bin/env bash", "set -euo pipefail"]
    for step in make_steps(plan):
        lines += ["", f"# {step.title}", step.shell()]
    return "\n".join(lines)


def run_steps(plan: Plan) -> None:
    """Run all steps; write the page after them, or after the one that failed.

    Raises:
        StepFailed: If the command of a step failed.
        UserError: If another process works in the output, or the recipe names what is not there.
    """
    steps = make_steps(plan)
    check_test_sets(plan)
    _check_identifier(plan)
    make_directory(plan.output)
    with hold_lock(plan.output / _LOCK, _NAME) as is_mine:
        if not is_mine:
            raise UserError(f"another `tongues new-language` works in {plan.output}")
        begin = time.monotonic()
        for i in range(len(steps)):
            steps = make_steps(plan)  # which model is exported is known when it was scored
            step = steps[i]
            logger.info("== %d/%d %s", i + 1, len(steps), step.title)
            if step.name == REPORT:
                write_report(plan, step_times(plan.output))
            elif step.reads:
                _measure(plan, step)
            else:
                _run(plan, step)
            if step.name == SPLIT:
                _check_sides(plan)
    logger.info("all steps in %s", format_duration(time.monotonic() - begin))


def _check_identifier(plan: Plan) -> None:
    """Refuse an identifier that lacks the language and is to be used as it is.

    Raises:
        UserError: If it is one.
    """
    config = plan.config
    if plan.identifier != config.identifier:
        return
    words = ("lid", "identify", "--model", str(config.identifier), "--languages", config.language)
    code, _ = _call(words, is_kept=True, text="")
    if code:
        raise UserError(
            f"`identifier`: {config.identifier} cannot find text in {config.language}; what it says"
            " is above. Give text of other languages as `identifier_text`, or `label_shards: true`"
        )


def _check_sides(plan: Plan) -> None:
    """Refuse seed pairs whose sides stand in the other order than their name says.

    Raises:
        UserError: If most lines of the language are in the pivot.
    """
    config = plan.config
    if config.identifier == BUILTIN and importlib.util.find_spec(BUILTIN_PACKAGE) is None:
        return  # an extra; the run may do without
    file = plan.at("seed", "text", f"{config.language}.txt")
    text = "".join(line + "\n" for line in read_lines(file)[:_LOOKED_AT])
    words = ("lid", "identify", "--model", str(config.identifier))
    code, printed = _call(words, is_kept=True, text=text)
    answers = [line.split("\t")[0] for line in printed.splitlines()]
    same = sum(find_language(config.pivot, [one]) is not None for one in answers)
    if not code and same > len(answers) / 2:
        raise UserError(
            f"`seed`: {same:,} of the first {len(answers):,} lines of {config.language} are in"
            f" {config.pivot}, as {config.identifier} says. Do the pairs' sides stand in the other"
            f" order? Mend them, and remove {plan.at('seed')}"
        )


def _measure(plan: Plan, step: Step) -> None:
    """Run a step that measures, unless it did with the same words, on the same files."""
    task = Task(
        name=step.name,
        inputs=tuple(_files_in(step.reads)),
        arguments={"words": list(step.words)},
    )
    if not redo_changed(_MEASURE_JOB, [task], plan.output):
        logger.info("%s: already done", step.name)
        return
    begin_job()
    _run(plan, step)
    made = [path for path in (*step.outputs, step.stdout) if path is not None]
    run_job(
        name=_MEASURE_JOB,
        tasks=[task],
        work=lambda _: Outcome(outputs=tuple(_files_in(made))),
        output=plan.output,
        config_name=_NO_CONFIG,
    )


def _files_in(places: Iterable[Path]) -> Iterator[Path]:
    """Yield files, and those in directories, sorted; without records of what made them."""
    for place in places:
        if not place.is_dir():
            yield from [place] if place.is_file() else []
            continue
        for path in sorted(place.rglob("*")):
            if path.is_file() and not _RECORDS & set(path.relative_to(place).parts):
                yield path


def _run(plan: Plan, step: Step) -> None:
    logger.info("%s", step.shell())
    began, wall = time.time(), time.monotonic()
    before = os.times()
    code, printed = _call(step.words, is_kept=step.stdout is not None)
    after = os.times()
    used = sum(getattr(after, name) - getattr(before, name) for name in _CHILDREN)
    note_time(plan.output, step.name, began, Times(time.monotonic() - wall, used), code)
    if code in (130, -2):
        raise KeyboardInterrupt
    if code:
        raise StepFailed(step, code)
    if step.stdout is not None:
        write_text(step.stdout, printed)


_CHILDREN = ("children_user", "children_system")


def _call(words: Sequence[str], *, is_kept: bool, text: str | None = None) -> tuple[int, str]:
    """Run `tongues` with some words; return its exit code, and what it printed if that is kept.

    Args:
        words: The words.
        is_kept: Whether what it prints is returned, not shown.
        text: Its standard input; None for that of this process.
    """
    program = Path(sys.executable).with_name("tongues")
    command = [str(program)] if program.is_file() else [sys.executable, "-m", "tongues"]
    output = subprocess.PIPE if is_kept else sys.stderr.fileno()
    given = None if text is None else subprocess.PIPE
    with subprocess.Popen([*command, *words], stdin=given, stdout=output) as process:
        try:
            printed, _ = process.communicate(None if text is None else text.encode())
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    return process.returncode, printed.decode() if printed else ""
