"""whence: know why your AI said that.

Capture is what this module imports, and it costs msgspec and nothing else. Reading (`whence.open`)
is imported when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence.capture.api import (
    agent,
    current_run,
    current_span,
    generation,
    retrieval,
    run,
    span,
    stage,
    step,
    tool,
)
from whence.capture.context import bind, copy_context
from whence.capture.state import FlushReport, configure, flush
from whence.errors import (
    ArchiveBusyError,
    ConfigError,
    CursorError,
    FilterError,
    LinkError,
    MissingExtraError,
    NotFoundError,
    RecordError,
    SqlError,
    SqlRefused,
    StoreError,
    WhenceError,
)

if TYPE_CHECKING:
    from whence._version import __version__
    from whence.capture.observe import observe
    from whence.capture.remote import resume, traceparent
    from whence.integrations import instrument
    from whence.query.reader import Reader, open_store

    open = open_store  # noqa: A001 - the public name is fixed by the API document

__all__ = [
    "ArchiveBusyError",
    "ConfigError",
    "CursorError",
    "FilterError",
    "FlushReport",
    "LinkError",
    "MissingExtraError",
    "NotFoundError",
    "Reader",
    "RecordError",
    "SqlError",
    "SqlRefused",
    "StoreError",
    "WhenceError",
    "__version__",
    "agent",
    "bind",
    "configure",
    "copy_context",
    "current_run",
    "current_span",
    "flush",
    "generation",
    "instrument",
    "observe",
    "open",
    "resume",
    "retrieval",
    "run",
    "span",
    "stage",
    "step",
    "tool",
    "traceparent",
]

_LAZY = {
    "instrument": ("whence.integrations", "instrument"),
    "__version__": ("whence._version", "__version__"),
    "resume": ("whence.capture.remote", "resume"),
    "traceparent": ("whence.capture.remote", "traceparent"),
    "observe": ("whence.capture.observe", "observe"),
    "open": ("whence.query.reader", "open_store"),
    "Reader": ("whence.query.reader", "Reader"),
}


def __getattr__(name: str) -> Any:
    """Import what reading needs when it is first asked for."""
    if name not in _LAZY:
        message = f"module 'whence' has no attribute {name!r}"
        raise AttributeError(message)
    import importlib  # noqa: PLC0415 - only those who read pay for it

    module, attribute = _LAZY[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
