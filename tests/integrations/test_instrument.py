"""`whence.instrument`, `whence run`, and programs that are traced in other ways too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest
from gemini import image_reply
from loopback import Answer, named_events

import whence
from whence.errors import ConfigError
from whence.integrations import LIBRARIES
from whence.integrations import program as program_module

CHAT = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m-1",
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": "hi"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}  # fmt: skip
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "c-1",
           "stop_reason": "end_turn", "content": [{"type": "text", "text": "hi"}],
           "usage": {"input_tokens": 3, "output_tokens": 2}}  # fmt: skip
CONTENT = {"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}],
           "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2,
                             "totalTokenCount": 3}}  # fmt: skip
ASK_OPENAI = """
import openai
client = openai.OpenAI(api_key="none", base_url=sys.argv[1], max_retries=0)
def ask():
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}])
"""


@pytest.fixture
def program(tmp_path, home, place):
    """Return a function that runs a program which gets the provider's address as argument."""

    def run(code, *before, **environment):
        script = tmp_path / "app.py"
        script.write_text("import sys\n" + textwrap.dedent(code), "utf-8")
        env = {**os.environ, "WHENCE_HOME": str(home), **environment}
        return subprocess.run(
            [*before, sys.executable, str(script), place.url],
            capture_output=True,
            text=True,
            env=env,
            timeout=60,
            check=False,
        )

    return run


def whence_run(*options):
    return [sys.executable, "-m", "whence", "run", *options, "--"]


@pytest.mark.parametrize("when", ["before", "after", "after the client"])
def test_every_client_is_recorded_whenever_instrument_is_called(program, place, recorded, when):
    """Before the library is imported, after it, or when there is a client already."""
    call = "import whence; whence.instrument(); whence.instrument()"
    first = {"before": f"{call}\nimport openai", "after": f"import openai\n{call}"}.get(when, "")
    last = call if when == "after the client" else ""
    place.will_say(CHAT)
    done = program(f"{first}\n{ASK_OPENAI}\n{last}\nask()")

    assert (done.returncode, done.stderr) == (0, "")
    assert recorded.one().output == "hi"


def test_an_image_of_the_images_dialect_is_one_call_where_all_clients_are_observed(
    program, place, recorded
):
    """The dialect records its call itself, so the observer of its library passes it over."""
    place.will_say(image_reply(b"picture").body)
    done = program(
        """
import asyncio, whence
from whence import images
whence.instrument()
client = images.get_provenance_nano_banana_client(api_key="none", base_url=sys.argv[1])
context = images.GenerationContext(
    job_id="job-1", user_id="u", execution_id="e", asset_type="emote")
request = images.GenerationRequest(prompt="a cat", width=64, height=64)
answer = asyncio.run(client.generate_with_provenance(request=request, context=context))
assert answer.image_data == b"picture"
"""
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert recorded.one().model is not None


def test_all_three_libraries_are_observed(program, place, recorded):
    """Each call is recorded once, also where its client was wrapped as well."""
    place.will_say(CHAT, MESSAGE, CONTENT)
    done = program(
        ASK_OPENAI
        + """
import whence
from whence.integrations.openai import wrap
whence.instrument()
ask = (lambda real: lambda: real())(ask)
wrap(client)
ask()
import anthropic
from google import genai
anthropic.Anthropic(api_key="none", base_url=sys.argv[1]).messages.create(
    model="c", max_tokens=9, messages=[{"role": "user", "content": "?"}])
from google.genai import types
with genai.Client(api_key="none", http_options=types.HttpOptions(base_url=sys.argv[1])) as g:
    g.models.generate_content(model="g", contents="?")
"""
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert [row.provider for row in recorded.generations()] == ["openai", "anthropic", "google"]


def test_only_the_libraries_that_are_named_are_observed(program, place, recorded):
    """The others are left alone."""
    place.will_say(CHAT)
    done = program(f"import whence; whence.instrument(['anthropic'])\n{ASK_OPENAI}\nask()")

    assert done.returncode == 0, done.stderr
    assert recorded.generations() == []


def test_a_library_that_cannot_be_observed_is_refused():
    """The sentence says which can."""
    with pytest.raises(ConfigError, match="choose from openai, anthropic"):
        whence.instrument(["openai", "nothing"])


@pytest.mark.parametrize("name", [name for name in LIBRARIES if name != "litellm"])
def test_a_library_that_is_observed_looks_like_itself(program, name):
    """Its loader, spec and reload are Python's own."""
    done = program(
        f"""
        import importlib, whence
        whence.instrument()
        module = importlib.import_module({name!r})
        assert type(module.__loader__).__name__ == "SourceFileLoader", module.__loader__
        assert module.__spec__.loader is module.__loader__
        assert importlib.util.find_spec({name!r}) is not None
        import importlib.resources
        assert importlib.resources.files({name!r}).is_dir()
        """
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_is_recorded_without_a_change_to_it(program, place, recorded):
    """Its run holds the calls of all its threads; its output is its own."""
    place.will_say(CHAT, CHAT)
    done = program(
        ASK_OPENAI
        + """
import threading
print(ask().choices[0].message.content)
thread = threading.Thread(target=ask)
thread.start()
thread.join()
""",
        *whence_run("--project", "cobot", "--external-id", "job-1"),
    )

    (run,) = recorded.rows("runs", "started_ns")
    assert (done.returncode, done.stdout) == (0, "hi\n")
    assert f"recorded as {run.id}; `whence show {run.id[:16]}` shows it" in done.stderr
    assert (run.name, run.kind, run.status) == ("app.py", "program", "complete")
    assert (run.project, run.external_id, run.generations) == ("cobot", "job-1", 2)
    assert run.attributes["exit_code"] == 0


def test_runs_and_processes_of_a_program_belong_to_it(program, place, recorded):
    """A run inside has it as parent; a Python that it starts records into it."""
    place.will_say(CHAT, CHAT)
    done = program(
        ASK_OPENAI
        + """
import subprocess, whence
if len(sys.argv) == 2:
    with whence.run("inner"):
        ask()
    subprocess.run([sys.executable, *sys.argv, "child"], check=True)
else:
    ask()
""",
        *whence_run("--quiet"),
    )

    outer, inner = recorded.rows("runs", "started_ns")
    assert (done.returncode, done.stderr) == (0, "")
    assert inner.parent_run == outer.id
    assert (outer.generations, inner.generations) == (1, 1)


@pytest.mark.parametrize(
    ("end", "code", "status"),
    [
        ("sys.exit(7)", 7, "failed"),
        ("raise ValueError", 1, "failed"),
        ("import os; os.kill(os.getpid(), 9)", 137, "failed"),
        ("import os; os.kill(os.getpid(), 15)", 143, "cancelled"),
        ("import os; os._exit(0)", 0, "complete"),
    ],
)
def test_the_exit_code_is_the_programs(program, recorded, end, code, status):
    """However it ends, and the run says how."""
    done = program(end, *whence_run("--quiet"))

    (run,) = recorded.rows("runs", "started_ns")
    assert done.returncode == code
    assert run.status == status


def test_a_signal_is_passed_on(tmp_path, home, recorded):
    """The program gets it, not only what started it."""
    script = tmp_path / "waits.py"
    script.write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        "print('ready', flush=True)\n"
        "time.sleep(30)\n"
    )
    process = subprocess.Popen(
        [*whence_run("--quiet"), sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "WHENCE_HOME": str(home)},
    )
    with process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)

    assert code == 3
    assert recorded.rows("runs", "started_ns")[0].attributes["exit_code"] == 3


def test_a_signal_that_comes_before_the_program_is_there_is_kept_for_it(monkeypatch):
    """None falls between the start of `whence run` and that of the program."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    monkeypatch.setattr(program_module.os, "isatty", lambda _: False)
    try:
        signals = program_module._Signals()
        os.kill(os.getpid(), signal.SIGTERM)
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
            signals.pass_on_to(process)
            assert process.wait(30) == -signal.SIGTERM
    finally:
        for number in program_module._PASSED_ON:
            signal.signal(getattr(signal, number), before[getattr(signal, number)])


def test_a_signal_that_was_ignored_stays_ignored(home, recorded):
    """As under nohup: the program inherits it."""
    code = "import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    told = subprocess.run(
        [
            "/bin/sh",
            "-c",
            'trap "" HUP; exec "$@"',
            "sh",
            *whence_run(),
            sys.executable,
            "-c",
            code,
        ],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "WHENCE_HOME": str(home)},
    )

    assert told.stdout == "True\n"
    assert recorded.rows("runs", "started_ns")[0].status == "complete"


def test_a_program_that_is_not_there_is_a_plain_sentence(home, recorded):
    """Exit code 127, as a shell would."""
    done = subprocess.run(
        [*whence_run("--home", str(home)), "no-such-program"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 127
    assert "cannot run no-such-program: No such file or directory" in done.stderr
    assert recorded.rows("runs", "started_ns")[0].status == "failed"


def test_where_it_was_recorded_is_told_as_json(program, home, recorded):
    """On standard error: standard output is the program's."""
    done = program("print('mine')", *whence_run("--json"))

    (run,) = recorded.rows("runs", "started_ns")
    assert done.stdout == "mine\n"
    assert json.loads(done.stderr) == {
        "run": run.id,
        "status": "complete",
        "exit_code": 0,
        "home": str(home),
    }


def test_a_program_runs_where_nothing_is_recorded(program, home):
    """With recording switched off it is run as it is."""
    done = program("print('mine')", *whence_run(), WHENCE_DISABLED="1")

    assert (done.returncode, done.stdout, done.stderr) == (0, "mine\n", "")
    assert not home.exists()


def test_a_sitecustomize_of_the_users_still_runs(program, tmp_path):
    """Ours stands before it on the path, and hands over."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import builtins\nbuiltins.mine = 5\n")
    done = program(
        "import sitecustomize; print(mine, sitecustomize.__file__)",
        *whence_run("--quiet"),
        PYTHONPATH=str(folder),
    )

    assert done.stdout.strip() == f"5 {folder / 'sitecustomize.py'}", done.stderr


def test_a_python_without_whence_says_so_and_runs(tmp_path, home):
    """Nothing can be recorded there, which is told in a sentence."""
    script = tmp_path / "app.py"
    script.write_text("print('mine')")
    # Without site-packages this Python has no whence; -I would leave out our folder as well.
    done = subprocess.run(
        [*whence_run("--quiet"), sys._base_executable, str(script)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "WHENCE_HOME": str(home)},
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "mine\n")
    assert "cannot import whence" in done.stderr


TRACED = """
import anthropic, json, whence
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
kept = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
whence.instrument()
client = anthropic.Anthropic(api_key="none", base_url=sys.argv[1], open_telemetry={})
asked = dict(model="c", max_tokens=9, messages=[{"role": "user", "content": "?"}])
# As the instrumentations of OpenLLMetry and OpenInference do: a span around the method.
with trace.get_tracer("other").start_as_current_span("Messages"):
    client.messages.create(**asked)
    with client.messages.stream(**asked) as stream:
        stream.get_final_message()
print(json.dumps([[s.name, f"{s.context.trace_id:032x}", f"{s.context.span_id:016x}"]
                  for s in kept.get_finished_spans()]))
"""


def test_a_call_that_opentelemetry_sees_too_is_counted_once(program, place, recorded):
    """Spans around the method and of the library itself add nothing; the record names its span."""
    pytest.importorskip("opentelemetry.sdk")
    started = {**MESSAGE, "content": []}
    text = {"type": "text", "text": ""}
    stream = named_events(
        {"type": "message_start", "message": started},
        {"type": "content_block_start", "index": 0, "content_block": text},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 2},
        },
        {"type": "message_stop"},
    )
    place.will_say(MESSAGE, Answer(stream))
    done = program(TRACED)

    assert done.returncode == 0, done.stderr
    spans = json.loads(done.stdout)
    rows = recorded.generations()
    theirs = {span[2] for span in spans if span[0] != "Messages"}
    assert len(spans) == 3
    assert [row.input_tokens for row in rows] == [3, 3]
    assert {row.attributes["otel_span_id"] for row in rows} == theirs
    assert {row.attributes["otel_trace_id"] for row in rows} == {spans[0][1]}
