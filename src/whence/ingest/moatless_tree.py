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
from typing import TYPE_CHECKING

from whence.errors import IngestError
from whence.ingest import json_files, keys, loose
from whence.ingest.moatless_calls import began_ns, of_answer, of_attempt
from whence.ingest.moatless_nodes import (
    BUILD,
    NOT_BUILT,
    TOLD,
    Call,
    Node,
    answer_id,
    error_of,
    failure_of,
    is_duplicate,
    is_finished,
    is_same,
    is_terminal,
    name_of,
    nodes_of,
    patch_of,
    reward_of,
)
from whence.ingest.timeline import NO_ANSWER, Timeline
from whence.record.decision import Decision, Option
from whence.record.generation import Generation
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Output, Score

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known, Skipped, Source
    from whence.ingest.loose import Fields
    from whence.record.base import Record

_OF_TREE = frozenset({"max_expansions", "max_iterations"})
_OF_NODE = (b'"file_context"', b'"action_steps"', b'"completions"', b'"possible_actions"')
_ID = b'"node_id"'
_LEAF = b'"children"'
_HOLDERS = ("root", "nodes")
_OF_CALL = frozenset({"model", "input", "response", "usage", "attempts", "start_time", "end_time"})
_JUDGE = "value_function"
_REJECTED = "Reject"
_MOST_OPTIONS = 50


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
    nodes, left_out = nodes_of(held, source.name)
    if not nodes:
        raise IngestError(f"{source.name} has no nodes")
    settings = {} if held is content else {k: v for k, v in given.items() if k not in _HOLDERS}
    line = Timeline(keys.run_id("moatless-tree", json_files.fingerprint(content)))
    yield from _Run(settings, nodes, line).records()
    yield from left_out
    yield from skipped


class _Run:
    """One tree, while it is read."""

    def __init__(self, settings: Fields, nodes: list[Node], line: Timeline) -> None:
        self.settings = settings
        self.nodes = nodes
        self.line = line
        self.names = {node.place: name_of(node) for node in nodes}
        self.rewards = {node.place: reward_of(node)[0] for node in nodes}
        self.begins: dict[int, int] = {}
        """Place of a node to when its first call began, Unix time."""
        for node in nodes:
            times = [at for call in node.calls if (at := began_ns(call.given)) is not None]
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

    def _node(self, node: Node) -> Iterator[Record]:
        line, given, span = self.line, node.given, self._span(node.place)
        begins = self.begins.get(node.place)
        yield line.opened(
            span,
            self.names[node.place],
            "step",
            at_ns=begins,
            input=given.get("user_message") or given.get("message"),
            attributes={k: v for k, v in given.items() if k not in TOLD and v is not None} or None,
        )
        yield from self._came_from(node, span)
        for place, call in enumerate(node.calls):
            if call.name == BUILD:
                yield from self._call(call, (node.place, place), span, node)
        for place, (step, tool) in enumerate(zip(node.steps, node.tools, strict=True)):
            if tool != NOT_BUILT:
                yield from self._step(node, step, tool, place)
        for place, call in enumerate(node.calls):
            if call.name != BUILD:
                yield from self._call(call, (node.place, place), span, node)
        yield from self._reward(node, span)
        yield from self._output(node, span)
        yield from self._closed(node, span)

    def _came_from(self, node: Node, span: str) -> Iterator[Record]:
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

    def _chosen(self, node: Node, parent: int, span: str) -> Iterator[Decision]:
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

    def _step(self, node: Node, step: Fields, tool: str, place: int) -> Iterator[Record]:
        """Yield one action: why it was taken, and what was observed."""
        line, span = self.line, self._span(node.place)
        action, observed = loose.mapping(step.get("action")), loose.mapping(step.get("observation"))
        given = {k: v for k, v in action.items() if k != "action_args_class"}
        why = loose.text(action.get("thoughts")) or loose.text(action.get("scratch_pad"))
        if why is None and place == 0:
            why = loose.text(loose.mapping(node.given.get("thoughts")).get("text"))
        if why is not None:
            model = next((c.given.get("model") for c in node.calls if c.name == BUILD), None)
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
        if not observed and is_duplicate(node):
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
            error=failure_of(observed),
            tool_type="function",
            input=given,
            output=observed.get("message"),
            retry_count=loose.count(properties.get("retries")),
            attributes={k: v for k, v in kept.items() if v} or None,
            **fields,
        )

    def _call(
        self,
        call: Call,
        place: tuple[int, int],
        span: str,
        node: Node,
    ) -> Iterator[Generation]:
        """Yield the calls of a model that a completion took: one for each attempt that it tells."""
        answer = answer_id(call.given)
        if answer is not None:
            first = self.answers.setdefault(answer, call.given)
            if first is not call.given and is_same(first, call.given):
                return  # a node that was copied has the completions of the one it is a copy of
        attempts = loose.mappings(call.given.get("attempts"))
        for number, attempt in enumerate(attempts):
            told = of_attempt(attempt, number)
            if number + 1 == len(attempts) and call.name == BUILD and "error" not in told:
                told["output"] = node.given.get("assistant_message")
            yield self._generation(call, (*place, number), span, told)
        if not attempts:
            yield self._generation(call, place, span, of_answer(call.given))

    def _generation(
        self, call: Call, place: tuple[int, ...], span: str, told: Fields
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

    def _reward(self, node: Node, span: str) -> Iterator[Score]:
        value, judged = reward_of(node)
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

    def _output(self, node: Node, span: str) -> Iterator[Output]:
        """Yield what a node that finished came to."""
        if not is_finished(node):
            return
        patch = patch_of(node)
        said = loose.text(node.last.get("message"))
        yield Output(
            **self.line.point("finished", node.place, span=span),
            output_id=f"finished-{self.line.run[:16]}-{node.place}",
            output_kind="answer" if patch is None else "patch",
            summary=said or self.names[node.place],
            value=said if patch is None else patch,
        )

    def _closed(self, node: Node, span: str) -> Iterator[Record]:
        line, failure, duplicate = (
            self.line,
            error_of(node),
            is_duplicate(node),
        )
        output = node.last.get("message") or node.given.get("assistant_message")
        if failure is not None:
            yield line.closed(span, status="error", error=failure, output=output)
        else:
            yield line.closed(span, status="cancelled" if duplicate else "ok", output=output)
        if node.parent is not None and (duplicate or failure is not None):
            self.failed[node.parent] = span
        elif node.last.get("expect_correction") is True:
            self.corrected[node.place] = span
        if not duplicate and not is_terminal(node):
            self.expandable[node.place] = loose.count(node.given.get("max_expansions")) or 1

    def _ended(self) -> Iterator[RunEnded]:
        """Yield how the search ended, if a node finished, or the last one failed or gave up."""
        last, error = self.nodes[-1], None
        if any(is_finished(node) for node in self.nodes):
            status = "complete"
        elif (failure := error_of(last)) is not None:
            status, error = "failed", failure
        elif _REJECTED in last.tools and is_terminal(last):
            said = loose.text(last.last.get("message")) or ""
            status, error = "failed", {"type": "rejected", "message": said}
        else:
            return
        yield RunEnded(ts=self.line.at(), run=self.line.run, status=status, error=error)
