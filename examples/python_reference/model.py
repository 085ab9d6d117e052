"""A report written by a language model instead of by quotation, when one is configured.

With `OPENAI_API_KEY` set, any server that speaks Chat Completions is asked; `OPENAI_BASE_URL` and
`OPENAI_MODEL` say which. The answer comes back with everything the provider stated about it.
Nothing is sent anywhere unless the key is set.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from python_reference import rubric as rubrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from python_reference.corpus import Section
    from python_reference.intake import Brief
    from python_reference.rubric import Rubric
    from python_reference.settings import Settings

_TIMEOUT_S = 60.0
_EXCERPT_CHARS = 6_000
_OK = 200
_WORDS_A_SENTENCE = 25


class ModelError(Exception):
    """The model gave no usable answer."""


@dataclass(frozen=True, slots=True)
class Model:
    """Where to ask."""

    name: str
    base_url: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Completion:
    """What came back."""

    text: str
    duration_ms: float
    stated: dict[str, Any]
    """The provider's whole answer."""


def find_model() -> Model | None:
    """Find the model that the environment names, None when it names none."""
    key = os.environ.get("OPENAI_API_KEY")
    if not key:
        return None
    base = os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
    return Model(os.environ.get("OPENAI_MODEL") or "gpt-4o-mini", base.rstrip("/"), key)


def build_messages(
    brief: Brief, rubric: Rubric, sections: Sequence[Section], settings: Settings
) -> list[dict[str, str]]:
    """Return the messages that ask for a report on `brief` from these sections, numbered from 1."""
    demands = [p.demand for p in rubrics.PRINCIPLES if p.id in rubric.weights]
    words = settings.sentences * _WORDS_A_SENTENCE
    excerpts = "\n\n".join(
        f"[{number}] {section.label}\n{section.text[:_EXCERPT_CHARS]}"
        for number, section in enumerate(sections, start=1)
    )
    system = (
        "You answer questions about Python from excerpts of its language reference and from "
        "nothing else. Write markdown with the headings '## Answer' and '## Details'"
        + (", '## Conditions and exceptions'" if settings.limits else "")
        + (", '## Alternatives'" if settings.alternatives else "")
        + f", about {words} words. End every sentence with the number of its excerpt, such as [1]. "
        + ("Include an example as a ```python block. " if settings.code else "")
        + "A good report: "
        + "; ".join(demands)
        + "."
    )
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": f"{brief.question}\n\nExcerpts:\n\n{excerpts}"},
    ]


def complete(model: Model, messages: Sequence[dict[str, str]]) -> Completion:
    """Return the model's answer to `messages`.

    Raises:
        ModelError: The server could not be reached, refused, or answered with something else.
    """
    url = urlsplit(f"{model.base_url}/chat/completions")
    kinds = {"https": http.client.HTTPSConnection, "http": http.client.HTTPConnection}
    if url.scheme not in kinds or not url.hostname:
        raise ModelError(f"{model.base_url!r} is not an http address; check OPENAI_BASE_URL")
    connection = kinds[url.scheme](url.hostname, url.port, timeout=_TIMEOUT_S)
    body = json.dumps({"model": model.name, "messages": list(messages), "temperature": 0})
    headers = {"Authorization": f"Bearer {model.key}", "Content-Type": "application/json"}
    started_ns = time.perf_counter_ns()
    try:
        connection.request("POST", url.path, body, headers)
        response = connection.getresponse()
        raw = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise ModelError(f"{url.hostname} could not be asked: {error}") from error
    finally:
        connection.close()
    if response.status != _OK:
        raise ModelError(f"{url.hostname} answered {response.status}: {raw[:200]!r}")
    try:
        stated = json.loads(raw)
        text = stated["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        raise ModelError(f"{url.hostname} sent no completion: {raw[:200]!r}") from error
    if not isinstance(text, str) or not text.strip():
        raise ModelError(f"{url.hostname} sent an empty completion")
    return Completion(text, (time.perf_counter_ns() - started_ns) / 1e6, stated)
