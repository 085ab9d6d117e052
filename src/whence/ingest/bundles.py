"""Attributes of a model call that hold several things at once, as an object or as JSON in a text.

Comes in: what one of them holds. Goes out: its parts under the names of the conventions, so that
they are read like those of any other span. Platforms have the same in the spans that their
libraries send and in what they export, so the importers of exports take their tables from here.

In Langfuse's usage the counts are apart from each other: `input` is without `input_cached_tokens`
and whatever else begins with `input_`, and `total` is the sum of all. A provider's own usage object
is passed through as it is; Langfuse takes it apart when it arrives.

Source: langfuse `_client/attributes.py` and `langchain/CallbackHandler.py` (`_parse_usage_model`)
of 5.0; mlflow `tracing/constant.py` of 3.17.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence.ingest import calls, loose, stated, usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from whence.ingest.loose import Fields

_INPUT, _OUTPUT, _TOTAL = (f"gen_ai.usage.{part}_tokens" for part in ("input", "output", "total"))
_READ, _WRITE = (f"gen_ai.usage.cache_{part}_input_tokens" for part in ("read", "creation"))
_REASONING = "gen_ai.usage.reasoning_tokens"
_OF_FIGURE = {
    "input": _INPUT,
    "output": _OUTPUT,
    "cache_read": _READ,
    "cache_write": _WRITE,
    "reasoning": _REASONING,
    "total": _TOTAL,
}
_OF_LANGFUSE: dict[str, tuple[str, ...]] = {
    _INPUT: ("input", "input_tokens", "prompt_tokens", "promptTokens"),
    _OUTPUT: ("output", "output_tokens", "completion_tokens", "completionTokens"),
    _TOTAL: ("total", "total_tokens", "totalTokens"),
    _READ: (
        "input_cached_tokens",
        "input_cache_read",
        "cache_read_input_tokens",
        "input_cached",
        "cached_tokens",
    ),
    _WRITE: ("input_cache_creation", "cache_creation_input_tokens", "input_cache_write"),
    _REASONING: ("output_reasoning_tokens", "output_reasoning", "reasoning_tokens"),
}
_WRITTEN = frozenset(
    {
        "input_cache_creation_5m",
        "input_cache_creation_1h",
        "input_ephemeral_5m_input_tokens",
        "input_ephemeral_1h_input_tokens",
    }
)
"""Cached tokens by how long they are kept, beside the others that were written."""
_KNOWN = _WRITTEN.union(*_OF_LANGFUSE.values())
_SHARED = ("input_priority", "output_priority")
"""A tier that tokens were served in, which were counted elsewhere."""
_OF_PROVIDERS = frozenset(
    {
        "prompt_tokens_details",
        "completion_tokens_details",
        "input_tokens_details",
        "output_tokens_details",
    }
)
_OF_MLFLOW = {
    "input_tokens": _INPUT,
    "output_tokens": _OUTPUT,
    "total_tokens": _TOTAL,
    "cache_read_input_tokens": _READ,
    "cache_creation_input_tokens": _WRITE,
}
_COST_OF_MLFLOW = {
    "total_cost": "gen_ai.usage.cost",
    "input_cost": "gen_ai.usage.input_cost",
    "output_cost": "gen_ai.usage.output_cost",
}
_COST_OF_LANGFUSE = {
    "total": "gen_ai.usage.cost",
    "input": "gen_ai.usage.input_cost",
    "output": "gen_ai.usage.output_cost",
}


def parts_of(name: str, bundle: Any) -> Fields:
    """Return the parts of a bundle under the names of the conventions.

    Args:
        name: The attribute that holds it, one of `NAMES`.
        bundle: What it holds.
    """
    return _READERS[name](bundle)


def of_langfuse(bundle: Any) -> Fields:
    """Return a usage of Langfuse under the names of the conventions."""
    details = loose.mapping(bundle)
    if not _OF_PROVIDERS.isdisjoint(details):
        return _of_figures(usage.figures(details))
    counts = {name: n for name, value in details.items() if (n := stated.figure(value)) is not None}
    made: Fields = {}
    for attribute, names in _OF_LANGFUSE.items():
        count = next((counts[name] for name in names if name in counts), None)
        if count is not None:
            made[attribute] = count
    parts = _parts(made, counts)
    total, apart = made.get(_TOTAL), sum(parts.values())
    if total == apart:
        return {**parts, _TOTAL: total}
    if total is None and {_READ, _WRITE, _REASONING} & parts.keys():
        return _inside(parts)
    return made


def _of_figures(known: usage.Figures) -> Fields:
    return {
        name: number
        for figure, name in _OF_FIGURE.items()
        if (number := getattr(known, figure)) is not None
    }


def _of_gemini(bundle: Any) -> Fields:
    """Return the usage in an answer as Google's ADK keeps it."""
    return _of_figures(usage.figures(loose.mapping(loose.mapping(bundle).get("usage_metadata"))))


def _parts(made: Fields, counts: Fields) -> Fields:
    """Return the parts of a usage with those that have no name of their own in the whole."""
    parts = {name: count for name, count in made.items() if name != _TOTAL}
    for name, count in counts.items():
        if name in _WRITTEN:
            whole = _WRITE
        elif name in _KNOWN or name.startswith(_SHARED):
            continue
        elif name.startswith("input_"):  # sound, images
            whole = _INPUT
        elif name.startswith("output_"):
            whole = _OUTPUT
        else:
            continue
        parts[whole] = parts.get(whole, 0) + count
    return parts


def _inside(parts: Fields) -> Fields:
    """Return parts that are apart as the conventions have them, where no total tells."""
    made = dict(parts)
    for whole, inner in ((_INPUT, (_READ, _WRITE)), (_OUTPUT, (_REASONING,))):
        if whole in parts:
            made[whole] = parts[whole] + sum(parts.get(name, 0) for name in inner)
    return made


def _renamed(names: dict[str, str]) -> Callable[[Any], Fields]:
    return lambda bundle: {
        names[key]: value
        for key, value in loose.mapping(bundle).items()
        if key in names and value is not None
    }


of_mlflow = _renamed(_OF_MLFLOW)
"""Gets a usage of MLflow, returns it under the names of the conventions."""
cost_of_mlflow = _renamed(_COST_OF_MLFLOW)
"""Gets the costs of a call in MLflow, returns them under the names of the conventions."""
_READERS: dict[str, Callable[[Any], Fields]] = {
    "langfuse.observation.usage_details": of_langfuse,
    "langfuse.observation.cost_details": _renamed(_COST_OF_LANGFUSE),
    "langfuse.observation.input": calls.of_request,
    "langfuse.observation.output": calls.of_answer,
    "gcp.vertex.agent.llm_response": _of_gemini,
    "mlflow.chat.tokenUsage": of_mlflow,
    "mlflow.llm.cost": cost_of_mlflow,
    "mlflow.spanInputs": calls.of_request,
    "mlflow.spanOutputs": calls.of_answer,
}
NAMES = frozenset(_READERS)
"""Attributes of a model call that are bundles."""
