from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from corpus.config import load_config
from corpus.errors import UserError
from corpus.languages import Direction
from nmt.batches import Batch, BatchStream, cut
from nmt.bitext import direction_pairs, tokenize
from nmt.config import BatchConfig, CurriculumConfig, PhaseConfig, TrainConfig
from nmt.curriculum import Curriculum, resource_level
from nmt.vocabulary import END, PAD, Vocabulary

HIGH, LOW = Direction("qaa_Latn", "qab_Latn"), Direction("qaa_Latn", "qac_Cyrl")


def make_stream(
    tmp_path: Path, bitext: Path, vocabulary_directory: Path, **curriculum: object
) -> BatchStream:
    config = TrainConfig(vocabulary=vocabulary_directory, bitext={"mined": (bitext,)})
    vocabulary = Vocabulary.load(vocabulary_directory)
    tokenized = tokenize(config, vocabulary, tmp_path / "data")
    pairs = direction_pairs(tokenized, vocabulary, ())
    phases = CurriculumConfig(**curriculum)  # type: ignore[arg-type]
    counts = {direction: len(there) for direction, there in pairs.items()}
    batches = BatchConfig(max_tokens=300, max_length=60, round_size=200)
    return BatchStream(tokenized, pairs, vocabulary, Curriculum(phases, counts), batches, seed=5)


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
            assert row[length - 1] == END
            assert (row[length:] == PAD).all()
            assert vocabulary.decode(row[2 : length - 1].tolist()) in lines
        for row, length in zip(batch.target, batch.target_lengths, strict=True):
            assert row[0] == END
            assert row[1] in languages
            assert row[length - 1] == END
            assert vocabulary.decode(row[2 : length - 1].tolist()) in lines


def test_batches_keep_the_token_budget_and_hold_every_pair_once() -> None:
    generator = np.random.default_rng(0)
    source, target = generator.integers(1, 30, 500), generator.integers(1, 30, 500)
    batches = cut(source, target, 200)
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    for batch in batches:
        assert len(batch) * (source[batch].max() + target[batch].max()) <= 200


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
        tmp_path, bitext, vocabulary_directory,
        high_resource_pairs=300, very_low_resource_pairs=10,
        phases=(
            PhaseConfig(from_update=0, resource_levels=("high",)),
            PhaseConfig(from_update=7, resource_levels=("high", "low")),
        ),
    )  # fmt: skip
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
