"""Small trajectories of agents, made by hand in the forms that the importers read.

Each function returns the document, or the lines, as Python data, to be changed by the tests that
need another case; `FILES` has one file of each format, for what holds for all of them.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from otlpdata import find_corpus

from whence.ingest import registry
from whence.ingest.base import Skipped, Source
from whence.ingest.captured import CallsOfHome
from whence.ingest.shape import Shape
from whence.log.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable

    from whence.record.base import Record


class NothingKnown:
    """What a home holds of earlier imports, if it holds nothing."""

    def __init__(self) -> None:
        self.calls = CallsOfHome(Home(Path(os.devnull)), "")

    def run(self, run_id: str) -> Shape:
        """Return an empty shape."""
        del run_id
        return Shape()

    def answered(self, answer: str, ended_ns: int) -> str | None:
        """Return that no run has it."""
        del answer, ended_ns


def records_of(path: Path, format_name: str) -> tuple[list[Record], list[Skipped]]:
    """Return the records of a file in their order, and what was left out."""
    made = list(registry.get_format(format_name).reader.read(Source(path), NothingKnown()))
    records = [one for one in made if not isinstance(one, Skipped)]
    return records, [one for one in made if isinstance(one, Skipped)]


def of_kind(records: list[Record], kind: type[Any]) -> list[Any]:
    """Return the records of one kind."""
    return [record for record in records if type(record) is kind]


def document(path: Path, content: Any) -> Path:
    """Write a JSON document, and return the path."""
    path.write_text(json.dumps(content), "utf-8")
    return path


def lines(path: Path, contents: list[Any]) -> Path:
    """Write an object a line, and return the path."""
    path.write_text("".join(json.dumps(one) + "\n" for one in contents), "utf-8")
    return path


def archive(path: Path, contents: dict[str, Any]) -> Path:
    """Write a ZIP archive of JSON documents, and return the path."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in contents.items():
            made.writestr(name, json.dumps(content))
    return path


def tau_trial(task: int = 0, trial: int = 0, reward: float = 1.0) -> dict[str, Any]:
    """Return a trial of tau-bench: two turns, one tool call that fails and one that works."""
    return {
        "task_id": task,
        "reward": reward,
        "info": {
            "task": {"user_id": "mia", "actions": [{"name": "book", "kwargs": {"to": "SEA"}}]},
            "source": "user",
            "user_cost": 0.0025,
            "reward_info": {"reward": reward},
        },
        "traj": [
            {"role": "system", "content": "policy"},
            {"role": "user", "content": "book me a flight"},
            {"role": "assistant", "content": "which one?"},
            {"role": "user", "content": "to Seattle"},
            _asks("c1", "book", '{"to": "SEA"}'),
            {"role": "tool", "tool_call_id": "c1", "name": "book", "content": "Error: no seat"},
            _asks("c2", "book", '{"to": "SEA", "at": 9}'),
            {"role": "tool", "tool_call_id": "c2", "name": "book", "content": "booked"},
            {"role": "assistant", "content": "done"},
            {"role": "user", "content": "###STOP###"},
        ],
        "trial": trial,
    }


def _asks(call: str, tool: str, arguments: str) -> dict[str, Any]:
    function = {"name": tool, "arguments": arguments}
    calls = [{"id": call, "type": "function", "function": function}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def swe_trajectory() -> dict[str, Any]:
    """Return a trajectory of SWE-agent with two steps."""
    said = ["I look first.\n```\nls -l\n```", "That is it.\n```\nsubmit\n```"]
    return {
        "environment": "swe_main",
        "trajectory": [
            {
                "action": "ls -l\n",
                "observation": "a.py",
                "response": said[0],
                "state": {"working_dir": "/repo"},
                "thought": "I look first.",
                "execution_time": 0.25,
            },
            {
                "action": "submit",
                "observation": "diff",
                "response": said[1],
                "state": {"working_dir": "/repo"},
                "thought": "That is it.",
                "execution_time": 0.5,
            },
        ],
        "history": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "a demonstration", "is_demo": True},
            {"role": "user", "content": "fix it"},
            {"role": "assistant", "content": said[0]},
            {"role": "user", "content": "a.py"},
            {"role": "assistant", "content": said[1]},
            {"role": "user", "content": "diff"},
        ],
        "info": {
            "exit_status": "submitted",
            "submission": "diff --git a b",
            "model_stats": {
                "total_cost": 2.5,
                "instance_cost": 0.5,
                "tokens_sent": 120,
                "tokens_received": 7,
                "api_calls": 2,
            },
        },
    }


def moatless_trajectory() -> dict[str, Any]:
    """Return a trajectory of moatless: a search, and an edit that is sent back once."""
    rules = [
        ("did_search", "SearchCode", "IdentifyCode"),
        ("finish", "SearchCode", "EditCode"),
        ("finish", "IdentifyCode", "EditCode"),
        ("finish", "EditCode", "Finished"),
        ("reject", "EditCode", "Rejected"),
    ]
    ranked = [
        {"file_path": "a.py", "span_id": "f", "rank": 0, "tokens": 9},
        {"file_path": "a.py", "span_id": "g", "rank": 1, "tokens": 4},
    ]
    return {
        "name": "MoatlessTools",
        "transition_rules": {
            "global_params": {"model": "gpt-4o"},
            "transition_rules": [{"trigger": t, "source": s, "dest": d} for t, s, d in rules],
        },
        "workspace": {"repository": {"commit": "abc"}},
        "initial_message": "fix it",
        "current_transition_id": 4,
        "transitions": [
            _state(0, "Pending", None, 0),
            _state(1, "SearchCode", 0, 1, _action("did_search", scratch_pad="where is f?")),
            _state(
                2,
                "IdentifyCode",
                1,
                2,
                _action(
                    "finish",
                    scratch_pad="it is f",
                    identified_spans=[{"file_path": "a.py", "span_ids": ["f"]}],
                ),
                ranked_spans=ranked,
            ),
            _state(
                3,
                "EditCode",
                2,
                3,
                _action("retry", (100, 10, 0.01), retry_message="invalid code"),
                _action("finish", (150, 20, 0.02)),
            ),
            _state(4, "Finished", 3, 9),
        ],
        "info": {
            "trace_id": "coder_1",
            "tags": ["repo-1"],
            "status": "finished",
            "duration": 9.5,
            "total_cost": 0.04,
            "submission": "diff",
        },
    }


def _state(
    number: int, name: str, previous: int | None, second: int, *actions: Any, **properties: Any
) -> dict[str, Any]:
    state = {
        "id": number,
        "name": name,
        "timestamp": f"2024-08-16T18:58:{second:02}.500000",
        "properties": properties,
        "actions": list(actions),
    }
    return state if previous is None else state | {"previous_state_id": previous}


def _action(
    trigger: str,
    used: tuple[int, int, float] | None = None,
    retry_message: str | None = None,
    **request: Any,
) -> dict[str, Any]:
    response: dict[str, Any] = {"trigger": trigger, "output": {"message": "ok"}}
    if retry_message is not None:
        response["retry_message"] = retry_message
    action: dict[str, Any] = {"request": request, "response": response}
    if used is not None:
        action["completion"] = {
            "model": "gpt-4o",
            "input": [{"role": "user", "content": "edit f"}],
            "response": {
                "id": "chatcmpl-1",
                "model": "gpt-4o-2024",
                "choices": [
                    {
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": "def f(): ..."},
                    }
                ],
            },
            "usage": {
                "prompt_tokens": used[0],
                "completion_tokens": used[1],
                "completion_cost": used[2],
            },
        }
    return action


def openhands_old() -> dict[str, Any]:
    """Return a run of OpenHands in its older form: no ids, no times, costs in order."""
    return {
        "issue": {"owner": "o", "repo": "r", "number": 5, "title": "t", "body": "b"},
        "instruction": "fix it",
        "git_patch": "diff --git a b",
        "history": [
            {"content": "fix it", "action": "message", "wait_for_response": False},
            {"command": "ls", "thought": "I look first.", "action": "run"},
            {"content": "a.py", "command": "ls", "exit_code": 0, "observation": "run"},
            {"code": "1 / 0", "thought": "I try.", "action": "run_ipython"},
            {"content": "a\nZeroDivisionError", "exit_code": 1, "observation": "run_ipython"},
            {"outputs": {}, "thought": "Done.", "action": "finish"},
        ],
        "metrics": {"accumulated_cost": 0.6, "costs": [0.1, 0.2, 0.3]},
        "success": True,
        "result_explanation": "it works",
        "error": None,
    }


def openhands_new() -> dict[str, Any]:
    """Return a run in its newer form: ids, causes, two actions of one response, an extra call."""
    time = "2025-03-01T10:00:0{}.000000"
    response = {
        "id": "resp-1",
        "model": "claude-x",
        "choices": [
            {"finish_reason": "tool_calls", "message": {"role": "assistant", "content": "hm"}}
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    }
    called = {"tool_call_id": "t", "model_response": response, "total_calls_in_response": 2}
    usage = {"model": "claude-x", "cache_read_tokens": 0, "cache_write_tokens": 0}
    return {
        "instance_id": "repo__1",
        "instruction": "fix it",
        "history": [
            {
                "id": 0,
                "timestamp": time.format(0),
                "source": "user",
                "action": "message",
                "args": {"content": "fix it"},
            },
            {
                "id": 1,
                "timestamp": time.format(1),
                "source": "agent",
                "action": "run",
                "args": {"command": "ls", "thought": "I look first."},
                "tool_call_metadata": called | {"function_name": "execute_bash"},
            },
            {
                "id": 2,
                "timestamp": time.format(1),
                "source": "agent",
                "action": "read",
                "args": {"path": "a.py", "thought": ""},
                "tool_call_metadata": called | {"function_name": "editor"},
            },
            {
                "id": 3,
                "timestamp": time.format(2),
                "source": "agent",
                "observation": "run",
                "cause": 1,
                "content": "no\nsuch file",
                "extras": {"metadata": {"exit_code": 2}},
            },
            {
                "id": 4,
                "timestamp": time.format(3),
                "source": "environment",
                "observation": "error",
                "cause": 2,
                "content": "not found",
                "extras": {},
            },
            {
                "id": 5,
                "timestamp": time.format(4),
                "source": "environment",
                "observation": "agent_state_changed",
                "content": "",
                "extras": {"agent_state": "error"},
            },
        ],
        "metrics": {
            "accumulated_cost": 0.3,
            "accumulated_token_usage": {"prompt_tokens": 300, "completion_tokens": 30},
            "costs": [
                {"model": "claude-x", "cost": 0.1, "timestamp": 1740823201.5},
                {"model": "claude-x", "cost": 0.2, "timestamp": 1740823203.5},
            ],
            "response_latencies": [{"model": "claude-x", "latency": 0.5, "response_id": "resp-1"}],
            "token_usages": [
                usage | {"prompt_tokens": 100, "completion_tokens": 10, "response_id": "resp-1"},
                usage | {"prompt_tokens": 200, "completion_tokens": 20, "response_id": "resp-2"},
            ],
        },
        "error": "RuntimeError: Agent reached maximum iteration",
        "test_result": {"git_patch": "diff", "report": {"resolved": False}},
    }


def inspect_header(status: str = "success") -> dict[str, Any]:
    """Return the header of an Inspect log."""
    return {
        "version": 2,
        "status": status,
        "eval": {
            "eval_id": "eval-1",
            "run_id": "run-1",
            "created": "2025-05-12T20:28:13-04:00",
            "task": "popularity",
            "model": "openai/gpt-4o-mini",
            "packages": {"inspect_ai": "0.3.95"},
        },
        "plan": {"name": "plan", "steps": [{"solver": "generate", "params": {}}]},
        "results": {
            "scores": [
                {"name": "match", "metrics": {"accuracy": {"name": "accuracy", "value": 1.0}}}
            ]
        },
        "stats": {
            "started_at": "2025-05-12T20:28:13-04:00",
            "completed_at": "2025-05-12T20:28:23-04:00",
            "model_usage": {
                "openai/gpt-4o-mini": {
                    "input_tokens": 30,
                    "output_tokens": 5,
                    "total_tokens": 35,
                }
            },
        },
    }


def inspect_sample(key: object = 1, epoch: int = 1) -> dict[str, Any]:
    """Return a sample with a solver, a model call, a tool call with a span, and a score."""
    time = "2025-05-12T20:28:14.{}00000-04:00"

    def event(kind: str, tenth: int, span: str | None, **more: Any) -> dict[str, Any]:
        return {"event": kind, "timestamp": time.format(tenth), "span_id": span, **more}

    return {
        "id": key,
        "epoch": epoch,
        "uuid": f"uuid-{key}-{epoch}",
        "input": "attachment://abc",
        "target": "Yes",
        "messages": [],
        "output": {"choices": [{"message": {"role": "assistant", "content": "Yes"}}]},
        "scores": {"match": {"value": "C", "answer": "Yes", "explanation": "as expected"}},
        "total_time": 0.9,
        "attachments": {"abc": "Are you popular?"},
        "events": [
            event("span_begin", 0, "s1", id="s1", type="solver", name="generate"),
            event(
                "model",
                1,
                "s1",
                model="openai/gpt-4o-mini",
                input=[{"role": "user", "content": "attachment://abc"}],
                tools=[{"name": "bash"}],
                tool_choice="auto",
                config={"temperature": 0.5},
                output={
                    "model": "gpt-4o-mini-2024",
                    "choices": [
                        {"message": {"role": "assistant", "content": "hm"}, "stop_reason": "stop"}
                    ],
                    "usage": {"input_tokens": 30, "output_tokens": 5, "total_tokens": 35},
                    "time": 0.25,
                },
                call={"request": {}, "response": {"id": "chatcmpl-1"}},
            ),
            event("span_begin", 4, "t1", id="t1", parent_id="s1", type="tool", name="bash"),
            event(
                "tool",
                4,
                "s1",
                id="call-1",
                type="function",
                function="bash",
                arguments={"cmd": "ls"},
                result="",
                error={"type": "permission", "message": "not allowed"},
                completed=time.format(5),
            ),
            event("span_end", 5, "t1", id="t1"),
            event("span_end", 6, "s1", id="s1"),
            event("span_begin", 7, "s2", id="s2", type="scorer", name="match"),
            event("score", 8, "s2", score={"value": "C", "answer": "Yes"}, intermediate=False),
            event("span_end", 9, "s2", id="s2"),
        ],
    }


def inspect_log() -> dict[str, Any]:
    """Return a log in JSON with one sample."""
    return inspect_header() | {"samples": [inspect_sample()]}


def inspect_archive() -> dict[str, Any]:
    """Return the files of a log in an archive, with two samples."""
    header = inspect_header()
    return {
        "_journal/start.json": {k: header[k] for k in ("version", "eval", "plan")},
        "samples/1_epoch_1.json": inspect_sample(1),
        "samples/2_epoch_1.json": inspect_sample(2),
        "summaries.json": [],
        "header.json": header,
    }


def aider_event(event: str, time: int, **properties: Any) -> dict[str, Any]:
    """Return a line of aider's analytics."""
    return {"event": event, "properties": properties, "user_id": "u-1", "time": 1734380800 + time}


def aider_answer(time: int, cost: float, total_cost: float) -> dict[str, Any]:
    """Return the line of an answer."""
    return aider_event(
        "message_send",
        time,
        main_model="anthropic/claude-x",
        weak_model="w",
        editor_model="e",
        edit_format="diff",
        prompt_tokens=100,
        completion_tokens=10,
        total_tokens=110,
        cost=cost,
        total_cost=total_cost,
    )


def aider_log() -> list[dict[str, Any]]:
    """Return a launch with an answer, a message that was given up and tried again, and its exit."""
    return [
        aider_event("launched", 0),
        aider_event("repo", 1, num_files=408),
        aider_event("cli session", 1, main_model="anthropic/claude-x", edit_format="diff"),
        aider_event("message_send_starting", 2),
        aider_answer(10, 0.25, 0.25),
        aider_event("command_add", 11),
        aider_event("message_send_starting", 12),
        aider_event("message_send_starting", 20),
        aider_answer(30, 0.5, 0.75),
        aider_event("exit", 31, reason="/exit"),
    ]


def claude_entry(kind: str, uuid: str, second: int, message: Any, **more: Any) -> dict[str, Any]:
    """Return an entry of a Claude Code transcript."""
    return {
        "type": kind,
        "uuid": uuid,
        "sessionId": "session-1",
        "timestamp": f"2025-06-14T10:00:{second:02}.000Z",
        "cwd": "/repo",
        "message": message,
        **more,
    }


def claude_answer(
    uuid: str, second: int, answer: str, block: Any, output: int, **more: Any
) -> dict[str, Any]:
    """Return the entry of one block of an answer."""
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 200,
        "cache_read_input_tokens": 3000,
        "output_tokens": output,
    }
    message = {"id": answer, "role": "assistant", "model": "claude-x", "content": [block]}
    return claude_entry("assistant", uuid, second, message | {"usage": usage}, **more)


def claude_result(uuid: str, second: int, call: str, content: Any, **more: Any) -> dict[str, Any]:
    """Return the entry of a tool's result."""
    block = {"type": "tool_result", "tool_use_id": call, "content": content, **more}
    return claude_entry("user", uuid, second, {"role": "user", "content": [block]})


def claude_session() -> list[dict[str, Any]]:
    """Return a session: an answer in three blocks, a tool that fails, a last word, a summary."""
    use = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}
    return [
        {"type": "summary", "summary": "looked around", "leafUuid": "a4"},
        claude_entry("user", "u1", 0, {"role": "user", "content": "look around"}, parentUuid=None),
        claude_answer("a1", 1, "msg_1", {"type": "thinking", "thinking": "hm"}, 1, parentUuid="u1"),
        claude_answer("a2", 2, "msg_1", {"type": "text", "text": "I look."}, 1, parentUuid="a1"),
        claude_answer("a3", 3, "msg_1", use, 25, parentUuid="a2"),
        claude_result("u2", 5, "toolu_1", "denied", is_error=True) | {"parentUuid": "a3"},
        claude_answer("a4", 6, "msg_2", {"type": "text", "text": "No."}, 5, parentUuid="u2"),
    ]


def who_and_when() -> dict[str, Any]:
    """Return a failed run of AG2 in the form of Who&When."""
    return {
        "is_correct": False,
        "question": "how many?",
        "question_ID": "q-1",
        "level": "2",
        "ground_truth": "8",
        "history": [
            {"content": "count\n```python\nprint(4)\n```", "name": "Expert", "role": "assistant"},
            {
                "content": "exitcode: 1 (execution failed)\nCode output: a\nNameError: x",
                "name": "Computer_terminal",
                "role": "user",
            },
            {"content": "it is 4", "name": "Checker", "role": "user"},
        ],
        "mistake_agent": "Checker",
        "mistake_step": "2",
        "mistake_reason": "it did not run the code again",
        "system_prompt": {"Expert": "you count"},
    }


FILES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "tau-bench": (
        "results.json",
        lambda path: document(path, [tau_trial(), tau_trial(trial=1, reward=0.0)]),
    ),
    "swe-agent": ("repo-1.traj", lambda path: document(path, swe_trajectory())),
    "moatless": ("trajectory.json", lambda path: document(path, moatless_trajectory())),
    "openhands": ("output.jsonl", lambda path: lines(path, [openhands_old(), openhands_new()])),
    "inspect": ("log.eval", lambda path: archive(path, inspect_archive())),
    "aider": ("analytics.jsonl", lambda path: lines(path, aider_log())),
    "claude-code": ("session.jsonl", lambda path: lines(path, claude_session())),
    "who-and-when": ("1.json", lambda path: document(path, who_and_when())),
}
"""Format to the name of a file and the function that writes it."""


def made(folder: Path, format_name: str) -> Path:
    """Write the file of a format into a folder, and return its path."""
    name, write = FILES[format_name]
    return write(folder / name)


def packed(contents: dict[str, Any]) -> bytes:
    """Return an archive of JSON documents as bytes."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in contents.items():
            file.writestr(name, json.dumps(content))
    return held.getvalue()


def expected(corpus: str) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a corpus and its expected totals; skip the test if it is not here."""
    folder = find_corpus(corpus)
    if folder is None:
        pytest.skip("the corpora are not here")
    return folder, json.loads((folder / "expected.json").read_text())
