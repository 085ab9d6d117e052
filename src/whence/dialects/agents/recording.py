"""What a tracker can be told of a session: one method a kind of thing.

Comes in: the words of document 3. Goes out: a record in the log, by the verb of the run or span
that is current, and the same as an action in the session's folder. A method never raises and
returns the id of its record, which is empty where nothing is recorded.

Source: document 3 (hybrid sessions).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock
from whence.capture import details as forms
from whence.capture import values
from whence.dialects.agents import detail
from whence.dialects.agents.session import no_blob
from whence.errors import LinkError
from whence.store import rows as r

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from whence.capture.noop import NoOp
    from whence.capture.scopes import Scope
    from whence.dialects.agents.session import Session

_LOG_ARGUMENTS = frozenset({"message", "level"})


class TrackedCall:
    """A call that goes on inside `track_tool_call`."""

    def __init__(self) -> None:
        self.output: Any = None
        """What it answered; set it inside the block."""
        self.cache_hit: bool | None = None
        """Whether a cache answered."""


class Recording:
    """The methods of a tracker that record. `_find` says into which session."""

    def _find(self, session_id: str | None) -> Session | None:
        raise NotImplementedError

    def _recording(self, session_id: str | None) -> Session | None:
        session = self._find(session_id)
        return session if session is not None and session.recording else None

    def record_event(
        self,
        event_type: str,
        event_name: str,
        details: Mapping[str, Any] | None = None,
        *,
        session_id: str | None = None,
    ) -> str:
        """Record that something happened and return the record's id.

        Args:
            event_type: `lifecycle`, `log`, `cache_hit`, `validation`, `database_query` or another
                word; it decides the type of the action.
            event_name: What happened; it decides the name of the tool.
            details: What else is to be known; `duration_ms`, `status` or `success`, `error` and
                `files_affected` become fields of the action. A `log` has `message` and `level`.
            session_id: Which session, if not the current one.

        Returns:
            The record's id; empty if nothing was recorded.
        """
        session = self._recording(session_id)
        if session is None:
            return ""
        said = dict(details or {})
        message, level = values.text(event_name), "info"
        if event_type == "log":
            level = values.text(said.pop("level", None) or message.removeprefix("log_")).lower()
            message = values.text(said.pop("message", None) or message)
            data = {key: value for key, value in said.items() if key not in _LOG_ARGUMENTS}
        else:
            data = {"event_type": values.text(event_type), "details": said}
        scope = session.scope()
        record_id = scope.event(message, level=level, **data)
        if level in {"warning", "warn"}:
            session.note_warning(message)
        data = forms.mapping(data, no_blob)
        envelope = _envelope(scope, session, record_id)
        row = r.EventRow(**envelope, message=message, level=level, data=data)
        session.show("events", row)
        return record_id

    def record_tool_call(  # noqa: PLR0917 - the original's signature
        self,
        tool_type: str | None,
        tool_name: str,
        input_params: Any = None,
        output_data: Any = None,
        duration_ms: float | None = None,
        cache_hit: bool | None = None,  # noqa: FBT001 - the original's signature
        success: bool | None = None,  # noqa: FBT001 - the original's signature
        error: BaseException | str | None = None,
        *,
        cache_key: str | None = None,
        cache_source: str | None = None,
        retry_count: int | None = None,
        rate_limit_delay_ms: float | None = None,
        session_id: str | None = None,
    ) -> str:
        """Record one call of a tool, an API or a database and return the record's id.

        Args:
            tool_type: What sort of tool: `api`, `database`, ...
            tool_name: Which tool.
            input_params: What it was called with.
            output_data: What it answered; how much is kept the detail level says.
            duration_ms: How long it took, in milliseconds.
            cache_hit: Whether a cache answered.
            success: Whether it worked; it did if there is no error.
            error: What went wrong: an exception, or a message.
            cache_key: Key of the cached answer.
            cache_source: Which cache.
            retry_count: How many retries it took.
            rate_limit_delay_ms: Time spent waiting for a rate limit, in milliseconds.
            session_id: Which session, if not the current one.

        Returns:
            The record's id; empty if nothing was recorded.
        """
        session = self._recording(session_id)
        if session is None:
            return ""
        worked = error is None if success is None else success
        output = detail.kept(output_data, session.level)
        fields: dict[str, Any] = {
            "tool_type": None if tool_type is None else values.text(tool_type),
            "input": input_params,
            "output": output,
            "cache_hit": cache_hit,
            "cache_key": cache_key,
            "retry_count": retry_count,
            "rate_limit_delay_ms": rate_limit_delay_ms,
            "duration_ms": duration_ms,
            "status": "ok" if worked else "error",
            "error": error,
        }
        given = {key: value for key, value in fields.items() if value is not None}
        if cache_source is not None:
            given["cache_source"] = cache_source
        name = values.text(tool_name)
        scope = session.scope()
        record_id = scope.tool_call(name, **given)
        row = r.ToolCallRow(
            **_envelope(scope, session, record_id),
            tool_name=name,
            tool_type=fields["tool_type"],
            status=fields["status"],
            duration_ms=values.number(duration_ms),
            cache_hit=None if cache_hit is None else forms.truth(cache_hit),
            retry_count=forms.whole_number(retry_count),
            input=values.clean(input_params, no_blob),
            output=values.clean(output, no_blob),
            error=forms.error_field(error, no_blob),
        )
        session.show("tool_calls", row)
        return record_id

    @contextmanager
    def track_tool_call(
        self, tool_type: str | None, tool_name: str, input_params: Any = None
    ) -> Generator[TrackedCall]:
        """Record the block as a call of a tool, with how long it took and what it raised.

        Yields:
            The call; set its `output`.
        """
        call = TrackedCall()
        began_ns = _clock.mono_ns()
        problem: BaseException | None = None
        try:
            yield call
        except BaseException as error:
            problem = error
            raise
        finally:
            self.record_tool_call(
                tool_type,
                tool_name,
                input_params,
                output_data=call.output,
                duration_ms=(_clock.mono_ns() - began_ns) / 1e6,
                cache_hit=call.cache_hit,
                error=problem,
            )

    def record_decision(  # noqa: PLR0917 - the original's signature
        self,
        decision_type: str,
        decision_point: str | None = None,
        input_values: Mapping[str, Any] | None = None,
        branch_taken: Any = None,
        branches_available: Sequence[Any] | Mapping[str, Any] | None = None,
        reason: str = "",
        *,
        confidence: float | None = None,
        factors: Sequence[Any] | Mapping[str, Any] | None = None,
        session_id: str | None = None,
    ) -> str:
        """Record a choice and return the record's id.

        Args:
            decision_type: What sort of choice, such as `route`.
            decision_point: Where it was made.
            input_values: What the maker saw.
            branch_taken: What was chosen.
            branches_available: What could have been chosen, in any form `decide` takes.
            reason: Why.
            confidence: How sure the maker is, 0 to 1.
            factors: What weighed on it.
            session_id: Which session, if not the current one.

        Returns:
            The record's id; empty if nothing was recorded.
        """
        session = self._recording(session_id)
        if session is None:
            return ""
        scope = session.scope()
        record_id = scope.decide(
            decision_type,
            branch_taken,
            why=reason,
            confidence=confidence,
            options=branches_available,
            factors=factors,
            inputs=input_values,
            made_by=session.agent_type,
            decision_point=decision_point,
        )
        options = forms.options(branches_available or [], branch_taken, no_blob)
        row = r.DecisionRow(
            **_envelope(scope, session, record_id),
            name=values.text(decision_type),
            what=values.clean(branch_taken, no_blob),
            why=values.text(reason),
            confidence=values.number(confidence),
            options=[msgspec.to_builtins(option) for option in options],
            made_by=session.agent_type,
            decision_point=None if decision_point is None else values.text(decision_point),
        )
        session.show("decisions", row)
        return record_id

    def record_transformation(  # noqa: PLR0917 - the original's signature
        self,
        transformation_type: str,
        transformation_name: str,
        input_data: Any = None,
        output_data: Any = None,
        method: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        duration_ms: float | None = None,
        *,
        session_id: str | None = None,
    ) -> str:
        """Record a change of data from one shape into another and return the record's id.

        Args:
            transformation_type: What sort of change, such as `aggregation`.
            transformation_name: What was done.
            input_data: What went in: its shape, its size and a sample are kept.
            output_data: What came out, likewise.
            method: How it was done.
            parameters: With which settings.
            duration_ms: How long it took, in milliseconds.
            session_id: Which session, if not the current one.

        Returns:
            The record's id; empty if nothing was recorded.
        """
        session = self._recording(session_id)
        if session is None:
            return ""
        fields: dict[str, Any] = {
            "method": None if method is None else values.text(method),
            "parameters": None if parameters is None else dict(parameters),
            "input_schema": detail.schema_of(input_data),
            "output_schema": detail.schema_of(output_data),
            "input_sample": detail.kept(input_data, session.level),
            "output_sample": detail.kept(output_data, session.level),
            "input_size": detail.size_of(input_data),
            "output_size": detail.size_of(output_data),
            "duration_ms": duration_ms,
        }
        given = {key: value for key, value in fields.items() if value is not None}
        kind = values.text(transformation_type)
        name = values.text(transformation_name)
        scope = session.scope()
        record_id = scope.transformation(name, **given, transformation_type=kind)
        row = r.TransformationRow(
            **_envelope(scope, session, record_id),
            name=name,
            method=fields["method"],
            parameters=forms.mapping(fields["parameters"] or {}, no_blob),
            input_size=fields["input_size"],
            output_size=fields["output_size"],
            duration_ms=values.number(duration_ms),
            attributes={"transformation_type": kind},
        )
        session.show("transformations", row)
        return record_id

    def link_entity(
        self,
        entity_table: str,
        entity_id: Any,
        link_type: str = "uses",
        *,
        session_id: str | None = None,
    ) -> str:
        """Link the session to a row of the application's own data and return the link's id.

        Args:
            entity_table: The table it is in.
            entity_id: Its id there.
            link_type: What the session does with it: `read`, `created`, ...
            session_id: Which session, if not the current one.

        Returns:
            The link's id; empty if nothing was recorded.
        """
        session = self._recording(session_id)
        if session is None:
            return ""
        link = {
            "entity_table": values.text(entity_table),
            "entity_id": values.text(entity_id),
            "link_type": values.text(link_type),
        }
        try:
            link_id = session.run.link(
                "entity",
                link["entity_id"],
                source=session.id,
                entity_table=link["entity_table"],
                link_type=link["link_type"],
            )
        except LinkError:  # an entity that is called like a run above this one: no edge, but known
            link_id = session.run.event("entity", **link)
        session.note_link(link)
        return link_id


def _envelope(scope: Scope | NoOp, session: Session, record_id: str) -> dict[str, Any]:
    return {
        "id": record_id,
        "run": session.id,
        "span": scope.span_id,
        "stage": scope.stage,
        "ts_ns": _clock.wall_ns(),
    }
