"""Anthropic's client library, at Anthropic, Bedrock and Vertex.

Recorded are messages, streamed or not, of sync and async clients. Counting tokens is no call of a
model. The library's own OpenTelemetry spans are left as they are: they say nothing to whence, and
whence nothing to them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from whence.integrations import batches, funnel
from whence.integrations.formats import messages
from whence.integrations.http import Api, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from whence.integrations.along import Exchange
    from whence.integrations.calls import Call

C = TypeVar("C")

_BEDROCK = re.compile(r"/model/([^/]+)/(?:invoke|invoke-with-response-stream)$")
_VERTEX = re.compile(r"/models/([^/:]+):(?:rawPredict|streamRawPredict)$")
_RESULTS = re.compile(r"/messages/batches/([^/]+)/results$")
_CLIENTS = (
    "Anthropic",
    "AsyncAnthropic",
    "AnthropicBedrock",
    "AsyncAnthropicBedrock",
    "AnthropicVertex",
    "AsyncAnthropicVertex",
)


def find(method: str, path: str) -> Endpoint | None:
    """Return what is asked at a path; None for what is no call of a model."""
    if method != "POST":
        return None
    if path.endswith("/messages"):
        return Endpoint(messages.MESSAGES)
    named = _BEDROCK.search(path) or _VERTEX.search(path)
    # Vertex counts tokens with a model of that name.
    if named is None or named[1] == "count-tokens":
        return None
    return Endpoint(messages.MESSAGES, unquote(named[1]))


def watch(
    call: Call, method: str, path: str, provider: str, ask: Callable[[], Any]
) -> Exchange | None:
    """Return what takes part in batches; None for anything else."""
    if method == "POST":
        return batches.Created(call, provider, ask) if path.endswith("/messages/batches") else None
    fetched = _RESULTS.search(path)
    if fetched is None:
        return None
    return batches.Results(call, provider, fetched[1], batches.of_anthropic)


API = Api("anthropic", find, watch)


def wrap(client: C) -> C:
    """Return the client, its calls recorded from now on; wrapping it again changes nothing.

    Args:
        client: An `Anthropic` or `AsyncAnthropic`, or one of their kin for Bedrock and Vertex.

    Raises:
        ConfigError: It is no client of Anthropic's library.
    """
    funnel.wrap(client, API)
    return client


def observe(module: Any) -> None:
    """Have every client of the library recorded; `module` is the imported `anthropic`."""
    for name in _CLIENTS:
        kind = getattr(module, name, None)
        if isinstance(kind, type):
            funnel.wrap_all(kind, API)
