"""Catalog of `tongues data fetch`: URLs, sizes and checksums of public data sets and models.

URLs are those of the publishers, with their short links resolved:
github.com/facebookresearch/flores (FLORES-200, NLLB-Seed, SPM-200), sacrebleu's `tokenizer_spm.py`
(SPM-100), github.com/MicrosoftTranslator/NTREX, and `nllb/download_models.sh` in
github.com/facebookresearch/LASER. None of them publishes checksums. Those here stand in public
manifests of people who downloaded the files (FLORES-200's in several, among them its Croissant
description; SPM-200's is that of `sentencepiece.bpe.model` in the published NLLB-200 models).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

from corpus.errors import UserError

_NLLB = "https://dl.fbaipublicfiles.com/nllb"
_LASER = f"{_NLLB}/laser"
_NTREX_COMMIT = "52b9c57c45101e2c48d1d1aa318bcdc854c0d44d"

MEBIBYTE = 1 << 20
LARGEST_FILE = 4096 * MEBIBYTE
"""Limit in bytes for files of unknown size; the largest LASER3 model has about 1 GiB."""


@dataclass(frozen=True, kw_only=True)
class CatalogFile:
    """A file to download."""

    url: str
    size: int | None = None
    """Size in bytes; None if unpublished."""
    sha256: str | None = None
    """None if unpublished: the first download records it, and later ones must match."""
    name: str = ""
    """Its name in the cache; else the last part of the URL."""

    @property
    def file_name(self) -> str:
        """The name it has on disk."""
        return self.name or self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A data set or model by the name it is fetched under."""

    name: str
    about: str
    license: str
    """Its license, or where the publisher states it."""
    files: tuple[CatalogFile, ...]
    folder: str = ""
    """Directory in the cache; empty puts the files beside each other."""
    unpacked: int = 0
    """Limit in bytes of the unpacked content; 0 if the file is no archive."""

    @property
    def is_archive(self) -> bool:
        """Whether the one file is unpacked into `folder`."""
        return self.unpacked > 0


SPM200 = CatalogFile(
    url="https://dl.fbaipublicfiles.com/large_objects/nllb/models/spm_200/"
    "flores200_sacrebleu_tokenizer_spm.model",
    size=4_852_054,
    sha256="14bb8dfb35c0ffdea7bc01e56cea38b9e3d5efcdcb9c251d6b40538e1aab555a",
)

_FIXED = (
    Resource(
        name="flores200",
        about="FLORES-200: dev and devtest in 204 languages",
        license="CC BY-SA 4.0",
        files=(
            CatalogFile(
                url=f"{_NLLB}/flores200_dataset.tar.gz",
                size=25_585_843,
                sha256="b8b0b76783024b85797e5cc75064eb83fc5288b41e9654dabc7be6ae944011f6",
            ),
        ),
        folder="flores200_dataset",
        unpacked=512 * MEBIBYTE,
    ),
    Resource(
        name="spm200",
        about="SentencePiece model of spBLEU (flores200)",
        license="github.com/facebookresearch/fairseq/tree/nllb",
        files=(SPM200,),
    ),
    Resource(
        name="spm100",
        about="SentencePiece model of spBLEU before NLLB (flores101)",
        license="github.com/facebookresearch/flores",
        files=(
            CatalogFile(
                url="https://dl.fbaipublicfiles.com/fairseq/models/flores/"
                "sacrebleu_tokenizer_spm.model",
            ),
        ),
    ),
    Resource(
        name="ntrex128",
        about="NTREX-128: news in 128 languages",
        license="CC BY-SA 4.0",
        files=(
            CatalogFile(
                url=f"https://github.com/MicrosoftTranslator/NTREX/archive/{_NTREX_COMMIT}.tar.gz",
                name="ntrex128.tar.gz",
            ),
        ),
        folder="ntrex128",
        unpacked=512 * MEBIBYTE,
    ),
    Resource(
        name="nllb_seed",
        about="NLLB-Seed: seed bitext, English and 39 languages",
        license="CC BY-SA 4.0",
        files=(
            CatalogFile(
                url=f"{_NLLB}/NLLB-Seed.zip",
                sha256="d269fa2bebba88c85de8912a5c1e5ddd9fd2086f8432b29f868627918b131c6d",
            ),
        ),
        folder="nllb_seed",
        unpacked=512 * MEBIBYTE,
    ),
    Resource(
        name="laser2",
        about="LASER2 sentence encoder, teacher of the LASER3 students",
        license="github.com/facebookresearch/LASER",
        files=tuple(
            CatalogFile(url=f"{_LASER}/{name}")
            for name in ("laser2.pt", "laser2.spm", "laser2.cvocab")
        ),
        folder="laser",
    ),
)

LASER3_PREFIX = "laser3-"


def _laser3(language: str, has_own_vocabulary: bool) -> Resource:
    stem = f"{LASER3_PREFIX}{language}.v1"
    vocabulary = (
        (f"{stem}.spm", f"{stem}.cvocab") if has_own_vocabulary else ("laser2.spm", "laser2.cvocab")
    )
    return Resource(
        name=f"{LASER3_PREFIX}{language}",
        about=f"LASER3 sentence encoder, {language}",
        license="github.com/facebookresearch/LASER",
        files=tuple(CatalogFile(url=f"{_LASER}/{name}") for name in (f"{stem}.pt", *vocabulary)),
        folder="laser",
    )


def _catalog() -> dict[str, Resource]:
    table = (resources.files("corpus.fetch") / "laser3.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in table.split("\n")[1:] if line]
    students = [_laser3(language, vocabulary == "own") for language, vocabulary in rows]
    return {one.name: one for one in (*_FIXED, *students)}


CATALOG: Mapping[str, Resource] = MappingProxyType(_catalog())
"""Everything that can be fetched, by name."""


def find_resource(name: str) -> Resource:
    """Return the resource of a name.

    Raises:
        UserError: If there is none; the message names what there is.
    """
    if name in CATALOG:
        return CATALOG[name]
    near = difflib.get_close_matches(name, CATALOG, n=1)
    guess = f" Did you mean `{near[0]}`?" if near else ""
    known = ", ".join(one.name for one in _FIXED)
    raise UserError(
        f"there is nothing to fetch under the name `{name}`.{guess} Known: {known} and"
        f" {LASER3_PREFIX}<language>; `tongues data list` lists all."
    )
