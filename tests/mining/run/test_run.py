"""`mining run`: shards to filtered bitext of all language pairs, in one command."""

import dataclasses
import json
import multiprocessing
import random
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from click.testing import CliRunner

from corpus.errors import DataError, JobError, ShareDone, UserError
from corpus.files import read_json
from corpus.jobs.executors.slurm_array import ArrayExecutor
from corpus.languages import Direction
from corpus.records import read_bitext
from mining.cli import group
from mining.run.config import RunConfig
from mining.run.language_pairs import choose_pairs
from mining.run.run import run_mining
from mining.search import language_vectors
from mining.search.config import MineConfig
from mining.search.mine import run_mine_pairs
from mining.search.places import MinePlaces
from tests.mining.run.made_shards import (
    CYRILLIC,
    GREEK,
    LATIN,
    SHARED,
    files,
    in_latin,
    load_by_script,
    make,
    mine,
)

PAIRS = [f"{LATIN}-{CYRILLIC}", f"{LATIN}-{GREEK}", f"{CYRILLIC}-{GREEK}"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return make(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def whole(recipe: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """An undisturbed run of all pairs, and the seconds that it took."""
    output = tmp_path_factory.mktemp("whole") / "out"
    started = time.monotonic()
    mine(output, recipe)
    return output, time.monotonic() - started


def test_translations_of_all_language_pairs_are_found(
    recipe: RunConfig, whole: tuple[Path, float]
) -> None:
    output, _ = whole
    result = mine(output, recipe)
    assert (sorted(result.pairs), result.left) == (PAIRS, ())
    for pair, found in result.pairs.items():
        source, target = pair.split("-")
        table = read_bitext(output / "bitext" / f"{pair}.parquet")
        columns = (table.column(name).to_pylist() for name in ("source", "target"))
        right = sum(
            in_latin(a, source) == in_latin(b, target) for a, b in zip(*columns, strict=True)
        )
        assert right >= 0.85 * SHARED, pair
        assert found["kept"] - right <= 0.4 * SHARED, pair
        assert found["source_sentences"] == 180
    page = (output / "report.html").read_text(encoding="utf-8")
    assert all(pair in page for pair in PAIRS)


def test_finished_run_does_nothing_again(
    recipe: RunConfig, whole: tuple[Path, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    output, _ = whole
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}

    def worked(*_: object, **__: object) -> None:
        raise AssertionError("a step was done again")

    for name in (
        "mining.encoders.embed.load_encoder",
        "mining.search.language_vectors.load_language",
    ):
        monkeypatch.setattr(name, worked)
    monkeypatch.setattr("mining.run.run.write_report", worked)
    mine(output, recipe)
    after = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
    assert {path.name for path in after if after[path] != before.get(path)} <= {".lock"}


def test_vectors_of_a_language_are_read_once_for_all_its_partners(
    recipe: RunConfig, whole: tuple[Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    load = language_vectors.load_language

    def counted(shards: list[Path], vectors: list[Path], *rest: object) -> object:
        read.append(vectors[0].parent.name)
        return load(shards, vectors, *rest)

    monkeypatch.setattr(language_vectors, "load_language", counted)
    language_vectors._load_once.cache_clear()
    places = MinePlaces(whole[0] / "sentences", whole[0] / "embeddings", tmp_path / "mined")
    directions = [Direction(*pair.split("-")) for pair in PAIRS]
    run_mine_pairs(places, directions, recipe.mine)
    assert sorted(read) == sorted({CYRILLIC, GREEK, LATIN})
    for pair in PAIRS:
        expected = whole[0] / "mined" / f"{pair}.parquet"
        assert (tmp_path / "mined" / f"{pair}.parquet").read_bytes() == expected.read_bytes()


def test_spent_budget_begins_nothing_more_and_says_what_was_left(
    recipe: RunConfig, whole: tuple[Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = dataclasses.replace(recipe, budget_core_hours=1e-9)
    result = mine(tmp_path / "out", none)
    assert (result.stopped_in, len(result.left), dict(result.pairs)) == ("extract", 1, {})
    assert not (tmp_path / "out" / "report.html").exists()
    # Enough for a pair, and for a bucket and a pair more: what was used is given.
    mine(tmp_path / "out", dataclasses.replace(recipe, pairs=(PAIRS[0],)))
    spent = iter([0.0, 0.0, 9e9])
    monkeypatch.setattr("corpus.jobs.budget.core_seconds", lambda _: next(spent))
    result = mine(tmp_path / "out", dataclasses.replace(recipe, budget_core_hours=1.0))
    assert (result.stopped_in, result.left) == ("mine", (PAIRS[2],))
    assert sorted(result.pairs) == PAIRS[:2]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Language pairs not mined" in page
    # A larger budget goes on with them, to what an undisturbed run gives.
    monkeypatch.undo()
    mine(tmp_path / "out", recipe)
    assert files(tmp_path / "out") == files(whole[0])


def test_ranks_of_a_slurm_array_do_the_steps_one_by_one_and_give_the_same_bytes(
    recipe: RunConfig, whole: tuple[Path, float], tmp_path: Path
) -> None:
    waits = 0
    for _ in range(6):  # as many arrays as a run may have stages
        for rank in range(2):
            executor = ArrayExecutor(rank, 2)
            try:
                run_mining(tmp_path / "out", recipe, load_by_script, executor)
            except ShareDone:
                waits += 1
    assert waits >= 4
    assert files(tmp_path / "out") == files(whole[0])


def test_pairs_are_a_list_a_pivot_or_all(recipe: RunConfig) -> None:
    found = {LATIN: 500, CYRILLIC: 900, GREEK: 500, "qae_Arab": 3}

    def chosen(**changes: object) -> list[str]:
        return [
            str(pair)
            for pair in choose_pairs(dataclasses.replace(recipe, **changes), found)  # type: ignore[arg-type]
        ]

    assert chosen() == [f"{CYRILLIC}-{LATIN}", f"{CYRILLIC}-{GREEK}", f"{LATIN}-{GREEK}"]
    assert chosen(pivot=GREEK) == [f"{GREEK}-{CYRILLIC}", f"{GREEK}-{LATIN}"]
    assert chosen(pairs=(f"{GREEK}-qae_Arab",)) == [f"{GREEK}-qae_Arab"]
    with pytest.raises(UserError, match="no sentences of `qaf_Latn`"):
        chosen(pivot="qaf_Latn")
    with pytest.raises(UserError, match="no language pair to mine"):
        chosen(min_sentences=800)


def test_known_pairs_calibrate_the_directions_that_they_have(
    recipe: RunConfig, tmp_path: Path
) -> None:
    few = MineConfig(planted_pairs=40)
    known = tmp_path / "known"
    known.mkdir()
    lines = (Path(recipe.shards[0]).parent / "seed" / f"{LATIN}-{GREEK}.tsv").read_text("utf-8")
    (known / f"{LATIN}-{GREEK}.tsv").write_text(lines, encoding="utf-8")
    (known / f"{LATIN}-eng_Latn.tsv").write_text("a\tb\n", encoding="utf-8")
    mine(tmp_path / "out", dataclasses.replace(recipe, known=(known,), pivot=LATIN, mine=few))
    by = {
        other: read_json(tmp_path / f"out/mined/{LATIN}-{other}.calibration.json")["calibrated_by"]
        for other in (CYRILLIC, GREEK)
    }
    assert by == {CYRILLIC: "mutual pairs", GREEK: "known pairs"}


def test_language_pair_that_fails_leaves_the_others(
    recipe: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = language_vectors.load_language

    def damaged(shards: list[Path], vectors: list[Path], *rest: object) -> object:
        if vectors[0].parent.name == GREEK:
            raise DataError(f"{vectors[0]} is damaged")
        return load(shards, vectors, *rest)

    monkeypatch.setattr(language_vectors, "load_language", damaged)
    language_vectors._load_once.cache_clear()
    output = tmp_path / "out"
    with pytest.raises(JobError, match=r"mine: 2 of 3 shards failed(?s:.)*is damaged"):
        mine(output, recipe)
    assert (output / "bitext" / f"{PAIRS[0]}.parquet").is_file()
    assert (output / "report.html").is_file()


def test_sentences_of_another_run_are_mined_without_their_shards(
    recipe: RunConfig, whole: tuple[Path, float], tmp_path: Path
) -> None:
    first, _ = whole
    config = dataclasses.replace(
        recipe, shards=(), extracted=first / "sentences", pairs=(PAIRS[0],)
    )
    again = mine(tmp_path / "out", config)
    assert list(again.pairs) == [PAIRS[0]]
    assert not (tmp_path / "out/sentences").exists()
    name = f"bitext/{PAIRS[0]}.parquet"
    assert (tmp_path / "out" / name).read_bytes() == (first / name).read_bytes()


def test_of_another_runs_sentences_only_the_languages_named_are_mined(
    recipe: RunConfig, whole: tuple[Path, float], tmp_path: Path
) -> None:
    extracted = whole[0] / "sentences"
    config = dataclasses.replace(
        recipe, shards=(), extracted=extracted, languages=(LATIN, CYRILLIC)
    )
    assert list(mine(tmp_path / "out", config).pairs) == [PAIRS[0]]
    with pytest.raises(UserError, match="no sentences of ukr_Cyrl, of `languages`"):
        mine(tmp_path / "other", dataclasses.replace(config, languages=("ukr_Cyrl", LATIN)))


def test_mistakes_in_a_recipe_are_named(tmp_path: Path) -> None:
    def message(**values: object) -> str:
        text = {"shards": ["a.jsonl"], "lid": "lid", **values}
        (tmp_path / "recipe.yaml").write_text(json.dumps(text), encoding="utf-8")
        arguments = ["run", str(tmp_path / "recipe.yaml"), "--output", str(tmp_path / "out")]
        result = CliRunner().invoke(group, arguments, obj={"load_identifier": load_by_script})
        assert isinstance(result.exception, UserError)
        return str(result.exception)

    assert "give `pairs` or `pivot`" in message(pairs=["deu_Latn-eng_Latn"], pivot="eng_Latn")
    assert "`languages` lacks `eng_Latn`" in message(
        pairs=["deu_Latn-eng_Latn"], languages=["deu_Latn"]
    )
    assert "`shards` names no crawl shard" in message(shards=[])
    assert "`shards` or `extracted`, not both" in message(extracted="sentences")
    assert "not trained on `ukr_Cyrl`" in message(languages=["ukr_Cyrl", "eng_Latn"])
    assert "no file matches" in message(shards=["*.gz"], languages=["deu_Latn", "eng_Latn"])
    assert "recipe.yaml:1" in message(pivots="eng_Latn")


KILLS = 4


@pytest.mark.slow
def test_run_killed_at_random_moments_gives_the_same_bytes(
    recipe: RunConfig, whole: tuple[Path, float], tmp_path: Path
) -> None:
    seed = time.time_ns()
    generator = random.Random(seed)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.mining.run.made_shards"])
    kills = 0
    for _ in range(KILLS):
        process = context.Process(target=mine, args=(tmp_path / "out", recipe))
        process.start()
        process.join(generator.uniform(0.1, 0.5) * whole[1])
        kills += process.is_alive()
        process.kill()
        process.join()
    assert kills, f"seed {seed}: no run was interrupted"
    mine(tmp_path / "out", recipe)
    found, expected = files(tmp_path / "out"), files(whole[0])
    assert sorted(found) == sorted(expected), f"seed {seed}"
    assert [name for name in expected if found[name] != expected[name]] == [], f"seed {seed}"


def test_learned_filter_judges_every_language_pair(recipe: RunConfig, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    config = dataclasses.replace(
        recipe,
        mine=MineConfig(margin_threshold=0.0),
        filter=dataclasses.replace(recipe.filter, min_probability=0.5),
    )
    result = mine(tmp_path, config)
    for pair, found in result.pairs.items():
        source, target = pair.split("-")
        table = read_bitext(tmp_path / "bitext" / f"{pair}.parquet")
        columns = (table.column(name).to_pylist() for name in ("source", "target"))
        right = [in_latin(a, source) == in_latin(b, target) for a, b in zip(*columns, strict=True)]
        assert sum(right) >= 0.8 * SHARED, pair
        assert len(right) < found["mined"], pair
        assert min(table.column("probability").to_pylist()) >= 0.5
    before = files(tmp_path)
    mine(tmp_path, config)
    assert files(tmp_path) == before
