"""What predicates mean on rows: the rules that every store must agree on."""

from __future__ import annotations

import msgspec
import pytest

from whence.query.filters import parse
from whence.record.generation import Usage
from whence.store.match import compile_predicate
from whence.store.predicate import (
    ALWAYS,
    And,
    Compare,
    FieldRef,
    In,
    IsNull,
    Not,
    Or,
    Predicate,
    Related,
)
from whence.store.rows import DecisionRow, GenerationRow, Row, RunRow, ScoreRow, SpanRow

RUN = RunRow(
    id="r1",
    run="r1",
    name="Ärger",
    project="cobot",
    started_ns=100,
    cost_usd=None,
    records=3,
    tags=["Nightly", "eu"],
    attributes={
        "tenant": "Acme",
        "n": 2,
        "beta": True,
        "nothing": None,
        "list": [{"a": 1}],
        "deep": {"odd key": {"": "x"}},
    },
)
OTHER = RunRow(id="r2", run="r2", started_ns=200)
DECISION = DecisionRow(id="d1", run="r1", ts_ns=1, name="draft", what="Approve", confidence=0.5)
UNSURE = DecisionRow(id="d2", run="r1", ts_ns=2, name="route")
STRAY = DecisionRow(id="d3", run="", ts_ns=3, name="draft")
ROWS: dict[str, list[Row]] = {
    "runs": [RUN, OTHER],
    "spans": [SpanRow(id="s1", run="r1", started_ns=1, name="collection", kind="stage")],
    "decisions": [DECISION, UNSURE, STRAY],
    "scores": [
        ScoreRow(id="c1", run="r1", ts_ns=1, name="META-12", value=1.5),
        ScoreRow(id="c2", run="r1", ts_ns=1, name="EMPTY"),
    ],
}


class Rows:
    """The rows above, by run."""

    def run_of(self, row: Row) -> RunRow | None:
        return {"r1": RUN, "r2": OTHER}.get(row.run)

    def rows_in_run(self, table: str, run_id: str) -> list[Row]:
        return [row for row in ROWS.get(table, []) if row.run == run_id]


def holds(predicate: Predicate | str, row: Row, table: str = "runs") -> bool:
    """Return whether `row` satisfies the predicate or filter."""
    if isinstance(predicate, str):
        predicate = parse(predicate, table)
    return compile_predicate(predicate, table, Rows())(row)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('name = "Ärger"', True),
        ('name = "ärger"', False),
        ('name ~ "RGER"', True),
        ('name ~ "ärger"', False),
        ('name ~ ""', True),
        ('name > "Z"', True),
        ('project in ("a", "cobot")', True),
        ("project in ()", False),
        ("records = 3.0", True),
        ("records >= 3 and records < 3.5", True),
        ("records in (1, 3)", True),
        ("flagged", False),
        ("not flagged", True),
        ("flagged != true", True),
        ("started > 99", True),
    ],
)
def test_scalars_compare_by_value(text: str, expected: object) -> None:
    """Text compares by code point, contains folds A-Z only, numbers compare as numbers."""
    assert holds(text, RUN) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cost_usd is null", True),
        ("cost_usd < 3", False),
        ("cost_usd >= 3", False),
        ("not cost_usd < 3", True),
        ("cost_usd = 3", False),
        ("cost_usd != 3", True),
        ("cost_usd in (3)", False),
        ("cost_usd not in (3)", True),
        ('user ~ ""', False),
        ('user !~ ""', True),
    ],
)
def test_a_comparison_with_null_is_false(text: str, expected: object) -> None:
    """Null satisfies no comparison, and so every negated one."""
    assert holds(text, RUN) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('tags = "eu"', True),
        ('tags = "e"', False),
        ('tags != "eu"', False),
        ('tags != "us"', True),
        ('tags ~ "NIGHT"', True),
        ('tags !~ "night"', False),
        ('tags in ("us", "eu")', True),
        ('tags !~ ""', False),
    ],
)
def test_tags_compare_by_membership(text: str, expected: object) -> None:
    """A list of tags satisfies what one of its tags satisfies."""
    assert holds(text, RUN) is expected
    assert holds('tags !~ ""', OTHER)
    assert not holds('tags ~ ""', OTHER)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('attributes.tenant = "Acme"', True),
        ('attributes.tenant ~ "ACM"', True),
        ('attributes.tenant > "A"', True),
        ("attributes.tenant > 1", False),
        ("attributes.n = 2.0", True),
        ('attributes.n = "2"', False),
        ('attributes.n != "2"', True),
        ('attributes.n in ("2", 2)', True),
        ("attributes.n = true", False),
        ("attributes.beta = true", True),
        ("attributes.beta = 1", False),
        ("attributes.beta > 0", False),
        ("attributes.beta in (1)", False),
        ("attributes.nothing is null", True),
        ("attributes.absent is null", True),
        ("attributes.tenant is null", False),
        ("attributes.list is null", False),
        ('attributes.list."0" is null', True),
        ('attributes.list ~ "a"', False),
        ("attributes.tenant.more is null", True),
        ('attributes.deep."odd key"."" = "x"', True),
        ("attributes.deep is not null", True),
        ("environment.host is null", True),
        ("environment is null", True),
    ],
)
def test_json_compares_with_its_own_type(text: str, expected: object) -> None:
    """Keys reach through objects only; a value equals and orders among values of its own type."""
    assert holds(text, RUN) is expected


def test_json_fields_compare_without_keys() -> None:
    """A field that holds any JSON compares as the scalar it holds."""
    assert holds('what = "Approve" and what ~ "appr"', DECISION, "decisions")
    assert holds('what != "Approve" and what is null', UNSURE, "decisions")


def test_usage_is_reached_like_any_json() -> None:
    """The token buckets of a generation are keys, absent where nobody stated them."""
    row = GenerationRow(id="g", run="r1", ts_ns=1, usage=Usage(cache_read=7, stated={"total": 9}))
    assert holds("usage.cache_read > 5 and usage.stated.total = 9", row, "generations")
    assert holds("usage.reasoning is null and usage is not null", row, "generations")


def test_a_row_is_matched_by_its_run() -> None:
    """Fields of the run are those of its row; of an unknown run they are all null."""
    assert holds('project = "cobot" and attributes.n = 2 and tags = "eu"', DECISION, "decisions")
    assert not holds('project = "cobot"', STRAY, "decisions")
    assert holds('project is null and tags != "eu"', STRAY, "decisions")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("decision.confidence < 0.6", True),
        ("decision.confidence is null", True),
        ("count(decisions) = 2", True),
        ("count(decisions) != 2", False),
        ("count(decisions, confidence is null) >= 1", True),
        ("all(decisions, confidence < 0.6)", False),
        ('all(decisions, project = "cobot")', True),
        ("any(sources)", False),
        ("all(sources, kept)", True),
        ('score("META-12") < 2', True),
        ('score("EMPTY") is null', True),
        ('score("NONE") is null', True),
        ('score("META-12") is null', False),
        ('stage = "collection"', True),
        ('stage = "analysis"', False),
        ("model is null", True),
    ],
)
def test_related_rows_are_those_of_the_run(text: str, expected: object) -> None:
    """any, all and count look at the rows of another table in the same run."""
    assert holds(text, RUN) is expected


def test_related_rows_of_other_runs_do_not_count() -> None:
    """A run without decisions has none, and all of them satisfy anything."""
    assert not holds("any(decisions)", OTHER)
    assert holds("all(decisions, confidence < 0)", OTHER)


def test_related_rows_are_found_from_any_row_of_the_run() -> None:
    """A decision is matched by a score of its run, and by another decision."""
    assert holds('score("META-12") < 2 and count(decisions) = 2', DECISION, "decisions")
    assert not holds('score("META-12") < 2', STRAY, "decisions")
    assert holds("confidence is null and any(decisions, confidence = 0.5)", UNSURE, "decisions")


def test_the_empty_conjunction_holds_and_the_empty_disjunction_fails() -> None:
    """Without terms, and is true and or is false."""
    assert holds(ALWAYS, RUN)
    assert not holds(Or(()), RUN)
    assert not holds(Not(And(())), RUN)


def test_trees_that_no_filter_says_are_still_decided() -> None:
    """A predicate built in Python compares with null, booleans and its own run without failing."""
    cost, flagged = FieldRef("cost_usd"), FieldRef("flagged")
    assert not holds(Compare(cost, "=", None), RUN)
    assert holds(Compare(cost, "!=", None), RUN)
    assert not holds(In(cost, (None,)), RUN)
    assert not holds(Compare(flagged, "<", value=True), RUN)
    assert not holds(Compare(FieldRef("records"), "contains", 3), RUN)
    assert holds(IsNull(FieldRef("name", ("key",))), RUN)
    assert holds(Compare(FieldRef("name", of_run=True), "=", "Ärger"), RUN)
    assert holds(Related("runs", Compare(FieldRef("id"), "=", "r1"), "=", 1), RUN)


def test_an_unknown_field_is_a_key_error_before_any_row() -> None:
    """A predicate on a field that there is not fails when it is compiled."""
    with pytest.raises(KeyError, match=r"runs\.nmae"):
        compile_predicate(IsNull(FieldRef("nmae")), "runs", Rows())
    with pytest.raises(KeyError, match=r"runs\.nmae"):
        compile_predicate(Compare(FieldRef("nmae", of_run=True), "=", 1), "decisions", Rows())


def test_a_deep_predicate_is_evaluated() -> None:
    """The deepest filter that can be written can be asked of a row."""
    deep = "any(decisions, " * 99 + 'name = "draft"' + ")" * 99
    few = parse("any(decisions, " * 3 + 'name = "draft"' + ")" * 3, "runs")
    assert holds(few, RUN)
    assert not holds(deep, OTHER)
    assert holds("not (" * 50 + "flagged" + ")" * 50, msgspec.structs.replace(RUN, flagged=True))
