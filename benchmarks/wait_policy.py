"""What `OMP_WAIT_POLICY=passive` costs on an idle machine, and saves on a busy one.

    python benchmarks/wait_policy.py [--seconds 20] [--turns 3]

Training steps of the size of the demo's model (d = 128, 2,048 tokens) with two torch threads, for
`--seconds` a side: with OpenMP's own policy, which spins, and with the passive one that every
command sets. First alone, then beside one process and beside two that keep a processor busy. Sides
take turns; medians are printed. Start it on an idle machine.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

from corpus.console import format_table

WIDTH, INNER, TOKENS, LAYERS = 128, 512, 2048, 6
POLICIES = ("default", "passive")


def main() -> None:
    """Print steps a second of both policies beside other processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps:
        print(steps_per_second(options.seconds))
        return
    rows = []
    for busy in (0, 1, 2):
        speeds: dict[str, list[float]] = {policy: [] for policy in POLICIES}
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
        try:
            for _ in range(options.turns):
                for policy in POLICIES:
                    speeds[policy].append(measure(policy, options.seconds))
        finally:
            for other in others:
                other.kill()
                other.wait()
        default, passive = (statistics.median(speeds[policy]) for policy in POLICIES)
        rows.append([str(busy), f"{default:.1f}", f"{passive:.1f}", f"{passive / default:.2f}"])
    print(format_table(["busy processes", "default", "passive", "ratio"], rows))


def measure(policy: str, seconds: float) -> float:
    """Return the steps a second of a process with one policy: OpenMP reads it once."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    environment.pop("OMP_WAIT_POLICY", None)
    if policy != "default":
        environment["OMP_WAIT_POLICY"] = policy
    command = [sys.executable, __file__, "--steps", "--seconds", str(seconds)]
    result = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    return float(result.stdout)


def steps_per_second(seconds: float) -> float:
    """Run steps of feed-forward layers, forward and backward, and return how many fit a second."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers = [(nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)) for _ in range(LAYERS)]
    parameters = [p for pair in layers for layer in pair for p in layer.parameters()]
    optimizer = torch.optim.AdamW(parameters)
    inputs = torch.randn(TOKENS, WIDTH)
    steps, started = -2, time.monotonic()  # two steps to warm up
    while time.monotonic() - started < seconds:
        hidden = inputs
        for up, down in layers:
            hidden = nn.functional.layer_norm(hidden + down(up(hidden).relu()), (WIDTH,))
        hidden.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        steps += 1
        if not steps:
            started = time.monotonic()
    return steps / (time.monotonic() - started)


if __name__ == "__main__":
    main()
