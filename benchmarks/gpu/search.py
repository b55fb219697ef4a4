"""Part 5: exact mining search of millions of vectors, and vectors of the pretrained encoder."""

from __future__ import annotations

import numpy as np
import torch
from harness import Setting

from mining.encoders.universal import Network, pack
from mining.search.device import device_neighbors
from mining.search.flat import FlatProducts
from mining.search.vectors import Vectors, make_vectors

DIMENSION = 512
CLUSTERS = 1000
CHECKED = 20
MEMORY_MB = 8192


def run(setting: Setting) -> None:
    """Embed, then search a million a side, and ten million where the time is left."""
    embed(setting)
    for count in (2000,) if setting.tiny else (1_000_000, 10_000_000):
        if count > 1_000_000 and setting.left < 240:
            setting.skip(f"{count:,} x {count:,}", f"{setting.left:.0f} seconds were left")
            continue
        search(setting, count)


def clustered(setting: Setting, count: int, seed: int) -> Vectors:
    """Return vectors around centers that both sides share, as sentences have topics."""
    generator = torch.Generator(setting.device).manual_seed(seed)
    centers = torch.randn(
        CLUSTERS, DIMENSION, device=setting.device,
        generator=torch.Generator(setting.device).manual_seed(0),
    )  # fmt: skip
    parts = []
    for start in range(0, count, 1 << 18):
        size = min(1 << 18, count - start)
        chosen = torch.randint(CLUSTERS, (size,), device=setting.device, generator=generator)
        noise = torch.randn(size, DIMENSION, device=setting.device, generator=generator)
        parts.append((centers[chosen] + noise).half().cpu().numpy())
    return make_vectors(np.concatenate(parts), FlatProducts())


def search(setting: Setting, count: int) -> None:
    """Time the search of both directions; compare some rows with everything in full precision."""
    source, target = clustered(setting, count, 1), clustered(setting, count, 2)
    memory = 64 if setting.tiny else MEMORY_MB
    found = {}

    def both() -> None:
        found["forward"], _ = device_neighbors(
            source, target, setting.device, neighbors=4, memory_mb=memory, dtype=torch.float16
        )

    seconds = setting.seconds_of(both, turns=1, warmup=0)
    setting.record(
        f"exact search, {count:,} x {count:,}, {DIMENSION} dimensions", seconds, "s",
        note=f"{4 * DIMENSION * count * count / seconds / 1e12:.1f} TFLOP/s, transfers counted",
    )  # fmt: skip
    rows = np.linspace(0, count - 1, CHECKED).astype(int)
    same = 0
    for row in rows.tolist():
        cosines = FlatProducts().cosines(
            source.matrix[row], float(source.norms[row]), target.matrix, target.norms
        )
        order = np.lexsort((np.arange(count), -cosines))[:4]
        same += int((found["forward"].ids[row] == order).all())
    setting.record(f"rows of {count:,} that equal a full sort", same / CHECKED, "share", floor=1.0)


def embed(setting: Setting) -> None:
    """Time the network of the builtin encoder, with random weights and embeddings."""
    count, length = (64, 20) if setting.tiny else (100_000, 30)
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    network = Network()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    network = network.to(setting.device).eval()
    table = torch.randn(128_000, DIMENSION, device=setting.device) if setting.is_gpu else None
    sentences = random.integers(5, 128_000, (count, length)).tolist()

    def run_all() -> None:
        with torch.inference_mode():
            for start in range(0, count, 2048):
                distinct, layout = pack(sentences[start : start + 2048])
                tokens = torch.from_numpy(distinct)
                if table is None:
                    rows = torch.randn(len(tokens), DIMENSION)
                else:
                    rows = table[tokens.to(setting.device)]
                there = type(layout)(*(part.to(setting.device) for part in layout))
                network(rows, there)

    seconds = setting.seconds_of(run_all, turns=1, warmup=1)
    setting.record(
        f"network of the builtin encoder, {length} tokens a sentence", count / seconds,
        "sentences/s", note="random weights; packing on the CPU counted",
    )  # fmt: skip
