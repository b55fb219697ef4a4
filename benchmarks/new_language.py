"""What a model gains from a language more, and what its other languages lose.

    python benchmarks/new_language.py --work DIR --data DIR [--pairs 100,500,2000]
    python benchmarks/new_language.py --work DIR --world multi30k --data DIR [--model DIR]

A model meets a language of which it has seen nothing and of which there are some pairs. Two worlds:
`constructed`, ten constructed languages (`--data`, what `tongues data constructed` wrote, of which
the seed bitext is used) and an eleventh, a relative of their pivot, in sentences of at most six
words; `multi30k`, English, German and French of Multi30k (`--data`, its lines in
`train.<language>.txt.gz`, `val.*`, `test_2016_flickr.*`), of which the last 10,000 captions are
left to Czech. The model is trained here, or `--model`. Systems:

- scratch: fresh weights of a small dense model, a vocabulary of the new pairs and nothing else;
  update by validation loss;
- joint: fresh weights, the new pairs and the bitext of the model, as many updates as the model had;
- tuned: the model extended by the new text (`nmt extend`), then the new pairs alone; with the
  defaults of `start_from` in the constructed world, in the other one with those of
  recipes/real/czech.yaml, found on `val`;
- the same with a remedy: `penalty` (L2 to the start), `averages` (of start and end), `lora`,
  `replay` (the model's own translations of `REPLAYED` sentences a direction, half of each batch),
  `replay+limit` (the best update among those that lost at most 1 chrF++ there), `replay+kl` (its
  distributions as well), `replay+averages`, `pairs` (replay of the model's own training pairs, both
  orders, where they are still at hand), `pairs+averages`, `pairs+rate` (at the rate of the model's
  own training).

Choices are made on validation sentences: the update on `dev`, the average on `devtest`. Printed:
chrF++ on `test`, which nothing else reads, into and from the new language, and the mean over up to
six other directions with its difference from the model's. What is done is kept; an unfinished
training resumes from its last checkpoint.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import logging
import statistics
import time
from pathlib import Path
from typing import Any

import moe_ablation as ablation
import torch

from corpus.config import load_config
from corpus.constructed import concepts
from corpus.constructed.generate import ConstructedWorld
from corpus.constructed.grammar import Speaker
from corpus.constructed.languages import FAMILIES, LANGUAGES, PIVOT
from corpus.constructed.lexicon import make_lexicon, make_names, make_roots
from corpus.constructed.meaning import MeaningGenerator
from corpus.files import read_json, read_lines, write_json, write_lines
from corpus.languages import Direction
from eval.metrics.metrics import score_chrf
from nmt.extend import MEASURES_FILE, NewLanguage, extend_model
from nmt.model.directory import read_description
from nmt.training.config import TrainConfig
from nmt.training.train import train
from nmt.translation.decoding.config import DistillBitextConfig, TranslateConfig
from nmt.translation.distill import distill_bitext
from nmt.translation.translate_files import translate_flores
from nmt.vocabulary.config import ExtendConfig, VocabularyConfig
from nmt.vocabulary.train import train_vocabulary


def tuning(*, updates: int, learning_rate: float, dropout_p: float) -> dict[str, Any]:
    """Return settings of recipes/real/czech.yaml, for so many updates."""
    return {
        "optimizer": {"learning_rate": learning_rate, "warmup_updates": 100, "schedule": "linear"},
        "model": {"dropout_p": dropout_p},
        "selection": {"keep": "last"},
        "updates": updates,
        "validate_every": updates // 2,
        "checkpoint_every": updates // 2,
        "report_every": 100,
    }


@dataclasses.dataclass(frozen=True)
class World:
    """Languages, their data and the trainings that fit them."""

    pivot: str
    new: str
    old: dict[str, None]
    """The model's other languages."""

    pieces: int
    model: dict[str, object]
    batches: dict[str, object]
    learning_rate: float
    updates: int
    """Of the model, and of joint training."""

    scratch: dict[str, object]
    """Model from the new pairs alone."""

    scratch_updates: int
    tuning: dict[int, dict[str, Any]]
    """Settings of fine-tuning by the number of pairs; the defaults where it is missing.

    `updates` are those with replay, which has half of each batch: without it half as many see the
    pairs as often.
    """

    validate_every: int
    validation_sentences: int
    extend: dict[str, object]


CONSTRUCTED = World(
    pivot="qaa_Latn",
    new="qak_Cyrl",
    old=dict.fromkeys(language.code for language in LANGUAGES if language is not PIVOT),
    pieces=3000,
    model={"size": "small", "dropout_p": 0.0},
    batches={"max_tokens": 1500, "max_length": 64},
    learning_rate=0.002,
    updates=3600,
    scratch={"size": "tiny", "num_experts": 0, "dropout_p": 0.1},
    scratch_updates=400,
    tuning={2000: {"max_updates": 1500}},  # for the time it takes
    validate_every=20,
    validation_sentences=30,
    extend={"min_count": 3, "tokens_per_character": 0.4},
)  # fmt: skip
_LIKE = next(language for language in LANGUAGES if language.code == "qac_Cyrl")
ELEVENTH = dataclasses.replace(
    _LIKE,
    code=CONSTRUCTED.new,
    name="Kelnish",
    changes=(
        "p t k > b d g / V_V", "s > š / _i", "w > v", "h > 0", "a o > o a / VC_C", "l > r / _#",
        "V > 0 / VC_#",
    ),
    grammar=dataclasses.replace(_LIKE.grammar, clause="SVOMRPT", plural="-(e)m"),
)  # fmt: skip
MULTI30K = World(
    pivot="eng_Latn",
    new="ces_Latn",
    old=dict.fromkeys(("deu_Latn", "fra_Latn")),
    pieces=4000,
    model={"size": "small_dense", "dropout_p": 0.1},
    batches={"max_tokens": 1500, "max_length": 100},
    learning_rate=0.003,
    updates=4500,
    scratch={"size": "small_dense", "dropout_p": 0.3},
    scratch_updates=2000,
    tuning={
        500: tuning(updates=1200, learning_rate=0.002, dropout_p=0.2),
        2000: tuning(updates=1400, learning_rate=0.002, dropout_p=0.2),
        10_000: tuning(updates=1800, learning_rate=0.003, dropout_p=0.1),
    },
    validate_every=100,
    validation_sentences=100,
    extend={"min_count": 5},
)  # fmt: skip
WORLDS = {"constructed": CONSTRUCTED, "multi30k": MULTI30K}
MAX_NEW = {"constructed": 2000, "multi30k": 10_000}
LINES = {"dev": 100, "devtest": 100, "test": 120}
"""Of the constructed splits."""

BEAM_SIZE = 2
MAX_OTHERS = 6
REPLAYED = 400
"""Sentences of each direction of the model that it translates for replay."""

REMEDIES: dict[str, dict[str, Any]] = {
    "tuned": {},
    "penalty": {"start_penalty": 5.0},
    "averages": {"comparison": {"averages": [0.25, 0.5, 0.75]}},
    "lora": {"lora": {"rank": 8, "also": ["embeddings"]}},
    "replay": {},
    "replay+limit": {"selection": {"score": "chrf++"}, "chrf": {"sentences": 20}},
    "replay+kl": {"distillation": {"weight": 0.5, "top_k": 0}},
    "replay+averages": {"comparison": {"averages": [0.5, 0.75]}},
    "pairs": {},
    "pairs+averages": {"comparison": {"averages": [0.25, 0.4, 0.45, 0.5, 0.75]}},
    "pairs+rate": {"optimizer": {"learning_rate": 0.002}, "selection": {"keep": "last"}},
}
SYSTEMS = ("scratch", "joint", *REMEDIES)
HALVED = ("updates", "validate_every", "checkpoint_every")

logger = logging.getLogger(__name__)


def main() -> None:
    """Train what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--world", choices=tuple(WORLDS), default="constructed")
    parser.add_argument("--data", type=Path, required=True, help="Where the world's lines are.")
    parser.add_argument("--model", type=Path, default=None, help="Instead of training one.")
    parser.add_argument("--pairs", default="100,500,2000")
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--tuning-updates", type=int, default=None, help="Instead of the default.")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(1)
    work, world = arguments.work, WORLDS[arguments.world]
    if not (work / "data.done").exists():
        write = write_multi30k if arguments.world == "multi30k" else write_constructed
        write(world, arguments.data, work)
        write_lines(work / "data.done", [])
    cell = work / "cells" / "model"
    if arguments.model:
        model = arguments.model
        score(world, work, "model", model, 0.0)
    else:
        config = VocabularyConfig(size=world.pieces)
        train_vocabulary([work / "bitext"], work / "vocabulary", config)
        vocabulary = work / "vocabulary"
        recipe = recipe_from_scratch(world, work, [work / "bitext"], vocabulary, world.updates)
        for name in ("checkpoint_every", "validate_every", "report_every"):
            recipe[name] = world.updates // 5
        begin = time.process_time()
        if not (cell / "result.json").exists():
            train_once(cell, recipe)
        score(world, work, "model", cell / "model", time.process_time() - begin)
        model = cell / "model"
    rows = []
    for pairs in map(int, arguments.pairs.split(",")):
        extend(world, work, model, pairs)
        for system in arguments.systems.split(","):
            if system.startswith("pairs"):
                write_pairs(work)
            elif system.startswith("replay"):
                replay(work, model)
            recipe = recipe_of(world, work, system, pairs)
            if arguments.tuning_updates and "start_from" in recipe:
                recipe["updates"] = arguments.tuning_updates
            rows.append((pairs, system, run(world, work, f"{system}-{pairs}", recipe)))
            print_table(world, work, rows)


def write_constructed(world: World, data: Path, work: Path) -> None:
    """Write splits, bitext of the model's languages and pairs of a new constructed language.

    The words are those of the data's seed, the sentences others.
    """
    made = ConstructedWorld(ablation.DATA_SEED)
    names = make_names(made.random("names"), len(concepts.NAMES))
    family = FAMILIES[ELEVENTH.family]
    own = [language for language in LANGUAGES if language.family == family.name]
    words = concepts.all_words()
    roots = make_roots(family, own, words, made.random(f"roots {family.name}"))
    made.speakers[world.new] = Speaker(ELEVENTH, make_lexicon(ELEVENTH, roots, names))
    made._said[world.new] = set()
    made.meanings = MeaningGenerator(made.random("meanings of an eleventh language"), 1.0)
    languages = [world.pivot, *world.old, world.new]
    for split, size in LINES.items():
        for code, lines in short_sentences(made, size, languages).items():
            write_lines(work / "flores" / split / f"{code}.{split}", lines)
    new = short_sentences(made, MAX_NEW["constructed"], [world.pivot, world.new])
    pairs = zip(new[world.pivot], new[world.new], strict=True)
    name = f"{world.pivot}-{world.new}.tsv"
    write_lines(work / "new" / name, [f"{source}\t{target}" for source, target in pairs])
    for code in world.old:
        seed = read_lines(data / "seed" / f"{world.pivot}-{code}.tsv")
        write_lines(work / "bitext" / f"{world.pivot}-{code}.tsv", seed)


def short_sentences(
    made: ConstructedWorld, size: int, languages: list[str]
) -> dict[str, list[str]]:
    """Return so many sentences of few words in several languages, aligned."""
    chosen: list[dict[str, str]] = []
    while len(chosen) < size:
        said = made.say_new(size, languages)
        chosen += [one for one in said if ablation.is_short(one[languages[0]])]
    return {code: [one[code] for one in chosen[:size]] for code in languages}


def write_multi30k(world: World, data: Path, work: Path) -> None:
    """Write splits, the model's bitext and the new language's pairs of Multi30k.

    Updates are chosen on the first half of `val`, averages on some of the second. No caption of
    the new language is one of the model's.
    """
    train_lines: dict[str, list[str]] = {}
    for code in (world.pivot, *world.old, world.new):
        val = read_lines(data / f"val.{code}.txt")
        test = read_lines(data / f"test_2016_flickr.{code}.txt")
        splits = {"dev": val[:500], "devtest": val[500:700], "test": test}
        for split, lines in splits.items():
            write_lines(work / "flores" / split / f"{code}.{split}", lines)
        with gzip.open(data / f"train.{code}.txt.gz", "rt", encoding="utf-8") as file:
            train_lines[code] = file.read().rstrip("\n").split("\n")
    for code in (*world.old, world.new):
        pairs = zip(train_lines[world.pivot], train_lines[code], strict=True)
        lines = [f"{source}\t{target}" for source, target in pairs]
        is_new = code == world.new
        folder = work / ("new" if is_new else "bitext")
        new = MAX_NEW["multi30k"]
        chosen = lines[-new:] if is_new else lines[:-new]
        write_lines(folder / f"{world.pivot}-{code}.tsv", chosen)


def new_directory(work: Path, pairs: int) -> Path:
    """Return where the pairs of the new language are, and what is made of them."""
    return work / f"new-{pairs}"


def extend(world: World, work: Path, model: Path, pairs: int) -> None:
    """Write so many pairs of the new language, and the model extended by their text."""
    folder = new_directory(work, pairs)
    name = f"{world.pivot}-{world.new}.tsv"
    lines = read_lines(work / "new" / name)[:pairs]
    write_lines(folder / "bitext" / name, lines)
    text = [line.split("\t")[1] for line in lines]
    write_lines(folder / "text" / f"{world.new}.txt", text)
    train_vocabulary([folder / "bitext"], folder / "vocabulary", VocabularyConfig())
    config = load_config(
        ExtendConfig, None, overrides({"flores": str(work / "flores"), **world.extend})
    )
    extend_model(model, [NewLanguage(world.new, None)], folder / "text", folder / "model", config)
    logger.info("%d pairs: %s", pairs, read_json(folder / "model" / MEASURES_FILE))


def replay(work: Path, model: Path) -> None:
    """Write the model's own translations of some sentences of its languages, both orders; once."""
    if (work / "replay.done").exists():
        return
    for path in sorted((work / "bitext").glob("*.tsv")):
        write_lines(work / "replay-sources" / path.name, read_lines(path)[:REPLAYED])
    translate = DistillBitextConfig(threads=1, beam_size=BEAM_SIZE)
    distill_bitext(model, work / "replay-sources", (), work / "replay", translate)
    write_lines(work / "replay.done", [])


def write_pairs(work: Path) -> None:
    """Write the pairs that the model was trained on in both orders; replay is one way."""
    for path in sorted((work / "bitext").glob("*.tsv")):
        lines = read_lines(path)
        write_lines(work / "pairs" / path.name, lines)
        turned = "-".join(reversed(path.stem.split("-")))
        swapped = ["\t".join(reversed(line.split("\t"))) for line in lines]
        write_lines(work / "pairs" / f"{turned}.tsv", swapped)


def recipe_from_scratch(
    world: World, work: Path, bitext: list[Path], vocabulary: Path, updates: int
) -> dict[str, Any]:
    """Return a training with fresh weights."""
    return {
        "model": world.model,
        "batches": {**world.batches, "temperature": 5.0},
        "optimizer": {
            "learning_rate": world.learning_rate,
            "warmup_updates": updates // 20,
            "schedule": "linear",
        },
        "updates": updates,
        "checkpoint_every": world.validate_every,
        "validate_every": world.validate_every,
        "report_every": world.validate_every,
        **common(world, work, bitext),
        "vocabulary": str(vocabulary),
    }


def common(world: World, work: Path, bitext: list[Path]) -> dict[str, Any]:
    """Return what all trainings have in common."""
    return {
        "flores": str(work / "flores"),
        "bitext": {"primary": [str(path) for path in bitext]},
        "validation_sentences": world.validation_sentences,
        "chrf": {"sentences": 0},
        "comparison": {"sentences": 50},
        # Captions are alike: lines of the test set are left out, and no others.
        "data": {"evaluation_containment": 1.0 if world is MULTI30K else 0.5},
        "threads": 1,
        "compute": {"peak_teraflops": 0.1, "tensorboard": False},
    }


def recipe_of(world: World, work: Path, system: str, pairs: int) -> dict[str, Any]:
    """Return the training of a system on so many pairs."""
    folder = new_directory(work, pairs)
    bitext = [folder / "bitext"]
    if system in ("scratch", "joint"):
        if system == "joint":
            bitext.append(work / "bitext")
            vocabulary = folder / "model" / "vocabulary"
            recipe = recipe_from_scratch(world, work, bitext, vocabulary, world.updates)
            for name in ("checkpoint_every", "validate_every", "report_every"):
                recipe[name] = world.updates // 5
            recipe["selection"] = {"keep": "best"}
        else:
            most = world.scratch_updates
            recipe = recipe_from_scratch(world, work, bitext, folder / "vocabulary", most)
            # What a training from nothing needs with little data.
            recipe["model"] = world.scratch
            recipe["optimizer"] |= {"learning_rate": 0.003, "warmup_updates": 100}
            recipe["selection"] = {"keep": "best", "patience": 5}
        return recipe
    recipe = {
        "start_from": str(folder / "model"),
        **common(world, work, bitext),
        "batches": world.batches,
    }
    replayed = next((name for name in ("replay", "pairs") if system.startswith(name)), "")
    settings = dict(world.tuning.get(pairs, {}))
    if not replayed:
        settings |= {key: settings[key] // 2 for key in HALVED if key in settings}
    for key, value in [*settings.items(), *REMEDIES[system].items()]:
        recipe[key] = {**recipe.get(key, {}), **value} if isinstance(value, dict) else value
    if replayed:
        recipe["bitext"]["replay"] = [str(work / replayed)]
    return recipe


def run(world: World, work: Path, name: str, recipe: dict[str, Any]) -> dict[str, float]:
    """Train, and score; once."""
    cell = work / "cells" / name
    begin = time.process_time()
    if not (cell / "result.json").exists():
        train_once(cell, recipe)
    return score(world, work, name, cell / "model", time.process_time() - begin)


def train_once(cell: Path, recipe: dict[str, Any]) -> None:
    """Train a cell's model, or resume it."""
    config = load_config(TrainConfig, None, overrides(recipe))
    train(config, cell / "model", load_scorer=lambda: score_chrf)


def score(world: World, work: Path, name: str, model: Path, seconds: float) -> dict[str, float]:
    """Translate the test set, into and from the new language and in some other directions; once."""
    cell, flores = work / "cells" / name, work / "flores"
    if not (cell / "result.json").exists():
        new = [Direction(world.pivot, world.new), Direction(world.new, world.pivot)]
        known = read_description(model).directions
        old = sorted(direction for direction in known if world.new not in direction)
        count = min(MAX_OTHERS, len(old))
        directions = [direction for direction in new if direction in known]
        directions += [old[i * len(old) // count] for i in range(count)]
        translate = TranslateConfig(threads=1, beam_size=BEAM_SIZE)
        translate_flores(model, flores, "test", directions, cell / "hypotheses", translate)
        scores = {"seconds": seconds}
        for path in sorted((cell / "hypotheses").glob("*.txt")):
            target = path.stem.split("-")[1]
            references = read_lines(flores / "test" / f"{target}.test")
            scores[path.stem] = score_chrf(read_lines(path), references)
        write_json(cell / "result.json", scores)
    result: dict[str, float] = read_json(cell / "result.json")
    return result


def overrides(recipe: dict[str, Any]) -> list[str]:
    """Return a recipe as `key=value`."""
    return [f"{key}={json.dumps(value)}" for key, value in recipe.items()]


def print_table(world: World, work: Path, rows: list[tuple[int, str, dict[str, float]]]) -> None:
    """Print chrF++ of the new language both ways, and of the others with the loss."""
    old = others(world, read_json(work / "cells" / "model" / "result.json"))
    assert old is not None
    print(f"The model: {old:.1f} chrF++, mean of its directions.\n")
    print("| pairs | system | into | from | others | lost | CPU s |\n|" + "---|" * 7)
    for pairs, system, result in rows:
        new = (f"{world.pivot}-{world.new}", f"{world.new}-{world.pivot}")
        into, back = (result.get(direction, 0.0) for direction in new)
        kept = others(world, result)
        lost = "– | –" if kept is None else f"{kept:.1f} | {old - kept:+.1f}"
        print(
            f"| {pairs} | {system} | {into:.1f} | {back:.1f} | {lost} | {result['seconds']:.0f} |"
        )


def others(world: World, result: dict[str, float]) -> float | None:
    """Return the mean over directions without the new language; None without any."""
    own = [score for name, score in result.items() if name != "seconds" and world.new not in name]
    return statistics.mean(own) if own else None


if __name__ == "__main__":
    main()
