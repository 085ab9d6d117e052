"""Reads the attributes of a span: which state a field, which are items of a list, which the rest.

Comes in: the attributes of a span. Goes out: a `Reading`, in which each attribute stands in exactly
one place. What a convention has no field for stays an attribute under its own name. Lists that were
spread over attributes (`llm.input_messages.0.message.role`) are put together again. Source: the
table in `semconv`.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from whence.ingest import bundles, semconv, stated, usage

_SCALARS = (str, int, float)
_MAX_WORDS = 16
_MAX_DIGITS = 9
_OPEN = ("{", "[", '"')

_ANY = ("agent", "error_type", "error_message")
_CALL = (
    "provider",
    "model",
    "response_model",
    "operation",
    "response_id",
    "finish_reason",
    "prompt_name",
    "prompt_version",
    "prompt_template",
    "seed",
    "first_chunk_s",
    "first_chunk_ms",
    "instructions",
    "messages",
    "answers",
    "answer_calls",
    "thoughts",
    "tools",
    "invocation",
    "cost",
    "cost_in",
    "cost_out",
    "query",
    "input",
    "output",
)
_TOOL = ("tool_name", "tool_type", "tool_input", "tool_output")
_HANDOFF = ("from_agent", "to_agent")
_LIST_PREFIXES = tuple(semconv.LISTS)
_NAME_OF_LIST = {name: prefix[:-1] for prefix, name in reversed(semconv.LISTS.items())}
_LISTS_OF_CALLS = ("messages", "answers", "tools", "embeddings")
_DATA = frozenset(
    {
        "instructions",
        "messages",
        "answers",
        "answer_calls",
        "tools",
        "invocation",
        "query",
        "documents",
        "input",
        "output",
        "tool_input",
        "tool_output",
        "to_agent",
        "finish_reason",
    }
)
"""Fields that hold any value; the others hold a text or a number."""


def _places(*fields: str) -> dict[str, tuple[str, int]]:
    """Return attribute name to its field and rank; a name of two fields goes to the first."""
    made: dict[str, tuple[str, int]] = {}
    for field in fields:
        for rank, name in enumerate(semconv.FIELDS[field]):
            made.setdefault(name, (field, rank))
    return made


_PLACES = {
    **dict.fromkeys(semconv.SPAN_KIND, _places(*_ANY, "input", "output")),
    **dict.fromkeys(semconv.CALLS, _places(*_ANY, *_CALL)),
    semconv.TOOL: _places(*_ANY, *_TOOL),
    semconv.RETRIEVER: _places(*_ANY, "query", "documents", "input", "output"),
    semconv.HANDOFF: _places(*_ANY, *_HANDOFF, "input", "output"),
}
_NO_PLACES = _places("error_type", "error_message", "input", "output")
_READ_NAMES = semconv.TELLING_NAMES.union(_NO_PLACES)


class Reading(msgspec.Struct, gc=False):
    """The attributes of one span, sorted."""

    what: str | None
    """What the span is, a word of `semconv`; None if it is none of AI."""
    fields: dict[str, Any] = {}
    """Field to value."""
    lists: dict[str, list[Any]] = {}
    """Name of a list to its items."""
    stated: dict[str, Any] = {}
    """What was stated about tokens, under the source's own names."""
    parameters: dict[str, Any] = {}
    """Parameters of a model call."""
    rest: dict[str, Any] = {}
    """All other attributes."""

    def put_back(self, name: str) -> None:
        """Make attributes of a list again that has no place among the records."""
        items = self.lists.pop(name, None)
        if items:
            self.rest[_NAME_OF_LIST.get(name, name)] = items


def read(attributes: dict[str, Any], what: str | None = None) -> Reading:
    """Return the attributes of a span, sorted.

    Args:
        attributes: The attributes.
        what: What the span is, a word of `semconv`, where that is known from elsewhere.
    """
    if what is None:
        if _READ_NAMES.isdisjoint(attributes):  # asked once: most spans have nothing to be read
            return Reading(None, rest=attributes)
        what = semconv.what_it_is(attributes)
        if what is None:
            return _read_plain(attributes)
    return _read_as(what, attributes)


def _read_as(what: str, attributes: dict[str, Any]) -> Reading:
    is_call = what in semconv.CALLS
    if is_call and not bundles.NAMES.isdisjoint(attributes):
        attributes = _opened(attributes)
    places = _PLACES[what]
    found: dict[str, tuple[int, str, Any]] = {}
    reading = Reading(what)
    rest = reading.rest
    trees: dict[str, dict[str, Any]] = {}
    for name, value in attributes.items():
        place = places.get(name)
        if place is not None:
            _choose(found, place, name, value, rest)
        elif name.startswith(_LIST_PREFIXES) and _plant(trees, name, value):
            continue
        elif not is_call or not _of_call(reading, name, value):
            rest[name] = value
    for field, (_, name, value) in found.items():
        reading.fields[field] = _parsed(name, value, rest)
    for list_name, tree in trees.items():
        reading.lists[list_name] = _listed(tree)
    if not is_call:
        for list_name in _LISTS_OF_CALLS:
            reading.put_back(list_name)
    return reading


def _opened(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return attributes with the parts of their bundles; what is stated singly stays.

    Figures of two statements are not mixed. What is nothing but the messages is not kept a second
    time.
    """
    made = dict(attributes)
    is_stated = any(map(usage.is_figure, attributes))
    for name in sorted(bundles.NAMES & attributes.keys()):
        whole = json_of(attributes[name])
        parts = bundles.parts_of(name, whole)
        for part, value in parts.items():
            if not (is_stated and usage.is_figure(part)):
                made.setdefault(part, value)
        said = (made.get("gen_ai.input.messages"), made.get("gen_ai.output.messages"))
        if parts and (whole in said or [whole] in said):
            del made[name]
    return made


def _choose(
    found: dict[str, tuple[int, str, Any]],
    place: tuple[str, int],
    name: str,
    value: Any,
    rest: dict[str, Any],
) -> None:
    """Take a value for its field unless a better name states it; what is not taken goes to rest."""
    field, rank = place
    known = found.get(field)
    if not isinstance(value, _SCALARS) and (field not in _DATA or value is None):
        rest[name] = value
    elif known is None:
        found[field] = (rank, name, value)
    elif rank < known[0]:
        rest[known[1]] = known[2]
        found[field] = (rank, name, value)
    else:
        rest[name] = value


def _read_plain(attributes: dict[str, Any]) -> Reading:
    """Return the reading of a span of no AI: an input, an output or an error at most."""
    reading = Reading(None, rest=dict(attributes))
    for name in attributes:
        place = _NO_PLACES.get(name)
        if place is not None and place[0] not in reading.fields:
            value = reading.rest.pop(name)
            if value is None:
                continue
            reading.fields[place[0]] = _parsed(name, value, reading.rest)
    return reading


def _of_call(reading: Reading, name: str, value: Any) -> bool:
    """Take what only a model call has; return whether it was that."""
    if name.startswith(semconv.USAGE_PREFIXES) or usage.is_figure(name):
        number = _number(value)
        if number is None:
            return False
        reading.stated[name] = number
        return True
    parameter = semconv.PARAMETERS.get(name)
    if parameter is None:
        for prefix in semconv.PARAMETER_PREFIXES:
            if name.startswith(prefix):
                parameter = name[len(prefix) :]
                break
    if parameter is None or parameter in reading.parameters:
        return False
    reading.parameters[parameter] = json_of(value) if name in semconv.JSON_TEXTS else value
    return True


def _number(value: Any) -> int | float | None:
    """Return a number, also one written as text: Micrometer has attributes of text alone."""
    if isinstance(value, (int, float)):
        return None if isinstance(value, bool) else value
    return stated.figure(value)


def _parsed(name: str, value: Any, rest: dict[str, Any]) -> Any:
    """Return a value; as data where the convention says that the text is JSON."""
    if not isinstance(value, str):
        return value
    mime_name = semconv.MIME_TYPES.get(name)
    if mime_name is not None:
        mime = rest.get(mime_name)
        if mime == "application/json":
            del rest[mime_name]
            return json_of(value)
        return value
    return json_of(value) if name in semconv.JSON_TEXTS else value


def json_of(value: Any) -> Any:
    """Return a text of JSON as data; the text itself if it is none."""
    if not isinstance(value, str) or not value.lstrip()[:1].startswith(_OPEN):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return value


def _plant(trees: dict[str, dict[str, Any]], name: str, value: Any) -> bool:
    """Put an item's field where it belongs in its list; return False if the name has no index."""
    prefix = next(p for p in _LIST_PREFIXES if name.startswith(p))
    words = name[len(prefix) :].split(".", _MAX_WORDS)
    if not words[0].isdecimal() or len(words[0]) > _MAX_DIGITS:
        return False
    node = trees.setdefault(semconv.LISTS[prefix], {})
    for word in words[:-1]:
        inner = node.get(word)
        if not isinstance(inner, dict):
            made: dict[str, Any] = {} if inner is None else {"": inner}
            node[word] = inner = made
        node = cast("dict[str, Any]", inner)
    last = words[-1]
    if isinstance(node.get(last), dict):
        node[last][""] = value
    else:
        node[last] = value
    return True


def _listed(tree: dict[str, Any]) -> list[Any]:
    items = _grown(tree)
    return cast("list[Any]", items) if isinstance(items, list) else [items]


def _grown(node: Any) -> Any:
    """Return a tree of words as data: indices become lists, words around an item are taken off."""
    if not isinstance(node, dict):
        return node
    tree = cast("dict[str, Any]", node)
    if all(word.isdecimal() for word in tree):
        return [_grown(tree[word]) for word in sorted(tree, key=int)]
    if len(tree) == 1:
        ((word, inner),) = tree.items()
        if word in semconv.WRAPPERS and isinstance(inner, dict):
            return _grown(inner)
    return {word: _grown(inner) for word, inner in tree.items()}


def figures(reading: Reading) -> usage.Figures:
    """Return the token figures that a span states."""
    return usage.figures(reading.stated)
