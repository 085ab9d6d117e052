"""A forked child records for itself, from its first moment on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from whence.log import segment

PROGRAM = """
import os, sys, threading

recording = []

def add_hook(name):
    os.register_at_fork(**{name: lambda: name in recording and run.event(name)})

for name in ("before", "after_in_parent", "after_in_child"):
    add_hook(name)  # whence adds its own later, which in the child run later too

import whence
from whence.capture.state import current

home, is_busy = sys.argv[1], sys.argv[2] == "busy"
whence.configure(home)
held, done = threading.Event(), threading.Event()

def write_for_long():
    with current.writer._lock, current.opening:
        held.set()
        done.wait()

with whence.run("r") as run:
    run.event("first")
    if is_busy:
        thread = threading.Thread(target=write_for_long)
        thread.start()
        held.wait()
    recording += ["after_in_child"] if is_busy else ["before", "after_in_parent", "after_in_child"]
    pid = os.fork()
    if pid == 0:
        run.event("child")
        os._exit(0)
    done.set()
    assert os.waitpid(pid, 0)[1] == 0
    if is_busy:
        thread.join()
    run.event("parent")
    assert whence.flush().lost == 0
"""


def lines_by_segment(home):
    """Return the lines of each segment, after checking that they are numbered in order."""
    found = []
    for name in segment.iter_all(home):
        lines = [json.loads(line) for line in name.path_in(home).read_bytes().splitlines()]
        assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
        found.append(lines)
    return found


@pytest.mark.parametrize(
    ("state", "of_parent", "of_child"),
    [
        (
            "idle",
            ["first", "before", "after_in_parent", "parent"],
            ["after_in_child", "child"],
        ),
        ("busy", ["first", "parent"], ["after_in_child", "child"]),
    ],
)
def test_hooks_of_others_may_record_while_a_process_forks(recorded, state, of_parent, of_child):
    """Into the segment of their own process, whatever a thread of the parent is in the midst of."""
    program = [sys.executable, "-c", PROGRAM, str(recorded.home.root), state]
    subprocess.run(program, check=True, timeout=30)

    segments = lines_by_segment(recorded.home)
    messages = [[line["message"] for line in lines if "message" in line] for lines in segments]
    assert sorted(messages, key=len, reverse=len(of_parent) > 2) == [of_parent, of_child]
    ids = [line["id"] for lines in segments for line in lines if "id" in line]
    assert len(set(ids)) == len(ids)
