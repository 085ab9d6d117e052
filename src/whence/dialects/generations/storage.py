"""Lets old prompts and reasoning go, and puts whole traces away before: what a growing home needs.

Comes in: an open reader or a home, an age, and what is to become of prompts and of reasoning. Goes
out: a report, and a log in which the older model calls have everything but these texts. Counts,
costs, answers, ids and links stay. In place of a text stands a marker that says that it was let go,
when and how long it was, or its beginning. `archive` writes whole traces to a compressed file
first.

Source: document 4 (generation trace), "storage considerations": drop `prompt_text`, truncate
`reasoning_content` to its first N characters, archive old traces.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import msgspec

from whence import _clock
from whence.dialects.generations import answers, stored
from whence.dialects.generations.traces import DIALECT
from whence.dialects.shared import asking
from whence.dialects.shared.plain import as_dict
from whence.errors import ConfigError, StoreError
from whence.log import blobs
from whence.log.replacing import replacing
from whence.query import restore
from whence.record import codec, values
from whence.record.generation import Generation
from whence.record.score import Output
from whence.record.span import SpanStarted
from whence.record.values import MARK, is_marker
from whence.store import erasure
from whence.store.predicate import And, Compare, FieldRef

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.log.home import Home
    from whence.query.reader import Reader
    from whence.record.codec import AnyRecord
    from whence.store.erasure import ErasureReport

DAY_NS = 86_400_000_000_000
Fate: TypeAlias = Literal["keep", "drop"] | int
"""What becomes of a text: it stays, goes, or is cut to that many characters."""
_PROMPT_PARAMETERS = ("instructions", "system", "prompt")
"""Parameters of a model call in which prompts are sent."""


class Archived(msgspec.Struct, frozen=True):
    """What was put away."""

    path: str
    """The file."""
    traces: int
    """How many traces it has."""
    size_bytes: int
    """Its size."""


def trim(
    home: Home,
    *,
    older_than_days: int,
    prompts: Fate = "keep",
    reasoning: Fate = "keep",
    dry_run: bool = False,
) -> ErasureReport:
    """Return what was taken out of the model calls that are older than some days.

    Args:
        home: The home.
        older_than_days: The age; 0 for everything up to now.
        prompts: What becomes of prompts: `keep`, `drop`, or how many characters of each stay.
        reasoning: What becomes of reasoning, in the same words.
        dry_run: Change nothing and say what would go.

    Raises:
        ConfigError: Nothing is to go, or an argument cannot be used.
        ArchiveBusyError: Another process is changing the archive.
        StoreError: It was not done; nothing was changed.
        OSError: The disk refuses; doing it again finishes it.
    """
    _check("prompts", prompts)
    _check("reasoning", reasoning)
    if prompts == reasoning == "keep":
        raise ConfigError("nothing is to go; say what becomes of prompts or of reasoning")
    if older_than_days < 0:
        raise ConfigError(f"older_than_days is {older_than_days!r}; give 0 or more days")
    now_ns = _clock.wall_ns()
    fates: dict[str, Fate] = {"prompts": prompts, "reasoning": reasoning}
    what = ", ".join(f"{name} {_said(fate)}" for name, fate in fates.items() if fate != "keep")
    when = f"after {older_than_days} days, on {_clock.format_ns(now_ns)[:10]}"
    return erasure.erase(
        home,
        _Trim(home, prompts, reasoning, when),
        before_ns=now_ns - older_than_days * DAY_NS,
        why=f"{what} {when}",
        dry_run=dry_run,
    )


def _check(name: str, fate: Any) -> None:
    is_count = isinstance(fate, int) and not isinstance(fate, bool) and fate >= 0
    if fate not in {"keep", "drop"} and not is_count:
        raise ConfigError(f"{name} is {fate!r}; it has to be keep, drop, or a number of characters")


def _said(fate: Fate) -> str:
    return "dropped" if fate == "drop" else f"cut to {fate} characters"


class _Trim:
    """Takes texts out of one record; see `erasure.Change`."""

    def __init__(self, home: Home, prompts: Fate, reasoning: Fate, when: str) -> None:
        self._home = home
        self._prompts: Fate = prompts
        self._reasoning: Fate = reasoning
        self._when = when

    def __call__(self, record: AnyRecord) -> AnyRecord:
        if isinstance(record, Generation):
            return self._generation(record)
        if isinstance(record, SpanStarted) and record.span_kind == "generation":
            return _replaced(record, {"input": self._cut(record.input, self._prompts)})
        if isinstance(record, Output) and as_dict(record.attributes).get("dialect") == DIALECT:
            return self._output(record)
        return record

    def _generation(self, record: Generation) -> Generation:
        changes: dict[str, Any] = {"reasoning": self._cut(record.reasoning, self._reasoning)}
        if record.messages:
            changes["messages"] = [self._cut(one, self._prompts) for one in record.messages]
        template, fate = record.prompt_template, self._prompts
        if isinstance(template, str) and template and fate != "keep":
            # A field of text, which a marker has no place in.
            changes["prompt_template"] = "" if fate == "drop" else template[:fate]
            changes["extra"] = _without_whole(record.extra, "prompt_template")
        if record.parameters:
            changes["parameters"] = {
                key: self._cut(value, self._prompts) if key in _PROMPT_PARAMETERS else value
                for key, value in record.parameters.items()
            }
        return _replaced(record, changes)

    def _output(self, record: Output) -> Output:
        attributes = as_dict(record.attributes)
        prompts = as_dict(attributes.get("prompts"))
        if not prompts:
            return record
        cut = {key: self._cut(value, self._prompts) for key, value in prompts.items()}
        if cut == prompts:
            return record
        return _replaced(record, {"attributes": {**attributes, "prompts": cut}})

    def _cut(self, value: Any, fate: Fate) -> Any:
        """Return a text, or a message with one, as its fate wants it; the same where it fits."""
        if value is None or fate == "keep":
            return value
        size_bytes = len(codec.encode_json(value))
        if is_marker(value, "withheld"):
            shown = value.get("preview")
            if not isinstance(shown, str) or (isinstance(fate, int) and len(shown) <= fate):
                return value
            size_bytes = value.get("size_bytes", size_bytes)
        if is_marker(value, "blob"):
            size_bytes = value.get("size_bytes", size_bytes)
        text = self._text_of(value) if isinstance(fate, int) else None
        if isinstance(fate, int) and text is not None and len(text) <= fate:
            return value
        why = f"{_said(fate)} {self._when}"
        marker: dict[str, Any] = {MARK: "withheld", "why": why, "size_bytes": size_bytes}
        role = cast("dict[str, Any]", value).get("role") if isinstance(value, dict) else None
        if isinstance(role, str):
            marker["role"] = role
        if text and isinstance(fate, int) and fate:
            marker["preview"] = text[:fate]
        return marker

    def _text_of(self, value: Any) -> str | None:
        """Return the text of a value, from its blob where it is in one; None if it has none."""
        whole = values.restore(value, lambda marker: restore.blob_value(marker, self._blob))
        return answers.prompt_text([whole])

    def _blob(self, digest: str) -> bytes:
        return blobs.get(self._home, digest)


def _replaced(record: Any, changes: dict[str, Any]) -> Any:
    """Return the record with the changes; the very same one where they change nothing."""
    real = {name: value for name, value in changes.items() if value != getattr(record, name)}
    return msgspec.structs.replace(record, **real) if real else record


def _without_whole(extra: dict[str, Any] | None, field: str) -> dict[str, Any] | None:
    """Return the keys beside a record's own without the exact value of a field that goes."""
    whole = as_dict(as_dict(extra).get("whole"))
    if field not in whole:
        return extra
    kept = {key: value for key, value in whole.items() if key != field}
    others = {key: value for key, value in (extra or {}).items() if key != "whole"}
    return (others | {"whole": kept} if kept else others) or None


def archive(reader: Reader, path: str | os.PathLike[str], *, older_than_days: int) -> Archived:
    """Return what was put away: the whole traces of the artifacts that are older than some days.

    They stay in the log too; `trim` or `whence retain` takes them out of it. The file is gzip, one
    JSON object a line, the oldest first; it is read back before this returns.

    Args:
        reader: An open reader.
        path: The file; one that exists is not touched.
        older_than_days: The age; 0 for everything.

    Raises:
        ConfigError: The file exists, or the age cannot be used.
        StoreError: What was written does not read back.
        OSError: The file cannot be written.
    """
    whole = Path(path)
    if whole.exists():
        raise ConfigError(f"{whole} exists; an archive is not written over, name another file")
    if older_than_days < 0:
        raise ConfigError(f"older_than_days is {older_than_days!r}; give 0 or more days")
    before_ns = _clock.wall_ns() - older_than_days * DAY_NS
    where = And(
        (
            asking.equals("attributes.dialect", DIALECT),
            Compare(FieldRef("ts_ns"), "<", before_ns),
        )
    )
    count = 0
    with replacing(whole, sync=True) as file:
        with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
            for found in stored.iter_traces(reader, where, oldest_first=True):
                packed.write(msgspec.json.encode(_archive_line(found)) + b"\n")
                count += 1
        file.flush()
        if sum(1 for _ in iter_archive(file.name)) != count:
            raise StoreError(f"{whole} did not read back whole, and was not kept")
    return Archived(str(whole), count, whole.stat().st_size)


def _archive_line(found: stored.StoredTrace) -> dict[str, Any]:
    said = [None if c is None else stored.response_of(c).content for c in found.generations]
    return {**found.to_dict(), "answers": said}


def iter_archive(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Yield each trace of an archive that `archive` wrote.

    Raises:
        StoreError: The file is no such archive.
        OSError: It cannot be read.
    """
    try:
        with gzip.open(path, "rb") as packed:
            for line in packed:
                yield msgspec.json.decode(line, type=dict[str, Any])
    except (gzip.BadGzipFile, EOFError, msgspec.DecodeError) as error:
        raise StoreError(f"{os.fspath(path)} is no archive of traces: {error}") from error
