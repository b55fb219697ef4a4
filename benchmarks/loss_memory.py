"""Memory and time of the label-smoothed loss at NLLB's vocabulary, in chunks against at once.

    python benchmarks/loss_memory.py

The plain side is torch's `cross_entropy` of logits = hidden · weightᵀ in fp32. Each side runs
forward and backward in a process of its own; its memory is the largest resident size after that
less the one before, when hidden states, weight and targets are there. Gradients, which both sides
have to make, are in it. The process prints loss and gradient norms, which are compared.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
from torch.nn import functional

from nmt.model.loss import label_smoothed_cross_entropy

VOCABULARY = 256_206
SMOOTHING = 0.1
PAD = 0
SIDES = ("plain", "chunked")
KIB_PER_MB = 1024


def main() -> None:
    """Run both sides and print a table, or be one side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--model-dim", type=int, default=512)
    parser.add_argument("--side", choices=SIDES)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(run_side(arguments.side, arguments.tokens, arguments.model_dim)))
        return
    results = {side: start_side(side, arguments.tokens, arguments.model_dim) for side in SIDES}
    print(f"<!-- {arguments.tokens:,} tokens x {VOCABULARY:,}, model_dim {arguments.model_dim},")
    print(f"fp32, CPU, one thread, torch {torch.__version__} -->\n")
    print("| loss | memory | CPU time | loss | gradient norms |\n|---|---|---|---|---|")
    for side, result in results.items():
        norms = ", ".join(f"{norm:.6f}" for norm in result["norms"])
        print(
            f"| {side} | {result['mb']:,.0f} MB | {result['seconds']:.1f} s"
            f" | {result['loss']:.4f} | {norms} |"
        )
    plain, chunked = (results[side] for side in SIDES)
    print(f"\nMemory of plain over chunked: {plain['mb'] / chunked['mb']:.1f}.")
    worst = max(
        abs(a / b - 1)
        for a, b in zip(
            [chunked["loss"], *chunked["norms"]], [plain["loss"], *plain["norms"]], strict=True
        )
    )
    print(f"Largest relative difference of loss and norms: {worst:.1e}.")


def start_side(side: str, tokens: int, model_dim: int) -> dict[str, object]:
    """Run one side in a process of its own."""
    command = [sys.executable, __file__, "--side", side]
    command += ["--tokens", str(tokens), "--model-dim", str(model_dim)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, object] = json.loads(done.stdout)
    return result


def run_side(side: str, tokens: int, model_dim: int) -> dict[str, object]:
    """Run forward and backward once."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    hidden = torch.randn(tokens, model_dim).requires_grad_()
    weight = torch.randn(VOCABULARY, model_dim).mul_(model_dim**-0.5).requires_grad_()
    targets = torch.randint(1, VOCABULARY, (tokens,))
    targets[::10] = PAD
    before, started = peak(), time.process_time()
    if side == "plain":
        loss = functional.cross_entropy(
            hidden @ weight.T,
            targets,
            ignore_index=PAD,
            label_smoothing=SMOOTHING,
            reduction="sum",
        )
    else:
        loss, _ = label_smoothed_cross_entropy(
            hidden, weight, targets, ignored_index=PAD, label_smoothing=SMOOTHING
        )
    loss.backward()
    seconds = time.process_time() - started
    grown = peak() - before
    assert hidden.grad is not None
    assert weight.grad is not None
    return {
        "mb": grown / KIB_PER_MB,
        "seconds": seconds,
        "loss": loss.item(),
        "norms": [float(leaf.grad.double().norm()) for leaf in (hidden, weight)],
    }


def peak() -> int:
    """Return the largest resident size so far, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
