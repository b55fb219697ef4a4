import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.config import load_config
from corpus.errors import UserError
from corpus.languages import Direction
from nmt.data.batches import Batch, BatchStream, cut
from nmt.data.config import BatchConfig, CurriculumConfig, MonolingualConfig, PhaseConfig
from nmt.data.phases import Curriculum, resource_level
from nmt.data.sampling import datasets, share_round
from nmt.data.tokenize import direction_pairs, tokenize
from nmt.training.config import TrainConfig
from nmt.vocabulary.vocabulary import Vocabulary
from tests.nmt.conftest import WORDS

HIGH, LOW = Direction("qaa_Latn", "qab_Latn"), Direction("qaa_Latn", "qac_Cyrl")


def make_stream(
    tmp_path: Path,
    bitext: Path,
    vocabulary_directory: Path,
    rank: int = 0,
    world_size: int = 1,
    monolingual: MonolingualConfig | None = None,
    **curriculum: object,
) -> BatchStream:
    config = TrainConfig(
        vocabulary=vocabulary_directory,
        bitext={"mined": (bitext,)},
        monolingual=monolingual or MonolingualConfig(),
    )
    vocabulary = Vocabulary.load(vocabulary_directory)
    tokenized = tokenize(config.training_data, vocabulary, tmp_path / "data")
    pairs = direction_pairs(tokenized, vocabulary, ())
    phases = CurriculumConfig(**curriculum)  # type: ignore[arg-type]
    counts = {direction: len(there) for direction, there in pairs.items()}
    batches = BatchConfig(max_tokens=300, max_length=60, round_size=200)
    return BatchStream(
        tokenized,
        pairs,
        vocabulary,
        Curriculum(phases, counts),
        batches,
        seed=5,
        monolingual=monolingual,
        rank=rank,
        world_size=world_size,
    )


def take(stream: BatchStream, count: int) -> list[Batch]:
    return [next(stream) for _ in range(count)]


def equal(left: list[Batch], right: list[Batch]) -> bool:
    return all(
        np.array_equal(a.source, b.source) and np.array_equal(a.target, b.target)
        for a, b in zip(left, right, strict=True)
    )


def test_rows_are_language_tag_text_end_and_end_language_text_end(
    tmp_path: Path, bitext: Path, vocabulary_directory: Path
) -> None:
    vocabulary = Vocabulary.load(vocabulary_directory)
    stream = make_stream(tmp_path, bitext, vocabulary_directory)
    lines = {line.split("\t")[0] for line in (bitext / f"{HIGH}.tsv").read_text().splitlines()}
    lines |= {line.split("\t")[0] for line in (bitext / f"{LOW}.tsv").read_text().splitlines()}
    languages = {vocabulary.language_index(code) for code in vocabulary.languages}
    for batch in take(stream, 5):
        for row, length in zip(batch.source, batch.source_lengths, strict=True):
            assert row[0] in languages
            assert row[1] == vocabulary.tag_index("mined")
            assert row[length - 1] == vocabulary.end_index
            assert (row[length:] == vocabulary.pad_index).all()
            assert vocabulary.decode(row[2 : length - 1].tolist()) in lines
        for row, length in zip(batch.target, batch.target_lengths, strict=True):
            assert row[0] == vocabulary.end_index
            assert row[1] in languages
            assert row[length - 1] == vocabulary.end_index
            assert vocabulary.decode(row[2 : length - 1].tolist()) in lines


def test_batches_keep_the_token_budget_and_hold_every_pair_once() -> None:
    generator = np.random.default_rng(0)
    source, target = generator.integers(1, 30, 500), generator.integers(1, 30, 500)
    batches = cut(source, target, 200)
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    for batch in batches:
        assert len(batch) * (source[batch].max() + target[batch].max()) <= 200


def one_by_one(source: list[int], target: list[int], max_tokens: int) -> list[list[int]]:
    """Cut as `cut` does, a pair at a time."""
    order = sorted(range(len(source)), key=lambda pair: (target[pair], source[pair]))
    batches: list[list[int]] = []
    for pair in order:
        batch = [*batches[-1], pair] if batches else []
        widest = max((source[i] for i in batch), default=0) + max(
            (target[i] for i in batch), default=0
        )
        if batch and widest * len(batch) <= max_tokens:
            batches[-1] = batch
        else:
            batches.append([pair])
    return batches


@given(
    lengths=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), max_size=60),
    max_tokens=st.integers(1, 400),
)
def test_cutting_many_pairs_at_once_is_cutting_one_by_one(
    lengths: list[tuple[int, int]], max_tokens: int
) -> None:
    source, target = [pair[0] for pair in lengths], [pair[1] for pair in lengths]
    batches = cut(np.array(source, np.int64), np.array(target, np.int64), max_tokens)
    assert [batch.tolist() for batch in batches] == one_by_one(source, target, max_tokens)


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_processes_take_the_batches_of_one_in_turns(
    tmp_path: Path, bitext: Path, vocabulary_directory: Path, world_size: int
) -> None:
    alone = take(make_stream(tmp_path, bitext, vocabulary_directory), 6 * world_size)
    streams = [
        make_stream(tmp_path, bitext, vocabulary_directory, rank, world_size)
        for rank in range(world_size)
    ]
    for rank, stream in enumerate(streams):
        assert equal(take(stream, 6), alone[rank::world_size])
    assert all(stream.state() == streams[0].state() for stream in streams)


def test_other_numbers_of_processes_go_on_with_the_same_sequence_and_say_so(
    tmp_path: Path,
    bitext: Path,
    vocabulary_directory: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    alone = take(make_stream(tmp_path, bitext, vocabulary_directory), 4 * 3 + 5 * 2 + 6)
    state, position, updates = None, 0, 0
    for world_size, steps in ((3, 4), (2, 5), (1, 6)):
        for rank in reversed(range(world_size)):
            stream = make_stream(tmp_path, bitext, vocabulary_directory, rank, world_size)
            with caplog.at_level("INFO"):
                if state is not None:
                    stream.restore(state)
            mine = alone[position + rank : position + steps * world_size : world_size]
            assert equal(take(stream, steps), mine)
        state, position, updates = stream.state(), position + steps * world_size, updates + steps
        assert (state["num_batches"], state["updates"]) == (position, updates)
    assert "the training had 3 processes and resumes with 2 at batch 12" in caplog.text
    assert caplog.text.count("and resumes with") == 2  # once a change, not once a process


def test_phases_begin_at_updates_however_many_batches_make_one(
    tmp_path: Path, bitext: Path, vocabulary_directory: Path
) -> None:
    phases = (
        PhaseConfig(from_update=0, resource_levels=("high",)),
        PhaseConfig(from_update=4, resource_levels=("low",)),
    )
    low = Vocabulary.load(vocabulary_directory).language_index("qac_Cyrl")
    for rank in range(2):
        stream = make_stream(
            tmp_path,
            bitext,
            vocabulary_directory,
            rank,
            2,
            high_resource_pairs=300,
            very_low_resource_pairs=10,
            phases=phases,
        )
        stream._batches_per_update = 3
        are_low = [
            bool(((batch.source[:, 0] == low) | (batch.target[:, 1] == low)).all())
            for batch in take(stream, 16)
        ]
        assert are_low == [False] * 12 + [True] * 4


@pytest.mark.parametrize("world_size", [1, 3])
def test_every_pair_comes_once_an_epoch_over_all_processes(
    tmp_path: Path, vocabulary_directory: Path, world_size: int
) -> None:
    vocabulary = Vocabulary.load(vocabulary_directory)
    numerals = [f"{a} {b} {c}" for a in WORDS[:9] for b in WORDS[9:14] for c in WORDS[:3]]
    directories = [tmp_path / "p", tmp_path / "m"]
    for directory, lines in zip(directories, (numerals[:90], numerals[90:]), strict=True):
        directory.mkdir()
        text = "".join(f"{line}\t{line}\n" for line in lines)
        (directory / f"{HIGH}.tsv").write_text(text, encoding="utf-8")
    config = TrainConfig(
        vocabulary=vocabulary_directory,
        bitext={"primary": (directories[0],), "mined": (directories[1],)},
        directions=(str(HIGH),),
    )
    tokenized = tokenize(config.training_data, vocabulary, tmp_path / "data")
    pairs = direction_pairs(tokenized, vocabulary, config.directions)
    assert {direction: len(own) for direction, own in pairs.items()} == {HIGH: 135}
    curriculum = Curriculum(CurriculumConfig(very_low_resource_pairs=1), {HIGH: 135})
    streams = [
        BatchStream(
            tokenized,
            pairs,
            vocabulary,
            curriculum,
            BatchConfig(max_tokens=200, max_length=60, round_size=45),
            5,
            rank=rank,
            world_size=world_size,
        )
        for rank in range(world_size)
    ]
    seen: Counter[tuple[str, str, bool]] = Counter()
    mined = vocabulary.tag_index("mined")
    while seen.total() < 2 * 135:
        for batch in (next(stream) for stream in streams):
            for source, target in zip(batch.source.tolist(), batch.target.tolist(), strict=True):
                seen[vocabulary.decode(source), vocabulary.decode(target), mined in source] += 1
    # Three rounds make an epoch; the last step may have begun the next round.
    again = {pair for pair, count in seen.items() if count == 3}
    assert seen.total() == 2 * 135 + len(again)
    assert set(seen) == {(line, line, i >= 90) for i, line in enumerate(numerals)}
    assert set(seen.values()) <= {2, 3}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    directory = tmp_path / "text"
    directory.mkdir()
    for language, count in (("qaa_Latn", 60), ("qac_Cyrl", 30)):
        lines = [" ".join(WORDS[(i + j) % len(WORDS)] for j in range(8)) for i in range(count)]
        (directory / f"{language}.txt").write_text("\n".join(lines), encoding="utf-8")
    return directory


def test_text_is_mixed_in_by_weight_masked_or_alone(
    tmp_path: Path, bitext: Path, vocabulary_directory: Path, text: Path
) -> None:
    vocabulary = Vocabulary.load(vocabulary_directory)
    monolingual = MonolingualConfig(text=(text,), denoising_weight=0.5, causal_weight=0.25)
    stream = make_stream(tmp_path, bitext, vocabulary_directory, monolingual=monolingual)
    lines = {line for path in text.iterdir() for line in path.read_text().splitlines()}
    kinds: Counter[str] = Counter()
    for batch in take(stream, 150):
        for source, target in zip(batch.source.tolist(), batch.target.tolist(), strict=True):
            text_in, text_out = vocabulary.decode(source), vocabulary.decode(target)
            if source[0] != target[1]:
                kinds["translation"] += 1
                assert text_in == text_out  # as the fixture's pairs are
                assert vocabulary.mask_index not in source
                continue
            assert text_out in lines
            assert source[0] != vocabulary.language_index("qab_Latn")
            assert vocabulary.tag_index("mined") not in source
            assert source.index(vocabulary.end_index) <= target.index(vocabulary.end_index, 1) - 1
            kinds["denoising" if text_in else "causal"] += 1
    shares = {kind: count / kinds.total() for kind, count in kinds.items()}
    # Of 1 + 0.5 + 0.25.
    expected = {"translation": 4 / 7, "denoising": 2 / 7, "causal": 1 / 7}
    assert shares == pytest.approx(expected, abs=0.03)


def test_masks_are_the_same_after_a_restart_on_other_processes(
    tmp_path: Path, bitext: Path, vocabulary_directory: Path, text: Path
) -> None:
    settings = {"monolingual": MonolingualConfig(text=(text,), denoising_weight=2.0)}
    stream = make_stream(tmp_path, bitext, vocabulary_directory, **settings)
    take(stream, 8)
    state = stream.state()
    expected = take(stream, 30)
    for rank in range(3):
        other = make_stream(tmp_path, bitext, vocabulary_directory, rank, 3, **settings)
        other.restore(state)
        assert equal(take(other, 10), expected[rank::3])


def test_text_waits_for_the_phase_of_its_language(
    tmp_path: Path, bitext: Path, vocabulary_directory: Path, text: Path
) -> None:
    stream = make_stream(
        tmp_path,
        bitext,
        vocabulary_directory,
        monolingual=MonolingualConfig(text=(text,), causal_weight=1.0),
        high_resource_pairs=300,
        very_low_resource_pairs=10,
        phases=(
            PhaseConfig(from_update=0, resource_levels=("high",)),
            PhaseConfig(from_update=9, resource_levels=("high", "low")),
        ),
    )
    low = Vocabulary.load(vocabulary_directory).language_index("qac_Cyrl")
    there = [bool((batch.source[:, 0] == low).any()) for batch in take(stream, 30)]
    assert not any(there[:9])
    assert any(there[9:])


def test_restored_stream_goes_on_with_the_same_batches(
    tmp_path: Path, bitext: Path, vocabulary_directory: Path
) -> None:
    stream = make_stream(tmp_path, bitext, vocabulary_directory)
    for count in (0, 1, 7, 40):
        take(stream, count)
        state = stream.state()
        expected = take(stream, 30)
        other = make_stream(tmp_path, bitext, vocabulary_directory)
        other.restore(state)
        assert equal(take(other, 30), expected)
        assert other.state() == stream.state()


def test_low_resource_directions_enter_at_the_update_of_their_phase(
    tmp_path: Path, bitext: Path, vocabulary_directory: Path
) -> None:
    vocabulary = Vocabulary.load(vocabulary_directory)
    stream = make_stream(
        tmp_path,
        bitext,
        vocabulary_directory,
        high_resource_pairs=300,
        very_low_resource_pairs=10,
        phases=(
            PhaseConfig(from_update=0, resource_levels=("high",)),
            PhaseConfig(from_update=7, resource_levels=("high", "low")),
        ),
    )
    low = vocabulary.language_index("qac_Cyrl")

    def has_low(batches: list[Batch]) -> bool:
        return any((batch.source[:, 0] == low).any() for batch in batches)

    assert not has_low(take(stream, 7))
    assert has_low(take(stream, 10))


def test_higher_temperature_draws_small_directions_more_often(
    tmp_path: Path, bitext: Path, vocabulary_directory: Path
) -> None:
    vocabulary = Vocabulary.load(vocabulary_directory)
    shares = {}
    for temperature in (1.0, 5.0):
        stream = make_stream(tmp_path, bitext, vocabulary_directory)
        stream._config = BatchConfig(max_tokens=300, max_length=60, temperature=temperature)
        counts: Counter[int] = Counter()
        for batch in take(stream, 120):
            counts.update(batch.source[:, 0].tolist() + batch.target[:, 1].tolist())
        shares[temperature] = counts[vocabulary.language_index("qac_Cyrl")] / counts.total()
    # By hand: 40 of 340 pairs, half of the sides; (40/300)^(1/5) = 0.668, 0.668/1.668 of pairs.
    assert shares[1.0] == pytest.approx(0.5 * 40 / 340, abs=0.015)
    assert shares[5.0] == pytest.approx(0.5 * 0.668 / 1.668, abs=0.03)


def test_replayed_pairs_have_their_share_however_many_they_are(
    tmp_path: Path, bitext: Path, vocabulary_directory: Path
) -> None:
    for name, tag in (("replayed", "replay"), ("own", "primary")):
        directory = tmp_path / name
        directory.mkdir()
        lines = (bitext / f"{HIGH}.tsv").read_text().splitlines()
        chosen = lines[:50] if tag == "replay" else lines[50:60]
        direction = HIGH if tag == "replay" else LOW
        (directory / f"{direction}.tsv").write_text("".join(f"{line}\n" for line in chosen))
    vocabulary = Vocabulary.load(vocabulary_directory)
    config = TrainConfig(
        start_from=vocabulary_directory.parent,
        bitext={"primary": (tmp_path / "own",), "replay": (tmp_path / "replayed",)},
    )
    data = dataclasses.replace(config.training_data, vocabulary=vocabulary_directory)
    tokenized = tokenize(data, vocabulary, tmp_path / "data")
    pairs = direction_pairs(tokenized, vocabulary, ())
    assert list(pairs) == [HIGH, LOW, LOW.reverse]  # replay is trained one way
    sets = datasets(pairs, {}, vocabulary, None, 5)
    for share in (0.5, 0.2):
        batches = BatchConfig(replay_share=share, round_size=100_000)
        counts = Counter[str]()
        for number in range(200):
            counts.update(share_round(sets, batches, np.random.default_rng(number)))
        assert counts[f"{HIGH}:replay"] / counts.total() == pytest.approx(share, abs=0.02)
    # Without anything else all is replayed.
    only = [dataset for dataset in sets if dataset.is_replay]
    assert share_round(only, BatchConfig(), np.random.default_rng(1)) == {f"{HIGH}:replay": 50}
    # Epochs of one do not depend on the other.
    assert len({dataset.seed for dataset in sets}) == len(sets)


def test_levels_are_bounded_as_in_nllb() -> None:
    config = CurriculumConfig(high_resource_pairs=100, very_low_resource_pairs=10)
    sizes = (9, 10, 11, 99, 100)
    levels = [resource_level(size, config) for size in sizes]
    assert levels == ["very_low", "very_low", "low", "low", "high"]


def test_phase_without_directions_is_refused_with_the_settings_that_decide() -> None:
    config = CurriculumConfig(phases=(PhaseConfig(resource_levels=("high",)),))
    counts: Mapping[Direction, int] = {HIGH: 10}
    with pytest.raises(UserError, match=r"level high.*high_resource_pairs"):
        Curriculum(config, counts)


def test_phases_must_rise_from_zero(tmp_path: Path) -> None:
    recipe = tmp_path / "train.yaml"
    recipe.write_text(
        "vocabulary: v\nbitext: {primary: b}\ncurriculum:\n  phases:\n  - from_update: 5\n"
    )
    with pytest.raises(UserError, match=r"train.yaml:3: phases begin at updates \[5\]"):
        load_config(TrainConfig, recipe)
