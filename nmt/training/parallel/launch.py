"""Rank and number of processes, as set by torchrun or Slurm's srun."""

import os
import re
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass

from corpus.errors import UserError

_FIRST_PORT, _NUM_PORTS = 20_000, 40_000


@dataclass(frozen=True)
class Place:
    """A process among those that train together."""

    rank: int = 0
    size: int = 1

    local_rank: int = 0
    """Among those of its machine."""

    local_size: int = 1


def find_place(environment: MutableMapping[str, str] = os.environ) -> Place:
    """Read this process's rank; under srun, set the variables that torchrun would set.

    torchrun sets RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT, which
    torch.distributed reads. Without RANK, and in a step of several tasks, Slurm's variables give
    them; the address is that of the step's first node, and the port comes from the job's number.

    Raises:
        UserError: If the variables are incomplete or no numbers.
    """
    if "RANK" not in environment and int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        for name, value in _from_slurm(environment).items():
            environment.setdefault(name, value)
    if "RANK" not in environment and "WORLD_SIZE" not in environment:
        return Place()
    place = Place(
        rank=_number(environment, "RANK"),
        size=_number(environment, "WORLD_SIZE"),
        local_rank=_number(environment, "LOCAL_RANK", "RANK"),
        local_size=_number(environment, "LOCAL_WORLD_SIZE", "WORLD_SIZE"),
    )
    if place.rank >= place.size or place.local_rank >= place.local_size:
        raise UserError(
            f"RANK is {place.rank} of WORLD_SIZE {place.size}, LOCAL_RANK {place.local_rank} of"
            f" LOCAL_WORLD_SIZE {place.local_size}; ranks go from 0 to one less than the size"
        )
    return place


def _number(environment: Mapping[str, str], name: str, other: str | None = None) -> int:
    value = environment.get(name, environment.get(other, "") if other else "")
    if not value.isdecimal():
        raise UserError(
            f"{name} is `{value}`, not a number. torchrun sets RANK and WORLD_SIZE together; unset"
            " both to train in one process."
        )
    return int(value)


def _from_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    nodes = environment.get("SLURM_STEP_NODELIST", environment.get("SLURM_JOB_NODELIST", ""))
    tasks = _tasks_per_node(environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    node = int(environment.get("SLURM_NODEID", "0"))
    size = environment["SLURM_STEP_NUM_TASKS"]
    job = int(environment.get("SLURM_JOB_ID", "0"))
    return {
        "RANK": environment.get("SLURM_PROCID", ""),
        "WORLD_SIZE": size,
        "LOCAL_RANK": environment.get("SLURM_LOCALID", ""),
        "LOCAL_WORLD_SIZE": str(tasks[node]) if node < len(tasks) else size,
        "MASTER_ADDR": first_host(nodes),
        "MASTER_PORT": str(_FIRST_PORT + job % _NUM_PORTS),
    }


def _tasks_per_node(text: str) -> list[int]:
    """Return the tasks of each node from Slurm's short form: `2(x3),1` is 2, 2, 2, 1."""
    tasks: list[int] = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", text):
        tasks += [int(count)] * int(times or 1)
    return tasks


def first_host(nodes: str) -> str:
    """Return the first name of a list of nodes in Slurm's short form: `gpu[03-05,9],x` is gpu03."""
    match = re.match(r"([^,\[]+)(?:\[(\d+)[^\]]*\])?([^,\[]*)", nodes)
    return "".join(part or "" for part in match.groups()) if match else "localhost"


@contextmanager
def as_groups(place: Place, size: int) -> Iterator[None]:
    """Make fairseq2 treat each group of `size` neighbors as a machine, unless that is all.

    Its hybrid sharding shares out a copy of the model among the processes of each machine, and
    knows machines by LOCAL_WORLD_SIZE alone. The device, which it would choose by LOCAL_RANK, is
    then named.
    """
    if not 1 < size < place.size:
        yield
        return
    import torch

    changed = {"LOCAL_RANK": str(place.rank % size), "LOCAL_WORLD_SIZE": str(size)}
    if torch.cuda.device_count() > 1:
        changed["FAIRSEQ2_DEVICE"] = f"cuda:{place.local_rank}"
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
