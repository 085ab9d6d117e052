"""The provenance of one image as document 1 has it: the record of an insight, and what it adds.

Comes in: the rows of a run that made an image, whoever wrote them. Goes out: a frozen
`GenerationProvenance`. The image itself is read by `get_image`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.dialects.images.metrics import GenerationMetrics  # noqa: TC001 - msgspec reads it
from whence.dialects.images.modelcall import OPERATION, figures_of
from whence.dialects.insights import records
from whence.dialects.insights.records import ProvenanceRecord
from whence.dialects.shared.home import reading
from whence.errors import NotFoundError
from whence.query import restore, text
from whence.record.values import is_marker

if TYPE_CHECKING:
    from whence.query.reader import Reader
    from whence.query.tree import RunTree
    from whence.store.rows import GenerationRow

_PREVIEW_CHARS = 200


class GenerationProvenance(ProvenanceRecord, frozen=True, kw_only=True):
    """How one image came to be, or why it did not."""

    generation_metrics: GenerationMetrics
    """The figures of the call."""
    prompt_hash: str | None = None
    """First 16 hexadecimal digits of the prompt's SHA-256."""
    prompt_preview: str | None = None
    """First 200 characters of the prompt; None where content is not recorded."""
    brand_kit_id: str | None = None
    """The brand kit that was applied."""
    brand_kit_name: str | None = None
    """What people call it."""
    job_id: str | None = None
    """The job it was made in."""
    asset_id: str | None = None
    """The asset it became."""
    user_id: str | None = None
    """Who asked."""
    error_type: str | None = None
    """`rate_limit`, `content_policy`, `timeout`, `api_error` or `unexpected`; None if none."""
    error_details: str | None = None
    """What happened, at most 500 characters."""

    def to_dict(self) -> dict[str, Any]:
        """Return the provenance as JSON-ready data, the time in ISO 8601."""
        figures = msgspec.structs.asdict(self.generation_metrics)
        return {**super().to_dict(), "generation_metrics": restore.to_json(figures)}


def get_generation_provenance(any_id: str, *, store: Reader | None = None) -> GenerationProvenance:
    """Return the provenance of an image generation.

    Args:
        any_id: Its provenance id, the image's generation id, or any id that look-ups accept.
        store: What `whence.open` gave; the home this process records into if None.

    Raises:
        NotFoundError: Nothing has that id, or its run called no image model.
        StoreError: The home cannot be opened.
    """
    tree = _tree(any_id, store)
    call = _call(any_id, tree)
    of_insight = records.from_rows(tree.tables)
    about, error = of_insight.metadata, call.error or {}
    return GenerationProvenance(
        **{name: getattr(of_insight, name) for name in ProvenanceRecord.__struct_fields__},
        generation_metrics=figures_of(call),
        prompt_hash=call.attributes.get("prompt_hash"),
        prompt_preview=_prompt_preview(call),
        brand_kit_id=about.get("brand_kit_id"),
        brand_kit_name=about.get("brand_kit_name"),
        job_id=about.get("job_id"),
        asset_id=about.get("asset_id"),
        user_id=tree.run.user,
        error_type=call.error_type,
        error_details=error.get("message"),
    )


def get_image(any_id: str, *, store: Reader | None = None) -> bytes:
    """Return the bytes of a generated image; arguments as for `get_generation_provenance`.

    Raises:
        NotFoundError: Nothing has that id, no image came of it, or its bytes were not kept.
        StoreError: The home cannot be opened, or the bytes were changed.
    """
    if store is None:
        with reading() as reader:
            return get_image(any_id, store=reader)
    for item in _call(any_id, _tree(any_id, store)).media:
        marker = item.get("content")
        if item.get("direction") == "out" and is_marker(marker, "blob"):
            return store.blob(marker["sha256"])
    message = f"no image was kept under {text.printable(any_id, 80)!r}"
    raise NotFoundError(message)


def _tree(any_id: str, store: Reader | None) -> RunTree:
    if store is not None:
        return store.run(any_id)
    with reading() as reader:
        return reader.run(any_id)


def _call(any_id: str, tree: RunTree) -> GenerationRow:
    calls = [one for one in tree.generations if one.operation == OPERATION]
    named = [one for one in calls if one.id == any_id]
    if not calls:
        message = f"the run of {text.printable(any_id, 80)!r} called no image model"
        raise NotFoundError(message)
    return (named or calls)[-1]


def _prompt_preview(call: GenerationRow) -> str | None:
    """Return how the last thing that was said begins."""
    last: Any = call.messages[-1] if call.messages else None
    content: Any = cast("dict[str, Any]", last).get("content") if isinstance(last, dict) else None
    if isinstance(content, list):
        parts = [
            cast("dict[str, Any]", one) for one in cast("list[Any]", content) if type(one) is dict
        ]
        content = next((one["text"] for one in reversed(parts) if "text" in one), None)
    return content[:_PREVIEW_CHARS] if isinstance(content, str) else None
