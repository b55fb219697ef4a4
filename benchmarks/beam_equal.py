"""Beam search beside transformers' `generate` and CTranslate2, on models that end by themselves.

    python benchmarks/beam_equal.py --run demo --dense DIR --work DIR
    python benchmarks/beam_equal.py --flores DIR --directions A-B,C-D --dense DIR --work DIR

`--run` is a directory of `make demo`, whose model with experts translates constructed languages;
`--dense` a dense model of the same languages, or a directory to train one in (minutes of CPU); with
none, the model with experts is compared alone. With `--flores` it is a dense model of other
languages, which translates that split in the named directions; not one that was extended, whose
tokens have other numbers in transformers. They are exported, and all systems search for the
translations of the same sentences, greedily and with a beam of five. Where tokens differ, both
hypotheses are scored anew by the model: `tie` if their scores are nearly equal, `they are better`
or `we are better` if not, which is a search that kept other beams, `empty` if ours has no token and
theirs has, and `limit` if one of them did not end. CTranslate2 bars the end as first token where it
is not the likeliest; it is also compared with our search by that rule (`unlikely_empty: false`).

On an AMD processor, set `CT2_USE_MKL=1`.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from corpus.config import load_config
from corpus.console import format_table
from corpus.files import read_lines
from corpus.languages import Direction, parse_directions
from nmt.fairseq import BatchLayout
from nmt.interop.config import ExportConfig
from nmt.interop.ctranslate import export_to_ctranslate2
from nmt.interop.export_model import export_to_transformers
from nmt.model.directory import TrainedModel, load_model
from nmt.training.config import TrainConfig
from nmt.training.train import train
from nmt.translation.decoding.beam import BeamSearch
from nmt.translation.decoding.decoder import DecoderState
from nmt.translation.decoding.scores import Symbols

PIVOT = "qaa_Latn"
OTHERS = ("qab_Latn", "qac_Cyrl", "qad_Arab", "qae_Deva")
BEAMS = (1, 5)
BATCH = 40
CTRANSLATE2_RULE = "CTranslate2, its rule"
TIE = 1e-4
"""Scores this near are equal but for rounding, and so is what log-probabilities may differ by."""

Found = tuple[list[int], float]
"""Tokens of a hypothesis without language and end, and its log-probability."""

Search = Callable[[list[list[int]], int, int, int], list[Found]]
"""Of sources, language, beam size and limit."""


def main() -> None:
    """Export, search, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=None)
    parser.add_argument("--flores", type=Path, default=None)
    parser.add_argument("--split", default="devtest")
    parser.add_argument("--directions", default="")
    parser.add_argument("--dense", type=Path, default=None)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=500)
    parser.add_argument("--updates", type=int, default=1200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    models = {}
    directions = [Direction(*p) for o in OTHERS for p in ((PIVOT, o), (o, PIVOT))]
    directions = parse_directions(arguments.directions) or directions
    if arguments.run is not None and (arguments.run / "model" / "model.json").exists():
        models["with experts"] = arguments.run / "model"
    if arguments.dense is not None:
        models["dense"] = arguments.dense
        if not (arguments.dense / "model.json").exists():
            train_dense(arguments.run, arguments.dense, arguments.updates)
    rows, differences = [], []
    for name, directory in models.items():
        model = load_model(directory)
        peers = {"transformers": in_transformers(directory, arguments.work / f"{name} hf", model)}
        if name == "dense":
            theirs = in_ctranslate2(directory, arguments.work / f"{name} ct2", model)
            peers |= {"CTranslate2": theirs, CTRANSLATE2_RULE: theirs}
        for beam_size in BEAMS:
            pairs: dict[str, list[tuple[list[int], Found, Found, int, int]]] = {
                p: [] for p in peers
            }
            for source, target in directions:
                language = model.vocabulary.language_index(target)
                for batch in batches(model, sentences(source, arguments), source):
                    limit = 2 * max(map(len, batch)) + 10
                    found = {
                        search: search(batch, language, beam_size, limit)
                        for search in set(peers.values())
                    }
                    ours = {
                        empty: search_ours(
                            model, batch, language, beam_size, limit, unlikely_empty=empty
                        )
                        for empty in {peer != CTRANSLATE2_RULE for peer in peers}
                    }
                    for peer, search in peers.items():
                        own = ours[peer != CTRANSLATE2_RULE]
                        pairs[peer] += [
                            (row, a, b, language, limit)
                            for row, a, b in zip(batch, own, found[search], strict=True)
                        ]
            for peer, compared in pairs.items():
                same = [(a[1], b[1]) for _, a, b, _, _ in compared if a[0] == b[0]]
                ended = sum(len(a[0]) < limit - 1 for _, a, _, _, limit in compared)
                reasons = Counter(
                    explain(model, row, a[0], b[0], language, limit)
                    for row, a, b, language, limit in compared
                    if a[0] != b[0]
                )
                worst = max(abs(a - b) for a, b in same)
                share = len(same) / len(compared)
                rows.append([
                    name, peer, str(beam_size), f"{ended}/{len(compared)}", f"{100 * share:.2f} %",
                    ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none",
                    f"{worst:.1e}",
                ])  # fmt: skip
                print(rows[-1], file=sys.stderr)
                if share < 0.99 or worst > TIE:
                    differences.append(rows[-1])
    header = ["model", "beside", "beam", "ended", "equal", "differences", "worst log-probability"]
    print(format_table(header, rows))
    sys.exit(1 if differences else 0)


def train_dense(run: Path, output: Path, updates: int) -> None:
    """Train a dense model of the languages on the run's bitext."""
    recipe = [
        f"vocabulary={run / 'vocabulary'}", f"bitext.primary={run / 'data' / 'seed'}",
        f"bitext.mined={run / 'bitext'}", "model.size=small", "model.num_experts=0",
        "model.dropout_p=0.0", "batches.max_tokens=1500", "batches.max_length=64",
        "batches.temperature=2.0", "optimizer.learning_rate=0.002",
        "optimizer.warmup_updates=150", "optimizer.schedule=linear", f"updates={updates}",
        "checkpoint_every=400", f"validate_every={updates}", "report_every=100", "threads=1",
    ]  # fmt: skip
    train(load_config(TrainConfig, None, recipe), output)


def sentences(language: str, arguments: argparse.Namespace) -> list[str]:
    """Return held-out sentences of a language, of a run also seed sentences if those are few."""
    if arguments.flores is not None:
        name = f"{language}.{arguments.split}"
        return read_lines(arguments.flores / arguments.split / name)[: arguments.sentences]
    run: Path = arguments.run
    flores = run / "data" / "flores"
    held = [line for s in ("dev", "devtest") for line in read_lines(flores / s / f"{language}.{s}")]
    seed = run / "data" / "seed"
    for path in sorted(seed.glob(f"*{language}*.tsv")):
        column = 0 if path.stem.startswith(language) else 1
        held += [line.split("\t")[column] for line in read_lines(path)]
    return list(dict.fromkeys(held))[: arguments.sentences]


def batches(model: TrainedModel, lines: Sequence[str], source: str) -> list[list[list[int]]]:
    """Return the lines' tokens, sorted by length."""
    words = model.vocabulary
    rows = sorted((words.source_row(source, row) for row in words.encode(lines)), key=len)
    return [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]


def padded(rows: list[list[int]], pad: int) -> torch.Tensor:
    """Return rows of one length, filled up at the end."""
    width = max(map(len, rows))
    return torch.tensor([row + [pad] * (width - len(row)) for row in rows])


@torch.inference_mode()
def search_ours(
    model: TrainedModel,
    rows: list[list[int]],
    language: int,
    beam_size: int,
    limit: int,
    *,
    unlikely_empty: bool,
) -> list[Found]:
    """Search with this package."""
    words = model.vocabulary
    lengths = [len(row) for row in rows]
    search = BeamSearch(
        DecoderState(model.translator, padded(rows, words.pad_index), lengths),
        model.translator.output_weight,
        Symbols(words.pad_index, words.unknown_index, words.end_index),
        beam_size=beam_size,
        length_penalty=1.0,
        unlikely_empty=unlikely_empty,
    )
    return [(one.tokens, one.log_probability) for one in search.run(language, [limit] * len(rows))]


def in_transformers(model: Path, directory: Path, ours: TrainedModel) -> Search:
    """Return `generate` of the exported model; it stops with as many hypotheses as beams."""
    from transformers import AutoModelForSeq2SeqLM
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    export_to_transformers(model, directory, ExportConfig())
    theirs: Any = AutoModelForSeq2SeqLM.from_pretrained(directory).eval()
    words = ours.vocabulary

    @torch.inference_mode()
    def search(rows: list[list[int]], language: int, beam_size: int, limit: int) -> list[Found]:
        source = padded(rows, words.pad_index)
        output = theirs.generate(
            input_ids=source,
            attention_mask=(source != words.pad_index).long(),
            forced_bos_token_id=language,
            num_beams=beam_size,
            do_sample=False,
            max_new_tokens=limit + 1,
            early_stopping=beam_size > 1,
            length_penalty=1.0,
            suppress_tokens=[words.unknown_index, words.pad_index],
            return_dict_in_generate=True,
            output_logits=True,
            output_scores=True,
        )
        found = []
        for number, row in enumerate(output.sequences.tolist()):
            text = row[2:]  # after </s> and the language
            text = text[: text.index(words.end_index)] if words.end_index in text else text
            if beam_size > 1:
                total = float(output.sequences_scores[number]) * (len(text) + 2)
            else:
                steps = [*text, words.end_index]
                total = sum(
                    float(output.logits[step][number].log_softmax(-1)[token])
                    for step, token in enumerate(steps, 1)
                    if step < len(output.logits)
                )
            found.append((text, total))
        return found

    return search


def in_ctranslate2(model: Path, directory: Path, ours: TrainedModel) -> Search:
    """Return CTranslate2's search of the exported model, in float32."""
    import ctranslate2
    from transformers import NllbTokenizer

    export_to_ctranslate2(model, directory, ExportConfig(quantization="float32"))
    translator = ctranslate2.Translator(
        str(directory), device="cpu", compute_type="float32", intra_threads=1
    )
    tokenizer = NllbTokenizer.from_pretrained(directory)
    end = ours.vocabulary.end_index

    def search(rows: list[list[int]], language: int, beam_size: int, limit: int) -> list[Found]:
        results = translator.translate_batch(
            [tokenizer.convert_ids_to_tokens(row) for row in rows],
            target_prefix=[[tokenizer.convert_ids_to_tokens(language)]] * len(rows),
            beam_size=beam_size,
            length_penalty=0 if beam_size == 1 else 1,
            max_decoding_length=limit + 1,
            return_scores=True,
            disable_unk=True,
        )
        texts = [tokenizer.convert_tokens_to_ids(one.hypotheses[0][1:]) for one in results]
        # Its scores include the language's, and its lengths have rules of their own: those of the
        # same tokens are asked for.
        scored = translator.score_batch(
            [tokenizer.convert_ids_to_tokens(row) for row in rows],
            [one.hypotheses[0] for one in results],
        )
        totals = [sum(one.log_probs[1:]) for one in scored]
        assert all(end not in text for text in texts)
        return list(zip(texts, totals, strict=True))

    return search


@torch.inference_mode()
def explain(
    model: TrainedModel,
    row: list[int],
    ours: list[int],
    theirs: list[int],
    language: int,
    limit: int,
) -> str:
    """Say why two hypotheses differ."""
    end = model.vocabulary.end_index
    scores = []
    for tokens in (ours, theirs):
        if len(tokens) >= limit - 1:
            return "limit"
        source, target = torch.tensor([row]), torch.tensor([[end, language, *tokens]])
        logits = model.translator(source, BatchLayout.of(source), target, BatchLayout.of(target))
        wanted = torch.tensor([*tokens, end]).unsqueeze(1)
        total = logits[0, 1:].double().log_softmax(-1).gather(1, wanted).sum()
        scores.append(float(total) / (len(tokens) + 2))
    if abs(scores[0] - scores[1]) < TIE:
        return "tie"
    if scores[0] > scores[1] and not ours:
        return "empty"
    return "we are better" if scores[0] > scores[1] else "they are better"


if __name__ == "__main__":
    main()
