"""A conversation sent again with every turn is stored once, and each turn reads back whole."""

from __future__ import annotations

import random
import threading

import pytest

import whence
from whence.capture.state import current
from whence.log import blobs
from whence.log.writer import Writer
from whence.record import codec, values

TURNS = 50
MOST_TIMES_THE_HISTORY = 2.5


def history_of(turns: int, seed: int, *, longest: int = 3_000) -> list[dict]:
    """Return a conversation: a system prompt, questions, tool calls, answers of all lengths."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    words = [rng.randbytes(3).hex() for _ in range(500)]

    def prose(characters):
        return " ".join(rng.choices(words, k=max(1, characters // 7)))

    messages = [{"role": "system", "content": prose(4_000)}]
    for turn in range(turns):
        messages += [
            {"role": "user", "content": prose(rng.randint(20, longest))},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": f"call_{turn}", "function": {"name": "f", "arguments": prose(80)}}
                ],
            },
            {
                "role": "tool",
                "tool_call_id": f"call_{turn}",
                "content": prose(rng.randint(20, longest)),
            },
            {"role": "assistant", "content": prose(rng.randint(20, longest))},
            {"role": "user", "content": "continue"},
        ]
    return messages


def converse(history, turns=TURNS, name="agent"):
    """Record a loop of model calls, each of which sends all that was said so far."""
    per_turn = (len(history) - 1) // turns
    with whence.run(name) as run:
        for turn in range(1, turns + 1):
            sent = history[: 1 + turn * per_turn]
            run.record_generation(
                model="m", messages=sent, output="ok", usage={"prompt_tokens": turn}
            )
    return run


def sent_messages(recorded):
    """Return the message lists of each run's generations, long messages read from their blobs."""

    def blob(marker):
        content = blobs.get(recorded.home, marker["sha256"])
        if marker["encoding"] == "text":
            return content.decode("utf-8", "surrogatepass")
        return values.restore(codec.decode_json(content), blob)

    runs: dict[str, list] = {}
    for row in recorded.rows("generations"):
        runs.setdefault(row.run, []).append(values.restore(row.messages, blob))
    return runs


def assert_whole(recorded, conversations, turns=TURNS):
    runs = sent_messages(recorded)
    for run, history in conversations.items():
        per_turn = (len(history) - 1) // turns
        assert len(runs[run.id]) == turns
        for turn, messages in enumerate(runs[run.id], 1):
            assert messages == history[: 1 + turn * per_turn]


@pytest.mark.parametrize("longest", [200, 3_000, 20_000])
def test_a_resent_history_costs_little_more_than_itself(recorded, longest):
    """Fifty turns take at most two and a half times the final history."""
    history = history_of(TURNS, 1, longest=longest)
    run = converse(history)

    ratio = len(recorded.bytes_of_log()) / len(codec.encode_json(history))
    assert ratio <= MOST_TIMES_THE_HISTORY
    assert_whole(recorded, {run: history})


def test_a_history_is_whole_across_rotations(recorded):
    """A reference never leaves its segment, however often the segment changes."""
    current.write_with(Writer(recorded.home, rotate_bytes=60_000))
    history = history_of(TURNS, 2)
    run = converse(history)

    assert current.writer.serial > 5
    assert_whole(recorded, {run: history})


@pytest.mark.parametrize("rotate_bytes", [64 << 20, 60_000])
def test_histories_of_threads_do_not_mix(recorded, rotate_bytes):
    """Conversations at once, with rotation in the middle: each message of each is whole."""
    current.write_with(Writer(recorded.home, rotate_bytes=rotate_bytes))
    shared = history_of(20, 3)[:5]
    conversations = {}

    def work(number):
        history = shared + history_of(20, number)
        conversations[converse(history, 20, f"agent {number}")] = history

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert whence.flush().lost == 0
    assert_whole(recorded, conversations, 20)


def test_huge_messages_are_stored_once(recorded):
    """A message over 32 KiB is a blob, and sending it again costs a reference."""
    history = history_of(10, 4)
    for place in (0, 7, 20):
        history[place]["content"] = f"{place} " + "long " * 30_000
    history[12] = {"role": "user", "content": [{"type": "text", "text": "t" * 20_000}] * 3}
    run = converse(history, 10)

    files = [path for path in recorded.home.blobs.rglob("*") if path.is_file()]
    assert len(files) == 4
    assert_whole(recorded, {run: history}, 10)
    plain = sum(len(m) for m in map(codec.encode_json, history) if len(m) < 32_768)
    assert len(recorded.bytes_of_log()) < MOST_TIMES_THE_HISTORY * plain


def test_odd_messages_are_whole(recorded):
    """Texts that are no Unicode, NaN and our own key, again and again, between plain ones."""
    odd = [
        {"role": "user", "content": "\ud800" * 500},
        {"role": "user", "content": "plain " * 100},
        {"role": "user", "content": {"$whence": "same", "line": 0, "path": ["messages"]}},
        {"role": "tool", "content": [float("inf"), 2**80, "x" * 2_000]},
    ]
    history = [{"role": "system", "content": "s"}, *odd * 5]
    run = converse(history, 5)

    assert_whole(recorded, {run: history}, 5)


def test_numbers_in_messages_are_whole(recorded):
    """Probabilities and prices, however encoders write them: a digest is of one way alone."""
    numbers = [5e-6, 9.9e-5, 1e-5, 1.2e-4, 1e-7, 0.1, 123456.789012, 1e15, 1.5e16, -0.0, 1e300]
    history = [{"role": "system", "content": "s"}]
    history += [{"role": "user", "p": number, "content": "t" * 300} for number in numbers]
    run = converse(history, len(numbers))

    assert_whole(recorded, {run: history}, len(numbers))


@pytest.mark.parametrize("size", [500, 5_000, 50_000])
def test_other_fields_that_repeat_are_whole(recorded, size):
    """Prompt templates, parameters, inputs and outputs."""
    text = "ä" + "t" * size
    with whence.run("r") as run:
        for number in range(4):
            run.record_generation(
                prompt_template=text, parameters={"tools": [text]}, messages=[number]
            )
            run.set(output=text)
            with whence.span("s", input={"text": text}, kind="retrieval"):
                pass

    stored = size if size < 32_768 else 0
    assert len(recorded.bytes_of_log()) < 5 * stored + 25_000 if size > 1_000 else True

    def blob(marker):
        content = blobs.get(recorded.home, marker["sha256"])
        return content.decode() if marker["encoding"] == "text" else codec.decode_json(content)

    for row in recorded.rows("generations"):
        whole = (row.extra or {}).get("whole", {})
        assert values.restore(whole.get("prompt_template", row.prompt_template), blob) == text
        assert values.restore(row.parameters, blob) == {"tools": [text]}
    for row in recorded.rows("spans"):
        assert values.restore(row.input, blob) == {"text": text}
    assert values.restore(recorded.one("runs").output, blob) == text


def test_a_new_home_does_not_refer_to_the_old_one(recorded, tmp_path):
    """What was written to another home is written again."""
    history = history_of(3, 5)
    with whence.run("r") as run:
        run.record_generation(messages=history)
        whence.configure(tmp_path / "elsewhere")
        run.event("first in the other home")
        run.record_generation(messages=history)

    other = type(recorded)(tmp_path / "elsewhere")
    assert recorded.one("generations").messages == history
    assert other.one("generations").messages == history


def test_an_empty_conversation_is_one(recorded):
    """No messages, one that is no list, and none at all."""
    with whence.run("r") as run:
        run.record_generation(messages=[])
        run.record_generation(messages="just a text")
        run.record_generation(messages=({"role": "user"},))
        run.record_generation()

    assert [row.messages for row in recorded.rows("generations")] == [
        [],
        ["just a text"],
        [{"role": "user"}],
        [],
    ]
