"""Sentences per second and core of LASER2's LSTM: this package beside laser_encoders' own loop.

    python benchmarks/embed_speed.py --flores DIR

laser_encoders needs fairseq, which does not install beside this package (omegaconf 2.0). Its loop
is stated here again from laser_encoders/models.py and laser_tokenizer.py of facebookresearch/LASER:
one sentence at a time unless `max_tokens` is given, packed, maximum over time. Both have the same
random weights in LASER2's layout and size, the same text preparation and one thread; what they give
is compared before anything is timed. CPU time, in turns, so that other work counts less.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from sacremoses import MosesPunctNormalizer
from torch import nn

from corpus.files import read_lines
from mining.embeddings import unit
from mining.encoders import load_encoder
from mining.encoders.embed_config import ImportLaserConfig
from mining.encoders.laser import run_import_laser
from mining.encoders.tokens import pieces_of

LANGUAGES = ("eng_Latn", "deu_Latn", "rus_Cyrl", "hin_Deva", "tur_Latn", "zho_Hans")
SENTENCES = 480
ONE_BY_ONE = 60
"""Sentences for the loop without batches, whose rate does not depend on their number."""
TURNS = 2
VOCABULARY = 16_000
LASER_MAX_TOKENS = 12_000


def main() -> None:
    """Compare the vectors, then time in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flores", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    texts = [
        read_lines(arguments.flores / "devtest" / f"{language}.devtest") for language in LANGUAGES
    ]
    sentences = [text for row in zip(*texts, strict=True) for text in row][:SENTENCES]
    with tempfile.TemporaryDirectory() as folder:
        state, subwords = make_checkpoint(Path(folder), [line for text in texts for line in text])
        encoder = load_encoder(Path(folder) / "encoder", threads=1)
    runs = {
        "laser_encoders, default (batch size 1)": LaserLoop(state, subwords, None),
        f"laser_encoders, max_tokens={LASER_MAX_TOKENS:,}": LaserLoop(
            state, subwords, LASER_MAX_TOKENS
        ),
        "tongues": encoder,
    }
    few = sentences[:24]
    expected = unit(next(iter(runs.values())).encode(few))
    difference = np.abs(encoder.encode(few) - expected).max()
    print(f"<!-- {len(sentences)} sentences, largest difference of a value {difference:.1e} -->")
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TURNS):
        for name, run in runs.items():
            some = sentences[:: SENTENCES // ONE_BY_ONE] if "batch size 1" in name else sentences
            started = time.process_time()
            run.encode(some)
            rates[name].append(len(some) / (time.process_time() - started))
    base = next(iter(rates.values()))
    print("| what | sentences/s of CPU time | times the default loop |\n|---|---|---|")
    for name, own in rates.items():
        ratio = statistics.median(a / b for a, b in zip(own, base, strict=True))
        print(f"| {name} | {statistics.median(own):,.1f} | {ratio:.2f} |")


def make_checkpoint(folder: Path, text: Sequence[str]) -> tuple[dict[str, object], bytes]:
    """Write and import a random checkpoint of LASER2's layout and size; return it."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_writer=model,
        vocab_size=VOCABULARY,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = pieces_of(processor)
    torch.manual_seed(1)
    rows = len(pieces) + 4
    params = {
        "num_embeddings": rows,
        "padding_idx": 1,
        "embed_dim": 320,
        "hidden_size": 512,
        "num_layers": 5,
        "bidirectional": True,
    }
    peer = nn.ModuleDict(
        {
            "embed_tokens": nn.Embedding(rows, 320, padding_idx=1),
            "lstm": nn.LSTM(320, 512, num_layers=5, bidirectional=True),
        }
    )
    specials = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    dictionary = {**specials, **{piece: row for row, piece in enumerate(pieces, 4)}}
    state = {"params": params, "model": peer.state_dict(), "dictionary": dictionary}
    torch.save(state, folder / "laser2.pt")
    (folder / "laser2.spm").write_bytes(model.getvalue())
    run_import_laser(
        folder / "laser2.pt", folder / "laser2.spm", None, folder / "encoder", ImportLaserConfig()
    )
    return state, model.getvalue()


class LaserLoop:
    """laser_encoders' SentenceEncoder with its LSTM, and LaserTokenizer before it."""

    def __init__(self, state: dict[str, object], subwords: bytes, max_tokens: int | None) -> None:
        params = dict(state["params"])  # type: ignore[call-overload]
        self.embed = nn.Embedding(params["num_embeddings"], params["embed_dim"], padding_idx=1)
        self.lstm = nn.LSTM(
            params["embed_dim"],
            params["hidden_size"],
            num_layers=params["num_layers"],
            bidirectional=True,
        )
        weights = dict(state["model"])  # type: ignore[call-overload]
        self.embed.load_state_dict({"weight": weights.pop("embed_tokens.weight")})
        self.lstm.load_state_dict({k.removeprefix("lstm."): v for k, v in weights.items()})
        self.dictionary = dict(state["dictionary"])  # type: ignore[call-overload]
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=subwords)
        self.normalizer = MosesPunctNormalizer("en", perl_parity=True)
        self.normalizer.substitutions[21] = ("‘", r'"')
        self.normalizer.substitutions[22] = ("‚", r'"')
        self.max_tokens = max_tokens
        self.max_sentences = 1 if max_tokens is None else None

    def tokenize(self, text: str) -> torch.Tensor:
        """Prepare a sentence and return its ids."""
        clean = "".join(c if c.isprintable() else " " for c in text)
        clean = self.normalizer.normalize(clean).lower()
        words = " ".join(self.processor.encode(clean, out_type=str)).split()
        ids = torch.LongTensor(len(words) + 1)
        for i, word in enumerate(words):
            ids[i] = self.dictionary.get(word, 3)
        ids[len(words)] = 2
        return ids

    def encode(self, sentences: Sequence[str]) -> np.ndarray:
        """Return the embeddings, in order."""
        tokens = [self.tokenize(text) for text in sentences]
        lengths = np.array([ids.numel() for ids in tokens])
        order = np.argsort(-lengths, kind="quicksort")
        indices: list[int] = []
        results = []
        batch: list[int] = []
        size = 0
        for i in [*order.tolist(), None]:
            is_full = i is None or (
                batch
                and (
                    (self.max_tokens is not None and size + lengths[i] > self.max_tokens)
                    or len(batch) == self.max_sentences
                )
            )
            if is_full and batch:
                results.append(self.process([tokens[j] for j in batch]))
                indices.extend(batch)
                batch, size = [], 0
            if i is not None:
                batch.append(i)
                size += int(lengths[i])
        return np.vstack(results)[np.argsort(indices, kind="quicksort")]

    def process(self, tokens: Sequence[torch.Tensor]) -> np.ndarray:
        """Embed one batch, longest sentence first."""
        padded = nn.utils.rnn.pad_sequence(list(tokens), batch_first=True, padding_value=1)
        lengths = torch.LongTensor([ids.numel() for ids in tokens])
        with torch.no_grad():
            x = self.embed(padded).transpose(0, 1)
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths.tolist())
            zeros = x.new(10, len(tokens), 512).zero_()
            states, _ = self.lstm(packed, (zeros, zeros.clone()))
            out, _ = nn.utils.rnn.pad_packed_sequence(states, padding_value=0.0)
            mask = padded.eq(1).t().unsqueeze(-1)
            if mask.any():
                out = out.float().masked_fill_(mask, float("-inf")).type_as(out)
            return out.max(dim=0)[0].numpy()


if __name__ == "__main__":
    main()
