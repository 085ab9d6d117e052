"""Pages, orders, restored values, and what a reader says to wrong questions."""

from __future__ import annotations

import json
import math

import pytest

import whence
from whence.query.reader import open_store
from whence.store import rows as r
from whence.store.base import Key, encode_cursor
from whence.store.rows import TABLES


def test_a_reader_finds_what_was_recorded_before_the_question(store):
    """Read-your-writes hold within an open reader."""
    assert store.runs().items == []

    with whence.run("first") as run:
        run.decide("a", 1)
        assert [row.status for row in store.runs()] == ["running"]
    assert [row.id for row in store.runs()] == [run.id]
    assert store.count("decisions", "confidence is null") == 1


@pytest.mark.parametrize("table", TABLES)
def test_each_table_has_a_method(store, table):
    """The method of a table gives a page of that table, also when there is nothing."""
    page = getattr(store, table)()

    assert (page.items, page.next, page.table, len(page)) == ([], None, table, 0)
    assert page.to_arrow().num_rows == 0
    assert store.count(table) == 0


@pytest.mark.parametrize("order", ["", "started", "-name", "duration_ms", "-cost_usd"])
def test_pages_join_to_the_whole_in_any_order(store, order):
    """Every row appears once, whatever the order, nulls and equal values included."""
    for name in ("b", "a", "b", "c", "a", "é"):
        with whence.run(name):
            pass
    whole = [row.id for row in store.runs(order=order, limit=None)]

    seen, after = [], None
    while True:
        page = store.runs(order=order, limit=2, after=after)
        seen += [row.id for row in page]
        after = page.next
        if after is None:
            break
    assert len(whole) == 6
    assert seen == whole


def test_rows_written_between_pages_move_nothing(store):
    """A page goes on behind the last row of the page before, however many rows came in between."""
    for number in range(4):
        with whence.run(f"old {number}"):
            pass
    first = store.runs("name ~ 'old' or started > now - 1h", limit=2)
    for number in range(3):
        with whence.run(f"new {number}"):
            pass

    second = store.runs("name ~ 'old' or started > now - 1h", limit=2, after=first.next)
    assert [row.name for row in (*first, *second)] == ["old 3", "old 2", "old 1", "old 0"]
    assert second.next is None


def test_a_cursor_belongs_to_its_question(store):
    """Another filter, order or table refuses it, and so does text that is no cursor."""
    for _ in range(3):
        with whence.run("x"):
            pass
    after = store.runs(limit=1).next

    for ask in (
        lambda: store.runs("name = 'x'", after=after),
        lambda: store.runs(order="name", after=after),
        lambda: store.spans(after=after),
        lambda: store.runs(after="no cursor"),
        lambda: store.runs(after="é"),
        lambda: store.runs(after=after[:-4]),
        lambda: store.runs(after=7),
    ):
        with pytest.raises(whence.CursorError):
            ask()


def test_a_forged_cursor_with_a_value_of_another_type_is_refused(reader):
    """A cursor cannot make a store compare a text with a number."""
    forged = encode_cursor(Key("text", "", ""), "runs\nstarted_ns True\n")

    with pytest.raises(whence.CursorError):
        reader.runs(after=forged)


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "3"])
def test_a_limit_is_a_positive_whole_number(reader, limit):
    """Anything else is refused with the value in the message."""
    with pytest.raises(whence.ConfigError, match="limit is"):
        reader.runs(limit=limit)


def test_a_limit_beyond_all_rows_gives_them_all(store):
    """Huge limits are no error."""
    with whence.run("x"):
        pass

    assert len(store.runs(limit=10**30)) == len(store.runs(limit=None)) == 1
    assert store.runs(limit=2**62 - 1).next is None


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ("startd", "started_ns"),
        ("-tags", "is a list"),
        ("attributes", "is JSON"),
        ("-", "no field"),
        ("attributes.x", "no field"),
    ],
)
def test_an_order_that_is_none_names_what_is_close(reader, order, says):
    """An unknown or unorderable field is a filter error with a position."""
    with pytest.raises(whence.FilterError, match=says) as caught:
        reader.runs(order=order)
    assert caught.value.text == order


def test_a_wrong_table_is_named_with_the_right_one(reader):
    """The table of `rows` and `count` is checked."""
    with pytest.raises(whence.StoreError, match="did you mean 'runs'"):
        reader.count("run")


HOSTILE = {
    "nan": math.nan,
    "inf": -math.inf,
    "big": 10**40,
    "half": "\ud800 half",
    "keys": {1: "one", (2, "x"): "two"},
    "own": {"$whence": "blob", "sha256": "not one"},
}


def test_values_that_json_has_no_form_for_come_back_as_they_were(store):
    """NaN, infinities, big integers, lone surrogates and odd keys survive the log."""
    with whence.run("odd", **HOSTILE) as run:
        run.decide("q", HOSTILE, inputs=HOSTILE, why="\udfff why")

    (row,) = store.runs()
    (decision,) = store.decisions()
    for found in (row.attributes, decision.what, decision.inputs):
        assert math.isnan(found["nan"])
        assert {k: v for k, v in found.items() if k != "nan"} == {
            k: v for k, v in HOSTILE.items() if k != "nan"
        }
    assert decision.why == "\udfff why"
    assert decision.extra is None


def test_a_text_that_was_cut_to_a_preview_comes_back_whole(store):
    """The exact value of a long text field replaces its preview."""
    why = "long " * 20_000
    with whence.run("long") as run:
        run.decide("q", "a", why=why)
        run.output("o", kind="\ud800kind", summary=why)

    assert store.decisions().items[0].why == why
    assert store.outputs().items[0].summary == why
    assert store.outputs().items[0].kind == "\ud800kind"


def test_conversations_are_whole_and_other_blobs_are_fetched_on_demand(store):
    """Messages and answers come with their texts; other large values are markers."""
    text = "word " * 20_000
    picture = bytes(range(256)) * 10
    with whence.run("big") as run:
        run.record_generation(
            model="m", messages=[{"role": "user", "content": text}], output={"text": text}
        )
        run.output("o", value={"text": text, "picture": picture, "n": math.nan})

    (call,) = store.generations()
    (output,) = store.outputs()
    assert call.messages == [{"role": "user", "content": text}]
    assert call.output == {"text": text}
    assert output.value["picture"]["$whence"] == "blob"
    assert store.blob(output.value["picture"]["sha256"]) == picture
    whole = store.value(output.value)
    assert (whole["text"], whole["picture"]) == (text, picture)
    assert math.isnan(whole["n"])


def test_a_lost_blob_leaves_its_marker_and_preview(reader, recording):
    """What retention removed is shown as far as it is known."""
    with whence.run("big") as run:
        run.record_generation(model="m", messages=["word " * 20_000], output="fine")
    for path in (recording / "blobs").glob("??/*"):
        path.unlink()

    (call,) = reader.generations()
    assert call.messages[0]["$whence"] == "blob"
    assert call.messages[0]["preview"].startswith("word word")
    with pytest.raises(whence.NotFoundError):
        reader.blob(call.messages[0]["sha256"])
    with pytest.raises(whence.NotFoundError):
        reader.blob("../../etc/passwd")


def test_a_page_becomes_the_tables_of_other_tools(store):
    """JSON is text in Arrow and polars, objects in pandas; empty columns keep their type."""
    with whence.run("odd", **HOSTILE) as run:
        run.tag("a", "b\ud800")
        run.score("s", 0.5)

    page = store.runs()
    arrow, polars, pandas = page.to_arrow(), page.to_polars(), page.to_pandas()
    assert arrow.column("attributes")[0].as_py().startswith("{")
    assert arrow.schema.field("cost_usd").type == "double"
    assert polars["tags"].to_list() == [["a", "b\\ud800"]]
    assert pandas["attributes"][0]["big"] == 10**40
    assert str(pandas["input_tokens"].dtype) == "Int64"
    assert store.scores().to_pandas()["value"].tolist() == [0.5]


def test_dicts_of_a_page_are_json_with_every_field(store):
    """Every row has every field, and what JSON has no form for is a marker again."""
    with whence.run("odd", **HOSTILE) as run:
        run.source("web", "x")

    (row,) = store.runs().to_dicts()
    assert list(row) == list(r.RunRow.__struct_fields__)
    assert json.loads(json.dumps(row, allow_nan=False))["attributes"]["big"]["$whence"] == "int"
    assert store.sources().to_dicts()[0]["kept"] is True


def test_recorded_text_never_becomes_markup_or_control(store):
    """A page in a notebook escapes what it shows, and on a terminal obeys nothing."""
    evil = '<script>alert("1")</script>\x1b[2J\u202e'
    with whence.run(evil, project=evil):
        pass

    page = store.runs()
    assert "<script>" not in page._repr_html_()
    assert "&lt;script&gt;" in page._repr_html_()
    assert "\x1b" not in repr(page)
    assert "\u202e" not in repr(page)


def test_a_named_home_has_to_exist_and_the_default_one_does_not(tmp_path, monkeypatch):
    """A typed path that is wrong is an error; a home nobody has recorded into yet is empty."""
    with pytest.raises(whence.StoreError, match=r"there is no home at .*nothing"):
        open_store(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(whence.StoreError, match="is a file"):
        open_store(tmp_path / "file")

    monkeypatch.setenv("WHENCE_HOME", str(tmp_path / "later"))
    for memory in (True, False):
        with open_store(memory=memory) as store:
            assert store.runs().items == []
    assert not (tmp_path / "later").exists()


def test_a_url_of_no_store_is_refused_without_its_password():
    """The message names the scheme and nothing of the rest."""
    with pytest.raises(whence.StoreError, match=r"postgresql://… is not a store") as caught:
        open_store("postgresql://user:secret@host/db")
    assert "secret" not in str(caught.value)


def test_a_closed_reader_says_so(recording):
    """Closing twice is fine; asking afterwards is an error of ours."""
    recording.mkdir()
    store = open_store(recording, memory=True)
    store.close()
    store.close()

    with pytest.raises(whence.StoreError, match="closed"):
        store.runs()


def test_sql_is_asked_of_the_store_that_can(store):
    """DuckDB answers; the reference store says what it would take."""
    with whence.run("x") as run:
        run.decide("one", 1)

    if type(store.store).__name__ == "MemoryStore":
        with pytest.raises(whence.StoreError, match=r"whence\[cli\]"):
            store.sql("SELECT 1")
        return
    assert store.sql("SELECT name FROM decisions").to_dicts() == [{"name": "one"}]
    with pytest.raises(whence.SqlRefused):
        store.sql("DROP TABLE decisions")


def test_an_annotation_is_added_and_found(store):
    """A remark on a run, an output or a span is a record in the run of what it is about."""
    with whence.run("x", external_id="mine") as run, whence.stage("s") as span:
        span.output("out", summary="o")
    before = len(store.run("mine").annotations)

    ids = [
        store.annotate("mine", flag="look", by="me"),
        store.annotate("out", note="fine \ud800", score=math.nan),
        store.annotate(span.id, status="approved"),
    ]

    found = {row.id: row for row in store.annotations()}
    assert before == 0
    assert [found[one].target for one in ids] == [run.id, "out", span.id]
    assert {found[one].run for one in ids} == {run.id}
    assert math.isnan(found[ids[1]].attributes["score"])
    assert store.runs("flagged").items[0].id == run.id


def test_an_empty_annotation_and_one_on_nothing_are_refused(store):
    """A remark has to say something, about something."""
    with whence.run("x") as run:
        pass

    with pytest.raises(whence.ConfigError, match="says nothing"):
        store.annotate(run.id, by="me")
    with pytest.raises(whence.ConfigError, match="made of text"):
        store.annotate(run.id, note=7)
    with pytest.raises(whence.NotFoundError):
        store.annotate("nobody", note="x")
    assert store.annotations().items == []


@pytest.mark.parametrize(
    "stated", ["1,200 tokens", [1, 2], object(), {"tokens_in": 3}, {"total_tokens": 7}]
)
def test_a_usage_that_nobody_understands_is_kept_and_noted(recording, stated):
    """What was stated stands in the row, and a note says that no tokens follow from it."""
    with whence.run("x") as run:
        run.record_generation(model="m", usage=stated)
        run.record_generation(model="m", usage={"prompt_tokens": 1, "completion_tokens": 2})
        run.record_generation(model="m")
    with whence.open(recording) as store:
        odd, known, silent = store.generations(order="ts").items
        assert odd.usage.stated
        assert "form is not known" in odd.usage_note
        assert (known.usage_note, silent.usage_note) == (None, None)
        assert len(store.generations("usage_note is not null").items) == 1
        assert str(store.why(run.id)).count("usage not understood") == 1


@pytest.mark.parametrize("odd", [5, None, b"x", ["a"], 1.5])
def test_what_is_no_text_is_refused_with_an_error_of_ours(store, odd):
    """The message names the value; no caller has to catch a TypeError."""
    with whence.run("x"):
        pass
    for error, ask in (
        (whence.NotFoundError, lambda: store.run(odd)),
        (whence.NotFoundError, lambda: store.why(odd)),
        (whence.NotFoundError, lambda: store.lineage(odd)),
        (whence.NotFoundError, lambda: store.compare(odd, odd)),
        (whence.NotFoundError, lambda: store.annotate(odd, note="x")),
        (whence.NotFoundError, lambda: store.blob(odd)),
        (whence.FilterError, lambda: store.runs(odd)),
        (whence.FilterError, lambda: store.count("runs", odd)),
        (whence.FilterError, lambda: store.runs(order=odd)),
        (whence.StoreError, lambda: store.rows(odd)),
        (whence.SqlRefused, lambda: store.sql(odd)),
    ):
        with pytest.raises(error) as caught:
            ask()
        assert repr(odd) in str(caught.value)
