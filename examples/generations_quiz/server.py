"""A model of rules that speaks OpenAI's Responses API on loopback, for those who have no key.

It reads the prompt as a model would, works out an answer by `errors`, and says what it thought.
Its token counts are the words it really read, thought and wrote. Nothing in it is canned: another
prompt gets another answer.
"""

from __future__ import annotations

import http.server
import itertools
import json
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from generations_quiz import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "rules-1"
_QUOTE = re.compile(r"^> (.+)$", re.MULTILINE)
_KIND = re.compile(r"of the kind (\w+)")
_numbers = itertools.count(1)


def think(prompt: str) -> tuple[str, dict[str, str]]:
    """Return the reasoning and the answer to a prompt."""
    quote, kind = _QUOTE.search(prompt), _KIND.search(prompt)
    if quote is None:
        return "There is no sentence in the prompt.", {}
    sentence = quote[1]
    thoughts = [f"The sentence is: {sentence}"]
    if kind is None:
        thoughts.append("It is to stay true, so I repeat it.")
        return "\n".join(thoughts), {"statement": sentence, "error_type": ""}
    wanted = kind[1]
    thoughts.append(f"I look for a word to which {wanted} applies.")
    made = errors.make(sentence, wanted)
    if made is None:
        thoughts.append(f"I cannot satisfy the demand for {wanted}: no word fits.")
        others = [other for other in errors.MEANINGS if other != wanted]
        if "another kind" in prompt:
            for other in others:
                made = errors.make(sentence, other)
                if made is not None:
                    thoughts.append(f"Another kind is allowed, and {other} fits.")
                    return "\n".join(thoughts), {"statement": made, "error_type": other}
        thoughts.append("The sentence as it is has to be good enough.")
        return "\n".join(thoughts), {"statement": sentence, "error_type": wanted}
    thoughts.append(f"That gives: {made}")
    return "\n".join(thoughts), {"statement": made, "error_type": wanted}


def respond(body: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a request, in the form of the API."""
    prompt = body["input"] if isinstance(body["input"], str) else json.dumps(body["input"])
    thoughts, answer = think(prompt)
    text = json.dumps(answer, ensure_ascii=False)
    number = next(_numbers)
    read, thought, wrote = (len(part.split()) for part in (prompt, thoughts, text))
    return {
        "id": f"resp_{number}",
        "object": "response",
        "status": "completed",
        "model": NAME,
        "output": [
            {
                "id": f"rs_{number}",
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": thoughts}],
            },
            {
                "id": f"msg_{number}",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": text, "annotations": []}],
            },
        ],
        "usage": {
            "input_tokens": read,
            "output_tokens": thought + wrote,
            "output_tokens_details": {"reasoning_tokens": thought},
            "total_tokens": read + thought + wrote,
        },
    }


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = json.dumps(respond(body)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@contextmanager
def serving() -> Iterator[str]:
    """Yield the base URL of the model, which listens for as long as the block lasts."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            thread.join()
