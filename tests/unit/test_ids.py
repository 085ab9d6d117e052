"""Ids of records: never the same twice in a process, whatever the clock does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from whence import _ids

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _own_ids() -> Iterator[None]:
    """Leave the process ids that follow its clock."""
    yield
    _ids.reseed()


def test_an_id_drawn_from_the_counter_before_is_not_given_again() -> None:
    """A thread that looked the counter up before it was renewed draws an id of its own."""
    before = _ids.next_number
    drawn = {before()}
    for _ in range(3):
        _ids.renew(0)  # a clock that went back: the ids are ahead of it
        drawn |= {before(), _ids.next_number()}
    assert len(drawn) == 7


def test_ids_follow_the_clock_and_never_go_back() -> None:
    """A later second gives larger ids, an earlier one too."""
    first = _ids.next_number()
    _ids.renew(2_000_000_000 * 10**9)
    later = _ids.next_number()
    _ids.renew(0)
    assert first < later < _ids.next_number()
    assert len(_ids.new_id()) == 16
