"""Makes thumbnails for pages of the language reference, refines one, and counts what it cost.

This is what a user of `whence.images` writes. A thumbnail that is refused or fails is left out; the
record of it is there all the same.
"""

from __future__ import annotations

import asyncio
import pydoc_data.topics
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whence.images import (
    ConversationTurn,
    GenerationContext,
    GenerationRequest,
    ImageError,
    ProvenanceImageClient,
    get_provenance_nano_banana_client,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whence.images import GenerationResponse

PAGES = (
    "lambda",
    "with",
    "yield",
    "import",
    "debugger",
    "class",
    "try",
    "assert",
    "exec",
    "numbers",
)
"""Pages of `pydoc_data.topics`. Some name what an image service will not draw."""
_PAGES: dict[str, str] = pydoc_data.topics.topics
_WORD = re.compile(r"[A-Za-z]{5,}")
_SHAPES = (("thumbnail", 1280, 720), ("twitch_emote", 112, 112), ("profile_picture", 512, 512))


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture of a page, or why there is none."""

    page: str
    image: bytes
    provenance_id: str | None
    problem: str


async def make(
    pages: Sequence[str], *, base_url: str | None, api_key: str | None
) -> list[Thumbnail]:
    """Return a thumbnail for each page, and one refined version of the first that was made."""
    client = get_provenance_nano_banana_client(
        base_url=base_url, api_key=api_key, retry_wait_s=0.05, max_retries=3
    )
    async with client:
        asked = [draw(client, page, number) for number, page in enumerate(pages)]
        drawn = list(zip(pages, await asyncio.gather(*asked), strict=True))
        made = [(page, answer) for page, (answer, _) in drawn if answer is not None]
        for page, answer in made[:1]:
            drawn.append((page, await refine(client, page, answer)))
    return [
        Thumbnail(page, answer.image_data, answer.provenance_id, "")
        if answer is not None
        else Thumbnail(page, b"", None, problem)
        for page, (answer, problem) in drawn
    ]


async def draw(
    client: ProvenanceImageClient, page: str, number: int
) -> tuple[GenerationResponse | None, str]:
    """Return the picture of a page; None, and why, if the service gives none."""
    asset_type, width, height = _SHAPES[number % len(_SHAPES)]
    request = GenerationRequest(prompt_of(page), width, height)
    context = GenerationContext(
        job_id=f"page-{page}",
        user_id=f"editor-{number % 2 + 1}",
        execution_id="reference",
        asset_type=asset_type,
        project="thumbnails",
    )
    return await ask(client, request, context)


async def refine(
    client: ProvenanceImageClient, page: str, earlier: GenerationResponse
) -> tuple[GenerationResponse | None, str]:
    """Return the picture with its colours inverted, as a turn of the conversation before."""
    request = GenerationRequest(
        "Keep everything and invert the colours.",
        1280,
        720,
        conversation_history=[ConversationTurn("user", prompt_of(page)), earlier.to_turn()],
    )
    context = GenerationContext(
        job_id=f"page-{page}-dark",
        user_id="editor-1",
        execution_id="reference",
        asset_type="thumbnail",
        is_refinement=True,
        parent_image_id=earlier.generation_id,
        project="thumbnails",
    )
    return await ask(client, request, context)


async def ask(
    client: ProvenanceImageClient, request: GenerationRequest, context: GenerationContext
) -> tuple[GenerationResponse | None, str]:
    """Return what the client gives, or why it gives nothing."""
    try:
        return await client.generate_with_provenance(request=request, context=context), ""
    except ImageError as error:
        return None, f"{type(error).__name__}: {error}"


def prompt_of(page: str) -> str:
    """Return what a picture of the page is to show: the words it uses most."""
    text = _PAGES.get(page, page)
    counts: dict[str, int] = {}
    for word in _WORD.findall(text.lower()):
        counts[word] = counts.get(word, 0) + 1
    common = sorted(counts, key=lambda word: (-counts[word], word))[:12]
    return f"A flat poster about {page} in Python, with {', '.join(common) or 'nothing else'}."
