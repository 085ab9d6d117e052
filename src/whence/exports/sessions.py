"""A run as a session folder for people: `manifest.yaml`, `actions.jsonl` and `summary.md`.

Comes in: a run as a tree. Goes out: the three files as bytes (`render`), or in a folder on disk
(`write`); a run that is written again replaces its own folder.

Source: document 3 (hybrid sessions), schema version 1.0.0, the form that agents write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from whence.errors import ConfigError
from whence.exports import actions, sessionfiles, sessionfolders
from whence.exports.sessiontally import Tally
from whence.log.replacing import replace

if TYPE_CHECKING:
    from pathlib import Path

    from whence.query.tree import RunTree
    from whence.store import rows as r

Rows = Mapping[str, Sequence[Any]]


def render(tree: RunTree, *, name: str | None = None) -> dict[str, bytes]:
    """Return the files of a run's session by names that begin with `sessions/`.

    Args:
        tree: The run.
        name: Name of its folder; after the minute it began if not given.

    Raises:
        ConfigError: The name is not one of a session folder.
    """
    run, rows = tree.run, tree.tables
    name = sessionfolders.name_of(run.started_ns) if name is None else name
    if not sessionfolders.NAME.fullmatch(name):
        raise ConfigError(
            f"{name[:80]!r} is not the name of a session folder; it has the form 2026-01-31-23-59-2"
        )
    tally = Tally()
    context = context_of(run)
    lines: list[bytes] = []
    for number, action in enumerate(actions.actions_of(run, rows), start=1):
        tally.add(action)
        lines.append(action.to_line(number, context))
    manifest = sessionfiles.manifest(run, tally, _told(run, rows), name)
    contents = (
        sessionfiles.yaml_text(manifest).encode("utf-8", "backslashreplace"),
        b"".join(lines),
        sessionfiles.summary(run, tally, name).encode("utf-8", "backslashreplace"),
    )
    return {
        f"sessions/{name}/{file}": content
        for file, content in zip(sessionfolders.FILES, contents, strict=True)
    }


def write(tree: RunTree, folder: Path) -> Path:
    """Return the folder of a run's session, which is written below `folder`.

    Raises:
        OSError: A file could not be written.
    """
    own = sessionfolders.claim(folder, tree.run.id, tree.run.started_ns)
    for relative, content in render(tree, name=own.name).items():
        replace(folder / relative, content)
    return own


def context_of(run: r.RunRow) -> dict[str, str]:
    """Return the `context` of a run's actions: where they were done, as far as it is known."""
    git: dict[str, Any] = (run.environment or {}).get("git") or {}
    named = {
        "working_directory": run.attributes.get("working_directory"),
        "git_branch": git.get("branch"),
        "git_commit": git.get("commit"),
    }
    return {key: str(value) for key, value in named.items() if value}


def _told(run: r.RunRow, rows: Rows) -> sessionfiles.Told:
    models = [row.model for row in rows.get("generations", ()) if row.model]
    warnings = [row.message for row in rows.get("events", ()) if row.level == "warning"]
    if run.lost:
        warnings.append(f"{run.lost} records of this run could not be kept")
    links = [actions.entity_link(row) for row in rows.get("links", ())]
    return sessionfiles.Told(
        model=models[0] if models else None,
        findings=[row.summary for row in rows.get("outputs", ()) if row.summary],
        warnings=warnings,
        links=[link for link in links if link is not None],
    )
