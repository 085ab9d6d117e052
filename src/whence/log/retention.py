"""Removes whole old days of the log, which is otherwise never rewritten, and says so in the log.

Comes in: a home and a number of days. Goes out: a `Plan` of what is old enough, and a
`RetainReport` of what was removed: segments, and blobs that no remaining record refers to. A day
that still has a live or unarchived segment stays whole. The archive's rows of a day go before its
segments, so that a removal which is cut short can be finished by doing it again.
"""

from __future__ import annotations

import mmap
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from whence import _clock, _ids
from whence.errors import ConfigError
from whence.log import blobs, catalog, segment
from whence.log.home import Home
from whence.log.writer import NOT_WRITTEN, Writer
from whence.record import codec
from whence.record.event import Event

if TYPE_CHECKING:
    from pathlib import Path

    from whence.log.segment import SegmentName

DAY_NS = 86_400_000_000_000
SETTLE_S = 0.2
"""How long a live writer is given to finish a record whose blob it found in place just before the
blob was set aside.
"""

DropArchived = Callable[[Home, Sequence[str]], object]
"""Takes the rows of the named segments out of the archive. It is handed in because the archive is
not this layer's.
"""

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_ASIDE = ".aside"


class Day(msgspec.Struct, frozen=True):
    """One day of the log that is old enough to go."""

    day: str
    """UTC day, `YYYY-MM-DD`."""
    segments: list[str]
    """Its segments, `day/writer.n`."""
    size_bytes: int
    """Their size."""


class KeptDay(msgspec.Struct, frozen=True):
    """One day that is old enough but has to stay."""

    day: str
    """UTC day, `YYYY-MM-DD`."""
    reason: str
    """Why, and what to do about it."""


class Plan(msgspec.Struct, frozen=True):
    """Which days go."""

    cutoff: str
    """The first UTC day that stays, whatever it holds."""
    days: list[Day] = []
    """Days to remove, oldest first."""
    kept: list[KeptDay] = []
    """Days that are older and stay."""

    @property
    def segments(self) -> list[str]:
        """Names of all segments to remove."""
        return [name for day in self.days for name in day.segments]

    @property
    def size_bytes(self) -> int:
        """Size of all segments to remove."""
        return sum(day.size_bytes for day in self.days)


class RetainReport(msgspec.Struct, frozen=True):
    """What was removed, or would be."""

    dry_run: bool
    """Whether nothing was changed."""
    cutoff: str
    """The first UTC day that stays, whatever it holds."""
    days: list[Day]
    """The days removed."""
    kept: list[KeptDay]
    """Days that are older and stay."""
    blobs: int
    """How many blobs no remaining record refers to."""
    blob_bytes: int
    """Their size."""
    recorded: bool
    """Whether the log tells of the removal."""

    @property
    def segments(self) -> int:
        """How many segments."""
        return sum(len(day.segments) for day in self.days)

    @property
    def segment_bytes(self) -> int:
        """Their size."""
        return sum(day.size_bytes for day in self.days)


def plan(home: Home, keep_days: int, now_ns: int) -> Plan:
    """Return which whole days are older than the last `keep_days` days, today included.

    Raises:
        ConfigError: `keep_days` is less than one.
    """
    if keep_days < 1:
        message = f"cannot keep {keep_days} days: the last day is being written; keep at least 1"
        raise ConfigError(message)
    cutoff = segment.today(max(0, now_ns - (keep_days - 1) * DAY_NS))
    hot = set(segment.list_hot(home))
    by_day: dict[str, list[SegmentName]] = {}
    for name in segment.iter_all(home):
        if name.day < cutoff:
            by_day.setdefault(name.day, []).append(name)
    days: list[Day] = []
    kept: list[KeptDay] = []
    for day, names in by_day.items():
        reason = _reason_to_stay(home, names, hot)
        if reason is None:
            size = sum(name.path_in(home).stat().st_size for name in names)
            days.append(Day(day, [str(name) for name in names], size))
        else:
            kept.append(KeptDay(day, reason))
    return Plan(cutoff, days, kept)


def _reason_to_stay(home: Home, names: list[SegmentName], hot: set[SegmentName]) -> str | None:
    live = [name for name in names if segment.is_live(name.path_in(home))]
    if live:
        return f"process {live[0].writer} still holds one of its segments; end it or wait"
    unarchived = [name for name in names if name in hot]
    if unarchived:
        return f"{len(unarchived)} of its segments are not archived; run `whence compact` first"
    return None


def retain(
    home: Home,
    *,
    keep_days: int,
    dry_run: bool = False,
    now_ns: int | None = None,
    drop_archived: DropArchived,
) -> RetainReport:
    """Return what was removed: the days that `plan` names, and the blobs only they refer to.

    Reads what remains of the log once, to learn which blobs are still wanted.

    Args:
        home: The home.
        keep_days: How many UTC days stay, today included.
        dry_run: Change nothing and say what would go.
        now_ns: The time; now if not given.
        drop_archived: Takes the rows of segments out of the archive; called before any segment is
        removed.

    Raises:
        ConfigError: `keep_days` is less than one.
        ArchiveBusyError: Another process is changing the archive.
        OSError: Something could not be removed; doing it again finishes the removal.
    """
    now_ns = _clock.wall_ns() if now_ns is None else now_ns
    chosen = plan(home, keep_days, now_ns)
    digests, blob_bytes = _unwanted_blobs(home, chosen)
    recorded = False
    if not dry_run and (chosen.days or digests):
        if chosen.days:
            drop_archived(home, chosen.segments)
        with catalog.locked(home):
            recorded = _remove(home, chosen, digests, blob_bytes, now_ns)
    return RetainReport(
        dry_run, chosen.cutoff, chosen.days, chosen.kept, len(digests), blob_bytes, recorded
    )


def _remove(home: Home, chosen: Plan, digests: list[str], blob_bytes: int, now_ns: int) -> bool:
    """Return whether the log tells of the removal of segments and blobs, which is done here.

    The event comes first, so that a removal that is cut short is on the record; a disk too full for
    it is tried again when there is room.
    """
    event = _event(chosen, digests, blob_bytes, now_ns)
    recorded = record_event(home, event, now_ns)
    for name in map(segment.parse_name, chosen.segments):
        if name is not None:
            name.path_in(home).unlink(missing_ok=True)
    for day in chosen.days:
        folder = home.log / day.day
        if not any(folder.iterdir()):
            folder.rmdir()
    remove_blobs(home, digests)
    return recorded or record_event(home, event, now_ns)


def record_event(home: Home, event: bytes, now_ns: int) -> bool:
    """Return whether an encoded event is in the log, on the disk, after writing it there."""
    writer = Writer(home, durability="record")
    try:
        return writer.append(event, now_ns, "") != NOT_WRITTEN
    finally:
        writer.close()


def _event(chosen: Plan, digests: list[str], blob_bytes: int, now_ns: int) -> bytes:
    segments = chosen.segments
    return codec.encode_json(
        Event(
            ts=_clock.format_ns(now_ns),
            run="",
            id=_ids.new_id(),
            message=(
                f"retention removed {len(segments)} segments of {len(chosen.days)} days "
                f"and {len(digests)} blobs"
            ),
            level="warning",
            data={
                "cutoff": chosen.cutoff,
                "days": [day.day for day in chosen.days],
                "segments": segments,
                "segment_bytes": chosen.size_bytes,
                "blobs": len(digests),
                "blob_bytes": blob_bytes,
            },
        )
    )


def _unwanted_blobs(home: Home, chosen: Plan) -> tuple[list[str], int]:
    """Return the blobs that nothing refers to when the days are gone, and their size in bytes.

    A young blob that nothing refers to may be one whose record is being written at this moment, and
    stays.
    """
    present = blobs.iter_digests(home)
    if not present:
        return [], 0
    going = set(chosen.segments)
    paths = [
        name.path_in(home) for name in map(segment.parse_name, chosen.segments) if name is not None
    ]
    released = digests_in(paths)
    wanted = digests_in(
        name.path_in(home) for name in segment.iter_all(home) if str(name) not in going
    )
    cutoff_ns = _clock.parse_ns(f"{chosen.cutoff}T00:00:00Z")
    unwanted: list[str] = []
    size = 0
    for digest in present:
        if digest in wanted:
            continue
        found = blobs.path_of(home, digest).stat()
        if digest in released or found.st_mtime_ns < cutoff_ns:
            unwanted.append(digest)
            size += found.st_size
    return unwanted, size


def remove_blobs(home: Home, digests: list[str]) -> None:
    """Remove blobs, except those that a live writer has come to refer to meanwhile.

    A writer keeps the same bytes once: it may have found a blob in place just before we removed it.
    So blobs are set aside first, which makes any later writer store them again, then the log is
    read once more, and those that are wanted after all go back.
    """
    aside: dict[str, Path] = {}
    for digest in digests:
        path = blobs.path_of(home, digest)
        path.rename(path.with_name(digest + _ASIDE))
        aside[digest] = path
    live = [path for name in segment.iter_all(home) if segment.is_live(path := name.path_in(home))]
    if aside and live:
        time.sleep(SETTLE_S)
    wanted = digests_in(live) if aside else set[str]()
    for digest, path in aside.items():
        beside = path.with_name(digest + _ASIDE)
        if digest in wanted:
            beside.rename(path)
        else:
            beside.unlink()


def digests_in(paths: Iterable[Path]) -> set[str]:
    """Return everything in the files that may be the digest of a blob."""
    found: set[str] = set()
    for path in paths:
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                continue
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                found.update(match.decode() for match in _DIGEST.findall(content))
    return found
