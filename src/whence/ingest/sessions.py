"""Session folders of agents become runs, one a session, as if they had been recorded live.

Comes in: a `.claude/provenance` folder of any project, a folder of sessions, one session, or a JSON
manifest alone, read by `session_folders`. Goes out: for each session its start and end, decisions
with the options not taken, tool calls (of which the JSON manifest alone knows what failed),
transformations, linked entities, findings, and an event for every line that is none of these. What
the manifest declares and what the lines add up to stand beside each other in the run's attributes.

Source: document 3 (hybrid sessions).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock
from whence.errors import IngestError, MissingExtraError
from whence.ingest import (
    captured,
    keys,
    loose,
    session_actions,
    session_folders,
    spans,
    stated,
    usage,
)
from whence.ingest import session_parts as parts
from whence.ingest.base import Skipped
from whence.record.decision import Decision, Option
from whence.record.event import Event
from whence.record.generation import Generation, ToolCall, Transformation, Usage
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted, Update
from whence.record.score import Output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from whence.ingest.base import Known, Source
    from whence.record.base import Record

_FORMAT = "sessions"
_TICKS = 1_000
_LAST_NS = 2**63
_HEAD_BYTES = 4096
_MOST_LOOKED_AT = 1000
_MARKS = {session_folders.MANIFEST: b"session", session_folders.ACTIONS: b'"action_id"'}
_JSON_MARKS = (b'"session_id"', b'"execution_trace"')
_LIFECYCLE = "lifecycle"
_OWN_RECORD = {
    "tool_call": "tool_calls",
    "model_call": "model_calls",
    "decision": "decisions",
    "transformation": "transformations",
}
"""Type of an event to the list in which what it tells of has a record of its own."""
_EVENT_OF_ACTION = {
    "query": "tool_call",
    "decision": "decision",
    "analyze": "transformation",
    "execute": _LIFECYCLE,
    "read": "log",
}
"""Type of an action to the type of the event that it most likely was."""
_STATUS_OF_CALL = {"success": "ok", "failure": "error", "skipped": "cancelled"}
_BUCKETS = ("input_uncached", "cache_read", "cache_write", "output_visible", "reasoning")
_KEPT = (
    "session_type",
    "form",
    "folder",
    "agent_type",
    "model",
    "query",
    "kwargs",
    "depth",
    "outcome",
    "goals",
    "key_findings",
    "recommendations",
    "errors",
    "warnings",
    "notes",
    "user_context",
    "declared",
    "computed",
    "metadata",
    "top_level_keys",
    "extra",
    "summary",
)
"""Fields of a session that are attributes of its run, under the same names."""


def detect(source: Source) -> bool:
    """Return whether a folder holds sessions, or a file is the JSON manifest of one."""
    if not source.is_folder:
        head = source.head
        return head.lstrip()[:1] == b"{" and all(mark in head for mark in _JSON_MARKS)
    path = source.path
    candidates = [path, *_folders(path), *_folders(path / "sessions")]
    return any(_is_session(candidate) for candidate in candidates[:_MOST_LOOKED_AT])


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(child for child in path.iterdir() if child.is_dir())
    except OSError:
        return []


def _is_session(path: Path) -> bool:
    """Whether a folder has a session's file that says so; names alone would take in too much."""
    for name, mark in _MARKS.items():
        try:
            with (path / name).open("rb") as file:
                if mark in file.read(_HEAD_BYTES):
                    return True
        except OSError:
            continue
    return False


def files_of(source: Source) -> Iterator[Path]:
    """Yield the files of the sessions in a folder, and those that provenance folders have."""
    yield from session_folders.iter_files(source.path)


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:
    """Yield the records of the sessions at a path, and what of their files could not be read.

    What whence wrote of a run that was recorded in this home is there already.

    Raises:
        IngestError: There are none, or PyYAML is not installed.
        OSError: A folder cannot be read.
    """
    try:
        for session in session_folders.iter_sessions(source.path):
            for problem in session.problems:
                yield Skipped(session.where, problem)
            reading = _Reading(session)
            if reading.begun_ns is not None and known.calls.has_run(
                (session.database_session_id, session.run_id), reading.begun_ns
            ):
                yield from captured.already_there(reading.records(), known)
            else:
                yield from reading.records()
    except MissingExtraError as error:
        raise IngestError(str(error)) from error


class _Reading:
    """One session while it is read."""

    def __init__(self, session: parts.FolderSession) -> None:
        self.session = session
        database_id = session.database_session_id
        began = "" if database_id else str(session.started_ns)
        # A manifest's own id is made of its minute, which other projects share.
        self.run = keys.run_id(_FORMAT, database_id or session.id, began)
        times = [*(a.ts_ns for a in session.actions), *(e.ts_ns for e in session.events)]
        self.times = sorted(t for t in map(_known, times) if t is not None)
        self.begun_ns = _known(session.started_ns) or next(iter(self.times), None)
        if self.begun_ns is None and session.folder is not None:
            self.begun_ns = loose.time_ns(_minute(session.folder))
        self.made = 0

    def records(self) -> Iterator[Record | Skipped]:
        """Yield everything, the start first and the end last."""
        if self.begun_ns is None:
            yield Skipped(self.session.where, "nothing in it says when it was")
            return
        yield self._started()
        yield from self._told()
        yield from self._decisions()
        yield from self._tool_calls()
        yield from self._model_calls()
        yield from self._transformations()
        yield from self._links()
        yield from self._events()
        yield from self._results()
        yield from self._ended()

    def _at(self, ts_ns: int | None, *key: str) -> dict[str, Any]:
        """Return the fields that every record has.

        Records of one time are some nanoseconds apart, less than files tell, so that their order
        stays.
        """
        moment_ns = (_known(ts_ns) or self.begun_ns or 0) + self.made % _TICKS
        self.made += 1
        return {
            "ts": _clock.format_ns(moment_ns),
            "run": self.run,
            "id": keys.record_id(self.run, *key),
        }

    def _started(self) -> RunStarted:
        session = self.session
        context, environment = session.user_context, session.environment
        about = {
            "python": environment.get("python_version") or context.get("python_version"),
            "libraries": environment.get("dependencies"),
            "platform": environment.get("platform"),
            "host": environment.get("hostname"),
        }
        git = {"branch": context.get("git_branch"), "commit": context.get("git_commit_before")}
        about["git"] = {name: value for name, value in git.items() if value is not None} or None
        database_id, parent = session.database_session_id, session.parent_session_id
        return RunStarted(
            ts=_clock.format_ns(self.begun_ns or 0),
            run=self.run,
            name=session.agent_type or session.session_type or "session",
            run_kind="agent" if session.agent_type else "session",
            external_id=database_id or session.id,
            parent_run=None if parent is None else keys.run_id(_FORMAT, parent, ""),
            session=session.id if database_id and session.id != database_id else None,
            user=session.user,
            environment={name: value for name, value in about.items() if value is not None} or None,
        )

    def _told(self) -> Iterator[Record]:
        """Yield what is said of the session as a whole; a later state of its files says it anew."""
        plain = msgspec.to_builtins(self.session)
        given = {name: plain[name] for name in _KEPT if plain[name] not in (None, "", [], {})}
        directory = self.session.user_context.get("working_directory")
        if directory is not None:
            given["working_directory"] = directory
        attributes = {"dialect": "agents", "session_id": self.session.id, **given}
        output = self.session.result_summary
        told = repr((attributes, output))
        yield Update(**self._at(None, "told", told), attributes=attributes, output=output)

    def _decisions(self) -> Iterator[Record]:
        for number, decision in enumerate(self.session.decisions):
            options = [_option(one, decision) for one in decision.alternatives]
            if decision.extra and not any(option.chosen for option in options):
                chosen = str(decision.chosen)
                options.append(Option(chosen, chosen=True, attributes=decision.extra))
            yield Decision(
                **self._at(decision.ts_ns, "decision", decision.id or str(number)),
                name=decision.name,
                what=decision.chosen,
                why=decision.why,
                options=options or None,
                inputs=decision.inputs or None,
                made_by=self.session.agent_type,
                decision_point=decision.point,
            )

    def _tool_calls(self) -> Iterator[Record]:
        files = {action.event_id: action.files for action in self.session.actions if action.files}
        for number, call in enumerate(self.session.tool_calls):
            failed = call.success is False
            rest = {"files": files.get(call.event_id), **call.extra}
            yield ToolCall(
                **self._at(call.ts_ns, "tool_call", call.id or str(number)),
                tool_name=call.tool_name or "tool",
                tool_type=call.tool_type,
                input=call.input,
                output=call.output,
                cache_hit=call.cache_hit,
                duration_ns=stated.length_ns(call.duration_ms),
                status="error" if failed else "ok" if call.success else "unknown",
                error={"type": "error", "message": call.error or ""} if failed else None,
                attributes={name: value for name, value in rest.items() if value is not None}
                or None,
            )

    def _model_calls(self) -> Iterator[Record]:
        for number, call in enumerate(self.session.model_calls):
            said = call.error
            yield Generation(
                **self._at(call.ts_ns, "model_call", call.id or str(number)),
                provider=call.provider,
                model=call.model,
                response_model=call.response_model,
                operation=call.operation,
                usage=_usage(call),
                cost_usd=loose.amount(call.cost_usd),
                cost_source=None if call.cost_usd is None else call.cost_source or "declared",
                finish_reason=call.finish_reason,
                duration_ns=stated.length_ns(call.duration_ms),
                status=_STATUS_OF_CALL.get(call.status, "unknown"),
                error=None
                if said is None
                else {"type": said.get("code") or "error", "message": said.get("message") or ""},
            )

    def _transformations(self) -> Iterator[Record]:
        for number, change in enumerate(self.session.transformations):
            kind = change.transformation_type
            rest = {"transformation_type": kind, **change.extra} if kind else change.extra
            yield Transformation(
                **self._at(change.ts_ns, "transformation", change.id or str(number)),
                name=change.name or "transformation",
                method=change.method,
                parameters=change.parameters or None,
                input_schema=change.input_schema,
                output_schema=change.output_schema,
                input_sample=change.input_sample,
                output_sample=change.output_sample,
                duration_ns=stated.length_ns(change.duration_ms),
                attributes=rest or None,
            )

    def _links(self) -> Iterator[Record]:
        for link in self.session.entity_links:
            if not link.entity_id:
                continue
            kind = link.link_type or ""
            yield Link(
                **self._at(link.ts_ns, "link", link.entity_table, link.entity_id, kind),
                link_kind="entity",
                source=self.run,
                target=link.entity_id,
                attributes={"entity_table": link.entity_table, "link_type": link.link_type},
            )

    def _events(self) -> Iterator[Record]:
        """Yield an event for what has no record of its own; begin and end are the run's."""
        happened = self._happened()
        ends = [n for n, (event, _) in enumerate(happened) if event.event_type == _LIFECYCLE]
        # The first and the last are the run's own, the last only if it says how the session went.
        bounds = set(ends[:1])
        bounds.update(place for place in ends[-1:] if "success" in happened[place][0].details)
        for place, (event, line) in enumerate(happened):
            own = _OWN_RECORD.get(event.event_type, "")
            if place not in bounds and not (own and getattr(self.session, own)):
                yield self._event(event, place, line)

    def _happened(self) -> list[tuple[parts.FolderEvent, parts.FolderAction | None]]:
        """Return the events of the JSON manifest with their lines; else the lines as such."""
        lines = {action.event_id: action for action in self.session.actions if action.event_id}
        return [(event, lines.get(event.id or "")) for event in self.session.events] or [
            (_event_of(action), action) for action in self.session.actions
        ]

    def _event(
        self, event: parts.FolderEvent, place: int, line: parts.FolderAction | None
    ) -> Event:
        message, level = event.event_name or event.event_type or "event", "info"
        data: dict[str, Any] = {"event_type": event.event_type, "details": event.details}
        if event.event_type == "log":
            message = loose.name(event.details.get("message")) or message
            level = (loose.name(event.details.get("level")) or level).lower()
            data = {k: v for k, v in event.details.items() if k not in {"message", "level"}}
        if line is not None and line.files:
            data = {**data, "files": line.files}
        if line is not None and line.error:
            level, data = "error", {**data, "error": line.error}
        at = self._at(event.ts_ns, "event", event.id or str(place))
        return Event(**at, message=message, level=level, data=data or None)

    def _results(self) -> Iterator[Record]:
        session = self.session
        last_ns = _known(session.ended_ns) or next(reversed(self.times), None)
        for kind, items in (
            ("finding", session.key_findings),
            ("recommendation", session.recommendations),
        ):
            for number, item in enumerate(items, start=1):
                yield Output(
                    **self._at(last_ns, kind, str(number)),
                    output_id=f"{session.id}/{kind}/{number}",
                    output_kind=kind,
                    summary=item if isinstance(item, str) else "",
                    value=None if isinstance(item, str) else item,
                )
        for number, error in enumerate(session.errors):
            if error.message != session.error_message:
                told = {"resolution": error.resolution, **error.extra}
                data = {name: value for name, value in told.items() if value is not None}
                yield Event(
                    **self._at(loose.time_ns(error.timestamp) or last_ns, "error", str(number)),
                    message=error.message,
                    level="error",
                    data=data or None,
                )
        for number, warning in enumerate(session.warnings):
            yield Event(
                **self._at(last_ns, "warning", str(number)), message=str(warning), level="warning"
            )

    def _ended(self) -> Iterator[Record]:
        session = self.session
        length_ns = stated.length_ns(session.duration_ms)
        ended_ns = _known(session.ended_ns)
        if ended_ns is None and (session.success is not None or session.outcome is not None):
            ended_ns = next(reversed(self.times), self.begun_ns)
        if ended_ns is None:
            return
        if length_ns is None:
            length_ns = spans.duration_of(self.begun_ns or 0, ended_ns)
        status = "complete"
        if session.success is not True:
            status = "failed" if session.success is False else "incomplete"
        message = session.error_message
        if message is None and status == "failed" and session.errors:
            message = session.errors[0].message
        yield RunEnded(
            ts=_clock.format_ns(ended_ns),
            run=self.run,
            status=status,
            duration_ns=length_ns,
            error=None if message is None else {"type": "error", "message": message},
        )


def _usage(call: parts.FolderModelCall) -> Usage | None:
    """Return the tokens of a call in the buckets that its line has, else as it states them."""
    said = call.usage
    words = loose.mapping(said.get("stated")) or None
    counts = {name: loose.count(said.get(name)) for name in _BUCKETS}
    buckets: dict[str, Any] = {name: n for name, n in counts.items() if n is not None}
    if not buckets:
        return usage.of_stated(words, call.provider)
    return Usage(**buckets, stated=words)


def _event_of(action: parts.FolderAction) -> parts.FolderEvent:
    kind = _EVENT_OF_ACTION.get(action.type, action.type)
    if "call_id" in action.details:
        kind = "tool_call"
    return parts.FolderEvent(
        id=action.event_id,
        event_type="model_call" if session_actions.is_model_call(action) else kind,
        event_name=action.tool,
        ts_ns=action.ts_ns,
        details=action.details,
    )


def _option(alternative: Any, decision: parts.FolderDecision) -> Option:
    chosen = alternative == decision.chosen
    return Option(
        str(alternative),
        chosen=chosen,
        attributes=(decision.extra or None) if chosen else None,
    )


def _minute(folder: str) -> str:
    """Return the time in the name of a session's folder, `2026-01-20-09-07`."""
    words = folder.split("-")[:5]
    return f"{'-'.join(words[:3])}T{':'.join(words[3:])}:00Z"


def _known(unix_ns: int | None) -> int | None:
    """Return a time that a record can hold; None for any other."""
    return unix_ns if unix_ns is not None and 0 <= unix_ns < _LAST_NS else None
