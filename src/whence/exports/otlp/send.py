"""Posts OTLP requests over HTTP, again where the receiver says to come back.

Comes in: the bytes of a request. Goes out: how many of its spans the receiver rejected, or an
error. 429, 502, 503 and 504 and a connection that breaks are tried again, after as long as
`Retry-After` says or else with growing pauses; any other answer is final, and so is a redirect,
which could lead the content anywhere. Source: OTLP 1.9, "OTLP/HTTP Response".
"""

from __future__ import annotations

import email.utils
import gzip
import http.client
import random
import time
import urllib.parse
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from whence import _clock
from whence.errors import ConfigError, ExportError

if TYPE_CHECKING:
    from collections.abc import Mapping

Encoding = Literal["protobuf", "json"]
MEDIA: dict[Encoding, str] = {"protobuf": "application/x-protobuf", "json": "application/json"}
TRIES = 6
"""How often a request is sent before it is given up."""
LONGEST_WAIT_S = 60.0
"""The most that is waited between two tries, whatever the receiver asks for."""
_FIRST_WAIT_S = 0.5
_AGAIN = frozenset({429, 502, 503, 504})
_OK = 200
_REDIRECTS = range(300, 400)
_SHOWN_BYTES = 300
_ANSWER_BYTES = 1 << 20
_SECOND_NS = 1_000_000_000


class Target(msgspec.Struct, frozen=True):
    """A receiver of OTLP over HTTP."""

    scheme: str
    """`http` or `https`."""
    host: str
    """Its name or address."""
    port: int | None
    """Its port; None for the scheme's own."""
    path: str
    """What is asked for."""
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with every request."""
    encoding: Encoding = "protobuf"
    """How requests are written."""
    timeout_s: float = 30.0
    """How long one try may take."""

    @property
    def shown(self) -> str:
        """The address without anything secret."""
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.path.partition('?')[0]}"


def target_of(
    url: str, headers: Mapping[str, str] | None = None, *, encoding: Encoding = "protobuf"
) -> Target:
    """Return the receiver at a URL; `/v1/traces` is added where it names no path.

    Raises:
        ConfigError: It is no URL that can be posted to, or a header is none.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"the address to send to is no URL: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(
            f"traces are sent to an address like http://127.0.0.1:4318, not {url[:80]!r}"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigError("give what opens the receiver as a header, not in its address")
    path = parts.path if parts.path.strip("/") else "/v1/traces"
    given = tuple((headers or {}).items())
    asked = path + parts.query
    if not asked.isascii() or not asked.isprintable() or " " in asked or not _are_headers(given):
        raise ConfigError("the address or a header has a character that HTTP forbids")
    query = f"?{parts.query}" if parts.query else ""
    return Target(parts.scheme, parts.hostname, port, path + query, given, encoding)


def _are_headers(given: tuple[tuple[str, str], ...]) -> bool:
    return all(
        name
        and name.isascii()
        and name.replace("-", "").replace("_", "").isalnum()
        and value.isprintable()
        and value.isascii()
        for name, value in given
    )


class Outcome(msgspec.Struct, frozen=True):
    """What became of sending a request once."""

    taken: bool
    """Whether the receiver took it."""
    rejected: int = 0
    """How many of its spans the receiver rejected all the same."""
    why: str = ""
    """Why it did not take it."""
    again: bool = False
    """Whether sending it again may help."""
    after_s: float | None = None
    """When the receiver wants it again, in seconds; None if it does not say."""


def post(target: Target, content: bytes, *, tries: int = TRIES) -> int:
    """Send a request, again as long as that may help.

    Args:
        target: The receiver.
        content: The request, in the target's encoding.
        tries: How often it is sent at most.

    Returns:
        How many of its spans the receiver rejected.

    Raises:
        ExportError: The receiver refused it, or did not take it after all tries.
    """
    outcome = post_once(target, content)
    for number in range(1, tries):
        if outcome.taken or not outcome.again:
            break
        time.sleep(pause_s(number, outcome.after_s))
        outcome = post_once(target, content)
    if not outcome.taken:
        raise ExportError(f"{target.shown} did not take the spans: {outcome.why}")
    return outcome.rejected


def post_once(target: Target, content: bytes) -> Outcome:
    """Send a request once and return what became of it."""
    try:
        status, headers, body = _exchange(target, gzip.compress(content, 5, mtime=0))
    except (OSError, http.client.HTTPException) as error:
        return Outcome(taken=False, why=f"{type(error).__name__}: {error}", again=True)
    if status == _OK:
        return Outcome(taken=True, rejected=_rejected(body, headers.get("Content-Type", "")))
    why = f"it answered {status}: {_shown(body)}"
    if status in _REDIRECTS:
        why = f"it answered {status} and would have us go elsewhere; give that address instead"
    after_s = _retry_after_s(headers.get("Retry-After"))
    return Outcome(taken=False, why=why, again=status in _AGAIN, after_s=after_s)


def _exchange(target: Target, packed: bytes) -> tuple[int, Any, bytes]:
    kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
    connection = kind(target.host, target.port, timeout=target.timeout_s)
    try:
        given = {
            "User-Agent": "whence",
            **dict(target.headers),
            "Content-Type": MEDIA[target.encoding],
            "Content-Encoding": "gzip",
        }
        connection.request("POST", target.path, packed, given)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read(_ANSWER_BYTES)
    finally:
        connection.close()


def pause_s(number: int, asked_s: float | None) -> float:
    """Return how long to wait before a try, in seconds.

    Args:
        number: How many tries there were.
        asked_s: What the receiver asked for.
    """
    if asked_s is not None:
        return min(asked_s, LONGEST_WAIT_S)
    return min(_FIRST_WAIT_S * 2 ** (number - 1), LONGEST_WAIT_S) * random.uniform(0.5, 1)  # noqa: S311 - no secret


def _retry_after_s(given: str | None) -> float | None:
    """Return what `Retry-After` says: seconds, or a date (RFC 9110, 10.2.3)."""
    if given is None:
        return None
    text = given.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        when = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return max(0.0, when.timestamp() - _clock.wall_ns() / _SECOND_NS)


def _rejected(body: bytes, media: str) -> int:
    """Return how many spans an answer says were rejected (`partial_success`)."""
    if media.startswith("application/json"):
        try:
            said: Any = msgspec.json.decode(body or b"{}")
            partial: Any = said.get("partialSuccess") or {}
            return int(partial.get("rejectedSpans") or 0)
        except (msgspec.MsgspecError, ValueError, TypeError, AttributeError):
            return 0
    return _rejected_in_protobuf(body) if media.startswith(MEDIA["protobuf"]) else 0


def _rejected_in_protobuf(body: bytes) -> int:
    from google.protobuf.message import DecodeError  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415
        ExportTraceServiceResponse,
    )

    answer: Any = ExportTraceServiceResponse()
    try:
        answer.ParseFromString(body)
    except DecodeError:  # it said 200, which is what counts
        return 0
    return answer.partial_success.rejected_spans


def _shown(body: bytes) -> str:
    text = body[:_SHOWN_BYTES].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text).strip() or "nothing"
