"""Limit of careful Python.

One msgspec struct a record from values at hand, encoded in C, one `write` each. No API, no context,
no nesting.

Records have an id, a parent and a clock reading; nothing is validated, and starts are not written,
so a process that dies leaves no trace of what it was doing.
"""

# The signature of a driver is fixed, and its packages are imported where an environment has them.
# ruff: noqa: FBT001, FBT002, PLC0415

from __future__ import annotations

import os
import random
import time
from typing import Any

from benchmarks.drivers.files import FileDriver


class D(FileDriver):
    """One line a record."""

    def setup(self, sink: str, outdir: str, enabled: bool = True) -> None:
        """Make the struct and its encoder."""
        super().setup(sink, outdir, enabled)
        import msgspec

        fields = [("run", str), ("id", int), ("parent", int), ("kind", str), ("ts", int)]
        self._record = msgspec.defstruct("Record", [*fields, ("data", dict)], gc=False)
        self._encode = msgspec.json.Encoder().encode
        self._now = time.time_ns  # noqa: TID251 - a peer has no clock of ours

    def _write(self, kind: str, parent: int, data: dict[str, Any]) -> int:
        made = random.getrandbits(63)
        record = self._record(self.run_id, made, parent, kind, self._now(), data)
        os.write(self.fd, self._encode(record) + b"\n")
        return made

    def record_run(self, run: dict[str, Any]) -> None:
        """Write its 33 records."""
        self.run_id = run["run_id"]
        head = ("name", "inputs", "tenant", "release", "outcome", "factors")
        root = self._write("run", 0, {key: run[key] for key in head})
        for stage in run["stages"]:
            fields = {key: stage[key] for key in ("name", "attempt", "status")}
            at = self._write("stage", root, fields)
            for decision in stage["decisions"]:
                self._write("decision", at, decision)
            for tool in stage["tools"]:
                self._write("tool", at, tool)
            if stage["llm"]:
                self._write("llm", at, stage["llm"])

    def record_single(self, decision: dict[str, Any]) -> None:
        """Write one decision."""
        self._write("decision", 0, decision)
