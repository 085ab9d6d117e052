"""Where a run runs: versions, git commit, host and process, found once a process without starting a program."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

from whence._version import __version__

_LIBRARIES = ("openai", "anthropic", "google.genai", "litellm", "langchain_core", "transformers", "numpy", "torch")
_known: dict[int, dict[str, Any]] = {}


def describe() -> dict[str, Any]:
    """Return Python, whence and library versions, git commit and branch, host, process id and program."""
    pid = os.getpid()
    found = _known.get(pid)
    if found is None:
        _known.clear()
        found = _known[pid] = _describe(pid)
    return found


def _describe(pid: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "whence": __version__,
        "platform": sys.platform,
        "host": os.uname().nodename if hasattr(os, "uname") else platform.node(),
        "pid": pid,
        "program": sys.argv[0] if sys.argv else "",
    }
    versions = {
        name: version
        for name in _LIBRARIES
        if isinstance(version := getattr(sys.modules.get(name), "__version__", None), str)
    }
    if versions:
        found["libraries"] = versions
    git = _git(Path.cwd())
    if git:
        found["git"] = git
    return found


def _git(folder: Path) -> dict[str, str]:
    """Return commit and branch by reading git's own files; empty outside a checkout."""
    for parent in (folder, *folder.parents):
        git = parent / ".git"
        try:
            if git.is_file():  # a worktree or submodule: the file names the real folder
                git = (parent / git.read_text().partition("gitdir:")[2].strip()).resolve()
            head = (git / "HEAD").read_text().strip()
        except OSError:
            continue
        if not head.startswith("ref: "):
            return {"commit": head}
        reference = head[5:]
        found = {"branch": reference.removeprefix("refs/heads/")}
        commit = _commit(git, reference)
        return {**found, "commit": commit} if commit else found
    return {}


def _commit(git: Path, reference: str) -> str:
    for base in (git, git.parent.parent):  # a worktree keeps its branches in the main folder
        try:
            return (base / reference).read_text().strip()
        except OSError:
            pass
        try:
            packed = (base / "packed-refs").read_text()
        except OSError:
            continue
        for line in packed.splitlines():
            commit, _, name = line.partition(" ")
            if name == reference:
                return commit
    return ""
