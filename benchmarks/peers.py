"""Environments of peers, made with pip when they are first needed and kept.

A peer that cannot be installed is left out, with a sentence.
"""

from __future__ import annotations

import subprocess
import venv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.harness import Bench

PACKAGES: dict[str, tuple[str, ...]] = {
    "otel": ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"),
}
_LAST_LINE = -1


class PeerMissingError(Exception):
    """A peer could not be installed; the message says why."""


def python_of(bench: Bench, peer: str) -> str:
    """Return the interpreter of a peer's environment.

    Raises:
        PeerMissingError: Peers are not wanted, or pip could not install it.
    """
    folder = bench.work / "venvs" / peer
    python, stamp = folder / "bin" / "python", folder / "installed"
    if stamp.exists():
        return str(python)
    if not bench.peers:
        raise PeerMissingError(f"{peer} is left out: peers are not installed in this session")
    print(f"installing {', '.join(PACKAGES[peer])} into {folder} (once)", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *PACKAGES[peer]], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["pip gave no reason"]
        raise PeerMissingError(f"{peer} is left out: pip could not install it: {lines[_LAST_LINE]}")
    stamp.write_text(_versions(python), encoding="utf-8")
    return str(python)


def versions(bench: Bench, peer: str) -> str:
    """Return the installed versions of a peer's packages, one a line.

    Empty if it is not installed.
    """
    stamp = bench.work / "venvs" / peer / "installed"
    return stamp.read_text(encoding="utf-8") if stamp.exists() else ""


def _versions(python: Path) -> str:
    done = subprocess.run(
        [str(python), "-m", "pip", "freeze"], capture_output=True, text=True, check=False
    )
    return done.stdout
