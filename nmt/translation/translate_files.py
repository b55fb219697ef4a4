"""Translation as jobs: a FLORES split for many directions, or files, a task each."""

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.errors import UserError
from corpus.files import open_lines, write_lines
from corpus.flores import read_split, split_file
from corpus.jobs import LOCAL, Executor, Outcome, Summary, Task, run_job
from corpus.languages import Direction, parse_direction
from corpus.protocols import EncoderLoader, encoder_inputs
from nmt.model.directory import (
    DESCRIPTION_FILE,
    VOCABULARY_DIRECTORY,
    WEIGHTS_FILE,
    trained_directions,
)
from nmt.translation.decoding.config import TranslateConfig
from nmt.translation.translator import TextTranslator, check_direction, open_translator
from nmt.usage.expert_selection import Needed
from nmt.vocabulary.vocabulary import Vocabulary

_MODEL_FILES = (DESCRIPTION_FILE, WEIGHTS_FILE)


def model_files(model: Path, config: TranslateConfig) -> tuple[Path, ...]:
    """Return the files that all translations with a model depend on."""
    usage = config.experts.usage
    files = [one / name for one in (model, *config.ensemble) for name in _MODEL_FILES]
    return (
        *files,
        *(path for path in (usage, config.glossary, config.adapter) if path is not None),
        *(encoder_inputs(config.encoder) if config.encoder is not None else ()),
    )


def needed_arguments(config: TranslateConfig, needed: Needed) -> dict[str, Any]:
    """Return what a task depends on if experts are left out: the languages they are loaded for."""
    return {"experts_for": needed._asdict()} if config.experts.usage else {}


def model_languages(
    model: Path, adapter: Path | None = None
) -> tuple[Vocabulary, tuple[Direction, ...]]:
    """Return a model's vocabulary and what it was trained on, without its weights."""
    trained = trained_directions(model, adapter)
    return Vocabulary.load(model / VOCABULARY_DIRECTORY), trained


@functools.lru_cache(maxsize=1)
def shared_translator(
    model: Path,
    config: TranslateConfig,
    needed: Needed,
    load_encoder: EncoderLoader | None = None,
) -> TextTranslator:
    """Return a translator that all tasks of this process share."""
    return open_translator(model, config, needed, load_encoder)


@dataclass(frozen=True)
class TranslateSplit:
    """Work of a task: one direction of a split to `<source>-<target>.txt`."""

    model: Path
    flores: Path
    split: str
    output: Path
    config: TranslateConfig
    needed: Needed
    load_encoder: EncoderLoader | None

    def __call__(self, task: Task) -> Outcome:
        """Translate the direction that the task is named by."""
        direction = parse_direction(task.name)
        lines = read_split(self.flores, self.split, [direction.source])[direction.source]
        path = self.output / f"{task.name}.txt"
        config = self.config.for_sentences()
        translator = shared_translator(self.model, config, self.needed, self.load_encoder)
        return _translate_lines(translator, direction, lines, path, scores=False)


@dataclass(frozen=True)
class TranslateFile:
    """Work of a task: one text file to a file of the same name."""

    model: Path
    direction: Direction
    output: Path
    scores: bool
    config: TranslateConfig
    load_encoder: EncoderLoader | None

    def __call__(self, task: Task) -> Outcome:
        """Translate the lines of the task's last input."""
        path = task.inputs[-1]
        return _translate_lines(
            shared_translator(
                self.model, self.config, Needed.of([self.direction]), self.load_encoder
            ),
            self.direction,
            open_lines(path),
            self.output / path.name,
            scores=self.scores,
        )


def _translate_lines(
    translator: TextTranslator,
    direction: Direction,
    lines: Iterable[str],
    path: Path,
    *,
    scores: bool,
) -> Outcome:
    translator.counts = Counter()
    broken = Counter[str]()
    blocks = translator.stream(_count_broken(lines, broken), *direction)
    write_lines(path, translator.as_lines((one for block in blocks for one in block), scores))
    translator.warn()
    return Outcome(counts=translator.counts + broken, outputs=(path,))


def _count_broken(lines: Iterable[str], counts: Counter[str]) -> Iterator[str]:
    """Count lines with U+FFFD, which also stands for what was not valid UTF-8."""
    for line in lines:
        counts["replacement_character"] += "\ufffd" in line
        yield line


def translate_flores(
    model: Path,
    flores: Path,
    split: str,
    directions: Sequence[Direction],
    output: Path,
    config: TranslateConfig,
    executor: Executor = LOCAL,
    load_encoder: EncoderLoader | None = None,
) -> Summary:
    """Translate a FLORES split, a task per direction; hypotheses go to `<source>-<target>.txt`.

    Args:
        model: Model directory.
        flores: Directory in FLORES-200's layout.
        split: `dev` or `devtest`.
        directions: What to translate; empty for all that the model was trained on.
        output: Directory of the hypotheses.
        config: How to translate.
        executor: Where the directions are worked on.
        load_encoder: Loads the config's `encoder`.
    """
    config.check_single()
    vocabulary, trained = model_languages(model, config.adapter)
    chosen = list(directions) or list(trained)
    read_split(flores, split, sorted({language for direction in chosen for language in direction}))
    for direction in chosen:
        check_direction(direction, vocabulary, trained)
    needed = Needed.of(chosen)
    tasks = [
        Task(
            name=str(direction),
            inputs=(*model_files(model, config), split_file(flores, split, direction.source)),
            arguments=needed_arguments(config, needed),
        )
        for direction in chosen
    ]
    work = TranslateSplit(model, flores, split, output, config, needed, load_encoder)
    return run_job(
        name="translate-flores",
        tasks=tasks,
        work=work,
        output=output,
        config=config,
        executor=executor,
    )


def translate_files(
    model: Path,
    files: Sequence[Path],
    direction: Direction,
    output: Path,
    config: TranslateConfig,
    *,
    scores: bool = False,
    executor: Executor = LOCAL,
    load_encoder: EncoderLoader | None = None,
) -> Summary:
    """Translate text files (plain, `.gz`, `.zst`) to files of the same names in `output`.

    Raises:
        UserError: If a file does not exist, or lies in `output` itself.
    """
    for path in files:
        if not path.is_file():
            raise UserError(f"{path} does not exist or is not a file")
        if path.resolve().parent == output.resolve():
            raise UserError(f"{path} lies in {output}, where its translation goes; choose another")
    check_direction(direction, *model_languages(model, config.adapter))
    tasks = [
        Task(
            name=path.name,
            inputs=(*model_files(model, config), path),
            arguments={"direction": str(direction), "scores": scores},
        )
        for path in files
    ]
    work = TranslateFile(model, direction, output, scores, config, load_encoder)
    return run_job(
        name="translate", tasks=tasks, work=work, output=output, config=config, executor=executor
    )
