"""Says of an exception which sort of failure it is, in the words that dashboards count by.

Comes in: whatever a client raised, ours or another's. Goes out: one of `ERROR_TYPES` and a short
detail. An exception of another client is known by what it says of itself, a status or the name of
its class, since its library cannot be imported here.

Source: document 1 (Nano Banana provenance), "Error Tracking", and the words of its origin.
"""

from __future__ import annotations

from typing import NamedTuple

from whence.capture import guard
from whence.errors import (
    ImageError,
    ImagePolicyError,
    ImageRateLimitError,
    ImageTimeoutError,
)

ERROR_TYPES = ("rate_limit", "content_policy", "timeout", "api_error", "unexpected")
"""What a failed generation is counted as."""
CANCELLED = "cancelled"
"""What one is called that was given up by its caller. It is no error of the generation."""
_DETAIL_CHARS = 500
_RATE_LIMIT_STATUS = 429
_FOREIGN = {
    "RateLimitError": "rate_limit",
    "ContentPolicyError": "content_policy",
    "GenerationTimeoutError": "timeout",
    "TimeoutException": "timeout",
    "GenerationError": "api_error",
    "APIError": "api_error",
    "HTTPError": "api_error",
    "ClientError": "api_error",
}
"""Names of classes of other clients: the origin's, google-genai's, those of HTTP libraries."""


class Failure(NamedTuple):
    """Why there is no image."""

    error_type: str
    """One of `ERROR_TYPES`, or `cancelled`."""
    details: str
    """What happened, at most 500 characters."""


def classify(error: BaseException) -> Failure:
    """Return what sort of failure an exception is; `unexpected` where nothing is known of it."""
    error_type = _type_of(error)
    return Failure(error_type, _details(error, error_type)[:_DETAIL_CHARS])


def _type_of(error: BaseException) -> str:  # noqa: PLR0911 - one return a type
    if not isinstance(error, Exception):  # CancelledError, KeyboardInterrupt, SystemExit
        return CANCELLED
    if isinstance(error, ImageRateLimitError):
        return "rate_limit"
    if isinstance(error, ImagePolicyError):
        return "content_policy"
    if isinstance(error, (ImageTimeoutError, TimeoutError)):
        return "timeout"
    if isinstance(error, ImageError):
        return "api_error"
    if _RATE_LIMIT_STATUS in (getattr(error, "code", None), getattr(error, "status_code", None)):
        return "rate_limit"
    names = (kind.__name__ for kind in type(error).__mro__)
    return next((_FOREIGN[name] for name in names if name in _FOREIGN), "unexpected")


def _details(error: BaseException, error_type: str) -> str:
    if error_type == "rate_limit":
        after_s = _seconds(error, "retry_after_s", "retry_after")
        return "Rate limited" if after_s is None else f"Retry after {after_s:g}s"
    if error_type == "timeout":
        after_s = _seconds(error, "timeout_s", "timeout_seconds")
        return "Timed out" if after_s is None else f"Timeout after {after_s:g}s"
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - the __str__ of another's error may do anything
        return guard.describe(error)
    if isinstance(error, ImageError):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _seconds(error: BaseException, *names: str) -> float | None:
    for name in names:
        value = getattr(error, name, None)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value
    return None
