"""The functions of capture: open a run, open a span, ask for the current one.

`tool`, `stage`, `generation` and their like are `span` with the kind filled in. Every function
gives a no-op object where nothing is recorded, never None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence.capture.context import current_scope
from whence.capture.noop import NOOP, NoOp
from whence.capture.scopes import Run, Span, open_run
from whence.capture.state import current as _state

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(
    name: str,
    *,
    project: str | None = None,
    kind: str | None = None,
    parent: Run | str | None = None,
    external_id: str | None = None,
    workflow: str | None = None,
    session: str | None = None,
    conversation: str | None = None,
    user: str | None = None,
    tags: Sequence[str] | None = None,
    **attributes: Any,
) -> Run | NoOp:
    """Return a run, to be entered with `with` or `async with`.

    Args:
        name: What the pipeline is called.
        project: The project it belongs to.
        kind: What sort of run it is, in your words.
        parent: The run that started it; the current run, if any, is taken by itself.
        external_id: Your own id for it; every look-up accepts it.
        workflow: A workflow that several runs share.
        session: A user session that several runs share.
        conversation: A conversation of which it is a turn.
        user: Who it is run for.
        tags: Labels.
        **attributes: Whatever else is to be known about it.
    """
    if not _state.enabled:
        return NOOP
    return open_run(
        name,
        project,
        kind=kind,
        parent=parent,
        external_id=external_id,
        workflow=workflow,
        session=session,
        conversation=conversation,
        user=user,
        tags=tags,
        attributes=attributes,
    )


def span(name: str, kind: str = "custom", **fields: Any) -> Span | NoOp:
    """Return a span, to be entered with `with` or `async with`.

    Outside a run it gets a run of its own.

    Args:
        name: What the step is called.
        kind: `stage`, `step`, `agent`, `generation`, `tool`, `retrieval`, `transformation`,
            `evaluation`, `guardrail`, `custom`, or your word.
        **fields: `input`, `output`, `agent`, `algorithm`, `input_count`, `status` are fields of the
            span; tools and generations have theirs; any other becomes an attribute.
    """
    if not _state.enabled:
        return NOOP
    return Span(name, kind, fields)


def stage(name: str, **fields: Any) -> Span | NoOp:
    """Return a span of kind `stage`.

    A part of the pipeline that everything inside it is counted to.
    """
    if not _state.enabled:
        return NOOP
    return Span(name, "stage", fields)


def step(name: str, **fields: Any) -> Span | NoOp:
    """Return a span of kind `step`."""
    if not _state.enabled:
        return NOOP
    return Span(name, "step", fields)


def tool(name: str, **fields: Any) -> Span | NoOp:
    """Return a span of kind `tool`.

    Its tool call is written when its `output` is set, or at its end.
    """
    if not _state.enabled:
        return NOOP
    return Span(name, "tool", fields)


def generation(name: str, **fields: Any) -> Span | NoOp:
    """Return a span of kind `generation`; `record_generation` writes its model call."""
    if not _state.enabled:
        return NOOP
    return Span(name, "generation", fields)


def retrieval(name: str, **fields: Any) -> Span | NoOp:
    """Return a span of kind `retrieval`."""
    if not _state.enabled:
        return NOOP
    return Span(name, "retrieval", fields)


def agent(name: str, **fields: Any) -> Span | NoOp:
    """Return a span of kind `agent`."""
    if not _state.enabled:
        return NOOP
    fields.setdefault("agent", name)
    return Span(name, "agent", fields)


def current_run() -> Run | NoOp:
    """Return the run the code at hand is in, or the no-op object."""
    scope = current_scope.get()
    return NOOP if scope is None or isinstance(scope, NoOp) else scope.run


def current_span() -> Span | Run | NoOp:
    """Return the innermost span the code at hand is in, or the run itself outside any span.

    Where nothing is recorded it is the no-op object.
    """
    scope = current_scope.get()
    if isinstance(scope, (Span, Run)):
        return scope
    return NOOP
