import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.errors import UserError
from corpus.files import read_lines
from corpus.languages import Direction, known_languages, parse_direction
from nmt.usage.config import UsageConfig
from nmt.usage.experts import measure_or_report
from nmt.usage.measure import Measured, summarize_usage
from nmt.usage.page import render_usage
from nmt.usage.similarity import (
    LayerSimilarity,
    cluster_order,
    contrast,
    shown_layers,
    similarity,
)
from tests.nmt.interop.conftest import write_model
from tests.nmt.training.test_train import write_flores

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def test_similarity_is_the_cosine_of_shares() -> None:
    shares = {"eng_Latn": [1.0, 0.0], "deu_Latn": [0.6, 0.8], "rus_Cyrl": [0.0, 1.0]}
    found = similarity("encoder.layers.1", {"languages": shares})
    assert found.languages == ("deu_Latn", "eng_Latn", "rus_Cyrl")
    # By hand: (0.6, 0.8) has length 1, so the cosines are 0.6 and 0.8.
    np.testing.assert_allclose(found.cosine, [[1, 0.6, 0.8], [0.6, 1, 0], [0.8, 0, 1]], atol=1e-12)


def test_language_counts_by_its_side_over_all_directions() -> None:
    counts = {"encoder.layers.1": [1.0, 3.0], "decoder.layers.1": [2.0, 0.0]}
    more = {"encoder.layers.1": [5.0, 1.0], "decoder.layers.1": [1.0, 1.0]}
    measured = [
        Measured(Direction("qaa_Latn", "qab_Latn"), counts),
        Measured(Direction("qaa_Latn", "qac_Cyrl"), more),
    ]
    usage = summarize_usage(measured, 7)
    encoder, decoder = (usage["layers"][f"{side}.layers.1"] for side in ("encoder", "decoder"))
    assert encoder["languages"] == {"qaa_Latn": [0.6, 0.4]}
    assert decoder["languages"] == {"qab_Latn": [1.0, 0.0], "qac_Cyrl": [0.5, 0.5]}
    assert decoder["load"] == [0.75, 0.25]
    assert usage["directions"] == ["qaa_Latn-qab_Latn", "qaa_Latn-qac_Cyrl"]


@pytest.mark.parametrize(
    ("layers", "shown"),
    [
        ([3, 7, 23], ["Early encoder", "Late encoder"]),
        ([1], ["Encoder"]),
        ([3, 11, 7], ["Early encoder", "Late encoder"]),
    ],
)
def test_figure_shows_the_first_and_last_layer_with_experts(
    layers: list[int], shown: list[str]
) -> None:
    names = [f"encoder.layers.{i}" for i in layers]
    found = shown_layers(names)
    assert list(found.values()) == shown
    assert list(found) == [f"encoder.layers.{i}" for i in sorted({min(layers), max(layers)})]


def test_languages_that_are_alike_stand_together() -> None:
    codes = ["deu_Latn", "fra_Latn", "nld_Latn", "por_Latn", "spa_Latn"]
    close = {
        ("deu_Latn", "nld_Latn"): 0.9,
        ("por_Latn", "spa_Latn"): 0.8,
        ("fra_Latn", "spa_Latn"): 0.7,
    }
    cosine = np.full((5, 5), 0.1)
    np.fill_diagonal(cosine, 1)
    for (one, other), value in close.items():
        i, j = codes.index(one), codes.index(other)
        cosine[i, j] = cosine[j, i] = value
    order = cluster_order(codes, [LayerSimilarity("encoder.layers.1", tuple(codes), cosine)])
    assert sorted(order) == codes
    text = " ".join(order)
    assert "deu_Latn nld_Latn" in text or "nld_Latn deu_Latn" in text
    # French is as Spanish is, which stands between it and Portuguese.
    assert "fra_Latn spa_Latn por_Latn" in text or "por_Latn spa_Latn fra_Latn" in text


def test_languages_of_a_family_are_compared_with_the_others() -> None:
    codes = ("deu_Latn", "eng_Latn", "fin_Latn", "qaa_Latn")
    cosine = np.array([[1, 0.8, 0.2, 0], [0.8, 1, 0.4, 0], [0.2, 0.4, 1, 0], [0, 0, 0, 1]])
    found = LayerSimilarity("encoder.layers.1", codes, cosine)
    # The family of a private-use language is not known, so that it is in no pair.
    assert contrast(found, by="family") == pytest.approx((0.8, 0.3))
    assert contrast(found, by="script").other is None


def random_usage(codes: list[str], num_experts: int, layers: list[int]) -> dict[str, Any]:
    chooser = random.Random(0)
    measured = [
        Measured(
            Direction(code, code),
            {
                f"{side}.layers.{i}": [chooser.random() for _ in range(num_experts)]
                for side in ("encoder", "decoder")
                for i in layers
            },
        )
        for code in codes
    ]
    return summarize_usage(measured, 10)


def test_page_of_all_languages_and_128_experts_is_small(tmp_path: Path) -> None:
    usage = random_usage(list(known_languages())[:202], 128, [3, 23])
    page = render_usage(usage)
    assert len(page) < 600_000
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "Early encoder" in page


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to draw the page with")
@pytest.mark.parametrize("codes", [["qaa_Latn", "qab_Latn", "rus_Cyrl"], ["fra_Latn"]])
def test_page_draws_in_a_browser(tmp_path: Path, codes: list[str]) -> None:
    path = tmp_path / "experts.html"
    path.write_text(render_usage(random_usage(codes, 4, [1])), encoding="utf-8")
    assert CHROMIUM is not None
    drawn = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=4000",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert 'data-drawn="yes"' in drawn.stdout


@pytest.fixture(scope="module")
def flores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flores(tmp_path_factory.mktemp("flores"), ["bara kili", "mono", "šegu mo"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, vocabulary_path: Path) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), vocabulary_path, num_experts=4)


def test_report_holds_what_the_command_prints(tmp_path: Path, model: Path, flores: Path) -> None:
    config = UsageConfig(threads=1)
    printed = measure_or_report(model, flores, "dev", (), None, config)
    reported = measure_or_report(model, flores, "dev", (), tmp_path / "usage", config)
    assert reported == printed
    assert json.loads((tmp_path / "usage" / "usage.json").read_text()) == printed
    shares = [line.split("\t") for line in read_lines(tmp_path / "usage" / "shares.tsv")]
    assert shares[0] == ["layer", "language", "expert", "share"]
    assert len(shares) == 1 + 2 * 2 * 4
    assert sum(float(row[3]) for row in shares[1:5]) == pytest.approx(1, abs=1e-5)
    pairs = read_lines(tmp_path / "usage" / "similarity.tsv")
    assert len(pairs) == 1 + 2
    assert 0 < float(pairs[1].split("\t")[3]) <= 1


def test_report_goes_on_where_it_was_stopped(tmp_path: Path, model: Path, flores: Path) -> None:
    output = tmp_path / "usage"
    measure_or_report(model, flores, "dev", (), output, UsageConfig(threads=1))
    before = (output / "experts.html").read_bytes()
    kept = output / "counts" / "qaa_Latn-qab_Latn.json"
    time = kept.stat().st_mtime_ns
    (output / "counts" / "qab_Latn-qaa_Latn.json").unlink()
    (output / "experts.html").unlink()
    measure_or_report(model, flores, "dev", (), output, UsageConfig(threads=1))
    assert (output / "experts.html").read_bytes() == before
    assert kept.stat().st_mtime_ns == time


def test_directions_can_be_those_of_one_language(model: Path, flores: Path) -> None:
    all_of_them = [parse_direction("qaa_Latn-qab_Latn"), parse_direction("qab_Latn-qaa_Latn")]
    config = UsageConfig(through="qaa_Latn", sentences=2, threads=1)
    usage = measure_or_report(model, flores, "dev", all_of_them[:1], None, config)
    assert usage["directions"] == ["qaa_Latn-qab_Latn"]
    assert usage["sentences"] == 2
    with pytest.raises(UserError, match="no direction that the model was trained on from or into"):
        measure_or_report(model, flores, "dev", (), None, UsageConfig(through="qac_Cyrl"))


def test_dense_model_has_no_usage(tmp_path: Path, vocabulary_path: Path, flores: Path) -> None:
    dense = write_model(tmp_path / "dense", vocabulary_path, num_experts=0)
    with pytest.raises(UserError, match="no layer with experts"):
        measure_or_report(dense, flores, "dev", (), None, UsageConfig())


def test_gpu_that_is_not_there_is_refused(
    model: Path, flores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="torch finds no GPU here"):
        measure_or_report(model, flores, "dev", (), None, UsageConfig(device="cuda"))
