"""Google's Gen AI library, at Google AI and Vertex AI.

Recorded are generated content, embeddings, images and interactions, of sync and async clients. The
library sends over several HTTP packages, so it is observed one level above them: where one attempt
is made, and where its answer is taken apart. What runs over a WebSocket (Live) is not seen, nor
what answers later (videos).
"""

from __future__ import annotations

import functools
import re
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from whence.capture import emit
from whence.capture.state import current as state
from whence.errors import ConfigError
from whence.integrations import batches, calls, http
from whence.integrations.answer import Outcome
from whence.integrations.formats import base, gemini, interactions
from whence.integrations.funnel import in_call
from whence.integrations.http import Api, Endpoint
from whence.integrations.providers import find_provider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from whence.integrations.along import Exchange

C = TypeVar("C")

_MODEL = re.compile(r"/(?:models|endpoints|tunedModels)/([^/:]+):(\w+)$")
_BATCH = re.compile(r"/(batches/[^/:]+)$")
_METHODS = {
    "generateContent": gemini.CONTENT,
    "streamGenerateContent": gemini.CONTENT,
    "embedContent": gemini.EMBEDDING,
    "batchEmbedContents": gemini.EMBEDDING,
    "predict": gemini.PREDICTION,
}
_observed: weakref.WeakSet[Any] = weakref.WeakSet()
_wrapped: set[type[Any]] = set()
_everything: list[bool] = []
_ENTRIES = ("_request", "_request_once", "_async_request", "_async_request_once")


def find(method: str, path: str) -> Endpoint | None:
    """Return what is asked at a path; None for what is no call of a model."""
    if method.upper() != "POST":
        return None
    if path.endswith("/interactions"):
        return Endpoint(interactions.INTERACTION)
    named = _MODEL.search(path)
    form = _METHODS.get(named[2]) if named else None
    return Endpoint(form, named[1]) if named and form is not None else None


def watch(
    call: calls.Call, method: str, path: str, provider: str, ask: Callable[[], Any]
) -> Exchange | None:
    """Return what takes part in batches; None for anything else."""
    if method.upper() == "POST":
        is_batch = path.endswith((":batchGenerateContent", "/batchPredictionJobs"))
        return batches.Created(call, provider, ask) if is_batch else None
    looked_at = _BATCH.search(path)
    if looked_at is None:
        return None
    return batches.Results(call, provider, looked_at[1], batches.of_gemini)


API = Api("google", find, watch)


def wrap(client: C) -> C:
    """Return the client, its calls recorded from now on; wrapping it again changes nothing.

    Args:
        client: A `google.genai.Client`; its `aio` side is recorded too.

    Raises:
        ConfigError: It is no client of Google's Gen AI library, or of a version that sends its
            requests in another way.
    """
    inner = getattr(client, "_api_client", None)
    if inner is None or not _wrap_class(cast("type[Any]", type(inner))):
        kind = cast("type[Any]", type(client))
        message = (
            f"{kind.__module__}.{kind.__qualname__} is not a client that can be observed; "
            "pass a google.genai.Client"
        )
        raise ConfigError(message)
    _observed.add(inner)
    _observe_http(inner)
    return client


def observe(module: Any) -> None:
    """Have every client of the library recorded; `module` is the imported `google.genai`."""
    del module
    from google.genai import _api_client  # noqa: PLC0415, PLC2701 - an optional package; its clients all send through this class

    if _wrap_class(_api_client.BaseApiClient):
        _everything.append(True)


def _wrap_class(kind: type[Any]) -> bool:
    """Have attempts of a class of inner clients recorded.

    Returns:
        False if it does not send in the way that is known.
    """
    owner = next((one for one in kind.__mro__ if "_request_once" in vars(one)), None)
    if owner is None or not all(name in vars(owner) for name in _ENTRIES):
        return False
    if owner not in _wrapped:
        _wrapped.add(owner)
        made = cast("Any", owner)
        # Private names, but the only place that all of the library's ways of sending share.
        made._request = in_call(made._request, _open)  # noqa: SLF001
        made._async_request = in_call(made._async_request, _open)  # noqa: SLF001
        made._request_once = _one_attempt(made._request_once)  # noqa: SLF001
        made._async_request_once = _one_async_attempt(made._async_request_once)  # noqa: SLF001
        _wrap_interactions()
    return True


def _wrap_interactions() -> None:
    """Have interactions recorded, which the library sends in a way of their own."""
    try:
        from google.genai._gaos import basesdk  # noqa: PLC0415, PLC2701 - only newer versions have it
    except ImportError:
        return
    kinds = cast("Any", basesdk)
    sync, asynchronous = kinds.BaseSDK, kinds.AsyncBaseSDK
    sync.do_request = in_call(sync.do_request, _open)
    asynchronous.do_request_async = in_call(asynchronous.do_request_async, _open)


def _observe_http(inner: Any) -> None:
    """Have the HTTP clients read along that interactions are sent over."""
    for name in ("_httpx_client", "_async_httpx_client"):
        http.observe(getattr(inner, name, None), API)


def _open(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> calls.Call | None:
    """Return the call that what is sent belongs to; None if it is not to be recorded."""
    if not state.enabled:
        return None
    try:
        sender = args[0]
        configuration = getattr(sender, "sdk_configuration", None)
        if configuration is not None:  # an interaction: what it is sent over tells whose it is
            clients = (configuration.client, configuration.async_client)
            seen = [client for client in clients if client is not None]
            if _everything:
                for client in seen:
                    http.observe(client, API)
            return calls.open_call() if any(map(http.is_observed, seen)) else None
        if sender not in _observed and not _everything:
            return None
        return calls.open_call()
    except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
        emit.failed(error, "")
        return None


def _one_attempt(real: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method so that each time it is called is one attempt."""

    @functools.wraps(real)
    def request_once(self: Any, http_request: Any, *args: Any, **kwargs: Any) -> Any:
        call = calls.current.get()
        attempt = _begin(call, http_request)
        if attempt is None:
            return real(self, http_request, *args, **kwargs)
        calls.current.set(calls.SUPPRESSED)  # the HTTP client below may be observed too
        try:
            response = real(self, http_request, *args, **kwargs)
        except BaseException as error:
            attempt.end(_failed(error))
            raise
        finally:
            calls.current.set(call)
        _take(response, attempt)
        return response

    return request_once


def _one_async_attempt(real: Callable[..., Any]) -> Callable[..., Any]:
    """Return the async method so that each time it is called is one attempt."""

    @functools.wraps(real)
    async def request_once(self: Any, http_request: Any, *args: Any, **kwargs: Any) -> Any:
        call = calls.current.get()
        attempt = _begin(call, http_request)
        if attempt is None:
            return await real(self, http_request, *args, **kwargs)
        calls.current.set(calls.SUPPRESSED)
        try:
            response = await real(self, http_request, *args, **kwargs)
        except BaseException as error:
            attempt.end(_failed(error))
            raise
        finally:
            calls.current.set(call)
        _take(response, attempt)
        return response

    return request_once


def _begin(call: calls.Call | calls.Suppressed | None, request: Any) -> Exchange | None:
    if not isinstance(call, calls.Call):
        return None
    try:
        url = urlsplit(str(request.url))
        found = find(request.method, url.path)
        known = find_provider(url.hostname or "")
        provider = known or API.family
        body = request.data
        if isinstance(body, (bytes, str)):
            body = base.data_of(body)
        if found is None:
            return watch(call, request.method, url.path, provider, lambda: body)
        more = {} if known else {"server_address": url.netloc.rpartition("@")[2]}
        return call.begin(found.form, found.model, provider, lambda: body, **more)
    except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
        emit.failed(error, "")
        return None


def _failed(error: BaseException) -> Outcome:
    """Return the outcome of an attempt that ended in an exception, with what the service said."""
    status, details = getattr(error, "code", None), getattr(error, "details", None)
    if isinstance(status, int) and details is not None:
        headers = getattr(getattr(error, "response", None), "headers", None)
        return Outcome(status=status, headers=_lower(headers), body=details, error=error)
    return Outcome(error=error)


def _lower(headers: Any) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        return {}
    return {str(k).lower(): str(v) for k, v in cast("Mapping[Any, Any]", headers).items()}


def _take(response: Any, attempt: Exchange) -> None:
    """Record an answer: now if it was read, or when its segments have been taken."""
    try:
        held = response.response_stream
        headers = _lower(response.headers)
        if isinstance(held, list):
            content = cast("list[Any]", held)[0] if held else ""
            attempt.end(Outcome(status=200, headers=headers, body=base.data_of(content)))
            return
        along = Segments(attempt, headers)
        kind = cast("Any", type(response))
        # Functions over the response itself would keep it, and its connection, from being freed.
        itself = weakref.ref(response)
        response.segments = lambda: along.read(kind.segments(itself()))
        response.async_segments = lambda: along.read_async(kind.async_segments(itself()))
        abandoned = weakref.WeakMethod(along.end_early)
        attempt.abandon = lambda: (found := abandoned()) and found()
    except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
        emit.failed(error, "")
        attempt.end(Outcome(whole=False))


class Segments:
    """Reads along while the segments of a streamed answer are taken."""

    def __init__(self, attempt: Exchange, headers: Mapping[str, str]) -> None:
        self._attempt: Exchange | None = attempt
        self._headers = headers
        self._gathered = gemini.Chunks()

    def read(self, segments: Iterator[Any]) -> Iterator[Any]:
        """Return the segments."""
        try:
            for segment in segments:
                self._see(segment)
                yield segment
        except GeneratorExit:
            self.end_early()
            raise
        except BaseException as error:
            self._end(exhausted=False, error=error)
            raise
        self._end(exhausted=True)

    async def read_async(self, segments: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Return the segments."""
        try:
            async for segment in segments:
                self._see(segment)
                yield segment
        except GeneratorExit:
            self.end_early()
            raise
        except BaseException as error:
            self._end(exhausted=False, error=error)
            raise
        self._end(exhausted=True)

    def _see(self, segment: Any) -> None:
        attempt = self._attempt
        if attempt is None:
            return
        try:
            attempt.arrived()
            self._gathered.add(base.mapping(segment))
        except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
            emit.failed(error, "")

    def end_early(self) -> None:
        """End the attempt because nobody reads on."""
        self._end(exhausted=False)

    def _end(self, *, exhausted: bool, error: BaseException | None = None) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        whole = exhausted or self._gathered.finished
        body = self._gathered.body()
        attempt.end(Outcome(200, self._headers, body, None, True, whole, error))  # noqa: FBT003

    def __del__(self) -> None:
        self.end_early()
