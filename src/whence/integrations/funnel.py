"""Observes client libraries whose every call goes through one method, `request`.

OpenAI's and Anthropic's libraries are built alike: resources call `client.request`, which retries
inside and sends over an HTTP client that copies of the client share. The method is wrapped once a
class; it does nothing but pass on for clients that are not observed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from whence.capture import emit
from whence.capture.state import current as state
from whence.errors import ConfigError
from whence.integrations import calls, http
from whence.integrations.formats import base

if TYPE_CHECKING:
    from whence.integrations.http import Api

_OPTIONS = 2
"""Where `request(self, cast_to, options)` takes what is to be sent."""
_wrapped: dict[Any, Wrapped] = {}


class Wrapped:
    """What is known of a class whose `request` is wrapped."""

    __slots__ = ("api", "everything")

    def __init__(self, api: Api) -> None:
        self.api = api
        self.everything = False
        """Whether all clients of the class are observed, not only those that were named."""


def wrap(client: Any, api: Api) -> None:
    """Have one client, and the copies that share its connections, recorded.

    Raises:
        ConfigError: It is not a client of such a library.
    """
    http_client = getattr(client, "_client", None)
    kind = cast("type[Any]", type(client))
    if _owner_of(kind) is None or not http.observe(http_client, api):
        message = (
            f"{kind.__module__}.{kind.__qualname__} is not a client that can be "
            "observed; pass the client object of the provider's library"
        )
        raise ConfigError(message)
    _wrap_class(kind, api)


def wrap_all(kind: type[Any], api: Api) -> None:
    """Have every client of a class recorded, also those that exist already."""
    wrapped = _wrap_class(kind, api)
    if wrapped is not None:
        wrapped.everything = True


def _owner_of(kind: type[Any]) -> type[Any] | None:
    """Return the class that defines `request` for a class of clients."""
    return next((one for one in kind.__mro__ if callable(vars(one).get("request"))), None)


def _wrap_class(kind: type[Any], api: Api) -> Wrapped | None:
    owner = _owner_of(kind)
    if owner is None:
        return None
    if owner not in _wrapped:
        _wrapped[owner] = Wrapped(api)
        made = cast("Any", owner)
        made.request = in_call(made.request, functools.partial(_open, _wrapped[owner]))
    return _wrapped[owner]


Opened = Callable[[tuple[Any, ...], dict[str, Any]], calls.Call | None]
"""Gets the arguments of a function, returns the call; None records nothing."""
Closing = Callable[[calls.Call, Any, BaseException | None], None]
"""Gets the call, and what the function returned or raised."""


def in_call(real: Callable[..., Any], opened: Opened, closing: Closing | None = None) -> Any:
    """Return a function, sync or async, so that what is sent inside belongs to one call.

    Args:
        real: The function or method of the library.
        opened: Makes the call.
        closing: Takes the result or the exception before the call is left.
    """

    def close(call: calls.Call, result: Any, error: BaseException | None) -> None:
        if closing is not None:
            closing(call, result, error)
        call.leave(error)

    if inspect.iscoroutinefunction(real):

        @functools.wraps(real)
        async def function(*args: Any, **kwargs: Any) -> Any:
            call = opened(args, kwargs)
            if call is None:
                return await real(*args, **kwargs)
            before = calls.current.get()
            calls.current.set(call)
            try:
                result = await real(*args, **kwargs)
            except BaseException as error:
                close(call, None, error)
                raise
            finally:
                calls.current.set(before)
            close(call, result, None)
            return result

        return function

    @functools.wraps(real)
    def function_now(*args: Any, **kwargs: Any) -> Any:
        call = opened(args, kwargs)
        if call is None:
            return real(*args, **kwargs)
        before = calls.current.get()
        calls.current.set(call)
        try:
            result = real(*args, **kwargs)
        except BaseException as error:
            close(call, None, error)
            raise
        finally:
            calls.current.set(before)
        close(call, result, None)
        return result

    return function_now


def _open(wrapped: Wrapped, args: tuple[Any, ...], kwargs: dict[str, Any]) -> calls.Call | None:
    """Return the call that a request belongs to; None if it is not to be recorded."""
    if not state.enabled:
        return None
    try:
        http_client = getattr(args[0], "_client", None)
        if not http.is_observed(http_client):
            if not wrapped.everything:
                return None
            http.observe(http_client, wrapped.api)
        options = kwargs.get("options", args[2] if len(args) > _OPTIONS else None)
        return calls.open_call(_asked_of(options))
    except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
        emit.failed(error, "")
        return None


def _asked_of(options: Any) -> dict[str, Any] | None:
    """Return what a library was asked to send, for bodies that are read while they are sent."""
    if getattr(options, "files", None) is None:
        return None
    body = dict(base.mapping(getattr(options, "json_data", None)))
    body["files"] = [_file_named(entry) for entry in _entries(options.files)]
    return body


def _entries(files: Any) -> list[Any]:
    return list(cast("dict[Any, Any]", files).items()) if isinstance(files, dict) else list(files)


def _file_named(entry: Any) -> dict[str, Any]:
    """Return field, name and bytes of a file to be sent; a file that is read is left alone."""
    field, given = entry
    # A file is bytes, or a tuple of name, bytes and media type.
    parts: list[Any] = [None, given] if not isinstance(given, tuple) else [*cast("Any", given)]
    name, content, kind = [*parts, None, None, None][:3]
    data = content if isinstance(content, bytes) else None
    return base.without_empty({"field": field, "name": name, "mime_type": kind, "data": data})
