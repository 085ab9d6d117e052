"""The segments of an importing process: many records a write, and a failed write raises.

Comes in: the bodies of records, gathered. Goes out: numbered lines in one `write`, at offsets known
beforehand. Capture may not raise and so counts what it loses; an import has its source still, so a
disk that refuses stops it, nothing of the batch is kept, and the source can be read again.

The names of these segments end in `-import`, so that what was imported can be found in the log
itself should the ledger be lost.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from whence import _clock
from whence.errors import StoreError
from whence.log import segment
from whence.log.writer import ROTATE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.log.home import Home
    from whence.log.segment import SegmentName

_MARK = "-import"
_WRITE_BYTES = 512 << 10
"""How much is written at once: file systems take longer for a byte of a much larger piece."""
_COMMA = ord(",")
_HEAD = b'{"v":1,"seq":%d'


def is_import(name: SegmentName) -> bool:
    """Whether an import wrote a segment."""
    return name.writer.endswith(_MARK)


def iter_imported(home: Home) -> Iterator[SegmentName]:
    """Yield the segments in the log that imports wrote, in order."""
    for name in segment.iter_all(home):
        if is_import(name):
            yield name


class Segments:
    """The segments that one import writes, one after the other.

    Args:
        home: The home.
        durable: Bring every batch to the disk before it counts as written.
        rotate_bytes: How long a segment gets before the next batch opens another.
    """

    def __init__(
        self, home: Home, *, durable: bool = False, rotate_bytes: int = ROTATE_BYTES
    ) -> None:
        self.home = home
        self.name: SegmentName | None = None
        """The segment that the current batch goes to."""
        self.size = 0
        """Its length in bytes, what is gathered included."""
        self._durable = durable
        self._rotate_bytes = rotate_bytes
        self.writer = segment.new_writer_name() + _MARK
        """Name of the writer of them all."""
        self._number = 0
        self._fd = -1
        self._gathered = bytearray()
        self._count = 0
        self._written = 0
        self._seq = 0

    def prepare(self) -> bool:
        """Make ready for a batch.

        Returns:
            Whether that opened a new segment.

        Raises:
            StoreError: No segment can be opened.
        """
        now_ns = _clock.wall_ns()
        day = segment.today(now_ns)
        if self.name is not None and self.name.day == day and self._written < self._rotate_bytes:
            return False
        self.close()
        self._number += 1
        name = segment.SegmentName(day, self.writer, self._number)
        try:
            self._fd = segment.create(self.home, name, sync=self._durable)
        except OSError as error:
            raise self._refusal(error) from error
        self.name = name
        return True

    def add(self, body: bytes) -> int:
        """Gather one record.

        Args:
            body: The record's JSON object without `v` and `seq`.

        Returns:
            The offset that its line will have.
        """
        gathered = self._gathered
        offset = self.size
        self._count += 1
        gathered += _HEAD % (self._seq + self._count)
        brace = len(gathered)
        gathered += body
        gathered[brace] = _COMMA
        gathered += b"\n"
        self.size = self._written + len(gathered)
        return offset

    @property
    def gathered_bytes(self) -> int:
        """How much is gathered and not written."""
        return self.size - self._written

    def write(self) -> None:
        """Write what is gathered.

        Raises:
            StoreError: The disk refuses; nothing of it is kept.
        """
        batch = memoryview(self._gathered)
        done = 0
        try:
            while done < len(batch):
                done += os.write(self._fd, batch[done : done + _WRITE_BYTES])
            if self._durable:
                os.fdatasync(self._fd)
        except OSError as error:
            self._take_back()
            raise self._refusal(error) from error
        self._seq += self._count
        self._written = self.size
        self._gathered = bytearray()
        self._count = 0

    def drop(self) -> None:
        """Forget what is gathered."""
        self._gathered = bytearray()
        self._count = 0
        self.size = self._written

    def _take_back(self) -> None:
        """Cut off what was written of a batch.

        A segment that cannot be cut, or whose sync failed, is left with its tail; see
        `whence.log.writer`.
        """
        self.drop()
        try:
            os.ftruncate(self._fd, self._written)
        except OSError:
            self.close()

    def _refusal(self, error: OSError) -> StoreError:
        return StoreError(
            f"the import cannot write to {self.home.log} ({error.strerror or error}); "
            "what was imported so far is kept, and the same import can be run again"
        )

    def close(self) -> None:
        """Give the segment up, so that it may be archived."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        self.name = None
        self._gathered = bytearray()
        self.size = self._written = self._seq = self._count = 0

    def disown(self) -> None:
        """Give the segment up in a forked child: what is gathered is the parent's to write.

        The child's copy of the file is closed, or the segment would count as being written for as
        long as the child lives. The parent's copy, and its lock, stay.
        """
        self.close()
