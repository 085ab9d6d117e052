"""Structured logging from the standard library.

`logging`, a formatter that makes JSON, a handler that writes to a file.
"""

# The signature of a driver is fixed.
# ruff: noqa: FBT001, FBT002

from __future__ import annotations

import json
import logging
from typing import Any, ClassVar

from benchmarks.drivers.files import FileDriver


class _JsonFormatter(logging.Formatter):
    """Makes one line of JSON of a record and of what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        head = {"ts": record.created, "level": record.levelname, "event": record.getMessage()}
        return json.dumps({**head, **record.__dict__["data"]}, separators=(",", ":"))


class D(FileDriver):
    """One log line a record, flushed each, as `logging.FileHandler` does."""

    DISABLED: ClassVar[dict[str, str]] = {"event": "d.log.info('x', extra={'data': {}})"}

    def setup(self, sink: str, outdir: str, enabled: bool = True) -> None:
        """Make a logger of its own."""
        super().setup(sink, outdir, enabled)
        self.log = logging.getLogger("benchmarks")
        self.log.propagate = False
        self.log.setLevel(logging.INFO if enabled else logging.WARNING)
        handler = logging.FileHandler(f"{outdir}/log.jsonl")
        handler.setFormatter(_JsonFormatter())
        self.log.addHandler(handler)

    def record_run(self, run: dict[str, Any]) -> None:
        """Log its 33 records."""
        self.run_id = run["run_id"]
        head = ("name", "inputs", "tenant", "release", "outcome", "factors")
        self._line("run", {key: run[key] for key in head})
        for stage in run["stages"]:
            self._line("stage", {key: stage[key] for key in ("name", "attempt", "status")})
            for decision in stage["decisions"]:
                self._line("decision", decision)
            for tool in stage["tools"]:
                self._line("tool", tool)
            if stage["llm"]:
                self._line("llm", stage["llm"])

    def record_single(self, decision: dict[str, Any]) -> None:
        """Log one decision."""
        self._line("decision", decision)

    def _line(self, kind: str, data: dict[str, Any]) -> None:
        self.log.info(kind, extra={"data": {"run": self.run_id, **data}})
