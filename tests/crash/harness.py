"""Starts programs that say what they have done, kills them at random, and keeps what they said.

A program writes one line to its standard output after each call that returned: whatever it says is
acknowledged, and has to be found afterwards. A line it was killed in the middle of was not said.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

ACKNOWLEDGE = """
import os
def acknowledge(text):
    os.write(1, text.encode() + b"\\n")
"""
"""What the source of a program may begin with."""


@dataclass
class Victim:
    """A program that is killed, and what it said until then."""

    process: subprocess.Popen[bytes]
    said: list[str] = field(default_factory=list)
    listener: threading.Thread | None = None


def start(source: str, *arguments: str) -> Victim:
    """Start a Python program and listen to it."""
    victim = Victim(
        subprocess.Popen(
            [sys.executable, "-c", source, *arguments],
            stdout=subprocess.PIPE,
            env=os.environ.copy(),
        )
    )
    victim.listener = threading.Thread(target=_listen, args=(victim,), daemon=True)
    victim.listener.start()
    return victim


def _listen(victim: Victim) -> None:
    rest = b""
    while chunk := os.read(victim.process.stdout.fileno(), 1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        victim.said.extend(line.decode() for line in lines)


def kill(victim: Victim) -> None:
    """Kill a program and wait until everything it said is heard."""
    victim.process.send_signal(signal.SIGKILL)
    victim.process.wait()
    victim.listener.join()
    victim.process.stdout.close()


def wait_until_said(victim: Victim, count: int, timeout_s: float = 30) -> None:
    """Wait until a program has said so many lines.

    Raises:
        AssertionError: It ended or was silent for too long.
    """
    deadline = time.monotonic() + timeout_s
    while len(victim.said) < count:
        assert victim.process.poll() is None or len(victim.said) >= count, (
            "the program ended by itself"
        )
        assert time.monotonic() < deadline, "the program said nothing"
        time.sleep(0.001)


def kill_at_random(
    sources: list[tuple[str, tuple[str, ...]]],
    kills: int,
    rng: random.Random,
    longest_s: float = 0.15,
) -> list[Victim]:
    """Keep a program of each source running, kill one at a time, and return all that were killed.

    Args:
        sources: Programs with their arguments.
        kills: How many to kill.
        rng: Decides which and when.
        longest_s: The longest time between two kills, in seconds.
    """
    running = [start(source, *arguments) for source, arguments in sources]
    killed: list[Victim] = []
    try:
        while len(killed) < kills:
            place = rng.randrange(len(sources))
            wait_until_said(running[place], 1)
            time.sleep(rng.random() * longest_s)
            kill(running[place])
            killed.append(running[place])
            source, arguments = sources[place]
            running[place] = start(source, *arguments)
    finally:
        for victim in running:
            kill(victim)
    return [*killed, *running]
