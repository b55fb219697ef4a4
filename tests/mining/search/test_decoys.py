import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.search.calibrate import calibrate
from mining.search.config import MineConfig
from mining.search.decoys import Decoys, first_share, second_choices, second_share, wrong_pairs
from mining.search.margin import Float32, Neighbors, Pairs, select_pairs
from mining.search.mine_calibrated import mine_calibrated
from mining.search.neighbors import find_neighbors
from mining.search.planted_scores import Planted, PlantedScores
from tests.mining.search.test_calibrate import WIDTH, f32, plant, sides, translations, unit

NOTHING = f32()


def topical(count: int, seed: int) -> Float32:
    """Sentences about forty topics: each has many that are nearly alike, and no translation."""
    topics = np.random.default_rng(99).standard_normal((40, WIDTH))
    random = np.random.default_rng(seed)
    noise = 0.6 * random.standard_normal((count, WIDTH))
    return unit(topics[random.integers(0, len(topics), count)] + noise)


def test_shares_by_hand() -> None:
    # Rate 1, shape 8: 1.125^-8 = 0.38974 have none, 1 * 1.125^-9 = 0.34644 have one.
    rate = np.array([0.0, 1.0])
    assert first_share(rate).tolist() == pytest.approx([0.0, 1 - 0.38974], abs=1e-5)
    assert second_share(rate).tolist() == pytest.approx([0.0, 1 - 0.38974 - 0.34644], abs=1e-5)


@given(low=st.floats(1e-3, 20), more=st.floats(1e-3, 10))
def test_shares_rise_with_the_rate_and_fewer_have_two(low: float, more: float) -> None:
    rate = np.array([low, low + more])
    for share in (first_share(rate), second_share(rate)):
        assert 0 <= share[0] < share[1] < 1
    assert second_share(rate)[1] < first_share(rate)[1]


@pytest.mark.parametrize("retrieval", ["max", "intersect", "forward", "backward"])
def test_second_choices_are_never_the_first(retrieval: str) -> None:
    vectors = sides(topical(200, 5), topical(150, 6))
    config = MineConfig(retrieval=retrieval)  # type: ignore[arg-type]
    found = find_neighbors(*vectors, config)
    first = select_pairs(*found, config.margin, config.retrieval)
    second = second_choices(*found, first, config.margin, config.retrieval)
    pairs = [set(zip(p.source.tolist(), p.target.tolist(), strict=True)) for p in (first, second)]
    assert pairs[1]
    assert not pairs[0] & pairs[1]
    assert np.isfinite(second.score).all()


def test_second_choices_by_hand() -> None:
    # Absolute margins. First: 0-0 (.9), 1-1 (.5). Then 0-1 (.8) and 1-0 (.7) are left.
    forward = Neighbors(np.array([[0, 1], [0, 1]]), np.array([[0.9, 0.8], [0.7, 0.5]], np.float32))
    backward = Neighbors(np.array([[0, 1], [0, 1]]), np.array([[0.9, 0.7], [0.8, 0.5]], np.float32))
    first = Pairs(np.array([0, 1]), np.array([0, 1]), f32(0.9, 0.5))
    second = second_choices(forward, backward, first, "absolute", "max")
    assert second.source.tolist() == [0, 1]
    assert second.target.tolist() == [1, 0]
    assert second.score.tolist() == f32(0.8, 0.7).tolist()


def test_sentences_with_one_neighbor_have_no_second_choice() -> None:
    one = Neighbors(np.array([[0]]), np.array([[0.9]], np.float32))
    first = Pairs(np.array([0]), np.array([0]), f32(0.9))
    assert not len(second_choices(one, one, first, "absolute", "max").score)


def test_second_choices_tell_how_many_false_pairs_there_are() -> None:
    # No sentence has a translation: every pair is false.
    config = MineConfig()
    found = find_neighbors(*sides(topical(2000, 5), topical(2000, 6)), config)
    pairs = select_pairs(*found, config.margin, config.retrieval)
    second = second_choices(*found, pairs, config.margin, config.retrieval)
    decoys = Decoys(second.score, (NOTHING, NOTHING), 0, (0, 1), (2000, 2000))
    for count in (200, 400, 800, len(pairs.score)):
        threshold = np.array([float(np.sort(pairs.score)[-count])])
        told = wrong_pairs(decoys, threshold, len(pairs.score), 0.0)[0]
        # Here they say rather too little (.57 to .9 of 200 over eight seeds), on text too much.
        assert 0.55 * count < told < 1.1 * count


def test_line_beyond_the_last_second_choice_falls_and_never_ends() -> None:
    scores = np.random.default_rng(1).gumbel(1.0, 0.03, 2000).astype(np.float32)
    decoys = Decoys(scores, (NOTHING, NOTHING), 0, (0, 1), (2000, 2000))
    grid = np.linspace(1.0, float(scores.max()) + 0.2, 50)
    told = wrong_pairs(decoys, grid, 2000, 0.0)
    assert (np.diff(told) < 0).all()
    assert 0 < told[-1] < 1


@pytest.mark.parametrize("translated", [150, 300])
def test_plants_of_another_kind_do_not_mislead(translated: int) -> None:
    # Plants stand apart from topics, the lines around them crowd there. Plants alone expect .30
    # and .18 too much on average here (with `FEWEST` beyond reach).
    left, right = translations(translated, 1)
    source = np.concatenate([left, topical(1600 - translated, 5)])
    target = np.concatenate([right, topical(1600 - translated, 6)])
    mined = mine_calibrated(*sides(source, target), plant(1200, 7), MineConfig())
    assert mined.calibration is not None
    assert mined.calibration.translated == pytest.approx(translated, abs=50)
    is_right = (mined.pairs.source == mined.pairs.target) & (mined.pairs.source < translated)
    off = [
        (point.precision - true, point.precision_low - true)
        for point in mined.calibration.curve
        if point.pairs >= 50
        for true in [is_right[mined.pairs.score >= point.threshold].mean()]
    ]
    assert len(off) > 60
    likely, low = np.array(off).T
    assert np.abs(likely).mean() < 0.08
    assert low.mean() < likely.mean()
    assert (low <= likely).all()
    precisions = [point.precision for point in mined.calibration.curve]
    assert precisions == sorted(precisions)


@pytest.mark.parametrize(("neighbors", "others"), [(1, 800), (4, 20)])
def test_where_second_choices_are_none_or_few_plants_alone_are_asked(
    neighbors: int, others: int
) -> None:
    left, right = translations(30, 1)
    source, target = (np.concatenate([left, topical(others, seed)]) for seed in (5, 6))
    target = target if others > 100 else right
    mined = mine_calibrated(*sides(source, target), plant(400, 7), MineConfig(neighbors=neighbors))
    assert mined.calibration is not None
    assert all(0 <= p.precision_low <= p.precision <= 1 for p in mined.calibration.curve)


def test_nothing_is_expected_where_nothing_was_mined_or_found() -> None:
    planted = Planted(20, 30, 30)
    nobody = PlantedScores(NOTHING, (NOTHING,) * 2, (NOTHING,) * 2, (NOTHING,) * 2)
    none = calibrate(NOTHING, NOTHING, nobody, planted, (50, 50), "max")
    assert none.translated == 0
    assert [point.precision for point in none.curve] == [0.0]
    some = calibrate(f32(1.1, 1.2, 1.3), NOTHING, nobody, planted, (50, 50), "max")
    assert some.translated == 0
    assert [point.recall for point in some.curve] == [0.0] * len(some.curve)
