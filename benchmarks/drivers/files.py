"""What the drivers that write one file have in common."""

# The signature of a driver is fixed.
# ruff: noqa: ARG002, FBT001, FBT002

from __future__ import annotations

import os
from typing import Any

from benchmarks.drivers.base import Driver


class FileDriver(Driver):
    """Appends lines to one file, one `write` a record."""

    def setup(self, sink: str, outdir: str, enabled: bool = True) -> None:
        """Open the file."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self.fd = os.open(f"{outdir}/log.jsonl", flags, 0o666)
        self.run_id = ""

    def open_single(self, run: dict[str, Any]) -> None:
        """Remember the run that single records belong to."""
        self.run_id = run["run_id"]

    def stored_bytes(self) -> int:
        """Return the size of the file."""
        return os.fstat(self.fd).st_size
