"""What an agent loop takes on disk: fifty turns, each of which sends the whole conversation again.

Compared are the final conversation, which is what there is to know, and the sum of what was sent,
which is what a recorder stores that writes every call down as it is.
"""

# ruff: noqa: S311 - what is measured is no secret

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import msgspec

import whence
from benchmarks import homes, workload
from benchmarks.harness import Bench, run_module
from whence.log.home import Home
from whence.store import compactor

SYSTEM_CHARS, QUESTION_CHARS, ANSWER_CHARS, TOOL_CHARS = 4_096, 400, 1_200, 2_048


class Sizes(msgspec.Struct, frozen=True):
    """How much is measured."""

    turns: tuple[int, ...]


FULL = Sizes(turns=(10, 50, 200))
QUICK = Sizes(turns=(10, 50))
TINY = Sizes(turns=(5,))


class Loop(msgspec.Struct, frozen=True):
    """What one conversation takes, in bytes."""

    turns: int
    history_bytes: int
    """The final conversation as compact JSON."""
    sent_bytes: int
    """The sum of all that was sent and answered."""
    log_bytes: int
    """The log of the run, everything else in it included."""
    archive_bytes: int
    whole: bool
    """Whether every message of every turn was read back as it was sent."""


class Figures(msgspec.Struct, frozen=True):
    """What resent histories take."""

    sizes: Sizes
    loops: list[Loop]


def measure(bench: Bench, sizes: Sizes) -> Figures:
    """Return what a conversation of each length takes."""
    return Figures(sizes, [_loop(bench, turns) for turns in sizes.turns])


def _loop(bench: Bench, turns: int) -> Loop:
    folder = bench.fresh(f"loop-{turns}")
    home = Home(folder / "home")
    run_module(bench, "benchmarks.loop", str(home.root), str(turns))
    sent = list(conversation(turns))
    log_bytes = homes.size_of(home.log) + homes.size_of(home.blobs)
    compactor.compact(home)
    with whence.open(home.root) as reader:
        kept = [row.messages for row in reader.generations(order="ts", limit=turns).items]
    return Loop(
        turns=turns,
        history_bytes=_size(sent[-1][0] + [sent[-1][1]]),
        sent_bytes=sum(_size([*messages, answer]) for messages, answer in sent),
        log_bytes=log_bytes,
        archive_bytes=homes.size_of(home.archive),
        whole=kept == [messages for messages, _ in sent],
    )


def _size(messages: list[dict[str, str]]) -> int:
    return len(json.dumps(messages, separators=(",", ":")))


def conversation(turns: int) -> list[tuple[list[dict[str, str]], dict[str, str]]]:
    """Return what is sent and what comes back in each turn."""
    rng = random.Random(5)
    history = [{"role": "system", "content": workload.text(rng, SYSTEM_CHARS)}]
    made: list[tuple[list[dict[str, str]], dict[str, str]]] = []
    for turn in range(turns):
        role, chars = ("tool", TOOL_CHARS) if turn % 3 else ("user", QUESTION_CHARS)
        history = [*history, {"role": role, "content": workload.text(rng, chars)}]
        answer = {"role": "assistant", "content": workload.text(rng, ANSWER_CHARS)}
        made.append((history, answer))
        history = [*history, answer]
    return made


def record(root: Path, turns: int) -> None:
    """Record the conversation in one run."""
    whence.configure(root)
    with whence.run("agent loop"):
        for messages, answer in conversation(turns):
            fields: dict[str, Any] = {"provider": "example", "model": "model-large"}
            with whence.generation("turn") as call:
                call.record_generation(messages=messages, output=answer["content"], **fields)


if __name__ == "__main__":
    record(Path(sys.argv[1]), int(sys.argv[2]))
