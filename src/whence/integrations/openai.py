"""OpenAI's client library, and the providers it is pointed at.

Recorded are Chat Completions, Responses, completions, embeddings, images, speech, transcriptions,
moderations and decisions, of sync and async clients, Azure's among them. A look at a response that
is made in the background is no call of a model; its last one is noted on the call it is about.
Calls over a WebSocket (Realtime) are not seen.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from whence.integrations import batches, funnel, looks
from whence.integrations.formats import chat, media, responses
from whence.integrations.http import Api, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from whence.integrations.along import Exchange
    from whence.integrations.calls import Call

C = TypeVar("C")

_PATHS = (
    ("/chat/completions", Endpoint(chat.CHAT)),
    ("/completions", Endpoint(chat.COMPLETION)),
    ("/responses", Endpoint(responses.RESPONSES)),
    ("/responses/compact", Endpoint(responses.COMPACT)),
    ("/embeddings", Endpoint(media.EMBEDDINGS)),
    ("/images/generations", Endpoint(media.IMAGES)),
    ("/images/edits", Endpoint(media.IMAGES)),
    ("/images/variations", Endpoint(media.IMAGES)),
    ("/audio/speech", Endpoint(media.SPEECH)),
    ("/audio/transcriptions", Endpoint(media.TRANSCRIPTION)),
    ("/audio/translations", Endpoint(media.TRANSCRIPTION)),
    ("/moderations", Endpoint(media.MODERATION)),
    ("/decisions", Endpoint(media.DECISION)),
)
_RESPONSE = re.compile(r"/responses/([^/]+)$")
_FILE = re.compile(r"/files/[^/]+/content$")
_AZURE = re.compile(r"/deployments/([^/]+)/")


def find(method: str, path: str) -> Endpoint | None:
    """Return what is asked at a path; None for what is no call of a model."""
    if method != "POST":
        return None
    for end, endpoint in _PATHS:
        if path.endswith(end):
            deployment = _AZURE.search(path)
            return Endpoint(endpoint.form, deployment[1]) if deployment else endpoint
    return None


def watch(
    call: Call, method: str, path: str, provider: str, ask: Callable[[], Any]
) -> Exchange | None:
    """Return what takes part in batches and in looks at responses; None for anything else."""
    if method == "POST":
        return batches.Created(call, provider, ask) if path.endswith("/batches") else None
    looked_at = _RESPONSE.search(path)
    if looked_at is not None:
        return looks.find_look(looked_at[1])
    if _FILE.search(path) is not None:
        return batches.Results(call, provider, None, batches.of_openai)
    return None


API = Api("openai", find, watch)


def wrap(client: C) -> C:
    """Return the client, its calls recorded from now on; wrapping it again changes nothing.

    Args:
        client: An `OpenAI`, `AsyncOpenAI`, `AzureOpenAI` or `AsyncAzureOpenAI`.

    Raises:
        ConfigError: It is no client of OpenAI's library.
    """
    funnel.wrap(client, API)
    return client


def observe(module: Any) -> None:
    """Have every client of the library recorded; `module` is the imported `openai`."""
    funnel.wrap_all(module.OpenAI, API)
    funnel.wrap_all(module.AsyncOpenAI, API)
