"""What every benchmark is given.

Where to work, which workload, how much; and what it says about the machine it ran on.
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT = Path(__file__).resolve().parents[1]


class Bench(msgspec.Struct, frozen=True):
    """The terms of one session of measuring."""

    work: Path
    """Folder for homes, environments of peers and scratch files.

    It is kept, so that homes and environments are made once.
    """
    workload: str = ""
    """Folder with another `workload.py`; ours if empty."""
    python: str = sys.executable
    """The interpreter that has whence."""
    peers: bool = True
    """Whether to install peers from the package index."""

    def fresh(self, name: str) -> Path:
        """Return a new, empty folder."""
        folder = self.work / "scratch" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def environment(self) -> dict[str, str]:
        """Return the environment for processes of ours.

        This checkout importable, whence at its defaults.
        """
        kept = {key: value for key, value in os.environ.items() if not key.startswith("WHENCE_")}
        paths = [str(ROOT), str(ROOT / "src")]
        kept.pop("PYTHONDONTWRITEBYTECODE", None)  # or whence would be compiled at every start
        return {**kept, "PYTHONPATH": os.pathsep.join(paths), "WHENCE_COMPACT_AT_EXIT": "0"}


class Machine(msgspec.Struct, frozen=True):
    """What the figures were measured on; nothing that identifies it."""

    cpu: str
    cores: int
    memory_gb: int
    system: str
    python: str


class Load(msgspec.Struct, frozen=True):
    """How busy the machine was.

    The one-minute load average before and after. Above 1, somebody else was there.
    """

    before: float
    after: float


class Spread(msgspec.Struct, frozen=True):
    """A figure measured several times."""

    median: float
    least: float
    most: float


def spread(values: Iterable[float]) -> Spread:
    """Return median, least and most of some values."""
    found = sorted(values)
    return Spread(statistics.median(found), found[0], found[-1])


def quantile(values: Iterable[float], share: float) -> float:
    """Return the value below which `share` of the values lie."""
    found = sorted(values)
    return found[min(len(found) - 1, int(len(found) * share))]


def machine() -> Machine:
    """Return what this machine is."""
    memory = (
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    )
    return Machine(
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        memory_gb=round(memory / 2**30),
        system=f"{platform.system()} {platform.release().split('-')[0]}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
    )


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def load() -> float:
    """Return the load average of the last minute; 0 where the system has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def milliseconds(question: Callable[[], object], *, warm: int, repeat: int) -> list[float]:
    """Return how long each of `repeat` calls took, after `warm` calls that do not count."""
    for _ in range(warm):
        question()
    taken: list[float] = []
    for _ in range(repeat):
        began = time.perf_counter_ns()
        question()
        taken.append((time.perf_counter_ns() - began) / 1e6)
    return taken


def run_module(bench: Bench, module: str, *arguments: str) -> str:
    """Return what a module prints, run in a process of its own.

    Raises:
        RuntimeError: It failed.
    """
    done = subprocess.run(
        [bench.python, "-m", module, *arguments],
        env=bench.environment(),
        cwd=bench.work,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"{module} failed with exit code {done.returncode}: {done.stderr[-2000:]}"
        )
    return done.stdout
