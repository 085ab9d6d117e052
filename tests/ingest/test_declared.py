"""Tokens that a source states of a run as a whole."""

from __future__ import annotations

from whence.ingest.report import Tally
from whence.record.generation import Generation, Usage
from whence.record.run import RunStarted

AT = "2026-01-01T00:00:00.000000000Z"


def run(name: str, parent: str | None = None, **declared: int) -> RunStarted:
    """Return the start of a run that declares totals."""
    about = {"declared": declared} if declared else None
    return RunStarted(ts=AT, run=name, name=name, parent_run=parent, attributes=about)


def call(run_id: str, **stated: int) -> Generation:
    """Return a call with what its provider stated."""
    return Generation(ts=AT, run=run_id, id="1" * 16, usage=Usage(stated=dict(stated)))


def tokens_of(*records: RunStarted | Generation) -> tuple[object, object]:
    """Return the input and output tokens of the report."""
    tally = Tally()
    for record in records:
        tally.add(record, new=True)
    stated = tally.report().usage_stated
    return stated.input, stated.output


def test_a_total_counts_where_no_call_states_tokens() -> None:
    """A trajectory that only sums up its tokens is not one that used none."""
    assert tokens_of(run("a", input_tokens=10, output_tokens=2)) == (10, 2)


def test_a_total_beside_calls_that_state_theirs_is_not_added() -> None:
    """The same tokens are not counted twice, in the run or in the run around it."""
    calls = call("b", prompt_tokens=7, completion_tokens=1)
    assert tokens_of(run("a", input_tokens=10), run("b", "a", input_tokens=10), calls) == (7, 1)


def test_of_totals_one_inside_the_other_the_outer_counts() -> None:
    """An evaluation and its samples both sum up; and a ring of runs ends."""
    outer, inner = run("a", input_tokens=10), run("b", "a", input_tokens=6)
    assert tokens_of(outer, inner) == (10, None)
    assert tokens_of(run("c", "d", input_tokens=1), run("d", "c")) == (1, None)


def test_nobody_stated_any_stays_unknown() -> None:
    """Absent is not zero."""
    assert tokens_of(run("a"), call("a")) == (None, None)
