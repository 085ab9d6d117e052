"""Recording can be off, and content kept out; user code never notices."""

from __future__ import annotations

import asyncio
import inspect
import re

import pytest

import whence
from whence.capture.noop import NOOP

SECRET = "sk-4711-geheim"  # noqa: S105 - what has to be redacted


def use_everything():
    """Call the whole public interface and return what the calls gave."""
    given = []
    with whence.run("r", project="p", tags=["t"], a=1) as run:
        given += [
            run,
            whence.current_run(),
            whence.current_span(),
            run.id,
            run.status,
            run.trace_id,
        ]
        for open_span in (
            whence.span("s"),
            whence.stage("s", input=1),
            whence.step("s"),
            whence.tool("s", input={"a": 1}),
            whence.generation("s", model="m"),
            whence.retrieval("s"),
            whence.agent("s"),
        ):
            with open_span as span:
                given += [
                    span,
                    span.decide("n", "w", options={"a": 1.0}, factors={"f": 1}),
                    span.factor("f", 1.0, normalized_value=1, weight=1),
                    span.source("db", "k", x=1),
                    span.score("q", 1, threshold=0),
                    span.output("o", value=1),
                    span.link("used", "o"),
                    span.event("e", x=1),
                    span.flag("f"),
                    span.record_generation(model="m", messages=[{"role": "user", "content": "c"}]),
                    span.tool_call("t", input=1),
                    span.transformation("t", method="m"),
                ]
                span.tag("a")
                span.set(output=1, other=2)

    async def in_async():
        async with whence.run("r") as run, whence.span("s") as span:
            return [run, span]

    given += asyncio.run(in_async())
    given.append(whence.observe(lambda: 1)())
    return given


def test_nothing_is_none_when_recording_is_off(recorded):
    """Off by `configure`: every call gives an object of the usual kind, and nothing is written."""
    whence.configure(recorded.home.root, enabled=False)

    given = use_everything()

    assert None not in given
    assert not any(
        isinstance(g, (whence.capture.scopes.Run, whence.capture.scopes.Span)) for g in given
    )
    assert not recorded.home.root.exists()


def test_nothing_is_recorded_when_the_environment_says_so(recorded, monkeypatch):
    """`WHENCE_DISABLED` wins over code."""
    monkeypatch.setenv("WHENCE_DISABLED", "1")
    whence.configure(recorded.home.root)

    use_everything()

    assert not recorded.home.root.exists()


def test_the_same_program_records_when_it_is_on(recorded):
    """The counterpart of the tests above: everything arrives."""
    given = use_everything()

    assert None not in given
    assert NOOP not in given
    for table in ("runs", "spans", "decisions", "factors", "sources", "scores", "outputs", "links"):
        assert recorded.rows(table)
    assert len(recorded.rows("generations")) == 7
    assert len(recorded.rows("tool_calls")) == 8  # the tool span itself is one
    assert whence.flush().lost == 0


def test_a_muted_project_is_muted_all_the_way_down(recorded):
    """Spans of a muted run inside a recorded one record nothing; afterwards recording goes on."""
    whence.configure(recorded.home.root, projects={"secret": False})
    with whence.run("outer", project="open") as outer, whence.span("before"):
        with whence.run("muted", project="secret") as muted:
            muted.event("no")
            assert whence.current_run() is not outer
            with whence.span("no") as span, whence.tool("no") as tool:
                span.event("no")
                tool.set(output="no")
                whence.current_span().event("no")
                whence.current_run().event("no")
            with whence.run("inner", project="open") as inner:
                inner.event("inner")
        with whence.span("after") as after:
            after.event("after")

    assert b'"no"' not in recorded.bytes_of_log()
    spans = {span.name: span for span in recorded.rows("spans")}
    assert set(spans) == {"before", "after"}
    assert spans["after"].parent == spans["before"].id
    runs = {run.name: run for run in recorded.rows("runs")}
    assert set(runs) == {"outer", "inner"}
    assert runs["inner"].parent_run is None
    assert [event.message for event in recorded.rows("events")] == ["inner", "after"]


def test_a_muted_run_is_muted_in_async_code_too(recorded):
    """Also across tasks that it starts."""
    whence.configure(recorded.home.root, projects={"secret": False})

    async def part():
        with whence.span("no"):
            await asyncio.sleep(0)

    async def main():
        async with whence.run("outer"):
            async with whence.run("muted", project="secret"):
                await asyncio.gather(part(), part())
            async with whence.span("yes"):
                pass

    asyncio.run(main())

    assert recorded.one("spans").name == "yes"


def test_sampling_takes_whole_runs(recorded):
    """A run is recorded with all it holds or not at all, also where a span opens it."""
    whence.configure(recorded.home.root, sample_ratio=0.5)
    for number in range(200):
        with whence.span(f"outer {number}"), whence.span("middle"), whence.span("inner") as inner:
            inner.event("m")

    runs = recorded.rows("runs")
    assert 50 < len(runs) < 150
    assert all(run.name.startswith("outer") and run.spans == 3 for run in runs)
    assert len(recorded.rows("events")) == len(runs)


@pytest.mark.parametrize("ratio", [-0.1, 1.5, float("nan")])
def test_a_share_has_to_be_one(ratio):
    """Wrong settings are answered at once."""
    with pytest.raises(whence.ConfigError):
        whence.configure(sample_ratio=ratio)


def test_a_span_outside_any_run_gets_one(recorded):
    """It carries the span's name and ends with it."""
    with whence.span("alone") as span:
        span.event("m")

    assert (recorded.one("runs").name, recorded.one("runs").status) == ("alone", "complete")


class Card:
    def __repr__(self):
        return f"<Card {SECRET}>"


class Angry:
    def __str__(self):
        raise ValueError(SECRET)

    __repr__ = __str__


def say_the_secret_everywhere():
    long = f"{SECRET} " + "x" * 100_000
    odd = f"{SECRET} \ud800"
    with whence.run(
        SECRET, external_id=SECRET, session=SECRET, user=SECRET, tags=[SECRET, odd], a=SECRET
    ) as run:
        run.set(output=SECRET, note=[long, odd], user=SECRET)
        run.set(output=odd)
        with whence.stage(f"stage {SECRET}", input=[SECRET, b"bytes " + SECRET.encode()]) as span:
            for value in (
                SECRET,
                long,
                odd,
                Card(),
                Angry(),
                {1: SECRET},
                (long, odd),
                {"k": long},
            ):
                span.decide(SECRET, value, why=SECRET, options=[SECRET, value], inputs={"i": value})
                span.output(SECRET, value=value, summary=long)
                span.event(odd, data=value)
                span.record_generation(
                    model="m",
                    prompt_template=long,
                    messages=[{"role": "user", "content": value}],
                    output=value,
                    reasoning=value,
                    parameters={"stop": value},
                    usage={"prompt_tokens": 1, "note": value},
                    media=[{"data": f"{SECRET} ".encode() * 5_000}],
                    other=value,
                )
                span.source(SECRET, odd, sample_ids=[SECRET, long, odd])
                span.factor(SECRET, value, reasoning=odd)
                span.tag(SECRET, odd)
                span.flag(long)
            with whence.tool(SECRET, input=(SECRET, long)) as tool:
                tool.set(output={"a": b"\xff" + SECRET.encode()})
        span.link("used", SECRET, source=odd)
        raise RuntimeError(SECRET)


@pytest.mark.parametrize("takes_path", [False, True])
def test_what_is_redacted_is_in_no_file(recorded, takes_path):
    """Not in a segment, a blob, a preview or an error, whatever it was wrapped in."""

    def redact(text):
        return re.sub(r"sk-\d+-\w+", "[key]", text)

    def redact_at(text, path):
        assert path
        return redact(text)

    whence.configure(recorded.home.root, redact=redact_at if takes_path else redact)
    with pytest.raises(RuntimeError):
        say_the_secret_everywhere()

    everything = recorded.bytes_of_all_files()
    for form in (SECRET, "geheim", "c2stNDcxMS1nZWhlaW0"):  # plain, in part, in base64
        assert form.encode() not in everything
    assert recorded.bytes_of_log().count(b"[key]") > 50
    run = recorded.one("runs")
    assert (run.name, run.status, run.lost) == ("[key]", "failed", 0)
    assert len(recorded.rows("decisions")) == len(recorded.rows("generations")) == 8
    stage = next(span for span in recorded.rows("spans") if span.kind == "stage")
    assert {row.stage for row in recorded.rows("decisions")} == {stage.name} == {"stage [key]"}
    assert {row.span for row in recorded.rows("decisions")} == {stage.id}


class RecordsWhenAskedFor:
    """Stands for another thread: records when `configure` asks for what it takes."""

    def __init__(self, run):
        self.run = run

    @property
    def __signature__(self):
        self.run.event("while it is configured")
        return inspect.Signature()

    def __call__(self, _text):
        return "redacted"


def test_what_is_recorded_while_redaction_is_switched_on_does_not_keep_it_off(recorded):
    """A record may come at any moment of `configure`, from another thread or a signal handler."""
    with whence.run("r") as run:
        run.event("before")
        whence.configure(recorded.home.root, redact=RecordsWhenAskedFor(run))
        run.event(SECRET)
        run.decide(SECRET, SECRET)

    assert SECRET.encode() not in recorded.bytes_of_all_files()
    messages = sorted(row.message for row in recorded.rows("events"))
    assert messages == ["before", "redacted", "while it is configured"]


def test_a_redaction_that_fails_lets_nothing_through(recorded, capsys):
    """The text is withheld, the record is kept, and the program goes on."""

    def redact(text):
        raise ValueError(text)

    whence.configure(recorded.home.root, redact=redact)
    with pytest.raises(RuntimeError):
        say_the_secret_everywhere()

    assert SECRET.encode() not in recorded.bytes_of_all_files()
    assert "redact function failed" in capsys.readouterr().err
    assert recorded.one("runs").status == "failed"
    tool = next(span for span in recorded.rows("spans") if span.kind == "tool")
    stage = next(span for span in recorded.rows("spans") if span.kind == "stage")
    assert tool.parent == stage.id


def test_a_redaction_may_go_by_the_path(recorded):
    """Field by field, into nested values, and into what would become a blob."""

    def redact(text, path):
        return "***" if path.endswith("ssn") else text

    whence.configure(recorded.home.root, redact=redact)
    with whence.run("r") as run:
        run.decide("n", {"ssn": "1" * 40_000, "name": "x"}, inputs={"who": [{"ssn": "1\ud800"}]})

    decision = recorded.one("decisions")
    assert decision.what == {"ssn": "***", "name": "x"}
    assert decision.inputs == {"who": [{"ssn": "***"}]}
    assert not recorded.home.blobs.exists()


def test_numbers_and_special_values_survive_redaction(recorded):
    """Redaction is about texts."""
    whence.configure(recorded.home.root, redact=str.upper)
    with whence.run("r") as run:
        run.decide("n", [1, 2.5, None, True, float("inf"), 2**70, {1: "a"}])

    assert recorded.one("decisions").what == [
        1,
        2.5,
        None,
        True,
        {"$whence": "float", "value": "inf"},
        {"$whence": "int", "value": str(2**70)},
        {"$whence": "pairs", "value": [[1, "A"]]},
    ]


def test_content_can_be_kept_out(recorded):
    """Prompts, messages, inputs and outputs are not written, blobs included; their sizes are."""
    whence.configure(recorded.home.root, capture_content=False)
    with whence.run("r", a="kept") as run:
        run.set(output=SECRET)
        with whence.tool("t", input={"q": SECRET}) as tool:
            tool.set(output=[SECRET, SECRET.encode(), "x" * 50_000])
        run.output("o", value=SECRET, summary="kept")
        run.record_generation(
            model="m",
            prompt_template=SECRET,
            messages=[
                {"role": "user", "content": SECRET},
                {"role": "user", "content": SECRET * 9_000},
            ],
            output=SECRET,
            reasoning=SECRET,
            media=[{"data": SECRET.encode()}],
            usage={"prompt_tokens": 3, "completion_tokens": 4},
        )
        run.transformation("t", input_sample=[SECRET], output_sample=SECRET)

        @whence.observe
        def work(value):
            return value

        work(SECRET)

    assert SECRET.encode() not in recorded.bytes_of_all_files()
    assert not recorded.home.blobs.exists()
    generation = recorded.one("generations")
    assert [m["role"] for m in generation.messages] == ["user", "user"]
    assert generation.messages[0]["size_bytes"] > len(SECRET)
    assert generation.input_tokens == 3
    assert recorded.one("runs").attributes == {"a": "kept"}
    assert recorded.one("outputs").summary == "kept"
