"""The migration is applied to a real PostgreSQL, and what document 4 asks of it is answered."""

from __future__ import annotations

import json

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from postgres import postgres, postgres_cluster

from whence import errors
from whence.dialects.generations import migration
from whence.generations import (
    LLMResponse,
    ProblemGenerationTrace,
    SentenceGenerationTrace,
    trace_column_migration,
)

__all__ = ["postgres", "postgres_cluster"]
LONG = "a_table_whose_name_has_sixty_characters_and_no_room_for_more"
TABLE = "CREATE TABLE {} (id serial PRIMARY KEY, title text, created_at timestamptz DEFAULT now())"


@pytest.fixture
def connection(postgres):
    """A connection to an empty database, each statement for itself."""
    with psycopg.connect(postgres, autocommit=True) as made:
        yield made


def indexes_of(connection, table):
    return {
        name: definition
        for name, definition in connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s", (table,)
        )
        if not name.endswith("_pkey")
    }


def trace(model, reasoning, status="approved", tokens=100):
    """A problem of two sentences that took so many tokens."""
    made = ProblemGenerationTrace(model, "2.0", 1500.5, quality_status=status)
    for place in range(2):
        answer = LLMResponse("Oui.", model, "r", 750.25, tokens, 50, tokens + 50, reasoning, "hm")
        made.add_sentence_trace(SentenceGenerationTrace(place, place == 0, None, answer, "Écris."))
    return made.to_dict()


def test_a_table_gets_the_column_and_its_four_indexes(connection, postgres):
    """Model, quality and prompt version are indexed, and the queue of reviews apart."""
    connection.execute(TABLE.format("problems"))

    applied = migration.apply_migration("problems", postgres)

    assert applied.column_added
    assert len(applied.indexes_added) == 4
    found = indexes_of(connection, "problems")
    assert set(found) == set(applied.indexes_added)
    for key in ("model", "quality_status", "prompt_version"):
        assert (
            f"((generation_trace ->> '{key}'::text))"
            in found[f"idx_problems_generation_trace_{key}"]
        )
    assert (
        "WHERE ((generation_trace ->> 'quality_status'::text) = 'pending_review'"
        in (found["idx_problems_pending_review"])
    )


def test_applying_it_again_changes_nothing(connection, postgres):
    """What is there is kept, with what it holds, and said to have been there."""
    connection.execute(TABLE.format("problems"))
    migration.apply_migration("problems", postgres)
    connection.execute('INSERT INTO problems (generation_trace) VALUES (\'{"model": "m"}\')')

    again = migration.apply_migration("problems", postgres)

    assert (again.column_added, again.indexes_added) == (False, [])
    assert len(again.indexes_kept) == 4
    assert connection.execute("SELECT generation_trace->>'model' FROM problems").fetchall() == [
        ("m",)
    ]


def test_the_queries_of_the_document_answer(connection):
    """High reasoning, pending reviews and tokens by model are found in rows that traces made."""
    connection.execute(TABLE.format("problems"))
    connection.execute(trace_column_migration("problems"))
    rows = {
        "much": trace("gpt-5-nano", 900, tokens=100),
        "more": trace("gpt-5-nano", 4000, tokens=300),
        "none": trace("gpt-4o", None, status="pending_review", tokens=1000),
    }
    for title, made in rows.items():
        connection.execute(
            "INSERT INTO problems (title, generation_trace) VALUES (%s, %s)",
            (title, json.dumps(made)),
        )
    connection.execute("INSERT INTO problems (title) VALUES ('untraced')")

    reasoning = connection.execute(
        "SELECT title, generation_trace->>'total_reasoning_tokens' FROM problems "
        "WHERE (generation_trace->>'total_reasoning_tokens')::int > 1000 "
        "ORDER BY (generation_trace->>'total_reasoning_tokens')::int DESC"
    ).fetchall()
    pending = connection.execute(
        "SELECT title FROM problems WHERE generation_trace->>'quality_status' = 'pending_review'"
    ).fetchall()
    by_model = connection.execute(
        "SELECT generation_trace->>'model', count(*), "
        "avg((generation_trace->>'total_tokens')::int) FROM problems "
        "WHERE generation_trace IS NOT NULL GROUP BY 1 ORDER BY 1"
    ).fetchall()

    assert reasoning == [("more", "8000"), ("much", "1800")]
    assert pending == [("none",)]
    assert by_model == [("gpt-4o", 1, 2100), ("gpt-5-nano", 2, 500)]


def test_the_queue_of_reviews_is_answered_by_its_index(connection):
    """Among many rows, an index leads to the few that wait."""
    connection.execute(TABLE.format("problems"))
    connection.execute(trace_column_migration("problems"))
    connection.execute(
        "INSERT INTO problems (generation_trace) SELECT jsonb_build_object('quality_status', "
        "CASE WHEN n % 500 = 0 THEN 'pending_review' ELSE 'approved' END) "
        "FROM generate_series(1, 5000) n"
    )
    connection.execute("ANALYZE problems")

    plan = connection.execute(
        "EXPLAIN SELECT id FROM problems "
        "WHERE generation_trace->>'quality_status' = 'pending_review'"
    ).fetchall()

    # Of the two indexes that hold the answer, the planner may take either.
    assert any("Index Scan using idx_problems_" in line for (line,) in plan), plan


@pytest.mark.parametrize("table", ["Problems", "user", "_x9", LONG])
def test_any_identifier_is_a_table_it_can_be_applied_to(connection, postgres, table):
    """Upper case, reserved words and the longest names are written as PostgreSQL takes them."""
    connection.execute(TABLE.format(f'"{table}"'))

    applied = migration.apply_migration(table, postgres)

    assert len(indexes_of(connection, table)) == len(applied.indexes_added) == 4


def test_a_table_of_another_schema_is_named_with_it(connection, postgres):
    """The schema stands apart, and the same name in the search path is left alone."""
    connection.execute("CREATE SCHEMA quiz")
    connection.execute(TABLE.format("quiz.problems"))
    connection.execute(TABLE.format("problems"))

    migration.apply_migration("problems", postgres, schema="quiz")

    schemas = connection.execute(
        "SELECT table_schema FROM information_schema.columns WHERE column_name = 'generation_trace'"
    ).fetchall()
    assert schemas == [("quiz",)]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "problems; DROP TABLE users",
        'x"y',
        "a b",
        "1a",
        "a-b",
        "public.problems",
        "problems\n",
        "problèmes",
        "a" * 64,
        "x'--",
        None,
        7,
    ],
)
def test_what_is_no_identifier_becomes_no_sql(name):
    """It is refused as a ValueError that is one of whence's own too."""
    with pytest.raises(ValueError, match="not the name of a table") as caught:
        trace_column_migration(name)

    assert isinstance(caught.value, errors.WhenceError)


@given(st.text(max_size=80))
def test_only_words_reach_the_sql(name):
    """Whatever is given, the SQL holds it as one word, or there is no SQL."""
    try:
        sql = trace_column_migration(name)
    except ValueError:
        return

    assert name.replace("_", "a").isalnum()
    assert name.isascii()
    assert f"ALTER TABLE {migration.quoted(name)} ADD" in sql


def test_the_words_that_need_quotes_are_those_of_postgresql(connection):
    """What the running server reserves is quoted."""
    reserved = {
        word
        for (word,) in connection.execute(
            "SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')"
        )
    }

    assert reserved - migration.RESERVED == set()


def test_another_database_is_refused():
    """A migration that nobody wrote is not made up."""
    with pytest.raises(errors.ConfigError, match="postgresql"):
        trace_column_migration("problems", dialect="mysql")


def test_a_column_of_another_type_is_left_as_it_is(connection, postgres):
    """Text under the same name is not taken for traces; nothing is changed."""
    connection.execute(TABLE.format("problems"))
    connection.execute("ALTER TABLE problems ADD COLUMN generation_trace text")

    with pytest.raises(errors.StoreError, match="the column was not added"):
        migration.apply_migration("problems", postgres)

    assert indexes_of(connection, "problems") == {}


def test_a_name_that_is_taken_is_noticed(connection, postgres):
    """An index that PostgreSQL skips because its name is another's is an error, not silence."""
    connection.execute(TABLE.format("problems"))
    connection.execute("CREATE TABLE idx_problems_pending_review (id int)")

    with pytest.raises(errors.StoreError, match="idx_problems_pending_review"):
        migration.apply_migration("problems", postgres)

    assert indexes_of(connection, "problems") == {}


def test_a_missing_table_is_said_to_be_missing(postgres):
    """The database's own sentence is handed on."""
    with pytest.raises(errors.StoreError, match='"nowhere" does not exist'):
        migration.apply_migration("nowhere", postgres)


def test_an_address_that_cannot_be_read_is_not_repeated():
    """It may hold a password."""
    with pytest.raises(errors.StoreError) as caught:
        migration.apply_migration("problems", "postgresql://me:geheim@host:port?x")

    assert "geheim" not in str(caught.value)
    assert caught.value.__cause__ is None
