"""fairseq's and LASER's arithmetic again, one sentence at a time, in NumPy and by the formulas.

Written from the definitions (LSTM: Hochreiter and Schmidhuber 1997 with PyTorch's order of gates;
transformer: Vaswani et al. 2017 with fairseq's sinusoids), not from this package.
"""

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Weights = dict[str, Array]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def lstm_direction(x: Array, w: Weights, suffix: str) -> Array:
    """States of one layer and direction, [T, H]; gates are stacked input, forget, cell, output."""
    hidden = w[f"lstm.weight_hh_{suffix}"].shape[1]
    h, c = np.zeros(hidden), np.zeros(hidden)
    states = []
    for token in x:
        gates = w[f"lstm.weight_ih_{suffix}"] @ token + w[f"lstm.bias_ih_{suffix}"]
        gates = gates + w[f"lstm.weight_hh_{suffix}"] @ h + w[f"lstm.bias_hh_{suffix}"]
        i, f, g, o = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.array(states)


def laser2(ids: list[int], w: Weights, layers: int) -> Array:
    x = w["embed_tokens.weight"][ids]
    for layer in range(layers):
        forward = lstm_direction(x, w, f"l{layer}")
        backward = lstm_direction(x[::-1], w, f"l{layer}_reverse")[::-1]
        x = np.concatenate([forward, backward], axis=1)
    return x.max(axis=0)


def layer_norm(x: Array, w: Weights, name: str) -> Array:
    centered = x - x.mean(axis=-1, keepdims=True)
    scaled = centered / np.sqrt((centered**2).mean(axis=-1, keepdims=True) + 1e-5)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x: Array, w: Weights, name: str) -> Array:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def attention(x: Array, w: Weights, name: str, heads: int) -> Array:
    width = x.shape[1] // heads
    q, k, v = (linear(x, w, f"{name}.{part}_proj") for part in "qkv")
    mixed = []
    for head in range(heads):
        columns = slice(head * width, (head + 1) * width)
        scores = (q[:, columns] / math.sqrt(width)) @ k[:, columns].T
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        mixed.append(weights / weights.sum(axis=1, keepdims=True) @ v[:, columns])
    return linear(np.concatenate(mixed, axis=1), w, f"{name}.out_proj")


def position(number: int, width: int) -> Array:
    """fairseq's vector of a position: all sines, then all cosines."""
    step = math.log(10000) / (width // 2 - 1)
    angles = [number * math.exp(-step * i) for i in range(width // 2)]
    return np.array([math.sin(a) for a in angles] + [math.cos(a) for a in angles])


def activate(x: Array, name: str) -> Array:
    if name == "relu":
        return np.maximum(x, 0)
    return np.vectorize(lambda value: 0.5 * value * (1 + math.erf(value / math.sqrt(2))))(x)


def laser3(
    ids: list[int], w: Weights, *, layers: int, heads: int, norm_first: bool, scale: bool,
    activation: str, pooling: str,
) -> Array:  # fmt: skip
    """`w` has fairseq's names without a prefix."""
    x = w["embed_tokens.weight"][ids]
    width = x.shape[1]
    if scale:
        x = x * math.sqrt(width)
    padding_idx = 1
    x = x + np.array([position(padding_idx + 1 + i, width) for i in range(len(ids))])
    if "layernorm_embedding.weight" in w:
        x = layer_norm(x, w, "layernorm_embedding")
    for layer in range(layers):
        name = f"layers.{layer}"
        for norm, half in (
            ("self_attn_layer_norm", lambda y, n=name: attention(y, w, f"{n}.self_attn", heads)),
            (
                "final_layer_norm",
                lambda y, n=name: linear(
                    activate(linear(y, w, f"{n}.fc1"), activation), w, f"{n}.fc2"
                ),
            ),
        ):
            if norm_first:
                x = x + half(layer_norm(x, w, f"{name}.{norm}"))
            else:
                x = layer_norm(x + half(x), w, f"{name}.{norm}")
    if "layer_norm.weight" in w:
        x = layer_norm(x, w, "layer_norm")
    return x[0] if pooling == "cls" else x.max(axis=0)
