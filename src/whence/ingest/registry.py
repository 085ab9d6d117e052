"""The formats that can be imported, one line each, in the order in which they are asked.

Comes in: a source, or a name. Goes out: the module that reads it. A module is imported when its
format is asked for the first time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

import msgspec

from whence.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from whence.ingest.base import Known, Skipped, Source
    from whence.record.base import Record


class Reader(Protocol):
    """What a format module has; see `whence.ingest.base`."""

    def detect(self, source: Source) -> bool:
        """Return whether a source looks like this format."""
        ...

    def read(self, source: Source, known: Known) -> Iterator[Record | Skipped]:
        """Yield the records of a source, and what was left out."""
        ...


class FolderReader(Reader, Protocol):
    """What the module of a format of folders has."""

    def files_of(self, source: Source) -> Iterator[Path]:
        """Yield the files in a folder that are the format's own."""
        ...


class Format(msgspec.Struct, frozen=True):
    """One format."""

    name: str
    """What it is called after `--as` and in reports."""
    module: str
    """The module that reads it."""
    title: str
    """What it is, for people."""
    is_folder: bool = False
    """Whether its sources are folders rather than files."""

    @property
    def reader(self) -> Reader:
        """The module, imported."""
        return cast("Reader", importlib.import_module(self.module))

    def files_of(self, source: Source) -> frozenset[Path]:
        """Return the files of a source that are the format's own: of a file, itself."""
        if not source.is_folder:
            return frozenset({source.path})
        return frozenset(cast("FolderReader", self.reader).files_of(source))


FORMATS: tuple[Format, ...] = (
    Format(
        "otlp",
        "whence.ingest.otlp",
        "OpenTelemetry traces and logs: OTLP requests, JSON or protobuf",
    ),
    Format("phoenix", "whence.ingest.phoenix", "Phoenix spans and annotations"),
    Format("langfuse", "whence.ingest.langfuse", "Langfuse traces, observations and scores"),
    Format("mlflow", "whence.ingest.mlflow", "MLflow traces"),
    Format(
        "otel-sdk",
        "whence.ingest.otel_sdk",
        "spans as an OpenTelemetry SDK prints them, any-agent traces",
    ),
    Format(
        "research-trace",
        "whence.ingest.research_trace",
        "research traces, `_traces/trc_….json`",
    ),
    Format(
        "sessions",
        "whence.ingest.sessions",
        "session folders of agents, `.claude/provenance`",
        is_folder=True,
    ),
    Format("flowcept", "whence.ingest.flowcept", "Flowcept's tasks and workflows"),
    Format("openlineage", "whence.ingest.openlineage", "OpenLineage events of runs"),
    Format("ro-crate", "whence.ingest.ro_crate", "RO-Crates, `ro-crate-metadata.json`"),
    Format("prov", "whence.ingest.prov", "W3C PROV documents, PROV-JSON and PROV-XML"),
    Format("session-manifest", "whence.ingest.sessions", "the JSON manifest of an agent's session"),
    Format("tau-bench", "whence.ingest.tau_bench", "tau-bench results, a list of trials"),
    Format("tau2-bench", "whence.ingest.tau2_bench", "tau2-bench results and simulations"),
    Format(
        "swe-agent", "whence.ingest.swe_agent", "SWE-agent and mini-swe-agent trajectories, `.traj`"
    ),
    Format("moatless", "whence.ingest.moatless", "moatless-tools trajectories"),
    Format("moatless-tree", "whence.ingest.moatless_tree", "search trees of moatless"),
    Format("openhands", "whence.ingest.openhands", "OpenHands runs and event lists"),
    Format(
        "openhands-events",
        "whence.ingest.openhands",
        "folders with a file for each event of OpenHands, `events/`",
        is_folder=True,
    ),
    Format("inspect", "whence.ingest.inspect_eval", "Inspect AI logs, `.eval` and `.json`"),
    Format("aider", "whence.ingest.aider", "aider's analytics log"),
    Format("claude-code", "whence.ingest.claude_code", "Claude Code session transcripts"),
    Format(
        "who-and-when", "whence.ingest.who_and_when", "Who&When, failed runs with their mistake"
    ),
)
"""The formats. The first that recognizes a source reads it."""


def get_format(name: str) -> Format:
    """Return the format of that name.

    Raises:
        ConfigError: There is none.
    """
    for known in FORMATS:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in FORMATS)
    raise ConfigError(f"there is no format {name!r}; known are {names}")


def find_format(source: Source) -> Format | None:
    """Return the format that recognizes a source, or None."""
    is_folder = source.is_folder
    for known in FORMATS:
        if known.is_folder == is_folder and known.reader.detect(source):
            return known
    return None
