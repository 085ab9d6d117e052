"""Reads the nodes of a moatless search tree, in every form that moatless wrote them in.

Comes in: a tree whose nodes hold their `children`, or a list whose nodes name their `parent_id`.
Goes out: the nodes in the order in which they were made, each with what it did, what its actions
are called and the completions it took, every one once; and what of the file is none.

A completion may stand in its node, in the step that made it and in the observation that it led to.

Source: aorwall/moatless-tree-search and moatless-tools from 0.0.3, `moatless/node.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.ingest import loose
from whence.ingest.base import Skipped
from whence.ingest.loose import Fields
from whence.ingest.reading import json_of

if TYPE_CHECKING:
    from collections.abc import Iterator

TOLD = frozenset(
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
BUILD = "build_action"
"""Name of the completion that says what to do."""
_EXECUTE = "execute_action"
"""Name of a completion that an action needed for itself."""
_FINISHED = frozenset({"Finish", "VerifiedFinish"})
NOT_BUILT = "ActionError"
"""What stands for an action that could not be made of what a model said."""
_SUFFIXES = ("Args", "Arguments")


class Call(msgspec.Struct, frozen=True):
    """One completion of a node."""

    name: str
    given: Fields


class Node(msgspec.Struct, frozen=True):
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
    calls: list[Call]

    @property
    def label(self) -> str:
        """What it is called among the nodes."""
        return loose.name(self.given.get("node_id")) or f"at place {self.place}"

    @property
    def last(self) -> Fields:
        """What was observed last."""
        return loose.mapping(self.steps[-1].get("observation")) if self.steps else {}


def nodes_of(held: Any, where: str) -> tuple[list[Node], list[Skipped]]:
    """Return the nodes in the order in which they were made, and what is none."""
    made: list[Node] = []
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
        if not given.keys() & {"node_id", *TOLD}:
            skipped.append(Skipped(at, "not a node"))
            continue
        own = loose.name(given.get("node_id"))
        if own is not None and places.setdefault(own, place) != place and listed:
            skipped.append(Skipped(at, "the list has a node of this id already"))
            continue
        skipped += _odd_parts(given, at)
        steps = _steps_of(given)
        calls = _calls_of(given, steps)
        made.append(Node(place, given, parent, steps, _tools_of(steps, calls), calls))
        waiting += [(child, place) for child in reversed(loose.sequence(given.get("children")))]
    if listed:
        made, lost = _joined(made, places, where)
        skipped += lost
    made.sort(key=_made_as)
    return made, skipped


def _made_as(node: Node) -> float:
    """Return which of the nodes it was, as its id tells; nodes without one come last."""
    number = loose.count(node.given.get("node_id"))
    return float("inf") if number is None else number


def _joined(
    made: list[Node], places: dict[str, int], where: str
) -> tuple[list[Node], list[Skipped]]:
    """Return nodes with the parents that they name, and the names that no node has."""
    joined: list[Node] = []
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


def _calls_of(given: Fields, steps: list[Fields]) -> list[Call]:
    """Return the completions of a node, each once."""
    found = [
        Call(name, cast("Fields", one))
        for name, one in loose.mapping(given.get("completions")).items()
        if isinstance(one, dict) and one
    ]
    for step in steps:
        observed = loose.mapping(step.get("observation"))
        for one in (step.get("completion"), observed.get("execution_completion")):
            completion = loose.mapping(one)
            if completion and not any(_is_one_call(completion, known.given) for known in found):
                found.append(Call(_EXECUTE, completion))
    return found


def _is_one_call(one: Fields, other: Fields) -> bool:
    """Whether two completions of one node are the same one, told twice."""
    answer = answer_id(one)
    return (answer is not None and answer == answer_id(other)) or is_same(one, other)


def answer_id(completion: Fields) -> str | None:
    """Return the id that the provider gave an answer; None if there is none."""
    return loose.text(loose.mapping(completion.get("response")).get("id"))


def is_same(one: Fields, other: Fields) -> bool:
    """Whether two completions say the same; not if they are too deep to tell."""
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


def _tools_of(steps: list[Fields], calls: list[Call]) -> list[str]:
    """Return what actions are called, by themselves or by the model that asked for them."""
    names = [_tool_of(loose.mapping(step.get("action"))) for step in steps]
    said = {} if all(names) else _said_tools(calls)
    return [name or said.get(place) or "an action" for place, name in enumerate(names)]


def _said_tools(calls: list[Call]) -> dict[int, str]:
    """Return the tools that a model asked for, by their place."""
    for call in calls:
        if call.name != BUILD:
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


def name_of(node: Node) -> str:
    """Return what a node is called: what it did last, and its id."""
    return f"{node.tools[-1] if node.steps else 'node'} {node.label}"


def is_duplicate(node: Node) -> bool:
    """Whether a node repeats a sibling."""
    return node.given.get("is_duplicate") is True


def is_terminal(node: Node) -> bool:
    """Whether nothing comes after a node."""
    return node.given.get("terminal") is True or node.last.get("terminal") is True


def is_finished(node: Node) -> bool:
    """Whether a node is an end that the agent reached."""
    return is_terminal(node) and not _FINISHED.isdisjoint(node.tools)


def reward_of(node: Node) -> tuple[float | None, Fields]:
    """Return the reward of a node, and what was said with it."""
    stated = node.given.get("reward")
    judged = loose.mapping(stated)
    return loose.number(judged.get("value") if judged else stated), judged


def patch_of(node: Node) -> str | None:
    """Return what a node and those before it changed in files; None if nothing."""
    files = loose.mappings(loose.mapping(node.given.get("file_context")).get("files"))
    return "".join(patch for one in files if (patch := loose.text(one.get("patch")))) or None


def error_of(node: Node) -> Fields | None:
    """Return why a node could not be carried out; None if it could."""
    said = loose.text(node.given.get("error"))
    if said is None:
        if NOT_BUILT not in node.tools:
            return None
        action = loose.mapping(node.steps[-1].get("action"))
        message = loose.text(action.get("error")) or loose.text(node.last.get("message"))
        return {"type": NOT_BUILT, "message": message or ""}
    first, _, rest = said.partition("\n")
    kind, colon, message = first.partition(": ")
    failure: Fields = {"type": kind if colon else "error", "message": message if colon else first}
    return failure | ({"stack": said} if rest.strip() else {})


def failure_of(observed: Fields) -> Fields | None:
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
