"""What could not be recorded is counted, also where not even a log could be begun."""

from __future__ import annotations

import subprocess
import sys

import pytest

import whence

NO_DESCRIPTORS = """
import os, resource
import whence
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
with whence.run("early") as run:
    for number in range(10):
        run.decide("lost", float("nan"))
    before = whence.flush()
    for fd in held:
        os.close(fd)
    for number in range(10):
        run.event("kept")
after = whence.flush()
print(before.written, before.lost > 9, "Too many open files" in before.why)
print(after.lost == before.lost, after.written)
print(run.id)
"""


def test_what_is_lost_before_the_log_can_be_begun_is_told_of_in_it(home, recorded):
    """A process that has no descriptor left for its first records says how many they were."""
    made = subprocess.run(
        [sys.executable, "-c", NO_DESCRIPTORS],
        capture_output=True,
        text=True,
        check=True,
        env={"WHENCE_HOME": str(home)},
    )

    first, second, run_id = made.stdout.split("\n")[:3]
    assert first == "0 True True"
    assert second.startswith("True ")
    gaps = recorded.rows("gaps")
    assert {gap.run for gap in gaps} == {run_id}
    assert sum(gap.lost for gap in gaps) > 9
    assert [row.message for row in recorded.rows("events")] == ["kept"] * 10


def test_settings_that_cannot_be_used_lose_records_and_say_so(home):
    """The program goes on; the report and standard error say what is wrong."""
    code = 'import whence\nwith whence.run("r") as r: r.event("m")\nprint(whence.flush())'
    made = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"WHENCE_HOME": str(home), "WHENCE_DURABILITY": "bogus"},
    )

    assert "lost=3" in made.stdout
    assert "durability is 'bogus'" in made.stdout
    assert "durability is 'bogus'" in made.stderr


def test_a_value_that_no_blob_could_hold_is_told_of_with_its_run(home, recorded):
    """The record is there, with a marker that says why; the run counts the loss."""
    with whence.run("r") as run:
        run.event("first")
        (home / "blobs").write_text("in the way")
        run.decide("d", b"\x00" * 100)

    assert recorded.one("decisions").what["$whence"] == "withheld"
    assert {gap.run for gap in recorded.rows("gaps")} == {run.id}
    assert recorded.one("runs").lost == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"home": 5},
        {"projects": 5},
        {"projects": {"a": "no"}},
        {"enabled": "x"},
        {"capture_content": "no"},
        {"sample_ratio": "all"},
        {"durability": 5},
        {"redact": "secret"},
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused_with_its_value(settings):
    """At once, and as an error of ours."""
    ((name, value),) = settings.items()

    with pytest.raises(whence.ConfigError, match=name) as refused:
        whence.configure(**settings)

    shown = value["a"] if isinstance(value, dict) else value
    assert repr(shown) in str(refused.value)
