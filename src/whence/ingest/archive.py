"""Reads the files in a ZIP archive, within limits, also of an archive whose end is missing.

Comes in: the path of an archive. Goes out: name and content of its files, one at a time and in
memory, or a `Skipped` for a file that cannot be read or unpacks to more than is believable. Nothing
is ever written, so that it does not matter where a name points to.

The directory of an archive is at its end. A writer that died leaves none; then the files are read
one after the other from the beginning, as far as they go.

Files may be packed with Zstandard, as Inspect AI packs its logs since 2026.

Source: PKWARE APPNOTE 6.3.10, sections 4.3.7 (local file header), 4.4.4 (general purpose flags) and
4.4.5 (compression methods).
"""

from __future__ import annotations

import copy
import io
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from whence import _extras
from whence.errors import IngestError, MissingExtraError
from whence.ingest.base import Skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

MAX_FILE_BYTES = 256 << 20
"""A file that unpacks to more is left out."""
MAX_TOTAL_BYTES = 16 << 30
"""What is beyond so much unpacked content is left out."""
MAX_FILES = 200_000
MAX_RATIO = 400
"""A file that unpacks to more than 16 MiB and to so many times its size is left out. Conversations
that repeat themselves reach 100; DEFLATE ends at 1,032."""
_RATIO_FROM_BYTES = 16 << 20
_CHUNK_BYTES = 64 << 10
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_LOCAL_SIGN = b"PK\x03\x04"
_ENCRYPTED, _SIZE_LATER = 0x1, 0x8
_STORED, _DEFLATED, _ZSTANDARD = 0, 8, 93


def iter_files(
    path: Path, shown: str, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, bytes] | Skipped]:
    """Yield name and content of the files of an archive.

    Args:
        path: The archive.
        shown: What it is called in reports.
        wanted: Whether a file of that name is to be read; the others are passed over.

    Raises:
        OSError: It cannot be read.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        yield Skipped(shown, f"its directory is damaged, what could be read was: {error}")
        yield from _from_the_beginning(path, shown, wanted)
        return
    with archive:
        yield from _by_directory(archive, shown, wanted)


def _by_directory(
    archive: zipfile.ZipFile, shown: str, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, bytes] | Skipped]:
    left = MAX_TOTAL_BYTES
    # A name may stand there twice, when a file was written again; the last one counts.
    listed = {info.filename: info for info in archive.infolist()[:MAX_FILES]}
    if len(archive.infolist()) > MAX_FILES:
        yield Skipped(shown, f"it has more than {MAX_FILES:,} files")
    for name, info in listed.items():
        if info.is_dir() or not wanted(name):
            continue
        where = f"{shown}, {name}"
        most = min(left, _most(info.compress_size))
        try:
            if info.compress_type == _ZSTANDARD:
                content = _unpacked(archive, info, most)
            else:
                with archive.open(info) as file:
                    content = _bounded(file.read, most)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            RuntimeError,
            ValueError,
            IngestError,
        ) as error:
            # What is packed in an unknown way, and what is encrypted, raise a RuntimeError.
            yield Skipped(where, f"cannot be unpacked: {error}")
            continue
        if content is None:
            yield Skipped(where, "it unpacks to more than is believable")
            continue
        left -= len(content)
        yield name, content


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes | None:
    """Return a file that is packed with Zstandard; None if it unpacks to more than `most` bytes."""
    packed: Any = copy.copy(info)  # read as if it were stored, and checked when it is unpacked
    packed.compress_type, packed.file_size, packed.CRC = _STORED, info.compress_size, None
    with archive.open(packed) as file:
        content = _from_zstandard(file.read(), most)
    if content is not None and zlib.crc32(content) != info.CRC:
        raise zipfile.BadZipFile("its checksum is wrong")
    return content


def _from_zstandard(packed: bytes, most: int) -> bytes | None:
    """Return what frames of Zstandard hold; None if it is more than `most` bytes.

    Raises:
        IngestError: They are damaged, or nothing is there that could unpack them.
    """
    try:
        zstandard: Any = _extras.require("zstandard", "cli", "unpacking Zstandard")
    except MissingExtraError as error:
        raise IngestError(str(error)) from error
    unpacking = zstandard.ZstdDecompressor().stream_reader(
        io.BytesIO(packed), read_across_frames=True
    )
    try:
        with unpacking as file:
            return _bounded(file.read, most)
    except zstandard.ZstdError as error:
        raise IngestError(str(error)) from error


def _most(packed_bytes: int) -> int:
    """Return what a file of that packed size may unpack to."""
    return min(MAX_FILE_BYTES, max(_RATIO_FROM_BYTES, packed_bytes * MAX_RATIO))


def _bounded(read: Callable[[int], bytes], most: int) -> bytes | None:
    """Return what `read` gives; None if it is more than `most` bytes."""
    chunks: list[bytes] = []
    while chunk := read(_CHUNK_BYTES):
        most -= len(chunk)
        if most < 0:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _from_the_beginning(
    path: Path, shown: str, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, bytes] | Skipped]:
    left = MAX_TOTAL_BYTES
    with path.open("rb") as file:
        for _ in range(MAX_FILES):
            header = file.read(_LOCAL.size)
            if len(header) < _LOCAL.size or header[:4] != _LOCAL_SIGN:
                return
            parts = _LOCAL.unpack(header)
            name = file.read(parts[9]).decode("utf-8", "replace")
            file.seek(parts[10], 1)
            content = _next(file, parts[2], parts[3], parts[7], min(left, MAX_FILE_BYTES))
            if content is None:
                yield Skipped(f"{shown}, {name}", "the archive cannot be read from here on")
                return
            left -= len(content)
            if wanted(name):
                yield name, content


def _next(file: BinaryIO, flags: int, method: int, packed: int, most: int) -> bytes | None:
    """Return the file that the archive stands at, and leave it behind that; None if it cannot be.

    Args:
        file: The archive.
        flags: What the header says about how it was written.
        method: How it is packed.
        packed: Its packed size in bytes, unless a flag says that it stands behind it.
        most: What it may unpack to, in bytes.
    """
    if flags & _ENCRYPTED:
        return None
    if method == _DEFLATED:
        content = _inflated(file, most)
        if content is not None and flags & _SIZE_LATER:
            _skip_descriptor(file)
        return content
    if method not in {_STORED, _ZSTANDARD} or flags & _SIZE_LATER or packed > most:
        return None
    content = file.read(packed)
    if method == _STORED or len(content) < packed:
        return content if len(content) == packed else None
    try:
        return _from_zstandard(content, min(most, _most(packed)))
    except IngestError:
        return None


def _inflated(file: BinaryIO, most: int) -> bytes | None:
    """Return an unpacked file and leave the archive behind it; None if it has no end."""
    unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
    chunks: list[bytes] = []
    while not unpacking.eof:
        packed = unpacking.unconsumed_tail or file.read(_CHUNK_BYTES)
        if not packed:
            return None
        try:
            chunk = unpacking.decompress(packed, _CHUNK_BYTES)
        except zlib.error:
            return None
        most -= len(chunk)
        if most < 0:
            return None
        chunks.append(chunk)
    file.seek(-len(unpacking.unused_data), 1)
    return b"".join(chunks)


def _skip_descriptor(file: BinaryIO) -> None:
    """Pass over the sizes that stand behind a file whose header did not know them."""
    at = file.tell()
    ahead = file.read(64)
    place = ahead.find(_LOCAL_SIGN)
    file.seek(at + (place if place >= 0 else len(ahead)))
