"""What filters mean as trees, what they refuse, and that the documentation of them is true."""

from __future__ import annotations

import pickle
import re
import time
from itertools import pairwise
from pathlib import Path

import pytest

from whence.errors import FilterError
from whence.query.filters import parse, show
from whence.query.names import ALIASES, SHORTHANDS
from whence.query.tokens import KEYWORDS, MAX_CHARACTERS
from whence.store.fields import fields_of
from whence.store.predicate import ALWAYS, And, Compare, FieldRef, In, IsNull, Not, Or, Related
from whence.store.rows import TABLES

NOW_NS = 1_793_534_400_000_000_000
ROOT = Path(__file__).parents[3]
CASES = ROOT / "tests" / "cases" / "filters"
REFERENCE = ROOT / "docs" / "reference" / "filters.md"


def cases() -> list[object]:
    """Return every case of every file, named by file and line."""
    found = []
    for path in sorted(CASES.glob("*.txt")):
        lines = [*path.read_text(encoding="utf-8").split("\n"), ""]
        for number, (first, second) in enumerate(pairwise(lines), start=1):
            if first and second[:1] in {"=", "!"} and not first.startswith(("#", "=", "!")):
                table, text = first.split(": ", 1)
                label = f"{path.stem}:{number}"
                found.append(pytest.param(table, text, second[0], second[2:], id=label))
    return found


@pytest.mark.parametrize(("table", "text", "mark", "expected"), cases())
def test_the_cases_hold(table: str, text: str, mark: str, expected: str) -> None:
    """Each case in tests/cases/filters has the stated canonical text, or the stated error."""
    if mark == "=":
        predicate = parse(text, table, NOW_NS)
        assert show(predicate) == expected
        assert parse(expected, table, NOW_NS) == predicate
        return
    column, message = expected.split(" ", 1)
    with pytest.raises(FilterError) as caught:
        parse(text, table, NOW_NS)
    assert message in caught.value.reason
    assert caught.value.position == int(column)
    assert caught.value.text == text


def test_every_case_is_read() -> None:
    """No case is lost to a slip in the format of its file."""
    lines = [line for path in CASES.glob("*.txt") for line in path.read_text("utf-8").split("\n")]
    written = sum(line[:1] not in {"", "#", "=", "!"} for line in lines)
    assert len(cases()) == written > 100


@pytest.mark.parametrize("text", ["", "  ", "\n\t"])
def test_blank_text_is_satisfied_by_every_row(text: str) -> None:
    """A filter that says nothing keeps everything, and is shown as nothing."""
    assert parse(text, "runs") == ALWAYS
    assert show(ALWAYS) == ""


def test_a_filter_becomes_a_tree() -> None:
    """Chains are flat, parentheses keep their shape, comparisons carry typed values."""
    a = Compare(FieldRef("name"), "=", "a")
    b = Compare(FieldRef("cost_usd"), "<", 1.5)
    c = Not(In(FieldRef("status"), ("x", "y")))
    assert parse("name='a' and cost_usd<1.5 and status not in ('x','y')", "runs") == And((a, b, c))
    assert parse("name='a' or cost_usd<1.5 and user is null", "runs") == Or(
        (a, And((b, IsNull(FieldRef("user")))))
    )
    assert parse("(name='a' and cost_usd<1.5) and name='a'", "runs") == And((And((a, b)), a))


def test_functions_count_rows_of_the_run() -> None:
    """any, all, count and score are one node, and names inside belong to the inner table."""
    low = Compare(FieldRef("confidence"), "<", 0.5)
    assert parse("any(decisions, confidence < 0.5)", "runs") == Related("decisions", low)
    assert parse("all(decisions, confidence < 0.5)", "runs") == Related(
        "decisions", Not(low), "=", 0
    )
    assert parse("count(decisions) >= 2", "runs") == Related("decisions", ALWAYS, ">=", 2)
    assert parse("any(decisions, user = 'a')", "runs") == Related(
        "decisions", Compare(FieldRef("user", of_run=True), "=", "a")
    )
    named = Compare(FieldRef("name"), "=", "META-12")
    assert parse('score("META-12") < 2', "runs") == Related(
        "scores", And((named, Compare(FieldRef("value"), "<", 2)))
    )


def test_times_become_nanoseconds() -> None:
    """Dates and now are integers in the tree, so that stores need not know about either."""
    moment = Compare(FieldRef("started_ns"), ">", NOW_NS - 86_400 * 10**9)
    assert parse("started > now - 24h", "runs", NOW_NS) == moment
    assert parse('started > "2026-10-31T12:00:00Z"', "runs") == moment


def test_now_is_the_time_of_the_clock() -> None:
    """Without a stated time, now is the moment of parsing."""
    before_ns = time.time_ns()  # noqa: TID251 - compared with the clock that is tested
    predicate = parse("started < now", "runs")
    after_ns = time.time_ns()  # noqa: TID251 - as above
    assert isinstance(predicate, Compare)
    assert isinstance(predicate.value, int)
    assert before_ns <= predicate.value <= after_ns


@pytest.mark.parametrize(
    ("opening", "inner", "closing"),
    [
        ("(", "flagged", ")"),
        ("not ", "flagged", ""),
        ("any(scores, ", "passed", ")"),
        ("all(scores, ", "passed", ")"),
    ],
)
def test_nesting_has_a_limit(opening: str, inner: str, closing: str) -> None:
    """A hundred levels are read and shown; the one too many is refused where it opens."""
    deep = opening * 100 + inner + closing * 100
    predicate = parse(deep, "runs")
    assert repr(parse(show(predicate), "runs")) == repr(predicate)
    with pytest.raises(FilterError, match="nests more than 100 deep") as caught:
        parse(opening + deep + closing, "runs")
    place = caught.value.position - len(opening) * 100
    assert 0 <= place < len(opening)
    with pytest.raises(FilterError, match="nests more than 100 deep"):
        parse(opening * 1500, "runs")


def test_a_row_of_the_run_counts_as_a_level() -> None:
    """A table as a prefix nests like the function it stands for: canonical text is read."""
    text = "(not " * 49 + "(decision.confidence < 0.5" + ")" * 50
    predicate = parse(text, "runs")
    assert parse(show(predicate), "runs") == predicate
    with pytest.raises(FilterError, match="nests more than 100 deep"):
        parse(f"not {text}", "runs")


def test_a_long_filter_is_refused_without_printing_it() -> None:
    """The limit is 20,000 characters; the message of one too many fits on a screen."""
    longest = f'name = "{"a" * (MAX_CHARACTERS - 9)}"'
    assert len(longest) == MAX_CHARACTERS
    parse(longest, "runs")
    with pytest.raises(FilterError, match="20001 characters") as caught:
        parse(f"{longest} ", "runs")
    assert len(str(caught.value)) < 200
    assert caught.value.position == MAX_CHARACTERS


def test_a_number_of_many_digits_is_refused_as_a_number() -> None:
    """Digits beyond what Python converts meet the same message as other large numbers."""
    with pytest.raises(FilterError, match="does not fit in 64 bits"):
        parse(f"lost > {'9' * 10_000}", "runs")
    with pytest.raises(FilterError, match="outside the years"):
        parse(f"started > now - {'9' * 10_000}s", "runs")


def test_half_of_a_surrogate_pair_is_refused() -> None:
    """Text that no file could hold is refused before it reaches a store."""
    with pytest.raises(FilterError, match=r"U\+D83D, is not a character") as caught:
        parse('name = "\ud83d"', "runs")
    assert caught.value.position == 8


def test_a_long_chain_is_no_deep_tree() -> None:
    """A thousand terms in a row are read."""
    predicate = parse(" or ".join(["flagged"] * 1500), "runs")
    assert isinstance(predicate, Or)
    assert len(predicate.terms) == 1500


def test_an_error_points_at_the_column() -> None:
    """An error prints the line with a caret under the offending word, and survives pickling."""
    with pytest.raises(FilterError) as caught:
        parse("flagged and\nconfidnce < 0.6", "decisions")
    assert str(caught.value).split("\n")[1:] == ["  confidnce < 0.6", "  ^"]
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - ours


def test_an_unknown_table_is_a_key_error() -> None:
    """The table is the program's choice, not the user's text, and so no filter error."""
    with pytest.raises(KeyError, match="runz"):
        parse("", "runz")


def test_no_field_is_hidden_by_the_language() -> None:
    """No field has the name of a keyword, an alias, a shorthand of its table, or of `now`."""
    for table in TABLES:
        names = set(fields_of(table))
        assert not names & (KEYWORDS | {"now"} | set(ALIASES)), table
    assert not set(fields_of("runs")) & set(SHORTHANDS)


@pytest.mark.parametrize("table", list(TABLES))
def test_every_field_can_be_named(table: str) -> None:
    """Each field is found by its bare name, as the row's own."""
    for name, field in fields_of(table).items():
        test = '= "a"' if field.type == "tags" else "is null"
        predicate = parse(f"{name} {test}", table)
        assert isinstance(predicate, (Compare, IsNull))
        assert predicate.field == FieldRef(name)


def documented() -> list[tuple[str, str]]:
    """Return table and filter of each row of the tables in the reference that end with a filter."""
    text = REFERENCE.read_text(encoding="utf-8")
    return re.findall(r"^\| [^|]+ \| (\w+) \| `([^|]+)` \|$", text, re.MULTILINE)


def test_the_documented_filters_parse() -> None:
    """Each example in the reference is a filter on the table it is given for."""
    found = documented()
    assert len(found) > 20
    for table, text in found:
        assert parse(text, table, NOW_NS) != ALWAYS


def test_the_documented_grammar_is_the_one_in_the_module() -> None:
    """The grammar is written twice, in the module and in the reference, and is the same."""
    from whence.query import filters  # noqa: PLC0415 - the module itself, for its docstring

    grammar = re.search(r"    filter     =.*?\n\n", filters.__doc__ or "", re.DOTALL)
    assert grammar is not None
    lines = [line.removeprefix("    ") for line in grammar[0].strip("\n").split("\n")]
    assert "\n".join(lines) in REFERENCE.read_text(encoding="utf-8")


def test_the_documented_error_is_the_one_raised() -> None:
    """The error in the reference is printed exactly so."""
    with pytest.raises(FilterError) as caught:
        parse('project = "cobot" and confidnce < 0.6', "decisions")
    assert str(caught.value) in REFERENCE.read_text(encoding="utf-8")
