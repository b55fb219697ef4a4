"""Which languages share a student: those of one script and one family."""

from collections.abc import Iterable

from corpus.language_codes import describe_language, script_of

_BRANCHES = {
    "Germanic": "afr dan deu eng fao isl lim ltz nld nno nob swe ydd",
    "Romance": "ast cat fra fur glg ita lij lmo oci por ron scn spa srd vec",
    "Slavic": "bel bos bul ces hrv mkd pol rus slk slv srp szl ukr",
    "Baltic": "lit ltg lvs",
    "Celtic": "cym gla gle",
    "Iranian": "ckb kmr pbt pes prs tgk",
    "Indic": "asm awa ben bho guj hin hne kas mag mai mar npi ory pan san sin snd urd",
}
_BRANCH_OF = {code: branch for branch, codes in _BRANCHES.items() for code in codes.split()}
"""Branches of Indo-European by ISO 639-3 code: the family is too wide for one student."""


def family_name(language: str) -> str:
    """Return the name of the family that a language shares a student with, as `indic_deva`.

    Family, or branch of Indo-European, and script; a language whose family is not known shares with
    those of its script.
    """
    family = _BRANCH_OF.get(language[:3]) or describe_language(language).family
    return f"{family}_{script_of(language)}".lower().replace(" ", "-")


def group_languages(languages: Iterable[str]) -> dict[str, list[str]]:
    """Return languages by family, both sorted."""
    groups: dict[str, list[str]] = {}
    for language in sorted(languages):
        groups.setdefault(family_name(language), []).append(language)
    return dict(sorted(groups.items()))
