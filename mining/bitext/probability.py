"""The probability that a pair is a translation, learned for each bitext.

A logistic regression weighs what is cheap to know about a pair (`mining.bitext.pair_features`). It
learns from pairs known to be translations, or else from the best of the bitext's own, against the
same pairs made wrong: with a neighbor in place of a side, another number, a part dropped. How many
of the bitext's pairs are right is another share than in training; Saerens, Latinne and Decaestecker
(2002) estimate it from the bitext itself, and correct the probabilities.
"""

import functools
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus.bitext import bitext_paths, direction_of
from corpus.errors import DataError
from corpus.jobs import LOCAL, Executor, Outcome, Summary, Task, run_file_job, run_job
from corpus.languages import Direction
from corpus.protocols import LanguageIdentifier, identifier_inputs
from corpus.records import read_bitext, write_bitext
from corpus.text import normalize, sentence_hash
from mining.bitext.config import FilterConfig, ProbabilityConfig
from mining.bitext.files import check_files
from mining.bitext.hard_negatives import change_number, drop_part
from mining.bitext.pair_features import (
    FEATURES,
    Float64,
    Rivals,
    language_features,
    text_features,
    vector_features,
)
from mining.bitext.pairs import median_length_ratio
from mining.bitext.rules import PROBABILITY
from mining.encoders import Encoder, load_encoder
from mining.encoders.embed_known import pair_encoder_files
from mining.search.margin import Float32, Int64
from mining.search.neighbors import as_vectors, find_neighbors
from mining.search.vectors import Vectors, row_blocks

logger = logging.getLogger(__name__)

PROBABILITY_JOB = "probability"
DOUBT = "doubt"
"""Column: the feature that speaks most against a pair that is rather none."""

_FEWEST_PAIRS = 40
_OWN_SHARE = 0.4
"""Share of a bitext's pairs, best margins first, taken for translations where none are known."""

_ROUNDS = 100
_ROWS = 1 << 13
_EVEN = 0.5
_TINY = 1e-6


@dataclass(frozen=True, kw_only=True)
class ProbabilityInputs:
    """What pairs are judged by."""

    encoder: Path
    known: Path | None = None
    """Pairs known to be translations; without them, the best of the bitext."""

    lid: Path | None = None
    """Model directory of the language identifier."""


class TooFewPairsError(DataError):
    """There are too few pairs to learn from."""


class _Side(NamedTuple):
    """One side's different texts."""

    texts: list[str]
    place: Int64
    """Of each pair, [P]."""

    vectors: Vectors
    near: Int64
    """Nearest of the other side, [N, k + 1]."""

    cosines: Float32
    """[N, k + 1]"""


class _Examples(NamedTuple):
    """Pairs that a classifier learns from."""

    features: Float64
    is_right: npt.NDArray[np.bool_]
    weights: Float64
    counts: dict[str, int]


def run_probability(
    bitext: Path,
    output: Path,
    inputs: ProbabilityInputs,
    config: ProbabilityConfig,
    load_identifier: Callable[[Path], LanguageIdentifier] | None = None,
    executor: Executor = LOCAL,
) -> Summary:
    """Write a bitext with the columns `probability` and `doubt`, all else as it was.

    The bitext should hold wrong pairs too, as mining without a threshold gives them. It is read
    whole; its vectors take 2 bytes a dimension and different sentence.

    Args:
        bitext: Pairs, named `<source>-<target>`.
        output: The same pairs in the same order.
        inputs: Encoder, known pairs, language identifier.
        config: How it is learned.
        load_identifier: Loads the identifier; needed with `inputs.lid`.
        executor: Where it runs.

    Raises:
        UserError: If an input is missing, or output and input are one file.
        JobError: If there are too few pairs to learn from.
    """
    work = functools.partial(
        _judge, inputs=inputs, output=output, config=config, load_identifier=load_identifier
    )
    return run_file_job(
        name=PROBABILITY_JOB,
        inputs=_files(bitext, output, inputs, config),
        work=work,
        output=output,
        config=config,
        arguments={"known": inputs.known is not None},
        executor=executor,
    )


def run_probability_pairs(
    bitexts: Mapping[Path, ProbabilityInputs],
    output: Path,
    config: ProbabilityConfig,
    *,
    workers: int = 1,
    executor: Executor = LOCAL,
) -> Summary:
    """Judge many bitext files as one job, each into a file of its name in `output`.

    Files with too few pairs to learn from have no values in the columns.

    Args:
        bitexts: What each file is judged by; languages are not identified again.
        output: Directory of the same pairs with `probability` and `doubt`.
        config: How it is learned.
        workers: Processes, each with a file.
        executor: Where it runs.

    Raises:
        UserError: As `run_probability`.
        JobError: If files failed; the others are done.
    """
    tasks = [
        Task(
            name=bitext.name.split(".")[0],
            inputs=_files(bitext, output / bitext.name, inputs, config),
            arguments={"known": inputs.known is not None, "output": bitext.name},
        )
        for bitext, inputs in bitexts.items()
    ]
    return run_job(
        name=PROBABILITY_JOB,
        tasks=tasks,
        work=functools.partial(_judge_named, bitexts=bitexts, output=output, config=config),
        output=output,
        config=config,
        workers=workers,
        executor=executor,
    )


def _judge_named(
    task: Task,
    *,
    bitexts: Mapping[Path, ProbabilityInputs],
    output: Path,
    config: ProbabilityConfig,
) -> Outcome:
    path = task.inputs[0]
    written = output / task.arguments["output"]
    try:
        return _judge(task, inputs=bitexts[path], output=written, config=config)
    except TooFewPairsError as few:
        logger.warning("%s: %s Its pairs are kept whatever they are.", path, few)
    table = read_bitext(path, config.columns, direction_of(path))
    for name, kind in ((PROBABILITY, pa.float32()), (DOUBT, pa.string())):
        table = table.append_column(name, pa.nulls(table.num_rows, kind))
    write_bitext(written, table)
    return Outcome(counts={"pairs": table.num_rows}, outputs=(written,))


def _files(
    bitext: Path, output: Path, inputs: ProbabilityInputs, config: ProbabilityConfig
) -> tuple[Path, ...]:
    """Return all that probabilities depend on, the bitext first.

    Raises:
        UserError: As `run_probability`.
    """
    check_files(bitext, output)
    direction = direction_of(bitext)
    encoder_files = pair_encoder_files(
        direction, inputs.encoder, config.encoders, all_languages=config.embed.all_languages
    )
    known = () if inputs.known is None else bitext_paths(inputs.known, direction)
    models = () if inputs.lid is None else identifier_inputs(inputs.lid)
    return (*bitext_paths(bitext, direction), *known, *models, *encoder_files)


def _judge(
    task: Task,
    *,
    inputs: ProbabilityInputs,
    output: Path,
    config: ProbabilityConfig,
    load_identifier: Callable[[Path], LanguageIdentifier] | None = None,
) -> Outcome:
    path = task.inputs[0]
    direction = direction_of(path)
    table = read_bitext(path, config.columns, direction)
    identifier = None
    if inputs.lid is not None and load_identifier is not None:
        identifier = load_identifier(inputs.lid)
    judge = _Judge(table, direction, inputs, config, identifier)
    mined = judge.mined()
    examples = judge.examples(mined)
    model = fit(examples.features, examples.is_right, examples.weights)
    weighed = model.standardized(mined)
    probability = shift_prior(model.logits(weighed), model.share)
    doubts = model.doubts(weighed)
    is_doubted = probability < _EVEN
    words = np.where(is_doubted, doubts, "")
    table = table.append_column(PROBABILITY, pa.array(probability.astype(np.float32)))
    table = table.append_column(DOUBT, pa.array(words.tolist(), pa.string()))
    write_bitext(output, table)
    counts = {
        "pairs": table.num_rows,
        "expected_right": round(float(probability.sum())),
        **examples.counts,
        **{f"doubt.{name}": count for name, count in sorted(Counter(words[is_doubted]).items())},
    }
    logger.info(
        "%s: weights %s",
        path,
        ", ".join(f"{n} {w:+.2f}" for n, w in zip(FEATURES, model.weights, strict=True)),
    )
    return Outcome(counts=counts, outputs=(output,))


class _Judge:
    """Features of a bitext's pairs and of pairs like them."""

    def __init__(
        self,
        table: pa.Table,
        direction: Direction | None,
        inputs: ProbabilityInputs,
        config: ProbabilityConfig,
        identifier: LanguageIdentifier | None,
    ) -> None:
        self._table = table
        self._direction = direction
        self._inputs = inputs
        self._config = config
        self._identifier = identifier
        self._ratio = median_length_ratio([table])
        self._encoders: dict[Path, Encoder] = {}
        texts = [
            [normalize(text or "") for text in table.column(name).to_pylist()]
            for name in ("source", "target")
        ]
        different = [sorted(set(side)) for side in texts]
        vectors = [
            as_vectors(self._embed(side, number), config) for number, side in enumerate(different)
        ]
        k = config.neighbors
        found = find_neighbors(vectors[0], vectors[1], replace(config, neighbors=k + 1))
        self._sides = []
        for side, near in enumerate((found.forward, found.backward)):
            if near.ids.shape[1] < k + 1:
                raise TooFewPairsError(
                    f"the bitext has {len(different[0])} different sources and"
                    f" {len(different[1])} targets; neighborhoods need {k + 1}."
                )
            places = {text: place for place, text in enumerate(different[side])}
            place = np.array([places[text] for text in texts[side]], np.int64)
            self._sides.append(_Side(different[side], place, vectors[side], near.ids, near.cosines))

    def _embed(self, texts: Sequence[str], side: int) -> npt.NDArray[np.float16]:
        language = "" if self._direction is None else self._direction[side]
        path = self._config.encoders.get(language, self._inputs.encoder)
        if path not in self._encoders:
            embed = self._config.embed
            self._encoders[path] = load_encoder(
                path, threads=1, device=embed.device, batch_tokens=embed.batch_tokens
            )
        encoder = self._encoders[path]
        matrix = np.empty((len(texts), encoder.dimension), np.float16)
        for rows in row_blocks(len(texts), _ROWS):
            matrix[rows] = encoder.encode(texts[rows], language)
        return matrix

    def mined(self) -> Float64:
        """Return the features of the bitext's pairs, [P, F]."""
        places = self._sides[0].place, self._sides[1].place
        return self._features(self._taken(0, places[0]), self._taken(1, places[1]), places)

    def _taken(self, side: int, place: Int64) -> "_Chosen":
        own = self._sides[side]
        texts = [own.texts[i] for i in place.tolist()]
        return _Chosen(texts, _units(own.vectors, place), own.near[place], own.cosines[place])

    def _given(self, side: int, texts: Sequence[str]) -> "_Chosen":
        """Return texts that are not of the bitext, with their neighbors there."""
        vectors = as_vectors(self._embed(texts, side), self._config)
        near = find_neighbors(
            vectors,
            self._sides[1 - side].vectors,
            replace(self._config, neighbors=self._config.neighbors + 1),
        ).forward
        return _Chosen(list(texts), _units(vectors, np.arange(len(texts))), near.ids, near.cosines)

    def _features(
        self, source: "_Chosen", target: "_Chosen", places: tuple[Int64, Int64] | None
    ) -> Float64:
        """Return the features of pairs; `places` are those of partners that are in the bitext."""
        k = self._config.neighbors
        none = np.full(len(source.texts), -1, np.int64)
        left, right = places if places is not None else (none, none)
        rivals = Rivals(
            np.einsum("pd,pd->p", source.units, target.units),
            _without(source.near, source.cosines, right, k),
            _without(target.near, target.cosines, left, k),
        )
        sides = (source.texts, target.texts)
        return np.column_stack(
            [
                vector_features(rivals),
                text_features(*sides, self._ratio, self._direction),
                language_features(sides, self._identifier, self._direction, FilterConfig()),
            ]
        )

    def examples(self, mined: Float64) -> _Examples:
        """Return translations, and the same made wrong.

        Raises:
            DataError: If there are too few.
        """
        known = self._inputs.known
        source, target, places = self._own(mined) if known is None else self._known(known)
        if len(source.texts) < _FEWEST_PAIRS:
            raise TooFewPairsError(
                f"{len(source.texts)} pairs to learn from are too few; {_FEWEST_PAIRS} are needed."
                " Give more known pairs, or a bitext mined with a lower threshold."
            )
        parts = {"right": self._features(source, target, places)}
        for side, chosen in enumerate((source, target)):
            partner = None if places is None else places[1 - side]
            parts[f"neighbor_{side}"] = self._with_neighbors(side, chosen, partner)
        rng = random.Random(1)
        for kind, alter in (("number", change_number), ("part", drop_part)):
            altered = [alter(text, rng) for text in target.texts]
            rows = np.array([i for i, text in enumerate(altered) if text is not None], np.int64)
            if len(rows):
                wrong = self._given(1, [text for text in altered if text is not None])
                own = None if places is None else (places[0][rows], places[1][rows])
                parts[kind] = self._features(source.rows(rows), wrong, own)
        is_right = np.concatenate(
            [np.full(len(rows), kind == "right") for kind, rows in parts.items()]
        )
        share = self._config.neighbor_weight
        weights = [np.full(len(rows), _weight(kind, parts, share)) for kind, rows in parts.items()]
        counts = {f"learned.{kind}": len(rows) for kind, rows in parts.items()}
        return _Examples(np.vstack(list(parts.values())), is_right, np.concatenate(weights), counts)

    def _own(self, mined: Float64) -> "_Planted":
        """Return the bitext's pairs of the best margins, as if they were known."""
        best = np.argsort(-mined[:, 0], kind="stable")[: int(_OWN_SHARE * len(mined))]
        rows = best[: self._config.planted_pairs]
        places = self._sides[0].place[rows], self._sides[1].place[rows]
        return _Planted(self._taken(0, places[0]), self._taken(1, places[1]), places)

    def _known(self, known: Path) -> "_Planted":
        """Return known pairs that the bitext does not hold."""
        there = read_bitext(known, self._config.columns, self._direction)
        held = [{sentence_hash(text) for text in side.texts} for side in self._sides]
        pairs = {
            (normalize(source or ""), normalize(target or "")): None
            for source, target in zip(
                there.column("source").to_pylist(), there.column("target").to_pylist(), strict=True
            )
        }
        fresh = [
            pair
            for pair in pairs
            if all(pair)
            and all(sentence_hash(text) not in own for text, own in zip(pair, held, strict=True))
        ]
        fresh.sort(key=lambda pair: (sentence_hash(pair[0]), pair))
        fresh = fresh[: self._config.planted_pairs]
        sides = [[pair[side] for pair in fresh] for side in (0, 1)]
        return _Planted(self._given(0, sides[0]), self._given(1, sides[1]), None)

    def _with_neighbors(self, side: int, chosen: "_Chosen", partner: Int64 | None) -> Float64:
        """Return features of sentences paired with the nearest that is not their partner."""
        own = np.full(len(chosen.texts), -1, np.int64) if partner is None else partner
        is_first = chosen.near[:, 0] == own
        nearest = np.where(is_first, chosen.near[:, 1], chosen.near[:, 0])
        other = self._taken(1 - side, nearest)
        # The partner is taken away: its sentence stands for one without a translation.
        rivals = chosen._replace(
            cosines=np.where(chosen.near == own[:, None], np.float32(-1), chosen.cosines)
        )
        order = np.argsort(-rivals.cosines, axis=1, kind="stable")
        rivals = rivals._replace(
            near=np.take_along_axis(rivals.near, order, axis=1),
            cosines=np.take_along_axis(rivals.cosines, order, axis=1),
        )
        none = np.full(len(nearest), -1, np.int64)
        if side == 0:
            return self._features(rivals, other, (none, nearest))
        return self._features(other, rivals, (nearest, none))


class _Chosen(NamedTuple):
    """One side of some pairs."""

    texts: list[str]
    units: Float32
    """[P, D], of length 1."""

    near: Int64
    """Nearest sentences of the bitext's other side, [P, k + 1]."""

    cosines: Float32
    """[P, k + 1]"""

    def rows(self, rows: Int64) -> "_Chosen":
        """Return some of the pairs."""
        texts = [self.texts[i] for i in rows.tolist()]
        return _Chosen(texts, self.units[rows], self.near[rows], self.cosines[rows])


class _Planted(NamedTuple):
    """Translations to learn from."""

    source: _Chosen
    target: _Chosen
    places: tuple[Int64, Int64] | None
    """Among the bitext's texts, where they are of the bitext."""


def _units(vectors: Vectors, rows: Int64) -> Float32:
    """Return some vectors divided by their lengths, [n, D]."""
    lengths = vectors.norms[rows, None]
    return np.asarray(vectors.matrix[rows] / lengths, np.float32)


def _without(near: Int64, cosines: Float32, partner: Int64, k: int) -> Float32:
    """Return the k best cosines to others than the partner, [P, k]."""
    others = np.where(near == partner[:, None], np.float32(-1), cosines)
    best: Float32 = -np.sort(-others, axis=1)[:, :k]
    return best


def _weight(kind: str, parts: dict[str, Float64], neighbor_share: float) -> float:
    """Return the weight of each example of a kind: right and wrong weigh the same in all."""
    right = len(parts["right"])
    if kind == "right":
        return 1.0
    neighbors = sum(len(rows) for name, rows in parts.items() if name.startswith("neighbor"))
    altered = sum(len(rows) for name, rows in parts.items() if name in ("number", "part"))
    share = neighbor_share if altered else 1.0
    if kind.startswith("neighbor"):
        return right * share / max(neighbors, 1)
    return right * (1.0 - share) / max(altered, 1)


class Model(NamedTuple):
    """A logistic regression of standardized features."""

    mean: Float64
    scale: Float64
    weights: Float64
    bias: float
    usual: Float64
    """Standardized features of a translation on average, [F]."""

    share: float
    """Of the examples that are right."""

    def standardized(self, features: Float64) -> Float64:
        """Return features as the weights are for, [P, F]."""
        scaled: Float64 = (features - self.mean) / self.scale
        return scaled

    def logits(self, standardized: Float64) -> Float64:
        """Return the log odds of the training's mixture, [P]."""
        odds: Float64 = standardized @ self.weights + self.bias
        return odds

    def doubts(self, standardized: Float64) -> npt.NDArray[np.str_]:
        """Return the feature that lowers each pair most, against the usual translation, [P]."""
        parts = (standardized - self.usual) * self.weights
        names: npt.NDArray[np.str_] = np.array(FEATURES)[parts.argmin(axis=1)]
        return names


def fit(features: Float64, is_right: npt.NDArray[np.bool_], weights: Float64) -> Model:
    """Fit a logistic regression.

    Args:
        features: [N, F]
        is_right: Which examples are translations, [N].
        weights: Of each example, [N].
    """
    from sklearn.linear_model import LogisticRegression

    mean, scale = features.mean(axis=0), np.maximum(features.std(axis=0), _TINY)
    standardized = (features - mean) / scale
    regression = LogisticRegression(max_iter=1000)
    regression.fit(standardized, is_right, sample_weight=weights)
    share = float(weights[is_right].sum() / weights.sum())
    return Model(
        mean,
        scale,
        np.asarray(regression.coef_[0], np.float64),
        float(regression.intercept_[0]),
        standardized[is_right].mean(axis=0),
        share,
    )


def shift_prior(logits: Float64, share: float) -> Float64:
    """Return probabilities for a share of right pairs that is estimated from the pairs themselves.

    Expectation maximization of Saerens, Latinne and Decaestecker (2002, section 2.2): the share is
    the mean probability under it.

    Args:
        logits: Log odds under the training's share, [P].
        share: The training's share of right pairs, in (0, 1).
    """
    if not len(logits):
        return np.empty(0)
    likelihood = logits - np.log(share / (1 - share))
    now = share
    probability = _sigmoid(likelihood + np.log(now / (1 - now)))
    for _ in range(_ROUNDS):
        before, now = now, float(np.clip(probability.mean(), _TINY, 1 - _TINY))
        probability = _sigmoid(likelihood + np.log(now / (1 - now)))
        if abs(before - now) < _TINY:
            break
    return probability


def _sigmoid(values: Float64) -> Float64:
    odds: Float64 = 0.5 * (1.0 + np.tanh(values / 2))
    return odds
