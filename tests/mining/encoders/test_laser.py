import argparse
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import sentencepiece  # noqa: E402

from corpus.errors import JobError, UserError  # noqa: E402
from corpus.files import read_json  # noqa: E402
from mining.encoders import load_encoder  # noqa: E402
from mining.encoders.embed_config import ImportLaserConfig  # noqa: E402
from mining.encoders.laser import run_import_laser  # noqa: E402
from mining.encoders.sequence import SequenceEncoder  # noqa: E402
from mining.encoders.tokens import laser_clean  # noqa: E402
from tests.mining.encoders import literal_laser as literal  # noqa: E402

TEXT = ["the old house by the river", "eine alte Stadt am Fluss", "el perro ve la casa", "« oui »"]
SENTENCES = ["The old house", "el perro", "", "eine alte Stadt am Fluss, 3 %", "ж 😀 unknown"]
DIMENSION, LAYERS, HEADS, HIDDEN = 16, 2, 4, 12


@pytest.fixture(scope="module")
def spm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SentencePiece model as LASER's: specials of its own that the dictionary does not follow."""
    path = tmp_path_factory.mktemp("spm") / "laser2.spm"
    write_spm(path)
    return path


def write_spm(path: Path) -> None:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT * 3), model_writer=model, vocab_size=60,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    path.write_bytes(model.getvalue())


def pieces(spm: Path) -> list[str]:
    """All pieces, in an order that is not SentencePiece's."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(spm))
    return [processor.id_to_piece(row) for row in range(processor.get_piece_size())][:2:-1]


def literal_ids(spm: Path, text: str, prepend_bos: bool = False) -> list[int]:
    """As `_tokenize` of laser_encoders: words of the joined pieces, by dictionary, then </s>."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(spm))
    words = " ".join(processor.encode(laser_clean(text), out_type=str)).split()
    ids = {piece: row + 4 for row, piece in enumerate(pieces(spm))}
    return [0] * prepend_bos + [ids.get(word, 3) for word in words] + [2]


def laser2_state(spm: Path) -> dict[str, Any]:
    words = pieces(spm)
    torch.manual_seed(5)
    embedding = torch.nn.Embedding(len(words) + 4, 8, padding_idx=1)
    lstm = torch.nn.LSTM(8, HIDDEN, num_layers=LAYERS, bidirectional=True)
    model = {f"embed_tokens.{key}": value for key, value in embedding.state_dict().items()}
    model |= {f"lstm.{key}": value for key, value in lstm.state_dict().items()}
    return {
        "params": {
            "num_embeddings": len(words) + 4, "padding_idx": 1, "embed_dim": 8,
            "hidden_size": HIDDEN, "num_layers": LAYERS, "bidirectional": True, "left_pad": True,
            "padding_value": 0.0,
        },
        "model": model,
        "dictionary": {
            "<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3,
            **{word: row + 4 for row, word in enumerate(words)},
        },
    }  # fmt: skip


def laser3_state(spm: Path, **options: Any) -> dict[str, Any]:
    """Weights with fairseq's names, in a checkpoint with a decoder's leftovers."""
    generator = torch.Generator().manual_seed(7)

    def make(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator) * 0.4

    rows = len(pieces(spm)) + 4 + options["final_norm"]
    weights = {"embed_tokens.weight": make(rows, DIMENSION)}
    norms = ["layernorm_embedding"] * options["embedding_norm"]
    norms += ["layer_norm"] * options["final_norm"]
    for layer in range(LAYERS):
        name = f"layers.{layer}"
        norms += [f"{name}.self_attn_layer_norm", f"{name}.final_layer_norm"]
        shapes = {f"self_attn.{part}_proj": (DIMENSION, DIMENSION) for part in ("q", "k", "v")}
        shapes |= {"self_attn.out_proj": (DIMENSION, DIMENSION)}
        shapes |= {"fc1": (HIDDEN, DIMENSION), "fc2": (DIMENSION, HIDDEN)}
        for part, shape in shapes.items():
            weights[f"{name}.{part}.weight"] = make(*shape)
            weights[f"{name}.{part}.bias"] = make(shape[0])
    for norm in norms:
        weights[f"{norm}.weight"], weights[f"{norm}.bias"] = 1 + make(DIMENSION), make(DIMENSION)
    weights["version"] = torch.tensor([3.0])
    weights["embed_positions._float_tensor"] = torch.zeros(1)
    if options["prefixed"]:
        weights = {f"encoder.{name}": one for name, one in weights.items()}
        weights |= {"decoder.version": torch.tensor([3.0]), "decoder.embed.weight": make(3, 3)}
    model = argparse.Namespace(
        encoder_embed_dim=DIMENSION, encoder_layers=LAYERS, encoder_ffn_embed_dim=HIDDEN,
        encoder_attention_heads=HEADS, encoder_normalize_before=options["norm_first"],
        activation_fn=options["activation"], no_scale_embedding=not options["scale"],
        sentemb_criterion=options["pooling"], prepend_bos=options["pooling"] == "cls",
        left_pad_source=True,
    )  # fmt: skip
    return {"cfg": {"model": model, "task": argparse.Namespace(seed=1)}, "model": weights}


def write_cvocab(path: Path, spm: Path) -> Path:
    path.write_text("".join(f"{piece} {9}\n" for piece in pieces(spm)), encoding="utf-8")
    return path


def numpy_weights(state: dict[str, Any]) -> dict[str, Any]:
    return {
        name.removeprefix("encoder."): one.numpy().astype(np.float64)
        for name, one in state["model"].items()
    }


def load(tmp_path: Path, state: Any, spm: Path, cvocab: Path | None = None) -> SequenceEncoder:
    torch.save(state, tmp_path / "laser.pt")
    run_import_laser(tmp_path / "laser.pt", spm, cvocab, tmp_path / "out", ImportLaserConfig())
    loaded = load_encoder(tmp_path / "out", batch_tokens=40)
    assert isinstance(loaded, SequenceEncoder)
    return loaded


def unit_rows(rows: list[Any]) -> Any:
    return np.array([row / np.linalg.norm(row) for row in rows])


def test_laser2_gives_what_the_formulas_give(spm: Path, tmp_path: Path) -> None:
    state = laser2_state(spm)
    loaded = load(tmp_path, state, spm)
    weights = numpy_weights(state)
    expected = [literal.laser2(literal_ids(spm, text), weights, LAYERS) for text in SENTENCES]
    assert loaded.dimension == 2 * HIDDEN
    assert loaded.encode(SENTENCES) == pytest.approx(unit_rows(expected), abs=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"norm_first": False, "final_norm": True, "scale": True, "pooling": "cls"},
        {"norm_first": True, "final_norm": True, "scale": True, "pooling": "maxpool"},
        {"norm_first": False, "final_norm": False, "scale": False, "pooling": "maxpool"},
        {"norm_first": False, "final_norm": True, "scale": True, "pooling": "cls",
         "activation": "gelu", "embedding_norm": True, "prefixed": False},
    ],
)  # fmt: skip
def test_laser3_gives_what_the_formulas_give(
    options: dict[str, Any], spm: Path, tmp_path: Path
) -> None:
    options = {"activation": "relu", "embedding_norm": False, "prefixed": True, **options}
    state = laser3_state(spm, **options)
    loaded = load(tmp_path, state, spm, write_cvocab(tmp_path / "laser.cvocab", spm))
    is_cls = options["pooling"] == "cls"
    expected = [
        literal.laser3(
            literal_ids(spm, text, is_cls), numpy_weights(state), layers=LAYERS, heads=HEADS,
            norm_first=options["norm_first"], scale=options["scale"],
            activation=options["activation"], pooling="cls" if is_cls else "max",
        )
        for text in SENTENCES
    ]  # fmt: skip
    assert loaded.encode(SENTENCES) == pytest.approx(unit_rows(expected), abs=1e-5)


def test_pickled_code_is_refused_and_not_run(spm: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    state = {**laser2_state(spm), "extra": Evil()}
    with pytest.raises(JobError, match="is not read: it is damaged, or a pickle that would run"):
        load(tmp_path, state, spm)
    assert not (tmp_path / "ran").exists()
    (tmp_path / "laser.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(JobError, match="is not read"):
        run_import_laser(tmp_path / "laser.pt", spm, None, tmp_path / "other", ImportLaserConfig())
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {"weights": 1}, "is not a LASER checkpoint"),
        (lambda state: [1, 2], "is not a LASER checkpoint.*list"),
        (
            lambda state: {**state, "dictionary": {**state["dictionary"], "more": 9}},
            "do not run from 4 without a gap",
        ),
        (
            lambda state: {**state, "model": {"embed_tokens.weight": torch.zeros(3, 8)}},
            "3 token vectors, and the vocabulary",
        ),
    ],
)
def test_checkpoint_of_another_layout_is_refused(
    change: Any, message: str, spm: Path, tmp_path: Path
) -> None:
    with pytest.raises(JobError, match=message):
        load(tmp_path, change(laser2_state(spm)), spm)


def test_missing_and_mismatched_files_are_named(spm: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing.pt does not exist"):
        run_import_laser(tmp_path / "nothing.pt", spm, None, tmp_path / "o", ImportLaserConfig())
    options = {"norm_first": True, "final_norm": True, "scale": True, "pooling": "maxpool"}
    state = laser3_state(spm, activation="relu", embedding_norm=False, prefixed=True, **options)
    with pytest.raises(JobError, match="needs its `--vocabulary`"):
        load(tmp_path, state, spm)
    cvocab = write_cvocab(tmp_path / "laser.cvocab", spm)
    text = cvocab.read_text(encoding="utf-8")
    cvocab.write_text(text + text.split("\n")[1] + "\n", encoding="utf-8")
    with pytest.raises(JobError, match=r"laser.cvocab:\d+: the piece '.+' is in line 2 too"):
        load(tmp_path, state, spm, cvocab)
    state["cfg"]["model"].encoder_learned_pos = True
    with pytest.raises(JobError, match="has learned positions, which is not supported"):
        load(tmp_path, state, spm, write_cvocab(tmp_path / "laser.cvocab", spm))


def test_import_describes_itself_and_takes_odd_lines(spm: Path, tmp_path: Path) -> None:
    loaded = load(tmp_path, laser2_state(spm), spm)
    description = read_json(tmp_path / "out" / "encoder.json")
    assert description["lstm"]["preprocessing"] == "laser"
    assert description["space"] == description["fingerprint"]
    odd = ["", "a" * 10_000, "x\x00\x1by", "lone \ud800 surrogate", "\u2028", "\ufeff"]
    assert np.isfinite(loaded.encode(odd)).all()
    assert loaded.encode(odd[:2])[1] == pytest.approx(loaded.encode(odd[1:2])[0], abs=1e-5)


def test_text_is_prepared_as_moses_and_laser_do() -> None:
    # By hand from normalize-punctuation.perl (mosesdecoder, release 4) and LASER's lower-casing.
    assert laser_clean("“Hello” — he said…") == '"hello" - he said...'
    assert laser_clean("It’s 5 % ( well ) : «\u00a0oui\u00a0»") == 'it\'s 5% (well): "oui"'
    assert laser_clean("‘so’ ‚low‘") == '"so" "low"'
    assert laser_clean("a\x00b\u200dc\ue000d\ud800e") == "a b c d e"
    assert laser_clean('He said "no".') == 'he said "no."'
    assert laser_clean("1\u00a0000") == "1.000"
