"""The training job: bitext and vocabulary to a model directory, resumable at any moment."""

import dataclasses
import functools
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus.jobs import RECEIPTS, Outcome, Summary, Task, recall_digests, run_job
from corpus.languages import Direction
from corpus.protocols import ScorerLoader, TranslationScorer
from nmt.data.batches import BatchStream
from nmt.data.directory import TOKENIZE_JOB
from nmt.data.phases import Curriculum
from nmt.data.tokenize import (
    DirectionPairs,
    TokenizedBitext,
    bitext_inputs,
    count_tokens,
    direction_pairs,
    hold_out,
    tokenize,
)
from nmt.model.config import MoEConfig, resolve_config
from nmt.text_files import text_files
from nmt.threads import find_device
from nmt.training import fine_tuning, from_scratch
from nmt.training.config import ResolvedTrainConfig, TrainConfig, resolve
from nmt.training.directory import (
    CHECKPOINTS,
    TRAIN_JOB,
    TRAINING_DIRECTORY,
    forget_failed_run,
    last_update,
)
from nmt.training.fine_tuning import decide_once
from nmt.training.from_scratch import FreshData
from nmt.training.parallel.job import run_together
from nmt.training.parallel.signals import Preemption
from nmt.training.parallel.world import World, join_world
from nmt.training.selection import learned_directions, update_scores
from nmt.training.unfinished import check_unfinished
from nmt.training.validation_data import (
    ValidationSet,
    covered_directions,
    read_held_out,
    read_validation,
)
from nmt.vocabulary import vocabulary as vocabulary_files
from nmt.vocabulary.vocabulary import Vocabulary

if TYPE_CHECKING:
    from nmt.training.recipe import Trained
    from nmt.training.start import Start

logger = logging.getLogger(__name__)

ADAPTER_FILE = "adapter.safetensors"
_SCRATCH = ("data", "cache")


def train(
    config: TrainConfig, output: Path, *, load_scorer: ScorerLoader | None = None
) -> Summary | None:
    """Train a model, or resume an interrupted training of the same config and data.

    Under torchrun or srun every process calls this; rank 0 writes, and the others return None.

    Args:
        config: The training.
        output: The model directory; checkpoints, metrics and the page go to `training/` in it.
        load_scorer: Loads what scores validation translations; without it none are made.

    Raises:
        UserError: For a mistake in the config, for data that the config does not fit, for an
            output of another config, or if training diverges.
        Preempted: If a scheduler's signal stopped it.
    """
    preemption = Preemption()
    with preemption.handling_signals():
        world = join_world()
        with world.failure_scope():
            return _train_together(config, output, load_scorer, world, preemption)


def _train_together(
    config: TrainConfig,
    output: Path,
    load_scorer: ScorerLoader | None,
    world: World,
    preemption: Preemption,
) -> Summary | None:
    Vocabulary.load(config.vocabulary_directory)
    inputs = [path for _, _, path in bitext_inputs(config.training_data)]
    inputs += [text.path for text in text_files(config.monolingual.text)]
    inputs += [
        config.vocabulary_directory / name
        for name in (vocabulary_files.MODEL_FILE, vocabulary_files.LAYOUT_FILE)
    ]
    if config.distillation is not None:
        from nmt.training.teacher import check_teacher, teacher_files

        check_teacher(config.distillation, config.vocabulary_directory)
        inputs += teacher_files(config.distillation)
    if config.start_from is not None:
        from nmt.training.start import start_files

        inputs += start_files(config)
    task = Task(name="model", inputs=tuple(inputs))
    if world.is_rank_zero:  # so that resuming does not begin with reading all the bitext
        forget_failed_run(output)
        recall_digests(_data_directory(config, output) / RECEIPTS / TOKENIZE_JOB)
    summary = run_together(
        world,
        task,
        functools.partial(
            _train_model,
            config=config,
            output=output,
            load_scorer=load_scorer,
            world=world,
            preemption=preemption,
        ),
        lambda work: run_job(name=TRAIN_JOB, tasks=[task], work=work, output=output, config=config),
    )
    if summary is not None:
        for name in _SCRATCH if config.checkpoints.when_done else (CHECKPOINTS, *_SCRATCH):
            shutil.rmtree(output / TRAINING_DIRECTORY / name, ignore_errors=True)
    return summary


def _train_model(
    task: Task,
    config: TrainConfig,
    output: Path,
    load_scorer: ScorerLoader | None,
    world: World,
    preemption: Preemption,
) -> Outcome:
    from nmt.model.directory import save_model, save_model_with
    from nmt.model.lora import merge_lora, save_adapter
    from nmt.training.comparison import open_comparison
    from nmt.training.recipe import Training, check_device, run_recipe
    from nmt.training.start import read_start
    from nmt.training.teacher import warn_of_unknown_directions

    check_device(config)
    directory = output / TRAINING_DIRECTORY
    vocabulary = Vocabulary.load(config.vocabulary_directory)
    start = read_start(config)
    with world.first("data"):
        if world.is_rank_zero:
            check_unfinished(directory, config, task.inputs)
        # Tokens of a run that made no checkpoint may be replaced, unless they lie in a directory of
        # their own.
        replace = config.data.directory is None and last_update(directory) == 0
        bitext = tokenize(
            config.training_data, vocabulary, _data_directory(config, output), replace=replace
        )
    pairs = direction_pairs(bitext, vocabulary, config.directions)
    if config.distillation is not None:
        warn_of_unknown_directions(config.distillation, list(pairs))
    resolved, shape = _decide(config, start, vocabulary, bitext, pairs, directory, world)
    held_out = {}
    if resolved.held_out_every and not covered_directions(resolved, list(pairs)):
        pairs, held_out = hold_out(pairs, resolved.held_out_every), pairs
    counts = {direction: len(there) for direction, there in pairs.items()}
    curriculum = Curriculum(config.curriculum, counts)
    logger.info("%s pairs in %d directions", f"{sum(counts.values()):,}", len(counts))
    for line in curriculum.describe():
        logger.info("%s", line)
    stream = BatchStream(
        bitext,
        pairs,
        vocabulary,
        curriculum,
        resolved.batches,
        config.seed,
        batches_per_update=config.compute.accumulated_batches,
        monolingual=config.monolingual,
        rank=world.rank,
        world_size=world.size,
    )
    validation = (
        read_held_out(resolved, vocabulary, bitext, pairs, shape.max_seq_len)
        if held_out
        else read_validation(resolved, vocabulary, list(pairs), shape.max_seq_len)
    )
    measured = validation.translated if config.selection.score == "chrf++" else validation.batches
    scores = update_scores(resolved.selection, pairs, measured.__contains__)
    training = Training(
        model_config=shape,
        start=start,
        stream=stream,
        scores=scores,
        validation=validation,
        vocabulary=vocabulary,
        score=_scorer(resolved, validation, load_scorer),
    )
    comparing = None
    if start is not None and load_scorer is not None:
        comparing = open_comparison(resolved, start, learned_directions(pairs), load_scorer())
    if comparing is not None:
        with world.first("before"):
            if world.is_rank_zero:
                comparing.translate_before(directory)
    trained = run_recipe(resolved, training, directory, world, preemption)
    if trained is None:
        return Outcome()
    known = sorted(set(pairs) if start is None else {*pairs, *start.description.directions})
    lora = resolved.lora
    if trained.model is None and comparing is None and lora is None:
        outputs = save_model_with(
            output, trained.write_weights, shape, config.vocabulary_directory, known
        )
        return Outcome(counts=_counts(bitext, pairs, trained, trained.parameters), outputs=outputs)
    model = trained.load()
    compared = () if comparing is None else comparing.finish(directory, model)
    if lora is not None and lora.save == "adapter":
        assert start is not None
        adapter = output / ADAPTER_FILE
        save_adapter(adapter, model, lora.also, start.description.weights_digest, list(pairs))
        return Outcome(
            counts=_counts(bitext, pairs, trained, trained.parameters),
            outputs=(adapter, *compared),
        )
    merge_lora(model)
    outputs = save_model(output, model, shape, config.vocabulary_directory, known)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Outcome(
        counts=_counts(bitext, pairs, trained, parameters), outputs=(*outputs, *compared)
    )


def _counts(
    bitext: TokenizedBitext,
    pairs: Mapping[Direction, DirectionPairs],
    trained: "Trained",
    parameters: int,
) -> dict[str, int]:
    return {
        **bitext.counts,
        "directions": len(pairs),
        "parameters": parameters,
        "updates": trained.updates,
        "kept_update": trained.kept_update,
        "skipped_updates": trained.skipped_updates,
    }


def _decide(
    config: TrainConfig,
    start: "Start | None",
    vocabulary: Vocabulary,
    bitext: TokenizedBitext,
    pairs: Mapping[Direction, DirectionPairs],
    directory: Path,
    world: World,
) -> tuple[ResolvedTrainConfig, MoEConfig]:
    """Return config and shape with what the config leaves open."""
    if start is not None:
        decided = _decide_fine_tuning(config, start.shape, bitext, pairs, directory, world)
        return (
            fine_tuning.resolve_with(config, decided),
            dataclasses.replace(start.shape, **decided["model"]),
        )
    resolved = resolve(config) if not config.is_open else None
    if resolved is None:
        data = FreshData(
            pairs=sum(map(len, pairs.values())),
            directions=len(pairs),
            tokens=sum(count_tokens(bitext, own) for own in pairs.values()),
            has_test_set=bool(covered_directions(config, list(pairs))),
            processes=world.size,
            on_gpu=find_device("auto").type == "cuda",
        )
        with world.first("decisions"):
            decided = decide_once(
                directory / from_scratch.DECISIONS_FILE,
                functools.partial(from_scratch.decide, config, data),
                anew=world.is_rank_zero and last_update(directory) == 0,
            )
        logger.info("%s", from_scratch.describe(data, decided))
        resolved = from_scratch.resolve_fresh(config, decided)
    return resolved, resolve_config(resolved.model, vocabulary.size, vocabulary.pad_index)


def _decide_fine_tuning(
    config: TrainConfig,
    shape: MoEConfig,
    bitext: TokenizedBitext,
    pairs: Mapping[Direction, DirectionPairs],
    directory: Path,
    world: World,
) -> dict[str, Any]:
    own = [each.of(is_replay=False) for each in pairs.values()]
    data = fine_tuning.Data(
        pairs=sum(map(len, own)),
        tokens=sum(count_tokens(bitext, each) for each in own),
        is_replayed=any(len(each.of(is_replay=True)) for each in pairs.values()),
        processes=world.size,
        model_dim=shape.model_dim,
        dropout_p=shape.dropout_p,
        is_validated=bool(config.held_out_every or covered_directions(config, list(pairs))),
    )
    with world.first("decisions"):
        decided = decide_once(
            directory / fine_tuning.DECISIONS_FILE,
            functools.partial(fine_tuning.decide, config, data),
            anew=world.is_rank_zero and last_update(directory) == 0,
        )
    logger.info("%s", fine_tuning.describe(data, decided))
    return decided


def _data_directory(config: TrainConfig, output: Path) -> Path:
    return config.data.directory or output / TRAINING_DIRECTORY / "data"


def _scorer(
    config: TrainConfig, validation: ValidationSet, load_scorer: ScorerLoader | None
) -> TranslationScorer | None:
    if not validation.translated:
        return None
    if load_scorer is not None:
        return load_scorer()
    if config.selection.needs_validation and config.selection.score == "chrf++":
        raise ValueError("`selection.score` is chrf++, but no scorer was given")
    logger.info("no scorer given: validation without chrF++")
    return None
