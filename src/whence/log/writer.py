"""Appends records to the segments of this process.

One `write` a record, so that a record whose call returned survives SIGKILL.

Comes in: the JSON body of a record. Goes out: a numbered line in the current segment and its byte
offset. The writer never raises into its caller for a failing disk: what could not be kept is
counted by run, and as soon as the disk takes bytes again a gap record for each run says how many
and why. It never waits for a reader, and never touches a segment after a failed write it could not
undo: it moves on to a new one.

Durability is `process` (the kernel has the bytes), `group` (on the disk within 50 ms) or `record`
(on the disk before the call returns).
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Literal

import msgspec

from whence import _clock, _ids, _interrupts
from whence.log import blobs, lines
from whence.record import codec
from whence.record.event import Gap

if TYPE_CHECKING:
    from whence.log.home import Home

Durability = Literal["process", "group", "record"]

ROTATE_BYTES = 64 << 20
GROUP_SYNC_S = 0.05
RETRY_NS = 100_000_000
LOOK_NS = 1_000_000_000
"""How often the writer looks whether its segment was deleted under it."""
_write = os.write
_SECOND_NS = 1_000_000_000
_DAY_NS = 86_400_000_000_000


_OFFSET_BITS = 44
NOT_WRITTEN = -1
"""The record was lost, or waits behind the write that it interrupted."""
REFUSED = -2
"""The record refers into a segment that the writer has left: it has to be encoded again."""
UNFIT = -3
"""The record holds values that have to go to blobs first, or that JSON cannot hold."""
_LINE_BYTES = blobs.INLINE_BYTES + 1024
_NEWLINE = 10
_encode_into = msgspec.json.Encoder().encode_into
_UNENCODABLE = (UnicodeError, TypeError, ValueError, RecursionError, msgspec.MsgspecError)


def split_place(place: int) -> tuple[int, int]:
    """Return serial number of the segment and byte offset of the line of a place."""
    return place >> _OFFSET_BITS, place & ((1 << _OFFSET_BITS) - 1)


class Line(msgspec.Struct):
    """What `Writer.write` sets of a record; the fields of its kind are in a struct that has both.

    Its first field has to be `v`, with the format version.
    """

    seq: int
    ts: str


class Loss(msgspec.Struct):
    """Records of one run that could not be kept, until a gap record tells of them."""

    count: int
    reason: str
    since: str


class Writer(lines.LineFile):
    """The one writer of a process.

    Its segments are its own. Thread-safe, and safe to re-enter from a signal or finalizer. `put`,
    where it is compiled, writes what is plain without the lock: it holds the interpreter's from the
    look whether a write is under way to the end of its own.
    """

    __slots__ = (
        "_buffer",
        "_cause",
        "_closed",
        "_day_end_ns",
        "_file",
        "_gaps",
        "_late",
        "_lock",
        "_look_at_ns",
        "_losses",
        "_name",
        "_place",
        "_retry_at_ns",
        "_rotate_bytes",
        "_syncer",
        "_syncs",
        "_unsynced",
        "_written_before",
        "durability",
        "home",
        "last_reason",
        "lost",
    )

    def __init__(
        self, home: Home, *, durability: Durability = "process", rotate_bytes: int = ROTATE_BYTES
    ) -> None:
        super().__init__(_LINE_BYTES)
        self.home = home
        self.durability: Durability = durability
        self.serial = 0
        self.lost = 0
        self.last_reason: str | None = None
        self._rotate_bytes = rotate_bytes
        self._lock = threading.RLock()
        self._busy = False
        self._late: deque[tuple[bytes, str]] = deque()
        self._losses: dict[str, Loss] = {}
        self._retry_at_ns = 0
        self._cause = ""
        self._fd = -1
        self._buffer = bytearray()
        self._size = 0
        self._place = 0  # of the segment's first byte
        self._full_at = -1  # no segment: the first record opens one
        self._seq = 0
        self._file = (0, 0)  # device and inode of the segment
        self._gaps = 0
        self._written_before = 0
        self._day_end_ns = 0
        self._second_ns = 0
        self._second = ""
        self._turn_after_ns = 0  # nanoseconds into the second after which there is something to do
        self._look_at_ns = 0  # when to look for a new day or losses to tell of: at once
        self._syncs = durability != "process"
        self._unsettled = self._syncs
        from whence.log import segment  # noqa: PLC0415 - importing whence has to be quick

        self._name = segment.new_writer_name()
        self._unsynced = 0
        self._syncer: threading.Thread | None = None
        self._closed = threading.Event()

    @property
    def name(self) -> str:
        """What its segments are called, before their number."""
        return self._name

    def append(self, body: bytes, now_ns: int, run: str, serial: int = 0) -> int:  # noqa: C901 - an interrupt may strike in any call, so there is none that can be spared
        """Write one record and return its place for `split_place`, or `NOT_WRITTEN`, or `REFUSED`.

        Args:
            body: The record's JSON object without `v` and `seq`.
            now_ns: The time, which decides the day of the segment.
            run: Id of its run, which a loss is counted for.
            serial: Number of the segment the body refers into; 0 if it refers to nothing.

        Returns:
            Place of the line, or one of the two constants.
        """
        with self._lock:
            # A finalizer or signal handler may record while this very thread is writing.
            if self._busy:
                if serial:
                    return REFUSED
                self._late.append((body, run))
                self._unsettled = True
                return NOT_WRITTEN
            self._busy = True
            begun = False
            try:
                offset = self._size
                if offset >= self._full_at or not 0 < self._look_at_ns - now_ns <= LOOK_NS:
                    self._prepare(now_ns)
                    offset = self._size
                if serial and serial != self.serial:
                    self._busy = False
                    return REFUSED
                line = b'{"v":1,"seq":%d,%b\n' % (self._seq + 1, body[1:])
                begun = True
                count = _write(self._fd, line)
                if count != len(line):
                    self._finish_short_write(line, count)
                    count = len(line)
                self._size = offset + count
                self._seq += 1
                if self._unsettled:
                    self._settle()
            except BaseException as error:
                # An interrupt may have struck between the write and the count of it: the segment's
                # end is not known any more.
                full_at = self._full_at
                if begun:
                    self._full_at = -1  # before any call: another interrupt may strike in each
                try:
                    if isinstance(error, OSError) and not _interrupts.is_from_signal(error):
                        self._full_at = full_at
                        self._lose(run, error)
                        return NOT_WRITTEN
                    if begun:
                        self._abandon()
                finally:
                    self._busy = False
                raise
            self._busy = False
            return self._place | offset

    def write(self, line: Line, now_ns: int, run: str, serial: int = 0) -> int:  # noqa: C901 - as `append`
        """Number, encode and write one record; what `append` is for records encoded already.

        What most records are, and a third faster: the encoder writes into one buffer, which is what
        goes to the file.

        Args:
            line: The record, without place and time; not to be used again.
            now_ns: Its time.
            run: Id of its run, which a loss is counted for.
            serial: Number of the segment the record refers into; 0 if it refers to nothing.

        Returns:
            What `append` does; `UNFIT` if nothing was written because values have to go to blobs
            first, or JSON cannot hold them.
        """
        with self._lock:
            # A finalizer or signal handler may record while this very thread is writing.
            if self._busy:
                return self._defer(line, now_ns, run, serial)
            self._busy = True
            begun = False
            try:
                nanos = now_ns - self._second_ns
                if not 0 <= nanos < self._turn_after_ns or self._size >= self._full_at:
                    nanos = self._turn(now_ns)
                if serial and serial != self.serial:
                    self._busy = False
                    return REFUSED
                offset = self._size
                line.seq = number = self._seq + 1
                line.ts = "%s%09dZ" % (self._second, nanos)  # noqa: UP031 - faster than an f-string
                buffer = self._buffer
                try:
                    _encode_into(line, buffer)
                except _UNENCODABLE as error:
                    _interrupts.pass_on(error)
                    self._busy = False
                    return UNFIT
                length = len(buffer) + 1
                if length > _LINE_BYTES:
                    del buffer[:]
                    self._busy = False
                    return UNFIT
                buffer.append(_NEWLINE)
                begun = True
                count = _write(self._fd, buffer)
                if count != length:
                    self._finish_short_write(buffer, count)
                self._size = offset + length
                self._seq = number
                if self._unsettled:
                    self._settle()
            except BaseException as error:
                full_at = self._full_at
                if begun:
                    self._full_at = -1  # before any call: another interrupt may strike in each
                try:
                    if isinstance(error, OSError) and not _interrupts.is_from_signal(error):
                        self._full_at = full_at
                        self._lose(run, error)
                        return NOT_WRITTEN
                    if begun:
                        self._abandon()
                finally:
                    self._busy = False
                raise
            self._busy = False
            return self._place | offset

    def _defer(self, line: Line, now_ns: int, run: str, serial: int) -> int:
        """Keep a record that was made during a write until that write is over."""
        if serial:
            return REFUSED
        line.ts = _clock.format_ns(now_ns)
        try:
            text = codec.encode_json(line)
        except _UNENCODABLE as error:
            _interrupts.pass_on(error)
            return UNFIT
        if len(text) >= _LINE_BYTES:
            return UNFIT
        self._late.append((b"{" + text[len(b'{"v":1,') :], run))
        self._unsettled = True
        return NOT_WRITTEN

    def _turn(self, now_ns: int) -> int:
        """Make ready for a new second, day or segment, and tell of losses.

        Returns:
            The nanoseconds of the second.
        """
        if self._size >= self._full_at or not 0 < self._look_at_ns - now_ns <= LOOK_NS:
            self._prepare(now_ns)
        nanos = now_ns % _SECOND_NS
        if now_ns - nanos != self._second_ns:
            text = _clock.format_ns(now_ns)[:20]
            self._second_ns, self._second = now_ns - nanos, text  # an interrupt parts calls only
            _ids.renew(now_ns)
        self._turn_after_ns = min(_SECOND_NS, self._look_at_ns - self._second_ns)
        return nanos

    @property
    def written(self) -> int:
        """How many records are in the log, the writer's own gap records not counted."""
        return self._written_before + self._seq - self._gaps

    def _prepare(self, now_ns: int) -> None:
        """Open the segment that the next record goes to, and tell of losses first."""
        self._notice_deletion()
        if self._size >= self._full_at or now_ns >= self._day_end_ns:
            self._rotate(now_ns)
        if self._losses:
            self._tell_losses()
        self._look_at_ns = min(self._day_end_ns, now_ns + LOOK_NS)

    def _notice_deletion(self) -> None:
        """Count what a segment held that was deleted while it was written.

        Bytes go to it, but nobody will read them. Where the program has closed the descriptor, as
        daemons close all, its number may stand for another file by now, which is not ours to close.
        """
        if self._fd < 0:
            return
        try:
            found = os.fstat(self._fd)
        except OSError as error:
            _interrupts.pass_on(error)
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._file:
            count = self._seq - self._count_lines()
            self._forget_segment()
            why = f"the program closed the file of their segment in {self.home.log}"
        elif not found.st_nlink:
            count = self._seq - self._gaps
            self._abandon()
            self._unsynced = 0
            why = f"their segment in {self.home.log} was deleted while it was written"
        else:
            return
        if count:
            self._written_before -= count
            self.count_loss("", why, count)

    def _count_lines(self) -> int:
        """Return how many lines the segment holds under its name."""
        from whence.log import segment  # noqa: PLC0415 - loaded already, by `__init__`

        day = segment.today(self._day_end_ns - 1)
        path = segment.SegmentName(day, self._name, self.serial).path_in(self.home)
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def _settle(self) -> None:
        """Write what was recorded during the last write; note that the segment is unsynced."""
        while self._late:
            body, run = self._late.popleft()
            try:
                self._write_line(body)
            except OSError as error:
                _interrupts.pass_on(error)
                self._lose(run, error)
        if self._syncs:
            self._note_unsynced()
        self._unsettled = self._syncs

    def _write_line(self, body: bytes) -> None:
        line = b'{"v":1,"seq":%d,%b\n' % (self._seq + 1, body[1:])
        try:
            count = _write(self._fd, line)
            if count != len(line):
                self._finish_short_write(line, count)
            self._size += len(line)
            self._seq += 1
        except BaseException as error:  # as in `append`
            full_at, self._full_at = self._full_at, -1
            if isinstance(error, OSError) and not _interrupts.is_from_signal(error):
                self._full_at = full_at
            raise

    def _finish_short_write(self, line: bytes | bytearray, count: int) -> None:
        """Write the rest of a line, or take back what was written.

        If neither can be done, the segment is left with its torn tail.
        """
        try:
            while count < len(line):
                count += os.write(self._fd, line[count:])
        except OSError:
            try:
                os.ftruncate(self._fd, self._size)
            except OSError:
                self._abandon()
            raise

    def _rotate(self, now_ns: int) -> None:
        if self._fd < 0 and 0 < self._retry_at_ns - now_ns <= RETRY_NS:  # the clock may be set back
            raise OSError(0, self._cause)
        from whence.log import segment  # noqa: PLC0415 - loaded already, by `__init__`

        self._leave_segment()
        self.serial += 1  # also if this fails or is interrupted: no name is tried twice
        day = segment.today(now_ns)
        self._fd = segment.create(
            self.home, segment.SegmentName(day, self._name, self.serial), sync=self._syncs
        )
        found = os.fstat(self._fd)
        self._file = (found.st_dev, found.st_ino)
        self._size, self._full_at = 0, self._rotate_bytes
        self._place = self.serial << _OFFSET_BITS
        self._day_end_ns = (now_ns // _DAY_NS + 1) * _DAY_NS

    def _leave_segment(self) -> None:
        if self._syncs:
            self._sync()
        self._abandon()

    def _abandon(self) -> None:
        """Let go of a segment whose end is not known to be whole.

        The next record opens a new one.
        """
        fd = self._forget_segment()
        if fd >= 0:
            os.close(fd)

    def _forget_segment(self) -> int:
        # First: should an interrupt strike here, the next record opens a new segment.
        self._full_at = -1
        fd, self._fd = self._fd, -1
        self._written_before += self._seq - self._gaps
        self._seq = self._size = self._gaps = 0
        return fd

    def _lose(self, run: str, error: OSError) -> None:
        self._cause = error.strerror or str(error)
        if self._fd < 0 and error.errno:
            self._retry_at_ns = _clock.wall_ns() + RETRY_NS
        self.count_loss(run, f"{self._cause} while writing to {self.home.log}")

    def count_loss(self, run: str, reason: str, count: int = 1) -> None:
        """Remember that records of `run` were not kept.

        A gap record follows with the next write that succeeds.
        """
        reason = reason.encode("utf-8", "backslashreplace").decode()  # a path may not be Unicode
        with self._lock:
            self.lost += count
            self._look_at_ns = self._turn_after_ns = 0
            self.last_reason = reason
            loss = self._losses.get(run)
            if loss is None:
                self._losses[run] = Loss(count, reason, _clock.format_ns(_clock.wall_ns()))
            else:
                loss.count += count

    def _tell_losses(self) -> None:
        for run in list(self._losses):
            loss = self._losses[run]
            now = _clock.format_ns(_clock.wall_ns())
            gap = Gap(ts=now, run=run, lost=loss.count, reason=loss.reason, since=loss.since)
            self._write_line(codec.encode_json(gap))
            self._gaps += 1
            del self._losses[run]

    def _note_unsynced(self) -> None:
        self._unsynced += 1
        if self.durability == "record":
            self._sync()
        elif self._syncer is None:
            syncer = threading.Thread(
                target=self._sync_in_groups, args=(self._closed,), name="whence-sync", daemon=True
            )
            try:
                syncer.start()
            except RuntimeError:  # no more threads, or the interpreter is ending
                self._sync()
            else:
                self._syncer = syncer

    def _sync_in_groups(self, closed: threading.Event) -> None:
        while not closed.wait(GROUP_SYNC_S):
            if self._unsynced:
                with self._lock:
                    self._sync()

    def _sync(self) -> None:
        """Bring the segment to the disk.

        After a failed fdatasync the kernel may have dropped the dirty pages and the next call would
        report success for data that is gone (PostgreSQL's "fsyncgate"), so the file is never synced
        again: what was not synced is told as a gap in a new segment.
        """
        if self._fd < 0 or not self._unsynced:
            return
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            _interrupts.pass_on(error)
            reason = (
                f"{error.strerror}: records may not have reached the disk before a power failure"
            )
            count, self._unsynced = self._unsynced, 0
            self._abandon()
            self.count_loss("", reason, count)
        else:
            self._unsynced = 0

    def flush(self) -> None:
        """Tell of losses if the disk takes it.

        Unless durability is `process`, everything written is brought to the disk too.
        """
        with self._lock:
            if self._busy:
                return
            try:
                self._busy = True
                self._notice_deletion()
                if self._losses or self._late:
                    self._prepare(_clock.wall_ns())
                if self._late:
                    self._settle()
            except OSError as error:
                _interrupts.pass_on(error)
                self.last_reason = f"{error.strerror or error} while writing to {self.home.log}"
            finally:
                self._busy = False
            if self.durability != "process":
                self._sync()

    def close(self) -> None:
        """Flush and give the segment up, so that it may be archived.

        A later record opens a new one.
        """
        self.flush()
        self._closed.set()
        with self._lock:
            if not self._busy:
                while self._late:
                    self.count_loss(
                        self._late.popleft()[1], self.last_reason or "the log was closed"
                    )
                self._leave_segment()
            self._syncer = None
            self._closed = threading.Event()

    def disown(self) -> None:
        """Drop the descriptor in a forked child, without a flush.

        The segment and its lock stay the parent's.
        """
        self._abandon()
