"""The job behind `tongues nmt experts --output`: counts by direction, then tables and a page."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from corpus.errors import UserError
from corpus.files import read_object, write_json, write_lines, write_text
from corpus.jobs import Outcome, Task, run_job
from corpus.languages import Direction, parse_direction
from nmt.model.directory import DESCRIPTION_FILE, WEIGHTS_FILE, TrainedModel, load_model
from nmt.model.translator import moe_layers
from nmt.threads import find_device
from nmt.usage.config import UsageConfig
from nmt.usage.directions import read_texts
from nmt.usage.measure import Measured, count_direction, summarize_usage
from nmt.usage.page import render_usage
from nmt.usage.similarity import similarity

COUNTS_DIRECTORY = "counts"
USAGE_FILE = "usage.json"
SHARES_FILE = "shares.tsv"
SIMILARITY_FILE = "similarity.tsv"
PAGE_FILE = "experts.html"


def measure_or_report(
    model: Path,
    flores: Path,
    split: str,
    directions: Sequence[Direction],
    output: Path | None,
    config: UsageConfig,
) -> dict[str, Any]:
    """Measure usage; where there is an output, as a job, a task per direction.

    The output holds `usage.json` (what is returned), two tables and a page.

    Raises:
        UserError: If the model has no experts, or there is no direction to run.
    """
    loaded = load_model(model)
    torch.set_num_threads(config.threads)
    loaded.translator.to(find_device(config.device))
    chosen, texts = _read_texts(loaded, flores, split, directions, config)
    if output is not None:
        return _report(loaded, model, flores / split, chosen, texts, output, config)
    measured = (Measured(one, count_direction(loaded, one, texts)) for one in chosen)
    return summarize_usage(measured, len(next(iter(texts.values()))))


def _read_texts(
    model: TrainedModel,
    flores: Path,
    split: str,
    directions: Sequence[Direction],
    config: UsageConfig,
) -> tuple[list[Direction], dict[str, list[str]]]:
    if not any(True for _ in moe_layers(model.translator)):
        raise UserError("the model has no layer with experts, so that there is no usage to measure")
    chosen, texts = read_texts(model.directions, flores, split, directions, config.through)
    limit = config.sentences or None
    return chosen, {language: lines[:limit] for language, lines in texts.items()}


def _report(
    loaded: TrainedModel,
    model: Path,
    split: Path,
    directions: Sequence[Direction],
    texts: Mapping[str, Sequence[str]],
    output: Path,
    config: UsageConfig,
) -> dict[str, Any]:
    files = (model / WEIGHTS_FILE, model / DESCRIPTION_FILE)
    tasks = [
        Task(
            name=str(direction),
            inputs=(*files, *(split / f"{language}.{split.name}" for language in direction)),
        )
        for direction in directions
    ]
    work = functools.partial(_count_task, model=loaded, texts=texts, output=output)
    run_job(name="experts", tasks=tasks, work=work, output=output, config=config)
    counts = [output / COUNTS_DIRECTORY / f"{direction}.json" for direction in directions]
    write = functools.partial(
        _write_task, output=output, num_sentences=len(next(iter(texts.values())))
    )
    page = Task(name="page", inputs=tuple(counts))
    run_job(name="experts-page", tasks=[page], work=write, output=output)
    return read_object(output / USAGE_FILE)


def _count_task(
    task: Task, model: TrainedModel, texts: Mapping[str, Sequence[str]], output: Path
) -> Outcome:
    direction = parse_direction(task.name)
    counts = count_direction(model, direction, texts)
    path = output / COUNTS_DIRECTORY / f"{direction}.json"
    write_json(path, counts)
    return Outcome(counts={"sentences": len(texts[direction.source])}, outputs=(path,))


def _write_task(task: Task, output: Path, num_sentences: int) -> Outcome:
    measured = (Measured(parse_direction(path.stem), read_object(path)) for path in task.inputs)
    usage = summarize_usage(measured, num_sentences)
    write_json(output / USAGE_FILE, usage)
    write_lines(output / SHARES_FILE, _share_lines(usage))
    write_lines(output / SIMILARITY_FILE, _similarity_lines(usage))
    write_text(output / PAGE_FILE, render_usage(usage))
    names = (USAGE_FILE, SHARES_FILE, SIMILARITY_FILE, PAGE_FILE)
    return Outcome(
        counts={"layers": len(usage["layers"]), "directions": len(usage["directions"])},
        outputs=tuple(output / name for name in names),
    )


def _share_lines(usage: Mapping[str, Any]) -> Iterator[str]:
    yield "layer\tlanguage\texpert\tshare"
    for name, layer in usage["layers"].items():
        for language, shares in layer["languages"].items():
            for expert, share in enumerate(shares):
                yield f"{name}\t{language}\t{expert}\t{share:.6f}"


def _similarity_lines(usage: Mapping[str, Any]) -> Iterator[str]:
    yield "layer\tlanguage\tother\tcosine"
    for name, layer in usage["layers"].items():
        found = similarity(name, layer)
        for i, language in enumerate(found.languages):
            for j in range(i + 1, len(found.languages)):
                yield f"{name}\t{language}\t{found.languages[j]}\t{found.cosine[i, j]:.6f}"
