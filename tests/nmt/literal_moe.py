"""The layer's formulas once more, token by token, as the paper and fairseq's code state them.

Nothing here is shared with `nmt.moe`: no sorting, no grouping, plain Python floats and loops.
"""

import math

Vector = list[float]
Matrix = list[Vector]


def softmax(logits: Vector) -> Vector:
    largest = max(logits)
    powers = [math.exp(logit - largest) for logit in logits]
    return [power / sum(powers) for power in powers]


def affine(x: Vector, weight: Matrix, bias: Vector) -> Vector:
    return [
        sum(w * value for w, value in zip(row, x, strict=True)) + b
        for row, b in zip(weight, bias, strict=True)
    ]


def top2(g: Vector) -> tuple[int, int]:
    first = max(range(len(g)), key=lambda e: g[e])
    rest = [e for e in range(len(g)) if e != first]
    return first, max(rest, key=lambda e: g[e])


def weights(gates: Matrix, is_token: list[bool], capacity: int | None) -> list[dict[int, float]]:
    """Weight of each expert for each token: GShard's algorithm 1, normalized after dropping."""
    chosen = [top2(g) for g in gates]
    kept: list[dict[int, float]] = [{} for _ in gates]
    used = [0] * len(gates[0])
    for choice in (0, 1):
        for t, experts in enumerate(chosen):
            if not is_token[t]:
                continue
            e = experts[choice]
            if capacity is None or used[e] < capacity:
                kept[t][e] = gates[t][e]
            used[e] += 1
    return [{e: g / sum(there.values()) for e, g in there.items()} for there in kept]


def balance_loss(gates: Matrix, is_token: list[bool]) -> float:
    tokens = [t for t, there in enumerate(is_token) if there]
    num_experts = len(gates[0])
    return num_experts * sum(
        (sum(gates[t][e] for t in tokens) / len(tokens))
        * (sum(top2(gates[t])[0] == e for t in tokens) / len(tokens))
        for e in range(num_experts)
    )


def expert(x: Vector, inner: Matrix, inner_bias: Vector, output: Matrix, bias: Vector) -> Vector:
    hidden = [max(0.0, value) for value in affine(x, inner, inner_bias)]
    return affine(hidden, output, bias)
