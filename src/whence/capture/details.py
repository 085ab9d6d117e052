"""Brings the structured arguments of verbs into record form.

Options, factors, usage, generations and tool calls.

Comes in: what the user wrote, in any of the accepted forms. Goes out: clean values for the fields
of a record. Nothing is guessed: a form that is not known is kept as a value rather than dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from whence import _clock, _ids, _interrupts
from whence.capture import emit, resent, state, values
from whence.log import lines
from whence.record import codec
from whence.record.decision import Option
from whence.record.generation import Generation, ToolCall, Transformation
from whence.record.run import Update
from whence.record.values import INT_MAX, INT_MIN

if TYPE_CHECKING:
    from whence.capture.values import Put
    from whence.capture.verbs import Verbs

_TOOL_CALL = emit.shape(
    ToolCall,
    error=lines.UNKNOWN,
    duration_s=lines.UNKNOWN,
    duration_ms=lines.UNKNOWN,
    attributes=lines.NAMED,
)
_GENERATION = emit.shape(
    Generation,
    prompt_template=lines.SHARED_TEXT,
    messages=lines.MESSAGES,
    parameters=lines.SHARED_MAPPING,
    usage=lines.MADE,
    media=lines.UNKNOWN,
    error=lines.UNKNOWN,
    first_chunk_ms=lines.UNKNOWN,
    first_chunk_s=lines.UNKNOWN,
    duration_ms=lines.UNKNOWN,
    duration_s=lines.UNKNOWN,
    attributes=lines.GIVEN,
)
_TRANSFORMATION = emit.shape(Transformation)
_UPDATE = emit.shape(
    Update,
    has_id=False,
    input=lines.SHARED,
    output=lines.SHARED,
    attributes=lines.NAMED,
)
_OPTION_KEYS = ("name", "probability", "score", "reason_rejected", "chosen")
_SHOWN_CHARS = 200
_GENERATION_TEXT = frozenset(
    {
        "name",
        "provider",
        "model",
        "response_model",
        "operation",
        "response_id",
        "prompt_name",
        "prompt_version",
        "finish_reason",
        "cost_source",
        "status",
    }
)
_SHARED = frozenset({"messages", "prompt_template", "parameters"})
_MARK = "$whence"
_current = state.current
_wall = _clock.wall_ns
_text = values.text
_number = values.number
_is_plain = values.is_plain


def mapping(value: Any, put: Put) -> dict[str, Any]:
    """Return a mapping's clean copy.

    Anything that is no mapping with text keys comes under the key `value`.
    """
    if type(value) is dict and _is_plain(value):
        return cast("dict[str, Any]", value)
    clean = values.snapshot(value, put)
    if isinstance(clean, dict) and cast("dict[str, Any]", clean).get(_MARK, "pairs") == "pairs":
        return cast("dict[str, Any]", clean)
    return {"value": clean}


def attributes(given: dict[str, Any], put: Put) -> dict[str, Any]:
    """Return keyword arguments as clean attributes, to which later ones may be added key by key."""
    clean = values.clean(given, put)
    if _MARK not in clean and all(map(str.isascii, clean)):
        return clean
    # A key that JSON cannot hold, or that is ours, would make a marker of the whole mapping.
    odd = {key: value for key, value in given.items() if key == _MARK or not values.is_short(key)}
    if not odd:
        return clean
    made = values.clean({key: value for key, value in given.items() if key not in odd}, put)
    return {**made, "odd_keys": values.snapshot(odd, put)}


_attributes = attributes


def texts(items: Any) -> list[str]:
    """Return each item as text; a single one as a list of itself."""
    return [_text(item) for item in _items(items)]


def _items(given: Any) -> list[Any]:
    """Return the items of a collection.

    Anything that is none, or will not be iterated, is the only one.
    """
    if isinstance(given, (str, bytes, bytearray)):
        return [given]
    try:
        return list(given)
    except Exception as error:  # noqa: BLE001 - iterating a user's object runs the user's code
        _interrupts.pass_on(error)
        return [given]


def whole_number(value: Any) -> int | None:
    """Return `value` as a 64-bit integer, or None."""
    number = _number(value)
    return None if number is None else _within_64_bits(round(number))


def _within_64_bits(value: int) -> int | None:
    return value if INT_MIN <= value <= INT_MAX else None


def id_of(thing: Any) -> str:
    """Return the id of a run, span or record, or the text itself."""
    if type(thing) is str:
        return thing
    try:
        return _text(getattr(thing, "id", thing))
    except Exception as error:  # noqa: BLE001 - asking a user's object for anything runs the user's code
        _interrupts.pass_on(error)
        return _text(thing)


def _find_mapping(value: Any) -> dict[Any, Any] | None:
    """Return a mapping as a dict; None for anything else, or if it cannot be read."""
    if type(value) is dict:
        return cast("dict[Any, Any]", value)
    try:
        return dict(cast("Mapping[Any, Any]", value)) if isinstance(value, Mapping) else None
    except Exception as error:  # noqa: BLE001 - as in `id_of`
        _interrupts.pass_on(error)
        return None


def options(given: Sequence[Any] | Mapping[str, Any], chosen: Any, put: Put) -> list[Any]:
    """Return options given as names, as `{name: probability}` or as mappings.

    An option counts as chosen when it says so, or when its name equals what was decided.
    """
    # Comparing with an object of the user's may raise, or not give a boolean.
    if type(chosen) is not str:
        chosen = _text(chosen) if issubclass(type(chosen), (str, int, float, Enum)) else None
    pairs = None if type(given) is list else _find_mapping(given)
    if pairs is not None:
        return [_option({"name": k, "probability": v}, chosen, put) for k, v in pairs.items()]
    made: list[Any] = []
    # Casts would cost a call for every decision, and another for every option.
    items: Any = given if type(given) is list else _items(given)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    for item in items:
        kind: Any = type(item)  # pyright: ignore[reportUnknownVariableType]
        try:
            if kind is dict and len(item) == 2:  # noqa: PLR2004 - a name and a reason: what most callers give
                name, reason = item.get("name"), item.get("reason_rejected")
                if type(name) is str and type(reason) is str and name != chosen:
                    made.append(item)  # it has the form of an Option already
                    continue
            fields = None if kind is str else _find_mapping(item)
            if fields is not None:
                made.append(_option(fields, chosen, put))
                continue
        except Exception as error:  # noqa: BLE001 - a key that is no text may not want to be compared
            _interrupts.pass_on(error)
            kind = None
        name = item if kind is str else _text(item)
        made.append(Option(name, chosen=name == chosen))
    return made


def _option(item: Mapping[str, Any], chosen: Any, put: Put) -> Option:
    get = item.get
    name = get("name")
    if name is None and "name" not in item:  # it is what the option is
        return Option(_text(item), chosen=_text(item) == chosen, attributes=mapping(item, put))
    name = name if type(name) is str else _text(name)
    reason = get("reason_rejected")
    probability, score, says_chosen = get("probability"), get("score"), get("chosen")
    known = (
        1
        + (probability is not None)
        + (score is not None)
        + (reason is not None)
        + (says_chosen is not None)
    )
    others = None
    stated = {"probability": probability, "score": score}
    odd = {} if probability is score is None else unheld(stated)
    if odd or len(item) > known:
        rest = {key: value for key, value in item.items() if key not in _OPTION_KEYS} | odd
        others = mapping(rest, put) if rest else None
    return Option(
        name,
        probability=None if probability is None else _number(probability),
        score=None if score is None else _number(score),
        reason_rejected=None if reason is None else _text(reason),
        chosen=name == chosen if says_chosen is None else truth(says_chosen),
        attributes=others,
    )


def truth(value: Any) -> bool:
    """Return `value` as a boolean; False for what will not be one."""
    try:
        return bool(value)
    except Exception as error:  # noqa: BLE001 - as in `id_of`; an array, too, has no one truth
        _interrupts.pass_on(error)
        return False


def factors(given: Sequence[Any] | Mapping[str, Any], put: Put) -> list[dict[str, Any]]:
    """Return factors given as mappings or as `{name: weight}`, each with its contribution."""
    weights = None if type(given) is list else _find_mapping(given)
    items = (
        _items(given) if weights is None else [{"name": k, "weight": v} for k, v in weights.items()]
    )
    made: list[dict[str, Any]] = []
    for item in items:
        kind: Any = type(item)  # pyright: ignore[reportUnknownVariableType]
        if kind is dict and _is_plain(item) and item.get("normalized_value") is None:
            made.append(item)
            continue
        fields = _find_mapping(item)
        factor = mapping({"name": _text(item)} if fields is None else fields, put)
        normal, weight = _number(factor.get("normalized_value")), _number(factor.get("weight"))
        if normal is not None and weight is not None and factor.get("contribution") is None:
            factor = {**factor, "contribution": _number(normal * weight)}
        made.append(factor)
    return made


_RUN_FIELDS = ("external_id", "workflow", "session", "conversation", "user")
_UNSAID = frozenset({"tags", "fields"})
"""Fields of an update that no keyword states: such a keyword is an attribute."""
_UNSAID_OF_RUNS = _UNSAID.union(_RUN_FIELDS)
_UPDATE_FIELDS = frozenset(
    {"input", "output", "status", "algorithm", "input_count", "output_count", *_RUN_FIELDS}
)


def emit_update(scope: Verbs, attributes: dict[str, Any], tags: list[str] | None = None) -> None:
    """Write what became known about an open run or span: keywords of `set`, or tags."""
    now = _wall()
    put = state.put_blob
    unsaid = _UNSAID_OF_RUNS if scope.span_id is None else _UNSAID
    if (
        attributes
        and tags is None
        and unsaid.isdisjoint(attributes)
        and emit.write_fields(scope, _UPDATE, now, None, attributes)
    ):
        return
    if _UPDATE_FIELDS.isdisjoint(attributes):
        if attributes or tags:
            if emit.write_plain(scope, _UPDATE, now, attributes or None, tags):
                return
            made = _attributes(attributes, put) if attributes else None
            line = _UPDATE.line(v=_UPDATE.head, run=scope.envelope, attributes=made, tags=tags)
            emit.write(scope, _UPDATE, line, now)
        return
    shared = {
        key: values.clean(attributes.pop(key), put)
        for key in ("input", "output")
        if key in attributes
    }
    status, algorithm = attributes.pop("status", None), attributes.pop("algorithm", None)
    known: dict[str, Any] = {}
    if scope.span_id is None:
        known = {key: _text(attributes.pop(key)) for key in _RUN_FIELDS if key in attributes}
    fields: dict[str, Any] = {
        "status": None if status is None else _text(status),
        "algorithm": None if algorithm is None else _text(algorithm),
        "input_count": whole_number(attributes.pop("input_count", None)),
        "output_count": whole_number(attributes.pop("output_count", None)),
        "attributes": _attributes(attributes, put) if attributes else None,
        "fields": known or None,
    }
    resent.write_shared(scope, _UPDATE, fields, now, shared)


def error_field(given: Any, put: Put) -> dict[str, Any] | None:
    """Return an error given as exception, text or mapping."""
    if given is None:
        return None
    if issubclass(type(given), BaseException):
        from whence.capture import failures  # noqa: PLC0415 - most programs that record do not fail

        return failures.describe(given)
    fields = _find_mapping(given)
    if fields is not None:
        return mapping(fields, put)
    return {"type": "error", "message": _text(given)}


def _join_error(fields: dict[str, Any]) -> None:
    """Put the `error_type` of a call, which is how rows call it, into its error."""
    kind, error = fields.pop("error_type"), fields.get("error")
    if kind is None:
        return
    described = error_field(error, state.put_blob) or {}
    if described.get("type", "error") == "error":  # else the error says itself of what type it is
        fields["error"] = {**described, "type": _text(kind)}


def unheld(
    numbers: dict[str, Any], held: Callable[[Any], float | None] = _number
) -> dict[str, Any]:
    """Return those of some values that their fields cannot hold, to be attributes instead."""
    return {
        key: value for key, value in numbers.items() if value is not None and held(value) is None
    }


def tell_unheld(scope: Verbs, name: str, numbers: dict[str, Any]) -> None:
    """Write, as an event, what was given for the numbers of a record that has no attributes."""
    odd = unheld(numbers)
    shown = _text(name)[:_SHOWN_CHARS]
    scope.event(f"{shown}: no number in {', '.join(odd)}", level="warning", given=odd)


def emit_generation(scope: Verbs, fields: dict[str, Any]) -> str:
    """Write a generation record from keyword arguments and return its id."""
    now = _wall()
    if "duration_ns" not in fields:
        _state_nanoseconds(fields)
    if "error_type" in fields:
        _join_error(fields)
    return _generation_at_once(scope, fields, now) or _generation_by_field(scope, fields, now)


def _generation_at_once(scope: Verbs, fields: dict[str, Any], now_ns: int) -> str | None:
    """Write a generation of plain values in one call; return None if there are others."""
    if _current.direct_fields is None:
        return None
    given = dict(fields)  # another path may need them as they are
    if given.get("cost_usd") is not None and given.get("cost_source") is None:
        given["cost_source"] = "declared"
    stated, provider = given.get("usage"), given.get("provider")
    if stated is not None:
        if type(stated) is not dict or not lines.are_plain((stated,)):  # pyright: ignore[reportUnknownArgumentType]
            return None
        if provider is not None and type(provider) is not str:
            return None
        try:
            given["usage"] = codec.encode_json(_usage().from_stated(stated, provider))
        except emit.UNENCODABLE as error:
            _interrupts.pass_on(error)
            return None
    name = given.pop("name", None)
    if type(given.get("messages")) is list:
        return resent.write_conversation(scope, _GENERATION, now_ns, name, given)
    return emit.write_fields(scope, _GENERATION, now_ns, name, given)


def _usage() -> Any:
    from whence.record import usage  # noqa: PLC0415 - importing whence has to be quick

    return usage


def _generation_by_field(  # noqa: C901, PLR0912 - one branch a field or form
    scope: Verbs, fields: dict[str, Any], now_ns: int
) -> str:
    record_id = _ids.new_id()
    made: dict[str, Any] = {"id": record_id}
    shared: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for key, value in fields.items():
        if value is None:
            continue
        if key in _GENERATION_TEXT:
            made[key] = value if type(value) is str else _text(value)
        elif key in _SHARED:
            keep = key in {"prompt_template", "parameters"}  # brought into their forms below
            shared[key] = value if keep else values.clean(value, state.put_blob)
        elif key in _GENERATION_OTHER:
            if _GENERATION_OTHER[key](made, key, value) is False:
                others[key] = value
        else:
            others[key] = value
    usage_stated = made.pop("usage_stated", None)
    if usage_stated is not None:
        made["usage"] = _usage().from_stated(usage_stated, made.get("provider"))
    if made.get("cost_usd") is not None:
        made.setdefault("cost_source", "declared")
    if "error" in made:
        made.setdefault("status", "error")
    messages = shared.get("messages")
    if messages is not None and not isinstance(messages, list):
        shared["messages"] = [messages]
    if "parameters" in shared:
        shared["parameters"] = mapping(shared["parameters"], state.put_blob)
    if "prompt_template" in shared:
        template = _text(shared.pop("prompt_template"))
        (shared if values.is_short(template) else made)["prompt_template"] = template
    if others:
        made["attributes"] = mapping(others, state.put_blob)
    resent.write_shared(scope, _GENERATION, made, now_ns, shared)
    return record_id


def _set_value(made: dict[str, Any], key: str, value: Any) -> None:
    made[key] = value if type(value) is str else values.clean(value, state.put_blob)


def _set_usage(made: dict[str, Any], _key: str, value: Any) -> None:
    if type(value) is not dict:
        from whence.record.attributes import as_mapping  # noqa: PLC0415 - most usages are mappings, and importing whence has to be quick

        value = as_mapping(value)
    made["usage_stated"] = values.clean(value, state.put_blob)


def _set_number(made: dict[str, Any], key: str, value: Any) -> bool:
    made[key] = _number(value)
    return made[key] is not None


def _set_whole(made: dict[str, Any], key: str, value: Any) -> bool:
    made[key] = whole_number(value)
    return made[key] is not None


def _set_mapping(made: dict[str, Any], key: str, value: Any) -> None:
    made[key] = mapping(value, state.put_blob)


def _set_media(made: dict[str, Any], key: str, value: Any) -> None:
    items = cast("list[Any]", value) if type(value) in (list, tuple) else [value]
    made[key] = [mapping(item, state.put_blob) for item in items]


def _set_error(made: dict[str, Any], key: str, value: Any) -> None:
    made[key] = error_field(value, state.put_blob)


def _set_duration(made: dict[str, Any], key: str, value: Any) -> bool:
    name, _, unit = key.rpartition("_")
    number = _number(value)
    if number is None:
        return False
    factor = {"ns": 1, "ms": 1_000_000, "s": 1_000_000_000}[unit]
    made[f"{name}_ns"] = whole_number(number * factor)
    return True


_GENERATION_OTHER: dict[str, Callable[[dict[str, Any], str, Any], bool | None]] = {
    "output": _set_value,
    "reasoning": _set_value,
    "usage": _set_usage,
    "cost_usd": _set_number,
    "attempt": _set_whole,
    "seed": _set_whole,
    "price": _set_mapping,
    "policy": _set_mapping,
    "media": _set_media,
    "error": _set_error,
    "duration_ns": _set_duration,
    "duration_ms": _set_duration,
    "duration_s": _set_duration,
    "first_chunk_ns": _set_duration,
    "first_chunk_ms": _set_duration,
    "first_chunk_s": _set_duration,
}


def emit_tool_call(scope: Verbs, tool_name: str, fields: dict[str, Any]) -> str:
    """Write a tool call record from keyword arguments, which are used up, and return its id."""
    now = _wall()
    if "duration_ns" not in fields:
        _state_nanoseconds(fields)
    if "error_type" in fields:
        _join_error(fields)
    direct = _current.direct_fields
    if direct is not None:
        written = direct(_TOOL_CALL.template, scope.envelope, now, tool_name, fields, -1)
        if written is not None:
            return written
    record_id = _ids.new_id()
    put = state.put_blob
    pop = fields.pop
    given, got = pop("input", None), pop("output", None)
    problem, status, tool_type = pop("error", None), pop("status", None), pop("tool_type", None)
    duration_ns = _nanoseconds(fields, "duration")
    if status is None:
        status = "ok" if problem is None else "error"
    line = _TOOL_CALL.line(
        v=_TOOL_CALL.head,
        run=scope.envelope,
        id=record_id,
        tool_name=tool_name if type(tool_name) is str else _text(tool_name),
        tool_type=tool_type if tool_type is None or type(tool_type) is str else _text(tool_type),
        input=given if given is None or type(given) is str else values.clean(given, put),
        output=got if got is None or type(got) is str else values.clean(got, put),
        duration_ns=duration_ns,
        status=_text(status),
        error=error_field(problem, put),
        **(_rest_of_tool_call(fields, put) if fields else {}),
    )
    emit.write(scope, _TOOL_CALL, line, now)
    return record_id


def _rest_of_tool_call(fields: dict[str, Any], put: Put) -> dict[str, Any]:
    pop = fields.pop
    cache_hit, cache_key = pop("cache_hit", None), pop("cache_key", None)
    # What is no number stays among the fields that become attributes.
    return {
        "cache_hit": None if cache_hit is None else truth(cache_hit),
        "cache_key": None if cache_key is None else _text(cache_key),
        "retry_count": _take(fields, "retry_count", whole_number),
        "rate_limit_delay_ms": _take(fields, "rate_limit_delay_ms", _number),
        "attributes": mapping(fields, put) if fields else None,
    }


def emit_transformation(scope: Verbs, name: str, fields: dict[str, Any]) -> str:
    """Write a transformation record from keyword arguments and return its id."""
    now = _wall()
    record_id = _ids.new_id()
    put = state.put_blob
    fields = dict(fields)
    pop = fields.pop
    method, parameters = pop("method", None), pop("parameters", None)
    shapes = ("input_schema", "output_schema", "input_sample", "output_sample")
    made: dict[str, Any] = {key: values.clean(pop(key), put) for key in shapes if key in fields}
    line = _TRANSFORMATION.line(
        v=_TRANSFORMATION.head,
        run=scope.envelope,
        id=record_id,
        name=_text(name),
        method=None if method is None else _text(method),
        parameters=None if parameters is None else mapping(parameters, put),
        input_size=_take(fields, "input_size", whole_number),
        output_size=_take(fields, "output_size", whole_number),
        duration_ns=_nanoseconds(fields, "duration"),
        attributes=mapping(fields, put) if fields else None,
        **made,
    )
    emit.write(scope, _TRANSFORMATION, line, now)
    return record_id


def _take(fields: dict[str, Any], key: str, held: Callable[[Any], float | None]) -> Any:
    """Take a number out of the fields, and leave there what is none."""
    made = held(fields.get(key))
    if made is not None or fields.get(key) is None:
        fields.pop(key, None)
    return made


def _state_nanoseconds(fields: dict[str, Any]) -> None:
    """State a duration in milliseconds, as most do, in nanoseconds."""
    if "duration_ms" in fields:
        number = _number(fields["duration_ms"])
        if number is not None:
            fields["duration_ns"] = whole_number(number * 1_000_000)
            del fields["duration_ms"]


def _nanoseconds(fields: dict[str, Any], name: str) -> int | None:
    """Take `<name>_ns`, `<name>_ms` or `<name>_s` from the fields, in nanoseconds."""
    given = [
        (_take(fields, f"{name}_{unit}", _number), factor)
        for unit, factor in (("ns", 1), ("ms", 1_000_000), ("s", 1_000_000_000))
    ]
    stated = [number * factor for number, factor in given if number is not None]
    return whole_number(stated[0]) if stated else None
