"""A verdict of people on a trace, filled in as far as the trace knows, kept once they confirm it.

Comes in: a trace. Goes out: a draft with what is known of it; and, after `confirm`, a remark on its
run in the log, which edits nothing. Document 5 (pipeline observability) section 7.2: pull the
trace, fill in intent, scores, gaps and evidence, let the user edit and add, save.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any, Self, cast

from whence.dialects.research import keeping, live, settings
from whence.dialects.research.query import load_document
from whence.dialects.shared.home import reading
from whence.dialects.shared.plain import as_dict
from whence.errors import ConfigError, NotFoundError
from whence.ingest import research_parts as parts

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

_FILLED = (
    "project_name", "query", "intent", "domain", "report_type", "status", "quality_gate_passed",
    "overall_quality_score", "principle_scores", "gap_principles", "strength_principles",
)  # fmt: skip
_ABOUT = frozenset({"notes", "by", "status_of_review"})
"""What a user says about the draft rather than in it."""


@dataclass(frozen=True)
class Calibration:
    """What was confirmed, and where it stands."""

    id: str
    """Id of the remark in the log; empty if the run is not in this home."""
    trace_id: str
    """The trace it is about."""
    fields: Mapping[str, Any]
    """What was confirmed."""
    edited: Sequence[str]
    """Names of the fields that were changed or added."""
    notes: str
    """What was said to it."""

    def __await__(self) -> Generator[None, None, Self]:
        """Return itself: whoever waits for it does not have to know that it is there."""
        yield from ()
        return self


@dataclass
class CalibrationDraft:
    """A verdict that is filled in and not confirmed."""

    trace_id: str
    """The trace it is about."""
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    """What is known: `intent`, `principle_scores`, `gap_principles`, `evidence` and so on."""

    def __getattr__(self, name: str) -> Any:
        """Return a field."""
        fields = cast("dict[str, Any]", self.__dict__.get("fields", {}))
        if name in fields:
            return fields[name]
        raise AttributeError(f"a calibration has no field {name!r}; it has {', '.join(fields)}")

    def __await__(self) -> Generator[None, None, Self]:
        """Return itself: whoever waits for it does not have to know that it is there."""
        yield from ()
        return self

    def confirm(self, **edits: Any) -> Calibration:
        """Keep the draft with the user's edits and return what was kept.

        Args:
            **edits: Fields to change, and others to add as context. `notes`, `by` (who says so) and
                `status_of_review` (`approved`, `rejected`, `pending_review`) are about the verdict.

        Returns:
            What was kept.

        Raises:
            ConfigError: `notes`, `by` or `status_of_review` is no text.
            StoreError: It could not be kept.
        """
        about = {name: edits.pop(name) for name in _ABOUT & edits.keys()}
        for name, value in about.items():
            if value is not None and not isinstance(value, str):
                raise ConfigError(f"{name} is {value!r}; a verdict is told in text")
        fields = {**self.fields, **edits}
        edited = [name for name, value in edits.items() if value != self.fields.get(name)]
        notes = about.get("notes") or ""
        remark_id = self._remark(fields, edited, about)
        if settings.current().postgres is not None and notes:
            keeping.get_history().note(self.trace_id, notes)
        return Calibration(remark_id, self.trace_id, fields, edited, notes)

    def _remark(
        self, fields: Mapping[str, Any], edited: Sequence[str], about: Mapping[str, Any]
    ) -> str:
        with reading() as reader:
            try:
                return reader.annotate(
                    self.trace_id,
                    status=about.get("status_of_review"),
                    note=about.get("notes") or None,
                    by=about.get("by"),
                    calibration=dict(fields),
                    edited=list(edited),
                )
            except NotFoundError:
                if settings.current().postgres is None:
                    raise
                return ""


def capture_calibration(trace_id: str | None = None) -> CalibrationDraft:
    """Return a draft of a verdict on a trace, filled in from it; it may be awaited, too.

    Args:
        trace_id: The trace, or any id of a run; the current trace if None.

    Returns:
        The draft, to be confirmed.

    Raises:
        NotFoundError: There is no such trace, or none is current.
        StoreError: The rows of traces cannot be asked.
    """
    if trace_id is None:
        current = live.current()
        if current is None:
            raise NotFoundError("no trace is current here; give the id of one")
        trace_id = current.trace_id
    row = keeping.get_history().find(trace_id)
    if row is None:
        raise NotFoundError(f"there is no trace {trace_id[:80]!r}")
    fields = {name: row[name] for name in _FILLED}
    fields["evidence"] = _evidence(row, load_document(trace_id))
    return CalibrationDraft(row["trace_id"], fields)


def _evidence(row: Mapping[str, Any], document: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return how much evidence there was, and how good what was kept was on average."""
    names = ("evidence_collected", "evidence_passed", "evidence_filtered")
    made: dict[str, Any] = {name.removeprefix("evidence_"): row[name] for name in names}
    scores: dict[str, list[float]] = {}
    for item in _kept_items(document or {}):
        for name, value in as_dict(item.get("scores")).items():
            number = parts.find_number(value)
            if number is not None:
                scores.setdefault(name, []).append(number)
    made["mean_scores"] = {name: round(fmean(numbers), 4) for name, numbers in scores.items()}
    return made


def _kept_items(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    stages = as_dict(document.get("stages"))
    items: list[Any] = []
    for stage in stages.values():
        evidence = as_dict(as_dict(stage).get("evidence"))
        items += parts.evidence_items(evidence, "kept") or []
    return [as_dict(item) for item in items]
