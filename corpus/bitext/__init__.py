"""Sentence pairs as a stream, in the layouts of this project and of others. See docs/formats.md."""

from corpus.bitext.directions import direction_of
from corpus.bitext.directory import bitext_files, is_first_file
from corpus.bitext.reader import (
    BitextReader,
    bitext_paths,
    copy_first_pairs,
    count_pairs,
)
from corpus.bitext.tables import BATCH_ROWS
from corpus.bitext.writer import BITEXT_SUFFIXES, bitext_writer, check_bitext_name

__all__ = [
    "BATCH_ROWS",
    "BITEXT_SUFFIXES",
    "BitextReader",
    "bitext_files",
    "bitext_paths",
    "bitext_writer",
    "check_bitext_name",
    "copy_first_pairs",
    "count_pairs",
    "direction_of",
    "is_first_file",
]
