"""A segment is one file of one process.

Its name, how it is born, and how to tell whether its writer lives.

A segment is created exclusively, locked for as long as its writer lives, and never opened for
writing again: a torn last line belongs to the dead and can never be glued to a line of the living.
The lock is all that tells a live segment from a dead one, so a crash needs no clean-up.
"""

from __future__ import annotations

import fcntl
import os
import re
from typing import TYPE_CHECKING

import msgspec

from whence import _clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from whence.log.home import Home

_NAME = re.compile(r"(?P<day>\d{4}-\d\d-\d\d)[./](?P<writer>[A-Za-z0-9_-]+)\.(?P<n>\d+)")


class SegmentName(msgspec.Struct, frozen=True, order=True):
    """What a segment is called; the order is by day, writer and number."""

    day: str
    """UTC day of its first record, `YYYY-MM-DD`."""
    writer: str
    """The process that wrote it."""
    n: int
    """Its number among the segments of that writer, from 1."""

    def __str__(self) -> str:
        return f"{self.day}/{self.writer}.{self.n}"

    @property
    def marker(self) -> str:
        """Name of its marker in the hot folder."""
        return f"{self.day}.{self.writer}.{self.n}"

    def path_in(self, home: Home) -> Path:
        """Return where the segment's file is."""
        return home.log / self.day / f"{self.writer}.{self.n}.jsonl"


def parse_name(text: str) -> SegmentName | None:
    """Return the name written as `day/writer.n` or `day.writer.n`; None for any other text."""
    match = _NAME.fullmatch(text)
    return SegmentName(match["day"], match["writer"], int(match["n"])) if match else None


def writer_of(name: str) -> str:
    """Return the writer's name in a segment name `day/writer.n`."""
    return name.partition("/")[2].rpartition(".")[0]


def new_writer_name() -> str:
    """Return a name that no other process has: host, process id and 32 random bits."""
    host = re.sub(r"[^A-Za-z0-9]+", "-", os.uname().nodename).strip("-")[:20] or "host"
    return f"{host}-{os.getpid()}-{os.urandom(4).hex()}"


def create(home: Home, name: SegmentName, *, sync: bool = False) -> int:
    """Return a file descriptor of the new, locked segment, open for appending.

    The marker comes first: a segment without one would not be seen by readers, a marker without a
    segment does no harm. The file gets its name when it is locked: under that name nobody can take
    it for the segment of a dead writer.

    Args:
        home: The home.
        name: What the segment is to be called.
        sync: Bring the names to the disk too, so that a power failure cannot take the file away.

    Raises:
        OSError: The disk is full, files run out, or the folder cannot be written.
    """
    try:
        return _create(home, name, sync=sync)
    except FileNotFoundError:  # the first segment of the home or day, or somebody deleted a folder
        home.hot.mkdir(parents=True, exist_ok=True)
        name.path_in(home).parent.mkdir(parents=True, exist_ok=True)
    return _create(home, name, sync=sync)


def _create(home: Home, name: SegmentName, *, sync: bool) -> int:
    path, marker = name.path_in(home), home.hot / name.marker
    os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
    unnamed = path.with_suffix(".new")
    fd = -1
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(unnamed, flags, 0o666)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(path)
        if sync:
            _sync_names(home, path.parent)
    except BaseException:  # an interrupt, too, leaves nothing behind
        if fd >= 0:
            os.close(fd)
            unnamed.unlink(missing_ok=True)
        marker.unlink(missing_ok=True)
        raise
    return fd


def _sync_names(home: Home, day: Path) -> None:
    for folder in (home.hot, day, home.log, home.root):
        fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def is_live(path: Path) -> bool:
    """Whether the segment's writer still holds its lock.

    A reader asks by trying a shared lock without waiting and giving it back at once, which no
    writer ever waits for.

    Returns:
        True while the writer lives.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def list_hot(home: Home) -> list[SegmentName]:
    """Return the segments that are not archived, in order.

    Foreign files in the folder are passed over.
    """
    try:
        names = os.listdir(home.hot)  # noqa: PTH208 - thousands of names, looked at often
    except FileNotFoundError:
        return []
    return sorted(name for name in map(parse_name, names) if name is not None)


def iter_all(home: Home) -> Iterator[SegmentName]:
    """Yield every segment in the log, archived or not, in order."""
    try:
        days = sorted(path.name for path in home.log.iterdir())
    except FileNotFoundError:
        return
    for day in days:
        folder = home.log / day
        if not folder.is_dir():
            continue
        names = (
            parse_name(f"{day}/{path.name.removesuffix('.jsonl')}") for path in folder.iterdir()
        )
        yield from sorted(name for name in names if name is not None)


def first_unmarked(home: Home) -> SegmentName | None:
    """Return the first segment with content that has no marker in the hot folder; None if all have.

    It is archived then, or nobody sees it. Live segments always have their marker, which is made
    before them, so the log is looked at first.
    """
    names = list(iter_all(home))
    marked = set(list_hot(home))
    return next((name for name in names if name not in marked and _has_content(home, name)), None)


def _has_content(home: Home, name: SegmentName) -> bool:
    try:
        return name.path_in(home).stat().st_size > 0
    except FileNotFoundError:
        return False


def today(unix_ns: int) -> str:
    """Return the UTC day of a time, `YYYY-MM-DD`."""
    return _clock.format_ns(unix_ns)[:10]
