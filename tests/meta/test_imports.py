"""Importing whence is cheap: msgspec, a few modules, and nothing that only reading needs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from whence.log import lines

MOST_MODULES = 40
PROGRAM = """
import json, sys
import msgspec
before = set(sys.modules)
import whence
{more}
after = set(sys.modules) - before
print(json.dumps([[name, getattr(sys.modules[name], "__file__", None)] for name in after]))
"""


def imported(more: str = "", *arguments: str) -> dict[str, str | None]:
    """Return the modules, and their files, that whence imports beyond those of msgspec."""
    command = [sys.executable, "-c", PROGRAM.format(more=more), *arguments]
    made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return dict(json.loads(made.stdout))


def third_party(modules: dict[str, str | None]) -> list[str]:
    site = sysconfig.get_paths()["purelib"]
    return [
        name
        for name, file in modules.items()
        if file is not None
        and file.startswith(site)
        and name.partition(".")[0] not in {"whence", "msgspec"}
    ]


def test_importing_whence_is_cheap():
    """At most forty modules beyond those of `import msgspec`, none of them third-party."""
    modules = imported()

    assert third_party(modules) == []
    assert len(modules) <= MOST_MODULES, sorted(modules)


@pytest.mark.parametrize("package", ["store", "query", "exports", "cli", "ingest", "analysis"])
def test_recording_needs_nothing_of_reading(package, home):
    """A program that only records loads no third-party package and nothing of the read side."""
    program = """
whence.configure(sys.argv[1])
with whence.run("r", n=float("nan")) as run, whence.tool("t", input=[1] * 50_000) as tool:
    tool.set(output=object())
    run.decide("d", 1)
    run.record_generation(messages=[{"content": "x" * 5000}], usage={"prompt_tokens": 1})
whence.flush()
"""
    modules = imported(program, str(home))

    assert third_party(modules) == []
    assert not [name for name in modules if name.startswith(f"whence.{package}")]


def can_compile() -> bool:
    compiler = (sysconfig.get_config_var("CC") or "").split()
    return (
        os.name == "posix"
        and not sysconfig.get_config_var("Py_GIL_DISABLED")
        and bool(compiler and shutil.which(compiler[0]))
        and Path(sysconfig.get_path("include"), "Python.h").exists()
    )


@pytest.mark.skipif(os.environ.get("WHENCE_COMPILED") == "0", reason="Python alone is wanted")
@pytest.mark.skipif(not can_compile(), reason="there is nothing to compile with")
def test_the_writer_is_compiled_where_there_is_a_compiler():
    """A build that fails is seen here, and not only in what a record costs."""
    assert lines.COMPILED
