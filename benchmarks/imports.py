"""What `import whence` costs a program that starts.

Time and modules, beside `import msgspec`, the one package it needs.

Fresh processes alternate between the statements, so that a disturbance hits all of them; the page
cache and the compiled files are warm.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import msgspec

from benchmarks.harness import Bench, Spread, spread

if TYPE_CHECKING:
    from collections.abc import Iterable

STATEMENTS = (
    "import msgspec",
    "import whence",
    "import whence.query.reader",
    "import logging, json",
)
_PROGRAM = """
import sys, time
before = set(sys.modules)
began = time.perf_counter_ns()
{statement}
took = time.perf_counter_ns() - began
print(took, len(set(sys.modules) - before))
"""


class Sizes(msgspec.Struct, frozen=True):
    """How much is measured."""

    repetitions: int


FULL = Sizes(repetitions=41)
QUICK = Sizes(repetitions=7)
TINY = Sizes(repetitions=1)


class Import(msgspec.Struct, frozen=True):
    """What one statement costs in a fresh process."""

    statement: str
    took_ms: Spread
    modules: int
    """Modules loaded by it."""


class Figures(msgspec.Struct, frozen=True):
    """The cost of importing."""

    sizes: Sizes
    imports: list[Import]


def measure(bench: Bench, sizes: Sizes, statements: Iterable[str] = STATEMENTS) -> Figures:
    """Return what each statement costs."""
    wanted = tuple(statements)
    for statement in wanted:
        _once(bench, statement)
    took: dict[str, list[float]] = {statement: [] for statement in wanted}
    modules: dict[str, int] = {}
    for _ in range(sizes.repetitions):
        for statement in wanted:
            milliseconds, modules[statement] = _once(bench, statement)
            took[statement].append(milliseconds)
    return Figures(sizes, [Import(s, spread(took[s]), modules[s]) for s in wanted])


def _once(bench: Bench, statement: str) -> tuple[float, int]:
    done = subprocess.run(
        [bench.python, "-c", _PROGRAM.format(statement=statement)],
        env=bench.environment(),
        cwd=bench.work,
        capture_output=True,
        text=True,
        check=True,
    )
    nanoseconds, count = done.stdout.split()
    return int(nanoseconds) / 1e6, int(count)
