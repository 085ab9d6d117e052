"""When a process that recorded much ends, somebody else archives it.

A compactor of its own, which the program does not wait for.

Homes that are looked at through the command line or a server are compacted by them. This is for
those that only record: without it their hot tail would grow until the first reader has to read all
of it.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from whence.capture import guard

if TYPE_CHECKING:
    from whence.log.home import Home

MANY_SEGMENTS = 8
"""Hot segments, of up to 64 MiB each, from which on a closing writer starts a compactor."""


def start_compactor_if_due(home: Home) -> None:
    """Start `whence compact` in the background if many segments wait and it is installed."""
    try:
        waiting = len(list(home.hot.iterdir()))
    except OSError:
        return
    if waiting < MANY_SEGMENTS or find_spec("duckdb") is None or find_spec("click") is None:
        return
    import subprocess  # noqa: PLC0415 - only a program that recorded much pays for it, and at its end

    package = str(Path(__file__).resolve().parents[2])
    code = f"import sys; sys.path.insert(0, {package!r}); from whence.cli.main import main; main()"
    try:
        subprocess.Popen(  # noqa: S603 - our own interpreter and our own code
            [sys.executable, "-c", code, "compact", "--home", str(home.root)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        guard.tell_once("compactor", f"no compactor could be started: {error.strerror or error}")
