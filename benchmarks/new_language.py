"""What a model gains from a language more, and what its other languages lose.

    python benchmarks/new_language.py --work DIR [--pairs 100,500,2000] [--systems scratch,tuned]

Constructed languages as in `moe_ablation.py`: a model of a pivot and five others, from and into the
pivot; the seventh comes with some pairs, of which it has seen none. Its vocabulary is the model's,
extended by its text. Systems:

- scratch: fresh weights, the new pairs alone;
- joint: fresh weights, the new pairs and the bitext of the model, as many updates as the model had;
- tuned: from the model, the new pairs alone, defaults of `start_from`;
- tuned with a remedy each: penalty, averages, lora, replay (the model's translations of as many
  sentences of its own bitext as there are new pairs, in each direction).

Printed: chrF++ on devtest into and from the new language, and the mean over the other directions,
with its difference from the model's. A finished cell is kept.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
from pathlib import Path

import moe_ablation as ablation
import torch

from corpus.config import load_config
from corpus.files import read_json, read_lines, write_json, write_lines
from eval.metrics.metrics import score_chrf
from nmt.extend import MEASURES_FILE, NewLanguage, extend_model
from nmt.training.config import TrainConfig
from nmt.training.train import train
from nmt.translation.decoding.config import TranslateConfig
from nmt.translation.distill import distill_bitext
from nmt.translation.translate_files import translate_flores
from nmt.vocabulary.config import ExtendConfig

PIVOT, NEW, LIKE = ablation.PIVOT, "qag_Cyrl", "qac_Cyrl"
OLD = {"qac_Cyrl": 6000, "qae_Deva": 6000, "qab_Latn": 2000, "qah_Arab": 2000, "qai_Deva": 2000}
MOST = 4000
UPDATES, SCRATCH_UPDATES = 4000, 1500
SYSTEMS = ("scratch", "joint", "tuned", "penalty", "averages", "lora", "replay")
REMEDIES: dict[str, dict[str, object]] = {
    "tuned": {},
    "penalty": {"start_penalty": 5.0},
    "averages": {"comparison": {"averages": [0.25, 0.5, 0.75]}},
    "lora": {"lora": {"rank": 8, "also": ["embeddings"]}},
    "replay": {},
}


def main() -> None:
    """Train what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--pairs", default="100,500,2000")
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--updates", type=int, default=UPDATES, help="Of the model.")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(1)
    work, systems = arguments.work, arguments.systems.split(",")
    write_data(work)
    run(work, "model", recipe_from_scratch(work, [work / "data" / "bitext"], arguments.updates))
    rows = []
    for pairs in map(int, arguments.pairs.split(",")):
        extend(work, pairs)
        for system in systems:
            recipe = recipe_of(work, system, pairs, arguments.updates)
            rows.append((pairs, system, run(work, f"{system}-{pairs}", recipe)))
    print_table(work, rows)


def write_data(work: Path) -> None:
    """Write the data of the model with its vocabulary, and apart from it the new language's."""
    ablation.write_data(work / "drawn", {"all": {**OLD, NEW: MOST}})
    (work / "data").mkdir(parents=True, exist_ok=True)
    drawn = work / "drawn" / "data"
    for code in OLD:
        lines = read_lines(drawn / "bitext" / f"{PIVOT}-{code}.tsv")
        write_lines(work / "data" / "bitext" / f"{PIVOT}-{code}.tsv", lines)
    if not (work / "vocabulary" / "vocabulary.json").is_file():
        config = ablation.VocabularyConfig(size=ablation.PIECES)
        ablation.train_vocabulary([work / "data" / "bitext"], work / "vocabulary", config)


def new_directory(work: Path, pairs: int) -> Path:
    """Return where the pairs of the new language are, and what is made of them."""
    return work / f"new-{pairs}"


def extend(work: Path, pairs: int) -> None:
    """Write so many pairs of the new language, and the model extended by their text."""
    folder = new_directory(work, pairs)
    lines = read_lines(work / "drawn" / "data" / "bitext" / f"{PIVOT}-{NEW}.tsv")[:pairs]
    write_lines(folder / "bitext" / f"{PIVOT}-{NEW}.tsv", lines)
    write_lines(folder / "text" / f"{NEW}.txt", [line.split("\t")[1] for line in lines])
    config = ExtendConfig(
        flores=work / "drawn" / "data" / "flores", min_count=3, tokens_per_character=0.3
    )
    model = work / "cells" / "model" / "model"
    extend_model(model, [NewLanguage(NEW, LIKE)], folder / "text", folder / "model", config)
    logging.info("%d pairs: %s", pairs, read_json(folder / "model" / MEASURES_FILE))
    if not (folder / "replay.done").exists():
        for code in OLD:
            own = read_lines(work / "data" / "bitext" / f"{PIVOT}-{code}.tsv")[:pairs]
            write_lines(folder / "sources" / f"{PIVOT}-{code}.tsv", own)
        translate = TranslateConfig(threads=1, beam_size=ablation.BEAM_SIZE)
        distill_bitext(model, folder / "sources", (), folder / "replay", translate)
        write_lines(folder / "replay.done", [])


def recipe_from_scratch(work: Path, bitext: list[Path], updates: int) -> dict[str, object]:
    """Return a training with fresh weights."""
    return {
        **ablation.TRAIN,
        "model": {**ablation.TRAIN["model"], **ablation.EXPERTS},
        "batches": {"max_tokens": 600, "max_length": 64, "temperature": 5.0},
        "optimizer": {
            "learning_rate": 0.003,
            "warmup_updates": updates // 20,
            "schedule": "linear",
        },
        "updates": updates,
        "checkpoint_every": 125,
        "validate_every": 125,
        "flores": str(work / "drawn" / "data" / "flores"),
        "vocabulary": str(work / "vocabulary"),
        "bitext": {"primary": [str(path) for path in bitext]},
    }


def recipe_of(work: Path, system: str, pairs: int, updates: int) -> dict[str, object]:
    """Return the training of a system on so many pairs."""
    folder = new_directory(work, pairs)
    bitext = [folder / "bitext"]
    if system in ("scratch", "joint"):
        if system == "joint":
            bitext.append(work / "data" / "bitext")
        most = updates if system == "joint" else min(updates, SCRATCH_UPDATES)
        recipe = recipe_from_scratch(work, bitext, most)
        recipe["vocabulary"] = str(folder / "model" / "vocabulary")
        recipe["selection"] = {"keep": "best", "patience": 6}
        return recipe
    recipe = {
        "start_from": str(folder / "model"),
        "flores": str(work / "drawn" / "data" / "flores"),
        "bitext": {"primary": [str(path) for path in bitext]},
        "batches": {"max_tokens": 600, "max_length": 64},
        "validation_sentences": 25,
        "chrf": {"sentences": 0},
        "threads": 1,
        "compute": {"peak_teraflops": 0.1, "tensorboard": False},
        **REMEDIES[system],
    }
    if system == "replay":
        recipe["bitext"] = {**recipe["bitext"], "distilled": [str(folder / "replay")]}  # type: ignore[dict-item]
    return recipe


def run(work: Path, name: str, recipe: dict[str, object]) -> dict[str, float]:
    """Train, translate devtest in all directions that the model knows, and score; once."""
    cell = work / "cells" / name
    if not (cell / "result.json").exists():
        begin = time.process_time()
        train(
            load_config(TrainConfig, None, overrides(recipe)), cell / "model", load_scorer=_scorer
        )
        seconds = time.process_time() - begin
        flores = work / "drawn" / "data" / "flores"
        config = TranslateConfig(threads=1, beam_size=ablation.BEAM_SIZE)
        translate_flores(cell / "model", flores, "devtest", (), cell / "hypotheses", config)
        scores = {"seconds": seconds}
        for path in sorted((cell / "hypotheses").glob("*.txt")):
            target = path.stem.split("-")[1]
            references = read_lines(flores / "devtest" / f"{target}.devtest")
            scores[path.stem] = score_chrf(read_lines(path), references)
        write_json(cell / "result.json", scores)
    result: dict[str, float] = read_json(cell / "result.json")
    return result


def _scorer() -> object:
    return score_chrf


def overrides(recipe: dict[str, object]) -> list[str]:
    """Return a recipe as `key=value`."""
    return [f"{key}={json.dumps(value)}" for key, value in recipe.items()]


def print_table(work: Path, rows: list[tuple[int, str, dict[str, float]]]) -> None:
    """Print chrF++ of the new language both ways, and of the others with the loss."""
    old = others(read_json(work / "cells" / "model" / "result.json"))
    print(f"The model: {old:.1f} chrF++, mean of its directions.\n")
    print("| pairs | system | into | from | others | lost | CPU s |\n|" + "---|" * 7)
    for pairs, system, result in rows:
        into, back = (result.get(f"{a}-{b}", 0.0) for a, b in ((PIVOT, NEW), (NEW, PIVOT)))
        kept = others(result)
        lost = "– | –" if kept is None else f"{kept:.1f} | {old - kept:+.1f}"
        print(
            f"| {pairs} | {system} | {into:.1f} | {back:.1f} | {lost} | {result['seconds']:.0f} |"
        )


def others(result: dict[str, float]) -> float | None:
    """Return the mean over directions without the new language; None without any."""
    own = [score for name, score in result.items() if name != "seconds" and NEW not in name]
    return statistics.mean(own) if own else None


if __name__ == "__main__":
    main()
