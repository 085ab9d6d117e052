"""Where a run runs.

Versions, git commit, host and process, found once a process without starting a program.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from whence._version import __version__
from whence.log.lines import VALUE_BYTES
from whence.record import codec

_LIBRARIES = (
    "openai",
    "anthropic",
    "google.genai",
    "litellm",
    "langchain_core",
    "transformers",
    "numpy",
    "torch",
)


class Where(msgspec.Struct, frozen=True):
    """Where this process runs."""

    found: dict[str, Any]
    """Versions, git commit and branch, host, process id and program."""
    text: bytes | None
    """The same as JSON text, so that runs need not encode it again.

    None if it is long enough to be written once a segment, or no Unicode.
    """


_known: dict[int, Where] = {}


def describe(pid: int) -> Where:
    """Return where the process `pid`, which is this one, runs."""
    where = _known.get(pid)
    if where is None:
        _known.clear()
        found = _describe(pid)
        where = _known[pid] = Where(found, _short_text(found))
    return where


def _short_text(found: dict[str, Any]) -> bytes | None:
    try:
        text = codec.encode_json(found)
    except UnicodeError:
        return None
    return text if len(text) < VALUE_BYTES else None


def _describe(pid: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "python": sys.version.split()[0],
        "whence": __version__,
        "platform": sys.platform,
        "host": os.uname().nodename,
        "pid": pid,
        "program": sys.argv[0] if sys.argv else "",
    }
    versions = {name: version for name in _LIBRARIES if (version := _version_of(name)) is not None}
    if versions:
        found["libraries"] = versions
    git = _git()
    if git:
        found["git"] = git
    return found


def _version_of(library: str) -> str | None:
    """Return the version of a library that is imported already."""
    try:
        version = getattr(sys.modules.get(library), "__version__", None)
    except Exception:  # noqa: BLE001 - a module may compute its attributes
        return None
    return version if isinstance(version, str) else None


def _git() -> dict[str, str]:
    """Return commit and branch by reading git's own files; empty outside a checkout."""
    try:
        folder = Path.cwd()
    except OSError:  # the working directory was removed
        return {}
    for parent in (folder, *folder.parents):
        git = parent / ".git"
        if git.is_file():  # a worktree or submodule: the file names the real folder
            git = parent / _read(git).partition("gitdir:")[2].strip()
        head = _read(git / "HEAD")
        if head:
            return _at_head(git, head)
    return {}


def _at_head(git: Path, head: str) -> dict[str, str]:
    if not head.startswith("ref: "):
        return {"commit": head}
    reference = head[5:]
    found = {"branch": reference.removeprefix("refs/heads/")}
    commit = _commit(git, reference)
    return {**found, "commit": commit} if commit else found


def _commit(git: Path, reference: str) -> str:
    # A worktree keeps its branches in the main folder.
    for base in (git, git.parent.parent):
        commit = _read(base / reference)
        if commit:
            return commit
        for line in _read(base / "packed-refs").splitlines():
            commit, _, name = line.partition(" ")
            if name == reference:
                return commit
    return ""


def _read(path: Path) -> str:
    """Return a file's text without the white space around it; empty if it cannot be read."""
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
