"""Crawl shards of three made-up languages, told apart by script, and an encoder of them."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

from corpus.protocols import Prediction
from corpus.text import scripts_of
from mining.bitext.config import FilterConfig
from mining.encoders.config import BagConfig, TrainEncoderConfig
from mining.encoders.embed_config import EmbedConfig
from mining.encoders.train import run_train_encoder
from mining.run.config import RunConfig
from mining.run.run import RunResult, run_mining
from mining.sentences.config import SentencesConfig

LATIN, CYRILLIC, GREEK = LANGUAGES = ("qaa_Latn", "qac_Cyrl", "qad_Grek")
WORDS = [a + b + c for a in "bdfgklmn" for b in "aeiou" for c in ("r", "st", "nt", "l")]
# Languages are each other in other letters: a filter of copies sees nothing in common.
LETTERS = {
    LATIN: {},
    CYRILLIC: str.maketrans("abdefgiklmnorstu", "абдефгиклмнорсту"),
    GREEK: str.maketrans("abdefgiklmnorstu", "αβδεφγικλμνορστυ"),
}
SHARED, OTHERS = 100, 80


def sentences(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.sample(WORDS, 7)) for _ in range(count)]


def in_latin(text: str, language: str) -> str:
    """Return a text of a language in the letters of the first."""
    return text.translate({new: old for old, new in LETTERS[language].items()})


class ByScript:
    """Identifies a language by its script."""

    languages = LANGUAGES

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        codes = {language[4:8]: language for language in LANGUAGES}
        found = [scripts_of(line).most_common(1) for line in lines]
        return [
            Prediction(codes.get(counts[0][0], "und") if counts else "zxx", 0.9) for counts in found
        ]


def load_by_script(_: Path) -> ByScript:
    return ByScript()


def make(folder: Path) -> RunConfig:
    """Write shards with 100 sentences in all three languages among 80 others; return a recipe."""
    (folder / "lid").mkdir()
    (folder / "lid" / "model.bin").write_bytes(b"no model")
    seed = folder / "seed"
    seed.mkdir()
    for other in (CYRILLIC, GREEK):
        lines = "".join(f"{a}\t{a.translate(LETTERS[other])}\n" for a in sentences(300, 1))
        (seed / f"{LATIN}-{other}.tsv").write_text(lines, encoding="utf-8")
    bag = BagConfig(dimension=64, hidden=32, buckets=1 << 12, vocabulary_size=200)
    encoder = TrainEncoderConfig(bag=bag, epochs=6, batch_size=50, hard_negatives=0)
    run_train_encoder([seed], folder / "encoder", encoder)
    texts = [
        line.translate(LETTERS[language])
        for number, language in enumerate(LANGUAGES)
        for line in sentences(SHARED, 2) + sentences(OTHERS, 3 + number)
    ]
    random.Random(5).shuffle(texts)
    for shard in range(2):
        own = texts[shard::2]
        rows = [
            json.dumps({"text": "\n".join(own[i : i + 5]), "id": f"{shard}-{i}"})
            for i in range(0, len(own), 5)
        ]
        (folder / f"shard-{shard}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return RunConfig(
        shards=(str(folder / "shard-*.jsonl"),),
        lid=folder / "lid",
        encoder=folder / "encoder",
        workers=1,
        sentences=SentencesConfig(workers=1),
        embed=EmbedConfig(workers=1),
        filter=FilterConfig(max_length_ratio=3),
    )


def mine(output: Path, config: RunConfig) -> RunResult:
    return run_mining(output, config, load_by_script)


def files(output: Path) -> dict[str, bytes]:
    """Return every file but receipts, which hold times."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file() and "receipts" not in path.parts
    }
