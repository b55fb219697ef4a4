"""Encoders of others that are known by name: what their files do not always say."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Pooling = Literal["mean", "cls", "pooler"]
"""The mean of the last states, the first of them, or what the model's own pooler makes of that."""


@dataclass(frozen=True, kw_only=True)
class HubModel:
    """How a published encoder is to be used."""

    pooling: Pooling
    """Of a directory that transformers saved; `modules.json` says it where there is one."""

    prefix: str = ""
    """What its training put before every sentence of a symmetric task, as bitext mining is."""

    languages: int
    """How many it was trained on, by its model card."""

    license: str


HUB_MODELS = {
    "mexma": HubModel(pooling="cls", languages=81, license="MIT"),
    "labse": HubModel(pooling="pooler", languages=109, license="Apache-2.0"),
    "bge-m3": HubModel(pooling="cls", languages=100, license="MIT"),
    "multilingual-e5-small": HubModel(
        pooling="mean", prefix="query: ", languages=100, license="MIT"
    ),
    "multilingual-e5-base": HubModel(
        pooling="mean", prefix="query: ", languages=100, license="MIT"
    ),
    "multilingual-e5-large": HubModel(
        pooling="mean", prefix="query: ", languages=100, license="MIT"
    ),
}  # fmt: skip
"""By the name of the repository, in lower case: facebook/MEXMA, sentence-transformers/LaBSE and
setu4993/LaBSE, BAAI/bge-m3, intfloat/multilingual-e5-*. What their cards on huggingface.co say:

- MEXMA: "use the CLS the encoder outputs directly", its pooler is untrained; MIT. The number of
  languages is the paper's (Janeiro et al. 2025).
- LaBSE: first state, a dense layer with tanh, unit length, which is BERT's pooler; "109 languages";
  Apache-2.0.
- bge-m3: the normalized first state, no instruction before the text; "more than 100 working
  languages"; MIT.
- multilingual-e5: the mean; "For tasks other than retrieval, you can simply use the `query: `
  prefix"; "supports 100 languages from xlm-roberta"; MIT.
"""

OTHER = HubModel(pooling="mean", languages=0, license="its own")
"""Any other: the mean, as SONAR's."""


def find_hub_model(path: Path) -> HubModel:
    """Return what is known of the model in a directory, which bears the name of its repository.

    The cache of huggingface_hub is understood as well: `models--facebook--MEXMA/snapshots/1a2b`.
    """
    for part in reversed(path.absolute().parts):
        known = HUB_MODELS.get(part.lower().rpartition("--")[2])
        if known is not None:
            return known
    return OTHER
