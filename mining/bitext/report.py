"""`mining report`: the page about a mining run."""

from collections.abc import Sequence
from pathlib import Path

from corpus.errors import UserError
from corpus.files import write_text
from corpus.report.html import check_page_name
from mining.bitext.report_data import collect
from mining.bitext.report_page import render


def write_report(
    output: Path,
    *,
    bitext: Path,
    mined: Path | None = None,
    sentences: Path | None = None,
    embeddings: Path | None = None,
    left: Sequence[str] = (),
) -> None:
    """Write the page about a mining run.

    Args:
        output: The page.
        bitext: Directory of the pairs kept; samples and domains are of these.
        mined: Directory of `mining mine`: its receipts and calibrations.
        sentences: Directory of `mining sentences`: its receipts, and the sentences by domain.
        embeddings: Directory of `mining embed`: its receipts.
        left: Language pairs that were not mined because a budget was spent.

    Raises:
        UserError: If a directory is missing or holds no bitext.
    """
    check_page_name(output)
    for directory in (mined, sentences, embeddings):
        if directory is not None and not directory.is_dir():
            raise UserError(f"{directory} does not exist or is not a directory")
    write_text(output, render(collect(bitext, mined, sentences, embeddings), left))
