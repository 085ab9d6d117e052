"""Every error a caller can meet, in one tree, so that `except WhenceError` is always enough.

    WhenceError
    |- ConfigError            a setting or argument of ours cannot be used
    |  `- IdentifierError     a name cannot become part of SQL; also a ValueError
    |- LinkError              a declared link would point at itself or close a cycle
    |- RecordError            a line of the log is not a record we can read
    |- IngestError            what is to be imported is not what its format demands
    |- ExportError            a file or a receiver did not take what is exported
    |- StoreError             a store cannot be opened, read or written
    |  |- NotFoundError       no run, output or record has that id
    |  |- ArchiveBusyError    another process is compacting this home right now
    |  `- CursorError         a page cursor is not one this query handed out
    |- FilterError            a filter expression is wrong; `position` says where
    |- SqlError               a permitted SQL statement failed or ran out of its limits
    |  `- SqlRefused          the statement is not one read-only query
    |- ImageError             an image was not generated
    |  |- ImageRateLimitError  the provider takes no more requests for now; `retry_after_s`
    |  |- ImagePolicyError     a content policy refused the prompt or the image
    |  |- ImageTimeoutError    no answer within `timeout_s`
    |  `- ImageApiError        the provider answered with an error, or with no image
    |- GenerationError        a model's answer says that it failed, or cannot be read
    |- SignalError            a token signal was refused; `reason`, `errors`
    |  `- SignalLinkError     ... because its parent would make a ring; a LinkError too
    `- MissingExtraError      an optional package is needed; the message names the extra

Messages say what happened, with which value, and what to do next. Capture raises none of these into
the user's program, with two exceptions that are answers to a wrong call: `ConfigError` from
`configure` and `LinkError`.
"""

from __future__ import annotations


class WhenceError(Exception):
    """Base of every error whence raises."""


class ConfigError(WhenceError):
    """A setting or argument has a value that cannot be used."""


class IdentifierError(ConfigError, ValueError):
    """A name that would become part of SQL is not a plain identifier."""


class LinkError(WhenceError):
    """A link was refused because it is a self-edge or would close a cycle."""


class RecordError(WhenceError):
    """A line is not a whence record."""


class IngestError(WhenceError):
    """A source that is to be imported is not what its format demands."""


class ExportError(WhenceError):
    """A file or a receiver did not take what is exported."""


class StoreError(WhenceError):
    """A store cannot be opened, read or written."""


class NotFoundError(StoreError):
    """Nothing has the id that was asked for."""


class ArchiveBusyError(StoreError):
    """Another process holds the archive's lock; nothing was changed."""


class CursorError(StoreError):
    """A page cursor does not belong to this query."""


class FilterError(WhenceError):
    """A filter expression is wrong at `position`.

    Attributes:
        position: Offset of the offending character in the filter text, from 0.
        text: The whole filter text.
    """

    def __init__(self, message: str, *, position: int = 0, text: str = "") -> None:
        self.position = position
        self.text = text
        self.reason = message
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        return (_filter_error, (self.reason, self.position, self.text))

    def __str__(self) -> str:
        if not self.text:
            return self.reason
        start = self.text.rfind("\n", 0, self.position) + 1
        end = self.text.find("\n", self.position)
        line = self.text[start : end if end >= 0 else None]
        return f"{self.reason}\n  {line}\n  {' ' * (self.position - start)}^"


def _filter_error(message: str, position: int, text: str) -> FilterError:
    return FilterError(message, position=position, text=text)


class SqlError(WhenceError):
    """A permitted SQL statement failed, or was stopped at its time or memory limit."""


class SqlRefused(SqlError):  # noqa: N818 - the public name is fixed by the API document
    """The SQL is not exactly one read-only SELECT, so it was not run."""


class ImageError(WhenceError):
    """An image was not generated.

    Attributes:
        retry_count: How many attempts failed before the last one.
        answer: What the provider said instead, a `whence.images.GenerationResponse` without an
            image; None if it said nothing.
    """

    retry_count: int = 0
    answer: object = None


class ImageRateLimitError(ImageError):
    """The provider takes no more requests for now.

    Attributes:
        retry_after_s: When to come back, in seconds; None if it does not say.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class ImagePolicyError(ImageError):
    """A content policy refused the prompt or the image.

    Attributes:
        reason: The provider's word for it, such as `IMAGE_SAFETY`.
    """

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        self.reason = reason
        super().__init__(message)


class ImageTimeoutError(ImageError, TimeoutError):
    """The provider did not answer in time.

    Attributes:
        timeout_s: How long was waited, in seconds; None if it was the provider that gave up.
    """

    def __init__(self, message: str, *, timeout_s: float | None = None) -> None:
        self.timeout_s = timeout_s
        super().__init__(message)


class ImageApiError(ImageError):
    """The provider answered with an error or without an image, or could not be reached.

    Attributes:
        code: The HTTP status; None if there was no answer, or one without an image.
    """

    def __init__(self, message: str, *, code: int | None = None) -> None:
        self.code = code
        super().__init__(message)


class GenerationError(WhenceError):
    """A model's answer says itself that it failed, or is not what the API promises.

    Attributes:
        response: What came all the same, a `whence.generations.LLMResponse`; None if nothing did.
    """

    def __init__(self, message: str, *, response: object = None) -> None:
        self.response = response
        super().__init__(message)


class SignalError(WhenceError):
    """A signal to the token manager was refused, or names what nobody tracked.

    Attributes:
        reason: What is wrong, in one sentence.
        signal: Name of the signal.
        errors: Every single thing that is wrong with its data, if that is why.
    """

    def __init__(self, reason: str, *, signal: str = "", errors: tuple[str, ...] = ()) -> None:
        self.reason = reason
        self.signal = signal
        self.errors = errors
        super().__init__(reason)


class SignalLinkError(SignalError, LinkError):
    """A request names as its parent itself or one that came after it; nothing was tracked."""


class MissingExtraError(WhenceError, ImportError):
    """An optional package is not installed; the message says which extra brings it."""
