"""The option that was taken is found whatever form the choice and the options have."""

from __future__ import annotations

from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

import whence
from whence.query import taken
from whence.store import rows as r


class Size(Enum):
    """A choice as programs have them."""

    SMALL = "small"
    LARGE = "large"


CHOICES = [
    ({"name": "table", "cols": 3}, [{"name": "table"}, {"name": "prose"}], ["prose"]),
    ({"label": "b", "n": 1}, ["a", "b"], ["a"]),
    ({"value": 3}, [3, 4], ["4"]),
    ({"id": "x-1", "url": "u"}, ["x-1", "x-2"], ["x-2"]),
    ({"name": "a", "value": "b"}, ["a", "b"], ["b"]),
    (True, [True, False], ["False"]),
    (False, [True, False], ["True"]),
    (None, [None, "a"], ["a"]),
    (2, [1, 2, 3], ["1", "3"]),
    ((512, 512), [(512, 512), (1024, 1024)], ["(1024, 1024)"]),
    ([1, 2], [[1, 2], [3, 4]], ["[3, 4]"]),
    (["a", "b"], ["a", "b", "c"], ["c"]),
    ([{"name": "a"}, {"name": "b"}], ["a", "b", "c"], ["c"]),
    ({"m": "x", "t": 1}, [{"name": "one", "chosen": True}, {"name": "two"}], ["two"]),
    ({"m": "x", "t": 1}, ['{"t":1,"m":"x"}', '{"m":"x","t":1}'], ['{"t":1,"m":"x"}']),
    (Size.SMALL, [Size.SMALL, Size.LARGE], None),
    ("yes", {"yes": 0.7, "no": 0.3}, ["no"]),
    ({}, ["a", {"name": "b"}], ["a", "b"]),
    ({"name": "elsewhere"}, ["a", "b"], ["a", "b"]),
]


@pytest.mark.parametrize(("what", "options", "rest"), CHOICES, ids=lambda value: repr(value)[:30])
def test_what_was_taken_is_not_among_what_was_not(recording, what, options, rest):
    """Each form in which programs give options is understood when it is read back."""
    with whence.run("x") as run:
        run.decide("q", what, options=options)
    with whence.open(recording) as store:
        (choice,) = store.why(run.id).decisions

    names = [option["name"] for option in choice.not_taken]
    assert len(names) == 1 if rest is None else names == rest


def test_a_mapping_without_a_name_is_known_by_its_content(recording):
    """Options that are mappings of other keys are compared as a whole."""
    with whence.run("x") as run:
        run.decide("q", {"id": 7, "k": "v"}, options=[{"k": "v", "id": 7}, {"k": "w", "id": 8}])
    with whence.open(recording) as store:
        (choice,) = store.why(run.id).decisions
        said = str(store.why(run.id))

    assert [option["attributes"] for option in choice.not_taken] == [{"k": "w", "id": 8}]
    assert 'not {"k":"w","id":8}' in said


def test_truth_values_are_called_alike(recording):
    """The answer is `yes`, so the other option is `no`."""
    with whence.run("x") as run:
        run.decide("publish", what=True, options=[True, False])
    with whence.open(recording) as store:
        said = str(store.why(run.id))

    assert "decided publish: yes" in said
    assert "not no" in said


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(_VALUES, st.lists(st.fixed_dictionaries({"name": st.text(max_size=5)}), max_size=4))
def test_any_value_can_have_been_chosen(what, options):
    """Nothing that JSON holds breaks the comparison, and no option is made up."""
    row = r.DecisionRow(id="d", run="r", ts_ns=1, name="q", what=what, options=options)

    rest = taken.not_taken(row)
    assert [option for option in options if option in rest] == rest
    if isinstance(what, str):
        assert all(option["name"] != what for option in rest)
