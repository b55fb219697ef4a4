"""Mining by LASER's and stopes' calls against this package: CPU seconds of one core, and F1.

    python benchmarks/mining_speed.py prepare --data DIR --work DIR [--builtin]
    python benchmarks/mining_speed.py run --work DIR --size 20000 --peers laser,stopes
    python benchmarks/mining_speed.py large --work DIR --size 1000000

DATA holds `tatoeba/` and `wmt_newstest/` (`eng_Latn-<language>.tsv`). English is divided: some
sentences train a `bag` encoder of 1,024 dimensions; of 40 % of the pool both sides are there; the
rest of the pool is English without a translation, and text in fourteen languages whose English is
not there. `prepare --builtin` embeds by the builtin encoder, with its languages only, and trains
nothing: the English of other languages' pairs has no translation there. Embeddings are given: what
is timed begins with float16 arrays in memory and ends with a list of pairs. Every contestant runs
in a process of its own, one thread. F1 is at its own best threshold. LASER's part restates
`source/mine_bitexts.py`, stopes' the FAISS calls of its `populate_faiss_index` and
`mine_bitext_indexes`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

LANGUAGES = (
    "rus_Cyrl", "deu_Latn", "ces_Latn", "tur_Latn", "fra_Latn", "ita_Latn", "spa_Latn", "fin_Latn",
    "por_Latn", "nld_Latn", "ell_Grek", "ukr_Cyrl", "hun_Latn", "dan_Latn",
)  # fmt: skip
NEIGHBORS = {"tongues-16": 16, "stopes": 16}
GOLD_SHARE = 0.4
TRAINING = [
    "bag.dimension=1024",
    "bag.buckets=65536",
    "epochs=3",
    "hard_negatives=0",
    "feature_dropout=0.2",
    "learning_rate=0.02",
]
ROOT = Path(__file__).parent.parent
ENVIRONMENT = {
    "laser-prescott": {"OPENBLAS_CORETYPE": "Prescott"},
    "laser-skylakex": {"OPENBLAS_CORETYPE": "SkylakeX"},
}


def main() -> None:
    """Prepare the data, or run the contestants and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=["prepare", "run", "one", "large"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--peers", default="laser,laser-prescott")
    parser.add_argument("--part", type=float, default=1.0, help="share of the queries to search")
    parser.add_argument("--width", type=int, default=256, help="of the vectors made up for `large`")
    parser.add_argument("--builtin", action="store_true", help="instead of a trained encoder")
    arguments = parser.parse_args()
    if arguments.step == "prepare":
        prepare(arguments.data, arguments.work, is_builtin=arguments.builtin)
    elif arguments.step == "one":
        run_one(arguments.peers, arguments.work, arguments.size, arguments.part)
    elif arguments.step == "large":
        run_large(arguments.work, arguments.size, arguments.width, arguments.part)
    else:
        names = ["tongues", *arguments.peers.split(",")]
        compare(names, arguments.work, arguments.size, arguments.part)


def prepare(data: Path, work: Path, *, is_builtin: bool) -> None:
    """Divide the text, train the encoder, embed the pool."""
    from corpus.text import normalize, sentence_hash
    from mining.encoders import BUILTIN, BUILTIN_LANGUAGES, load_encoder

    languages = [one for one in BUILTIN_LANGUAGES if one != "eng_Latn"] if is_builtin else LANGUAGES
    by_english: dict[int, dict[str, str]] = defaultdict(dict)
    for folder in ("wmt_newstest", "tatoeba"):
        for language in dict.fromkeys((*languages, *LANGUAGES)):
            path = data / folder / f"eng_Latn-{language}.tsv"
            lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
            for line in lines:
                english, tab, foreign = line.partition("\t")
                english, foreign = normalize(english), normalize(foreign.split("\t")[0])
                if tab and len(english) >= 12 and len(foreign) >= 8:
                    texts = by_english[sentence_hash(english)]
                    texts.setdefault("english", english)
                    texts.setdefault(language, foreign)
    keys = sorted(by_english, key=lambda key: hashlib.blake2b(str(key).encode()).digest())
    if is_builtin:
        gold, alone, training = divide(keys, by_english, set(languages))
    else:
        gold, alone, training = keys[:40_000], keys[40_000:100_000], keys[100_000:]
    seed, foreign_alone = defaultdict(list), []
    for key in training:
        for language in languages:
            if language in by_english[key]:
                pair = by_english[key]["english"], by_english[key][language]
                seed[language].append(pair)
                foreign_alone.append(pair[1])
    (work / "seed").mkdir(parents=True, exist_ok=True)
    for language, pairs in seed.items():
        text = "".join(f"{source}\t{target}\n" for source, target in pairs)
        (work / "seed" / f"eng_Latn-{language}.tsv").write_text(text, encoding="utf-8")
    foreign_alone.sort(key=lambda text: hashlib.blake2b(text.encode()).digest())
    pairs, seen = [], set()
    for key in gold:
        known = [language for language in languages if language in by_english[key]]
        target = by_english[key][known[key % len(known)]]
        if sentence_hash(target) not in seen:
            seen.add(sentence_hash(target))
            pairs.append((by_english[key]["english"], target))
    others = []
    for text in foreign_alone:
        if sentence_hash(text) not in seen and len(others) < len(alone):
            seen.add(sentence_hash(text))
            others.append(text)
    tongues = str(Path(sys.executable).parent / "tongues")
    options = [part for value in TRAINING for part in ("--config", value)]
    if not is_builtin and not (work / "encoder" / "encoder.json").exists():
        subprocess.run(
            [
                tongues,
                "mining",
                "train-encoder",
                "--bitext",
                str(work / "seed"),
                "--output",
                str(work / "encoder"),
                *options,
            ],
            check=True,
        )
    encoder = load_encoder(BUILTIN if is_builtin else work / "encoder")
    texts = {
        "gold_source": [source for source, _ in pairs],
        "gold_target": [target for _, target in pairs],
        "source": [by_english[key]["english"] for key in alone],
        "target": others,
    }
    for name, lines in texts.items():
        parts = [encoder.encode(lines[i : i + 1000]) for i in range(0, len(lines), 1000)]
        np.save(work / f"{name}.npy", np.concatenate(parts).astype(np.float16))
        print(f"{name}: {len(lines):,}")


def divide(
    keys: list[int], by_english: dict[int, dict[str, str]], languages: set[str]
) -> tuple[list[int], list[int], list[int]]:
    """Return English of pairs, English alone, and English whose translations stand alone."""
    paired = [key for key in keys if languages & by_english[key].keys()]
    alone = [key for key in keys if not languages & by_english[key].keys()]
    left = paired[40_000:]
    sums = np.cumsum([len(languages & by_english[key].keys()) for key in left])
    # Some translations occur twice, and go.
    count = int(np.searchsorted(sums, 70_000))
    return paired[:40_000], (alone + left[count:])[:60_000], left[:count]


def load_pool(work: Path, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return both sides, shuffled, and the target that translates each source, or -1."""
    count = int(size * GOLD_SHARE)
    sides = []
    for name in ("source", "target"):
        known = np.load(work / f"gold_{name}.npy", mmap_mode="r")
        # 60 of 40 thousand pairs went for their repeated targets; others take their place.
        count = min(count, len(known))
        other = np.load(work / f"{name}.npy", mmap_mode="r")
        sides.append(np.concatenate([known[:count], other[: size - count]]))
    orders = [
        np.random.default_rng(seed).permutation(len(side))
        for seed, side in ((1, sides[0]), (2, sides[1]))
    ]
    gold = np.full(len(sides[0]), -1)
    places = np.empty(len(sides[1]), np.int64)
    places[orders[1]] = np.arange(len(orders[1]))
    is_gold = orders[0] < count
    gold[is_gold] = places[orders[0][is_gold]]
    return sides[0][orders[0]], sides[1][orders[1]], gold


def run_one(name: str, work: Path, size: int, part: float) -> None:
    """Run one contestant in this process; save its pairs and print its CPU seconds."""
    logging.basicConfig(level=logging.INFO)  # says how many rows had a second pass
    source, target, _ = load_pool(work, size)
    contestant = {
        "tongues": tongues,
        "tongues-16": tongues,
        "tongues-flat": tongues_flat,
        "stopes": stopes,
    }.get(name, laser)
    k = NEIGHBORS.get(name, 4)
    seconds, pairs = contestant(source, target, k, part)
    if pairs is not None:
        np.savez(work / f"pairs-{name}-{size}.npz", *pairs)
    peak = int(
        next(
            line.split()[1]
            for line in Path("/proc/self/status").read_text().split("\n")
            if line.startswith("VmHWM")
        )
    )
    print(json.dumps({"seconds": seconds, "peak_mb": round(peak / 1024)}))


def tongues(source, target, k, part):  # type: ignore[no-untyped-def]
    """Mine as `tongues mining mine` does after loading."""
    from mining.search.config import MineConfig
    from mining.search.mine import mine_pairs

    config = MineConfig(neighbors=k)
    mine_pairs(source[:64], target[:64], config)  # imports and loads the library
    started = time.process_time()
    pairs = mine_pairs(source, target, config)
    return time.process_time() - started, (pairs.source, pairs.target, pairs.score)


def tongues_flat(source, target, k, part):  # type: ignore[no-untyped-def]
    """Mine where no compiler was."""
    from mining.search.config import MineConfig
    from mining.search.mine import mine_pairs

    started = time.process_time()
    pairs = mine_pairs(source, target, MineConfig(neighbors=k, plan="flat"))
    return time.process_time() - started, (pairs.source, pairs.target, pairs.score)


def laser(source, target, k, part):  # type: ignore[no-untyped-def]
    """Restate LASER's mine_bitexts: mode mine, retrieval max, margin ratio, CPU."""
    import faiss

    faiss.omp_set_num_threads(1)
    x, y = source.astype(np.float32), target.astype(np.float32)
    started = time.process_time()
    faiss.normalize_L2(x)
    faiss.normalize_L2(y)

    def search(queries, candidates):  # type: ignore[no-untyped-def]
        index = faiss.IndexFlatIP(candidates.shape[1])
        index.add(candidates)
        return index.search(queries[: int(part * len(queries))], k)

    (forward, forward_ids), (backward, backward_ids) = search(x, y), search(y, x)
    if part < 1:
        return (time.process_time() - started) / part, None
    forward_mean, backward_mean = forward.mean(axis=1), backward.mean(axis=1)

    def score_candidates(a, b, ids, mean, other_mean):  # type: ignore[no-untyped-def]
        scores = np.zeros(ids.shape)
        for i in range(scores.shape[0]):
            for j in range(scores.shape[1]):
                n = ids[i, j]
                scores[i, j] = a[i].dot(b[n]) / ((mean[i] + other_mean[n]) / 2)
        return scores

    forward_scores = score_candidates(x, y, forward_ids, forward_mean, backward_mean)
    backward_scores = score_candidates(y, x, backward_ids, backward_mean, forward_mean)
    forward_best = forward_ids[np.arange(len(x)), forward_scores.argmax(axis=1)]
    backward_best = backward_ids[np.arange(len(y)), backward_scores.argmax(axis=1)]
    pairs = np.stack(
        (
            np.concatenate((np.arange(len(x)), backward_best)),
            np.concatenate((forward_best, np.arange(len(y)))),
        ),
        axis=1,
    )
    scores = np.concatenate((forward_scores.max(axis=1), backward_scores.max(axis=1)))
    seen_source, seen_target, kept = set(), set(), []
    for i in np.argsort(-scores):
        if pairs[i, 0] not in seen_source and pairs[i, 1] not in seen_target:
            seen_source.add(pairs[i, 0])
            seen_target.add(pairs[i, 1])
            kept.append(i)
    seconds = time.process_time() - started
    return seconds, (pairs[kept, 0], pairs[kept, 1], scores[kept])


def stopes(source, target, k, part):  # type: ignore[no-untyped-def]
    """Restate stopes: an OPQ,IVF,PQ index a language, nprobe 128, nearest candidate, union."""
    import faiss

    faiss.omp_set_num_threads(1)
    sides = [source.astype(np.float32), target.astype(np.float32)]
    started = time.process_time()
    for side in sides:
        faiss.normalize_L2(side)
    indexes = []
    for side in sides:
        index = faiss.index_factory(side.shape[1], "OPQ64,IVF1024,PQ64", faiss.METRIC_L2)
        index.train(side)
        index.add(side)
        faiss.extract_index_ivf(index).nprobe = 128
        indexes.append(index)
    found = [indexes[1].search(sides[0], k), indexes[0].search(sides[1], k)]
    cosines = [1 - distances / 2 for distances, _ in found]
    means = [cosine.mean(axis=1) for cosine in cosines]
    pairs: dict[tuple[int, int], float] = {}
    for one, other in ((0, 1), (1, 0)):
        nearest = found[one][1][:, 0]
        scores = cosines[one][:, 0] / ((means[one] + means[other][nearest]) / 2)
        rows = np.arange(len(nearest))
        order = (rows, nearest) if one == 0 else (nearest, rows)
        for key, score in zip(
            zip(*(part.tolist() for part in order), strict=True), scores.tolist(), strict=True
        ):
            pairs[key] = max(score, pairs.get(key, -1.0))
    keys = np.array(list(pairs), np.int64)
    seconds = time.process_time() - started
    return seconds, (keys[:, 0], keys[:, 1], np.array(list(pairs.values())))


def run_large(work: Path, size: int, width: int, part: float) -> None:
    """Mine made-up vectors from disk, or a part of the sources; print CPU seconds and memory."""
    import threading

    from mining.search.config import MineConfig
    from mining.search.margin import select_pairs
    from mining.search.neighbors import as_vectors, find_neighbors

    make_vectors_on_disk(work, size, width)
    peak = {"anonymous": 0}
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.5):
            peak["anonymous"] = max(peak["anonymous"], memory("RssAnon"))

    threading.Thread(target=watch, daemon=True).start()
    config = MineConfig(plan="exact", memory_mb=512)
    started = time.process_time()
    matrices = [np.load(work / f"made-{side}-{size}-{width}.npy", mmap_mode="r") for side in "st"]
    sides = [as_vectors(matrices[0][: int(part * size)], config), as_vectors(matrices[1], config)]
    found = find_neighbors(*sides, config, work)
    pairs = select_pairs(*found, config.margin, config.retrieval)
    seconds = time.process_time() - started
    is_over.set()
    right = int((pairs.source == pairs.target).sum())
    sizes = " x ".join(f"{len(side.matrix):,}" for side in sides)
    print(f"{sizes}, {width} dimensions, memory_mb {config.memory_mb}: {seconds:,.0f} CPU s,")
    print(f"peak {peak['anonymous']:,} MB of its own, {memory('VmHWM'):,} MB with mapped files;")
    print(f"{right:,} of {len(sides[0].matrix):,} pairs found")


def memory(name: str) -> int:
    """Return what the system says of this process's memory, in MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(next(row.split()[1] for row in status.split("\n") if row.startswith(name))) // 1024


def make_vectors_on_disk(work: Path, size: int, width: int) -> None:
    """Write unit vectors around two thousand topics, and the same with noise as translations."""
    random = np.random.default_rng(1)
    topics = random.standard_normal((2000, width), np.float32)
    paths = [work / f"made-{side}-{size}-{width}.npy" for side in "st"]
    if all(path.exists() for path in paths):
        return
    files = [
        np.lib.format.open_memmap(path.with_suffix(".tmp.npy"), "w+", np.float16, (size, width))
        for path in paths
    ]
    for start in range(0, size, 10_000):
        count = min(10_000, size - start)
        meaning = topics[random.integers(0, 2000, count)]
        meaning = meaning + random.standard_normal((count, width), np.float32)
        said = meaning + np.float32(0.7) * random.standard_normal((count, width), np.float32)
        for file, made in zip(files, (meaning, said), strict=True):
            file[start : start + count] = made / np.linalg.norm(made, axis=1, keepdims=True)
    for path in paths:
        path.with_suffix(".tmp.npy").replace(path)


def best_f1(path: Path, gold: np.ndarray) -> tuple[float, float]:
    """Return F1 at the best threshold, and that threshold."""
    source, target, score = np.load(path).values()
    order = np.argsort(-score, kind="stable")
    is_right = gold[source[order]] == target[order]
    correct = np.cumsum(is_right)
    f1 = 2 * correct / (np.arange(1, len(order) + 1) + (gold >= 0).sum())
    best = int(f1.argmax())
    return float(f1[best]), float(score[order][best])


def compare(names: list[str], work: Path, size: int, part: float) -> None:
    """Run all contestants one after the other and print a table."""
    _, targets, gold = load_pool(work, size)
    results = {}
    for name in names:
        share = 1.0 if name.startswith("tongues") else part
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            **ENVIRONMENT.get(name, {}),
        }
        done = subprocess.run(
            [
                sys.executable,
                __file__,
                "one",
                "--work",
                str(work),
                "--size",
                str(size),
                "--peers",
                name,
                "--part",
                str(share),
            ],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        results[name] = json.loads(done.stdout.strip().split("\n")[-1])
        print("".join(f"{line}\n" for line in done.stderr.split("\n") if "second pass" in line))
    sides = f"{len(gold):,} sentences with {len(targets):,}"
    print(f"{sides}, {int((gold >= 0).sum()):,} pairs, one core\n")
    print("| what | CPU s | times ours | peak MB | best F1 | at |\n|---|---|---|---|---|---|")
    for name, result in results.items():
        path = work / f"pairs-{name}-{size}.npz"
        f1, threshold = best_f1(path, gold) if path.exists() else (float("nan"), float("nan"))
        ratio = result["seconds"] / results["tongues"]["seconds"]
        label = name if name.startswith("tongues") or part == 1 else f"{name} ({part:.0%} timed)"
        print(
            f"| {label} | {result['seconds']:.1f} | {ratio:.1f} | {result['peak_mb']:,} |"
            f" {f1:.4f} | {threshold:.3f} |"
        )
    compare_lists(work, size)


def compare_lists(work: Path, size: int) -> None:
    """Say how far our list of pairs is LASER's."""
    ours = np.load(work / f"pairs-tongues-{size}.npz")
    for path in sorted(work.glob(f"pairs-laser*-{size}.npz")):
        peer = np.load(path)
        mine, theirs = (
            set(zip(one["arr_0"].tolist(), one["arr_1"].tolist(), strict=True))
            for one in (ours, peer)
        )
        print(
            f"\n{path.stem}: {len(mine):,} and {len(theirs):,} pairs, {len(mine ^ theirs)} differ"
        )


if __name__ == "__main__":
    main()
