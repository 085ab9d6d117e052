"""Image generation with its provenance, as document 1 (Nano Banana provenance) speaks of it."""

from whence.dialects.images.client import (
    ProvenanceImageClient,
    get_provenance_nano_banana_client,
)
from whence.dialects.images.dashboard import (
    ImageFigures,
    ImageMetrics,
    UserPattern,
    image_metrics,
)
from whence.dialects.images.gemini import GeminiImageClient
from whence.dialects.images.metrics import GenerationMetrics
from whence.dialects.images.prices import PRICES, ImagePrice
from whence.dialects.images.reading import (
    GenerationProvenance,
    get_generation_provenance,
    get_image,
)
from whence.dialects.images.requests import (
    ConversationTurn,
    GenerationContext,
    GenerationRequest,
    GenerationResponse,
    MediaAssetInput,
)
from whence.errors import (
    ImageApiError,
    ImageError,
    ImagePolicyError,
    ImageRateLimitError,
    ImageTimeoutError,
)

__all__ = [
    "PRICES",
    "ConversationTurn",
    "GeminiImageClient",
    "GenerationContext",
    "GenerationMetrics",
    "GenerationProvenance",
    "GenerationRequest",
    "GenerationResponse",
    "ImageApiError",
    "ImageError",
    "ImageFigures",
    "ImageMetrics",
    "ImagePolicyError",
    "ImagePrice",
    "ImageRateLimitError",
    "ImageTimeoutError",
    "MediaAssetInput",
    "ProvenanceImageClient",
    "UserPattern",
    "get_generation_provenance",
    "get_image",
    "get_provenance_nano_banana_client",
    "image_metrics",
]
