"""The image client of document 1: it generates as another client does, and leaves provenance.

Comes in: a `GenerationRequest` and a `GenerationContext`. Goes out: the response of the client that
is wrapped, or its exception, untouched; and, either way, one provenance record, which
`whence.insights` finds. Any object with a method `generate(request)`, a coroutine function or not,
can be wrapped, and a `google.genai.Client`.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Self

import msgspec

from whence import _clock
from whence.dialects.images import metrics, modelcall, recording
from whence.dialects.images.failures import Failure, classify
from whence.dialects.images.gemini import (
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT_S,
    GeminiImageClient,
)
from whence.dialects.images.modelcall import Outcome
from whence.dialects.images.prices import PRICES, ImagePrice, name_of
from whence.dialects.images.requests import DEFAULT_MODEL, GenerationResponse
from whence.dialects.insights.context import ProvenanceContext
from whence.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whence.dialects.images.requests import GenerationContext, GenerationRequest

WORKER_NAME = "generation_worker"
DIALECT = "images"
_GOOGLES = ("gemini-", "imagen-")
_NO_IMAGE = Failure("api_error", "the client answered without an image")


class ProvenanceImageClient:
    """Generates images with a client of yours and records how each came to be.

    Args:
        client: What generates: an object with `generate(request)`, or a `google.genai.Client`; a
            `GeminiImageClient` of its own if None.
        prices: What images cost, with the days from which it holds.

    Raises:
        ConfigError: The client cannot generate, or there is no key for one of its own.
        MissingExtraError: One of its own is needed, and google-genai is not installed.
    """

    def __init__(self, client: Any = None, *, prices: Sequence[ImagePrice] = PRICES) -> None:
        self._client = _generating(client)
        self._prices = prices

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the client that is wrapped, if it can be closed (`aclose` or `close`)."""
        close = getattr(self._client, "aclose", None) or getattr(self._client, "close", None)
        closed = close() if callable(close) else None
        if inspect.isawaitable(closed):
            await closed

    async def generate_with_provenance(
        self, request: GenerationRequest, context: GenerationContext
    ) -> Any:
        """Return the wrapped client's response; `provenance_id` is filled in where it is ours.

        What the client raises passes untouched, and is recorded.

        Args:
            request: What is asked for.
            context: For whom and for what.

        Returns:
            A `GenerationResponse`, or what the wrapped client gives.
        """
        model = str(request.model or getattr(self._client, "model", None) or "")
        provider = _provider_of(self._client, model)
        with ProvenanceContext(
            WORKER_NAME,
            context.execution_id,
            metrics.insight_type_of(context),
            context.asset_type,
            project=context.project,
            user=context.user_id,
            dialect=DIALECT,
        ) as prov:
            if not prov.run.recording:
                return await self._generate(request)
            call = recording.Call(prov, request, context, model, provider, self._prices)
            sent = recording.begin(call)
            started_ns = _clock.mono_ns()
            try:
                answer = await self._generate(request)
            except BaseException as error:
                answer, failure = getattr(error, "answer", None), classify(error)
                retries = getattr(error, "retry_count", 0)
                recording.end(call, _outcome(answer, failure, started_ns, retries), sent)
                raise
            failure = None if getattr(answer, "image_data", answer) else _NO_IMAGE
            retries = getattr(answer, "retry_count", 0)
            recording.end(call, _outcome(answer, failure, started_ns, retries), sent)
        if isinstance(answer, GenerationResponse):
            return msgspec.structs.replace(answer, provenance_id=prov.provenance_id)
        return answer

    async def _generate(self, request: GenerationRequest) -> Any:
        generate = self._client.generate
        if inspect.iscoroutinefunction(generate):
            return await generate(request)
        answer = await asyncio.to_thread(generate, request)
        return await answer if inspect.isawaitable(answer) else answer


def get_provenance_nano_banana_client(
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    model: str = DEFAULT_MODEL,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    max_retries: int = DEFAULT_RETRIES,
    retry_wait_s: float = 1.0,
    prices: Sequence[ImagePrice] = PRICES,
) -> ProvenanceImageClient:
    """Return a client of the Gemini API that leaves provenance.

    The arguments are those of `GeminiImageClient`; without any, google-genai's environment
    variables decide.

    Raises:
        ConfigError: There is no key, or google-genai refuses a setting.
        MissingExtraError: google-genai is not installed.
    """
    client = GeminiImageClient(
        api_key,
        base_url=base_url,
        model=model,
        timeout_s=timeout_s,
        max_retries=max_retries,
        retry_wait_s=retry_wait_s,
    )
    return ProvenanceImageClient(client, prices=prices)


def _provider_of(client: Any, model: str) -> str | None:
    """Return who serves a model: whom the client names, else Google where the model is its own."""
    stated = getattr(client, "provider", None)
    if isinstance(stated, str) and stated:
        return stated
    is_googles = isinstance(client, GeminiImageClient) or name_of(model).startswith(_GOOGLES)
    return modelcall.GOOGLE if is_googles else None


def _generating(client: Any) -> Any:
    if callable(getattr(client, "generate", None)):
        return client
    models = getattr(getattr(client, "aio", None), "models", None)
    if client is None or hasattr(models, "generate_content"):
        return GeminiImageClient(client=client)
    message = (
        f"{type(client).__name__} cannot generate images: give an object with a method "
        "generate(request), or a google.genai.Client"
    )
    raise ConfigError(message)


def _outcome(answer: Any, failure: Failure | None, started_ns: int, retries: Any) -> Outcome:
    latency_ms = round((_clock.mono_ns() - started_ns) / 1e6)
    image = getattr(answer, "image_data", answer)
    return Outcome(
        answer,
        bytes(image) if isinstance(image, (bytes, bytearray)) and image else None,
        failure,
        latency_ms,
        retries if type(retries) is int else 0,
    )
