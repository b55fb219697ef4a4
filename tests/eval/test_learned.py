"""Learned metrics on random small checkpoints in the published layouts.

Each is compared, segment by segment, with an implementation that is written from the published
source as literally as possible: one segment at a time, without padding, caches or batches.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import sentencepiece  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors  # noqa: E402
from torch import nn  # noqa: E402

from corpus.errors import DataError, JobError, UserError  # noqa: E402
from corpus.files import read_lines, write_lines  # noqa: E402
from corpus.languages import Direction, known_languages  # noqa: E402
from eval.cli import group  # noqa: E402
from eval.learned_models.load import load_scorer  # noqa: E402
from eval.learned_models.metrics import LEARNED, covered_languages  # noqa: E402
from eval.learned_models.metricx import MetricX  # noqa: E402
from eval.learned_models.weights import batches  # noqa: E402
from eval.statistics.learned_results import read_learned  # noqa: E402

SOURCES = [
    "the river runs under a bridge", "who opened the door", "bread is baked here every morning",
    "a", "the train to the coast leaves every hour until midnight and then it stops for the night",
    "rain", "", "she said that it was half past five in the afternoon",
]  # fmt: skip
HYPOTHESES = [
    "la riviere coule", "qui a ouvert la porte", "le pain est cuit ici chaque matin", "un deux",
    "le train pour la cote part chaque heure jusque a minuit et apres il attend toute la nuit la",
    "", "pluie", "elle disait quil etait cinq heures et demie",
]  # fmt: skip
REFERENCES = [
    "la riviere passe sous un pont", "qui ouvrit la porte", "ici on cuit le pain le matin", "un",
    "le train de la cote part toutes les heures jusque minuit puis sarrete pour la nuit entiere",
    "pluie", "la pluie", "elle dit que cetait cinq heures et demie",
]  # fmt: skip
PAIR = Direction("eng_Latn", "fra_Latn")
WIDTH, LAYERS, POSITIONS = 16, 3, 40
TOLERANCE = 1e-4


def make_tokenizer(folder: Path, kind: str) -> None:
    """Write a tokenizer of letters and short words, with the special tokens of XLM-R or mT5."""
    start = ["<s>", "<pad>", "</s>", "<unk>"] if kind == "xlm-r" else ["<pad>", "</s>", "<unk>"]
    words = {word for line in SOURCES + HYPOTHESES for word in line.split()[:3]}
    pieces = ["▁", *"abcdefghijklmnopqrstuvwxyz:", *(f"▁{word}" for word in sorted(words))]
    vocabulary = [(piece, 0.0) for piece in start]
    vocabulary += [(piece, -3.0 - len(piece) / 9) for piece in pieces]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=start.index("<unk>")))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    ids = [(token, start.index(token)) for token in start if token not in ("<pad>", "<unk>")]
    if kind == "xlm-r":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ids
        )
        made = transformers.XLMRobertaTokenizerFast(tokenizer_object=tokenizer)
    else:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A </s>", pair="$A </s> $B </s>", special_tokens=ids
        )
        made = transformers.T5TokenizerFast(tokenizer_object=tokenizer, extra_ids=0)
    made.save_pretrained(folder)


def make_encoder(folder: Path, kind: str = "xlm-r") -> Any:
    """Write configuration and tokenizer of a small XLM-R; return its model with random weights."""
    make_tokenizer(folder, "xlm-r")
    sizes = {
        "vocab_size": 200, "hidden_size": WIDTH, "num_hidden_layers": LAYERS,
        "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": POSITIONS,
        "type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
        "initializer_range": 0.5, "layer_norm_eps": 1e-5,
    }  # fmt: skip
    if kind == "xlm-r":
        config = transformers.XLMRobertaConfig(**sizes)
        model = transformers.XLMRobertaModel(config, add_pooling_layer=False)
    else:
        config = transformers.XLMRobertaXLConfig(**sizes)
        model = transformers.XLMRobertaXLModel(config, add_pooling_layer=False)
    config.save_pretrained(folder)
    return model.eval()


def make_comet(folder: Path, kind: str, **changes: Any) -> dict[str, Any]:
    """Write a checkpoint in COMET's layout; return its hparams, weights and encoder."""
    torch.manual_seed(7)
    encoder = make_encoder(folder / "encoder", changes.pop("encoder", "xlm-r"))
    inputs = {"regression_metric": 6, "referenceless_regression_metric": 4}.get(kind, 1) * WIDTH
    hparams = {
        "class_identifier": kind, "encoder_model": "XLM-RoBERTa", "pretrained_model": "small",
        "activations": "Tanh", "final_activation": None, "hidden_sizes": [12, 6], "dropout": 0.1,
        "layer_norm": False, "layer_transformation": "sparsemax", "pool": "avg", "layer": "mix",
    } | changes  # fmt: skip
    weights = {f"encoder.model.{key}": one for key, one in encoder.state_dict().items()}
    for place, (size, before) in enumerate([(12, inputs), (6, 12), (1, 6)]):
        weights[f"estimator.ff.{3 * place}.weight"] = torch.randn(size, before) / before**0.5
        weights[f"estimator.ff.{3 * place}.bias"] = torch.randn(size) / 4
    for layer in range(LAYERS + 1):
        weights[f"layerwise_attention.scalar_parameters.{layer}"] = torch.randn(1) / 2
    weights["layerwise_attention.gamma"] = torch.tensor([1.3])
    if hparams.get("word_level_training") or kind == "xcomet_metric":
        labels = 1 + len(hparams.get("error_labels", [1, 2, 3]))
        weights["hidden2tag.weight"] = torch.randn(labels, WIDTH)
        weights["hidden2tag.bias"] = torch.randn(labels)
    beside = {"epoch": 3, "hyper_parameters": hparams, "loops": nn.Dropout(), "path": Path("x")}
    (folder / "checkpoints").mkdir()
    torch.save({"state_dict": weights, **beside}, folder / "checkpoints" / "model.ckpt")
    (folder / "hparams.yaml").write_text(yaml.safe_dump(hparams), encoding="utf-8")
    tokenizer = transformers.XLMRobertaTokenizerFast.from_pretrained(folder / "encoder")
    return {"hparams": hparams, "weights": weights, "encoder": encoder, "tokenizer": tokenizer}


# The published implementation, literally, for one segment.


def literal_mixture(made: dict[str, Any], layers: list[np.ndarray]) -> np.ndarray:
    weights, hparams = made["weights"], made["hparams"]
    raw = np.array(
        [float(weights[f"layerwise_attention.scalar_parameters.{i}"]) for i in range(LAYERS + 1)]
    )
    if hparams["layer_transformation"] == "sparsemax":  # tau by trying every support size
        for size in range(len(raw), 0, -1):
            top = np.sort(raw)[::-1][:size]
            tau = (top.sum() - 1) / size
            if top[-1] > tau:
                break
        shares = np.maximum(raw - tau, 0)
    else:
        shares = np.exp(raw) / np.exp(raw).sum()
    if hparams["layer_norm"]:
        layers = [(one - one.mean()) / np.sqrt(one.var() + 1e-12) for one in layers]
    total = sum(share * one for share, one in zip(shares, layers, strict=True))
    return float(weights["layerwise_attention.gamma"]) * total


def literal_layers(made: dict[str, Any], tokens: list[int]) -> list[np.ndarray]:
    with torch.inference_mode():
        output = made["encoder"](
            torch.tensor([tokens]), torch.ones(1, len(tokens)), output_hidden_states=True
        )
    return [one[0].numpy().astype(np.float64) for one in output.hidden_states]


def literal_estimate(made: dict[str, Any], features: np.ndarray) -> float:
    for place in range(3):
        weight = made["weights"][f"estimator.ff.{3 * place}.weight"].numpy().astype(np.float64)
        bias = made["weights"][f"estimator.ff.{3 * place}.bias"].numpy()
        features = weight @ features + bias
        features = np.tanh(features) if place < 2 else features
    return float(features[0])


def literal_tokens(made: dict[str, Any], text: str) -> list[int]:
    found: list[int] = made["tokenizer"](text, truncation=True, max_length=POSITIONS - 4)[
        "input_ids"
    ]
    return found


def literal_regression(made: dict[str, Any], *texts: str) -> float:
    embeddings = []
    for text in texts:
        tokens = literal_tokens(made, text)
        mixed = literal_mixture(made, literal_layers(made, tokens))
        kept = mixed[np.array(tokens) != made["tokenizer"].pad_token_id]
        average = kept.sum(0) / len(tokens)
        embeddings.append(
            {"avg": average, "cls": mixed[0], "max": kept.max(0)}[made["hparams"]["pool"]]
        )
    src, mt, *ref = embeddings
    if ref:
        parts = [mt, ref[0], mt * ref[0], abs(mt - ref[0]), mt * src, abs(mt - src)]
    else:
        parts = [mt, src, mt * src, abs(mt - src)]
    return literal_estimate(made, np.concatenate(parts))


def literal_join(made: dict[str, Any], *texts: str) -> list[int]:
    tokens = [literal_tokens(made, text)[1:-1] for text in texts]
    sequence = [0, *tokens[0], 2]
    for part in tokens[1:]:
        sequence += [2, *part, 2]
    if sum(map(len, tokens)) > POSITIONS - 2 - (1 + 2 * len(tokens)):
        sequence = sequence[: POSITIONS - 2]
    return sequence


def literal_unified(made: dict[str, Any], src: str, mt: str, ref: str | None = None) -> float:
    inputs = [(mt, src)] if ref is None else [(mt, src), (mt, ref), (mt, src, ref)]
    scores, tags = [], []
    for texts in inputs:
        layers = literal_layers(made, literal_join(made, *texts))
        scores.append(literal_estimate(made, literal_mixture(made, layers)[0]))
        if made["hparams"]["class_identifier"] == "xcomet_metric":
            weight = made["weights"]["hidden2tag.weight"].numpy().astype(np.float64)
            logits = layers[made["hparams"]["word_layer"]] @ weight.T
            logits = logits + made["weights"]["hidden2tag.bias"].numpy()
            tags.append(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    if not tags:
        return float(np.mean(scores))
    length = len(literal_tokens(made, mt))
    if ref is None:
        total, likely = 0.78 * min(scores[0], 1.0), tags[0][:length]
    else:
        total = sum(w * min(s, 1.0) for w, s in zip((0.12, 0.33, 0.33), scores, strict=True))
        likely = sum(w * t[:length] for w, t in zip((0.1667, 0.3333, 0.5), tags, strict=True))
    penalty, severity = 0, 0
    for label in likely.argmax(1):
        if label and not severity:
            severity = (0, 1, 5, 10)[label]
        elif not label:
            penalty, severity = penalty + severity, 0
    return float(total + 0.22 * (25 - min(penalty, 25)) / 25)


Literal = Callable[..., float]


@pytest.mark.parametrize(
    ("metric", "kind", "literal", "changes"),
    [
        ("comet-22", "regression_metric", literal_regression, {}),
        ("comet-22", "regression_metric", literal_regression,
         {"layer_norm": True, "layer_transformation": "softmax", "pool": "cls"}),
        ("cometkiwi-22", "referenceless_regression_metric", literal_regression, {"pool": "max"}),
        ("cometkiwi-22", "unified_metric", literal_unified,
         {"input_segments": ["mt", "src"], "sent_layer": "mix", "word_level_training": True}),
        ("cometkiwi-23", "unified_metric", literal_unified,
         {"input_segments": ["mt", "src"], "sent_layer": "mix", "encoder": "xl",
          "encoder_model": "XLM-RoBERTa-XL", "layer_transformation": "sparsemax_patch"}),
        ("xcomet", "xcomet_metric", literal_unified, {"sent_layer": "mix", "word_layer": 2}),
        ("xcomet-qe", "xcomet_metric", literal_unified, {"sent_layer": "mix", "word_layer": 2}),
    ],
)  # fmt: skip
def test_comet_is_that_of_its_source_segment_by_segment(
    metric: str, kind: str, literal: Literal, changes: dict[str, Any], tmp_path: Path
) -> None:
    made = make_comet(tmp_path, kind, **changes)
    references = REFERENCES if LEARNED[metric].needs_reference else None
    expected = [
        literal(made, *row)
        for row in zip(SOURCES, HYPOTHESES, *([references] if references else []), strict=True)
    ]
    assert np.std(expected) > 0.01
    for batch_tokens in (90, 10_000):
        scorer = load_scorer(
            metric, tmp_path, tmp_path / "encoder", device="cpu", dtype="float32",
            batch_tokens=batch_tokens,
        )  # fmt: skip
        found = scorer.score(PAIR, SOURCES, HYPOTHESES, references)
        assert np.abs(np.array(found) - expected).max() < TOLERANCE


@pytest.mark.parametrize("pool", ["avg", "max"])
def test_a_padding_token_in_a_text_adds_nothing_to_an_embedding(pool: str, tmp_path: Path) -> None:
    made = make_comet(tmp_path, "regression_metric", pool=pool)
    row = ["rain <pad> rain", "la pluie", "<pad>"]
    scorer = load_scorer(
        "comet-22", tmp_path, tmp_path / "encoder", device="cpu", dtype="float32", batch_tokens=90
    )
    found = scorer.score(PAIR, *([text] for text in row))
    assert found == pytest.approx([literal_regression(made, *row)], abs=TOLERANCE)


def make_metricx(folder: Path) -> Any:
    torch.manual_seed(3)
    make_tokenizer(folder, "mt5")
    config = transformers.MT5Config(
        vocab_size=250112, d_model=8, d_kv=4, d_ff=16, num_layers=2, num_decoder_layers=2,
        num_heads=2, tie_word_embeddings=False, initializer_factor=1.0, decoder_start_token_id=0,
    )  # fmt: skip
    model = transformers.MT5ForConditionalGeneration(config).eval()
    with torch.no_grad():  # scores about 5
        states = model.encoder(torch.arange(4, 12)[None]).last_hidden_state
        first = torch.zeros(1, 1, dtype=torch.long)
        state = model.decoder(first, encoder_hidden_states=states).last_hidden_state[0, 0]
        model.lm_head.weight[250089] = 5 * state / (state @ state)
    model.save_pretrained(folder)
    return model


def test_metricx_is_that_of_its_source_segment_by_segment(tmp_path: Path) -> None:
    model = make_metricx(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for metric, references in (("metricx-24", REFERENCES), ("metricx-24-qe", None)):
        expected = literal_metricx(model, tokenizer, references)
        assert np.std(expected) > 0.01
        scorer = load_scorer(
            metric, tmp_path, tmp_path, device="cpu", dtype="float32", batch_tokens=200
        )
        found = scorer.score(PAIR, SOURCES, HYPOTHESES, references)
        assert np.abs(np.array(found) - expected).max() < TOLERANCE


def test_metricx_keeps_the_space_where_a_text_is_empty(tmp_path: Path) -> None:
    # As transformers 4.30.2 splits it, which MetricX is published for (benchmarks/learned_metrics).
    make_metricx(tmp_path)
    write_lines(tmp_path / "text.txt", [*SOURCES, *HYPOTHESES] * 3)
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"), vocab_size=60, hard_vocab_limit=False, minloglevel=2,
        model_prefix=str(tmp_path / "spiece"), pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
    )  # fmt: skip
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / name).unlink(missing_ok=True)
    scorer = MetricX(
        tmp_path, tmp_path, device=torch.device("cpu"), dtype=torch.float32, batch_tokens=200
    )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    empty, space = pieces.encode("candidate:", out_type=int), pieces.piece_to_id("▁")
    assert scorer.tokenize(["candidate: ", "candidate:"]) == [[*empty, space], empty]


def literal_metricx(model: Any, tokenizer: Any, references: list[str] | None) -> list[float]:
    expected = []
    for place, (source, hypothesis) in enumerate(zip(SOURCES, HYPOTHESES, strict=True)):
        text = "source: " + source + " candidate: " + hypothesis
        if references:
            text += " reference: " + references[place]
        tokens = torch.tensor([tokenizer(text)["input_ids"][:-1]])
        with torch.inference_mode():
            states = model.encoder(tokens).last_hidden_state
            decoded = model.decoder(
                torch.zeros(1, 1, dtype=torch.long), encoder_hidden_states=states
            )
            logit = decoded.last_hidden_state[0, 0] @ model.lm_head.weight[250089]
        expected.append(min(max(float(logit), 0.0), 25.0))
    return expected


SONAR_WIDTH = 128


def make_sonar(folder: Path) -> tuple[dict[str, Any], Any]:
    """Write a SONAR encoder in fairseq2's layout; return its weights and SentencePiece model."""
    torch.manual_seed(5)
    folder.mkdir()
    write_lines(folder / "text.txt", [*SOURCES, *HYPOTHESES, *REFERENCES] * 3)
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text.txt"), vocab_size=60, hard_vocab_limit=False, minloglevel=2,
        model_prefix=str(folder / "sentencepiece.source.256000"), unk_id=0, bos_id=1, eos_id=2,
    )  # fmt: skip
    pieces = sentencepiece.SentencePieceProcessor(
        model_file=str(folder / "sentencepiece.source.256000.model")
    )
    rows = pieces.get_piece_size() + 1 + 202 + 3
    weights = {"encoder_frontend.embed.weight": torch.randn(rows, SONAR_WIDTH) / 8}

    def linear(name: str, outputs: int, inputs: int) -> None:
        weights[f"{name}.weight"] = torch.randn(outputs, inputs) / inputs**0.5
        weights[f"{name}.bias"] = torch.randn(outputs) / 4

    def norm(name: str) -> None:
        weights[f"{name}.weight"] = 1 + torch.randn(SONAR_WIDTH) / 8
        weights[f"{name}.bias"] = torch.randn(SONAR_WIDTH) / 8

    for layer in range(2):
        start = f"encoder.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "output_proj"):
            linear(f"{start}.self_attn.{part}", SONAR_WIDTH, SONAR_WIDTH)
        linear(f"{start}.ffn.inner_proj", 96, SONAR_WIDTH)
        linear(f"{start}.ffn.output_proj", SONAR_WIDTH, 96)
        norm(f"{start}.self_attn_layer_norm")
        norm(f"{start}.ffn_layer_norm")
    norm("layer_norm")
    torch.save({"model": weights}, folder / "sonar_text_encoder.pt")
    return weights, pieces


def make_blaser(folder: Path, parts: int) -> Any:
    torch.manual_seed(parts)
    folder.mkdir()
    modules = [
        nn.Dropout(0.1), nn.Linear(parts * SONAR_WIDTH, 20), nn.Tanh(), nn.Dropout(0.1),
        nn.Linear(20, 10), nn.Tanh(), nn.Dropout(0.1), nn.Linear(10, 1),
    ]  # fmt: skip
    model = nn.Sequential(*modules).eval()
    torch.save(
        {"model": {f"mlp.{key}": one for key, one in model.state_dict().items()}},
        folder / "model.pt",
    )
    return model


def literal_sonar(weights: dict[str, Any], pieces: Any, text: str, language: str) -> np.ndarray:
    """fairseq2's pre-norm encoder with legacy sinusoidal positions, then the mean."""
    codes = transformers.models.nllb.tokenization_nllb.FAIRSEQ_LANGUAGE_CODES
    ids = [{0: 1, 1: 2, 2: 3}.get(one, one + 1) for one in pieces.encode(text)]  # pad is 0
    tokens = [pieces.get_piece_size() + 1 + codes.index(language), *ids, 3]
    get = {key: one.numpy().astype(np.float64) for key, one in weights.items()}
    half = SONAR_WIDTH // 2
    rates = np.exp(np.arange(half) * -(np.log(10000) / (half - 1)))
    angles = np.arange(2, len(tokens) + 2)[:, None] * rates
    states = get["encoder_frontend.embed.weight"][tokens] * SONAR_WIDTH**0.5
    states = states + np.concatenate([np.sin(angles), np.cos(angles)], axis=1)

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ get[f"{name}.weight"].T + get[f"{name}.bias"]

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        return x * get[f"{name}.weight"] + get[f"{name}.bias"]

    for layer in range(2):
        start = f"encoder.layers.{layer}"
        x = norm(f"{start}.self_attn_layer_norm", states)
        q, k, v = (linear(f"{start}.self_attn.{part}_proj", x) for part in "qkv")
        heads = []
        for head in range(2):
            own = slice(64 * head, 64 * head + 64)
            scores = q[:, own] @ k[:, own].T / 8
            shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
            heads.append(shares @ v[:, own])
        states = states + linear(f"{start}.self_attn.output_proj", np.concatenate(heads, axis=1))
        x = norm(f"{start}.ffn_layer_norm", states)
        inner = np.maximum(linear(f"{start}.ffn.inner_proj", x), 0)
        states = states + linear(f"{start}.ffn.output_proj", inner)
    mean: np.ndarray = norm("layer_norm", states).mean(0)
    return mean


def test_sonar_and_blaser_are_those_of_their_source_segment_by_segment(tmp_path: Path) -> None:
    weights, pieces = make_sonar(tmp_path / "sonar")
    perceptrons = {parts: make_blaser(tmp_path / f"blaser{parts}", parts) for parts in (4, 6)}
    s = np.array([literal_sonar(weights, pieces, text, "eng_Latn") for text in SOURCES])
    h = np.array([literal_sonar(weights, pieces, text, "fra_Latn") for text in HYPOTHESES])
    r = np.array([literal_sonar(weights, pieces, text, "fra_Latn") for text in REFERENCES])
    s, h, r = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (s, h, r))
    features = {
        "blaser-2-qe": [s, h, s * h, abs(h - s)],
        "blaser-2": [r, h, s * h, r * h, abs(h - s), abs(h - r)],
    }
    expected = {"sonar-qe": (h * s).sum(1), "sonar": (h * r).sum(1)}
    for metric, parts in features.items():
        rows = torch.tensor(np.concatenate(parts, axis=1), dtype=torch.float32)
        expected[metric] = perceptrons[len(parts)](rows).detach().numpy()[:, 0]
    for metric, values in expected.items():
        parts = "6" if metric == "blaser-2" else "4"
        scorer = load_scorer(
            metric, tmp_path / f"blaser{parts}", tmp_path / "sonar", device="cpu",
            dtype="float32", batch_tokens=60,
        )  # fmt: skip
        references = REFERENCES if LEARNED[metric].needs_reference else None
        found = scorer.score(PAIR, SOURCES, HYPOTHESES, references)
        assert np.abs(np.array(found) - values).max() < TOLERANCE, metric
    wrong = load_scorer(
        "blaser-2", tmp_path / "blaser4", tmp_path / "sonar", device="cpu", dtype="float32",
        batch_tokens=60,
    )  # fmt: skip
    with pytest.raises(DataError, match="is it BLASER without a reference"):
        wrong.score(PAIR, SOURCES, HYPOTHESES, REFERENCES)


# The command.


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make_comet(tmp_path / "comet", "regression_metric")
    texts = {"eng_Latn": SOURCES, "fra_Latn": REFERENCES, "ace_Latn": REFERENCES}
    for code, lines in texts.items():
        write_lines(tmp_path / "flores" / "devtest" / f"{code}.devtest", lines)
    for system, lines in (("mine", HYPOTHESES), ("yours", REFERENCES)):
        for target in ("fra_Latn", "ace_Latn"):
            write_lines(tmp_path / system / f"eng_Latn-{target}.txt", lines)
    return tmp_path


def arguments(run: Path, *more: str) -> list[str]:
    return [
        "learned", "--metric", "comet-22", "--checkpoint", str(run / "comet"), "--encoder",
        str(run / "comet" / "encoder"), "--hypotheses", str(run / "mine"), "--hypotheses",
        str(run / "yours"), "--flores", str(run / "flores"), "--output", str(run / "out"), *more,
    ]  # fmt: skip


def test_command_scores_covered_directions_with_intervals_and_tests(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = CliRunner().invoke(group, arguments(run, "--json"), catch_exceptions=False)
    found = json.loads(result.stdout)
    assert found["not_covered"] == ["eng_Latn-ace_Latn"]
    mine, yours = found["systems"]
    turned = arguments(run, "--json")
    systems = [place for place, part in enumerate(turned) if part == "--hypotheses"]
    first, second = (turned[place + 1] for place in systems)
    for place, path in zip(systems, (second, first), strict=True):
        turned[place + 1] = path
    again = json.loads(CliRunner().invoke(group, turned, catch_exceptions=False).stdout)
    # In the order given, of which the first is the baseline.
    assert [one["system"] for one in again["systems"]] == ["yours", "mine"]
    assert again["systems"][1]["baseline"] == "yours"
    CliRunner().invoke(group, arguments(run), catch_exceptions=False)
    assert mine["low"] < mine["value"] < mine["high"]
    assert (yours["baseline"], mine["p_value"]) == ("mine", None)
    assert 0 < yours["p_value"] <= 1
    folder = run / "out" / "learned" / "comet-22"
    rows = [line.split("\t") for line in read_lines(folder / "scores.tsv")]
    assert rows[1][:3] == ["mine", str(PAIR), "comet-22"]
    assert rows[1][5].startswith(f"{found['signature']}|refs:")
    means = read_learned(run / "out").averages
    assert [(one.system, one.n, one.n_missing) for one in means] == [
        ("mine", 1, 1),
        ("yours", 1, 1),
    ]
    # Of one direction, the mean's interval is the score's.
    assert (means[0].mean, means[0].low) == (mine["value"], pytest.approx(mine["low"]))
    header, *segments = map(json.loads, read_lines(folder / "segments.jsonl"))
    assert "fra_Latn" in header["languages"]
    own = [one["score"] for one in segments if one["system"] == "mine"]
    assert float(rows[1][3]) == pytest.approx(np.mean(own))

    # Run again, no model is loaded; another model scores anew.
    before = (folder / "scores.tsv").read_bytes()
    monkeypatch.setattr("eval.learned._load", lambda *_: pytest.fail("a model was loaded"))
    CliRunner().invoke(group, arguments(run), catch_exceptions=False)
    assert (folder / "scores.tsv").read_bytes() == before
    monkeypatch.undo()
    state = torch.load(run / "comet" / "checkpoints" / "model.ckpt", weights_only=False)
    state["state_dict"]["estimator.ff.6.bias"] += 1
    torch.save(state, run / "comet" / "checkpoints" / "model.ckpt")
    again = CliRunner().invoke(group, arguments(run, "--json"), catch_exceptions=False)
    changed = json.loads(again.stdout)
    assert changed["systems"][0]["value"] == pytest.approx(mine["value"] + 1, abs=1e-4)
    assert changed["signature"] != found["signature"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: (run / "comet" / "hparams.yaml").unlink(), "has no hparams.yaml"),
        (
            lambda run: (run / "comet" / "encoder" / "tokenizer.json").unlink(),
            "the encoder's tokenizer; see --encoder",
        ),
        (
            lambda run: (run / "comet" / "hparams.yaml").write_text(
                "class_identifier: ranking_metric\nencoder_model: XLM-RoBERTa\n"
            ),
            "is a `ranking_metric`; this metric needs regression_metric",
        ),
    ],
)
def test_models_that_are_not_whole_are_refused(
    change: Callable[[Path], Any], message: str, run: Path
) -> None:
    change(run)
    with pytest.raises(UserError, match=message):
        CliRunner().invoke(group, arguments(run), catch_exceptions=False)


def test_of_several_references_the_first_that_is_chosen_is_taken(run: Path) -> None:
    texts = {
        'src lang="en"': SOURCES,
        'ref lang="fr" translator="A"': HYPOTHESES[::-1],
        'ref lang="fr" translator="B"': REFERENCES,
    }
    parts = [
        f"<{tag}><p>"
        + "".join(f'<seg id="{n}">{line}</seg>' for n, line in enumerate(lines, 1))
        + f"</p></{tag[:3]}>"
        for tag, lines in texts.items()
    ]
    content = f'<dataset id="x"><doc id="d">{"".join(parts)}</doc></dataset>'
    (run / "en-fr.xml").write_text(content, encoding="utf-8")
    for system in ("mine", "yours"):
        (run / system / "eng_Latn-ace_Latn.txt").unlink()
    found = {}
    for name, path, chosen in [
        ("flores", "flores", "[]"), ("both", "en-fr.xml", "[]"), ("b", "en-fr.xml", "[B]"),
    ]:  # fmt: skip
        options = arguments(run, "--json", "--config", f"references={chosen}")
        options[options.index("--flores") + 1] = str(run / path)
        options[options.index("--output") + 1] = str(run / name)
        result = CliRunner().invoke(group, options, catch_exceptions=False)
        table = read_lines(run / name / "learned" / "comet-22" / "scores.tsv")
        found[name] = (json.loads(result.stdout)["systems"][0]["value"], table[1])
    assert found["b"][0] == pytest.approx(found["flores"][0])
    assert found["both"][0] != pytest.approx(found["flores"][0])
    assert "|reference:1 of 2|" in found["both"][1]
    assert "|reference:" not in found["b"][1]


def test_weights_that_do_not_fit_are_named(run: Path) -> None:
    path = run / "comet" / "checkpoints" / "model.ckpt"
    state = torch.load(path, weights_only=False)
    del state["state_dict"]["layerwise_attention.gamma"]
    torch.save(state, path)
    with pytest.raises(DataError, match=r"no weights `layerwise_attention\.gamma`"):
        load_scorer(
            "comet-22", run / "comet", run / "comet" / "encoder", device="cpu", dtype="float32",
            batch_tokens=99,
        )  # fmt: skip


def test_every_metric_names_languages_that_exist() -> None:
    for metric in LEARNED.values():
        languages = covered_languages(metric.languages)
        assert len(languages) > 90
        assert languages <= known_languages().keys()


def test_batches_hold_every_place_once_within_the_limit() -> None:
    lengths = [3, 9, 1, 4, 4, 20, 2]
    found = list(batches(lengths, 12))
    assert sorted(place for batch in found for place in batch) == list(range(7))
    assert all(len(b) == 1 or len(b) * max(lengths[p] for p in b) <= 12 for b in found)


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json"])
@pytest.mark.parametrize("content", [b"{}", b"\xff\xfe{", b"[["])
def test_damaged_files_of_the_encoder_are_named_by_their_directory(
    name: str, content: bytes, run: Path
) -> None:
    (run / "comet" / "encoder" / name).write_bytes(content)
    with pytest.raises(JobError, match="encoder cannot be loaded"):
        CliRunner().invoke(group, arguments(run), catch_exceptions=False)
