"""Reads what an HTTP client sends and receives, beside the library that uses it.

The clients are those of httpx and httpx2, which the providers' libraries send with. One client is
observed by giving it a `send` of its own that calls the real one; only what is sent inside a `Call`
is looked at, so that other traffic over the same client costs one look at a context variable.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec

from whence.capture import emit
from whence.integrations import calls
from whence.integrations.along import Exchange, read_along
from whence.integrations.answer import Outcome, whole_answer
from whence.integrations.formats import base
from whence.integrations.providers import find_provider

if TYPE_CHECKING:
    from whence.integrations.formats.base import Form

_observed: weakref.WeakSet[Any] = weakref.WeakSet()


class Endpoint(NamedTuple):
    """What is asked at a path."""

    form: Form
    """The form of the API that is spoken there."""
    model: str | None = None
    """The model that the path names."""


Find = Callable[[str, str], Endpoint | None]
"""Gets method and path, returns what is asked there; None for what is no call of a model."""
Watch = Callable[[calls.Call, str, str, str, Callable[[], Any]], "Exchange | None"]
"""Gets call, method, path, provider and what returns the request's body.

Returns who else wants to see the answer.
"""


class _Head(msgspec.Struct):
    """What of a request's body is needed before it is sent."""

    model: str | None = None


class Api(msgspec.Struct, frozen=True):
    """What is known of a library's API."""

    family: str
    """The provider that the library is of."""
    find: Find
    """Tells calls of models by their path."""
    watch: Watch | None = None
    """Tells other exchanges that say something about a call: a look at a response in the making."""


def is_observed(http_client: Any) -> bool:
    """Whether what a client sends inside a call is recorded."""
    return http_client in _observed


def observe(http_client: Any, api: Api) -> bool:
    """Have the client read along; observing it again does nothing.

    Args:
        http_client: A client of httpx or httpx2, sync or async.
        api: The API that is spoken over it.

    Returns:
        False if it is no such client.
    """
    if http_client in _observed:
        return True
    own = getattr(http_client, "__dict__", {}).get("send")
    real = own or getattr(cast("Any", type(http_client)), "send", None)
    if not callable(real):
        return False
    # A closure over the client would keep it, and its connections, alive until the next collection.
    client = weakref.ref(http_client)

    def send_with(request: Any, kwargs: dict[str, Any]) -> Any:
        return real(request, **kwargs) if own is not None else real(client(), request, **kwargs)

    make = _async_send if inspect.iscoroutinefunction(real) else _sync_send
    http_client.send = functools.wraps(real)(make(send_with, api))
    _observed.add(http_client)
    return True


Send = Callable[[Any, dict[str, Any]], Any]


def observe_all(kind: Any, api: Api) -> None:
    """Have every client of a class read along inside calls that are `wide`.

    For libraries that make HTTP clients as they need them. Observing it again does nothing.

    Args:
        kind: `httpx.Client`, `httpx.AsyncClient`, or their like of httpx2.
        api: What may be spoken.
    """
    if kind in _observed:
        return
    real = kind.send
    make = _async_send if inspect.iscoroutinefunction(real) else _sync_send

    @functools.wraps(real)
    def send(self: Any, request: Any, **kwargs: Any) -> Any:
        call = calls.current.get()
        if not (isinstance(call, calls.Call) and call.wide):
            return real(self, request, **kwargs)
        return make(lambda asked, given: real(self, asked, **given), api)(request, **kwargs)

    kind.send = send
    _observed.add(kind)


def _sync_send(send_with: Send, api: Api) -> Callable[..., Any]:
    def send(request: Any, **kwargs: Any) -> Any:
        exchange = _begin(request, api)
        if exchange is None:
            return send_with(request, kwargs)
        try:
            response = send_with(request, kwargs)
        except BaseException as error:
            exchange.end(Outcome(error=error))
            raise
        _take(response, exchange, streamed=bool(kwargs.get("stream")), is_async=False)
        return response

    return send


def _async_send(send_with: Send, api: Api) -> Callable[..., Any]:
    async def send(request: Any, **kwargs: Any) -> Any:
        exchange = _begin(request, api)
        if exchange is None:
            return await send_with(request, kwargs)
        try:
            response = await send_with(request, kwargs)
        except BaseException as error:
            exchange.end(Outcome(error=error))
            raise
        _take(response, exchange, streamed=bool(kwargs.get("stream")), is_async=True)
        return response

    return send


def _begin(request: Any, api: Api) -> Exchange | None:
    """Return the exchange that a request begins; None if it is not to be recorded."""
    call = calls.current.get()
    if not isinstance(call, calls.Call):
        return None
    try:
        path = request.url.path
        found = api.find(request.method, path)
        if found is None and api.watch is None:
            return None
        known = find_provider(request.url.host)
        provider = known or call.provider or api.family
        ask = functools.partial(_body_of, request, call.options)
        if found is None:
            return api.watch and api.watch(call, request.method, path, provider, ask)
        address = request.url.netloc.decode("ascii", "replace")
        more = {} if known else {"server_address": address}
        return call.begin(
            found.form, found.model or _model_of(request, call), provider, ask, **more
        )
    except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
        emit.failed(error, "")
        return None


def _content_of(request: Any) -> bytes | None:
    """Return the body of a request; None if it is a file or form that is read while it is sent."""
    try:
        return cast("bytes", request.content)
    except Exception:  # noqa: BLE001 - httpx and httpx2 each have their own error for it
        return None


def _model_of(request: Any, call: calls.Call) -> str | None:
    content = _content_of(request)
    if content:
        try:
            return msgspec.json.decode(content, type=_Head).model
        except (msgspec.DecodeError, UnicodeError):
            return None
    return base.text(base.mapping(call.options).get("model"))


def _body_of(request: Any, options: Any) -> Any:
    """Return the decoded body of a request.

    A form with files is not read again: what the library was asked to send stands for it.
    """
    content = _content_of(request)
    made = base.data_of(content) if content else None
    return cast("Any", made) if isinstance(made, dict) else options


def _take(response: Any, exchange: Exchange, *, streamed: bool, is_async: bool) -> None:
    """Record an answer: now if it was read, or when the stream that reads along ends."""
    try:
        headers = {key.lower(): value for key, value in response.headers.items()}
        if not streamed:
            content = response.content
            exchange.end(whole_answer(exchange.form, response.status_code, headers, content))
            return
        read_along(response, exchange, headers, is_async=is_async)
    except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
        emit.failed(error, "")
        exchange.end(Outcome(status=getattr(response, "status_code", None), whole=False))
