"""The files of a project's traces: a document and a summary a trace, and one page of alerts.

Comes in: documents and lines of text. Goes out: files under `{root}/projects/{project}/_traces/`,
each put there whole by a rename, the alerts by appending. Names of projects and traces are what
users call them: they become one part of a path each, and never more.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Any

from whence.dialects.research import settings
from whence.exports.research_shape import to_bytes
from whence.exports.research_summary import summary
from whence.log.replacing import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

ALERTS = "_calibration_alerts.md"
UNKNOWN = "unknown"
_TRACES = "_traces"
_MAX_CHARS = 100
_UNSAFE = re.compile(r"[^\w .()@+,=-]")


def folder_of(project: str | None, root: Path | None = None) -> Path:
    """Return the folder of a project's traces, below `root` or where `configure` says.

    It may not exist yet.
    """
    projects = settings.projects_folder() if root is None else root / "projects"
    return projects / _part(project or UNKNOWN) / _TRACES


def path_of(project: str | None, trace_id: str, root: Path | None = None) -> Path:
    """Return where a trace's document belongs, as `folder_of` does."""
    return folder_of(project, root) / f"{_part(trace_id)}.json"


def _part(name: str) -> str:
    """Return a name as one part of a path: as it is where it can be, else made safe and unique."""
    text = str(name)
    safe = _UNSAFE.sub("_", text)[:_MAX_CHARS].strip(" .")
    if safe == text:
        return safe
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{safe}-{digest}" if safe else digest


def write_trace(document: Mapping[str, Any], path: Path) -> Path:
    """Write a document.

    Returns:
        Its path.

    Raises:
        OSError: It could not be written; nothing is left at `path` that was not there before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, to_bytes(document))
    return path


def write_summary(document: Mapping[str, Any], path: Path) -> Path:
    """Write the summary of a document that is at `path` beside it.

    Returns:
        The path of the summary.

    Raises:
        OSError: It could not be written.
    """
    beside = path.with_name(f"{path.stem}_summary.md")
    replace(beside, summary(document).encode("utf-8", "backslashreplace"))
    return beside


def append_alerts(project: str | None, lines: Iterable[str]) -> Path:
    """Append lines to the alerts of a project.

    Returns:
        Their path.

    Raises:
        OSError: They could not be written.
    """
    path = folder_of(project) / ALERTS
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{line}\n" for line in lines)
    # One write: two processes that append at once do not mix their lines.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        os.write(fd, text.encode("utf-8", "backslashreplace"))
    finally:
        os.close(fd)
    return path
