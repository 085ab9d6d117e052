"""Recorded exchanges of providers, said again by a server on loopback to the real client libraries.

An exchange is `{request: {method, url, body}, response: {status, headers, body}}`. Where the record
of it names a length of base64 that was left out, as many characters stand in its place: the
libraries would refuse the note.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import anthropic
import google.oauth2.credentials
import openai
from google import genai
from google.genai import types
from loopback import Answer

from whence.integrations import anthropic as whence_anthropic
from whence.integrations import google_genai as whence_google_genai
from whence.integrations import openai as whence_openai

if TYPE_CHECKING:
    from loopback import Provider

_ELIDED = re.compile(r"<(\d+) base64 characters elided>")
_TRANSPORT = {"content-type", "content-length", "content-encoding", "transfer-encoding"}
ERRORS = (openai.APIStatusError, anthropic.APIStatusError, genai.errors.APIError)


def whole(value: Any) -> Any:
    """Return data with characters in place of the notes that some were left out."""
    if isinstance(value, str):
        return _ELIDED.sub(lambda note: "A" * (int(note[1]) // 4 * 4), value)
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    return value


class Clients:
    """Clients of every library, observed, that talk to the server."""

    def __init__(self, place: Provider) -> None:
        once = types.HttpOptions(
            base_url=place.url, retry_options=types.HttpRetryOptions(attempts=1)
        )
        token = google.oauth2.credentials.Credentials(token="none")  # noqa: S106 - no secret
        self._place = place
        self._openai = whence_openai.wrap(
            openai.OpenAI(api_key="none", base_url=f"{place.url}/v1", max_retries=0)
        )
        self._anthropic = whence_anthropic.wrap(
            anthropic.Anthropic(api_key="none", base_url=place.url, max_retries=0)
        )
        self._bedrock = whence_anthropic.wrap(
            anthropic.AnthropicBedrock(
                api_key="none", base_url=place.url, aws_region="us-east-1", max_retries=0
            )
        )
        self._google = whence_google_genai.wrap(genai.Client(api_key="none", http_options=once))
        self._vertex = whence_google_genai.wrap(
            genai.Client(
                vertexai=True, project="p", location="global", credentials=token, http_options=once
            )
        )

    def close(self) -> None:
        """Give up all connections."""
        for client in (self._openai, self._anthropic, self._bedrock, self._google, self._vertex):
            client.close()

    def replay(self, exchange: dict[str, Any]) -> None:
        """Ask through the library what was asked and read the whole answer, errors included."""
        request, response = exchange["request"], whole(exchange["response"])
        headers = tuple(
            (key, value) for key, value in response["headers"].items() if key not in _TRANSPORT
        )
        kind = response["headers"].get("content-type", "application/json")
        self._place.answers = [Answer(response["body"], response["status"], headers, kind)]
        try:
            answer = self._ask(request["method"], request["url"], whole(request["body"]))
            if not hasattr(answer, "model_dump"):
                for _ in answer:
                    pass
        except ERRORS:
            return

    def _ask(self, method: str, url: str, body: Any) -> Any:
        if method == "GET":
            response_id = url.partition("/responses/")[2].partition("?")[0]
            streamed = isinstance(self._place.answers[0].body, str)
            return self._openai.responses.retrieve(response_id, stream=streamed)
        path = url.partition("?")[0]
        if path.endswith("/v1/messages"):
            return _create(self._anthropic.messages, body)
        if path.endswith("/invoke"):
            model = path.partition("/model/")[2].partition("/")[0]
            return _create(self._bedrock.messages, {**body, "model": model})
        if path.endswith("/responses"):
            return _create(self._openai.responses, body)
        if path.endswith("/chat/completions"):
            return _create(self._openai.chat.completions, body)
        return self._generate(url, body)

    def _generate(self, url: str, body: Any) -> Any:
        client = self._vertex if "aiplatform" in url else self._google
        model = url.partition("/models/")[2].partition(":")[0]
        asked = {
            "model": model,
            "contents": body["contents"],
            "config": types.GenerateContentConfig.model_validate(_config(body)),
        }
        if "streamGenerateContent" in url:
            return client.models.generate_content_stream(**asked)
        return client.models.generate_content(**asked)


def _create(resource: Any, body: dict[str, Any]) -> Any:
    known = inspect.signature(resource.create).parameters
    given = {key: value for key, value in body.items() if key in known}
    extra = {key: value for key, value in body.items() if key not in known}
    return resource.create(**given, **({"extra_body": extra} if extra else {}))


def _config(body: dict[str, Any]) -> dict[str, Any]:
    """Return a request's body as the library wants it told."""
    others = {key: v for key, v in body.items() if key not in {"contents", "generationConfig"}}
    config = {**(body.get("generationConfig") or {}), **others}
    if "responseJsonSchema" in config:
        config["response_json_schema"] = config.pop("responseJsonSchema")
    if isinstance(config.get("tools"), dict):
        config["tools"] = [config["tools"]]
    return {**config, "automaticFunctionCalling": {"disable": True}}
