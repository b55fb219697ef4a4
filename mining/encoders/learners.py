"""An encoder that learns: its model, its optimizer, one update after the other.

Everything random is drawn from the seed and the number of the update, so that a resumed run draws
the same numbers as an undisturbed one.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mining.embeddings import Float32
from mining.encoders.bag import BagEncoder, save_bag
from mining.encoders.config import BagConfig, SequenceConfig
from mining.encoders.features import Int64, TokenRows
from mining.encoders.sequence import SequenceEncoder, pad, save_sequence

logger = logging.getLogger(__name__)

Loss = Callable[[Tensor], Tensor]
"""The loss of a batch from its unit vectors, [N, D]."""

_DENSE_LEARNING_RATE_SHARE = 0.2
_EPSILON = 1e-8
_CLIP_NORM = 1.0
_FEATURES_STREAM = 2
_WHITENING_BLOCK = 4096


class Learner(Protocol):
    """An encoder of any architecture while it is trained."""

    @property
    def model(self) -> nn.Module:
        """Its weights."""
        ...

    def extract(self, sentences: Sequence[str]) -> TokenRows:
        """Return what the model reads of sentences."""
        ...

    def encode_tokens(self, tokens: TokenRows) -> Float32:
        """Return unit vectors with the weights as they are."""
        ...

    def update(self, tokens: TokenRows, loss: Loss, *, number: int, rate: float) -> None:
        """Take one step on the loss of a batch."""
        ...

    def optimizer_state(self) -> dict[str, Tensor]:
        """Return the state of the optimizer."""
        ...

    def load_optimizer_state(self, state: dict[str, Tensor]) -> None:
        """Restore the state of the optimizer."""
        ...

    def save(self, path: Path, **more: Any) -> tuple[Path, ...]:
        """Write the encoder's directory; return its files."""
        ...


class BagLearner:
    """A `bag` encoder that learns.

    A batch touches few rows of the feature table. They are gathered, differentiated as a small
    dense table, and written back with row-wise Adagrad (one accumulator a row; Duchi et al. 2011),
    which costs a tenth of a dense Adam step over the whole table. The MLP has Adam.
    """

    def __init__(
        self, encoder: BagEncoder, subwords: bytes, bag: BagConfig, *, dropout: float, seed: int
    ) -> None:
        self.model = encoder.model
        self._encoder = encoder
        self._subwords = subwords
        self._bag = bag
        self._dropout = dropout
        self._seed = seed
        self._squares = torch.zeros(self.model.embeddings.shape[0])
        self.model.embeddings.requires_grad_(False)
        self._adam = Adam(self.model)

    def extract(self, sentences: Sequence[str]) -> TokenRows:
        """Return the features of sentences."""
        return self._encoder.extract(sentences)

    def encode_tokens(self, tokens: TokenRows) -> Float32:
        """Return unit vectors with the weights as they are."""
        return self._encoder.encode_tokens(tokens)

    @torch.no_grad()
    def start_from(self, vectors: Tensor) -> None:
        """Take up vectors of features, [R, D], to begin with."""
        self.model.embeddings.copy_(vectors)

    def whiten(self, tokens: TokenRows, rows: Int64, power: float) -> None:
        """Fit the model's whitening, where it has one, to some sentences; after training."""
        whitening = self.model.whitening
        if whitening is None:
            return
        if len(rows) <= self._encoder.dimension:
            logger.warning(
                "vectors are not whitened: %d sentences do not tell the variances of %d dimensions",
                len(rows),
                self._encoder.dimension,
            )
            return
        parts = [
            self.encode_tokens(tokens.take(rows[start : start + _WHITENING_BLOCK]))
            for start in range(0, len(rows), _WHITENING_BLOCK)
        ]
        whitening.fit(np.concatenate(parts), power)

    def update(self, tokens: TokenRows, loss: Loss, *, number: int, rate: float) -> None:
        """Take one step on the loss of a batch, some features left out."""
        rng = np.random.default_rng((self._seed, _FEATURES_STREAM, number))
        batch = tokens.drop(self._dropout, rng)
        used, compact = np.unique(batch.ids, return_inverse=True)
        rows = torch.from_numpy(used.astype(np.int64))
        table = self.model.embeddings[rows].requires_grad_(True)
        ids = torch.from_numpy(compact.astype(np.int32))
        vectors = self.model(table, ids, torch.from_numpy(batch.starts).int())
        self._adam.step(loss(vectors), rate * _DENSE_LEARNING_RATE_SHARE)
        self._step_rows(rows, table, rate)

    @torch.no_grad()
    def _step_rows(self, rows: Tensor, table: Tensor, rate: float) -> None:
        gradient = table.grad
        assert gradient is not None
        squares = self._squares[rows] + gradient.square().mean(dim=1)
        self._squares[rows] = squares
        step = rate / (squares.sqrt() + _EPSILON)
        # In place: the table and its gradient are this update's own, and large.
        self.model.embeddings[rows] = table.detach().sub_(gradient.mul_(step.unsqueeze(1)))

    def optimizer_state(self) -> dict[str, Tensor]:
        """Return the accumulators of Adagrad and of Adam."""
        return {"squares": self._squares, **self._adam.state()}

    def load_optimizer_state(self, state: dict[str, Tensor]) -> None:
        """Take up the accumulators."""
        self._squares = state["squares"].clone()
        self._adam.load(state)

    def save(self, path: Path, **more: Any) -> tuple[Path, ...]:
        """Write the encoder's directory."""
        return save_bag(path, self.model, self._subwords, self._bag, **more)


class SequenceLearner:
    """An `lstm` or `transformer` encoder that learns, with Adam and gradients clipped to norm 1."""

    def __init__(
        self,
        encoder: SequenceEncoder,
        architecture: str,
        subwords: bytes,
        vocabulary: Sequence[str],
        settings: SequenceConfig,
        *,
        seed: int,
    ) -> None:
        self.model = encoder.model
        self._encoder = encoder
        self._architecture = architecture
        self._subwords = subwords
        self._vocabulary = vocabulary
        self._settings = settings
        self._seed = seed
        self._adam = Adam(self.model, clip=_CLIP_NORM)

    def extract(self, sentences: Sequence[str]) -> TokenRows:
        """Return the tokens of sentences."""
        return self._encoder.extract(sentences)

    def encode_tokens(self, tokens: TokenRows) -> Float32:
        """Return unit vectors with the weights as they are."""
        return self._encoder.encode_tokens(tokens)

    def update(self, tokens: TokenRows, loss: Loss, *, number: int, rate: float) -> None:
        """Take one step on the loss of a batch."""
        torch.manual_seed(self._seed * 1_000_003 + number)  # of dropout
        self.model.train()
        order = np.argsort(-np.diff(tokens.starts), kind="stable")
        ids, lengths = pad(tokens.take(order))
        vectors = F.normalize(self.model(ids.to(self._encoder.device), lengths), dim=1)
        back = torch.from_numpy(np.argsort(order, kind="stable")).to(vectors.device)
        self._adam.step(loss(vectors[back]), rate)
        self.model.eval()

    def optimizer_state(self) -> dict[str, Tensor]:
        """Return the accumulators of Adam."""
        return self._adam.state()

    def load_optimizer_state(self, state: dict[str, Tensor]) -> None:
        """Take up the accumulators."""
        self._adam.load(state)

    def save(self, path: Path, **more: Any) -> tuple[Path, ...]:
        """Write the encoder's directory."""
        return save_sequence(
            path,
            self._architecture,
            self._settings,
            model=self.model,
            subwords=self._subwords,
            vocabulary=self._vocabulary,
            **more,
        )


class Adam:
    """Adam whose state is plain tensors by parameter name."""

    def __init__(self, model: nn.Module, clip: float | None = None) -> None:
        self._names, self._parameters = zip(
            *((name, one) for name, one in model.named_parameters() if one.requires_grad),
            strict=True,
        )
        self._optimizer = torch.optim.Adam(self._parameters)
        self._clip = clip

    def step(self, loss: Tensor, rate: float) -> None:
        """Take one step on a loss."""
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self._clip is not None:
            nn.utils.clip_grad_norm_(self._parameters, self._clip)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Return the accumulators by parameter name."""
        return {
            f"{key}.{name}": value
            for name, one in zip(self._names, self._parameters, strict=True)
            for key, value in self._optimizer.state[one].items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore the accumulators."""
        for name, one in zip(self._names, self._parameters, strict=True):
            found = {
                key: state[f"{key}.{name}"].clone() for key in ("step", "exp_avg", "exp_avg_sq")
            }
            # The count of steps stays on the CPU, as Adam itself keeps it.
            self._optimizer.state[one] = {
                key: value if key == "step" else value.to(one.device)
                for key, value in found.items()
            }
