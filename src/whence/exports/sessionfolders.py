"""Provenance folders on disk: their common files, and a place in them for every session.

A session's folder is called after the minute in which it began. Making the folder is what claims
it, so that processes which share a folder need no lock: two sessions of one minute get `-2`, `-3`
behind the name. What a person changed in the common files stays. No recorded text becomes part of a
path.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from whence import _clock
from whence.exports.actionschema import FOLDER
from whence.log.replacing import replace

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST, ACTIONS, SUMMARY = FILES = ("manifest.yaml", "actions.jsonl", "summary.md")
NAME = re.compile(r"\d{4}-\d\d-\d\d-\d\d-\d\d(-\d+)?")
"""The names of session folders that are made here."""
DEFAULT = ".claude/provenance"
"""Where sessions are written if nobody says where."""

_taken: dict[tuple[str, str], int] = {}
_REMEMBERED = 1_000


def name_of(started_ns: int) -> str:
    """Return the name of a session's folder, `YYYY-MM-DD-HH-mm` in UTC."""
    return re.sub(r"[T:]", "-", _clock.format_ns(started_ns)[:16])


def prepare(folder: Path) -> list[Path]:
    """Return the common files of a provenance folder that were not there and are made now.

    Raises:
        OSError: A file could not be written.
    """
    made: list[Path] = []
    for name in ("sessions", "indices"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for original in sorted(FOLDER.iterdir()):
        path = folder / original.name
        if not path.exists() and original.is_file():
            replace(path, original.read_bytes())
            made.append(path)
    return made


def claim(folder: Path, session_id: str, started_ns: int) -> Path:
    """Return the folder of a session, made now or when the session was written before.

    Raises:
        OSError: It could not be made.
    """
    for path in sorted((folder / "sessions").glob(f"{name_of(started_ns)}*")):
        if NAME.fullmatch(path.name) and holds(path, session_id):
            return path
    return claim_new(folder, session_id, started_ns)


def claim_new(folder: Path, session_id: str, started_ns: int) -> Path:
    """Return a folder of its own for a session that was never written.

    Raises:
        OSError: It could not be made.
    """
    first = name_of(started_ns)
    key = (str(folder), first)
    # Without the number of the last one, the thousandth session of a minute would knock at a
    # thousand doors.
    # No lock: two threads that take the same number meet at the folder, which one of them makes.
    if len(_taken) > _REMEMBERED:
        _taken.clear()
    while True:
        number = _taken[key] = _taken.get(key, 0) + 1
        path = folder / "sessions" / (first if number == 1 else f"{first}-{number}")
        if _make(path, session_id):
            return path


def _make(path: Path, session_id: str) -> bool:
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        return False
    # At once, so that another process which is looking for its place knows whose this is.
    (path / MANIFEST).write_text(f'session:\n  database_session_id: "{session_id}"\n', "utf-8")
    return True


def holds(path: Path, session_id: str) -> bool:
    """Whether a folder is that of this session."""
    try:
        manifest = (path / MANIFEST).read_text("utf-8", "replace")
    except OSError:
        return False
    mark = rf'"?database_session_id"?: *["\']?{re.escape(session_id)}\b'
    return re.search(mark, manifest) is not None
