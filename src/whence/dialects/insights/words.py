"""The words of document 1 (intelligence provenance): sorts of insight, levels of confidence.

The list of insight types is open: a word that is not in it is a type as well, told apart by its
value alone. The list of confidence levels is closed, since each stands for a range of scores.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Self

from whence.capture import values

RUN_KIND = "insight"
"""Kind of the runs that are provenance records, and of the output that is the insight."""
BROKEN_OFF = ("failed", "cancelled", "incomplete")
"""Statuses of runs whose insight was not computed to the end."""


class InsightType(StrEnum):
    """What sort of insight; `InsightType("your_word")` is one too, without being a member."""

    VIDEO_IDEA = "video_idea"
    TITLE_SUGGESTION = "title_suggestion"
    KEYWORD_RANKING = "keyword_ranking"
    VIRAL_PREDICTION = "viral_prediction"
    THUMBNAIL_ANALYSIS = "thumbnail_analysis"
    TREND_DETECTION = "trend_detection"
    CONTENT_FORMAT = "content_format"
    REGIONAL_OPPORTUNITY = "regional_opportunity"
    SEMANTIC_CLUSTER = "semantic_cluster"
    PLAYBOOK_RECOMMENDATION = "playbook_recommendation"
    IMAGE_GENERATION = "image_generation"
    IMAGE_REFINEMENT = "image_refinement"
    EMOTE_GENERATION = "emote_generation"
    THUMBNAIL_GENERATION = "thumbnail_generation"
    OVERLAY_GENERATION = "overlay_generation"
    BANNER_GENERATION = "banner_generation"
    PROFILE_GENERATION = "profile_generation"
    BATCH_GENERATION = "batch_generation"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str) or not value:
            return None
        made = str.__new__(cls, value)
        made._name_ = value.upper()
        made._value_ = value
        return made


class ConfidenceLevel(StrEnum):
    """A range of confidence scores."""

    VERY_HIGH = "very_high"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    VERY_LOW = "very_low"

    @classmethod
    def of(cls, score: float | None) -> ConfidenceLevel:
        """Return the level of a score; `MEDIUM` where nobody stated one.

        Source: document 1 (intelligence provenance): 0.9, 0.75, 0.5 and 0.25 each begin a level.
        """
        if score is None:
            return cls.MEDIUM
        return next((level for level, least in FLOORS.items() if score >= least), cls.VERY_LOW)


FLOORS = {
    ConfidenceLevel.VERY_HIGH: 0.9,
    ConfidenceLevel.HIGH: 0.75,
    ConfidenceLevel.MEDIUM: 0.5,
    ConfidenceLevel.LOW: 0.25,
}
"""The least score of each level, the highest level first; below all of them it is very low."""


def word(value: object) -> str:
    """Return an insight type, or a word of the user's own, as text."""
    return values.text(value.value if isinstance(value, Enum) else value)
