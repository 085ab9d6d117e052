"""Looks at an answer in the making: a response that OpenAI works on in the background.

Asking for it is the call of the model and is recorded as such, with no usage, because none is known
yet. A look at it is no call; the first that finds it finished notes on the call how it ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence.capture import emit
from whence.integrations.formats import base, responses

if TYPE_CHECKING:
    from collections.abc import Callable

    from whence.capture.scopes import Span
    from whence.integrations.answer import Outcome

_MOST_REMEMBERED = 512
_making: dict[str, Span] = {}
"""Response to the span of the call that asked for it."""


def remember(body: Any, span: Span) -> None:
    """Remember a response that is not finished yet."""
    said = base.mapping(body)
    response_id = base.text(said.get("id"))
    if response_id is None or not responses.is_ongoing(said):
        return
    while len(_making) >= _MOST_REMEMBERED:
        _making.pop(next(iter(list(_making))), None)
    _making[response_id] = span


def find_look(response_id: str) -> Look | None:
    """Return what takes part in a look at a response; None if nobody waits for it."""
    return Look(response_id) if response_id in _making else None


class Look:
    """Takes part in one look at a response."""

    def __init__(self, response_id: str) -> None:
        self.form = responses.RESPONSES
        self.abandon: Callable[[], None] | None = None
        self._response_id = response_id

    def arrived(self) -> None:
        """Take no note: how fast a look is answered says nothing of the model."""

    def end(self, outcome: Outcome) -> None:
        """Note how the response ended, if it did."""
        try:
            body = base.mapping(outcome.body)
            if not body.get("status") or responses.is_ongoing(body):
                return
            span = _making.pop(self._response_id, None)
            if span is not None:
                said = responses.answered(body)
                names = ("response_id", "finish_reason", "usage", "output", "reasoning", "error")
                told = {name: said[name] for name in names if said.get(name) is not None}
                span.set(**base.without_empty({"output": told.pop("output", None)}))
                span.event("response finished in the background", **told)
        except Exception as error:  # noqa: BLE001 - capture never raises into the user's program
            emit.failed(error, "")
