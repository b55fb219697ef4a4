"""What a budget of core minutes decides: shards, rounds, updates, text that is translated back.

Costs are by nominal speeds and sizes of files, never measured: the same recipe gives the same model
on any machine (decision 0111). They are those of one core of the machine of docs/experiments.md,
so that a slower one takes longer than the budget.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 60.0

MINING, TRAINING, BACK_TRANSLATION = 0.3, 0.5, 0.1
"""Shares of the budget; a tenth is for what is measured and translated."""

_CORE_SECONDS_PER_MB = {False: 6.0, True: 16.0}
"""Of a shard as it is, and of a compressed one: extraction .4 s for a megabyte of text, and the
embedding of the sentences that are of the two languages."""

_REMOTE_MB = 100.0
"""Of a shard whose size is not known here: a WET file of Common Crawl, compressed."""

_FLOPS = 1e10
"""Operations a second of one core in training and translation, at the shapes of small models."""

_BACKWARD, _FORWARD = 6.0, 2.0
"""Operations for a token and parameter: both passes, and the forward one alone (Kaplan et al.
2020)."""

_BYTES = 4
_TOKENS, _BEAM = 30, 4
_LEAST_SECONDS_FOR_TWO_ROUNDS = 300.0
_FEWEST_UPDATES = 40
_FEWEST_SENTENCES = 100


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What fits into a budget."""

    shards: tuple[str, ...]
    """The first ones that fit, at least one."""

    rounds: int
    max_updates: int
    """Of each training."""

    back_translated: int
    """Sentences of each direction."""


def decide(
    core_minutes: float,
    *,
    shards: Sequence[str],
    rounds: int,
    trainings: int,
    positions: int,
    weights: Path,
) -> Sizes:
    """Return what fits into a budget.

    Args:
        core_minutes: CPU time of everything.
        shards: Paths and URLs.
        rounds: Of mining, at most.
        trainings: How many systems are trained.
        positions: Source and target positions of a batch.
        weights: File of the model's weights, in float32, whose size gives the parameters.
    """
    seconds = core_minutes * _SECONDS
    parameters = weights.stat().st_size / _BYTES
    mining = MINING * seconds
    rounds = rounds if mining >= _LEAST_SECONDS_FOR_TWO_ROUNDS else 1
    update = _BACKWARD * parameters * positions / _FLOPS
    sentence = _FORWARD * parameters * _TOKENS * _BEAM / _FLOPS
    return Sizes(
        shards=_that_fit(shards, mining / rounds),
        rounds=rounds,
        max_updates=max(_FEWEST_UPDATES, int(TRAINING * seconds / max(trainings, 1) / update)),
        back_translated=max(_FEWEST_SENTENCES, int(BACK_TRANSLATION * seconds / 2 / sentence)),
    )


def _that_fit(shards: Sequence[str], seconds: float) -> tuple[str, ...]:
    spent = 0.0
    for i, shard in enumerate(shards):
        spent += _cost(shard)
        if spent > seconds:
            return tuple(shards[: max(i, 1)])
    return tuple(shards)


def _cost(shard: str) -> float:
    is_compressed = shard.endswith((".gz", ".zst", ".xz", ".parquet"))
    is_there = "://" not in shard and Path(shard).is_file()
    megabytes = Path(shard).stat().st_size / 1e6 if is_there else _REMOTE_MB
    return _CORE_SECONDS_PER_MB[is_compressed] * megabytes
