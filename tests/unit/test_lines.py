"""What lines are made of is read from the kinds of record as they are declared."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from whence.log import lines
from whence.record import codec
from whence.record.base import Record

SHARED = {field.name for field in msgspec.structs.fields(Record)}


@pytest.mark.parametrize("kind", codec.KINDS.values())
def test_the_fields_of_a_kind_are_those_that_the_struct_has(kind):
    """Names, order and defaults are what evaluating every annotation would find."""
    expected = [
        (field.name, field.encode_name, field.default)
        for field in msgspec.structs.fields(kind)
        if field.name not in SHARED
    ]
    found = lines.own_fields(kind)
    assert [(name, name, default) for name, _, default in found] == expected
    assert [declared for _, declared, _ in found] == list(kind.__annotations__.values())


class Grown(Record, frozen=True, kw_only=True):
    made_anew: list[Any] = msgspec.field(default_factory=list)


def test_a_default_that_is_made_anew_is_refused():
    """It cannot be compared with what a caller gave."""
    with pytest.raises(TypeError, match="Grown"):
        lines.own_fields(Grown)
