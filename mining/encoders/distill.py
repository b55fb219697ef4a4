"""A student for more languages from a frozen teacher (Heffernan, Çelebi and Schwenk 2022, LASER3).

The student learns to put a sentence where the teacher puts its English translation. The teacher and
its other students stay as they are: one command adds a language, and no other language moves.
"""

import functools
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from corpus.errors import UserError
from corpus.files import make_directory, read_object, write_text
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.languages import Direction, check_language, find_language
from mining.embeddings import Float32
from mining.encoders import (
    BUILTIN,
    BUILTIN_LANGUAGES,
    DESCRIPTION_FILE,
    Encoder,
    encoder_files,
    encoder_space,
    load_encoder,
)
from mining.encoders.architectures import ARCHITECTURES, new_learner
from mining.encoders.bitext import (
    Int64,
    TrainingPairs,
    languages_with,
    mixed_plan,
    read_training_pairs,
    split_validation,
    training_files,
)
from mining.encoders.config import DistillConfig
from mining.encoders.families import group_languages
from mining.encoders.learners import Learner
from mining.encoders.loop import Loop, LoopSettings, Trained, Validation, learning_rate
from mining.encoders.losses import distillation_loss
from mining.encoders.train import (
    log_plan,
    loop_settings,
    training_texts,
    validation_of,
)
from mining.encoders.universal_student import ARCHITECTURE, UniversalLearner

logger = logging.getLogger(__name__)

DISTILL_JOB, DISTILL_TASK = "distill", "student"

STUDENTS_FILE = "students.yaml"
"""Where the student of each language is, as the key `encoders` of other commands takes it."""


def run_distill(
    teacher: Path,
    bitext: Sequence[Path],
    output: Path,
    config: DistillConfig,
    languages: Sequence[str] = (),
) -> Summary:
    """Distill a student for some languages, or all of the bitext, and write its directory.

    With `families`, a student for each family of languages, and `students.yaml`, which says where
    the student of each language is.

    Raises:
        UserError: If a directory is missing, a language has no pair with the pivot, or the state of
            an interrupted run is of another one.
    """
    for language in (*languages, config.pivot):
        check_language(language)
    groups = {DISTILL_TASK: list(languages)}
    if config.families:
        groups = _families(teacher, bitext, languages, config)
    tasks = [
        Task(
            name=name,
            inputs=(*training_files(bitext, group), *encoder_files(teacher)),
            arguments={"languages": group},
        )
        for name, group in groups.items()
    ]
    work = functools.partial(
        _distill_task, teacher=teacher, bitext=tuple(bitext), output=output, config=config
    )
    summary = run_job(name=DISTILL_JOB, tasks=tasks, work=work, output=output, config=config)
    if config.families:
        rows = (f"  {one}: {output / name}" for name, group in groups.items() for one in group)
        write_text(output / STUDENTS_FILE, "\n".join(["encoders:", *rows, ""]))
    return summary


def _families(
    teacher: Path, bitext: Sequence[Path], languages: Sequence[str], config: DistillConfig
) -> dict[str, list[str]]:
    """Return languages by family: those given, or all of the bitext but the builtin encoder's own.

    Raises:
        UserError: If there are none.
    """
    taught = BUILTIN_LANGUAGES if teacher == BUILTIN else ()
    found = languages or [
        one for one in languages_with(bitext, config.pivot) if find_language(one, taught) is None
    ]
    if not found:
        raise UserError(f"the bitext has no language with `{config.pivot}` that needs a student")
    groups = group_languages(found)
    for name, group in groups.items():
        logger.info("student %s: %s", name, ", ".join(group))
    return groups


def _distill_task(
    task: Task, *, teacher: Path, bitext: Sequence[Path], output: Path, config: DistillConfig
) -> Outcome:
    languages = task.arguments["languages"]
    output = output / task.name if config.families else output
    make_directory(output)
    pairs = read_training_pairs(bitext, languages, config.columns)
    pairs = pairs_into_pivot(pairs, config.pivot, languages)
    settings = loop_settings(DISTILL_JOB, task, output, config)
    learner, trained = distill(teacher, pairs, config, settings)
    facts = {
        "teacher": encoder_space(teacher),
        "languages": sorted(direction.source for direction in pairs.pairs),
        **trained.as_facts(),
        "seed": config.seed,
    }
    outputs = learner.save(output, space=encoder_space(teacher), facts=facts)
    settings.state_file.unlink(missing_ok=True)
    counts = {
        "pairs": sum(len(rows) for rows in pairs.pairs.values()),
        "languages": len(pairs.pairs),
        "updates": trained.updates,
    }
    return Outcome(counts=counts, outputs=outputs)


def pairs_into_pivot(
    pairs: TrainingPairs, pivot: str, languages: Sequence[str] = ()
) -> TrainingPairs:
    """Return pairs turned so that the pivot is the target; those of two other languages go.

    Raises:
        UserError: If there are none, or none of a language that was asked for.
    """
    turned: dict[Direction, list[Int64]] = {}
    for direction, rows in pairs.pairs.items():
        if pivot not in direction or direction.source == direction.target:
            continue
        into = direction if direction.target == pivot else direction.reverse
        turned.setdefault(into, []).append(rows if into == direction else rows[:, ::-1])
    merged = {
        direction: np.unique(np.concatenate(parts), axis=0)
        for direction, parts in sorted(turned.items())
        if not languages or direction.source in languages
    }
    missing = sorted(set(languages) - {direction.source for direction in merged})
    if missing or not merged:
        what = ", ".join(f"`{language}`" for language in missing) or "any language"
        raise UserError(
            f"the bitext has no pairs of {what} with `{pivot}`, whose vectors a student learns;"
            " `--config pivot=...` names another language"
        )
    return TrainingPairs(sentences=pairs.sentences, pairs=merged)


def distill(
    teacher: Path, pairs: TrainingPairs, config: DistillConfig, settings: LoopSettings
) -> tuple[Learner, Trained]:
    """Train a student on pairs into the pivot."""
    training, validation = split_validation(pairs, config.validation_share, config.seed)
    architecture = read_architecture(teacher, config)
    config = settings_for(teacher, config, sum(map(len, training.values())))
    frozen = load_encoder(teacher, threads=config.threads, device=config.device)
    if config.architecture == "teacher" and teacher != BUILTIN:
        learner = ARCHITECTURES[architecture].copy_learner(teacher, config)
    else:
        learner = new_learner(architecture, _texts(pairs, training, validation, config), config)
    if teacher == BUILTIN and isinstance(learner, UniversalLearner):
        known = np.concatenate(list(training.values()))
        sources, translations = ([pairs.sentences[i] for i in known[:, side]] for side in (0, 1))
        learner.start_from_translations(sources, translations, config.seed)
    targets = teacher_vectors(frozen, pairs, config.pivot)
    tokens = learner.extract(pairs.sentences)
    width = learner.encode_tokens(tokens.take(np.zeros(1, np.int64))).shape[1]
    if width != frozen.dimension:
        raise UserError(
            f"the student's embeddings have {width} columns and the teacher's {frozen.dimension};"
            f" set the size of `{architecture}` so that they are as wide"
        )
    plan = mixed_plan(
        training,
        epochs=config.epochs,
        batch_size=config.batch_size,
        temperature=config.temperature,
        seed=config.seed,
    )
    log_plan(pairs, training, learner, len(plan))
    peak = config.learning_rate or ARCHITECTURES[architecture].learning_rate

    def step(number: int) -> None:
        rows = plan[number]
        read = np.concatenate([rows[:, 0], rows[:, 1]]) if config.self_weight else rows[:, 0]
        batch = tokens.take(read)
        goal = torch.from_numpy(targets.of(rows[:, 1]))
        loss = functools.partial(_student_loss, goal=goal, rows=rows, config=config)
        learner.update(batch, loss, number=number, rate=learning_rate(number, len(plan), peak))

    def validate() -> Validation | None:
        return validation_of(
            {
                direction: (learner.encode_tokens(tokens.take(rows[:, 0])), targets.of(rows[:, 1]))
                for direction, rows in validation.items()
                if len(rows) > 1
            }
        )

    loop = Loop(learner, settings, len(plan), _Nothing())
    return learner, loop.run(step, validate)


def _student_loss(vectors: Tensor, *, goal: Tensor, rows: Int64, config: DistillConfig) -> Tensor:
    """Return the loss of a batch: the student's sources, then its pivot sentences if they count."""
    goal = goal.to(vectors.device)
    source, pivot = vectors[: len(rows)], vectors[len(rows) :] if config.self_weight else goal
    return distillation_loss(
        source,
        pivot,
        goal,
        torch.from_numpy(np.ascontiguousarray(rows)).to(vectors.device),
        cosine_weight=config.cosine_weight,
        self_weight=config.self_weight,
        contrast_weight=config.contrast_weight,
        margin=config.margin,
        scale=config.scale,
    )


class _Nothing:
    """Distillation has no state besides the learner's."""

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        assert not state


class TeacherVectors:
    """The teacher's vectors of all pivot sentences, by row of the training pairs."""

    def __init__(self, rows: Int64, vectors: Float32) -> None:
        self._rows = rows
        self._vectors = vectors

    def of(self, rows: Int64) -> Float32:
        """Return the vectors of pivot sentences, [n, D]."""
        return self._vectors[np.searchsorted(self._rows, rows)]


def teacher_vectors(teacher: Encoder, pairs: TrainingPairs, pivot: str) -> TeacherVectors:
    """Encode every pivot sentence once."""
    rows = np.unique(np.concatenate([one[:, 1] for one in pairs.pairs.values()]))
    texts = [pairs.sentences[row] for row in rows.tolist()]
    return TeacherVectors(rows, teacher.encode(texts, pivot))


def settings_for(teacher: Path, config: DistillConfig, pairs: int) -> DistillConfig:
    """Return the config with what is meant for students with the builtin encoder's network.

    It stays as it is for other students, which begin with random weights or a copy of another
    teacher.

    Args:
        teacher: Encoder directory, or `BUILTIN`.
        config: As given.
        pairs: Of the training.
    """
    if teacher != BUILTIN or config.architecture not in ("teacher", ARCHITECTURE):
        return config
    values = {name: getattr(config.builtin, name) for name in config.builtin.__dataclass_fields__}
    least = values.pop("least_updates") * values["batch_size"] / pairs
    return replace(config, **{**values, "epochs": max(values["epochs"], least)})


def _texts(
    pairs: TrainingPairs,
    training: dict[Direction, Int64],
    validation: dict[Direction, Int64],
    config: DistillConfig,
) -> list[str]:
    """Return the sentences that a student reads, those held out left out."""
    if config.self_weight:
        return training_texts(pairs, validation)
    rows = np.unique(np.concatenate([one[:, 0] for one in training.values()]))
    return [pairs.sentences[row] for row in rows.tolist()]


def read_architecture(teacher: Path, config: DistillConfig) -> str:
    """Return the student's architecture.

    Raises:
        UserError: If it is to be the teacher's, which cannot be trained here.
    """
    if config.architecture != "teacher":
        return config.architecture
    if teacher == BUILTIN:
        return ARCHITECTURE
    description = teacher / DESCRIPTION_FILE
    architecture = "foreign"
    if description.is_file():
        architecture = read_object(description, architecture=str)["architecture"]
    if architecture not in ARCHITECTURES:
        raise UserError(
            f"{teacher} cannot be copied and trained on; choose the student's architecture with"
            " `--config architecture=transformer`, lstm or bag"
        )
    return str(architecture)
