"""A server on loopback that speaks OpenAI's two APIs; each request is kept for the test to look at.

It answers `/v1/chat/completions` and `/v1/responses` with what a test scripts, either replies in
order or a function of the request.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import loopback
from loopback import Repeating

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from loopback import Asked

CORPUS = Path("corpora", "provider-http", "openai.jsonl")


def serving(
    *answers: Any, answer: Callable[[Asked], Any] | None = None
) -> AbstractContextManager[Repeating]:
    """Serve answers (bodies, or `Answer`s) on loopback; `url` is the base URL for a client."""
    api = Repeating(*answers, answer=answer)
    api.url = "/v1"
    return loopback.serving(api)


def chat_body(content: str | None = "Salut.", **more: Any) -> dict[str, Any]:
    """Return an answer of Chat Completions, in the shape of its reference; `more` replaces keys."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, "refusal": None},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 150, "completion_tokens": 75, "total_tokens": 225},
    } | more


def responses_body(
    content: str = "Je suis allé.", *summaries: str, reasoning: int | None = 500, **more: Any
) -> dict[str, Any]:
    """Return an answer of the Responses API with reasoning, in the shape of its reference."""
    thought = {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text} for text in summaries],
    }
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": content, "annotations": []}],
    }
    stated = {"output_tokens_details": {"reasoning_tokens": reasoning}}
    details = {} if reasoning is None else stated
    return {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": "gpt-5-nano-2025-08-07",
        "output": [thought, message],
        "usage": {
            "input_tokens": 150,
            "input_tokens_details": {"cached_tokens": 100},
            "output_tokens": 575,
            "total_tokens": 725,
            **details,
        },
    } | more


def recorded_exchanges() -> list[dict[str, Any]]:
    """Return the recorded exchanges in the collection beside the project; none where it is not."""
    for folder in Path(__file__).resolve().parents:
        path = folder / "shared" / CORPUS
        if path.is_file():
            return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return []
