"""LiteLLM, which speaks to many providers and makes HTTP clients as it needs them.

While one of its functions runs, whatever is sent to a provider over httpx is read along, in the
provider's own form. Where nothing was seen, because the provider is reached in another way or
speaks a form that is not known, the answer that LiteLLM returns stands for it, with LiteLLM's own
account of the tokens. LiteLLM's license and weight are its own matter: whence has no extra for it.
"""

from __future__ import annotations

import functools
import inspect
import re
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import unquote

from whence.capture import emit
from whence.capture.state import current as state
from whence.errors import ConfigError
from whence.integrations import anthropic, calls, google_genai, http, openai
from whence.integrations.answer import Outcome
from whence.integrations.formats import base, chat, converse, media, responses
from whence.integrations.funnel import in_call
from whence.integrations.http import Api, Endpoint

if TYPE_CHECKING:
    from whence.integrations.formats.base import Form

C = TypeVar("C")

_FUNCTIONS: dict[str, Form] = {
    "completion": chat.CHAT,
    "text_completion": chat.COMPLETION,
    "responses": responses.RESPONSES,
    "embedding": media.EMBEDDINGS,
    "image_generation": media.IMAGES,
    "transcription": media.TRANSCRIPTION,
    "speech": media.SPEECH,
    "moderation": media.MODERATION,
}
"""What LiteLLM and its router offer, each also with an `a` before its name."""
_CONVERSE = re.compile(r"/model/([^/]+)/converse$")
_NAMES = {
    "vertex_ai": "google-vertex",
    "gemini": "google",
    "xai": "x-ai",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "moonshot": "moonshotai",
}
_observed: set[int] = set()


def find(method: str, path: str) -> Endpoint | None:
    """Return what is asked at a path, by any provider; None for what is no call of a model."""
    named = _CONVERSE.search(path) if method == "POST" else None
    if named is not None:
        return Endpoint(converse.CONVERSE, unquote(named[1]))
    return (
        openai.find(method, path) or anthropic.find(method, path) or google_genai.find(method, path)
    )


API = Api("litellm", find)


def wrap(client: C) -> C:
    """Return the client, its calls recorded from now on; wrapping it again changes nothing.

    Args:
        client: The module `litellm`, or a `litellm.Router`.

    Raises:
        ConfigError: It is neither.
    """
    if inspect.ismodule(client) and hasattr(client, "completion"):
        observe(client)
        return client
    kind = cast("type[Any]", type(client))
    if kind.__module__.partition(".")[0] != "litellm" or not hasattr(kind, "completion"):
        message = (
            f"{kind.__module__}.{kind.__qualname__} is not a client that can be observed; "
            "pass the module litellm or a litellm.Router"
        )
        raise ConfigError(message)
    _observe_http()
    _wrap_functions(kind, is_method=True)
    return client


def observe(module: Any) -> None:
    """Have every call of the library recorded; `module` is the imported `litellm`."""
    _observe_http()
    _wrap_functions(module, is_method=False)
    router = getattr(module, "Router", None)
    if isinstance(router, type):
        _wrap_functions(router, is_method=True)


def _observe_http() -> None:
    import httpx  # noqa: PLC0415 - LiteLLM needs it, so it is there

    http.observe_all(httpx.Client, API)
    http.observe_all(httpx.AsyncClient, API)


def _wrap_functions(holder: Any, *, is_method: bool) -> None:
    if id(holder) in _observed:
        return
    _observed.add(id(holder))
    for name, form in _FUNCTIONS.items():
        for each in (name, f"a{name}"):
            real = getattr(holder, each, None)
            if callable(real):
                opened = functools.partial(_open, is_method)
                setattr(holder, each, in_call(real, opened, functools.partial(_close, form)))


def _open(
    is_method: bool,  # noqa: FBT001 - bound before the arguments
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> calls.Call | None:
    """Return the call; None if nothing is recorded, or if LiteLLM calls itself."""
    if not state.enabled:
        return None
    try:
        around = calls.current.get()
        if isinstance(around, calls.Call) and around.wide:
            return None
        given = args[1:] if is_method else args
        if given and "model" not in kwargs:
            kwargs = {**kwargs, "model": given[0]}
        call = calls.open_call({key: value for key, value in kwargs.items() if key in _ASKED})
        if call is not None:
            call.wide = True
            call.provider = _provider_of(kwargs.get("model"), kwargs.get("custom_llm_provider"))
    except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
        emit.failed(error, "")
        return None
    return call


_ASKED = frozenset({"model", "messages", "input", "prompt", "tools", "temperature", "max_tokens"})


def _provider_of(model: Any, named: Any) -> str | None:
    """Return the provider of a model as LiteLLM writes it, `ollama/llama3`; None if none."""
    if not isinstance(named, str):
        named = str(model).partition("/")[0] if "/" in str(model) else None
    return _NAMES.get(named, named) if named else None


def _close(form: Form, call: calls.Call, result: Any, error: BaseException | None) -> None:
    """Record what LiteLLM returned or raised, if no exchange with a provider was seen."""
    if call.seen:
        return
    try:
        dump = getattr(result, "model_dump", None)
        body = dump() if callable(dump) else None
        if body is None and error is None:
            return  # a stream over what is not observed: its answer is not known here
        options: dict[str, Any] = dict(base.mapping(call.options))
        model = base.text(options.get("model"))
        attempt = call.begin(form, model, call.provider or API.family, lambda: options)
        if attempt is not None:
            attempt.begun_ns = call.begun_ns
            attempt.end(Outcome(body=body, error=error))
    except Exception as failure:  # noqa: BLE001 - capture never raises into the user's program
        emit.failed(failure, "")
