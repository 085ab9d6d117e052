"""whence through its public API: runs, spans, and decisions in one call.

It stands alone, so that it can be copied into another bench whose drivers have the same methods
(`drivers/whence_sdk.py` beside a `drivers/base.py`): there it takes that bench's base class.
"""

# The signature of a driver is fixed, and its packages are imported where an environment has them.
# ruff: noqa: ARG002, FBT001, FBT002, PLC0415

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from benchmarks.drivers.base import Driver
else:
    for _name in ("benchmarks.drivers.base", "drivers.base"):
        try:
            Driver = importlib.import_module(_name).Driver
            break
        except ImportError:
            Driver = object

_STARTS = (b"run_started", b"span_started", b"decision")
"""Kinds of which one is written for each record of the workload.

The decision on the outcome is one more.
"""


class D(Driver):
    """Durability is taken from `WHENCE_DURABILITY`, and is `process` without it."""

    VENV, UNIT, SINK = "whence", "runs, spans and one-call decisions", "file"
    IMPORT = "import whence"
    PACE_MS, SENDS = 1.0, False
    RUNS = None
    SPANS_PER_RUN = 33
    DISABLED: ClassVar[dict[str, str]] = {
        "span": "with d.whence.span('x'): pass",
        "decide": "d.scope.decide('x', 'y', why='z', confidence=0.5)",
        "set": "d.scope.set(output='y')",
        "event": "d.scope.event('x')",
        "record_generation": "d.scope.record_generation(model='x', output='y')",
    }

    def setup(self, sink: str, outdir: str, enabled: bool = True) -> None:
        """Point whence at a home of its own."""
        import whence

        self.whence = whence
        self.home = outdir
        whence.configure(outdir, enabled=enabled)
        self.scope: Any = whence.current_run()
        self.size = self.stored_bytes

    def env(self, sink: str, outdir: str, enabled: bool) -> dict[str, str]:
        """Return what has to stand in the environment before the process starts."""
        return {}

    def record_run(self, run: dict[str, Any]) -> None:
        """Record one run.

        1 run, 5 stages, 20 decisions, 6 tools, 1 generation, and the decision on its outcome.
        """
        w = self.whence
        with w.run(
            run["name"],
            project=run["tenant"],
            inputs=run["inputs"],
            release=run["release"],
            rid=run["run_id"],
        ) as root:
            for stage in run["stages"]:
                with w.stage(stage["name"], attempt=stage["attempt"]) as scope:
                    for decision in stage["decisions"]:
                        _decide(scope, decision)
                    for tool in stage["tools"]:
                        with w.tool(
                            tool["name"], tool_type=tool["kind"], input=tool["input"]
                        ) as call:
                            call.set(output=tool["output"], status=tool["status"])
                    if stage["llm"]:
                        _generate(w, stage["llm"])
            root.decide("outcome", run["outcome"], factors=_factors(run))

    def minimal(self) -> None:
        """Open and close the smallest span."""
        with self.whence.span("x"):
            pass

    def flush(self) -> None:
        """Return when everything is where the durability promises it."""
        self.whence.flush()

    def open_single(self, run: dict[str, Any]) -> None:
        """Open a run that stays open."""
        self.scope = self.whence.run(run["name"]).__enter__()

    def record_single(self, decision: dict[str, Any]) -> None:
        """Record one decision in it."""
        _decide(self.scope, decision)

    def stored_bytes(self) -> int:
        """Return the size of all files in the home."""
        return sum(file.stat().st_size for file in Path(self.home).rglob("*") if file.is_file())

    @staticmethod
    def recovered(outdir: str) -> int:
        """Return how many records of the workload a folder holds."""
        found = runs = 0
        for segment in Path(outdir).rglob("*.jsonl"):
            with segment.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        kind = line.split(b'"kind":"', 1)[1].split(b'"', 1)[0]
                        found += kind in _STARTS
                        runs += kind == b"decision" and b'"name":"outcome"' in line
        return found - runs


def _decide(scope: Any, decision: dict[str, Any]) -> None:
    scope.decide(
        decision["name"],
        decision["what"],
        why=decision["why"],
        confidence=decision["confidence"],
        options=[
            {"name": other["name"], "reason_rejected": other["reason"]}
            for other in decision["alternatives"]
        ],
        inputs=decision["inputs"],
    )


def _generate(w: Any, call: dict[str, Any]) -> None:
    with w.generation(call["name"]) as generation:
        generation.record_generation(
            provider="example",
            model=call["model"],
            parameters={"temperature": call["temperature"]},
            messages=[
                {"role": "system", "content": call["system"]},
                {"role": "user", "content": call["user"]},
            ],
            output=call["completion"],
            cost_usd=call["cost"],
            usage={
                "input_tokens": call["prompt_tokens"],
                "output_tokens": call["completion_tokens"],
            },
        )


def _factors(run: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": factor["name"],
            "raw_value": factor["value"],
            "weight": factor["weight"],
            "reasoning": factor["note"],
        }
        for factor in run["factors"]
    ]
