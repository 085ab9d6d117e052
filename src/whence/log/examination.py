"""What looking at a home brings to light: figures, and findings that a person should know.

Structs only; `whence.log.doctor` fills them.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple

import msgspec

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Worst first: data is unreadable or missing; something was lost or was changed by hand; nothing to
worry about.
"""


class Finding(msgspec.Struct, frozen=True):
    """One thing that a person should know."""

    severity: Severity
    """How bad it is."""
    kind: str
    """What sort of finding, one word with underscores, the same in every version."""
    message: str
    """What was found, in one sentence."""
    next_step: str
    """What to do about it."""
    where: list[str] = []
    """The files it is about, relative to the home."""


class SegmentFigures(msgspec.Struct, frozen=True):
    """What one segment holds."""

    name: str
    """`day/writer.n`."""
    live: bool
    """Whether its writer is still there."""
    hot: bool
    """Whether it has a marker that says it is not archived."""
    archived: bool
    """Whether the catalog names it."""
    size_bytes: int
    """Size of the file when it was examined."""
    records: int
    """How many records it holds."""
    torn_at: int | None = None
    """Byte offset of a torn tail."""
    torn_bytes: int = 0
    """Length of the torn tail."""
    foreign_lines: int = 0
    """How many lines are no records."""
    foreign_at: int | None = None
    """Byte offset of the first of them."""
    missing_lines: int = 0
    """How many sequence numbers are missing."""


class Loss(msgspec.Struct, frozen=True):
    """Records that gap records tell of."""

    run: str
    """The run they belonged to; empty when no run can be blamed."""
    reason: str
    """Why they could not be kept."""
    lost: int
    """How many."""


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """What a home holds, and what is wrong with it."""

    home: str
    """The folder."""
    segments: list[SegmentFigures] = []
    """Every segment, in order."""
    writers_alive: list[str] = []
    """Names of the writers that hold a segment."""
    records: dict[str, int] = {}
    """Records by kind."""
    gaps: list[Loss] = []
    """Lost records by run and reason."""
    blobs: int = 0
    """How many blobs there are."""
    archive_version: int = 0
    """Version of the catalog; 0 without one."""
    archive_parts: int = 0
    """How many files the archive consists of."""
    disk_bytes: dict[str, int] = {}
    """Bytes by folder of the home."""
    findings: list[Finding] = []
    """What a person should know, worst first."""

    def worst(self) -> Severity | None:
        """Return the severity of the worst finding; None if there is none."""
        return self.findings[0].severity if self.findings else None


class Begun(NamedTuple):
    """A run that began."""

    ts: str
    """When, as its record says."""
    writer: str
    """Name of the writer that said so."""


class LogFigures:
    """What is counted over all segments."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.lost: Counter[tuple[str, str]] = Counter()
        self.blobs: dict[str, str] = {}
        self.unresolved: Counter[str] = Counter()
        self.not_understood = 0
        """Model calls whose stated usage gives no tokens."""
        self.begun: dict[str, Begun] = {}
        """Runs of which no end was read, by id."""
        self.ended: set[str] = set()
        """Runs of which an end was read and no beginning."""

    def begin(self, run: str, ts: str, writer: str) -> None:
        """Take the beginning of a run; its end may have been read before."""
        if run in self.ended:
            self.ended.discard(run)
        else:
            self.begun.setdefault(run, Begun(ts, writer))

    def end(self, run: str) -> None:
        """Take the end of a run."""
        if self.begun.pop(run, None) is None:
            self.ended.add(run)
