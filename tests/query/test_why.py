"""The reasoning chain: what belongs to it, how it is sorted, and how it reads."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from madeup import RUN, run_row, span_row

import whence
from whence.capture.context import current_scope
from whence.errors import StoreError
from whence.store import rows as r

DATED = 1_793_527_200_000_000_000


@pytest.fixture
def report(recording):  # noqa: ARG001 - it records into that home
    """Record a pipeline with a retry, a lost option, evidence, calls, and a report at its end."""
    with whence.run("market report", project="cobot", external_id="trc_1") as run:
        with whence.stage("collection") as first:
            first.decide(
                "strategy",
                "broad",
                why="The question is open.",
                confidence=0.55,
                options={"broad": 0.6, "deep": 0.4},
                factors=[{"name": "recency", "normalized_value": 0.8, "weight": 0.5}],
            )
            first.decide("depth", 2, options=[{"name": "3", "reason_rejected": "too slow"}])
            kept = first.source("web", "a.example", quality=0.9, records_used=5)
            first.source("web", "b.example", kept=False, reason="duplicate")
            with whence.tool("search", input="q") as tool:
                tool.set(output=[])
            first.tool_call(
                "search", error={"type": "TimeoutError", "message": "late"}, retry_count=2
            )
        with whence.stage("synthesis") as second:
            second.record_generation(
                model="gpt-4.1",
                usage={"prompt_tokens": 100, "completion_tokens": 20},
                cost_usd=0.01,
                finish_reason="stop",
            )
            for iteration, value in enumerate((1, 2, 3), 1):
                second.score("META-12", value, threshold=2, iteration=iteration)
            output = second.output("report-7", kind="report", summary="All is well", quality=0.8)
            second.link("used", "report-7", source=kept)
        with whence.stage("publishing") as third:
            third.decide("channel", "mail")
            third.score("liked", 1, target="report-7")
        run.flag("check the sources")
    return {"run": run.id, "first": first.id, "second": second.id, "kept": kept, "output": output}


@pytest.mark.usefixtures("report")
def test_the_chain_of_an_output_is_what_came_before_it(store):
    """Stages are in order, and what was done afterwards is no reason."""
    why = store.why("report-7")

    assert [stage.name for stage in why.stages] == ["collection", "synthesis"]
    assert [choice.decision.name for choice in why.decisions] == ["strategy", "depth"]
    assert why.subject.output_id == "report-7"
    assert [row.name for row in why.verdicts] == ["liked"]
    assert [row.flag for row in why.flags] == ["check the sources"]


def test_the_chain_of_a_run_is_all_of_it(store, report):
    """The run, its external id and its outputs lead to the same run."""
    assert store.why(report["run"]).to_dict()["stages"] == store.why("trc_1").to_dict()["stages"]
    assert [stage.name for stage in store.why("trc_1").stages][-1] == "publishing"
    assert [row.output_id for row in store.why("trc_1").outputs] == ["report-7"]


@pytest.mark.usefixtures("report")
def test_a_decision_shows_what_was_not_taken_and_what_weighed(store):
    """Options, their probabilities and reasons, and factors by contribution."""
    strategy, depth = store.why("report-7").decisions

    assert strategy.not_taken[0]["name"] == "deep"
    assert strategy.not_taken[0]["probability"] == 0.4
    assert [factor.contribution for factor in strategy.factors] == [0.4]
    assert depth.not_taken[0]["reason_rejected"] == "too slow"


def test_evidence_is_sorted_and_what_the_output_cites_is_marked(store, report):
    """A source that the output is linked to is cited, and is not listed again among the links."""
    why = store.why("report-7")

    evidence = why.stages[0].evidence
    assert evidence.cited == [report["kept"]]
    assert evidence.reasons == {"duplicate": 1}
    assert evidence.records_used == 5
    assert why.ancestors == []


@pytest.mark.usefixtures("report")
def test_totals_add_up_and_stay_unknown_where_nobody_said(store):
    """Null is not zero."""
    totals = store.why("report-7").totals
    assert (totals.decisions, totals.sources_kept, totals.sources_dropped) == (2, 1, 1)
    assert (totals.generations, totals.tool_calls, totals.retries) == (1, 2, 2)
    assert (totals.input_tokens, totals.output_tokens, totals.cost_usd) == (100, 20, 0.01)

    with whence.run("silent", external_id="silent"):
        pass
    assert store.why("silent").totals.cost_usd is None


@pytest.mark.usefixtures("report")
def test_the_text_tells_the_story(store):
    """What a reader wants to know stands in it, in few lines."""
    text = str(store.why("report-7"))

    for part in (
        "# Why report-7",
        "All is well",
        "run market report of cobot",
        "least sure of strategy (0.55)",
        "flagged for review: check the sources",
        "## 1. collection",
        "decided strategy: broad",
        "The question is open.",
        "not deep  p 0.40",
        "weighed recency  0.8 x 0.5 = +0.4",
        "kept 1 of 2, 5 records used",
        "(cited)",
        "duplicate",
        "TimeoutError: late",
        "2 retries",
        "called gpt-4.1  100 → 20 tokens",
        "scored META-12  1 → 2 → 3 (needs 2, passed)",
        "## Judged afterwards",
    ):
        assert part in text, part
    assert "channel" not in text
    assert max(map(len, text.splitlines())) <= 130
    assert text == repr(store.why("report-7"))


@pytest.mark.usefixtures("report")
def test_the_chain_becomes_json(store):
    """Everything in it is JSON, the figures under their own names."""
    plain = json.loads(json.dumps(store.why("report-7").to_dict(), allow_nan=False))

    assert plain["subject"]["output_id"] == "report-7"
    assert plain["stages"][0]["decisions"][0]["decision"]["confidence"] == 0.55
    assert plain["totals"]["cost_usd"] == 0.01


def test_why_of_a_span_and_of_a_decision(store, report):
    """A span's chain is what came before it and what is in it; a decision's ends with it."""
    span = store.why(report["second"])
    assert [stage.name for stage in span.stages] == ["collection", "synthesis"]
    assert [row.output_id for row in span.outputs] == ["report-7"]
    (channel,) = store.decisions("name = 'channel'").items

    chosen = store.why(channel.id)
    assert chosen.decisions[-1].decision.id == channel.id
    assert chosen.table == "decisions"


def test_branches_of_a_parallel_run_are_no_part_of_each_other(made):
    """A sibling that ran at the same time did not lead to the output; one that ended before did."""

    def decision(name: str, span: str | None, ts_ns: int) -> r.DecisionRow:
        return r.DecisionRow(id=name, run=RUN, span=span, ts_ns=ts_ns, name=name, what="x")

    reader = made(
        spans=[
            span_row("before", 0, 10),
            span_row("left", 20, 90),
            span_row("right", 20, 90),
            span_row("inner", 30, 40, parent="right", kind="step"),
            span_row("late", 60, 80, parent="right", kind="step"),
            span_row("died", 5, None),
        ],
        decisions=[
            decision("in before", "before", 5),
            decision("in left", "left", 30),
            decision("in right", "right", 30),
            decision("in inner", "inner", 35),
            decision("in late", "late", 70),
            decision("in died", "died", 6),
            decision("at run", None, 15),
            decision("at run later", None, 95),
        ],
        outputs=[r.OutputRow(id="o", run=RUN, span="right", ts_ns=50, output_id="out")],
    )

    names = [choice.decision.name for choice in reader.why("out").decisions]
    assert names == ["in before", "in died", "at run", "in right", "in inner"]


def test_retries_and_earlier_runs_show_where_a_thing_came_from(store):
    """Links are followed within and across runs, and the parent run is told."""
    with whence.run("first", external_id="try-1") as first:
        first.output("draft-1")
    with whence.run("second", external_id="try-2") as second:
        second.link("retry_of", second, source=first)
        with whence.run("nested", external_id="inner") as inner:
            inner.output("final")
            inner.link("derived_from", "final", source="draft-1", confidence=0.7)

    why = store.why("final")
    assert {(one.edge.kind, one.label) for one in why.ancestors} >= {
        ("derived_from", "artifact draft-1"),
        ("part_of", "run try-2 (complete)"),
    }
    assert "this derived from artifact draft-1 (confidence 0.7" in str(why)
    retry = store.why("try-2")
    assert [(one.edge.kind, one.run) for one in retry.ancestors] == [("retry_of", first.id)]
    assert retry.totals.retries == 1


def test_known_losses_are_told(made):
    """Gaps of the run, and those of its time that are nobody's, are part of the answer."""
    gaps = [
        r.GapRow(id="g1", run=RUN, ts_ns=DATED + 15, lost=3, reason="No space left on device"),
        r.GapRow(id="g2", run="", ts_ns=DATED + 16, since_ns=14, lost=1, reason="fsync failed"),
        r.GapRow(id="g3", run="", ts_ns=DATED + 5, lost=1, reason="long before"),
    ]
    reader = made(runs=[run_row(started_ns=DATED + 10, ended_ns=DATED + 20)], gaps=gaps)

    why = reader.why(RUN)
    assert [gap.id for gap in why.gaps] == ["g1", "g2"]
    assert "3 records lost: No space left on device" in str(why)
    assert "1 record lost: fsync failed (of some run at that time)" in str(why)
    undated = made(runs=[run_row(started_ns=10)], gaps=gaps)
    assert [gap.id for gap in undated.why(RUN).gaps] == ["g1"]  # it is of no time


def test_a_step_that_failed_and_an_error_that_was_logged_are_told(store):
    """Failures stand in the stage they happened in."""

    def fail() -> None:
        with whence.run("x", external_id="x") as run:
            run.event("odd", level="warning")
            with whence.stage("work"), whence.step("part"):
                message = "broken"
                raise ValueError(message)

    with pytest.raises(ValueError, match="broken"):
        fail()

    text = str(store.why("x"))
    assert "failed: step part: ValueError: broken" in text
    assert "warning: odd" in text
    assert "the run ended in ValueError: broken" in text


EVIL = "\x1b[2J\x1b]0;owned\x07<script>alert(1)</script>\u202egpj.exe\r\n## 9. forged\x9b31m"


def test_hostile_text_is_shown_and_not_obeyed(store):
    """No control character, no markup and no forged line reaches terminal or notebook."""
    with whence.run(EVIL, project=EVIL, external_id=EVIL) as run, whence.stage(EVIL) as stage:
        stage.decide(EVIL, EVIL, why=EVIL, options=[{"name": EVIL, "reason_rejected": EVIL}])
        stage.factor(EVIL, EVIL, reasoning=EVIL)
        stage.source(EVIL, EVIL, kept=False, reason=EVIL, title=EVIL)
        stage.record_generation(name=EVIL, model=EVIL, error=EVIL, finish_reason=EVIL)
        stage.tool_call(EVIL, error={"type": EVIL, "message": EVIL})
        stage.transformation(EVIL, method=EVIL)
        stage.score(EVIL, 1, feedback=EVIL, threshold=3)
        stage.event(EVIL, level="error")
        stage.flag(EVIL)
        stage.output(EVIL, kind=EVIL, summary=EVIL, path=EVIL)
        stage.link(EVIL, EVIL, source="x" + EVIL)
    with whence.run("other", external_id="other"):
        pass

    for shown in (
        store.why(EVIL),
        store.run(run.id),
        store.compare(run.id, "other"),
        store.lineage(EVIL),
        store.outputs(),
        store.stats(table="scores", by="name", window=None),
    ):
        text, page = str(shown), shown._repr_html_()
        lines = text.splitlines()
        assert all(line.isprintable() for line in text.split("\n")), type(shown)
        assert not any(line.startswith("## 9. forged") for line in lines)
        assert "<script>" not in page
        assert "\x1b" not in page
    assert store.lineage(EVIL).to_dot().replace("\n", "").isprintable()


def test_a_big_run_stays_short_to_read(store):
    """What is long is cut and counted."""
    with whence.run("big", external_id="big") as run:
        for number in range(300):
            run.decide(f"d{number}", "x", options=[f"o{i}" for i in range(50)])
            run.source("web", f"s{number}", kept=number % 2 == 0, reason="same")
            run.record_generation(model="m", usage={"input_tokens": 1, "output_tokens": 1})

    with whence.run("wide", external_id="wide"):
        for number in range(100):
            with whence.stage(f"s{number}") as stage:
                stage.decide("go on", "yes")

    wide = str(store.why("wide"))
    assert "## 10. s9" in wide
    assert "and 60 more stages in between" in wide
    assert "## 71. s70" in wide
    text = str(store.why("big"))
    assert len(text.splitlines()) < 150
    assert "and 288 more decisions" in text
    assert "and 296 more calls" in text
    assert len(store.why("big").decisions) == 300


def test_a_reader_without_a_home_takes_no_remark(made):
    """Annotating needs a log to write to."""
    reader = made()
    reader.home = None

    with pytest.raises(StoreError, match="annotate where the log is"):
        reader.annotate(RUN, note="x")
    with pytest.raises(StoreError, match="no blobs"):
        reader.blob("0" * 64)


def test_a_run_and_its_why_count_the_same_errors(recording):
    """A span that failed because of the call in it is one error, in the list and in the chain."""
    run = whence.run("failing").start()
    stage = whence.stage("calls").start(within=run)
    stage.tool_call("search", error={"type": "TimeoutError", "message": "late"})
    stage.finish(ValueError("late"))
    run.finish()
    with whence.open(recording) as store:
        assert store.runs().items[0].errors == store.why(run.id).totals.errors == 1


def test_an_attempt_that_is_linked_to_the_first_counts_once(recording):
    """A second attempt that says so, and has a link that says so, is one retry."""
    with whence.run("twice") as run:
        with whence.generation("ask") as first:
            first.record_generation(model="m", status="error", attempt=1)
        with whence.generation("ask") as second:
            second.record_generation(model="m", attempt=2, cost_usd=0.5)
        second.link("retry_of", second, source=first)
    with whence.open(recording) as store:
        why = store.why(run.id)
        assert (why.totals.retries, why.totals.unpriced_calls) == (1, 1)
        assert "$0.5000 (1 of 2 calls unpriced)" in str(why)


def test_attempts_in_one_span_and_retries_that_only_a_link_tells_all_count(store):
    """Each attempt is one, whether its number says so or a link between two calls does."""
    with whence.run("thrice", external_id="thrice") as run:
        with whence.generation("ask") as span:
            for attempt in (1, 2, 3):
                span.record_generation(model="m", attempt=attempt)
        with whence.step("linked") as step:
            first = step.record_generation(model="m")
            second = step.record_generation(model="m")
            step.link("retry_of", second, source=first)
        once = run.tool_call("search", retry_count=2)
        again = run.tool_call("search", retry_count=1)
        run.link("retry_of", again, source=once)

    assert store.why("thrice").totals.retries == 2 + 1 + 3


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["tool", "generation", "step", "stage"]),
            st.sampled_from([None, "ok", "error", "cancelled"]),
            st.sampled_from([None, "call", "raise"]),
            st.booleans(),
        ),
        max_size=6,
    )
)
def test_errors_of_a_run_are_those_of_its_why_whatever_failed(tmp_path_factory, steps):
    """Spans that fail, calls that fail in them, spans inside spans: one rule for both views."""
    folder = tmp_path_factory.mktemp("home")
    whence.configure(folder)
    token = current_scope.set(None)
    try:
        run = whence.run("mixed").start()
        outer = run
        for kind, status, failing, nested in steps:
            span = whence.span("s", kind=kind).start(within=outer)
            if status:
                span.set(status=status)
            if failing == "call":
                span.tool_call("s", status="error")
                span.record_generation(model="m", status="error")
            span.finish(ValueError("late") if failing == "raise" else None)
            outer = span if nested else run
        run.finish()
        with whence.open(folder) as store:
            assert store.runs().items[0].errors == store.why(run.id).totals.errors
    finally:
        current_scope.reset(token)
        whence.configure(folder, enabled=False)


def test_a_call_that_failed_is_told_once(store):
    """The span of a failed tool or model says nothing new; a step that failed otherwise does."""
    with whence.run("x", external_id="x"), whence.stage("work") as stage:
        with contextlib.suppress(TimeoutError), whence.tool("search"):
            raise TimeoutError("too slow")
        with contextlib.suppress(ValueError), whence.step("part") as step:
            step.tool_call("look", error={"type": "OSError", "message": "gone"})
            raise ValueError("broken")
        for number in range(6):
            with contextlib.suppress(LookupError), whence.generation("ask") as asked:
                asked.record_generation(model="m", error={"type": "Busy", "message": "429"})
                if number:
                    raise LookupError("no answer")
        stage.decide("go on", "yes")

    text = str(store.why("x"))
    assert text.count("TimeoutError: too slow") == 1
    assert text.count("OSError: gone") == 1
    assert "failed: step part: ValueError: broken" in text
    assert "    Busy: 429 (2x)" in text  # of the calls that are only counted
    assert "tool search" not in text


def test_stages_in_which_nothing_was_recorded_share_a_line(store):
    """A heading has something below it; numbers go on as if the empty stages were not there."""
    with whence.run("x", external_id="x") as run:
        with whence.stage("warm up"):
            pass
        with whence.stage("work") as work:
            work.decide("go on", "yes")
        with whence.stage("writing") as writing:
            writing.output("report", kind="report")
        with contextlib.suppress(ValueError), whence.stage("broken"):
            raise ValueError("x")
        run.output("other")

    why = store.why("x")
    lines = str(why).splitlines()
    heads = [line.split("  ")[0] for line in lines if line.startswith("## ")]
    assert heads == ["## 1. work", "## 2. writing", "## 3. broken"]
    assert all(lines[lines.index(line) + 1] for line in lines if line.startswith("## "))
    assert "Nothing was recorded in 1 stage: warm up" in lines
    assert why.stages[0].name == "warm up"  # as data it is there


def test_the_chain_of_a_run_without_times_has_no_length(made):
    """Times that only tell an order are shown neither as a date nor as a duration."""
    reader = made(
        runs=[run_row(started_ns=1000, ended_ns=9000)],
        spans=[span_row("turn", 2000, 5000)],
        decisions=[r.DecisionRow(id="d", run=RUN, span="turn", ts_ns=3000, name="way", what="x")],
    )

    for asked in ("turn", "d", RUN):
        assert reader.why(asked).totals.duration_ms is None
        assert "· undated ·" in str(reader.why(asked))
        assert " ms" not in str(reader.why(asked))
