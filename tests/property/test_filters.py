"""Laws of the filter language: canonical text means the same, and bad text is refused politely."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import predicates

from whence.errors import FilterError
from whence.query.filters import parse, show
from whence.query.tokens import quote, tokenize
from whence.store.match import compile_predicate
from whence.store.predicate import Not, Predicate
from whence.store.rows import TABLES, DecisionRow, Row, RunRow

TABLE_NAMES = st.sampled_from(list(TABLES))
WORDS = [
    *("and", "or", "not", "in", "is", "null", "true", "false", "now", "24h", "any", "all", "count"),
    *("(", ")", ",", ".", "-", "=", "!=", "<", ">=", "~", "!~", "0", "1.5", "1e3", "score", "run"),
    *("decisions", "decision", "name", "stage", "model", "confidence", "attributes", "what"),
    *("started_ns", "started", "flagged", "tags", '"a"', "'b'", '"2026-11-01"', '"\\u00e9"'),
]

RUN = RunRow(
    id="r1", run="r1", started_ns=5, tags=["a"], attributes={"tenant": "a", "in": {"a": 1}}
)
DECISIONS = [
    DecisionRow(id="d1", run="r1", ts_ns=7, name="draft", what={"a": [1]}, confidence=0.5),
    DecisionRow(id="d2", run="r1", ts_ns=8, name="", what="a", inputs={"tenant": True}),
    DecisionRow(id="d3", run="lost", ts_ns=9, name="Ärger", what=1, options=[{"name": "a"}]),
]


def read(text: str, table: str) -> Predicate | FilterError:
    """Return the predicate that `text` stands for, or the error that refuses it."""
    try:
        return parse(text, table, now_ns=0)
    except FilterError as error:
        return error


class OneRun:
    """A run with three decisions, one of them of a run that is not known."""

    def run_of(self, row: Row) -> RunRow | None:
        return RUN if row.run == RUN.id else None

    def rows_in_run(self, table: str, run_id: str) -> list[Row]:
        return [row for row in DECISIONS if table == "decisions" and row.run == run_id]


@given(st.data(), TABLE_NAMES)
def test_the_text_of_a_predicate_parses_to_the_predicate(data: st.DataObject, table: str) -> None:
    """Showing and parsing again gives the same tree, down to the types of the values."""
    predicate = data.draw(predicates(table))
    text = show(predicate)
    again = parse(text, table, now_ns=0)
    assert repr(again) == repr(predicate)
    assert show(again) == text


@given(
    st.text(max_size=60) | st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join), TABLE_NAMES
)
def test_any_text_is_a_filter_or_a_filter_error_within_it(text: str, table: str) -> None:
    """Whatever is typed is understood, and can be shown, or refused at a place in the text."""
    outcome = read(text, table)
    if isinstance(outcome, FilterError):
        assert 0 <= outcome.position <= len(text)
        assert outcome.reason in str(outcome)
    else:
        assert repr(parse(show(outcome), table, now_ns=0)) == repr(outcome)


@given(st.data(), st.integers(min_value=0, max_value=200), st.sampled_from(WORDS))
def test_a_disturbed_filter_is_read_or_refused(data: st.DataObject, place: int, word: str) -> None:
    """A word put into a good filter leads to a filter or a FilterError, nothing else."""
    text = show(data.draw(predicates("decisions")))
    disturbed = f"{text[:place]} {word} {text[place:]}"
    outcome = read(disturbed, "decisions")
    if isinstance(outcome, FilterError):
        assert 0 <= outcome.position <= len(disturbed)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_quoted_text_reads_as_itself(text: str) -> None:
    """Any text survives being quoted, and its quoted form is printable."""
    quoted = quote(text)
    assert quoted.isprintable()
    assert tokenize(quoted)[0].text == text


@given(predicates("decisions"))
def test_a_predicate_and_its_negation_split_the_rows(predicate: Predicate) -> None:
    """Every row satisfies a predicate or its negation, never both and never neither."""
    holds = compile_predicate(predicate, "decisions", OneRun())
    fails = compile_predicate(Not(predicate), "decisions", OneRun())
    assert all(holds(row) != fails(row) for row in DECISIONS)
