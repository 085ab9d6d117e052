"""What archiving makes of a log: bytes a record before and after, and how fast.

A record is one of the 33 of the workload. `raw` is the same content as compact JSON, one mapping a
record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from benchmarks import homes

if TYPE_CHECKING:
    from benchmarks.harness import Bench


class Sizes(msgspec.Struct, frozen=True):
    """How much is measured."""

    wide: tuple[int, ...]
    """Records of each wide home."""


FULL = Sizes(wide=(100_000, 1_000_000))
QUICK = Sizes(wide=(20_000,))
TINY = Sizes(wide=(330,))


class Archived(msgspec.Struct, frozen=True):
    """What became of one home."""

    records: int
    raw_bytes: float
    """A record as compact JSON."""
    log_bytes: float
    """A record in the log."""
    archive_bytes: float
    """A record in the archive."""
    compaction_s: float
    records_a_second: float
    lines_a_second: float
    """Lines of the log, of which there are more than records: whence notes starts too."""
    peak_mb: float
    """Most memory the compactor held."""


class Figures(msgspec.Struct, frozen=True):
    """The size of an archive and the speed of making it."""

    sizes: Sizes
    archives: list[Archived]


def measure(bench: Bench, sizes: Sizes) -> Figures:
    """Return what archiving makes of a log at each size."""
    found: list[Archived] = []
    for records in sizes.wide:
        _, made = homes.ensure(bench, homes.WIDE, records, fresh=True)
        found.append(
            Archived(
                records=made.records,
                raw_bytes=made.raw_bytes / made.records,
                log_bytes=made.log_bytes / made.records,
                archive_bytes=made.archive_bytes / made.records,
                compaction_s=made.compaction_s,
                records_a_second=made.records / made.compaction_s,
                lines_a_second=made.log_lines / made.compaction_s,
                peak_mb=made.compaction_peak_mb,
            )
        )
    return Figures(sizes, found)
