"""Scores of `tongues eval learned` beside those of the published implementations, by segment.

    python benchmarks/learned_metrics.py --flores DIR --work DIR [--metricx DIR] [--families NAME …]

Each published implementation runs in an environment of its own, WORK/environments/<family>, which
uv builds where it is not there: unbabel-comet for COMET, CometKiwi and XCOMET, sonar-space for
SONAR and BLASER 2.0, and the versions that google-research/metricx names for MetricX-24. METRICX is
a checkout of that repository, which is no package. The published classes write random small
checkpoints (learned_metrics_published.py), this package reads them, and both score the same texts:
lines of FLORES-200 in five scripts with noise, and odd ones: empty, very long, with special tokens.
Prints a table of the largest differences; exits 1 if one is above 1e-4. sonar-space needs
libsndfile.so.1; LD_LIBRARY_PATH may name its directory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import transformers

from corpus.files import read_lines, write_lines
from corpus.languages import Direction
from eval.learned_models.load import load_scorer
from eval.learned_models.metrics import LEARNED

ENVIRONMENTS = {
    "comet": ["unbabel-comet==2.2.7", "transformers==4.57.6", "setuptools<81"],
    "sonar": ["sonar-space==0.5.0", "setuptools<81"],
    # accelerate, protobuf, torch, numpy, pandas, pyarrow and fsspec: of the time of the others.
    "metricx": [
        "transformers==4.30.2", "sentencepiece==0.1.99", "datasets==2.13.1", "accelerate==0.23.0",
        "protobuf<4", "torch==2.2.2", "numpy<2", "pandas<3", "pyarrow<15", "fsspec<2023.10",
        "setuptools<81",
    ],
}  # fmt: skip
PYTHON = "3.11"
"""Which every one of them has wheels for."""
TARGETS = ["fra_Latn", "ben_Beng", "arb_Arab", "zho_Hans", "amh_Ethi"]
LINES = 40
TOLERANCE = 1e-4
EQUAL = 1e-4
"""Difference of two segmentations' log-probabilities, which are 32-bit sums."""
POSITIONS = 130
"""Of the small XLM-R: short, so that texts are cut."""


def main() -> int:
    """Compare; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flores", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--metricx", type=Path)
    parser.add_argument("--families", nargs="+", choices=list(ENVIRONMENTS))
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    families = arguments.families or [
        family for family in ENVIRONMENTS if family != "metricx" or arguments.metricx
    ]
    if "metricx" in families and not arguments.metricx:
        parser.error("MetricX-24 needs --metricx")
    texts = write_texts(arguments.flores, work)
    write_tokenizers(work)
    ties = find_ties(work / "fairseq.model", texts)
    print("| checkpoint | segments | largest difference | standard deviation |\n|---|---|---|---|")
    worst = 0.0
    for family in families:
        run_published(family, work, arguments.metricx)
        cases = json.loads((work / f"{family}.json").read_text(encoding="utf-8"))
        for name, case in cases.items():
            published = np.concatenate(case["scores"])
            difference = np.abs(score(case, texts) - published)
            clear = ~ties if family == "sonar" else np.ones(len(published), dtype=bool)
            worst = max(worst, float(difference[clear].max()))
            found = f"{difference[clear].max():.1e}"
            if not clear.all():
                found += f" ({difference[~clear].max():.1e} of {(~clear).sum()} ties)"
            print(f"| {name} | {len(published)} | {found} | {published.std():.2f} |")
    return int(worst > TOLERANCE)


def write_texts(flores: Path, work: Path) -> list[dict[str, Any]]:
    """Write the segments to score, English into each target, and return them."""
    chance = random.Random(3)

    def lines(language: str) -> list[str]:
        return read_lines(flores / "devtest" / f"{language}.devtest")[:LINES]

    texts = []
    for target in TARGETS:
        sources, references = lines("eng_Latn"), lines(target)
        hypotheses = [add_noise(line, chance) for line in references]
        long = [" ".join(side) for side in (sources, hypotheses, references)]
        odd = [
            ("", hypotheses[0], references[0]), (sources[1], "", references[1]),
            (sources[2], hypotheses[2], ""), ("", "", ""), (" ", "\u00a0", "\t x"),
            ("</s> a <pad>", "<s>b</s>", "<unk> __fra_Latn__ ▁"), ("x" * 900, "😀 \u200b", "ﬁ"),
            (long[0], long[1], long[2]), (sources[3], long[1], references[3]),
        ]  # fmt: skip
        texts.append(
            {
                "source": "eng_Latn", "target": target,
                "sources": sources + [row[0] for row in odd],
                "hypotheses": hypotheses + [row[1] for row in odd],
                "references": references + [row[2] for row in odd],
            }
        )  # fmt: skip
    work.mkdir(parents=True, exist_ok=True)
    (work / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    write_lines(work / "train.txt", [line for one in ["eng_Latn", *TARGETS] for line in lines(one)])
    return texts


def add_noise(line: str, chance: random.Random) -> str:
    """Return a line without a stretch of it, and a character in another place."""
    begin = chance.randrange(max(1, len(line) - 9))
    cut = line[:begin] + line[begin + 9 :]
    return cut[::-1][:5] + cut if chance.random() < 0.3 else cut


def write_tokenizers(work: Path) -> None:
    """Write the encoders' tokenizers and configurations in the published layouts."""
    common = {"input": str(work / "train.txt"), "character_coverage": 0.995, "minloglevel": 2}
    order = {"fairseq": {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1},
             "t5": {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}}  # fmt: skip
    for name, ids in order.items():
        sentencepiece.SentencePieceTrainer.train(
            model_prefix=str(work / name), vocab_size=900, **ids, **common
        )
    sizes = {
        "vocab_size": 1000, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
        "intermediate_size": 24, "max_position_embeddings": POSITIONS, "type_vocab_size": 1,
        "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "initializer_range": 0.5,
        "layer_norm_eps": 1e-5,
    }  # fmt: skip
    for name, kind in (
        ("xlm-r", transformers.XLMRobertaConfig), ("xlm-r-xl", transformers.XLMRobertaXLConfig)
    ):  # fmt: skip
        kind(**sizes).save_pretrained(work / name)
        transformers.XLMRobertaTokenizerFast(
            vocab_file=str(work / "fairseq.model"), model_max_length=POSITIONS - 2
        ).save_pretrained(work / name)
    copies = {
        "sonar/sentencepiece.source.256000.model": "fairseq.model", "metricx/spiece.model":
        "t5.model",
    }  # fmt: skip
    for path, model in copies.items():
        (work / path).parent.mkdir(exist_ok=True)
        (work / path).write_bytes((work / model).read_bytes())
    # As beside google/mt5-xl.
    tokens = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    (work / "metricx" / "special_tokens_map.json").write_text(json.dumps(tokens), encoding="utf-8")
    settings = {**tokens, "extra_ids": 0, "additional_special_tokens": None}
    (work / "metricx" / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def find_ties(model: Path, texts: Sequence[dict[str, Any]]) -> np.ndarray:
    """Return which segments have a text with two best segmentations of equal score, [N].

    fairseq2n has SentencePiece 0.1.99 built in, which takes another of them than later versions:
    of three quotation marks, the pair comes first or last.
    """
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))

    def is_tie(text: str) -> bool:
        best = pieces.nbest_encode(text, nbest_size=2, return_type="proto").nbests
        return len(best) > 1 and abs(best[0].score - best[1].score) < EQUAL

    return np.array(
        [
            any(map(is_tie, row))
            for one in texts
            for row in zip(one["sources"], one["hypotheses"], one["references"], strict=True)
        ]
    )


def run_published(family: str, work: Path, metricx: Path | None) -> None:
    """Build the environment where it is not there, and run the published side in it."""
    folder = work / "environments" / family
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run(["uv", "venv", "-q", "-p", PYTHON, str(folder)], check=True)
        install = ["uv", "pip", "install", "-q", "--python", str(python)]
        subprocess.run([*install, *ENVIRONMENTS[family]], check=True)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(work / "cache")}
    environment.pop("PYTHONPATH", None)
    script = Path(__file__).with_name("learned_metrics_published.py")
    command = [str(python), str(script), family, str(work)]
    if metricx is not None:
        command.append(str(metricx.resolve()))
    subprocess.run(command, env=environment, check=True, stdout=sys.stderr)


def score(case: dict[str, Any], texts: Sequence[dict[str, Any]]) -> np.ndarray:
    """Return this package's scores of all segments, [N]."""
    scorer = load_scorer(
        case["metric"], Path(case["checkpoint"]), Path(case["encoder"]), device="cpu",
        dtype="float32", batch_tokens=4_000,
    )  # fmt: skip
    return np.concatenate(
        [
            scorer.score(
                Direction(one["source"], one["target"]),
                one["sources"],
                one["hypotheses"],
                one["references"] if LEARNED[case["metric"]].needs_reference else None,
            )
            for one in texts
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
