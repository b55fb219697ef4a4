"""Loads damaged model files: `python -m tests.lid.fasttext_model.fuzz_model_file FILE FIRST LAST`.

Prints how many were refused, and how many were loaded and answered lines. Anything but a refusal
ends the process, after the seed of the file was printed to standard error.
"""

import random
import resource
import struct
import sys
import tempfile
from collections import Counter
from pathlib import Path

from corpus.errors import DataError
from lid.fasttext_model.bindings import FastTextModel
from lid.fasttext_model.model_file import read_fasttext_file

LINES = ["the water of the river", "вода реки", "</s>", "__label__b x", "a" * 300, "ß 中文 नदी"]
NUMBERS = (0, 1, -1, 2, 3, 4, 5, 7, 255, 256, 65_536, 10**6, 2**31 - 1, -(2**31))
MEMORY_BYTES = 4 << 30


def structure_of(path: Path) -> list[range]:
    """Return where the fields of a file are, as opposed to its weights and codes."""
    head = read_fasttext_file(path)
    size = path.stat().st_size
    spans = sorted((*head.input_floats.parts, *head.output_floats.parts))
    return [
        range(0, min(head.input_at + 8, size)),
        *(range(max(start - 17, 0), start) for start, _ in spans),
        *(range(start + 4 * n, min(start + 4 * n + 40, size)) for start, n in spans),
    ]


def mutate(data: bytes, fields: list[range], seed: int) -> bytes:
    chance = random.Random(seed)
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        places = chance.choice([field for field in fields if field])
        at = chance.choice(places) if chance.random() < 0.8 else chance.randrange(len(changed))
        at = min(at, len(changed) - 8)
        kind = chance.randrange(7)
        if kind <= 1:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            changed[at] = chance.randrange(256)
        elif kind == 3:
            # Fields lie at any offset: the dictionary's names have any length.
            struct.pack_into("<i", changed, at, chance.choice(NUMBERS))
        elif kind == 4:
            struct.pack_into("<q", changed, at, chance.choice(NUMBERS) * chance.choice((1, 2**32)))
        elif kind == 5:
            del changed[at : at + chance.randrange(1, 9)]
        else:
            changed[at:at] = chance.randbytes(chance.randrange(1, 9))
    return bytes(changed)


def main() -> None:
    path, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    data, fields = path.read_bytes(), structure_of(path)
    counts = Counter(refused=0, answered=0)
    with tempfile.TemporaryDirectory() as directory:
        damaged = Path(directory) / path.name
        for seed in range(first, last):
            sys.stderr.write(f"{seed}\n")
            damaged.write_bytes(mutate(data, fields, seed))
            try:
                model = FastTextModel(damaged)
            except DataError:
                counts["refused"] += 1
                continue
            numbers, scores = model.predict(LINES, 3)
            assert numbers.max() < len(model.labels)
            assert ((scores >= 0) & (scores <= 1)).all()
            counts["answered"] += 1
    sys.stdout.write(f"{counts['refused']} {counts['answered']}\n")


if __name__ == "__main__":
    main()
