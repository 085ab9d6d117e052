"""Search trees of moatless: nodes that an agent tried, judged and went on from.

Comes in: a file a tree, whose nodes hold their `children` or name their `parent_id`. Goes out: one
run a file. A node is a step under the run, in the order in which nodes were made, and continues its
parent. In it stand the calls of models, the actions with what was observed, and the reward as a
score. Where several nodes could be expanded, which one was is a decision. A node that repeats a
sibling was not carried out, and one that failed is linked as `retry_of` to the next sibling; an
action that asks to be corrected is linked so to what came next. A node that finished is an output.

A completion may stand in its node, in the step that made it and in the observation that it led to:
it is one call. Which finished node the search took in the end is in none of these files.

Source: aorwall/moatless-tree-search and moatless-tools from 0.0.3, `moatless/node.py`,
`search_tree.py`, `agent/agent.py`, `completion/model.py` and `completion/stats.py`.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.errors import IngestError
from whence.ingest import json_files, keys, loose, usage
from whence.ingest.base import Skipped
from whence.ingest.loose import Fields
from whence.ingest.reading import json_of
from whence.ingest.stated import time_ns
from whence.ingest.timeline import NO_ANSWER, Timeline
from whence.record.decision import Decision, Option
from whence.record.generation import Generation, Usage
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Output, Score

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known, Source
    from whence.record.base import Record

_OF_TREE = frozenset({"max_expansions", "max_iterations"})
_OF_NODE = (b'"file_context"', b'"action_steps"', b'"completions"', b'"possible_actions"')
_ID = b'"node_id"'
_LEAF = b'"children"'
_HOLDERS = ("root", "nodes")
_TOLD = frozenset(
    {
        "children",
        "action",
        "observation",
        "output",
        "action_steps",
        "completions",
        "reward",
        "message",
        "user_message",
        "error",
    }
)
"""What of a node becomes records or fields of their own."""
_OF_CALL = frozenset({"model", "input", "response", "usage", "attempts", "start_time", "end_time"})
_BUILD = "build_action"
"""Name of the completion that says what to do."""
_EXECUTE = "execute_action"
"""Name of a completion that an action needed for itself."""
_JUDGE = "value_function"
_FINISHED = frozenset({"Finish", "VerifiedFinish"})
_REJECTED = "Reject"
_NOT_BUILT = "ActionError"
"""What stands for an action that could not be made of what a model said."""
_SUFFIXES = ("Args", "Arguments")
_MOST_OPTIONS = 50


class _Call(msgspec.Struct, frozen=True):
    """One completion of a node."""

    name: str
    given: Fields


class _Node(msgspec.Struct, frozen=True):
    """One node, apart from its children."""

    place: int
    """Where it stands among the nodes of the file."""
    given: Fields
    parent: int | None
    """Place of its parent."""
    steps: list[Fields]
    """What it did, in the form that has `action_steps`."""
    tools: list[str]
    """What each of its actions is called."""
    calls: list[_Call]

    @property
    def label(self) -> str:
        """What it is called among the nodes."""
        return loose.name(self.given.get("node_id")) or f"at place {self.place}"

    @property
    def last(self) -> Fields:
        """What was observed last."""
        return loose.mapping(self.steps[-1].get("observation")) if self.steps else {}


def detect(source: Source) -> bool:
    """Return whether a file is a tree, a list of nodes, or has settings of a search and nodes."""
    begins = json_files.peek(source)
    if "node_id" in begins.keys:
        return any(sign in source.head for sign in _OF_NODE)
    if begins.is_list:
        return False
    if _ID in source.head:
        holds = not begins.keys.isdisjoint(_HOLDERS)
        return holds and any(sign in source.head for sign in _OF_NODE)
    # The settings of an agent, which come first, may be longer than what is looked at.
    return begins.keys >= _OF_TREE and json_files.ends_with(source, _LEAF)


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:
    """Yield the records of a file.

    Raises:
        IngestError: The file has no nodes, or is nested too deeply.
    """
    del known
    content, skipped = json_files.document(source)
    given = loose.mapping(content)
    held = next((given[name] for name in _HOLDERS if given.get(name)), content)
    nodes, left_out = _nodes(held, source.name)
    if not nodes:
        raise IngestError(f"{source.name} has no nodes")
    settings = {} if held is content else {k: v for k, v in given.items() if k not in _HOLDERS}
    line = Timeline(keys.run_id("moatless-tree", json_files.fingerprint(content)))
    yield from _Run(settings, nodes, line).records()
    yield from left_out
    yield from skipped


def _nodes(held: Any, where: str) -> tuple[list[_Node], list[Skipped]]:
    """Return the nodes in the order in which they were made, and what is none."""
    made: list[_Node] = []
    skipped: list[Skipped] = []
    listed = isinstance(held, list)
    waiting: list[tuple[Any, int | None]] = [
        (one, None) for one in reversed(loose.sequence(held) if listed else [held])
    ]
    places: dict[str, int] = {}
    while waiting:  # a loop, for a tree may be deeper than Python calls itself
        one, parent = waiting.pop()
        place, given = len(made), loose.mapping(one)
        at = f"{where}, node {loose.name(given.get('node_id')) or place}"
        if not given.keys() & {"node_id", *_TOLD}:
            skipped.append(Skipped(at, "not a node"))
            continue
        own = loose.name(given.get("node_id"))
        if own is not None and places.setdefault(own, place) != place and listed:
            skipped.append(Skipped(at, "the list has a node of this id already"))
            continue
        skipped += _odd_parts(given, at)
        steps = _steps_of(given)
        calls = _calls_of(given, steps)
        made.append(_Node(place, given, parent, steps, _tools_of(steps, calls), calls))
        waiting += [(child, place) for child in reversed(loose.sequence(given.get("children")))]
    if listed:
        made, lost = _joined(made, places, where)
        skipped += lost
    made.sort(key=_made_as)
    return made, skipped


def _made_as(node: _Node) -> float:
    """Return which of the nodes it was, as its id tells; nodes without one come last."""
    number = loose.count(node.given.get("node_id"))
    return float("inf") if number is None else number


def _joined(
    made: list[_Node], places: dict[str, int], where: str
) -> tuple[list[_Node], list[Skipped]]:
    """Return nodes with the parents that they name, and the names that no node has."""
    joined: list[_Node] = []
    skipped: list[Skipped] = []
    for node in made:
        named = loose.name(node.given.get("parent_id"))
        parent = node.parent if named is None else places.get(named)
        if named is not None and parent is None:
            at = f"{where}, node {node.label}"
            skipped.append(Skipped(at, f"no node has the id of its parent, {named[:40]}"))
        joined.append(msgspec.structs.replace(node, parent=parent))
    return joined, skipped


def _odd_parts(given: Fields, where: str) -> Iterator[Skipped]:
    """Yield the parts of a node that are of another type than nodes have."""
    for name, kind, said in (
        ("children", list, "a list"),
        ("action_steps", list, "a list"),
        ("completions", dict, "an object"),
    ):
        if given.get(name) is not None and not isinstance(given[name], kind):
            yield Skipped(f"{where}, {name}", f"not {said}")
    for name, one in loose.mapping(given.get("completions")).items():
        if one is not None and not isinstance(one, dict):
            yield Skipped(f"{where}, completion {name}", "not an object")
    for place, one in enumerate(loose.sequence(given.get("action_steps"))):
        if not isinstance(one, dict):
            yield Skipped(f"{where}, action step {place}", "not an object")


def _steps_of(given: Fields) -> list[Fields]:
    """Return what a node did; a node of the first versions did at most one thing."""
    whole = loose.mapping(given.get("action"))
    observed = given.get("output") or given.get("observation")
    steps = loose.mappings(given.get("action_steps"))
    if not steps:
        return [{"action": whole, "observation": observed}] if whole or observed else []
    # Some versions keep of an action in a step its reason alone, and the last one whole beside it.
    last = steps[-1]
    if whole and _tool_of(loose.mapping(last.get("action"))) is None:
        steps = [*steps[:-1], {**last, "action": whole}]
    return steps


def _calls_of(given: Fields, steps: list[Fields]) -> list[_Call]:
    """Return the completions of a node, each once."""
    found = [
        _Call(name, cast("Fields", one))
        for name, one in loose.mapping(given.get("completions")).items()
        if isinstance(one, dict) and one
    ]
    for step in steps:
        observed = loose.mapping(step.get("observation"))
        for one in (step.get("completion"), observed.get("execution_completion")):
            completion = loose.mapping(one)
            if completion and not any(_is_one_call(completion, known.given) for known in found):
                found.append(_Call(_EXECUTE, completion))
    return found


def _is_one_call(one: Fields, other: Fields) -> bool:
    """Whether two completions of one node are the same one, told twice."""
    answer = _answer_id(one)
    return (answer is not None and answer == _answer_id(other)) or _is_same(one, other)


def _answer_id(completion: Fields) -> str | None:
    return loose.text(loose.mapping(completion.get("response")).get("id"))


def _is_same(one: Fields, other: Fields) -> bool:
    try:
        return one == other
    except RecursionError:
        return False


def _tool_of(action: Fields) -> str | None:
    """Return the name of an action, which its class tells; None if nothing does."""
    path = loose.text(action.get("action_args_class"))
    if path is None:
        return loose.text(action.get("name"))
    name = path.rpartition(".")[2]
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name or None


def _tools_of(steps: list[Fields], calls: list[_Call]) -> list[str]:
    """Return what actions are called, by themselves or by the model that asked for them."""
    names = [_tool_of(loose.mapping(step.get("action"))) for step in steps]
    said = {} if all(names) else _said_tools(calls)
    return [name or said.get(place) or "an action" for place, name in enumerate(names)]


def _said_tools(calls: list[_Call]) -> dict[int, str]:
    """Return the tools that a model asked for, by their place."""
    for call in calls:
        if call.name != _BUILD:
            continue
        answer = loose.mapping(call.given.get("response"))
        message = loose.mapping(loose.first(answer.get("choices")).get("message"))
        asked = [loose.mapping(one.get("function")) for one in _tool_calls(message)]
        asked += [one for one in loose.mappings(answer.get("content")) if "input" in one]
        if not asked:
            said = loose.mapping(json_of(message.get("content")))
            asked = [{"name": said.get("action_type")}]
        names = [loose.text(one.get("name")) for one in asked]
        return {place: name for place, name in enumerate(names) if name is not None}
    return {}


def _tool_calls(message: Fields) -> list[Fields]:
    return loose.mappings(message.get("tool_calls"))


class _Run:
    """One tree, while it is read."""

    def __init__(self, settings: Fields, nodes: list[_Node], line: Timeline) -> None:
        self.settings = settings
        self.nodes = nodes
        self.line = line
        self.names = {node.place: _name_of(node) for node in nodes}
        self.rewards = {node.place: _reward_of(node)[0] for node in nodes}
        self.begins: dict[int, int] = {}
        """Place of a node to when its first call began, Unix time."""
        for node in nodes:
            times = [at for call in node.calls if (at := _began_ns(call.given)) is not None]
            if times:
                self.begins[node.place] = min(times)
        if not self.begins:  # the times of nodes are local, so they do not mix with those of calls
            for node in nodes:
                at_ns = loose.time_ns(loose.text(node.given.get("timestamp")))
                if at_ns is not None:
                    self.begins[node.place] = at_ns
        self.expandable: dict[int, int] = {}
        """Place of a node that may be expanded to how often it still may be."""
        self.failed: dict[int, str] = {}
        """Place of a parent to the span of its last child, if that came to nothing."""
        self.corrected: dict[int, str] = {}
        """Place of a node to its span, if its action asks to be corrected."""
        self.answers: dict[str, Fields] = {}
        """Id of an answer to the completion that has it."""

    def records(self) -> Iterator[Record]:
        """Yield the records of the tree."""
        yield self._started()
        for node in self.nodes:
            yield from self._node(node)
        yield from self._ended()

    def _started(self) -> RunStarted:
        metadata = loose.mapping(self.settings.get("metadata"))
        attributes = dict(self.settings)
        if not self.begins:
            attributes["undated"] = True
        return RunStarted(
            ts=self.line.at(min(self.begins.values(), default=None)),
            run=self.line.run,
            name="moatless",
            run_kind="agent",
            external_id=loose.name(self.settings.get("trajectory_id")),
            workflow=loose.name(metadata.get("instance_id")),
            attributes=attributes or None,
        )

    def _span(self, place: int) -> str:
        return self.line.id("node", place)

    def _node(self, node: _Node) -> Iterator[Record]:
        line, given, span = self.line, node.given, self._span(node.place)
        begins = self.begins.get(node.place)
        yield line.opened(
            span,
            self.names[node.place],
            "step",
            at_ns=begins,
            input=given.get("user_message") or given.get("message"),
            attributes={k: v for k, v in given.items() if k not in _TOLD and v is not None} or None,
        )
        yield from self._came_from(node, span)
        for place, call in enumerate(node.calls):
            if call.name == _BUILD:
                yield from self._call(call, (node.place, place), span, node)
        for place, (step, tool) in enumerate(zip(node.steps, node.tools, strict=True)):
            if tool != _NOT_BUILT:
                yield from self._step(node, step, tool, place)
        for place, call in enumerate(node.calls):
            if call.name != _BUILD:
                yield from self._call(call, (node.place, place), span, node)
        yield from self._reward(node, span)
        yield from self._output(node, span)
        yield from self._closed(node, span)

    def _came_from(self, node: _Node, span: str) -> Iterator[Record]:
        """Yield what a node continues and tries again, and that its parent was chosen."""
        line, parent = self.line, node.parent
        if parent is None:
            return
        point = line.point("continuation_of", node.place, span=span)
        before = self._span(parent)
        yield Link(**point, link_kind="continuation_of", source=before, target=span)
        yield from self._chosen(node, parent, span)
        for tried in (self.corrected.pop(parent, None), self.failed.pop(parent, None)):
            if tried is not None:
                point = line.point("retry_of", tried, span=span)
                yield Link(**point, link_kind="retry_of", source=tried, target=span)

    def _chosen(self, node: _Node, parent: int, span: str) -> Iterator[Decision]:
        """Yield the choice of the node to expand, where there was one.

        Source: `Node.is_expandable` of moatless.
        """
        count = len(self.expandable) + (parent not in self.expandable)
        if count > 1:
            latest = itertools.islice(reversed(self.expandable), _MOST_OPTIONS)
            places = [parent, *(place for place in latest if place != parent)]
            selector = loose.mapping(self.settings.get("selector"))
            made_by = loose.text(selector.get("type")) or loose.text(selector.get("selector_class"))
            yield Decision(
                **self.line.point("chosen", node.place, span=span),
                name="which node to expand",
                what=self.names[parent],
                options=[
                    Option(
                        name=self.names[place],
                        score=self.rewards.get(place),
                        chosen=place == parent,
                    )
                    for place in sorted(places[:_MOST_OPTIONS])
                ],
                inputs={"expandable": count},
                made_by=made_by,
            )
        left = self.expandable.get(parent, 1) - 1
        if left > 0:
            self.expandable[parent] = left
        else:
            self.expandable.pop(parent, None)

    def _step(self, node: _Node, step: Fields, tool: str, place: int) -> Iterator[Record]:
        """Yield one action: why it was taken, and what was observed."""
        line, span = self.line, self._span(node.place)
        action, observed = loose.mapping(step.get("action")), loose.mapping(step.get("observation"))
        given = {k: v for k, v in action.items() if k != "action_args_class"}
        why = loose.text(action.get("thoughts")) or loose.text(action.get("scratch_pad"))
        if why is None and place == 0:
            why = loose.text(loose.mapping(node.given.get("thoughts")).get("text"))
        if why is not None:
            model = next((c.given.get("model") for c in node.calls if c.name == _BUILD), None)
            possible = loose.sequence(node.given.get("possible_actions"))[:_MOST_OPTIONS]
            names = [name for name in possible if isinstance(name, str)]
            yield line.decided(
                "decision",
                node.place,
                place,
                span=span,
                why=why,
                tool=tool,
                given=given,
                made_by=loose.text(model),
                options=[Option(name=name, chosen=name == tool) for name in names] or None,
            )
        if not observed and _is_duplicate(node):
            return  # what repeats a sibling is not carried out
        kept = {k: v for k, v in observed.items() if k not in {"message", "execution_completion"}}
        properties = loose.mapping(observed.get("properties"))
        fields: Fields = {} if observed else {"status": NO_ANSWER}
        yield from line.tool(
            "tool",
            node.place,
            place,
            name=tool,
            parent=span,
            error=_failure_of(observed),
            tool_type="function",
            input=given,
            output=observed.get("message"),
            retry_count=loose.count(properties.get("retries")),
            attributes={k: v for k, v in kept.items() if v} or None,
            **fields,
        )

    def _call(
        self, call: _Call, place: tuple[int, int], span: str, node: _Node
    ) -> Iterator[Generation]:
        """Yield the calls of a model that a completion took: one for each attempt that it tells."""
        answer = _answer_id(call.given)
        if answer is not None:
            first = self.answers.setdefault(answer, call.given)
            if first is not call.given and _is_same(first, call.given):
                return  # a node that was copied has the completions of the one it is a copy of
        attempts = loose.mappings(call.given.get("attempts"))
        for number, attempt in enumerate(attempts):
            told = _of_attempt(attempt, number)
            if number + 1 == len(attempts) and call.name == _BUILD and "error" not in told:
                told["output"] = node.given.get("assistant_message")
            yield self._generation(call, (*place, number), span, told)
        if not attempts:
            yield self._generation(call, place, span, _of_answer(call.given))

    def _generation(
        self, call: _Call, place: tuple[int, ...], span: str, told: Fields
    ) -> Generation:
        given, ended_ns = call.given, told.pop("ended_ns")
        messages = given.get("input")
        kept = {k: v for k, v in given.items() if k not in _OF_CALL and v}
        return Generation(
            **self.line.point("call", *place, span=span, at_ns=ended_ns),
            name=call.name,
            operation="chat",
            model=loose.text(given.get("model")),
            messages=loose.sequence(messages) or None,
            attributes=kept or None,
            **told,
        )

    def _reward(self, node: _Node, span: str) -> Iterator[Score]:
        value, judged = _reward_of(node)
        if value is None:
            return
        models = [call.given.get("model") for call in node.calls if call.name == _JUDGE]
        kept = {k: v for k, v in judged.items() if k not in {"value", "explanation"} and v}
        yield Score(
            **self.line.point("reward", node.place, span=span),
            name="reward",
            value=value,
            scale="-100-100",
            feedback=loose.text(judged.get("explanation")) or "",
            by=next((name for model in models if (name := loose.text(model))), None),
            attributes=kept or None,
        )

    def _output(self, node: _Node, span: str) -> Iterator[Output]:
        """Yield what a node that finished came to."""
        if not _is_finished(node):
            return
        patch = _patch_of(node)
        said = loose.text(node.last.get("message"))
        yield Output(
            **self.line.point("finished", node.place, span=span),
            output_id=f"finished-{self.line.run[:16]}-{node.place}",
            output_kind="answer" if patch is None else "patch",
            summary=said or self.names[node.place],
            value=said if patch is None else patch,
        )

    def _closed(self, node: _Node, span: str) -> Iterator[Record]:
        line, failure, duplicate = self.line, _error_of(node), _is_duplicate(node)
        output = node.last.get("message") or node.given.get("assistant_message")
        if failure is not None:
            yield line.closed(span, status="error", error=failure, output=output)
        else:
            yield line.closed(span, status="cancelled" if duplicate else "ok", output=output)
        if node.parent is not None and (duplicate or failure is not None):
            self.failed[node.parent] = span
        elif node.last.get("expect_correction") is True:
            self.corrected[node.place] = span
        if not duplicate and not _is_terminal(node):
            self.expandable[node.place] = loose.count(node.given.get("max_expansions")) or 1

    def _ended(self) -> Iterator[RunEnded]:
        """Yield how the search ended, if a node finished, or the last one failed or gave up."""
        last, error = self.nodes[-1], None
        if any(_is_finished(node) for node in self.nodes):
            status = "complete"
        elif (failure := _error_of(last)) is not None:
            status, error = "failed", failure
        elif _REJECTED in last.tools and _is_terminal(last):
            said = loose.text(last.last.get("message")) or ""
            status, error = "failed", {"type": "rejected", "message": said}
        else:
            return
        yield RunEnded(ts=self.line.at(), run=self.line.run, status=status, error=error)


def _name_of(node: _Node) -> str:
    """Return what a node is called: what it did last, and its id."""
    return f"{node.tools[-1] if node.steps else 'node'} {node.label}"


def _is_duplicate(node: _Node) -> bool:
    return node.given.get("is_duplicate") is True


def _is_terminal(node: _Node) -> bool:
    return node.given.get("terminal") is True or node.last.get("terminal") is True


def _is_finished(node: _Node) -> bool:
    return _is_terminal(node) and not _FINISHED.isdisjoint(node.tools)


def _reward_of(node: _Node) -> tuple[float | None, Fields]:
    """Return the reward of a node, and what was said with it."""
    stated = node.given.get("reward")
    judged = loose.mapping(stated)
    return loose.number(judged.get("value") if judged else stated), judged


def _patch_of(node: _Node) -> str | None:
    """Return what a node and those before it changed in files; None if nothing."""
    files = loose.mappings(loose.mapping(node.given.get("file_context")).get("files"))
    return "".join(patch for one in files if (patch := loose.text(one.get("patch")))) or None


def _error_of(node: _Node) -> Fields | None:
    """Return why a node could not be carried out; None if it could."""
    said = loose.text(node.given.get("error"))
    if said is None:
        if _NOT_BUILT not in node.tools:
            return None
        action = loose.mapping(node.steps[-1].get("action"))
        message = loose.text(action.get("error")) or loose.text(node.last.get("message"))
        return {"type": _NOT_BUILT, "message": message or ""}
    first, _, rest = said.partition("\n")
    kind, colon, message = first.partition(": ")
    failure: Fields = {"type": kind if colon else "error", "message": message if colon else first}
    return failure | ({"stack": said} if rest.strip() else {})


def _failure_of(observed: Fields) -> Fields | None:
    """Return why an action failed; None if it did not."""
    properties = loose.mapping(observed.get("properties"))
    message = loose.text(observed.get("message")) or ""
    reason = loose.name(properties.get("fail_reason"))
    said = loose.text(properties.get("error")) or loose.text(observed.get("error"))
    if reason is not None:
        return {"type": reason, "message": message}
    if said is not None:
        return {"type": "error", "message": said}
    if observed.get("expect_correction") is True:
        return {"type": "expect_correction", "message": message}
    return None


def _stated_ns(value: Any) -> int | None:
    """Return a time of a call as Unix nanoseconds; what was never set is written as 0."""
    return time_ns(value) or None


def _began_ns(completion: Fields) -> int | None:
    """Return when a completion began, or else when its answer was made."""
    attempts = loose.mappings(completion.get("attempts"))
    for one in (completion, *attempts):
        at_ns = _stated_ns(one.get("start_time"))
        if at_ns is not None:
            return at_ns
    return _stated_ns(loose.mapping(completion.get("response")).get("created"))


def _of_attempt(attempt: Fields, number: int) -> Fields:
    """Return the fields of a call that one attempt at a completion tells."""
    began_ns, ended_ns = (_stated_ns(attempt.get(name)) for name in ("start_time", "end_time"))
    told = _figures(loose.mapping(attempt.get("usage")), {})
    told |= {"ended_ns": ended_ns, "attempt": loose.count(attempt.get("attempt_number"))}
    told["attempt"] = told["attempt"] or number + 1
    if began_ns is not None and ended_ns is not None and ended_ns >= began_ns:
        told["duration_ns"] = ended_ns - began_ns
    if attempt.get("success") is False:
        reason = loose.text(attempt.get("failure_reason")) or ""
        told |= {"status": "error", "error": {"type": "failed attempt", "message": reason}}
    return told


def _of_answer(completion: Fields) -> Fields:
    """Return the fields of a call that a completion with a provider's answer tells."""
    answer = loose.mapping(completion.get("response"))
    choice = loose.first(answer.get("choices")) or answer
    message = loose.mapping(choice.get("message"))
    retries = loose.count(completion.get("retries"))
    told = _figures(loose.mapping(completion.get("usage")), loose.mapping(answer.get("usage")))
    return told | {
        "ended_ns": _began_ns(completion),
        "response_model": loose.text(answer.get("model")),
        "response_id": loose.text(answer.get("id")),
        "output": message or answer.get("content") or completion.get("response"),
        "reasoning": loose.text(message.get("reasoning_content")),
        "finish_reason": loose.text(choice.get("finish_reason", choice.get("stop_reason"))),
        "attempt": None if retries is None else retries + 1,
    }


def _figures(stated: Fields, own: Fields) -> Fields:
    """Return usage and cost of a call.

    Args:
        stated: What moatless states.
        own: What the provider stated.
    """
    cost = loose.amount(stated.get("completion_cost"))
    told: Fields = {"usage": _usage(stated, own)}
    return told if cost is None else told | {"cost_usd": cost, "cost_source": "declared"}


def _usage(stated: Fields, own: Fields) -> Usage | None:
    """Return the tokens of a call: the words of moatless, in the buckets of the provider.

    Moatless counts what is written to a cache as input, and what is read from it as input or not,
    as the provider does. So its counts do not tell which, and those of the provider do.
    """
    if not stated.keys() - {"completion_cost", "version"}:
        return usage.of_stated(own)
    sums, parts = usage.figures(stated), usage.figures(own)
    sent = parts.input or 0
    agree = sums.output == parts.output and sums.input in (sent, sent + (parts.cache_write or 0))
    has_parts = any(
        part is not None for part in (parts.cache_read, parts.cache_write, parts.reasoning)
    )
    found = usage.of_stated(own) if agree and has_parts else None
    if found is None:
        return usage.of_stated(stated)
    return msgspec.structs.replace(found, stated=stated)
