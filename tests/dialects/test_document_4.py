"""What document 4 (generation trace) shows works, with the application's names replaced."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import textwrap
from typing import Any

import documents
import psycopg
import pytest
from click.testing import CliRunner
from openaiapi import responses_body, serving
from postgres import postgres, postgres_cluster

import whence
from whence.cli.app import cli
from whence.generations import (
    OpenAIClient,
    ProblemGenerationTrace,
    SentenceGenerationTrace,
    record_artifact,
    trace_column_migration,
)

__all__ = ["postgres", "postgres_cluster"]
DOCUMENT = documents.find_document(4)
here = pytest.mark.skipif(DOCUMENT is None, reason="the document is not beside the project")

SAME_QUERIES = """
SELECT id, title, generation_trace->>'total_reasoning_tokens' AS reasoning_tokens
FROM problems
WHERE (generation_trace->>'total_reasoning_tokens')::int > 1000
ORDER BY (generation_trace->>'total_reasoning_tokens')::int DESC;

SELECT id, title, created_at FROM problems
WHERE generation_trace->>'quality_status' = 'pending_review';

SELECT generation_trace->>'model' AS model, COUNT(*), AVG((generation_trace->>'total_tokens')::int)
FROM problems WHERE generation_trace IS NOT NULL GROUP BY generation_trace->>'model';
"""
SAME_COMMANDS = """
quiz problem inspect <id> --show-reasoning
quiz problem trace-stats
quiz problem find-issues --quality-status pending_review
"""
SAME_LINE = """
LLM request completed: operation=sentence_generation, model=gpt-5-nano-2025-08-07,
duration=1234ms, tokens=(prompt=150, completion=75, total=225, reasoning_tokens=500)
"""


def texts_of(language: str, word: str, same: str) -> list[Any]:
    """Return the document's blocks with a word in them, and ours of the same shape."""
    found = [] if DOCUMENT is None else documents.blocks(DOCUMENT, language)
    of_document = [
        pytest.param(code, id=f"document {n}") for n, code in enumerate(found) if word in code
    ]
    return [pytest.param(same, id="same shape"), *of_document]


async def make_problem(client: OpenAIClient, sentences: int = 4) -> ProblemGenerationTrace:
    """The service of steps 5 and 6: sentences with traces, aggregated into a problem's."""
    problem = ProblemGenerationTrace("gpt-5-nano-2025-08-07", "2.0", 0.0)
    for place in range(sentences):
        prompt = f"Écris une phrase au passé composé, numéro {place}."
        answer = await client.handle_request_with_metadata(
            prompt, "gpt-5-nano-2025-08-07", "sentence_generation"
        )
        error = None if place == 0 else "wrong_auxiliary"
        problem.add_sentence_trace(
            SentenceGenerationTrace(place, place == 0, error, answer, prompt)
        )
        problem.total_generation_time_ms += answer.duration_ms
    return problem


def problem_of(*summaries: str, sentences: int = 4) -> ProblemGenerationTrace:
    with serving(responses_body("Je suis allé.", *summaries)) as api:
        client = OpenAIClient("key", base_url=api.url)
        return asyncio.run(make_problem(client, sentences))


@pytest.mark.usefixtures("recording")
@here
def test_the_old_method_delegates_to_the_new_one():
    """The method of the document, pasted into a client of ours, gives the text of the answer."""
    (code,) = [c for c in documents.blocks(DOCUMENT, "python") if "handle_request(" in c]
    code = code.replace("handle_request(...)", "handle_request(self, *args, **kwargs)")
    code = code.replace("metadata(...)", "metadata(*args, **kwargs)")
    names = {"OpenAIClient": OpenAIClient}
    exec("class Client(OpenAIClient):\n" + textwrap.indent(code, "    "), names)  # noqa: S102 - that is the test
    with serving(responses_body("Oui.")) as api:
        client = names["Client"]("key", base_url=api.url)
        said = asyncio.run(client.handle_request("Dis oui.", "gpt-5"))

    assert said == "Oui."


@pytest.mark.usefixtures("recording")
def test_handle_request_gives_what_the_answer_with_metadata_says():
    """The old method is the new one's content, with the same arguments."""
    with serving(responses_body("Oui.")) as api:
        client = OpenAIClient("key", base_url=api.url)
        said = asyncio.run(client.handle_request("Dis oui.", "gpt-5", operation="o"))
        whole = asyncio.run(client.handle_request_with_metadata("Dis oui.", "gpt-5", operation="o"))

    assert said == whole.content == "Oui."
    assert api.asked[0].body == api.asked[1].body


@pytest.mark.usefixtures("recording")
@pytest.mark.parametrize(
    "code",
    texts_of(
        "python",
        "generation_trace:",
        "generation_trace: dict[str, Any] | None = Field(None, description='Full trace')",
    ),
)
def test_a_schema_takes_the_trace_as_its_field(code):
    """The field of the document holds what `to_dict` gives, and gives it back as JSON."""
    pydantic = pytest.importorskip("pydantic")
    names = {"Field": pydantic.Field, "Any": Any, "BaseModel": pydantic.BaseModel}
    body = textwrap.indent(textwrap.dedent(code), "    ")
    source = compile(
        f"class ProblemCreate(BaseModel):\n{body}", "document", "exec", dont_inherit=True
    )
    exec(source, names)  # noqa: S102 - that is the test
    trace = problem_of("Je dois choisir être.")

    made = names["ProblemCreate"](generation_trace=trace.to_dict())

    assert json.loads(made.model_dump_json())["generation_trace"] == trace.to_dict()


@pytest.mark.usefixtures("recording")
@pytest.mark.parametrize("shown", texts_of("", "LLM request completed", SAME_LINE))
def test_the_log_line_is_the_one_of_the_document(caplog, shown):
    """Every request leaves one line of that form, on one line, with its own figures."""
    sample = " ".join(shown.split())
    form = re.escape(sample).replace("1234ms", r"\d+ms")
    usage = {
        "input_tokens": 150,
        "output_tokens": 75,
        "total_tokens": 225,
        "output_tokens_details": {"reasoning_tokens": 500},
    }
    with (
        serving(responses_body("Oui.", usage=usage)) as api,
        caplog.at_level(logging.INFO, "whence.generations"),
    ):
        client = OpenAIClient("key", base_url=api.url)
        asyncio.run(client.handle_request("Dis oui.", "gpt-5-nano", "sentence_generation"))

    (line,) = [r.getMessage() for r in caplog.records if r.name == "whence.generations"]
    assert re.fullmatch(form, line), line


@pytest.mark.parametrize("commands", texts_of("bash", "quiz problem inspect", SAME_COMMANDS))
def test_the_commands_of_the_document_show_the_trace(recording, commands):
    """Each `quiz problem` command has a counterpart under `whence generations`."""
    problem = problem_of("Je dois choisir être.")
    record_artifact("problem-7", problem, title="passé composé")
    ran = []
    for line in commands.splitlines():
        words = line.replace("<problem_id>", "problem-7").replace("<id>", "problem-7").split()
        if words[:2] != ["quiz", "problem"] or words[2] == "new":
            continue
        done = CliRunner().invoke(cli, ["generations", *words[2:], "--home", str(recording)])
        assert done.exit_code == 0, done.stderr
        ran.append((words[2], done.stdout))

    assert dict(ran)["inspect"].count("Je dois choisir être.") == 4


@pytest.mark.usefixtures("recording")
@pytest.mark.parametrize("queries", texts_of("sql", "total_reasoning_tokens", SAME_QUERIES))
def test_the_queries_of_the_document_run_on_a_real_database(postgres, queries):
    """Traces of real answers, in the column the migration makes, are found by all three."""
    much = problem_of("Je dois choisir être.").to_dict()
    little = problem_of(sentences=1)
    little.quality_status = "pending_review"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE problems "
            "(id serial PRIMARY KEY, title text, created_at timestamptz DEFAULT now())"
        )
        connection.execute(trace_column_migration("problems"))
        for title, trace in (("much", much), ("little", little.to_dict()), ("untraced", None)):
            connection.execute(
                "INSERT INTO problems (title, generation_trace) VALUES (%s, %s)",
                (title, None if trace is None else json.dumps(trace)),
            )
        statements = [one for one in queries.split(";") if one.strip()]
        found = [connection.execute(one).fetchall() for one in statements]

    assert [(row[1], row[2]) for row in found[0]] == [("much", "2000")]
    assert [row[1] for row in found[1]] == ["little"]
    assert [(row[0], row[1], int(row[2])) for row in found[2]] == [
        ("gpt-5-nano-2025-08-07", 2, (4 * 725 + 725) // 2)
    ]


def test_everything_the_overview_names_is_in_the_home(recording):
    """Model, prompt version, response ids, tokens, reasoning, prompts and quality are kept."""
    problem = problem_of("Je dois choisir être.", "Donc je l'accorde.")
    record_artifact("problem-7", problem)

    with whence.open(recording) as store:
        calls = store.generations().items
        output = store.outputs().items[0]

    assert {call.response_model for call in calls} == {"gpt-5-nano-2025-08-07"}
    assert {call.response_id for call in calls} == {"resp_1"}
    assert {call.reasoning for call in calls} == {"Je dois choisir être.\n\nDonc je l'accorde."}
    assert {(c.input_tokens, c.output_tokens, c.reasoning_tokens) for c in calls} == {
        (150, 575, 500)
    }
    assert all("passé composé" in call.messages[0]["content"] for call in calls)
    trace = output.attributes["generation_trace"]
    assert (trace["prompt_version"], trace["quality_status"]) == ("2.0", "approved")
