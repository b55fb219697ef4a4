"""The documentation's commands work: every shell and Python block is run, in order."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mining.selection.made_crawl import Page, write_crawl

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(language, body) for language, body in found if language in languages]


def run(language: str, body: str, folder: Path) -> None:
    interpreter = (
        [sys.executable, "-c"] if language == "python" else ["bash", "-euo", "pipefail", "-c"]
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        [*interpreter, body],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path, "RECIPES": str(ROOT / "recipes")},
    )
    assert result.returncode == 0, f"{body}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}"


def write_small_nllb(folder: Path) -> None:
    """Write a random checkpoint as transformers keeps NLLB-200, of three constructed languages."""
    import sentencepiece
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

    from corpus.constructed.generate import ConstructedWorld

    languages = ["qaa_Latn", "qab_Latn", "qac_Cyrl"]
    said = ConstructedWorld(1, 0.5).say_new(300, languages)
    folder.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([sentence for one in said for sentence in one.values()]),
        model_prefix=str(folder / "sentencepiece.bpe"),
        model_type="bpe",
        vocab_size=600,
        minloglevel=2,
    )
    tokenizer = NllbTokenizer(
        str(folder / "sentencepiece.bpe.model"),
        additional_special_tokens=languages,
        src_lang=languages[0],
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = M2M100Config(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        scale_embedding=True,
        activation_function="relu",
    )
    M2M100ForConditionalGeneration(config).save_pretrained(folder)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    found = blocks(page, "bash", "python")
    make_lines = [
        line for _, body in found for line in body.split("\n") if line.startswith("make ")
    ]
    in_ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").split("\n")
    for line in make_lines:  # too long for a test: CI runs them as they stand
        assert line.split("#")[0].strip() in in_ci
    if page.name == "guide.md":
        write_small_nllb(tmp_path / "nllb")
        hosts = {"a.river.ru": "rus", "b.river.ru": "rus", "www.example.com": "eng"}
        write_crawl(
            tmp_path / "commoncrawl",
            [Page(f"https://{host}/{page}.html", language, file=page % 2)
             for host, language in hosts.items() for page in range(4)],
        )  # fmt: skip
    for language, body in found:
        if not any(line.startswith("make ") for line in body.split("\n")):
            run(language, body, tmp_path)


def test_every_local_link_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_command_is_told_of_in_the_guide() -> None:
    import importlib

    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    stages = {"data": "corpus", "lid": "lid", "mining": "mining", "nmt": "nmt", "eval": "eval"}
    for stage, package in stages.items():
        for name in importlib.import_module(f"{package}.cli").group.commands:
            assert f"tongues {stage} {name}" in guide, f"tongues {stage} {name}"
