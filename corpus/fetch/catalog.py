"""Catalog of `tongues data fetch`: URLs, sizes and checksums of public data sets and models.

URLs are those of the publishers, with their short links resolved:
github.com/facebookresearch/flores (FLORES-200, NLLB-Seed, SPM-200), sacrebleu's `tokenizer_spm.py`
(SPM-100), github.com/MicrosoftTranslator/NTREX, and `nllb/download_models.sh` in
github.com/facebookresearch/LASER. None of them publishes checksums. Those here stand in public
manifests of people who downloaded the files (FLORES-200's in several, among them its Croissant
description; SPM-200's is that of `sentencepiece.bpe.model` in the published NLLB-200 models). WMT's
test sets and their MD5 are those of sacrebleu 2.6 (`dataset/__init__.py`), TICO-19 is at
tico-19.github.io, WMT24++ at huggingface.co/datasets/google/wmt24pp. Models of learned metrics are
where their authors publish them: huggingface.co for COMET, XLM-R, MetricX, mT5 and BLASER 2.0,
github.com/facebookresearch/SONAR for SONAR.

Language identifiers: URLs and licenses are those of their authors (huggingface.co has
laurievb/OpenLID-v2, HPLT/OpenLID-v3 and cis-lmu/glotlid; the NLLB branch of fairseq; fasttext.cc).
Revisions, checksums and sizes are those that other projects pin; the checksum and size of
lid.176.ftz were verified on a copy.
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
_FASTTEXT = "https://dl.fbaipublicfiles.com/fasttext/supervised-models"
_NTREX_COMMIT = "52b9c57c45101e2c48d1d1aa318bcdc854c0d44d"

MEBIBYTE = 1 << 20
LARGEST_FILE = 8192 * MEBIBYTE
"""Limit in bytes for files of unknown size; MetricX-24 large, in 32 bits, has about 5 GiB."""


@dataclass(frozen=True, kw_only=True)
class CatalogFile:
    """A file to download."""

    url: str
    size: int | None = None
    """Size in bytes; None if unpublished."""
    sha256: str | None = None
    """None if unpublished: the first download records it, and later ones must match."""
    md5: str | None = None
    """Where only this was published: what the first download must have."""
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
    subfolder: str = ""
    """Directory within `folder` that all names of the files begin with."""
    unpacked: int = 0
    """Limit in bytes of the unpacked content; 0 if the file is not an archive."""

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

_WMT = {
    "wmt24": (
        "https://github.com/wmt-conference/wmt24-news-systems/releases/download/v1.1/"
        "data_onlyxml.tar.gz",
        "299963fcb7b4e86d6d212bf69beb9580",
    ),
    "wmt23": (
        "https://github.com/wmt-conference/wmt23-news-systems/archive/refs/tags/v.0.1.tar.gz",
        "63576405e4ce07130a19ad76ba7eb75b",
    ),
    "wmt22": (
        "https://github.com/wmt-conference/wmt22-news-systems/archive/refs/tags/v1.1.tar.gz",
        "0840978b9b50b9ac3b2b081e37d620b9",
    ),
    "wmt21": (
        "https://data.statmt.org/wmt21/translation-task/test.tgz",
        "32e7ab995bc318414375d60f0269af92",
    ),
    "wmt20": (
        "https://data.statmt.org/wmt20/translation-task/test.tgz",
        "3b1f777cfd2fb15ccf66e9bfdb2b1699",
    ),
}


HUB = "https://huggingface.co"
METRICS_FOLDER = "learned_metrics"


def _hub_model(repository: str, files: str, terms: str, about: str) -> Resource:
    """Return a model of the hub; its files keep their places in a directory of its name."""
    name = repository.rpartition("/")[2]
    return Resource(
        name=name,
        about=about,
        license=terms,
        files=tuple(
            CatalogFile(url=f"{HUB}/{repository}/resolve/main/{file}", name=f"{name}/{file}")
            for file in files.split()
        ),
        folder=METRICS_FOLDER,
        subfolder=name,
    )


_LEARNED_METRICS = (
    _hub_model(
        "Unbabel/wmt22-comet-da",
        "hparams.yaml checkpoints/model.ckpt",
        "Apache 2.0",
        "COMET-22 (eval learned); its encoder is xlm-roberta-large",
    ),
    _hub_model(
        "FacebookAI/xlm-roberta-large",
        "config.json tokenizer.json",
        "MIT",
        "XLM-R large: configuration and tokenizer, for COMET-22",
    ),
    _hub_model(
        "google/metricx-24-hybrid-large-v2p6",
        "config.json pytorch_model.bin",
        "Apache 2.0",
        "MetricX-24 large (eval learned); its tokenizer is mt5-xl",
    ),
    _hub_model(
        "google/mt5-xl",
        "config.json tokenizer_config.json special_tokens_map.json spiece.model",
        "Apache 2.0",
        "mT5: configuration and tokenizer, for MetricX",
    ),
    _hub_model(
        "facebook/blaser-2.0-ref",
        "model.pt",
        "CC BY-NC 4.0",
        "BLASER 2.0 (eval learned); its encoder is sonar",
    ),
    _hub_model(
        "facebook/blaser-2.0-qe",
        "model.pt",
        "CC BY-NC 4.0",
        "BLASER 2.0 without references; its encoder is sonar",
    ),
    Resource(
        name="sonar",
        about="SONAR's text encoder (eval learned), also of BLASER 2.0",
        license="github.com/facebookresearch/SONAR",
        files=tuple(
            CatalogFile(url=f"https://dl.fbaipublicfiles.com/SONAR/{file}", name=f"sonar/{file}")
            for file in ("sonar_text_encoder.pt", "sentencepiece.source.256000.model")
        ),
        folder=METRICS_FOLDER,
        subfolder="sonar",
    ),
)

_IDENTIFIERS = tuple(
    Resource(
        name=name,
        about=f"identifier of {languages} languages (tongues lid import)",
        license=terms,
        files=(CatalogFile(url=url, size=size, sha256=sha256, name=f"{name}{url[-4:]}"),),
    )
    for name, languages, terms, url, size, sha256 in (
        (
            "openlid-v2",
            "200",
            "GPL-3.0",
            f"{HUB}/laurievb/OpenLID-v2/resolve/10b538ebcc452255917c8bdfc38faa49af134cd2/model.bin",
            None,
            "f01b47c6182909291a3394f77f682031aaeade346e443c4e496e94bd2a9fa703",
        ),
        (
            "openlid-v3",
            "194",
            "GPL-3.0",
            f"{HUB}/HPLT/OpenLID-v3/resolve/6b9560483e17e42f48d86cebf22b4b58dffeaa70/openlid-v3.bin",
            None,
            "01ec5bbf85975c52673c52b3d8585bc4cc0e4eb4636ad5591467bab56b118821",
        ),
        (
            "glotlid-v3",
            "2,000",
            "Apache 2.0",
            f"{HUB}/cis-lmu/glotlid/resolve/85cd6716494360367b75f642b5bc78667605d0b4/model_v3.bin",
            None,
            "a818b6bd42a628ab47d3dfc1578c7ea615c45381f3494c42535e31e8c4cafc9e",
        ),
        (
            "nllb-lid218",
            "218",
            "CC BY-NC 4.0",
            f"{_NLLB}/lid/lid218e.bin",
            1_176_355_829,
            "8ded5749a2ad79ae9ab7c9190c7c8b97ff20d54ad8b9527ffa50107238fc7f6a",
        ),
        (
            "lid176",
            "176",
            "CC BY-SA 3.0",
            f"{_FASTTEXT}/lid.176.bin",
            131_266_198,
            "7e69ec5451bc261cc7844e49e4792a85d7f09c06789ec800fc4a44aec362764e",
        ),
        (
            "lid176-small",
            "176",
            "CC BY-SA 3.0",
            f"{_FASTTEXT}/lid.176.ftz",
            938_013,
            "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83",
        ),
    )
)


def _wmt_sets() -> list[Resource]:
    return [
        Resource(
            name=name,
            about=f"WMT {2000 + int(name[3:])} general or news test sets",
            license="research use, statmt.org",
            files=(CatalogFile(url=url, md5=md5, name=f"{name}.tar.gz"),),
            folder=name,
            unpacked=4096 * MEBIBYTE,
        )
        for name, (url, md5) in _WMT.items()
    ]


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
        name="tico19",
        about="TICO-19: public health, English and 36 languages",
        license="CC0 1.0",
        files=(CatalogFile(url="https://tico-19.github.io/data/tico19-testset.zip"),),
        folder="tico19",
        unpacked=512 * MEBIBYTE,
    ),
    *_wmt_sets(),
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
    *_IDENTIFIERS,
    *_LEARNED_METRICS,
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


WMT24PP_PREFIX = "wmt24pp-"
_WMT24PP = (
    "ar_EG ar_SA bg_BG bn_IN ca_ES cs_CZ da_DK de_DE el_GR es_MX et_EE fa_IR fi_FI fil_PH fr_CA"
    " fr_FR gu_IN he_IL hi_IN hr_HR hu_HU id_ID is_IS it_IT ja_JP kn_IN ko_KR lt_LT lv_LV ml_IN"
    " mr_IN nl_NL no_NO pa_IN pl_PL pt_BR pt_PT ro_RO ru_RU sk_SK sl_SI sr_RS sv_SE sw_KE sw_TZ"
    " ta_IN te_IN th_TH tr_TR uk_UA ur_PK vi_VN zh_CN zh_TW zu_ZA"
)
"""The 55 languages of WMT24++."""

_ON_REQUEST = {
    "flores_plus": (f"{HUB}/datasets/openlanguagedata/flores_plus", "--test-set"),
    "bouquet": (f"{HUB}/datasets/facebook/bouquet", "--test-set"),
    **{
        name: (f"{HUB}/Unbabel/{name}", "--checkpoint")
        for name in (
            "wmt22-cometkiwi-da",
            "wmt23-cometkiwi-da-xl",
            "wmt23-cometkiwi-da-xxl",
            "XCOMET-XL",
            "XCOMET-XXL",
        )
    },
}
"""Pages where terms must be accepted before any download, and the option that takes it."""


def _wmt24pp(language: str) -> Resource:
    return Resource(
        name=f"{WMT24PP_PREFIX}{language}",
        about=f"WMT24++: English to {language}",
        license="github.com/google/wmt24pp",
        files=(
            CatalogFile(
                url=f"https://huggingface.co/datasets/google/wmt24pp/resolve/main/en-{language}.jsonl"
            ),
        ),
        folder="wmt24pp",
    )


def _catalog() -> dict[str, Resource]:
    table = (resources.files("corpus.fetch") / "laser3.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in table.split("\n")[1:] if line]
    students = [_laser3(language, vocabulary == "own") for language, vocabulary in rows]
    news = [_wmt24pp(language) for language in _WMT24PP.split()]
    return {one.name: one for one in (*_FIXED, *news, *students)}


CATALOG: Mapping[str, Resource] = MappingProxyType(_catalog())
"""Everything that can be fetched, by name."""


def find_resource(name: str) -> Resource:
    """Return the resource of a name.

    Raises:
        UserError: If there is none; the message names what there is.
    """
    if name in CATALOG:
        return CATALOG[name]
    if name in _ON_REQUEST:
        page, option = _ON_REQUEST[name]
        raise UserError(
            f"{name} cannot be fetched from here: its terms must be accepted at {page}. Download it"
            f" there and give its directory as {option}."
        )
    near = difflib.get_close_matches(name, CATALOG, n=1)
    guess = f" Did you mean `{near[0]}`?" if near else ""
    known = ", ".join(one.name for one in _FIXED)
    raise UserError(
        f"there is nothing to fetch under the name `{name}`.{guess} Known: {known},"
        f" {WMT24PP_PREFIX}<language> and {LASER3_PREFIX}<language>; `tongues data list` lists all."
    )
