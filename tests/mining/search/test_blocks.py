"""A language pair that is searched in blocks: the same bitext, whatever the blocks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from corpus.errors import BudgetSpent, JobError, ShareDone
from corpus.jobs import LOCAL, WithinBudget
from corpus.jobs.executors.slurm_array import ArrayExecutor
from corpus.languages import Direction
from mining.search import blocks
from mining.search.blocks import SEARCH_JOB
from mining.search.config import MineConfig
from mining.search.mine import run_mine, run_mine_pairs
from mining.search.mine_calibrated import calibration_file
from mining.search.places import MinePlaces
from tests.mining.search.test_calibrate import known  # noqa: F401  (a fixture)
from tests.mining.search.test_mine import SOURCE, TARGET, vectors, write_corpus, write_language
from tests.receipts import finished_tasks

PAIR = f"{SOURCE}-{TARGET}"


def letters(number: int) -> str:
    """Return a text of its own for each number: digits do not tell sentences apart."""
    return chr(ord("a") + number // 26) + chr(ord("a") + number % 26)


def write_texts(folder: Path, sources: int, targets: int) -> None:
    """Translations, then others; every vector stands twice, so that many cosines are equal."""
    meaning = np.repeat(vectors(40, 1), 2, axis=0)
    said = meaning + 0.25 * np.repeat(vectors(40, 2), 2, axis=0)
    for language, matrix, count in ((SOURCE, meaning, sources), (TARGET, said, targets)):
        unit = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True))[:count]
        texts = [f"{language} {letters(number)}" for number in range(count)]
        write_language(folder, language, texts, unit.astype(np.float32), 2)


def mine(folder: Path, output: str, size: int, known: Path | None = None) -> dict[str, bytes]:  # noqa: F811
    """Mine in blocks of so many sentences; return the files that come of it."""
    path = folder / output / f"{PAIR}.parquet"
    config = MineConfig(margin_threshold=None if known else 1.0, block_sentences=size)
    run_mine(folder / "sentences", folder / "embeddings", SOURCE, TARGET, path, config, known)
    return {file.name: file.read_bytes() for file in (path, calibration_file(path))}


def tasks_of(folder: Path) -> int:
    return len(finished_tasks(folder, SEARCH_JOB))


def test_bitext_is_the_same_for_one_block_and_for_two_and_seven(tmp_path: Path) -> None:
    write_texts(tmp_path, 70, 10)
    whole = mine(tmp_path, "whole", 70)
    assert tasks_of(tmp_path / "whole") == 0
    assert set(whole) == {f"{PAIR}.parquet", f"{PAIR}.calibration.json"}
    for size, count in ((35, 2), (10, 7)):
        assert mine(tmp_path, str(count), size) == whole
        assert tasks_of(tmp_path / str(count)) == count
        assert not (tmp_path / str(count) / ".search").exists()


@pytest.mark.parametrize("size", [60, 31, 7])
def test_copies_and_blocks_that_they_leave_empty_change_nothing(tmp_path: Path, size: int) -> None:
    write_corpus(tmp_path, shards=3, repeat=True)
    assert mine(tmp_path, "blocks", size) == mine(tmp_path, "whole", 1000)


def test_blocks_are_calibrated_with_known_pairs_as_the_whole_is(
    tmp_path: Path,
    known: Path,  # noqa: F811
) -> None:
    write_corpus(tmp_path)
    assert mine(tmp_path, "blocks", 25, known) == mine(tmp_path, "whole", 1000, known)


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Return what lets the search of a block be interrupted, and lists those that were searched."""
    search = blocks.find_neighbors

    def stop_at(number: int) -> list[int]:
        searched: list[int] = []

        def find(*arguments: object) -> object:
            if len(searched) == number:
                raise KeyboardInterrupt
            searched.append(len(searched))
            return search(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(blocks, "find_neighbors", find)
        return searched

    return stop_at


def test_interrupted_search_goes_on_with_the_blocks_that_are_left(
    tmp_path: Path, stopping: Callable[[int], list[int]]
) -> None:
    write_texts(tmp_path, 70, 30)
    whole = mine(tmp_path, "whole", 1000)
    stopping(9)
    with pytest.raises(KeyboardInterrupt):
        mine(tmp_path, "blocks", 10)
    searched = stopping(1000)
    assert mine(tmp_path, "blocks", 10) == whole
    assert len(searched) == 21 - 9
    assert mine(tmp_path, "blocks", 10) == whole
    assert len(searched) == 21 - 9


def test_another_threshold_does_not_search_again(
    tmp_path: Path, stopping: Callable[[int], list[int]]
) -> None:
    write_texts(tmp_path, 20, 20)
    arguments = tmp_path / "sentences", tmp_path / "embeddings", SOURCE, TARGET
    output = tmp_path / "out" / f"{PAIR}.parquet"
    with pytest.raises(JobError, match="too few to calibrate"):
        run_mine(*arguments, output, MineConfig(target_precision=0.9, block_sentences=10))
    searched = stopping(1000)
    run_mine(*arguments, output, MineConfig(margin_threshold=1.0, block_sentences=10))
    assert not searched
    assert output.is_file()


def test_damaged_part_is_named_with_the_remedy(tmp_path: Path) -> None:
    write_texts(tmp_path, 20, 20)
    arguments = tmp_path / "sentences", tmp_path / "embeddings", SOURCE, TARGET
    output = tmp_path / "out" / f"{PAIR}.parquet"
    with pytest.raises(JobError):
        run_mine(*arguments, output, MineConfig(target_precision=0.9, block_sentences=10))
    part = next((tmp_path / "out" / ".search").rglob("*.safetensors"))
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    config = MineConfig(margin_threshold=1.0, block_sentences=10)
    with pytest.raises(JobError, match=r"\.safetensors is damaged.*Delete it"):
        run_mine(*arguments, output, config)
    part.unlink()
    run_mine(*arguments, output, config)
    assert {output.read_bytes()} <= set(mine(tmp_path, "whole", 1000).values())


def test_ranks_of_an_array_share_the_blocks(tmp_path: Path) -> None:
    write_texts(tmp_path, 70, 10)
    whole = mine(tmp_path, "whole", 1000)
    output = tmp_path / "out" / f"{PAIR}.parquet"
    arguments = tmp_path / "sentences", tmp_path / "embeddings", SOURCE, TARGET, output
    config = MineConfig(margin_threshold=1.0, block_sentences=10)
    with pytest.raises(ShareDone, match="run the command again"):
        run_mine(*arguments, config, executor=ArrayExecutor(0, 2))
    assert tasks_of(output.parent) == 4
    with pytest.raises(ShareDone):  # the second rank ends the search, and the pair is the first's
        run_mine(*arguments, config, executor=ArrayExecutor(1, 2))
    assert tasks_of(output.parent) == 7
    run_mine(*arguments, config, executor=ArrayExecutor(0, 2))
    assert output.read_bytes() == whole[output.name]
    run_mine(*arguments, config, executor=ArrayExecutor(1, 2))


def test_budget_that_ends_the_search_names_the_pairs(tmp_path: Path) -> None:
    write_texts(tmp_path, 20, 20)
    places = MinePlaces(tmp_path / "sentences", tmp_path / "embeddings", tmp_path / "out")
    config = MineConfig(margin_threshold=1.0, block_sentences=10)
    direction = [Direction(SOURCE, TARGET)]
    with pytest.raises(BudgetSpent) as spent:
        run_mine_pairs(places, direction, config, executor=WithinBudget(LOCAL, (), 0.0))
    assert (spent.value.job, spent.value.left) == ("mine", (PAIR,))
    run_mine_pairs(places, direction, config)
    output = tmp_path / "out" / f"{PAIR}.parquet"
    assert output.read_bytes() == mine(tmp_path, "whole", 1000)[output.name]


def test_block_that_fails_leaves_the_other_pairs(tmp_path: Path) -> None:
    third = "qad_Arab"
    write_texts(tmp_path, 20, 20)
    write_language(tmp_path, third, [letters(number) for number in range(20)], vectors(20, 5), 1)
    path = tmp_path / "embeddings" / third / "000.npy"
    np.save(path, np.load(path)[:-1])
    places = MinePlaces(tmp_path / "sentences", tmp_path / "embeddings", tmp_path / "out")
    directions = [Direction(SOURCE, third), Direction(SOURCE, TARGET)]
    config = MineConfig(margin_threshold=1.0, block_sentences=10)
    with pytest.raises(JobError, match=r"search: 4 of 8 shards failed(?s:.)*19 rows"):
        run_mine_pairs(places, directions, config)
    output = tmp_path / "out" / f"{PAIR}.parquet"
    assert output.read_bytes() == mine(tmp_path, "whole", 1000)[output.name]
