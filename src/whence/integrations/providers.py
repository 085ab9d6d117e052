"""Which provider answers at a host.

The same client speaks to many providers, so the host decides, not the library. A host that is not
known is a proxy, a gateway or a server of one's own: the family of the client stands for it then,
and the record says which host it was.
"""

from __future__ import annotations

_HOSTS = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure",
    "cognitiveservices.azure.com": "azure",
    "services.ai.azure.com": "azure",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "aiplatform.googleapis.com": "google-vertex",
    "api.groq.com": "groq",
    "openrouter.ai": "openrouter",
    "api.cerebras.ai": "cerebras",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "x-ai",
    "api.fireworks.ai": "fireworks",
    "api.together.xyz": "together",
    "api.together.ai": "together",
    "api.perplexity.ai": "perplexity",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "api.moonshot.ai": "moonshotai",
    "api.moonshot.cn": "moonshotai",
}


def find_provider(host: str) -> str | None:
    """Return the provider whose host this is, regional and per-customer hosts included."""
    name = host.lower()
    if name.startswith("bedrock-runtime") and name.endswith(".amazonaws.com"):
        return "bedrock"
    if name.endswith("-aiplatform.googleapis.com"):
        return "google-vertex"
    while name:
        if name in _HOSTS:
            return _HOSTS[name]
        name = name.partition(".")[2]
    return None
