"""What a component promises to record, and whether it did.

Comes in: a component that names itself, its decisions and its outputs, and a trace that it took
part in. Goes out: each promise that was not kept, and each decision that was not promised. Document
5 (pipeline observability) section 4: the interface documents the contract and is checked in tests;
a component need not inherit from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from whence.ingest import research_parts as parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.dialects.research.stages import Decision, StageTrace
    from whence.dialects.research.trace import Trace


class NamedComponent(Protocol):
    """Anything that has the two members of a `TracingComponent`."""

    @property
    def component_name(self) -> str:
        """Its name in traces."""
        ...

    def get_trace_schema(self) -> dict[str, Any]:
        """Return what it records."""
        ...


def validate_component(component: NamedComponent, trace: Trace) -> list[str]:
    """Return how a component broke its contract in a trace, a sentence each; none if it did not.

    The contract is what `get_trace_schema` returns: `decisions` and `outputs` as lists of names,
    and optionally the `stage` they belong to. Looked at are the stages in which one of its
    decisions stands, or that one; a decision that says it was `made_by` another component is not
    its own.

    Args:
        component: An instance with `component_name` and `get_trace_schema`.
        trace: What it recorded in.

    Returns:
        Sentences.
    """
    return list(_iter_breaches(component, trace))


class TracingComponent(ABC):
    """Interface for components that emit trace data.

    A component that makes decisions in a pipeline may implement it to say which; it takes part in
    traces without it as well, by calling `trace.record`.
    """

    @property
    @abstractmethod
    def component_name(self) -> str:
        """Unique name of this component in traces: `rubric_loader`."""

    @abstractmethod
    def get_trace_schema(self) -> dict[str, Any]:
        """Return the decisions and outputs that this component can emit.

        For example `{"decisions": ["rubric_loaded"], "outputs": ["total_principles"]}`; an optional
        `stage` says where.
        """

    validate_component = staticmethod(validate_component)


def _iter_breaches(component: NamedComponent, trace: Trace) -> Iterator[str]:
    name, schema = component.component_name, component.get_trace_schema()
    if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance] - checked here
        yield f"component_name is {name!r}; it has to be a text"
        name = type(component).__name__
    if not isinstance(schema, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - checked here
        yield f"{name}: get_trace_schema returns {schema!r}; it has to be a mapping"
        return
    for key in ("decisions", "outputs"):
        if _names(schema, key) is None:
            yield f"{name}: the schema's {key!r} is {schema[key]!r}; it has to be a list of names"
    promised = _names(schema, "decisions") or []
    stages = _stages_of(schema, promised, trace)
    made = [one for stage in stages for one in _own(stage, name)]
    kinds = {decision.decision for decision in made}
    yield from (
        f"{name}: decision {one!r} was not recorded" for one in promised if one not in kinds
    )
    for decision in made:
        if decision.decision not in promised:
            yield f"{name}: decision {decision.decision!r} is not in its schema"
        yield from (f"{name}: {breach}" for breach in _malformed(decision))
    given = {output for stage in stages for output in stage.outputs}
    for output in _names(schema, "outputs") or []:
        if output not in given:
            yield f"{name}: output {output!r} was not recorded"


def _names(schema: Mapping[str, Any], key: str) -> list[str] | None:
    stated = schema.get(key, [])
    if isinstance(stated, (list, tuple)):
        names = list(cast("list[Any]", stated))
        if all(isinstance(one, str) for one in names):
            return names
    return None


def _stages_of(schema: Mapping[str, Any], promised: list[str], trace: Trace) -> list[StageTrace]:
    passes = [one for stage in trace.stages.values() for one in (*stage.earlier, stage)]
    named = schema.get("stage")
    if isinstance(named, str):
        return [stage for stage in passes if stage.name == named]
    found = [stage for stage in passes if any(one.decision in promised for one in stage.decisions)]
    return found or [stage for stage in passes if not promised]


def _own(stage: StageTrace, name: str) -> list[Decision]:
    return [one for one in stage.decisions if one.made_by in {None, name}]


def _malformed(decision: Decision) -> Iterator[str]:
    kind = decision.decision
    if decision.what is None:
        yield f"decision {kind!r} does not say what was decided"
    if not decision.why:
        yield f"decision {kind!r} does not say why"
    number = parts.find_number(decision.confidence)
    if number is None or not 0 <= number <= 1:
        yield f"decision {kind!r} has the confidence {decision.confidence!r}; it is from 0 to 1"
