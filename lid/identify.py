r"""`tongues lid identify`: a stream of lines, block by block, in one or several processes.

Workers receive and return bytes, so that decoding, identification and formatting all run in
parallel; the model's arrays are memory pages that they share.
"""

from __future__ import annotations

import codecs
import io
import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import BinaryIO, NamedTuple

from corpus.errors import JobError, UserError
from corpus.files import Lines, check_encoding, check_only_line
from corpus.protocols import (
    PLAIN_ANSWERS,
    IdentifierOptions,
    Prediction,
)
from corpus.protocols import LanguageIdentifier as IdentifierProtocol
from lid.engine.preparation import MAX_CHARACTERS
from lid.identifier import LanguageIdentifier
from lid.load import load_identifier
from lid.spans import SpanIdentifier

BLOCK_BYTES = 1 << 20
"""Bytes read at a time. One process answers what is there and waits for no full block; with
several, answers come out a few blocks later, or when the input ends."""

_LONGEST_LINE = 1 << 20
_KEPT_OF_LINE = 4 * MAX_CHARACTERS
_IN_FLIGHT = 3


class Block(NamedTuple):
    """Answers to some lines."""

    text: bytes
    lines: int
    invalid_lines: int


def identify_blocks(
    stream: BinaryIO,
    model: Path,
    top: int,
    processes: int,
    options: IdentifierOptions = PLAIN_ANSWERS,
) -> Iterator[Block]:
    """Yield the answers to a byte stream's lines, in order.

    Args:
        stream: Lines that end at a newline; the last one may lack it.
        model: Model directory, or `BUILTIN`.
        top: Classes written per line; see `answer_block`.
        processes: Workers; 1 works in this process.
        options: How it answers; with spans, the parts of a line are answered.

    Raises:
        UserError: If there is no such model, or it cannot answer as `top` and the options want.
    """
    identifier = load_identifier(model, options, top)
    if processes == 1:
        for block in read_blocks(stream):
            yield answer_block(block, identifier, top)
        return
    # Forked, so that the arrays loaded here are the workers' arrays too.
    context = multiprocessing.get_context("fork")
    global _shared
    _shared = identifier
    waiting: deque[Future[Block]] = deque()
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        try:
            for block in read_blocks(stream):
                waiting.append(pool.submit(_answer_shared, block, top))
                while len(waiting) > _IN_FLIGHT * processes or (waiting and waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise JobError(
                "a worker process was killed. Is there enough memory? Use fewer --processes."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_shared: IdentifierProtocol | None = None


def _answer_shared(block: bytes, top: int) -> Block:
    assert _shared is not None
    return answer_block(block, _shared, top)


def read_blocks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield whole lines as they come; of a line beyond 1 MiB its beginning, once it ends.

    Raises:
        UserError: If the stream cannot be read: a directory, say.
        DataError: If it is UTF-16, UTF-32 or compressed, or its lines end in carriage returns
            alone.
    """
    pending = b""
    is_skipping = False
    is_start = is_only_line = True
    while chunk := _read(stream):
        if is_skipping:
            end = chunk.find(b"\n")
            if end < 0:
                continue
            chunk = chunk[end:]
            is_skipping = False
        pending += chunk
        if is_start:
            check_encoding(pending, "standard input")
            pending = pending.removeprefix(codecs.BOM_UTF8)
            is_start = False
        cut = pending.rfind(b"\n") + 1
        if cut:
            is_only_line = False
            yield pending[:cut]
            pending = pending[cut:]
        if len(pending) > _LONGEST_LINE:
            pending = _first_characters(pending)
            is_skipping = True
    if pending:
        if is_only_line:
            check_only_line(pending, "standard input")
        yield pending


def _read(stream: BinaryIO) -> bytes:
    """Return the bytes that are there, waiting for the first of them; none at the end."""
    try:
        chunk: bytes = getattr(stream, "read1", stream.read)(BLOCK_BYTES)
    except OSError as error:
        raise UserError(f"standard input cannot be read: {error.strerror}.") from error
    return chunk


def _first_characters(line: bytes) -> bytes:
    """Return the bytes of a line that are looked at, not cut inside a character."""
    kept = line[:_KEPT_OF_LINE]
    end = len(kept)
    while end > len(kept) - 4 and kept[end - 1] & 0xC0 == 0x80:
        end -= 1
    return kept[: end - 1] if kept[end - 1] >= 0xC0 else kept


def answer_block(block: bytes, identifier: IdentifierProtocol, top: int) -> Block:
    r"""Answer the lines of a block.

    With `top` 1 a line is `language\tscore`. With more, the answer is followed by the classes that
    come next, or where the answer is `und`, by the best ones, `top` pairs in all. With spans, a
    line is `language\tscore\tstart\tend` for each part, tabs between.
    """
    lines = Lines(io.BytesIO(block), is_start=False)
    texts = list(lines)
    rows: list[str] = []
    if isinstance(identifier, SpanIdentifier):
        for spans in identifier.identify_spans(texts):
            fields = (f"{one.language}\t{one.score:.4f}\t{one.start}\t{one.end}" for one in spans)
            rows.append("\t".join(fields) + "\n")
    elif top == 1 or not isinstance(identifier, LanguageIdentifier):
        for language, score in identifier.identify(texts):
            rows.append(f"{language}\t{score:.4f}\n")
    else:
        for ranked in identifier.rank_top(texts, top):
            answer = identifier.apply_threshold(ranked[0])
            rest = [
                Prediction(one.language, one.score)
                for one in ranked
                if one.language != answer.language
            ]
            pairs = [answer, *rest][:top]
            rows.append("\t".join(f"{name}\t{score:.4f}" for name, score in pairs) + "\n")
    return Block("".join(rows).encode("utf-8"), len(texts), lines.invalid_lines)
