"""Old prompts and reasoning go or are cut, all else stays, and traces are put away before."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest
from generationtraces import answer, problem
from openaiapi import responses_body, serving

import whence
from whence import _clock
from whence.errors import ConfigError, StoreError
from whence.generations import (
    OpenAIClient,
    ProblemGenerationTrace,
    UnitTrace,
    approve,
    archive,
    get_trace,
    iter_archive,
    record_artifact,
    trim,
)
from whence.log import blobs
from whence.log.home import Home

DAY_NS = 86_400_000_000_000
ADDRESS = "Jean habite rue de la Paix. "
LONG = ADDRESS * 3000


def log_of(home):
    """Return every byte of log, blobs and archive."""
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


@pytest.fixture
def recorded(recording):
    """Problems with short and long prompts, in a home that is not written any more."""
    with serving(responses_body("Oui.", "Je pense " * 100)) as api:
        client = OpenAIClient("key", base_url=api.url)
        said = asyncio.run(
            client.handle_request_with_metadata(ADDRESS, "gpt-5", instructions=ADDRESS + "Bref.")
        )
    record_artifact("client", said)
    record_artifact("long", problem(answer(prompt_text=LONG, reasoning_content=LONG)))
    own = ProblemGenerationTrace("m", "1", 1, [])
    own.add(UnitTrace(0, answer(prompt_text="its own"), ADDRESS))
    record_artifact("own", own)
    with whence.run("core"), whence.generation("write", input=ADDRESS) as span:
        span.record_generation(
            messages=[{"role": "user", "content": [{"type": "text", "text": ADDRESS}]}, ADDRESS],
            prompt_template=ADDRESS * 2000,
            parameters={"system": ADDRESS, "temperature": 1},
            reasoning=[{"thought": ADDRESS}],
            output="Oui.",
            usage={"prompt_tokens": 9, "completion_tokens": 1},
        )
    whence.configure(recording, enabled=False)
    return recording


def test_dropped_prompts_and_reasoning_are_nowhere_any_more(recorded):
    """Not in the log, its blobs or the archive; the answers, counts and ids are."""
    assert b"rue de la Paix" in log_of(recorded)

    report = trim(Home(recorded), older_than_days=0, prompts="drop", reasoning="drop")

    assert b"rue de la Paix" not in log_of(recorded)
    assert report.records == 6  # four answers, an output with a prompt of its own, a span's input
    assert report.blobs > 0
    with whence.open(recorded) as store:
        assert len(store.generations().items) == 4
        assert {row.input_tokens for row in store.generations()} == {150, 9}
        found = get_trace(store, "long")
        assert (found.units[0]["prompt_text"], found.units[0]["reasoning_content"]) == (None, None)
        assert found.trace["total_tokens"] == 225
        assert get_trace(store, "own").units[0]["prompt_text"] is None
        core = store.generations('output = "Oui." and model is null').items[0]
        assert core.parameters["temperature"] == 1
        assert core.messages[0]["$whence"] == "withheld"
        assert core.messages[0]["role"] == "user"
        assert core.reasoning["why"].startswith("dropped after 0 days, on 2")
        assert core.prompt_template in {"", None}
        assert store.problems() == []


def test_cut_texts_keep_their_beginning(recorded):
    """The first characters stay, of texts in blobs too, and what is shorter stays whole."""
    trim(Home(recorded), older_than_days=0, prompts=10, reasoning=4)

    with whence.open(recorded) as store:
        long = get_trace(store, "long").units[0]
        assert (long["prompt_text"], long["reasoning_content"]) == (ADDRESS[:10], ADDRESS[:4])
        assert get_trace(store, "own").units[0]["prompt_text"] == ADDRESS[:10]
        call = get_trace(store, "client").generations[0]
        assert call.messages[1]["size_bytes"] > len(ADDRESS)
        core = store.generations('output = "Oui." and model is null').items[0]
        assert core.messages[0]["preview"] == ADDRESS[:10]
        assert core.prompt_template == ADDRESS[:10]
    # What is no text, as a list of thoughts, goes whole.
    assert b"de la Paix" not in log_of(recorded)
    assert trim(Home(recorded), older_than_days=0, prompts=10, reasoning=4).records == 0
    assert trim(Home(recorded), older_than_days=0, prompts=5).records > 0
    assert trim(Home(recorded), older_than_days=0, prompts="drop").records > 0
    assert trim(Home(recorded), older_than_days=0, prompts=5).records == 0


def test_one_may_go_and_the_other_stay(recorded):
    """Reasoning is kept whole where only prompts are dropped."""
    trim(Home(recorded), older_than_days=0, prompts="drop")

    with whence.open(recorded) as store:
        unit = get_trace(store, "long").units[0]
    assert (unit["prompt_text"], unit["reasoning_content"]) == (None, LONG)


def test_what_is_younger_stays(recorded, monkeypatch):
    """The age is counted back from now."""
    now_ns = _clock.wall_ns()
    monkeypatch.setattr(_clock, "wall_ns", lambda: now_ns + 29 * DAY_NS)
    assert trim(Home(recorded), older_than_days=30, prompts="drop").records == 0

    monkeypatch.setattr(_clock, "wall_ns", lambda: now_ns + 31 * DAY_NS)
    assert trim(Home(recorded), older_than_days=30, prompts="drop").records == 6


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"prompts": "lose"},
        {"prompts": -1},
        {"reasoning": True},
        {"prompts": "drop", "older_than_days": -1},
    ],
)
def test_what_makes_no_sense_is_refused(recorded, how):
    """Before anything is read."""
    with pytest.raises(ConfigError):
        trim(Home(recorded), **{"older_than_days": 0, **how})


def test_whole_traces_are_put_away(recorded, tmp_path):
    """Each with prompts, reasoning, answers and remarks; they stay in the log too."""
    path = tmp_path / "cold" / "traces.jsonl.gz"
    path.parent.mkdir()
    with whence.open(recorded) as store:
        approve(store, "own", by="anna")

        done = archive(store, path, older_than_days=0)

        kept = {one["id"]: one for one in iter_archive(path)}
        assert (done.traces, done.size_bytes) == (3, path.stat().st_size)
        assert kept["long"]["trace"] == get_trace(store, "long").trace
        assert kept["long"]["answers"] == ["Oui."]
        assert kept["own"]["quality_status"] == "approved"
        assert kept["own"]["remarks"][0]["by"] == "anna"
        assert list(kept) == ["client", "long", "own"]
        with pytest.raises(ConfigError, match="exists"):
            archive(store, path, older_than_days=0)
    assert [p.name for p in path.parent.iterdir()] == ["traces.jsonl.gz"]


def test_only_the_older_ones_are_put_away(recorded, tmp_path, monkeypatch):
    """The age is counted back from now."""
    with whence.open(recorded) as store:
        assert archive(store, tmp_path / "a", older_than_days=1).traces == 0
        now_ns = _clock.wall_ns()
        monkeypatch.setattr(_clock, "wall_ns", lambda: now_ns + 2 * DAY_NS)
        assert archive(store, tmp_path / "b", older_than_days=1).traces == 3


def test_what_is_no_archive_is_refused(tmp_path):
    """A plain file, one that is cut off, and one that holds something else."""
    plain, torn, other = (tmp_path / name for name in "abc")
    plain.write_text("{}\n")
    torn.write_bytes(gzip.compress(json.dumps({"a": "b" * 5000}).encode())[:-20])
    other.write_bytes(gzip.compress(b"[1]\n"))

    for path in (plain, torn, other):
        with pytest.raises(StoreError, match="no archive of traces"):
            list(iter_archive(path))


def test_a_blob_that_is_gone_is_not_in_the_way(recorded):
    """What cannot be read any more can still be let go."""
    for digest in blobs.iter_digests(Home(recorded)):
        blobs.path_of(Home(recorded), digest).unlink()

    assert trim(Home(recorded), older_than_days=0, prompts=10, reasoning="drop").records == 5
