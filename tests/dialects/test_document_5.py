"""The usage of document 5 runs as written once the import path is changed."""

from __future__ import annotations

import asyncio
import re
import textwrap
from types import SimpleNamespace

import pytest
from documents import blocks, find_document
from researching import load, traced_root  # noqa: F401 - a fixture

from whence import research
from whence.research import (
    Decision,
    StageTrace,
    Trace,
    TraceContext,
    TraceQuery,
    TraceResult,
    TracingComponent,
    check_calibration_flags,
)

DOCUMENT = find_document(5)
here = pytest.mark.skipif(DOCUMENT is None, reason="the document is not here")


def code(marker):
    """Return the Python block of the document that has a text."""
    (found,) = [block for block in blocks(DOCUMENT, "python") if marker in block]
    return found


def usage_of(marker):
    """Return what a module of the document shows under `Usage:` in its first docstring."""
    usage = re.search(r'Usage:\n(.*?)"""', code(marker), re.DOTALL)[1]
    return textwrap.dedent(usage)


def run_as_coroutine(text, **names):
    """Run code that awaits, and return the names it leaves."""
    body = textwrap.indent(text, "    ")
    scope = dict(names)
    exec(f"async def main():\n{body}\n    return locals()", scope)  # noqa: S102 - the document's own code
    return asyncio.run(scope["main"]())


def names_of(marker, kind):
    """Return the fields or methods that the document's code gives a class."""
    body = code(marker).split(f"class {kind}", 1)[1]
    body = re.split(r"\n(?:class|def|@dataclass|async def) ", body, maxsplit=1)[0]
    return set(re.findall(r"^    (?:async )?def (\w+)\(", body, re.MULTILINE)) | set(
        re.findall(r"^    (\w+): ", body, re.MULTILINE)
    )


@here
@pytest.mark.usefixtures("traced")
def test_the_usage_of_trace_context_runs():
    """Section 5: the block, the current trace, a decision, the timing of a stage."""
    text = usage_of("class TraceContext").replace("outputs={...}", "outputs={'n': 1}")
    assert "async with TraceContext.start" in text

    left = run_as_coroutine(text, TraceContext=TraceContext)

    trace = left["trace"]
    document = load(trace.result["file_path"])
    assert document["run"]["status"] == "complete"
    assert document["stages"]["intake"]["decisions"][0]["what"] == "validating"
    assert document["stages"]["collection"]["outputs"] == {"n": 1}


@here
@pytest.mark.usefixtures("traced")
def test_the_usage_of_trace_query_runs():
    """Section 6: every question of the example, asked of a home that has traces."""
    for score in (1, 3):
        with TraceContext.start(project_name="cobot", intent="validating", domain="edtech") as t:
            t.start_stage("quality_gate")
            t.end_stage(
                "quality_gate",
                outputs={"principle_scores": {"META-12": score}, "passed": score > 2},
            )
    text = usage_of("class TraceQuery").replace("from src.tracing.query", "from whence.research")
    left = run_as_coroutine(text)
    assert isinstance(left["traces"][0], TraceResult)
    assert left["comparison"] == {"error": "One or both trace IDs not found"}
    assert left["patterns"] == []


@here
@pytest.mark.usefixtures("traced")
def test_the_retrofit_pattern_runs_with_and_without_a_trace():
    """Section 8: a component takes the trace from its context, and works the same without one."""
    scope = {"TraceContext": TraceContext, "total": 21, "meta_count": 13, "type_count": 8}
    exec(code("retrofitting rubric_loader"), scope)  # noqa: S102 - as above

    async def run():
        await scope["load_rubric"]("market_research", None, "validating")
        async with TraceContext.start(project_name="cobot") as trace:
            await scope["load_rubric"]("market_research", None, "validating")
        return trace

    (decision,) = asyncio.run(run()).stages["rubric"].decisions
    assert decision.what == "21 principles (13 META + 8 market_research)"


@here
def test_the_interface_of_components_is_that_of_the_document():
    """Section 4: the same abstract members."""
    assert names_of("class TracingComponent", "TracingComponent") == (
        TracingComponent.__abstractmethods__
    )


@here
@pytest.mark.parametrize(
    ("kind", "ours"),
    [
        ("Decision", Decision),
        ("StageTrace", StageTrace),
        ("Trace:", Trace),
        ("TraceContext", TraceContext),
    ],
)
def test_every_name_of_the_document_s_code_is_there(kind, ours):
    """Fields and methods of section 5, on the classes of the same names."""
    wanted = names_of("class TraceContext", kind)
    there = set(dir(ours)) | set(getattr(ours, "__dataclass_fields__", {}))
    assert wanted
    assert wanted - there == set()


@here
def test_every_question_of_the_document_is_there():
    """Section 6: the same methods, all asynchronous, and the same fields of a result."""
    wanted = names_of("class TraceQuery", "TraceQuery")
    assert len(wanted) == 10
    for name in wanted:
        assert asyncio.iscoroutinefunction(getattr(TraceQuery, name)), name
    assert names_of("class TraceQuery", "TraceResult") == set(TraceResult.__dataclass_fields__)


@here
def test_every_column_and_view_of_the_document_is_there():
    """Section 3.2: each column of the table, in the migration and in the embedded view."""
    from whence.store.traceviews import TRACE_COLUMNS, TRACE_VIEWS  # noqa: PLC0415

    sql = blocks(DOCUMENT, "sql")[0]
    table = sql.split("CREATE TABLE IF NOT EXISTS traces (", 1)[1].split("\n);", 1)[0]
    columns = re.findall(r"^    (\w+) ", table, re.MULTILINE)
    assert len(columns) == 38
    assert set(columns) - set(TRACE_COLUMNS) == set()
    migration = research.MIGRATION
    assert [
        name for name in columns if not re.search(rf"^    {name} ", migration, re.MULTILINE)
    ] == []
    for name in re.findall(r"CREATE OR REPLACE VIEW (\w+)", sql):
        assert name in TRACE_VIEWS
        assert f"CREATE VIEW {name}" in migration
    for index in re.findall(r"CREATE INDEX (\w+)", sql):
        assert index in migration


@here
@pytest.mark.usefixtures("traced")
def test_the_flags_of_the_document_s_code_have_its_words():
    """Section 7.1: the same sentence for a principle that failed three times."""
    body = code("async def check_calibration_flags")
    words = re.findall(
        r'f?"([^"]*)"', body.split("flags.append(", 1)[1].split("\n                )")[0]
    )
    said = SimpleNamespace(gap_id="META-12", count=3)
    expected = "".join(words).replace("{gap_id}", said.gap_id).replace("{count}", str(said.count))

    async def run():
        for _ in range(3):
            async with TraceContext.start(project_name="cobot") as trace:
                trace.start_stage("quality_gate")
                outputs = {"gap_principles": ["META-12"], "passed": True}
                trace.end_stage("quality_gate", outputs=outputs)
        return await check_calibration_flags(trace)

    assert asyncio.run(run()) == [expected]


@pytest.mark.usefixtures("traced")
def test_a_pipeline_in_the_document_s_words_leaves_what_it_promises():
    """The lifecycle of section 2: start, record, finish, ask; without needing the document."""

    async def load_rubric(intent):
        trace = TraceContext.current()
        if trace:
            trace.record(
                "rubric",
                "rubric_loaded",
                {"what": "21", "why": "all", "inputs": {"intent": intent}},
            )

    async def run():
        trace = TraceContext.start(
            project_id="p", project_name="cobot", query="Q?", intent="validating"
        )
        try:
            trace.start_stage("rubric")
            await load_rubric("validating")
            trace.end_stage("rubric", outputs={"total_principles": 21})
            trace.mark_complete()
        finally:
            result = await TraceContext.finish(trace)
        assert TraceContext.current() is None
        await load_rubric("validating")
        return result, await TraceQuery.by_intent("validating")

    result, found = asyncio.run(run())
    assert (result["supabase"], found[0].trace_id) == ("saved", result["trace_id"])
    stage = load(result["file_path"])["stages"]["rubric"]
    assert stage["outputs"] == {"total_principles": 21}
    assert len(stage["decisions"]) == 1
