"""Writes small models of every kind that fastText knows: `python -m ...make_models DIRECTORY`."""

import sys
from pathlib import Path

import fasttext

from tests.lid.conftest import WORDS, make_sentences

SMALL = {"dim": 8, "epoch": 2, "thread": 11, "bucket": 300, "verbose": 0}
KINDS = {
    "ngrams": {"minn": 2, "maxn": 4, "minCount": 2_000_000_000, "loss": "softmax"},
    "words": {"minn": 0, "maxn": 0, "wordNgrams": 1, "loss": "softmax"},
    "hierarchical": {"minn": 2, "maxn": 3, "wordNgrams": 2, "loss": "hs"},
    "negative": {"minn": 2, "maxn": 3, "loss": "ns"},
    "one-versus-all": {"minn": 2, "maxn": 3, "loss": "ova"},
    "many-labels": {"minn": 2, "maxn": 3, "loss": "softmax"},
}


def main() -> None:
    directory = Path(sys.argv[1])
    text = directory / "train.txt"
    lines = [f"__label__{name} {line}" for name in WORDS for line in make_sentences(name, 40)]
    text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    # A matrix needs 256 rows to be quantized, the labels' too.
    many = directory / "many.txt"
    lines = [f"__label__l{n} {line}" for n, line in enumerate(make_sentences("eng_Latn", 300))]
    many.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, options in KINDS.items():
        source = many if name == "many-labels" else text
        model = fasttext.train_supervised(str(source), **SMALL, **options)
        model.save_model(str(directory / f"{name}.bin"))
    for name, options in {
        "ngrams": {"qnorm": True, "dsub": 2},
        "many-labels": {"qnorm": False, "dsub": 3, "qout": True},
        "hierarchical": {"qnorm": True, "dsub": 3, "cutoff": 300},
    }.items():
        model = fasttext.load_model(str(directory / f"{name}.bin"))
        model.quantize(retrain=False, **options)
        model.save_model(str(directory / f"{name}.ftz"))


if __name__ == "__main__":
    main()
