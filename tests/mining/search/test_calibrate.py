import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import DataError, JobError, UserError
from corpus.files import write_json
from corpus.records import read_bitext
from corpus.text import sentence_hash
from mining.encoders.embed_config import KnownConfig
from mining.encoders.embed_known import run_embed_known
from mining.search.calibrate import Calibration, Point, calibrate, merge_neighbors
from mining.search.config import MineConfig
from mining.search.flat import nearest_neighbors
from mining.search.known_pairs import Known, known_files, load_known
from mining.search.margin import Float32, Pairs
from mining.search.mine import run_mine
from mining.search.mine_calibrated import mine_calibrated
from mining.search.neighbors import as_vectors
from mining.search.planted_scores import Planted, PlantedScores, planted_scores_of
from mining.search.vectors import Vectors
from tests.mining.search.test_mine import SOURCE, TARGET, write_corpus

WIDTH = 24


def f32(*values: float) -> Float32:
    return np.array(values, np.float32)


def unit(matrix: np.ndarray) -> Float32:
    vectors: Float32 = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)
    return vectors


def translations(count: int, seed: int) -> tuple[Float32, Float32]:
    """Pairs that are more or less alike: from copies to hardly related."""
    random = np.random.default_rng(seed)
    shared = random.standard_normal((count, WIDTH))
    noise = random.uniform(0.2, 1.2, (count, 1)) * random.standard_normal((count, WIDTH))
    return unit(shared), unit(shared + noise)


def corpus(translated: int, others: int, seed: int) -> tuple[Float32, Float32]:
    left, right = translations(translated, seed)
    random = np.random.default_rng(seed + 1)
    extra = [unit(random.standard_normal((others, WIDTH))) for _ in range(2)]
    return np.concatenate([left, extra[0]]), np.concatenate([right, extra[1]])


def plant(count: int, seed: int) -> Known:
    left, right = translations(count, seed)
    quarter = count // 4
    whole = 2 * quarter
    return Known(
        Planted(whole, whole + quarter, whole + quarter),
        np.concatenate([left[:whole], left[whole : whole + quarter]]).astype(np.float16),
        np.concatenate([right[:whole], right[whole + quarter : whole + 2 * quarter]]).astype(
            np.float16
        ),
        {},
    )


def sides(source: Float32, target: Float32) -> tuple[Vectors, Vectors]:
    return as_vectors(source, MineConfig()), as_vectors(target, MineConfig())


@pytest.mark.parametrize("translated", [800, 300])
@pytest.mark.parametrize("retrieval", ["max", "intersect", "forward", "backward"])
def test_expected_precision_is_the_true_one(translated: int, retrieval: str) -> None:
    source, target = corpus(translated, 1600 - translated, 1)
    config = MineConfig(neighbors=4, retrieval=retrieval)  # type: ignore[arg-type]
    mined = mine_calibrated(*sides(source, target), plant(2400, 7), config)
    assert mined.calibration is not None
    assert mined.calibration.translated == pytest.approx(translated, abs=100)
    is_right = (mined.pairs.source == mined.pairs.target) & (mined.pairs.source < translated)
    off = []
    for point in mined.calibration.curve:
        is_kept = mined.pairs.score >= point.threshold
        assert point.pairs == is_kept.sum()
        if point.pairs >= 150:
            off.append(point.precision - is_right[is_kept].mean())
            assert point.recall == pytest.approx(is_right[is_kept].sum() / translated, abs=0.1)
    assert len(off) > 40
    assert np.abs(off).max() < 0.12
    assert np.abs(off).mean() < 0.05


def test_plants_do_not_change_the_pairs() -> None:
    source, target = corpus(100, 60, 3)
    config = MineConfig()
    plain = mine_calibrated(*sides(source, target), None, config).pairs
    planted = mine_calibrated(*sides(source, target), plant(80, 5), config).pairs
    assert all((a == b).all() for a, b in zip(plain, planted, strict=True))


def test_threshold_follows_the_target_precision() -> None:
    source, target = corpus(200, 600, 1)
    thresholds = []
    for precision in (0.6, 0.8, 0.95):
        config = MineConfig(target_precision=precision)
        mined = mine_calibrated(*sides(source, target), plant(1200, 7), config)
        assert mined.calibration is not None
        point = mined.calibration.at(mined.threshold)
        assert point.precision >= point.precision_low >= precision
        thresholds.append(mined.threshold)
    assert thresholds == sorted(thresholds)
    assert thresholds[0] < thresholds[2]


def test_precision_that_no_threshold_reaches_is_an_error_with_the_best_one() -> None:
    point = Point(threshold=1.1, pairs=40, precision=0.62, precision_low=0.55, recall=0.5)
    with pytest.raises(DataError, match=r"at least 0\.550 is expected at 1\.1, with 40 pairs"):
        Calibration(translated=3, curve=(point,)).threshold_for(0.9)


def test_threshold_is_reached_from_there_on_not_once() -> None:
    curve = tuple(
        Point(threshold=t, pairs=9, precision=1.0, precision_low=p, recall=0.5)
        for t, p in ((1.0, 0.9), (1.1, 0.7), (1.2, 0.9), (1.3, 1.0))
    )
    assert Calibration(translated=3, curve=curve).threshold_for(0.85) == 1.2


def test_planted_scores_by_hand() -> None:
    # Two sentences a side before the plants: 2 and 3 are whole pairs, source 4 and target 4 alone.
    pairs = Pairs(
        np.array([2, 3, 4, 0]), np.array([2, 4, 0, 1]), f32(1.9, 1.5, 1.2, 1.1)
    )  # fmt: skip
    second = Pairs(np.array([2, 3, 0]), np.array([0, 1, 2]), f32(1.3, 1.2, 1.0))
    planted_scores = planted_scores_of(pairs, second, 2, 2, Planted(2, 3, 3))
    assert planted_scores.found.tolist() == f32(1.9).tolist()
    assert planted_scores.misled[0].tolist() == f32(1.5).tolist()
    assert planted_scores.misled[1].tolist() == []
    assert planted_scores.alone[0].tolist() == f32(1.2).tolist()
    assert planted_scores.alone[1].tolist() == f32(1.5).tolist()
    # Only 2 found its partner: as a source it gets target 0 next, as a target source 0.
    assert planted_scores.second[0].tolist() == f32(1.3).tolist()
    assert planted_scores.second[1].tolist() == f32(1.0).tolist()


def test_estimate_by_hand() -> None:
    # 10,000 sources; half of the ones without a translation get a pair, all plants are found.
    # 7,000 kept = T + (10,000 - T) / 2 gives T = 4,000, 3,000 wrong, precision 4 / 7.
    planted = Planted(1000, 2000, 2000)
    scores = {count: np.full(count, 2.0, np.float32) for count in (0, 500, 1000, 7000)}
    planted_scores = PlantedScores(
        found=scores[1000],
        misled=(scores[0],) * 2,
        alone=(scores[500],) * 2,
        second=(scores[0],) * 2,
    )
    result = calibrate(
        scores[7000], scores[0], planted_scores, planted, (10_000, 10_000), "forward"
    )
    assert result.translated == pytest.approx(4000, rel=0.05)
    assert result.curve[0].precision == pytest.approx(4 / 7, abs=0.03)
    assert 0.4 < result.curve[0].precision_low < result.curve[0].precision


@given(seed=st.integers(0, 30), cut=st.integers(1, 19))
def test_neighbors_of_two_sets_merge_to_those_of_both(seed: int, cut: int) -> None:
    random = np.random.default_rng(seed)
    queries, candidates = (unit(random.standard_normal((n, 8))) for n in (5, 20))
    parts = [
        nearest_neighbors(queries, part, neighbors=4)
        for part in (candidates[:cut], candidates[cut:])
    ]
    whole = nearest_neighbors(queries, candidates, neighbors=4)
    merged = merge_neighbors(parts[0], parts[1], cut, 4)
    assert (merged.ids == whole.ids).all()
    assert (merged.cosines == whole.cosines).all()


class Letters:
    """An encoder for tests: a sentence is where its two last letters are."""

    dimension = 16

    def encode(self, sentences: list[str], language: str = "") -> Float32:
        rows = [sentence_hash(text.split(" ")[1]) % 1000 for text in sentences]
        return unit(np.stack([np.random.default_rng(row).standard_normal(16) for row in rows]))


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "encoder.json").write_text('{"files": {}}')
    (tmp_path / "seed").mkdir()
    lines = [f"planted {a}{b}\tpflanze {a}{b}\n" for a in "klmnop" for b in "uvwxyzäöü"]
    lines += ["planted ku\tpflanze ku\n", "\tleer\n", "source aa\tnew zz\n"]
    (tmp_path / "seed" / f"{TARGET}-{SOURCE}.tsv").write_text("".join(lines), encoding="utf-8")
    monkeypatch.setattr("mining.encoders.embed_known.load_encoder", lambda *_, **__: Letters())
    config = KnownConfig(workers=1)
    summary = run_embed_known([tmp_path / "seed"], tmp_path / "encoder", tmp_path / "k", config)
    assert dict(summary.counts) == {"pairs": 55, "rejected.empty": 1}
    return tmp_path / "k"


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_damaged_known_pairs_are_refused(tmp_path: Path, known: Path, suffix: str) -> None:
    write_corpus(tmp_path)
    damaged = known / f"{TARGET}-{SOURCE}.{suffix}"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    output = tmp_path / "mined" / f"{SOURCE}-{TARGET}.parquet"
    places = (tmp_path / "sentences", tmp_path / "embeddings", SOURCE, TARGET, output)
    with pytest.raises(JobError, match=rf"{damaged.name} is damaged or was changed: its digest is"):
        run_mine(*places, MineConfig(), known)
    assert not output.exists()


def test_mining_with_known_pairs_says_what_it_expects(tmp_path: Path, known: Path) -> None:
    write_corpus(tmp_path)
    output = tmp_path / "mined" / f"{SOURCE}-{TARGET}.parquet"
    arguments = (tmp_path / "sentences", tmp_path / "embeddings", SOURCE, TARGET, output)
    config = MineConfig(target_precision=0.9)
    summary = run_mine(*arguments, config, known)
    written = json.loads(output.with_suffix(".calibration.json").read_text(encoding="utf-8"))
    assert written["expected_precision"] >= 0.9
    assert written["pairs"] == read_bitext(output).num_rows == summary.counts["pairs"] > 20
    assert written["threshold"] <= min(read_bitext(output).column("score").to_pylist()) + 1e-4
    assert summary.counts["known.planted_whole"] == 28
    assert sum(written["histogram"]["mined"]) == written["candidate_pairs"]
    assert len(written["histogram"]["edges"]) == len(written["histogram"]["found"]) + 1
    first = output.with_suffix(".calibration.json").read_bytes()
    output.with_suffix(".calibration.json").unlink()
    run_mine(*arguments, config, known)
    assert output.with_suffix(".calibration.json").read_bytes() == first


def test_retrieval_that_is_not_one_to_one_wants_known_pairs_or_a_threshold(
    tmp_path: Path, known: Path
) -> None:
    write_corpus(tmp_path)
    arguments = (tmp_path / "sentences", tmp_path / "embeddings", SOURCE, TARGET)
    for config in (
        MineConfig(retrieval="forward"), MineConfig(retrieval="backward", target_precision=0.9),
    ):  # fmt: skip
        with pytest.raises(UserError, match="--known"):
            run_mine(*arguments, tmp_path / "m" / "x.parquet", config)
    config = MineConfig(retrieval="forward", margin_threshold=1.2)
    assert run_mine(*arguments, tmp_path / "m" / "x.parquet", config).done == 1
    with pytest.raises(UserError, match="no known pairs of qaa_Latn-qad_Arab"):
        known_files(known, SOURCE, "qad_Arab")


def test_pairs_that_the_corpus_holds_are_not_planted(known: Path) -> None:
    files = known_files(known, SOURCE, TARGET)
    nothing = np.empty(0, np.uint64)
    all_new = load_known(files, nothing, nothing, 2000)
    held = np.sort(np.array([sentence_hash("pflanze kv"), sentence_hash("pflanze kw")], np.uint64))
    some = load_known(files, held, nothing, 2000)
    assert all_new.counts["known.left_out_in_corpus"] == 0
    assert some.counts["known.left_out_in_corpus"] == 2
    assert (
        sum(all_new.planted) - sum(some.planted) == 4
    )  # a whole pair, and a sentence alone on either side
    with pytest.raises(DataError, match="a calibration needs 40"):
        load_known(files, nothing, nothing, 12)


def test_without_known_pairs_nothing_is_expected(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    output = tmp_path / "mined" / "pairs.tsv"
    run_mine(tmp_path / "sentences", tmp_path / "embeddings", SOURCE, TARGET, output, MineConfig())
    written = json.loads((tmp_path / "mined" / "pairs.calibration.json").read_text())
    assert written["expected_precision"] is None
    assert written["curve"] == []


def test_known_pairs_of_another_encoder_are_refused(tmp_path: Path, known: Path) -> None:
    write_corpus(tmp_path)
    path = known / f"{TARGET}-{SOURCE}.npy"
    np.save(path, np.load(path)[:, :, :8])
    shutil.rmtree(known / "receipts")  # as if made elsewhere
    with pytest.raises(JobError, match="known pairs have 8 columns and the corpus 16"):
        run_mine(
            tmp_path / "sentences", tmp_path / "embeddings", SOURCE, TARGET,
            tmp_path / "m.parquet", MineConfig(), known,
        )  # fmt: skip


def test_known_pairs_of_another_space_are_refused_though_they_are_as_wide(
    tmp_path: Path, known: Path
) -> None:
    write_corpus(tmp_path)
    own = json.loads((known / f"{TARGET}-{SOURCE}.space.json").read_text(encoding="utf-8"))
    arguments = (tmp_path / "sentences", tmp_path / "embeddings", SOURCE, TARGET)
    for name, space in (("same", own["space"]), ("other", "of another encoder")):
        write_json(tmp_path / "embeddings" / SOURCE / "space.json", {"space": space})
        output = tmp_path / name / "x.parquet"
        if name == "same":
            run_mine(*arguments, output, MineConfig(), known)
            continue
        with pytest.raises(UserError, match="different spaces"):
            run_mine(*arguments, output, MineConfig(), known)
        assert not output.parent.exists()


@pytest.mark.parametrize("retrieval", ["max", "intersect"])
def test_without_known_pairs_second_choices_tell_the_precision(retrieval: str) -> None:
    source, target = corpus(800, 800, 1)
    config = MineConfig(neighbors=4, retrieval=retrieval)  # type: ignore[arg-type]
    mined = mine_calibrated(*sides(source, target), None, config)
    assert mined.calibration is not None
    assert mined.calibration.by == "mutual pairs"
    is_right = (mined.pairs.source == mined.pairs.target) & (mined.pairs.source < 800)
    for point in mined.calibration.curve:
        is_kept = mined.pairs.score >= point.threshold
        assert point.pairs == is_kept.sum()
        assert point.precision_low <= point.precision
        if point.pairs >= 150:
            assert point.precision == pytest.approx(is_right[is_kept].mean(), abs=0.08)
    right = np.cumsum(is_right)
    scores = 2 * right / (np.arange(len(right)) + 1 + 800)
    chosen = int((mined.pairs.score >= mined.threshold).sum()) - 1
    assert scores[chosen] >= scores.max() - 0.02


def test_threshold_that_is_given_is_the_one_used() -> None:
    source, target = corpus(200, 600, 1)
    given = mine_calibrated(*sides(source, target), None, MineConfig(margin_threshold=1.26))
    assert (given.threshold, given.calibration) == (1.26, None)
    known = mine_calibrated(
        *sides(source, target), plant(1200, 7), MineConfig(margin_threshold=1.26)
    )
    assert known.threshold == 1.26
    assert known.calibration is not None
    chosen = mine_calibrated(*sides(source, target), plant(1200, 7), MineConfig())
    assert chosen.calibration is not None
    best = max(chosen.calibration.curve, key=lambda point: point.f1)
    assert chosen.calibration.at(chosen.threshold).f1 == best.f1


def test_too_few_sentences_are_not_calibrated_with(caplog: pytest.LogCaptureFixture) -> None:
    source, target = corpus(30, 20, 1)
    few = mine_calibrated(*sides(source, target), None, MineConfig())
    assert (few.threshold, few.calibration) == (1.0, None)
    assert "50 and 50 sentences are too few to calibrate a threshold with" in caplog.text
    with pytest.raises(DataError, match="too few to calibrate"):
        mine_calibrated(*sides(source, target), None, MineConfig(target_precision=0.9))
