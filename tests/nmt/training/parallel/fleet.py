"""Commands in several processes at once, forked from one that has imported everything.

Importing torch and fairseq2 costs seconds of every process; forked ones have that behind them. Each
runs `tongues.main`, as the command does, with the variables that torchrun sets.
"""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[4]

_IMPORTED_LATE = (
    "nmt.training.train",
    "nmt.training.recipe",
    "nmt.cli",
    "fairseq2.recipe.composition",
    "torch.utils.tensorboard",
    "torch.distributed.fsdp",
)
"""What trainings import as they go."""


@dataclass(frozen=True)
class Finished:
    """How a process ended."""

    code: int
    stderr: str

    @property
    def peak_bytes(self) -> int:
        """The most memory that it had at once, what it shares with the first process included."""
        return 1024 * int(re.findall(r"VmHWM:\s*(\d+) kB", self.stderr)[-1])


class Fleet:
    """The process that others are forked from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._num_runs = 0
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            # Freed blocks go back to the system, so that a process is as large as its tensors are.
            "MALLOC_MMAP_THRESHOLD_": "65536",
            "MALLOC_TRIM_THRESHOLD_": "65536",
            "PYTHONPATH": str(ROOT),
        }
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            env=environment,
            text=True,
            bufsize=1,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._read() == "ready"

    def _read(self) -> Any:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        assert line, "the process that others are forked from has ended"
        return json.loads(line)

    def start(
        self,
        size: int,
        arguments: Sequence[str],
        *,
        last: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        rank_names: Sequence[str] = ("RANK", "LOCAL_RANK"),
    ) -> "Run":
        """Start a command in `size` processes.

        Args:
            size: How many.
            arguments: Of `tongues`.
            last: Arguments of the last process, where they are others.
            environment: Variables in place of those that torchrun sets for all.
            rank_names: Variables that say which of the processes one is.
        """
        from torch.distributed import TCPStore

        self._num_runs += 1
        # Held here, as torchrun holds one, on a port that the system gives.
        self._store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        shared = {
            "WORLD_SIZE": str(size),
            "LOCAL_WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self._store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
        }
        processes = []
        for rank in range(size):
            place = dict.fromkeys(rank_names, str(rank))
            processes.append(
                {
                    "arguments": list(last if last and rank == size - 1 else arguments),
                    "environment": {**(environment or shared), **place} if size > 1 else {},
                    "log": str(self._folder / f"run_{self._num_runs}_{rank}.log"),
                }
            )
            Path(processes[-1]["log"]).touch()
        self._write({"processes": processes})
        return Run(self, self._read(), [Path(process["log"]) for process in processes])

    def run(self, size: int, arguments: Sequence[str], **options: Any) -> list[Finished]:
        """Run a command in `size` processes to its end."""
        return self.start(size, arguments, **options).wait()

    def _write(self, command: Any) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(command) + "\n")

    def poll(self, pids: Sequence[int]) -> dict[int, int]:
        """Return the exit codes of those processes that have ended."""
        self._write({"poll": list(pids)})
        return {int(pid): code for pid, code in self._read().items()}

    def close(self) -> None:
        """End the process that others are forked from."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(60)  # a process with torch ends slowly on a loaded machine


class Run:
    """A command that runs in several processes."""

    def __init__(self, fleet: Fleet, pids: Sequence[int], logs: Sequence[Path]) -> None:
        self._fleet = fleet
        self.pids = pids
        self._logs = logs

    def stderr(self, rank: int = 0) -> str:
        """Return what a process has written so far."""
        return self._logs[rank].read_text(encoding="utf-8")

    def wait_for(self, text: str, seconds: float = 200) -> None:
        """Wait until rank 0 has written a text."""
        deadline = time.monotonic() + seconds
        while text not in self.stderr():
            assert not self._fleet.poll(self.pids), f"it ended early:\n{self.stderr()}"
            assert time.monotonic() < deadline, f"no `{text}` in:\n{self.stderr()}"
            time.sleep(0.02)

    def signal(self, number: int, rank: int = 0) -> None:
        """Send a process a signal."""
        os.kill(self.pids[rank], number)

    def wait(self, seconds: float = 300) -> list[Finished]:
        """Return how all processes ended; kill them and fail after so many seconds."""
        deadline = time.monotonic() + seconds
        codes: dict[int, int] = {}
        while len(codes) < len(self.pids):
            codes |= self._fleet.poll([pid for pid in self.pids if pid not in codes])
            if time.monotonic() > deadline:
                for number, pause in ((signal.SIGUSR2, 0.5), (signal.SIGKILL, 0.0)):
                    for pid in self.pids:
                        if pid not in codes:
                            os.kill(pid, number)
                    time.sleep(pause)
                logs = "\n".join(self.stderr(rank)[-3000:] for rank in range(len(self.pids)))
                raise TimeoutError(f"processes hang after {seconds} s; they wrote:\n{logs}")
            time.sleep(0.02)
        return [Finished(codes[pid], self.stderr(rank)) for rank, pid in enumerate(self.pids)]


def _serve() -> None:
    """Fork processes on request until standard input ends."""
    for name in _IMPORTED_LATE:
        importlib.import_module(name)
    _say("ready")
    for line in sys.stdin:
        command = json.loads(line)
        if "poll" in command:
            waited = [os.waitpid(pid, os.WNOHANG) for pid in command["poll"]]
            _say({pid: os.waitstatus_to_exitcode(status) for pid, status in waited if pid})
            continue
        _say([_fork(**process) for process in command["processes"]])


def _say(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _fork(arguments: list[str], environment: dict[str, str], log: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(environment)
    import faulthandler
    import traceback

    import tongues

    faulthandler.register(signal.SIGUSR2, sys.stderr, all_threads=True)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins here

    code = 1
    try:
        code = tongues.main(arguments)
    except BaseException:  # as the interpreter would, which never gets to it here
        traceback.print_exc()
    finally:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        sys.stderr.write(next(line for line in status.splitlines() if "VmHWM" in line) + "\n")
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
