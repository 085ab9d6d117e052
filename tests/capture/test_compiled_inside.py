"""The compiled half of the writer in odd surroundings: texts, interpreters and disks few have."""

from __future__ import annotations

import ctypes
import fcntl
import importlib.util
import os
import subprocess
import sys
import time

import pytest

import whence
from whence import _ids
from whence.capture import verbs
from whence.capture.state import current
from whence.log import lines

pytestmark = pytest.mark.skipif(not lines.COMPILED, reason="nothing is compiled here")
INTERPRETERS = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
ALL_BUT_OWN_LOCK = "'legacy'" if sys.version_info >= (3, 13) else "isolated=False"


def test_what_runs_while_an_id_is_drawn_is_seen(recorded, monkeypatch):
    """The look at the segment comes after everything in which code of others could run."""
    with whence.run("states") as run:
        run.event("opens the segment")
        writer = current.writer

        def draw():
            writer._busy = True
            return 5

        monkeypatch.setattr(_ids, "next_number", draw)
        assert writer.put(verbs._EVENT.template, run.envelope, writer._second_ns + 1, "m") is None
        monkeypatch.undo()
        writer._busy = False
    assert len(recorded.rows("events")) == 1


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="there are no such texts any more")
@pytest.mark.filterwarnings("ignore:PyUnicode_FromUnicode")
def test_a_text_of_the_old_interface_passes_for_no_other(recorded):
    """An extension may make texts whose parts are elsewhere, and which nobody has looked at yet."""

    def old(text):
        made = ctypes.pythonapi.PyUnicode_FromUnicode
        made.restype, made.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_ssize_t]
        parts = ctypes.pythonapi.PyUnicode_AsUnicode
        parts.restype, parts.argtypes = ctypes.c_void_p, [ctypes.py_object]
        empty = made(None, len(text))
        ctypes.memmove(parts(empty), ctypes.create_unicode_buffer(text), 4 * len(text))
        return empty

    with whence.run("old") as run:
        run.event("opens the segment")
        run.event(old("Ärger"), value={old("key"): 1}, forged={old("$whence"): "cycle"})
    row = recorded.rows("events")[-1]
    assert row.message == "Ärger"
    assert row.data["value"] == {"key": 1}
    assert row.data["forged"] == {"$whence": "pairs", "value": [["$whence", "cycle"]]}


def test_copies_of_the_module_do_not_meet():
    """Each interpreter has its own, with its own types and the ids of its own `whence._ids`."""
    spec = lines._lines.__spec__
    first, second = (importlib.util.module_from_spec(spec) for _ in range(2))
    for copy in (first, second):
        spec.loader.exec_module(copy)
    template = first.Template(b"", 1, [])
    assert type(template) is not second.Template
    assert first.LineFile(100).put(template, b"", 0) is None
    with pytest.raises(TypeError, match="Template"):
        second.LineFile(100).put(template, b"", 0)


def test_interpreters_of_one_process_record_beside_each_other(recorded):
    """As an application server has them: one ends while another goes on."""
    program = f"""
import {INTERPRETERS} as interpreters
start = '''
import whence
whence.configure({str(recorded.home.root)!r})
run = whence.run("inside").start()
run.event("begun")
'''
one, two = (interpreters.create({ALL_BUT_OWN_LOCK}) for _ in range(2))
for which, code in (
    (one, start),
    (two, start),
    (one, "run.event('of one'); run.finish(); whence.flush()"),
):
    interpreters.run_string(which, code)
interpreters.destroy(one)
interpreters.run_string(two, "run.event('of two'); run.finish(); whence.flush()")
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    rows = recorded.rows("events")
    assert sorted(row.message for row in rows) == ["begun", "begun", "of one", "of two"]
    assert len({row.id for row in rows}) == 4


def test_a_stalled_disk_holds_the_other_threads_up_once():
    """After a write that took long, the Python half, which lets them run, has a while to itself."""
    out, into = os.pipe()
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 4096)
    pid = os.fork()
    if pid == 0:  # a reader that lets the writer wait, as a disk does
        os.close(into)
        while True:
            time.sleep(0.15)
            if not os.read(out, 4096):
                os._exit(0)
    file = lines.LineFile(1000)
    file._fd, file._full_at, file._second, file._turn_after_ns = into, 1 << 40, "0.", 1 << 40
    stalled_s = 0.0
    while stalled_s < 0.11:
        began = time.monotonic()
        assert file.put(verbs._EVENT.template, b'""', 1, "x" * 500)
        stalled_s = time.monotonic() - began
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        assert file.put(verbs._EVENT.template, b'""', 1, "x" * 500) is None
    file._fd = -1
    os.close(into)
    os.close(out)
    assert os.waitpid(pid, 0)[1] == 0
