"""Asks OpenAI, or a server that speaks as it does, and records everything the answer says.

Comes in: a prompt. Goes out: its text, or an `LLMResponse`; and into the log, one generation inside
the run or span at hand, or in a run of its own. Models from gpt-5 on are asked over the Responses
API, which is where their reasoning is told, all others over Chat Completions. The library `openai`
does the transport, its retries and its errors, which reach the caller unchanged; answers are read
by `answers`.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

from whence import _clock, _extras
from whence.capture import guard
from whence.capture.api import generation
from whence.dialects.generations import answers
from whence.dialects.generations.traces import DIALECT, LLMResponse
from whence.dialects.shared.closing import AsyncClosing
from whence.errors import ConfigError, GenerationError
from whence.integrations.calls import suppressed
from whence.query import text

if TYPE_CHECKING:
    from whence.capture.noop import NoOp
    from whence.capture.scopes import Span

Api = Literal["auto", "chat", "responses"]

LOGGER = "whence.generations"
"""Name of the logger that gets one line a request."""
_log = logging.getLogger(LOGGER)
_APIS = ("auto", "chat", "responses")
_RESPONSES_MODELS = re.compile(r"gpt-[5-9](?!\d)")
"""Models asked over Responses: gpt-5 (document 4, generation trace) and later ones.

Not `gpt-35-turbo`, which is Azure's name of 3.5.
"""
_NOT_RECORDED = frozenset({"instructions", "extra_headers", "extra_query", "timeout"})
"""Arguments that are recorded as messages, or that may hold a secret."""
_DEFAULT_OPERATION = "llm_request"
_SHOWN_CHARS = 200


class OpenAIClient(AsyncClosing):
    """A client of OpenAI that records, also as an `async with` block.

    Args:
        api_key: The key; `OPENAI_API_KEY` if None.
        base_url: The address of the API with `/v1`; `OPENAI_BASE_URL`, else OpenAI's own,
            if None.
        model: The model that is asked when a request names none.
        api: `chat` or `responses` for one API whatever the model.
        reasoning_summary: How the reasoning is to be told over Responses: `auto`, `concise`,
            `detailed`; None does not ask for it.
        timeout_s: How long to wait for an answer, in seconds.
        max_retries: How often `openai` tries again.
        provider: Who serves the answers, as it is recorded.
        cost_of: What an answer cost in US dollars, or None; whence knows no prices of its own.
        client: An `openai.AsyncOpenAI` of your own, which is used as it is. Otherwise no connection
            outlives its request, so that one client serves one event loop after the other.

    Raises:
        ConfigError: The API is none of the three.
        MissingExtraError: `openai` is not installed.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        model: str | None = None,
        api: Api = "auto",
        reasoning_summary: str | None = "auto",
        timeout_s: float = 120.0,
        max_retries: int = 2,
        provider: str = "openai",
        cost_of: Callable[[LLMResponse], float | None] | None = None,
        client: Any = None,
    ) -> None:
        self.model = model
        self.provider_name = provider
        self._api = _checked(api)
        self._summary = reasoning_summary
        self._cost_of = cost_of
        self._own = client is None
        if client is None:
            openai = _extras.require("openai", "openai", "asking OpenAI")
            client = openai.AsyncOpenAI(
                api_key=api_key,
                base_url=base_url,
                timeout=timeout_s,
                max_retries=max_retries,
                default_headers={"Connection": "close"},
            )
        self.client = client

    async def aclose(self) -> None:
        """Close what `openai` holds, unless the client was given."""
        if self._own:
            await self.client.close()

    async def handle_request(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        model: str | None = None,
        operation: str | None = None,
        response_format: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> str:
        """Return the text of the answer; see `handle_request_with_metadata`."""
        response = await self.handle_request_with_metadata(
            prompt, model, operation, response_format, **options
        )
        return response.content

    async def handle_request_with_metadata(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        model: str | None = None,
        operation: str | None = None,
        response_format: Mapping[str, Any] | None = None,
        *,
        api: Api | None = None,
        prompt_name: str | None = None,
        prompt_version: str | None = None,
        **parameters: Any,
    ) -> LLMResponse:
        """Return the answer with everything that was said about it.

        Args:
            prompt: A text, or messages with `role` and `content`.
            model: The model; the client's own if None.
            operation: What the request is for; the name of its record.
            response_format: The form of the answer as Chat Completions takes it, over both APIs.
            api: The API, where it is another than the client's.
            prompt_name: What the prompt is called.
            prompt_version: Its version.
            **parameters: Whatever else the API takes, such as `temperature`, `tools`,
                `instructions` or `reasoning`. `reasoning_effort` is understood over both.

        Raises:
            ConfigError: There is no model, or the parameters ask for a stream.
            GenerationError: The answer says itself that it failed, or is no JSON object.
            openai.OpenAIError: The request failed; the exception is `openai`'s own.
        """
        asked = model or self.model
        if not asked:
            raise ConfigError("no model: name one in the request or when the client is made")
        if parameters.get("stream"):
            raise ConfigError("an answer with its metadata is not a stream; leave `stream` out")
        chosen = self._chosen_api(asked, api)
        messages = _messages(prompt, parameters)
        name = operation or _DEFAULT_OPERATION
        async with generation(
            name,
            provider=self.provider_name,
            model=asked,
            messages=messages,
            parameters=_recorded(parameters, response_format),
            prompt_name=prompt_name,
            prompt_version=prompt_version,
            dialect=DIALECT,
        ) as span:
            started_ns = _clock.mono_ns()
            try:
                raw = await self._sent(chosen, asked, prompt, messages, response_format, parameters)
                response = self._read(raw, chosen, asked, messages, _ms_since(started_ns), span)
            except Exception as error:
                _log.error(_failure_line(operation, asked, _ms_since(started_ns), error))
                raise
            _log.info(_success_line(operation, response))
            return response

    async def _sent(  # noqa: PLR0917 - private, and called in one place
        self,
        api: str,
        model: str,
        prompt: str | Sequence[Mapping[str, Any]],
        messages: list[dict[str, Any]],
        response_format: Mapping[str, Any] | None,
        parameters: Mapping[str, Any],
    ) -> Any:
        """Return the library's raw answer."""
        # A program that observes every client of `openai` would have the call recorded twice.
        with suppressed():
            if api == "responses":
                request = self._responses_request(model, prompt, response_format, parameters)
                return await self.client.responses.with_raw_response.create(**request)
            request = _chat_request(model, messages, response_format, parameters)
            return await self.client.chat.completions.with_raw_response.create(**request)

    def _read(  # noqa: PLR0917 - private, and called in one place
        self,
        raw: Any,
        api: str,
        model: str,
        messages: list[dict[str, Any]],
        duration_ms: float,
        span: Span | NoOp,
    ) -> LLMResponse:
        """Return what the raw answer says, after recording it."""
        body = _body(raw, model)
        answer = answers.of_responses(body) if api == "responses" else answers.of_chat(body)
        counts = answers.counts(answer.usage)
        response = LLMResponse(
            content=answers.without_fence(answer.text),
            model=answer.model or model,
            response_id=answer.response_id,
            duration_ms=duration_ms,
            prompt_tokens=counts.prompt,
            completion_tokens=counts.completion,
            total_tokens=counts.total,
            reasoning_tokens=counts.reasoning,
            reasoning_content=answer.reasoning,
            raw_content=answer.text,
            prompt_text=answers.prompt_text(messages),
            finish_reason=answer.finish_reason,
        )
        retries = getattr(raw, "retries_taken", None)
        cost_usd = self._cost_usd(response, span)
        record = span.record_generation(
            operation="chat",
            response_model=answer.model,
            response_id=answer.response_id,
            output=answer.output,
            usage=answer.usage,
            reasoning=answer.reasoning,
            finish_reason=answer.finish_reason,
            policy=None if answer.refusal is None else {"refusal": answer.refusal},
            attempt=retries + 1 if isinstance(retries, int) else None,
            duration_ms=duration_ms,
            cost_usd=cost_usd,
            cost_source=None if cost_usd is None else "computed",
            error=answer.error,
        )
        response = dataclasses.replace(response, generation_id=record or None)
        if answer.error is not None:
            said = answer.error["message"]
            raise GenerationError(f"{model} did not answer: {said}", response=response)
        return response

    def _cost_usd(self, response: LLMResponse, span: Span | NoOp) -> float | None:
        if self._cost_of is None:
            return None
        try:
            return self._cost_of(response)
        except Exception as error:  # noqa: BLE001 - an answer is not lost for the want of its price
            span.event("the cost is unknown", level="warning", error=guard.describe(error))
            return None

    def _chosen_api(self, model: str, api: Api | None) -> str:
        chosen = self._api if api is None else _checked(api)
        if chosen == "auto":
            return "responses" if _RESPONSES_MODELS.match(model) else "chat"
        return chosen

    def _responses_request(
        self,
        model: str,
        prompt: str | Sequence[Mapping[str, Any]],
        response_format: Mapping[str, Any] | None,
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        request = {"model": model, "input": prompt, **parameters}
        effort = request.pop("reasoning_effort", None)
        reasoning = dict(cast("Mapping[str, Any]", request.get("reasoning") or {}))
        if effort is not None:
            reasoning.setdefault("effort", effort)
        # Models for conversation do not reason, and refuse to be asked about it.
        if self._summary and _RESPONSES_MODELS.match(model) and "-chat" not in model:
            reasoning.setdefault("summary", self._summary)
        if reasoning:
            request["reasoning"] = reasoning
        if response_format is not None:
            inner = response_format.get("json_schema")
            form = {"type": response_format.get("type")} | (
                dict(cast("Mapping[str, Any]", inner)) if isinstance(inner, Mapping) else {}
            )
            request["text"] = {**cast("dict[str, Any]", request.get("text") or {}), "format": form}
        return request


def _checked(api: Any) -> Api:
    if api not in _APIS:
        raise ConfigError(f"api is {api!r}; it has to be one of {', '.join(_APIS)}")
    return api


def _chat_request(
    model: str,
    messages: list[dict[str, Any]],
    response_format: Mapping[str, Any] | None,
    parameters: Mapping[str, Any],
) -> dict[str, Any]:
    request = {"model": model, "messages": messages, **parameters}
    request.pop("instructions", None)  # they are the first message
    if response_format is not None:
        request["response_format"] = response_format
    return request


def _messages(
    prompt: str | Sequence[Mapping[str, Any]], parameters: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return what is sent as messages, `instructions` of the Responses API first."""
    instructions = parameters.get("instructions")
    first = [{"role": "system", "content": instructions}] if isinstance(instructions, str) else []
    if isinstance(prompt, str):
        return [*first, {"role": "user", "content": prompt}]
    return [*first, *(dict(message) for message in prompt)]


def _recorded(
    parameters: Mapping[str, Any], response_format: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Return the parameters to record: those of the model, not what is said to the transport."""
    kept = {key: value for key, value in parameters.items() if key not in _NOT_RECORDED}
    body = kept.pop("extra_body", None)
    if isinstance(body, Mapping):
        kept |= cast("Mapping[str, Any]", body)
    if response_format is not None:
        kept["response_format"] = response_format
    return kept or None


def _body(raw: Any, model: str) -> dict[str, Any]:
    """Return the answer's JSON as it came, before the library makes its own objects of it."""
    content: bytes = raw.content
    try:
        body = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        shown = text.printable(content[:_SHOWN_CHARS].decode("utf-8", "replace"), _SHOWN_CHARS)
        raise GenerationError(f"{model} did not answer with JSON ({error}): {shown}") from error
    if not isinstance(body, dict):
        raise GenerationError(f"{model} answered with JSON that is no object")
    return cast("dict[str, Any]", body)


def _ms_since(started_ns: int) -> float:
    return (_clock.mono_ns() - started_ns) / 1e6


def _success_line(operation: str | None, response: LLMResponse) -> str:
    """Return the line of document 4 (generation trace), on one line whatever the names hold."""
    stated = {
        "prompt": response.prompt_tokens,
        "completion": response.completion_tokens,
        "total": response.total_tokens,
    }
    shown = [f"{name}={'unknown' if n is None else n}" for name, n in stated.items()]
    if response.reasoning_tokens is not None:
        shown.append(f"reasoning_tokens={response.reasoning_tokens}")
    return (
        f"LLM request completed: operation={_shown(operation)}, model={_shown(response.model)}, "
        f"duration={response.duration_ms or 0:.0f}ms, tokens=({', '.join(shown)})"
    )


def _failure_line(operation: str | None, model: str, duration_ms: float, error: Exception) -> str:
    return (
        f"LLM request failed: operation={_shown(operation)}, model={_shown(model)}, "
        f"duration={duration_ms:.0f}ms, "
        f"error={type(error).__name__}: {text.printable(str(error), _SHOWN_CHARS)}"
    )


def _shown(name: str | None) -> str:
    return text.printable(name, _SHOWN_CHARS) if name else "unknown"
