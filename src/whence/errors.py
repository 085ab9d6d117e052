"""Every error a caller can meet, in one tree, so that `except WhenceError` is always enough.

    WhenceError
    |- ConfigError            a setting or argument of ours cannot be used
    |- LinkError              a declared link would point at itself or close a cycle
    |- RecordError            a line of the log is not a record we can read
    |- StoreError             a store cannot be opened, read or written
    |  |- NotFoundError       no run, output or record has that id
    |  |- ArchiveBusyError    another process is compacting this home right now
    |  `- CursorError         a page cursor is not one this query handed out
    |- FilterError            a filter expression is wrong; `position` says where
    |- SqlError               a permitted SQL statement failed or ran out of its limits
    |  `- SqlRefused          the statement is not one read-only query
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


class LinkError(WhenceError):
    """A link was refused because it is a self-edge or would close a cycle."""


class RecordError(WhenceError):
    """A line is not a whence record."""


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


class MissingExtraError(WhenceError, ImportError):
    """An optional package is not installed; the message says which extra brings it."""
