"""The published side of learned_metrics.py: run by the Python of an environment with the package.

    PYTHON benchmarks/learned_metrics_published.py comet|sonar|metricx WORK [METRICX]

Reads WORK/texts.json, writes random small checkpoints with the published classes under WORK, scores
the texts with the published inference, and writes what it found to WORK/<family>.json: for every
case its metric, the directories of checkpoint and encoder, and the scores of every direction. Only
the standard library and the published package are imported.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Cases = dict[str, dict[str, Any]]
Texts = list[dict[str, Any]]

COMET_CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "COMET-22: sparsemax, average": (
        "comet-22", "regression_metric",
        {"layer_transformation": "sparsemax", "layer_norm": False, "pool": "avg"},
    ),
    "COMET-22: softmax, layer normalization, first token": (
        "comet-22", "regression_metric",
        {"layer_transformation": "softmax", "layer_norm": True, "pool": "cls"},
    ),
    "CometKiwi as two embeddings, maximum": (
        "cometkiwi-22", "referenceless_regression_metric",
        {"layer_transformation": "sparsemax", "layer_norm": False, "pool": "max"},
    ),
    "CometKiwi-22: one sequence, tagger": (
        "cometkiwi-22", "unified_metric",
        {"layer_transformation": "sparsemax", "layer_norm": False, "input_segments": ["mt", "src"],
         "word_level_training": True, "word_layer": 2},
    ),
    "CometKiwi-23: XLM-R XL": (
        "cometkiwi-23", "unified_metric",
        {"layer_transformation": "sparsemax_patch", "layer_norm": False,
         "input_segments": ["mt", "src"], "encoder_model": "XLM-RoBERTa-XL"},
    ),
    "XCOMET with reference": ("xcomet", "xcomet_metric", {"word_layer": 2}),
    "XCOMET without": ("xcomet-qe", "xcomet_metric", {"word_layer": 2}),
}  # fmt: skip
BLASER = {"blaser-2": ("COMET", True), "blaser-2-qe": ("QE", False)}
SONAR_WIDTH = 128
SPREAD = 10.0
"""Weights of the last layer are multiplied, so that scores differ as those of real models do."""
METRICX_MAX_TOKENS = 1536
SCORE_TOKEN = 250089


def main() -> None:
    """Run one family."""
    family, work = sys.argv[1], Path(sys.argv[2])
    texts: Texts = json.loads((work / "texts.json").read_text(encoding="utf-8"))
    torch.manual_seed(1)
    families: dict[str, Callable[[Path, Texts], Cases]] = {
        "comet": run_comet, "sonar": run_sonar, "metricx": run_metricx,
    }  # fmt: skip
    found = families[family](work, texts)
    (work / f"{family}.json").write_text(json.dumps(found), encoding="utf-8")


def run_comet(work: Path, texts: Texts) -> Cases:
    """Save by Lightning, load by `comet.load_from_checkpoint`, score by `predict`."""
    import pytorch_lightning
    import yaml
    from comet import load_from_checkpoint
    from comet.models import str2model

    cases: Cases = {}
    for place, (name, (metric, kind, changes)) in enumerate(COMET_CASES.items()):
        is_bounded = kind == "xcomet_metric"  # its scores are cut at 1
        is_large = changes.get("encoder_model") == "XLM-RoBERTa-XL"
        encoder = work / ("xlm-r-xl" if is_large else "xlm-r")
        hparams = {
            "pretrained_model": str(encoder), "hidden_sizes": [12, 6], "encoder_model":
            "XLM-RoBERTa", **changes,
        }  # fmt: skip
        if kind != "xcomet_metric" and "pool" not in changes:
            hparams["sent_layer"] = "mix"
        model = str2model[kind](**hparams, load_pretrained_weights=False)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if "scalar_parameters" in key or "gamma" in key:
                    parameter.add_(torch.randn_like(parameter) / 2)
                elif key.startswith("estimator") and len(parameter) == 1 and not is_bounded:
                    parameter.mul_(SPREAD)
        folder = work / f"comet{place}"
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        trainer = pytorch_lightning.Trainer(
            logger=False, enable_checkpointing=False, accelerator="cpu"
        )
        trainer.strategy.connect(model)
        checkpoint = folder / "checkpoints" / "model.ckpt"
        trainer.save_checkpoint(checkpoint)
        settings = {**model.hparams, "class_identifier": kind}
        (folder / "hparams.yaml").write_text(yaml.safe_dump(dict(settings)), encoding="utf-8")
        loaded = load_from_checkpoint(str(checkpoint))
        scores = []
        for one in texts:
            samples = [
                {"src": source, "mt": hypothesis, "ref": reference}
                for source, hypothesis, reference in zip(
                    one["sources"], one["hypotheses"], one["references"], strict=True
                )
            ]
            if metric == "xcomet-qe":
                for sample in samples:
                    del sample["ref"]
            output = loaded.predict(samples, batch_size=8, gpus=0, progress_bar=False)
            scores.append([float(score) for score in output.scores])
        cases[name] = {
            "metric": metric, "checkpoint": str(folder), "encoder": str(encoder), "scores": scores,
        }  # fmt: skip
    return cases


def run_sonar(work: Path, texts: Texts) -> Cases:
    """Embed by the SONAR pipeline, score by BLASER's model and by cosine."""
    import yaml
    from fairseq2.data.tokenizers import VocabularyInfo
    from fairseq2.models.nllb.tokenizer import NllbTokenizerConfig, load_nllb_tokenizer
    from sonar import cards  # type: ignore[attr-defined]
    from sonar.inference_pipelines.text import TextToEmbeddingModelPipeline
    from sonar.models.blaser import BlaserConfig, _create_blaser_model
    from sonar.models.sonar_text.checkpoint import _convert_sonar_text_encoder_checkpoint
    from sonar.models.sonar_text.config import SonarTextEncoderConfig
    from sonar.models.sonar_text.factory import SonarTextEncoderFactory

    folder = work / "sonar"
    card = Path(next(iter(cards.__path__))) / "text_sonar_basic_encoder.yaml"
    settings = yaml.safe_load(card.read_text(encoding="utf-8"))["tokenizer_config"]["_set_"]
    tokenizer = load_nllb_tokenizer(
        folder / "sentencepiece.source.256000.model", NllbTokenizerConfig(**settings)
    )
    size = tokenizer.vocab_info.size

    def create() -> tuple[Any, Any]:
        # The published `basic`, but for its sizes.
        config = SonarTextEncoderConfig(
            model_dim=SONAR_WIDTH, num_encoder_layers=3, num_decoder_layers=3, ffn_inner_dim=96,
            num_encoder_attn_heads=SONAR_WIDTH // 64, num_decoder_attn_heads=SONAR_WIDTH // 64,
            max_seq_len=512, pooling="mean", _from_fairseq=True,
            vocab_info=VocabularyInfo(size=size, unk_idx=1, bos_idx=2, eos_idx=3, pad_idx=1),
        )  # fmt: skip
        return SonarTextEncoderFactory(config).create_model(), config

    model, config = create()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.dim() == 1:  # biases and norms begin as zeros and ones
                parameter.add_(torch.randn_like(parameter) / 8)
            elif "embed" in key:
                torch.nn.init.normal_(parameter, std=1 / 8)
    checkpoint = folder / "sonar_text_encoder.pt"
    torch.save({"model": model.state_dict()}, checkpoint)
    loaded, _ = create()
    state = torch.load(checkpoint, weights_only=True)
    loaded.load_state_dict(_convert_sonar_text_encoder_checkpoint(state, config))
    pipeline = TextToEmbeddingModelPipeline(loaded, tokenizer)

    def embed(lines: list[str], language: str) -> torch.Tensor:
        return pipeline.predict(lines, source_lang=language)

    embedded = [
        [
            embed(one["sources"], one["source"]),
            embed(one["hypotheses"], one["target"]),
            embed(one["references"], one["target"]),
        ]
        for one in texts
    ]
    cases: Cases = {}
    for metric, (form, with_reference) in BLASER.items():
        blaser = _create_blaser_model(
            BlaserConfig(input_form=form, embedding_dim=SONAR_WIDTH, hidden_dims=[20, 10])
        ).eval()
        with torch.no_grad():
            list(blaser.parameters())[-2].mul_(SPREAD)
        (work / metric).mkdir(exist_ok=True)
        torch.save({"model": blaser.state_dict()}, work / metric / "model.pt")
        with torch.inference_mode():
            scores = [
                blaser(src=s, mt=h, ref=r if with_reference else None).view(-1).tolist()
                for s, h, r in embedded
            ]
        cases["BLASER 2.0" + ("" if with_reference else " QE")] = {
            "metric": metric, "checkpoint": str(work / metric), "encoder": str(folder),
            "scores": scores,
        }  # fmt: skip
    for metric, other in (("sonar", 2), ("sonar-qe", 0)):
        scores = [
            torch.nn.functional.cosine_similarity(row[1], row[other]).tolist() for row in embedded
        ]
        cases["SONAR cosine with the " + ("reference" if other else "source")] = {
            "metric": metric, "checkpoint": str(folder), "encoder": str(folder), "scores": scores,
        }  # fmt: skip
    return cases


def run_metricx(work: Path, texts: Texts) -> Cases:
    """Save the published class, score by the published predict.py."""
    sys.path.insert(0, sys.argv[3])
    import transformers
    from metricx24 import models, predict

    folder = work / "metricx"
    config = transformers.MT5Config(
        vocab_size=250112, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_decoder_layers=2,
        num_heads=2, tie_word_embeddings=False, decoder_start_token_id=0,
    )  # fmt: skip
    model = models.MT5ForRegression(config).eval()
    with torch.no_grad():  # scores about 5
        states = model.encoder(torch.arange(4, 12)[None]).last_hidden_state
        first = torch.zeros(1, 1, dtype=torch.long)
        state = model.decoder(first, encoder_hidden_states=states).last_hidden_state[0, 0]
        model.lm_head.weight[SCORE_TOKEN] = 5 * state / (state @ state)
    model.save_pretrained(folder)
    cases: Cases = {}
    for metric in ("metricx-24", "metricx-24-qe"):
        scores = []
        for one in texts:
            path = work / "metricx-input.jsonl"
            rows = zip(one["sources"], one["hypotheses"], one["references"], strict=True)
            path.write_text(
                "".join(
                    json.dumps({"id": n, "source": s, "hypothesis": h, "reference": r}) + "\n"
                    for n, (s, h, r) in enumerate(rows)
                ),
                encoding="utf-8",
            )
            output = work / "metricx-output" / "scores.jsonl"
            sys.argv[1:] = [
                "--tokenizer", str(folder), "--model_name_or_path", str(folder),
                "--max_input_length", str(METRICX_MAX_TOKENS), "--batch_size", "1",
                "--input_file", str(path), "--output_file", str(output),
                *(["--qe"] if metric == "metricx-24-qe" else []),
            ]  # fmt: skip
            predict.main()
            lines = output.read_text(encoding="utf-8").splitlines()
            scores.append([json.loads(line)["prediction"] for line in lines])
        cases["MetricX-24" + (" QE" if metric.endswith("qe") else "")] = {
            "metric": metric, "checkpoint": str(folder), "encoder": str(folder), "scores": scores,
        }  # fmt: skip
    return cases


if __name__ == "__main__":
    main()
