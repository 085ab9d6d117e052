"""Reads segments while others write them.

Whole lines only, in order, from any offset, without a lock.

A line counts when its line break is there. What follows the last line break is a torn tail: of a
live writer it may become a line, of a dead one it never will. Lines that are no records are passed
over and reported as `Problem`, never returned as rows.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from whence.errors import RecordError
from whence.record import codec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from whence.record.codec import AnyRecord

CHUNK_BYTES = 8 << 20
SEEK_BYTES = 32 << 10
"""How much more than asked for is read at once, to have the last line whole."""


class Line(msgspec.Struct, frozen=True, gc=False):
    """One whole line of a segment."""

    offset: int
    """Byte offset of its first byte."""
    content: bytes
    """Its bytes, without the line break."""


class Problem(msgspec.Struct, frozen=True):
    """A stretch of a segment that is not a record."""

    segment: str
    """Name of the segment."""
    offset: int
    """Byte offset where it begins."""
    why: str
    """What is wrong with it."""


def iter_lines(path: Path, start: int = 0, stop: int | None = None) -> Iterator[Line]:
    """Yield the whole lines from byte `start` on, up to what is written now.

    Args:
        path: The segment.
        start: Offset of a line.
        stop: Lines that begin at this byte or later are left out; None for all. A segment that is
            being written grows while it is read, so whoever wants to be done names an end.

    Raises:
        OSError: The file cannot be read.
    """
    chunk_bytes = CHUNK_BYTES
    if stop is not None:
        chunk_bytes = min(CHUNK_BYTES, max(0, stop - start) + SEEK_BYTES)
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        offset, rest = start, b""
        while (stop is None or offset < stop) and (chunk := file.read(chunk_bytes)):
            block = rest + chunk if rest else chunk
            cut = block.rfind(b"\n") + 1
            rest = block[cut:]
            for content in block[:cut].split(b"\n")[:-1]:
                if stop is not None and offset >= stop:
                    return
                yield Line(offset, content)
                offset += len(content) + 1


def read_line(path: Path, offset: int) -> bytes:
    """Return the line at `offset`, without its line break; empty where no whole line begins.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        parts: list[bytes] = []
        while chunk := file.read(1 << 16):
            head, line_break, _ = chunk.partition(b"\n")
            parts.append(head)
            if line_break:
                return b"".join(parts)
    return b""


def iter_records(
    path: Path, name: str, start: int = 0
) -> Iterator[tuple[int, AnyRecord] | Problem]:
    """Yield `(offset, record)` for each record from byte `start` on, and problems."""
    for line in iter_lines(path, start):
        if not line.content.strip():
            continue
        try:
            yield line.offset, codec.decode(line.content)
        except RecordError as error:
            yield Problem(name, line.offset, str(error))


def torn_tail(path: Path) -> tuple[int, int]:
    """Return offset and length in bytes of what follows the last line break.

    Length 0 if the segment ends whole.
    """
    size = path.stat().st_size
    with path.open("rb", buffering=0) as file:
        end = size
        while end > 0:
            begin = max(0, end - 65_536)
            file.seek(begin, os.SEEK_SET)
            found = file.read(end - begin).rfind(b"\n")
            if found >= 0:
                return begin + found + 1, size - (begin + found + 1)
            end = begin
    return 0, size
