"""The lineage, context and purpose of one token request: 27 fields, frozen.

Source: document 2 (token provenance), with its defaults and its rules of what is valid.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from whence.dialects.tokens import numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUIRED = ("usage_id", "request_id", "agent_id", "agent_type", "task_type", "intent")
"""The fields that may not be empty."""
UNKNOWN_VERSION = "unknown"
DEFAULT_ENVIRONMENT = "development"
_HASH_DIGITS = 16


class TokenProvenance(msgspec.Struct, frozen=True, kw_only=True):
    """Who made a token request, in which chain of requests, and what for."""

    id: str = msgspec.field(default_factory=lambda: numbers.new_id("prov"))
    """Its own id, `prov_<n>`."""
    usage_id: str
    """Id of the usage it explains."""
    request_id: str
    """Id of the request."""
    timestamp: dt.datetime = msgspec.field(default_factory=numbers.now)
    """When the request was made."""

    parent_request_id: str | None = None
    """The request that led to it; None for a root."""
    root_request_id: str = ""
    """The request at the beginning of its chain; itself unless stated."""
    workflow_id: str | None = None
    """The workflow it belongs to."""
    session_id: str | None = None
    """The session it belongs to."""
    conversation_id: str | None = None
    """The conversation it belongs to."""
    depth: int | None = None
    """How many requests lead to it: 0 without a parent, 1 with one, unless stated."""

    agent_id: str
    """Which agent made it."""
    agent_type: str
    """What sort of agent."""
    signal_type: str = "unknown"
    """The signal that set it off."""
    signal_trail: list[str] = []
    """The signals that led to it, in order."""

    task_type: str
    """What sort of task it is for: `code_generation`."""
    intent: str
    """What it is to achieve: `implement_feature`."""
    purpose: str | None = None
    """What it is for, in words."""
    prompt_template_id: str | None = None
    """The prompt template used."""
    prompt_version: str | None = None
    """Version of the prompt template."""

    input_hash: str | None = None
    """Stands for what was sent, see `content_hash`."""
    output_hash: str | None = None
    """Stands for what came back."""
    code_references: list[str] = []
    """Code it is about."""
    document_references: list[str] = []
    """Documents it is about."""

    system_version: str = UNKNOWN_VERSION
    """Version of the program that made it."""
    environment: str = DEFAULT_ENVIRONMENT
    """Where that runs."""

    tags: list[str] = []
    """Labels, each once, the newest first."""
    metadata: dict[str, Any] = {}
    """Whatever else is known; a true `error` marks a request that failed."""

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr  # the record is frozen from here on
        if not self.root_request_id:
            put(self, "root_request_id", self.request_id)
        if self.depth is None:
            put(self, "depth", 0 if self.parent_request_id is None else 1)
        put(self, "tags", list(dict.fromkeys(self.tags)))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> TokenProvenance:
        """Return the provenance with these fields; keys that are no field go to the metadata.

        Raises:
            TypeError: A required field is missing.
        """
        known = {name: fields[name] for name in FIELDS if fields.get(name) is not None}
        moment = numbers.as_moment(known.pop("timestamp", None))
        if moment is not None:
            known["timestamp"] = moment
        metadata = known.get("metadata", {})
        others = {
            name: value for name, value in fields.items() if name not in FIELDS_SET | {"metadata"}
        }
        if others:
            known["metadata"] = {**others, **metadata}
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """Return all 27 fields as JSON-ready data, the time as an RFC 3339 text."""
        made = {name: getattr(self, name) for name in FIELDS}
        return {**made, "timestamp": numbers.as_text(self.timestamp)}

    def validate(self) -> list[str]:
        """Return what is wrong with it, a sentence each; nothing if it is valid."""
        errors = [f"{name} is required" for name in REQUIRED if not getattr(self, name)]
        depth = self.depth or 0
        if self.parent_request_id is None and depth > 0:
            errors.append("depth must be 0 for root requests")
        if depth < 0:
            errors.append("depth must not be negative")
        return errors

    @property
    def is_root(self) -> bool:
        """Whether no request led to it."""
        return self.parent_request_id is None

    @property
    def in_workflow(self) -> bool:
        """Whether it belongs to a workflow."""
        return self.workflow_id is not None

    @property
    def in_conversation(self) -> bool:
        """Whether it belongs to a conversation."""
        return self.conversation_id is not None

    @property
    def failed(self) -> bool:
        """Whether its metadata say that the request failed."""
        return bool(self.metadata.get("error"))

    def add_tag(self, tag: str) -> TokenProvenance:
        """Return it with one more label, which comes first."""
        return msgspec.structs.replace(self, tags=[tag, *self.tags])

    def add_metadata(self, key: str, value: Any) -> TokenProvenance:
        """Return it with one more entry in its metadata."""
        return msgspec.structs.replace(self, metadata={**self.metadata, key: value})

    def signal_trail_string(self) -> str:
        """Return the signals that led to it as one line."""
        return " → ".join(self.signal_trail)

    def summary(self) -> dict[str, Any]:
        """Return what is worth showing; what is not known is left out."""
        lineage = {
            "parent": self.parent_request_id,
            "root": self.root_request_id,
            "depth": self.depth,
            "workflow": self.workflow_id,
            "session": self.session_id,
            "conversation": self.conversation_id,
        }
        context = {
            "signal": self.signal_type,
            "template": self.prompt_template_id,
            "environment": self.environment,
            "tags": self.tags or None,
        }
        return {
            "request_id": self.request_id,
            "agent": f"{self.agent_type}/{self.agent_id}",
            "task": f"{self.task_type}/{self.intent}",
            "lineage": {name: value for name, value in lineage.items() if value is not None},
            "context": {name: value for name, value in context.items() if value is not None},
        }

    @staticmethod
    def content_hash(input_content: str | bytes, output_content: str | bytes | None = None) -> str:
        """Return what stands for a content, to find the same one again.

        The first 16 hex digits of the SHA-256 of the input, or of `input::output`.
        """
        content = _bytes(input_content)
        if output_content is not None:
            content += b"::" + _bytes(output_content)
        return hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]


FIELDS = tuple(field.name for field in msgspec.structs.fields(TokenProvenance))
FIELDS_SET = frozenset(FIELDS)
TEXT_FIELDS = tuple(
    field.name
    for field in msgspec.structs.fields(TokenProvenance)
    if field.type in {str, str | None}
)
LIST_FIELDS = tuple(
    field.name for field in msgspec.structs.fields(TokenProvenance) if field.type == list[str]
)


def _bytes(content: str | bytes) -> bytes:
    # Half of a surrogate pair has no form in UTF-8; it is hashed as Python would keep it.
    return content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
