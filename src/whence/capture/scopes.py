"""Runs and spans: what opens one, what its end writes, and which is current in between.

A start is written when it happens, so that work in flight is visible and a dead process shows what
it was doing. The end is written on every way out: return, exception, cancellation, early close of a
generator. The exception itself goes on untouched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from msgspec import Raw

from whence import _clock, _ids
from whence.capture import details, emit, resent, values
from whence.capture.context import current_scope
from whence.capture.noop import NOOP, Muted, NoOp
from whence.capture.state import current as state
from whence.capture.state import put_blob
from whence.capture.verbs import Verbs
from whence.log import lines
from whence.log.lines import VALUE_BYTES
from whence.record.run import RunEnded, RunStarted
from whence.record.span import SpanEnded, SpanStarted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_wall = _clock.wall_ns
_mono = _clock.mono_ns
_text = values.text
_put = put_blob
_CANCELLED = frozenset({"CancelledError", "Cancelled", "GeneratorExit", "KeyboardInterrupt"})
_DURATIONS = frozenset({"duration_ns", "duration_ms", "duration_s"})
_GENERATION_FIELDS = frozenset(
    {
        "provider",
        "model",
        "messages",
        "usage",
        "prompt_name",
        "prompt_version",
        "prompt_template",
        "parameters",
    }
)
_MODEL = ("provider", "model")
_TOOL_FIELDS = frozenset(
    {"tool_type", "cache_hit", "cache_key", "retry_count", "rate_limit_delay_ms"}
)
_CALLS = frozenset({"tool", "generation"})
_SPAN_FIELDS = frozenset({"agent", "algorithm", "input_count", "output", "output_count", "status"})
_RUN_STARTED = emit.shape(RunStarted, has_id=False, environment=lines.MADE)
_RUN_ENDED = emit.shape(RunEnded, has_id=False)
_STARTED = emit.shape(SpanStarted, has_id=False, input=lines.SHARED)
_ENDED = emit.shape(SpanEnded, has_id=False)
_StartedLine = _STARTED.line
_STARTED_HEAD = _STARTED.head
_EndedLine = _ENDED.line
_ENDED_HEAD = _ENDED.head
_STARTED_TEMPLATE = _STARTED.template
_ENDED_TEMPLATE = _ENDED.template
_write = emit.write
_scope = current_scope.get
_make_current = current_scope.set


class Scope(Verbs):
    """A run or span that is open: where its records go, and what was current before it."""

    recording = True
    status = "running"
    id: str
    run_id: str
    span_id: str | None
    stage: str | None = None
    run_part: bytes
    stage_part = b""
    _owner: Run
    _outer: Scope | NoOp | None = None
    _pid: int
    _started_mono_ns: int
    _user_status = ""

    def __repr__(self) -> str:
        return f"<whence {type(self).__name__.lower()} {self._title!r} {self.id} {self.status}>"

    @property
    def _title(self) -> str:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        """The run it is in, or is."""
        return self._owner

    def set(self, /, **attributes: Any) -> None:
        """Add attributes at once.

        `input`, `output`, `status`, `input_count`, `output_count` and `algorithm` set fields.
        """
        try:
            status = attributes.get("status")
            if status is not None:
                self._user_status = _text(status)
            details.emit_update(self, attributes)
        except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
            emit.failed(error, self.run_id)

    def _leave(self) -> None:
        """Make current what was so before, if what is current now is this scope or one inside it.

        Another scope may be current: an async generator is finalized in somebody else's context,
        which must not change. A scope inside this one may still be open, in a generator that nobody
        finished; and a generator's own may outlive the one around it.
        """
        scope = _scope()
        outer = self._outer
        if scope is self and (outer is None or outer.status == "running"):
            _make_current(outer)
            return
        while scope is not self:
            if not isinstance(scope, Scope):
                return
            scope = scope._outer
        while isinstance(outer, Scope) and outer.status != "running":
            outer = outer._outer
        _make_current(outer)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> Literal[False]:
        return self.__exit__(kind, error, stack)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> Literal[False]:
        self._leave()
        try:
            # Elsewhere a forked child left the block too; the scope is the parent's to end.
            if state.pid == self._pid:
                self._end(error)
        except Exception as failure:  # noqa: BLE001 - capture never raises into the user's program
            emit.failed(failure, self.run_id)
        return False

    def finish(self, error: BaseException | str | None = None) -> None:
        """End what `start` opened, with the exception or the message of what went wrong, if any."""
        if self.status == "running":
            failure = _told(error) if isinstance(error, str) else error
            self.__exit__(None if failure is None else type(failure), failure, None)

    def _end(self, error: BaseException | None) -> None:
        raise NotImplementedError


class Run(Scope):
    """One execution of a pipeline, open as a context manager, also an async one."""

    span_id = None

    def __init__(self, fields: dict[str, Any]) -> None:
        self.id = self.trace_id = self.run_id = _ids.new_run_id()
        self.run_part = emit.run_part(self.run_id)
        self.envelope = Raw(self.run_part)
        self._owner = self
        self._fields = fields

    @property
    def _title(self) -> str:
        return self._fields.get("name", "")

    def __enter__(self) -> Self:
        self._outer = _scope()
        try:
            self.start()
            _make_current(self)
        except BaseException:  # an interrupt: nobody will leave what was not entered
            _make_current(self._outer)
            raise
        return self

    async def __aenter__(self) -> Self:
        return self.__enter__()

    def start(self) -> Self:
        """Open the run without making it current; `finish` ends it.

        For code that has no block to put it in. Its verbs work from any thread.

        Returns:
            The run itself.
        """
        self._started_mono_ns = _mono()
        self._pid = state.pid
        try:
            self._write_start(_wall())
        except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
            emit.failed(error, self.run_id)
        return self

    def _write_start(self, now_ns: int) -> None:
        from whence.capture import environment  # noqa: PLC0415 - importing whence has to be quick

        where = environment.describe(state.pid)
        fields = self._fields
        if where.text is not None:
            others = {**fields, "environment": where.text}
            if emit.write_fields(self, _RUN_STARTED, now_ns, others.pop("name"), others):
                return
        attributes = fields.get("attributes")
        if attributes is not None:
            fields = {**fields, "attributes": details.attributes(dict(attributes), put_blob)}
        if state.quick is not None and where.text is not None:
            line = _RUN_STARTED.line(
                v=_RUN_STARTED.head, run=self.envelope, **fields, environment=Raw(where.text)
            )
            _write(self, _RUN_STARTED, line, now_ns)
        else:
            shared = {"environment": where.found}
            resent.write_shared(self, _RUN_STARTED, fields, now_ns, shared)

    def _end(self, error: BaseException | None) -> None:
        now = _wall()
        self.status = status = self._user_status or _run_status(error)
        problem = None
        if error is not None and status not in {"complete", "cancelled"}:
            problem = _describe(error)
        duration_ns = _mono() - self._started_mono_ns
        if emit.write_plain(self, _RUN_ENDED, now, status, duration_ns, problem):
            return
        line = _RUN_ENDED.line(
            v=_RUN_ENDED.head,
            run=self.envelope,
            status=status,
            duration_ns=duration_ns,
            error=problem,
        )
        _write(self, _RUN_ENDED, line, now)


class Span(Scope):
    """One timed step inside a run, open as a context manager, also an async one."""

    run_id = ""
    _implicit_run: Run | NoOp | None = None
    _call_status: str | None = None
    _pending: dict[str, Any] | None = None

    def __init__(self, name: str, kind: str, fields: dict[str, Any]) -> None:
        self.name = name if type(name) is str else _text(name)
        self.kind = kind if type(kind) is str else _text(kind)
        self._fields = fields
        self.id = self.span_id = "%016x" % _ids.next_number()  # noqa: UP031 - faster than an f-string

    @property
    def _title(self) -> str:
        return self.name

    @property
    def trace_id(self) -> str:
        """Id of the run."""
        return self.run_id

    def __enter__(self) -> Span | NoOp:
        before = outer = _scope()
        try:
            if outer is None:
                self._implicit_run = open_run(self.name, None)
                outer = self._implicit_run.__enter__()
            if not outer.recording:
                return NOOP
            self._open(outer)  # pyright: ignore[reportArgumentType] - a cast would cost a call
            _make_current(self)
        except BaseException:  # an interrupt: nobody will leave what was not entered
            _make_current(before)
            raise
        return self

    async def __aenter__(self) -> Span | NoOp:
        return self.__enter__()

    def start(self, within: Scope | NoOp) -> Span | NoOp:
        """Open the span inside a run or span without making it current; `finish` ends it.

        For code that has no block to put it in. Its verbs work from any thread.

        Returns:
            The span itself; the no-op object inside one.
        """
        if isinstance(within, NoOp):
            return NOOP
        self._open(within)
        return self

    def _open(self, outer: Scope) -> None:
        self._outer = outer
        self._owner = outer._owner
        self.run_id = outer.run_id
        self.run_part = run_part = outer.run_part
        if self.kind == "stage":
            self.stage = self.name
            self.stage_part = stage_part = emit.stage_part(self.name)
        else:
            self.stage = outer.stage
            self.stage_part = stage_part = outer.stage_part
        # What `emit.envelope` does, without the call.
        self.envelope = Raw(b'%b,"span":"%b"%b' % (run_part, self.id.encode(), stage_part))
        self._pid = state.pid
        self._started_mono_ns = _mono()
        try:
            self._write_start(outer.span_id)
        except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
            emit.failed(error, self.run_id)

    def _write_start(self, parent: str | None) -> None:
        now = _wall()
        fields = self._fields
        given = attributes = None
        if fields:
            given = fields.pop("input", None)
            if self.kind == "tool" and _TOOL_FIELDS.issuperset(fields):
                self._pending = fields
            elif self.kind == "generation" and _GENERATION_FIELDS.issuperset(fields):
                self._pending = fields or None
                attributes = {key: fields[key] for key in _MODEL if key in fields} or None
            elif self.kind in _CALLS or not _SPAN_FIELDS.isdisjoint(fields):
                self._write_start_of(fields, given, parent, now)
                return
            else:
                attributes = fields or None
        direct = state.direct
        if direct is not None and direct(
            _STARTED_TEMPLATE,
            self.envelope,
            now,
            self.name,
            self.kind,
            parent,
            None,
            given,
            None,
            None,
            attributes,
        ):
            return
        made: dict[str, Any] = {"name": self.name, "span_kind": self.kind, "parent": parent}
        if attributes is not None:
            made["attributes"] = details.attributes(attributes, _put)
        self._write_any_start(made, given, now)

    def _write_start_of(
        self, fields: dict[str, Any], given: Any, parent: str | None, now_ns: int
    ) -> None:
        """Write the start of a span that was opened with any fields."""
        made: dict[str, Any] = {"name": self.name, "span_kind": self.kind, "parent": parent}
        later = self._sort(fields, made)
        self._write_any_start(made, given, now_ns)
        if later:
            self.set(**later)

    def _write_any_start(self, made: dict[str, Any], given: Any, now_ns: int) -> None:
        if given is None or (type(given) is str and len(given) < VALUE_BYTES):
            line = _StartedLine(v=_STARTED_HEAD, run=self.envelope, **made, input=given)
            _write(self, _STARTED, line, now_ns)
        else:
            resent.write_shared(self, _STARTED, made, now_ns, {"input": values.clean(given, _put)})

    def _sort(self, fields: dict[str, Any], made: dict[str, Any]) -> dict[str, Any] | None:
        """Put the fields that the span was opened with where they belong.

        Those of its call wait in `_pending`, those of its start go to `made`.

        Returns:
            What is to be set once the start is written.
        """
        pop = fields.pop
        kind = self.kind
        if kind == "tool":
            self._pending = {key: pop(key) for key in _TOOL_FIELDS if key in fields}
        elif kind == "generation" and not _GENERATION_FIELDS.isdisjoint(fields):
            self._pending = {key: pop(key) for key in _GENERATION_FIELDS if key in fields}
            for key in _MODEL:
                if key in self._pending:
                    fields[key] = self._pending[key]
        later = None
        if not _SPAN_FIELDS.isdisjoint(fields):
            for key in ("agent", "algorithm"):
                if key in fields:
                    made[key] = _text(pop(key))
            if "input_count" in fields:
                made["input_count"] = details.whole_number(pop("input_count"))
            later = {key: pop(key) for key in ("output", "status", "output_count") if key in fields}
        if fields:
            made["attributes"] = details.attributes(fields, _put)
        return later

    def set(self, /, **attributes: Any) -> None:
        """Add attributes at once.

        `input`, `output`, `status`, `input_count`, `output_count` and `algorithm` set fields. The
        output of a tool's span writes its tool call.
        """
        if self.kind != "tool" or self._call_status is not None or "output" not in attributes:
            Scope.set(self, **attributes)
            return
        try:
            status = attributes.get("status")
            if status is not None:
                self._user_status = status if type(status) is str else _text(status)
            self._write_tool(attributes, None)
        except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
            emit.failed(error, self.run_id)

    def _write_tool(self, fields: dict[str, Any], error: BaseException | None) -> None:
        """Write the tool call the span stands for.

        As soon as its output is known, or at the latest at its end.
        """
        status = self._call_status = self._user_status
        if self._pending:
            fields = self._pending | fields
        if status:
            fields.setdefault("status", status)
        fields["duration_ns"] = _mono() - self._started_mono_ns
        if error is not None:
            fields["error"] = error
            fields["status"] = "cancelled" if _is_cancelled(error) else "error"
        details.emit_tool_call(self, self.name, fields)

    def record_generation(self, /, **fields: Any) -> str:
        """Record the model call of this span as `Verbs.record_generation` does; return its id."""
        try:
            if self.kind == "generation":
                if self._pending is not None:
                    fields = self._pending | fields
                    self._pending = None
                fields.setdefault("name", self.name)
                if _DURATIONS.isdisjoint(fields):
                    fields["duration_ns"] = _mono() - self._started_mono_ns
                status = self._call_status = self._user_status
                if status:
                    fields.setdefault("status", status)
            return details.emit_generation(self, fields)
        except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
            emit.failed(error, self.run_id)
            return ""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> Literal[False]:
        if self.run_id:  # else never entered, or entered where nothing is recorded
            # What `Scope.__exit__` does, without its calls.
            outer = self._outer
            if _scope() is self and (outer is None or outer.status == "running"):
                _make_current(outer)
            else:
                self._leave()
            try:
                if state.pid == self._pid:
                    self._end(error)
            except Exception as failure:  # noqa: BLE001 - capture never raises into the user's program
                emit.failed(failure, self.run_id)
        if self._implicit_run is not None:
            self._implicit_run.__exit__(kind, error, stack)
        return False

    def _end(self, error: BaseException | None) -> None:
        if self._call_status is None and self.kind in _CALLS:
            self._end_call(error)
        problem = None
        if error is None:
            self.status = self._user_status or "ok"
            if self._call_status == self._user_status:
                return  # the record of its call stands for the end of a tool's or model's span
        elif _is_cancelled(error):
            self.status = "cancelled"
        else:
            self.status = "error"
            problem = _describe(error)
        duration_ns = _mono() - self._started_mono_ns
        now, direct = _wall(), state.direct
        if direct is None or not direct(
            _ENDED_TEMPLATE, self.envelope, now, self.status, duration_ns, None, problem
        ):
            line = _EndedLine(
                v=_ENDED_HEAD,
                run=self.envelope,
                status=self.status,
                duration_ns=duration_ns,
                error=problem,
            )
            _write(self, _ENDED, line, now)

    def _end_call(self, error: BaseException | None) -> None:
        """Write the call of a tool or model that was not told before the end of its span."""
        if self.kind == "tool":
            self._write_tool({}, error)
        elif self._pending is not None:
            pending, self._pending = self._pending, None
            self.record_generation(**pending, error=error)


def _describe(error: BaseException) -> dict[str, Any]:
    from whence.capture import failures  # noqa: PLC0415 - most programs that record do not fail

    return failures.describe(error)


def _told(message: str) -> BaseException:
    from whence.capture import failures  # noqa: PLC0415 - as in `_describe`

    return failures.ToldError(message)


def _is_cancelled(error: BaseException) -> bool:
    return any(kind.__name__ in _CANCELLED for kind in type(error).__mro__)


def _run_status(error: BaseException | None) -> str:
    if error is None:
        return "complete"
    if _is_cancelled(error):
        return "cancelled"
    if isinstance(error, SystemExit) and not error.code:
        return "complete"
    return "failed"


def open_run(
    name: str,
    project: str | None = None,
    *,
    kind: str | None = None,
    parent: Any = None,
    external_id: str | None = None,
    workflow: str | None = None,
    session: str | None = None,
    conversation: str | None = None,
    user: str | None = None,
    tags: Sequence[str] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Run | NoOp:
    """Return a run that is not entered yet, or the no-op object where nothing is to be recorded."""
    if not state.enabled:
        return NOOP
    try:
        if state.settings is None and not state.is_on():
            return NOOP
        project = None if project is None else _text(project)
        if not state.records_project(project):
            return Muted()
        outer = current_scope.get()
        parent_run = (
            details.id_of(parent)
            if parent is not None
            else outer.run_id
            if outer is not None
            else None
        )
        fields: dict[str, Any] = {"name": _text(name)}
        for key, value in (
            ("run_kind", kind),
            ("project", project),
            ("external_id", external_id),
            ("parent_run", parent_run or None),
            ("workflow", workflow),
            ("session", session),
            ("conversation", conversation),
            ("user", user),
        ):
            if value is not None:
                fields[key] = _text(value)
        if tags is not None:
            fields["tags"] = details.texts(tags)
        if attributes:
            fields["attributes"] = attributes
        return Run(fields)
    except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
        emit.failed(error, "")
        return NOOP
