"""Reads sessions of `.claude/provenance/` folders, of any project, in place.

Comes in: a path. Goes out: one `FolderSession` for each session, whichever of its files there are:
`manifest.yaml` of either dialect, `actions.jsonl`, `summary.md`, and the JSON manifest beside
`sessions/`. What a manifest declares and what the lines add up to are kept apart. Two sessions that
share a folder are two sessions, and a session that is told of in two places is one. It writes
nothing, and nothing raises for what a file holds.

Source: document 3 (hybrid sessions).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock
from whence.errors import IngestError
from whence.ingest import session_actions, session_manifest
from whence.ingest import session_parts as parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MANIFEST, ACTIONS, SUMMARY = FILES = ("manifest.yaml", "actions.jsonl", "summary.md")
INSIDE = Path(".claude") / "provenance"
"""Where a project has its provenance folder."""
_COMMON = ("README.md", "action-types.yaml", "manifest-template.yaml", "metadata-schema.json")
"""The files that describe a provenance folder, beside `sessions`."""
_INDICES = "indices"
"""The folder beside `sessions` that is made from them."""
_MAX_BYTES = 256 << 20
_MINUTE = re.compile(r"\d{4}(-\d\d){4}")
Fields = dict[str, Any]


def find_sessions(path: Path) -> Path | None:
    """Return the folder of sessions that a path names; None if it names none.

    Accepted are a provenance folder, a project that has one, its `sessions`, and any other folder
    that has folders of sessions in it.
    """
    for candidate in (path / "sessions", path / INSIDE / "sessions"):
        if candidate.is_dir():
            return candidate
    return path if any(map(is_session, _folders(path))) else None


def is_session(path: Path) -> bool:
    """Whether a folder holds a session."""
    return path.is_dir() and any((path / name).is_file() for name in FILES)


def iter_sessions(path: Path) -> Iterator[parts.FolderSession]:
    """Yield the sessions of a provenance folder, in order of their folders' names.

    Args:
        path: What `find_sessions` accepts, or one session's folder or JSON manifest, or a folder of
            JSON manifests alone.

    Raises:
        IngestError: There are no sessions at the path.
        MissingExtraError: PyYAML is not installed.
    """
    if is_session(path):
        yield from _sessions_of(path, _Manifests(path.parent.parent))
        return
    if path.is_file() and (found := _load(path)):
        yield _of_json(path, found)
        return
    sessions = find_sessions(path)
    manifests = _Manifests(path if sessions is None else sessions.parent)
    if sessions is None and not manifests.left():
        raise IngestError(
            f"there are no sessions at {path}; name a folder like .claude/provenance, one of its "
            "sessions, or a project that has it"
        )
    for folder in _folders(sessions) if sessions is not None else ():
        if is_session(folder):
            yield from _sessions_of(folder, manifests)
    for file in manifests.left():
        found = _load(file)
        if found:
            yield _of_json(file, found)


def iter_files(path: Path) -> Iterator[Path]:
    """Yield the files in a folder that `iter_sessions` reads, and those that describe them.

    Raises:
        OSError: A folder cannot be read.
    """
    if is_session(path):
        yield from _files_of(path)
        return
    sessions = find_sessions(path)
    for folder in _folders(sessions) if sessions is not None else ():
        yield from _files_of(folder)
    root = path if sessions is None else sessions.parent
    yield from (file for file in _manifests(root) if _load(file))
    yield from (file for name in _COMMON if (file := root / name).is_file())
    yield from (file for file in (root / _INDICES).glob("*") if file.is_file())


def _files_of(folder: Path) -> list[Path]:
    """Return the files of the session in a folder."""
    return [path for name in FILES if (path := folder / name).is_file()]


def _folders(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir()) if path.is_dir() else []


def _manifests(root: Path) -> list[Path]:
    """Return the files beside `sessions` that may be JSON manifests."""
    return [
        path
        for path in sorted(root.glob("*.json"))
        if path.is_file() and "schema" not in path.name and _is_manifest(path)
    ]


def _is_manifest(path: Path) -> bool:
    with path.open("rb") as file:
        return b'"session"' in file.read(4096)


class _Manifests:
    """The JSON manifests of a provenance folder, each given out once."""

    def __init__(self, root: Path) -> None:
        self._files = {path.stem: path for path in _manifests(root)}
        self._taken: set[str] = set()

    def take(self, session_id: str | None) -> tuple[Path, Fields] | None:
        """Return the manifest of a session, if there is one."""
        path = self._files.get(session_id or "")
        found = _load(path) if path is not None else None
        if path is None or found is None:
            return None
        self._taken.add(path.stem)
        return path, found

    def of_minute(self, minute: str) -> dict[str, str]:
        """Return event id to session for the sessions that began in a minute, `YYYY-MM-DD-HH-mm`.

        The names of folders are of minutes; sessions that share one began in the same.
        """
        sessions: dict[str, str] = {}
        for stem, path in self._files.items():
            found = _load(path)
            began = found.get("started_ns") if found else None
            if found and began is not None and _minute_of(began) == minute:
                sessions |= {event.id: stem for event in found["events"] if event.id}
        return sessions

    def left(self) -> list[Path]:
        """Return the files that were not taken."""
        return [path for stem, path in self._files.items() if stem not in self._taken]


def _minute_of(unix_ns: int) -> str:
    return re.sub(r"[T:]", "-", _clock.format_ns(unix_ns)[:16])


def _load(path: Path) -> Fields | None:
    """Return the fields of a JSON manifest; None if the file is something else."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None
        loaded = session_manifest.load_json(path.read_bytes())
    except (OSError, session_manifest.NotReadableError):
        return None
    session = session_manifest.mapping(loaded.get("session"))
    return session_manifest.json_fields(loaded) if session.get("session_id") else None


def _of_json(path: Path, found: Fields) -> parts.FolderSession:
    identity = found["database_session_id"] or path.stem
    return parts.FolderSession(
        **found, id=identity, where=str(path), form="json", files=[str(path)]
    )


def _sessions_of(folder: Path, manifests: _Manifests) -> list[parts.FolderSession]:
    """Return the sessions of one folder: one, or as many as began in its minute."""
    problems: list[str] = []
    stated = _read_manifest(folder / MANIFEST, problems)
    summary = _read_text(folder / SUMMARY, problems)
    actions = _read_actions(folder / ACTIONS, problems)
    numbers = [action.number for action in actions if action.number is not None]
    if len(set(numbers)) == len(numbers):
        groups = [(None, actions)]
    else:
        minute = _MINUTE.match(folder.name)
        groups = session_actions.apart(
            actions, manifests.of_minute(minute[0]) if minute is not None else {}
        )
    mine = _stated_for(stated, groups)
    made: list[parts.FolderSession] = []
    for place, (session_id, group) in enumerate(groups):
        own = place == mine
        fields: Fields = dict(stated) if own else {"form": "actions"}
        taken = manifests.take(session_id or fields.get("database_session_id"))
        fields["files"] = list(map(str, _files_of(folder)))
        if taken is not None:
            fields = _joined(fields, taken[1])
            fields["files"].append(str(taken[0]))
        fields |= {"summary": summary, "problems": problems} if own else {"summary": ""}
        suffix = "" if len(groups) == 1 else f"#{place + 1}"
        made.append(_session(folder, fields, group, suffix))
    return made


def _stated_for(
    stated: Fields, groups: Sequence[tuple[str | None, list[parts.FolderAction]]]
) -> int:
    """Return the place of the group that the manifest is about.

    The manifest of a shared folder was written by the session that ended last. It names its id, and
    where that is of no help its beginning.
    """
    named = stated.get("database_session_id")
    for place, (session_id, _) in enumerate(groups):
        if named is not None and named == session_id:
            return place
    began = stated.get("started_ns")
    if began is None:
        return len(groups) - 1
    firsts = [group[0].ts_ns if group else None for _, group in groups]
    return min(
        range(len(groups)),
        key=lambda place: abs((firsts[place] or 0) - began),
    )


def _joined(fields: Fields, of_json: Fields) -> Fields:
    """Return what both manifests of a session say: the YAML where it speaks, the JSON elsewhere."""
    made = dict(fields)
    for key, value in of_json.items():
        if not made.get(key) or key in {"decisions", "entity_links"}:
            made[key] = value
    declared: parts.Declared = fields.get("declared") or parts.Declared()
    counted: parts.Declared = of_json["declared"]
    made["declared"] = msgspec.structs.replace(
        declared,
        action_count=counted.action_count,
        # To the millisecond, where the YAML has hundredths of a minute.
        duration_ms=declared.duration_ms if counted.duration_ms is None else counted.duration_ms,
    )
    if made["form"] == "actions":
        made["form"] = "agent"
    return made


def _session(
    folder: Path, fields: Fields, actions: list[parts.FolderAction], suffix: str
) -> parts.FolderSession:
    """Return a session of its manifests' fields, completed by its lines and its summary."""
    nothing: Fields = {}
    started = next((a.details for a in actions if a.tool == "AgentExecution"), nothing)
    times = [action.ts_ns for action in actions if action.ts_ns is not None]
    fallbacks: Fields = {
        "agent_type": session_manifest.text(started.get("agent_type")),
        "query": session_manifest.text(started.get("query")),
        "decisions": session_actions.decisions(actions),
        "tool_calls": session_actions.tool_calls(actions),
        "model_calls": session_actions.model_calls(actions),
        "transformations": session_actions.transformations(actions),
        "entity_links": session_actions.links(actions),
        "started_ns": min(times, default=None),
    }
    if fields["form"] != "claude":
        for key, value in fallbacks.items():
            if not fields.get(key):
                fields[key] = value
    else:
        fields["decisions"] = [
            *fields.get("decisions", []),
            *_new(
                fields.get("decisions", []), session_manifest.summary_decisions(fields["summary"])
            ),
            *fallbacks["decisions"],
        ]
        for key in ("tool_calls", "model_calls", "transformations", "entity_links", "started_ns"):
            fields[key] = fields.get(key) or fallbacks[key]
    database_id = fields.get("database_session_id")
    fields["id"] = fields.get("id") or database_id or f"{folder.name}{suffix}"
    return parts.FolderSession(
        **fields,
        where=str(folder),
        folder=folder.name,
        actions=actions,
        computed=session_actions.computed(actions),
    )


def _new(
    known: list[parts.FolderDecision], told: list[parts.FolderDecision]
) -> list[parts.FolderDecision]:
    """Return the decisions that a summary tells of and the manifest does not."""
    said = {_words(str(one.chosen)) for one in known} | {_words(one.name) for one in known}
    return [one for one in told if _words(str(one.chosen)) not in said]


def _words(value: str) -> str:
    return " ".join(re.findall(r"\w+", value.lower()))


def _read_manifest(path: Path, problems: list[str]) -> Fields:
    content = _read_text(path, problems)
    if content:
        try:
            return session_manifest.yaml_fields(session_manifest.load_yaml(content))
        except session_manifest.NotReadableError as error:
            problems.append(f"{path.name}: {error}")
    return {"form": "actions"}


def _read_text(path: Path, problems: list[str]) -> str:
    try:
        if not path.is_file():
            return ""
        if path.stat().st_size > _MAX_BYTES:
            problems.append(f"{path.name}: longer than {_MAX_BYTES >> 20} MiB")
            return ""
        return path.read_bytes().decode("utf-8", "backslashreplace")
    except OSError as error:
        problems.append(f"{path.name}: {error.strerror or error}")
        return ""


def _read_actions(path: Path, problems: list[str]) -> list[parts.FolderAction]:
    if not path.is_file():
        return []
    try:
        actions, unreadable = session_actions.read(path)
    except OSError as error:
        problems.append(f"{path.name}: {error.strerror or error}")
        return []
    problems.extend(unreadable)
    return actions
