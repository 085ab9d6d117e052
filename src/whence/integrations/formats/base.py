"""What a form of a provider's API is, and the small readings that all forms share.

Everything that comes in was written by a provider or by a user and may have any shape: what is not
as documented is left out or kept as it is, and never raises.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, cast

import msgspec

Json = Mapping[str, Any]
Fields = dict[str, Any]
"""Keyword arguments of `record_generation`."""

EMPTY: Json = {}
_DATA_URL = re.compile(r"data:([^;,]*)(?:;[^;,]*)*;base64,")
_ENCODED = frozenset(
    {"data", "b64_json", "file_data", "result", "url", "image_url", "bytesBase64Encoded"}
)
_SAYS_TYPE = ("mimeType", "mime_type", "media_type", "format", "expires_at")
_MOST_LEVELS = 40


class Stream(Protocol):
    """What gathers the events of a streamed answer into the answer."""

    @property
    def finished(self) -> bool:
        """Whether the provider said that the answer is complete."""
        ...

    def add(self, event: Json) -> None:
        """Take one event."""
        ...

    def body(self) -> dict[str, Any]:
        """Return what came so far in the shape of an answer that is not streamed."""
        ...


class Form(msgspec.Struct, frozen=True):
    """One form of a provider's API."""

    operation: str
    """`chat`, `embeddings`, `image` and so on, as in the record."""
    asked: Callable[[Json], Fields]
    """Gets the body of a request, returns what the record says of it."""
    answered: Callable[[Json], Fields]
    """Gets the body of an answer, returns what the record says of it."""
    stream: Callable[[], Stream] | None = None
    """Makes what gathers a streamed answer; None where answers are not streamed."""
    heard: Callable[[bytes, str], Fields] | None = None
    """Gets an answer that is not JSON, and its content type."""
    ends: bool = False
    """Whether the event with which a stream is `finished` is its last: nothing is to be awaited."""
    lines: bool = False
    """Whether the answer is a file of JSON lines, to be taken line by line."""


def mapping(value: Any) -> Json:
    """Return `value` if it is a mapping, else an empty one."""
    return cast("Json", value) if isinstance(value, Mapping) else EMPTY


def mappings(value: Any) -> list[Json]:
    """Return the mappings in a list; an empty list for anything else."""
    if not isinstance(value, list):
        return []
    return [cast("Json", item) for item in cast("list[Any]", value) if isinstance(item, Mapping)]


def place(value: Any) -> int:
    """Return the place of something in a list that arrives in pieces; 0 where none is stated."""
    return value if isinstance(value, int) else 0


def items(value: Any) -> list[Any]:
    """Return the items of a list; an empty list for anything else."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def text(value: Any) -> str | None:
    """Return `value` if it is a text that says something, else None."""
    return value if isinstance(value, str) and value else None


def rest(body: Json, known: Collection[str]) -> dict[str, Any] | None:
    """Return what a body says beside the known keys; None if nothing."""
    return {key: value for key, value in body.items() if key not in known} or None


def cost_usd(usage: Any) -> float | None:
    """Return what a provider says that a call cost, in US dollars; None where it does not say.

    OpenRouter states a number, Perplexity the parts and their sum, xAI ticks of 1e-10 dollars.
    """
    stated = mapping(usage)
    cost = stated.get("cost")
    known = number(mapping(cost).get("total_cost") if isinstance(cost, Mapping) else cost)
    ticks = number(stated.get("cost_in_usd_ticks"))
    return ticks / 1e10 if known is None and ticks is not None else known


def number(value: Any) -> float | None:
    """Return `value` if it is a number, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value


def data_of(content: str | bytes) -> Any:
    """Return what a JSON text holds; the text itself if it is not JSON."""
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return content


def joined(words: list[Any]) -> str | None:
    """Return different words in their order as one text; None if there is none."""
    said = dict.fromkeys(word for word in words if isinstance(word, str) and word)
    return ", ".join(said) or None


def without_empty(fields: Json) -> dict[str, Any]:
    """Return a mapping without what says nothing: null, and empty texts and lists."""
    return {key: value for key, value in fields.items() if value not in (None, "", [], {})}


def decoded(encoded: str) -> bytes | None:
    """Return the bytes that a base64 text stands for; None if it is none."""
    # Some providers write base64 for URLs; neither alphabet uses the other's characters.
    plain = encoded.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def media(content: bytes, mime_type: str | None, direction: str) -> dict[str, Any]:
    """Return one entry of a record's `media`; the bytes become a blob when it is written."""
    made = {"direction": direction, "mime_type": mime_type or _sniffed(content), "data": content}
    return without_empty({**made, "size_bytes": len(content)})


def _sniffed(content: bytes) -> str | None:
    """Return the media type of the image formats that providers send."""
    for start, mime_type in (
        (b"\x89PNG\r\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
        (b"%PDF", "application/pdf"),
    ):
        if content.startswith(start):
            return mime_type
    return "image/webp" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else None


def with_bytes(value: Any, found: list[dict[str, Any]], direction: str = "in") -> Any:
    """Return a copy of `value` in which encoded files are bytes; each is added to `found`.

    Source: the fields `data`, `image_url`, `file_data` and their like in the providers' content
    parts.
    """
    return _with_bytes(value, found, direction, 0)


def _with_bytes(value: Any, found: list[dict[str, Any]], direction: str, depth: int) -> Any:
    if depth > _MOST_LEVELS:
        return value
    if isinstance(value, list):
        return [_with_bytes(item, found, direction, depth + 1) for item in cast("list[Any]", value)]
    if not isinstance(value, Mapping):
        return value
    given = cast("Json", value)
    made: dict[str, Any] = {}
    for key, item in given.items():
        if key in _ENCODED and isinstance(item, str):
            made[key] = _file(key, item, given, found, direction)
        elif isinstance(item, (Mapping, list)):
            made[key] = _with_bytes(item, found, direction, depth + 1)
        else:
            made[key] = item
    return made


def _file(key: str, item: str, given: Json, found: list[dict[str, Any]], direction: str) -> Any:
    """Return the bytes of a file in a content part, or the text if it is none.

    A text is decoded only where the API says that a file stands: digests and ids are valid base64.
    """
    url = _DATA_URL.match(item)
    if url is None and not _holds_file(key, given):
        return item
    content = decoded(item[url.end() :] if url else item)
    if not content:
        return item
    named = given.get("mimeType") or given.get("mime_type") or given.get("media_type")
    found.append(media(content, (url[1] if url else None) or text(named), direction))
    return content


def _holds_file(key: str, given: Json) -> bool:
    if key == "data":
        return any(name in given for name in _SAYS_TYPE)
    if key == "result":
        return given.get("type") == "image_generation_call"
    return key in {"b64_json", "bytesBase64Encoded"}


def error_of(status: int | None, body: Any) -> dict[str, Any]:
    """Return what an error answer says: `type`, `message`, and `code` and `http_status` if stated.

    Providers write `{"error": {...}}`, some a list around it, some a text.
    """
    if isinstance(body, list) and body:
        body = cast("list[Any]", body)[0]
    said = mapping(body).get("error", body)
    fields = mapping(said)
    kind = text(fields.get("type")) or text(fields.get("status")) or text(fields.get("code"))
    message = text(fields.get("message")) or text(said)
    code = fields.get("code")
    return without_empty(
        {
            "type": kind or (f"http_{status}" if status else "error"),
            "message": message
            or (f"HTTP status {status}" if status else "an error without a message"),
            "code": code if code != kind else None,
            "http_status": status,
        }
    )
