"""The layer's formulas once more, token by token, as the paper and fairseq's code state them.

Nothing here is shared with `nmt.model.moe`: no sorting, no grouping, plain Python floats and loops.
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


def weights(
    gates: Matrix, is_token: list[bool], capacity: int | None, batch_prioritized: bool = False
) -> list[dict[int, float]]:
    """Weight of each expert for each token: GShard's algorithm 1, normalized after dropping.

    Batch-prioritized, `top2gate.py` sorts tokens by -max(gates) before it numbers the places.
    """
    chosen = [top2(g) for g in gates]
    kept: list[dict[int, float]] = [{} for _ in gates]
    used = [0] * len(gates[0])
    turns = list(range(len(gates)))
    if batch_prioritized:
        turns.sort(key=lambda t: -max(gates[t]))
    for choice in (0, 1):
        for t in turns:
            if not is_token[t]:
                continue
            e = chosen[t][choice]
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


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def masked(x: Vector, keep: bool | None, p: float) -> Vector:
    """`moe_layer.py` for an expert's output, `transformer_layer.py` for the layer's (`moe_fom`):
    `uniform() > p` times the vector in training, (1 - p) times it at evaluation (keep is None).
    """
    factor = (1 - p) if keep is None else float(keep)
    return [factor * value for value in x]


def without_all_to_all(rank: int, chosen: list[int], num_experts: int, num_ranks: int) -> list[int]:
    """Which expert of the gang does each assignment of a rank, `use_all_to_all` being false.

    `moe_layer.py`: the buffer "E C M" of a rank is reshaped to (ranks, local experts, C, M), cut
    into one chunk for each local expert along dimension 1, and goes through the rank's own experts.
    """
    num_local = num_experts // num_ranks
    buffer = [[i for i, e in enumerate(chosen) if e == expert] for expert in range(num_experts)]
    grouped = [buffer[g * num_local : (g + 1) * num_local] for g in range(num_ranks)]
    done_by = [-1] * len(chosen)
    for local in range(num_local):
        for group in grouped:
            for i in group[local]:
                done_by[i] = rank * num_local + local
    return done_by


def mixed(dense: Vector, moe: Vector, gate: float) -> Vector:
    """`cmr_layer.py`: x_ffn · (1 - gates) + x_moe · gates."""
    return [a * (1 - gate) + b * gate for a, b in zip(dense, moe, strict=True)]


def cmr_loss(gates: list[Vector]) -> float:
    """`moe_label_smoothed_cross_entropy.py`: |used / total - 0.8| over all layers together."""
    used = sum(sum(layer) for layer in gates)
    total = sum(len(layer) for layer in gates)
    return abs(used / total - 0.8)
