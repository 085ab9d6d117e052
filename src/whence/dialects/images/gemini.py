"""The Gemini API as an image client: google-genai carries the request, this says what it means.

Comes in: a `GenerationRequest`. Goes out: a `GenerationResponse`, or one of the errors under
`ImageError`, whatever the HTTP library raised. Attempts that a later one may mend (a rate limit, a
fault of the server, no connection) are repeated, and each that failed is an event of the current
span. Recording is not done here.

The answer is read from the JSON as it came, not from google-genai's models: those drop what the
provider states beyond the fields they know, and what it states is to be kept word for word.
"""

from __future__ import annotations

import asyncio
import random
import re
from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock, _extras, _ids
from whence.capture import guard
from whence.capture.api import current_span
from whence.dialects.images import geminibody
from whence.dialects.images.requests import DEFAULT_MODEL, GenerationResponse
from whence.dialects.shared.closing import AsyncClosing
from whence.errors import (
    ConfigError,
    ImageApiError,
    ImageError,
    ImageRateLimitError,
    ImageTimeoutError,
)
from whence.integrations.calls import suppressed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from whence.dialects.images.requests import GenerationRequest

DEFAULT_TIMEOUT_S = 120.0
DEFAULT_RETRIES = 2
_LONGEST_WAIT_S = 60.0
_API_VERSION = "v1beta"
_HTTP_TIMEOUT, _HTTP_RATE_LIMIT, _HTTP_SERVER_FAULT, _HTTP_GATEWAY_TIMEOUT = 408, 429, 500, 504
_SERVER_TIME = re.compile(r"\bdur=([0-9]{1,9}(?:\.[0-9]+)?)")
_SECONDS = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]+)?)s?\s*")
_MAX_SEED = 2**31 - 1


class GeminiImageClient(AsyncClosing):
    """Generates images with the Gemini API, or with Vertex AI where google-genai is set to it.

    Every attempt has a connection of its own, so a client may be used from one event loop after
    another, and nothing is left open between calls. `async with` or `aclose` gives up the rest.

    Args:
        api_key: The key; `GOOGLE_API_KEY` or `GEMINI_API_KEY`, which google-genai reads, if None.
        base_url: Where the API is; `GOOGLE_GEMINI_BASE_URL`, else Google's, if None.
        model: The model for requests that name none.
        timeout_s: How long one attempt may take, in seconds.
        max_retries: How often a failed attempt is repeated.
        retry_wait_s: How long to wait before the first repetition, in seconds; each further wait is
            twice as long, and what the provider asks for is waited in any case.
        client: A `google.genai.Client` of your own; key and base URL are then its business.

    Raises:
        ConfigError: There is no key, or google-genai refuses a setting.
        MissingExtraError: google-genai is not installed.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        model: str = DEFAULT_MODEL,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_retries: int = DEFAULT_RETRIES,
        retry_wait_s: float = 1.0,
        client: Any = None,
    ) -> None:
        self.model = model
        self.timeout_s = timeout_s
        self.max_retries = max_retries
        self.retry_wait_s = retry_wait_s
        self._own = client is None
        self._client = client if client is not None else _made_client(api_key, base_url)
        self._errors = _extras.require("google.genai.errors", "gemini", "generating images")

    async def aclose(self) -> None:
        """Close what google-genai holds, unless the client was given."""
        if self._own:
            await self._client.aio.aclose()
            self._client.close()

    async def generate(self, request: GenerationRequest) -> GenerationResponse:
        """Return the image.

        Raises:
            ImageError: There is none; its class says why, `retry_count` how often it was tried
                again.
        """
        model = request.model or self.model
        seed = request.seed if request.seed is not None else random.randrange(_MAX_SEED)  # noqa: S311 - no secret
        retries = 0
        while True:
            try:
                answer = await self._attempt(request, model, seed)
            except ImageError as error:
                error.retry_count = retries
                wait_s = self._wait_s(error, retries)
                if wait_s is None:
                    raise
                current_span().event(
                    "image generation is tried again",
                    level="warning",
                    attempt=retries + 1,
                    error=guard.describe(error),
                    wait_s=wait_s,
                )
            else:
                return msgspec.structs.replace(answer, retry_count=retries)
            retries += 1
            await asyncio.sleep(wait_s)

    async def _attempt(
        self, request: GenerationRequest, model: str, seed: int
    ) -> GenerationResponse:
        config = geminibody.config_of(request, model, seed)
        config["should_return_http_response"] = True
        options: dict[str, Any] = {"timeout": max(1, round(self.timeout_s * 1000))}
        if self._own and not self._client.vertexai:
            options["api_version"] = _API_VERSION
        config["http_options"] = options
        started_ns = _clock.mono_ns()
        try:
            # The HTTP library limits the wait for each piece of the answer, and this all of them.
            async with asyncio.timeout(self.timeout_s):
                # A program that observes google-genai would have the call recorded twice.
                with suppressed():
                    answered = await self._client.aio.models.generate_content(
                        model=model, contents=geminibody.contents_of(request), config=config
                    )
        except Exception as error:
            translated = self._translated(error)
            if translated is None:
                raise
            raise translated from error
        waited_ms = round((_clock.mono_ns() - started_ns) / 1e6)
        http = answered.sdk_http_response
        stated_ms = _stated_ms(http.headers or {})
        try:
            body = msgspec.json.decode(http.body or "{}")
        except msgspec.DecodeError as error:
            message = f"{model} did not answer with JSON: {error}"
            raise ImageApiError(message) from error
        return geminibody.read_answer(
            body,
            generation_id=f"img_{_ids.new_run_id()}",
            seed=seed,
            inference_time_ms=waited_ms if stated_ms is None else stated_ms,
        )

    def _translated(self, error: Exception) -> ImageError | None:
        """Return our error for one of the libraries below; None for one that is none of theirs."""
        if isinstance(error, self._errors.APIError):
            return self._of_status(error)
        names = {
            f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(error).__mro__
        }
        if isinstance(error, TimeoutError) or names & {
            "httpx.TimeoutException",
            "httpx2.TimeoutException",
        }:
            return ImageTimeoutError(
                f"no answer within {self.timeout_s:g} s", timeout_s=self.timeout_s
            )
        if names & {
            "httpx.HTTPError",
            "httpx2.HTTPError",
            "aiohttp.ClientError",
            "google.GoogleAuthError",
        }:
            return ImageApiError(f"the service could not be reached: {guard.describe(error)}")
        if isinstance(error, self._errors.UnknownApiResponseError):
            return ImageApiError(f"the answer cannot be read: {guard.describe(error)}")
        return None

    def _of_status(self, error: Any) -> ImageError:
        code = error.code if type(error.code) is int else None
        said = f"{code} {error.status or ''}: {error.message or error.details}"
        if code == _HTTP_RATE_LIMIT:
            return ImageRateLimitError(said, retry_after_s=_retry_after_s(error))
        if code in {_HTTP_TIMEOUT, _HTTP_GATEWAY_TIMEOUT}:
            return ImageTimeoutError(said)
        return ImageApiError(said, code=code)

    def _wait_s(self, error: ImageError, retries: int) -> float | None:
        """Return how long to wait before the next attempt; None if there is to be none."""
        if retries >= self.max_retries or not _may_pass(error):
            return None
        wait_s = min(self.retry_wait_s * 2**retries, _LONGEST_WAIT_S)
        asked_s = error.retry_after_s if isinstance(error, ImageRateLimitError) else None
        if asked_s is not None and asked_s > _LONGEST_WAIT_S:
            return None
        return max(wait_s, asked_s or 0.0)


def _made_client(api_key: str | None, base_url: str | None) -> Any:
    genai = _extras.require("google.genai", "gemini", "generating images")
    # A pooled connection belongs to the event loop that opened it, and outlives it unclosed.
    options: dict[str, Any] = {"headers": {"Connection": "close"}}
    if base_url is not None:
        options["base_url"] = base_url
    try:
        return genai.Client(api_key=api_key, http_options=options)
    except ValueError as error:
        message = (
            f"google-genai cannot be used: {error} "
            "Pass api_key=, or set GOOGLE_API_KEY or GEMINI_API_KEY."
        )
        raise ConfigError(message) from error


def _may_pass(error: ImageError) -> bool:
    """Whether the same request may succeed a little later.

    Returns:
        False for a timeout, too: the image may have been made, and charged, all the same.
    """
    if isinstance(error, ImageRateLimitError):
        return True
    if not isinstance(error, ImageApiError) or error.answer is not None:
        return False
    return error.code is None or error.code >= _HTTP_SERVER_FAULT


def _stated_ms(headers: Mapping[str, Any]) -> int | None:
    """Return the time the service says it took, in milliseconds (header `Server-Timing`)."""
    for name, value in headers.items():
        found = _SERVER_TIME.search(str(value)) if str(name).lower() == "server-timing" else None
        if found is not None:
            return round(float(found[1]))
    return None


def _stated_delays(details: Any) -> list[Any]:
    try:
        return [one["retryDelay"] for one in details["error"]["details"] if "retryDelay" in one]
    except (TypeError, KeyError):  # most errors have no such details
        return []


def _retry_after_s(error: Any) -> float | None:
    """Return when to come back, in seconds.

    From the error's `RetryInfo` (google.rpc), else from the header `Retry-After`.
    """
    headers = getattr(error.response, "headers", None)
    for text in (*_stated_delays(error.details), headers.get("retry-after") if headers else None):
        found = _SECONDS.fullmatch(str(text))
        if found is not None:
            return float(found[1])
    return None
