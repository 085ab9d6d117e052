"""What a signal to the token manager has to carry: mappings go in, checked records come out.

Nothing is recorded here. Data that is wrong is refused with every single thing that is wrong with
it; a key that is not known is kept, never dropped. Source: document 2 (token provenance).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from whence.dialects.tokens import numbers
from whence.dialects.tokens.provenance import (
    LIST_FIELDS,
    REQUIRED,
    TEXT_FIELDS,
    TokenProvenance,
)
from whence.dialects.tokens.usage import USD, Price, Prices, TokenUsage, find_price
from whence.errors import SignalError

TRACK = "track_usage"
MAX_ID_CHARS = 1_000
_MAX_TOKENS = 2**53
_USAGE_TEXTS = ("user_id", "project_id", "team_id", "feature")
_USAGE_KEYS = frozenset(
    {
        "request_id",
        "provider",
        "model",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "cost",
        "cost_usd",
        "currency",
        "timestamp",
        "usage_id",
        "metadata",
        "provenance",
        "duration_ms",
        *_USAGE_TEXTS,
    }
)
FindParent = Callable[[str], tuple[str, int] | None]
"""Gets a request id, returns its root and depth, None if nobody tracked it."""


class Tracked(msgspec.Struct, frozen=True):
    """One checked request to track."""

    usage: TokenUsage
    provenance: TokenProvenance
    relation: str
    """The type of the edge from the parent."""
    price: Price | None
    """What the cost was computed with; None if it was stated, or is unknown."""
    duration_ms: float | None
    """How long the call took, as stated."""


def tracked(data: Mapping[str, Any], prices: Prices, find_parent: FindParent) -> Tracked:
    """Return what a `track_usage` signal says.

    Args:
        data: The signal's data.
        prices: For costs that are not stated.
        find_parent: Asked for the lineage of the parent, if the signal does not state it.

    Raises:
        SignalError: Something is missing or wrong; `errors` says what.
    """
    errors: list[str] = []
    given = data.get("provenance")
    if not isinstance(given, Mapping) or not given:
        errors.append("provenance is required")
        given = {}
    provenance_data = dict(cast("Mapping[str, Any]", given))
    request_id = _id(data, "request_id", errors)
    usage, price = _usage(data, request_id, prices, errors)
    provenance = _provenance(provenance_data, request_id, usage, find_parent, errors)
    if errors or usage is None or provenance is None:
        raise SignalError(_said(TRACK, errors), signal=TRACK, errors=tuple(errors))
    return Tracked(
        usage,
        provenance,
        relation=str(provenance_data.get("relationship_type") or "triggered_by"),
        price=price,
        duration_ms=_duration_ms(data, provenance_data),
    )


def _said(signal: str, errors: Sequence[str]) -> str:
    return f"{signal} was refused: {'; '.join(errors)}"


def wanted(signal: str, data: Mapping[str, Any], key: str) -> str:
    """Return the one text that a query is about.

    Raises:
        SignalError: It is missing, or no text.
    """
    value = data.get(key)
    if not isinstance(value, str) or not value:
        error = f"{key} is required"
        raise SignalError(_said(signal, [error]), signal=signal, errors=(error,))
    return value


def limit(signal: str, data: Mapping[str, Any], key: str, default: int | None) -> int | None:
    """Return a limit that a query sets, or the default.

    Raises:
        SignalError: It is no whole number from 0.
    """
    value = data.get(key)
    if value is None:
        return default
    if type(value) is not int or value < 0:
        error = f"{key} must be a whole number from 0"
        raise SignalError(_said(signal, [error]), signal=signal, errors=(error,))
    return value


def _id(data: Mapping[str, Any], name: str, errors: list[str]) -> str:
    value = data.get(name)
    if value is None or value == "":
        errors.append(f"{name} is required")
    elif not isinstance(value, str):
        errors.append(f"{name} must be a text")
    else:
        _check_id(name, value, errors)
        return value
    return ""


def _check_id(name: str, value: str, errors: list[str]) -> None:
    """Refuse ids that the log could not hold exactly, since they could not be found again."""
    if len(value) > MAX_ID_CHARS:
        errors.append(f"{name} is longer than {MAX_ID_CHARS:,} characters")
    elif any("\ud800" <= char <= "\udfff" for char in value):
        errors.append(f"{name} holds half of a surrogate pair")


def _usage(
    data: Mapping[str, Any], request_id: str, prices: Prices, errors: list[str]
) -> tuple[TokenUsage | None, Price | None]:
    before = len(errors)
    fields: dict[str, Any] = {name: _required_text(data, name, errors) for name in _NAMES}
    fields |= {name: _tokens(data, name, errors) for name in ("prompt_tokens", "completion_tokens")}
    if data.get("total_tokens") is not None:
        fields["total_tokens"] = _tokens(data, "total_tokens", errors)
    metadata = _mapping(data, "metadata", errors)
    for name in _USAGE_TEXTS:
        value = data.get(name) if data.get(name) is not None else metadata.get(name)
        fields[name] = _optional_text(name, value, errors)
    fields["currency"] = _optional_text("currency", data.get("currency"), errors) or USD
    stated = data.get("cost") if data.get("cost") is not None else data.get("cost_usd")
    cost = numbers.as_money(stated)
    if stated is not None and cost is None:
        errors.append("cost must be an amount of money")
    moment = _moment(data, errors)
    if len(errors) > before:
        return None, None
    price = None
    if stated is None and fields["currency"] == USD:
        price = find_price(prices, fields["provider"], fields["model"])
        if price is not None:
            cost = price.cost(fields["prompt_tokens"], fields["completion_tokens"])
    if moment is not None:
        fields["timestamp"] = moment
    if data.get("usage_id"):
        fields["id"] = str(data["usage_id"])
    others = {name: value for name, value in data.items() if name not in _USAGE_KEYS}
    usage = TokenUsage(**fields, cost=cost, request_id=request_id, metadata={**others, **metadata})
    errors += usage.validate()
    return usage, price


_NAMES = ("provider", "model")


def _provenance(
    given: dict[str, Any],
    request_id: str,
    usage: TokenUsage | None,
    find_parent: FindParent,
    errors: list[str],
) -> TokenProvenance | None:
    if not given:
        return None
    errors += [
        f"{name} is required"
        for name in REQUIRED[2:]
        if given.get(name) is None or given[name] == ""
    ]
    errors += _wrong_types(given)
    parent = given.get("parent_request_id") or None
    if isinstance(parent, str):
        _check_id("parent_request_id", parent, errors)
    metadata = _mapping(given, "metadata", errors)
    moment = _moment(given, errors)
    if errors:
        return None
    fields = {name: value for name, value in given.items() if value is not None}
    fields |= {
        "request_id": request_id,
        "usage_id": usage.id if usage else "",
        "parent_request_id": parent,
        "metadata": metadata,
    }
    fields.pop("relationship_type", None)
    fields.pop("timestamp", None)
    if moment is not None or usage is not None:
        fields["timestamp"] = moment or (usage.timestamp if usage else None)
    if parent is not None and not {"root_request_id", "depth"} <= fields.keys():
        root, depth = find_parent(parent) or (parent, 0)
        fields = {"root_request_id": root, "depth": depth + 1, **fields}
    made = TokenProvenance.from_dict(fields)
    errors += made.validate()
    return made


def _wrong_types(given: Mapping[str, Any]) -> list[str]:
    errors = [
        f"{name} must be a text"
        for name in TEXT_FIELDS
        if given.get(name) is not None and not isinstance(given[name], str)
    ]
    for name in LIST_FIELDS:
        value = given.get(name)
        if value is not None and not (
            isinstance(value, (list, tuple))
            and all(isinstance(item, str) for item in cast("Sequence[Any]", value))
        ):
            errors.append(f"{name} must be a list of texts")
    depth = given.get("depth")
    if depth is not None and (type(depth) is not int or not 0 <= depth < _MAX_TOKENS):
        errors.append("depth must be a whole number from 0")
    relation = given.get("relationship_type")
    if relation is not None and not isinstance(relation, str):
        errors.append("relationship_type must be a text")
    return errors


def _required_text(data: Mapping[str, Any], name: str, errors: list[str]) -> str:
    value = data.get(name)
    if isinstance(value, str) and value:
        return value
    errors.append(
        f"{name} is required" if value is None or value == "" else f"{name} must be a text"
    )
    return ""


def _optional_text(name: str, value: Any, errors: list[str]) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    errors.append(f"{name} must be a text")
    return None


def _tokens(data: Mapping[str, Any], name: str, errors: list[str]) -> int:
    value = data.get(name)
    if value is None:
        errors.append(f"{name} is required")
    elif type(value) is not int or value >= _MAX_TOKENS:
        errors.append(f"{name} must be a whole number")
    elif value < 0:
        errors.append(f"{name} must be non-negative")
    else:
        return value
    return 0


def _mapping(data: Mapping[str, Any], name: str, errors: list[str]) -> dict[str, Any]:
    value = data.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        errors.append(f"{name} must be a mapping")
        return {}
    return {str(key): item for key, item in cast("Mapping[Any, Any]", value).items()}


def _moment(data: Mapping[str, Any], errors: list[str]) -> Any:
    value = data.get("timestamp")
    moment = numbers.as_moment(value)
    if value is not None and moment is None:
        errors.append("timestamp must be a time, or its RFC 3339 text")
    return moment


def _duration_ms(data: Mapping[str, Any], provenance: Mapping[str, Any]) -> float | None:
    value = data.get("duration_ms")
    value = provenance.get("processing_time_ms") if value is None else value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value < _MAX_TOKENS else None
