"""Load on `tongues nmt serve`: many polite clients beside hostile ones.

    python benchmarks/serve_load.py --model DIR --source qaa_Latn --target qab_Latn --text FILE

Every answer to a polite client is compared with the line's translation by `tongues nmt translate`,
so that a lost, late or mixed-up one is seen. Meanwhile hostile clients send slowly, too much, what
is not JSON, unknown languages, nothing at all, or go away. Afterwards the server must be idle and
well, hold no bytes, and have grown by no more than `--growth` MB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import aiohttp

from corpus.console import format_table

POST = b"POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HUGE = 64_000_000
READ_SECONDS = 3.0
MAX_CONNECTIONS = 600


def main() -> None:
    """Serve, load, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--requests", type=int, default=10, help="Of each client.")
    parser.add_argument("--hostile", type=int, default=100, help="Clients, of seven kinds in turn.")
    parser.add_argument("--growth", type=float, default=300, help="MB that the server may grow by.")
    arguments = parser.parse_args()
    lines = [line for line in arguments.text.read_text("utf-8").split("\n") if line]
    expected = translate(arguments, lines)
    command = [
        sys.executable, "-m", "tongues", "nmt", "serve", "--model", str(arguments.model),
        "--config", "port=0", "--config", "translate.threads=1",
        "--config", f"read_seconds={READ_SECONDS}", "--config", "timeout_seconds=600",
        "--config", f"max_connections={MAX_CONNECTIONS}",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            ok = asyncio.run(load(arguments, address, server.pid, lines, expected))
        finally:
            server.terminate()
    sys.exit(0 if ok and server.returncode == 0 else 1)


def translate(arguments: argparse.Namespace, lines: list[str]) -> list[str]:
    """Return what the command line makes of the lines."""
    result = subprocess.run(
        [
            sys.executable, "-m", "tongues", "nmt", "translate", "--model", str(arguments.model),
            "--source", arguments.source, "--target", arguments.target, "--config", "threads=1",
        ],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return result.stdout.split("\n")[: len(lines)]


def memory(pid: int, field: str) -> float:
    """Return a size of a process in MB: `VmRSS` now, `VmHWM` at its highest."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1000


async def load(
    arguments: argparse.Namespace, address: str, pid: int, lines: list[str], expected: list[str]
) -> bool:
    """Run all clients; print what they saw; return whether all was well."""
    port = int(address.rpartition(":")[2])
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=900)
    async with aiohttp.ClientSession(address, connector=connector, timeout=timeout) as session:
        languages = {"source": arguments.source, "target": arguments.target}
        await polite(session, languages, [0, 1], lines, expected)  # the model is warm
        before = memory(pid, "VmRSS")
        begin = time.monotonic()
        hostile = [asyncio.create_task(attack(i, port)) for i in range(arguments.hostile)]
        turns = [
            [(client * arguments.requests + i) % len(lines) for i in range(arguments.requests)]
            for client in range(arguments.clients)
        ]
        found = await asyncio.gather(
            *(polite(session, languages, turn, lines, expected) for turn in turns)
        )
        seconds = time.monotonic() - begin
        answers = Counter(await asyncio.gather(*hostile))
        health = await (await session.get("/health")).json()
        metrics = await (await session.get("/metrics")).text()
    times = sorted(t for one in found for t, _ in one)
    outcomes = Counter(outcome for one in found for _, outcome in one)
    growth = memory(pid, "VmHWM") - before
    quantiles = statistics.quantiles(times, n=100)
    values = {
        name: float(line.split()[1])
        for line in metrics.split("\n")
        if line.startswith("tongues_batch")
        for name in [line.split()[0]]
    }
    size = values["tongues_batch_lines_total"] / values["tongues_batches_total"]
    print(format_table(["figure", "value"], [
        ["answers as expected", f"{outcomes['same']:,} of {len(times):,}"],
        ["other outcomes", json.dumps({k: v for k, v in outcomes.items() if k != "same"})],
        ["requests/s", f"{len(times) / seconds:.1f}"],
        ["seconds, median / 99 %", f"{quantiles[49]:.2f} / {quantiles[98]:.2f}"],
        ["lines in a batch", f"{size:.1f}"],
        ["memory before, growth at most", f"{before:.0f} MB, {growth:.0f} MB"],
        ["afterwards", json.dumps(health)],
    ]))  # fmt: skip
    print(format_table(["hostile client", "answer", "times"], [
        [kind, answer, count] for (kind, answer), count in sorted(answers.items())
    ]))  # fmt: skip
    is_idle = health == {"status": "ok", "pending_lines": 0, "pending_bytes": 0}
    return outcomes["same"] == len(times) and is_idle and growth <= arguments.growth


async def polite(
    session: aiohttp.ClientSession,
    languages: dict[str, str],
    turn: list[int],
    lines: list[str],
    expected: list[str],
) -> list[tuple[float, str]]:
    """Send lines one after the other; return the seconds and outcome of each."""
    found = []
    for number in turn:
        begin = time.monotonic()
        try:
            body = {**languages, "text": lines[number]}
            async with session.post("/translate", json=body) as answer:
                fields = await answer.json()
            outcome = str(answer.status)
            if answer.status == 200:
                is_same = fields["translation"]["text"] == expected[number]
                outcome = "same" if is_same else "another text"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            outcome = type(error).__name__
        found.append((time.monotonic() - begin, outcome))
    return found


async def attack(number: int, port: int) -> tuple[str, str]:
    """Be one of seven kinds of hostile client; return the kind and the status line it got."""
    kind, parts = [
        ("sends nothing", [b""]),
        ("header in drips", [b"%c" % byte for byte in POST] * 2),
        ("body in drips", [POST + b"Content-Length: 900\r\n\r\n", *[b"x"] * 100]),
        ("huge body, declared", [POST + b"Content-Length: %d\r\n\r\n" % HUGE, b"x" * 1_000_000]),
        (
            "huge body, in chunks",
            [
                POST + b"Transfer-Encoding: chunked\r\n\r\n",
                *[b"4000\r\n" + b"x" * 16384 + b"\r\n"] * 100,
            ],
        ),
        ("no JSON", [POST + b"Connection: close\r\nContent-Length: 9\r\n\r\n{'text':1"]),
        (
            "goes away",
            [POST + b"Content-Length: 70\r\n\r\n" + b'{"source": "qaa_Latn", "target": "q'],
        ),
    ][number % 7]
    pause = 0.1 if "drips" in kind else 0
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        if kind == "goes away":
            writer.transport.abort()
            return kind, "-"
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
    except ConnectionError as error:
        return kind, type(error).__name__
    except TimeoutError:
        return kind, "still open after 60 s"
    return kind, answer.split(b"\r\n")[0].decode("latin-1") or "closed"


if __name__ == "__main__":
    main()
