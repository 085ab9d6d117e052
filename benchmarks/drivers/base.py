"""What a driver has.

A new peer is a copy of any driver here, and a line in `benchmarks.capture.RECORDERS`.
"""

# The signature of a driver is fixed.
# ruff: noqa: FBT001, FBT002

from __future__ import annotations

from typing import Any, ClassVar


class Driver:
    """A recorder under measurement."""

    PACE_MS = 1.0
    """Pause between runs, so that a recorder that exports later keeps up and drops nothing."""
    SENDS = False
    """Whether records go to the sink, and not into files."""
    DISABLED: ClassVar[dict[str, str]] = {}
    """Calls to time in the documented off state.

    What it is, and the statement; `d` is the driver.
    """

    def setup(self, sink: str, outdir: str, enabled: bool = True) -> None:
        """Import the library and configure it as in production.

        Args:
            sink: URL of the loopback sink.
            outdir: Folder for files.
            enabled: False for the library's documented off state.
        """

    def record_run(self, run: dict[str, Any]) -> None:
        """Record one run of the workload through the library's own API."""
        raise NotImplementedError

    def flush(self) -> None:
        """Return when everything recorded has left the process."""

    def open_single(self, run: dict[str, Any]) -> None:
        """Open what `record_single` records in."""

    def record_single(self, decision: dict[str, Any]) -> None:
        """Record one decision."""
        raise NotImplementedError

    def stored_bytes(self) -> int | None:
        """Return the size of the files written so far; None where bytes go elsewhere."""
        return None
