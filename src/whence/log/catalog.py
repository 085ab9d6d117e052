"""What the archive consists of: which segments are in it, and which files hold them.

The catalog is one JSON file, replaced as a whole by a rename, which is the only moment at which the
archive changes. Readers take the list of parts from here and never from the folder, so a
half-written part is no part. It is derived from the log: deleting the archive folder loses nothing.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from whence.errors import ArchiveBusyError, StoreError
from whence.log.replacing import replace

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from whence.log.home import Home

CATALOG_FORMAT = 1


class Part(msgspec.Struct, frozen=True):
    """One Parquet file of the archive."""

    file: str
    """File name in the archive folder."""
    table: str
    """The table whose rows it holds; `parts` for runs and spans that are not whole."""
    rows: int
    """How many rows."""
    size_bytes: int
    """Size of the file."""
    batch: int
    """Number of the compaction that made it.

    The parts of a batch are merged together or not at all.
    """


class Batch(msgspec.Struct, frozen=True):
    """The segments that one compaction, or one merge of several, took in."""

    number: int
    """Its number."""
    segments: list[str]
    """Their names, `day/writer.n`."""
    begin_ns: int
    """Time of the earliest record, Unix nanoseconds."""
    end_ns: int
    """Time of the latest record, Unix nanoseconds."""
    records: int
    """How many records they hold."""


class Catalog(msgspec.Struct, frozen=True):
    """The archive at one moment."""

    format: int = CATALOG_FORMAT
    version: int = 0
    """Grows with every change."""
    columns: str = ""
    """Fingerprint of the tables' columns; an archive with other columns has to be made anew."""
    batches: list[Batch] = []
    parts: list[Part] = []

    @property
    def segments(self) -> frozenset[str]:
        """Names of all archived segments."""
        return frozenset(name for batch in self.batches for name in batch.segments)

    def files(self, table: str) -> list[str]:
        """Return the file names of a table's parts, oldest first."""
        return [part.file for part in self.parts if part.table == table]


def read(home: Home) -> Catalog:
    """Return the catalog; an empty one if nothing was archived.

    Raises:
        StoreError: The file is not a catalog that this version reads.
    """
    try:
        text = home.catalog.read_bytes()
    except FileNotFoundError:
        return Catalog()
    try:
        catalog = msgspec.json.decode(text, type=Catalog)
    except msgspec.DecodeError as error:
        message = (
            f"{home.catalog} is damaged ({error}); "
            "run `whence rebuild` to make the archive anew from the log"
        )
        raise StoreError(message) from error
    if catalog.format != CATALOG_FORMAT:
        message = (
            f"{home.catalog} has format {catalog.format}, this version reads {CATALOG_FORMAT}; "
            "run `whence rebuild` to make the archive anew from the log"
        )
        raise StoreError(message)
    return catalog


def damaged_files(home: Home, catalog: Catalog) -> list[str]:
    """Return the names of the parts that are missing or of another size than the catalog says."""
    return [
        part.file for part in catalog.parts if _size_of(home.archive / part.file) != part.size_bytes
    ]


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def commit(home: Home, catalog: Catalog) -> None:
    """Replace the catalog: on the disk, and visible to readers, as one step.

    Raises:
        OSError: It could not be written; the old catalog stands.
    """
    content = msgspec.json.format(msgspec.json.encode(catalog), indent=1)
    replace(home.catalog, content, sync=True)
    sync_folder(home)


def sync_folder(home: Home) -> None:
    """Bring the names in the archive folder to the disk."""
    fd = os.open(home.archive, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def locked(home: Home) -> Generator[None]:
    """Hold the right to change the archive.

    Raises:
        ArchiveBusyError: Another process holds it.
    """
    home.archive.mkdir(parents=True, exist_ok=True)
    fd = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = (
                f"another process is changing the archive in {home.archive}; "
                "try again when it is done"
            )
            raise ArchiveBusyError(message) from None
        yield
    finally:
        os.close(fd)
