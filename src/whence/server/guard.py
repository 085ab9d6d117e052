"""Lets in only requests that were meant for this server, whatever a browser was talked into.

A server on the loopback address is reached by every page a browser shows: through a name that is
made to resolve to 127.0.0.1, or by a form that posts across sites. So the `Host` of a request has
to be a name of this machine's loopback, and its `Origin`, where a browser states one, too. Comes
in: an ASGI application. Goes out: one that answers 421 or 403 before the other sees the request.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from whence.errors import ConfigError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

_NAMES = frozenset({"localhost"})


def check_bind(host: str) -> None:
    """Check that a server may listen there: only this machine may reach it.

    Raises:
        ConfigError: The address is not a loopback address.
    """
    if not is_loopback(host):
        raise ConfigError(
            f"whence serve does not listen on {host!r}: it has no API keys yet, so only a loopback "
            "address (127.0.0.1, ::1, localhost) is safe; put a proxy that asks for a key before it"
        )


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine and no other."""
    name = host.strip("[]").lower()
    if name in _NAMES:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def guarded(app: Asgi) -> Asgi:
    """Return an application that refuses what was not meant for this machine's loopback."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        hosts = _values(scope, b"host")
        origins = _values(scope, b"origin")
        if len(hosts) != 1 or not _is_ours(hosts[0]):
            await _refuse(send, 421, "the Host header does not name this machine's loopback")
        elif any(not _is_ours(urlsplit(origin).netloc) for origin in origins):
            await _refuse(send, 403, "the request comes from a page of another site")
        else:
            await app(scope, receive, send)

    return answer


def _values(scope: Scope, name: bytes) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]


def _is_ours(host: str) -> bool:
    name, bracket, rest = host.partition("]") if host.startswith("[") else (host, "", "")
    if bracket:
        return is_loopback(name) and (not rest or rest[1:].isdigit())
    name, colon, port = host.partition(":")
    return is_loopback(name) and (not colon or port.isdigit())


async def _refuse(send: Send, status: int, why: str) -> None:
    content = why.encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
