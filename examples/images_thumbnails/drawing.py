"""Draws a text as a picture: one bar for each letter, as tall as it is frequent.

The colours come from the text's own digest, so different pages look different and the same page
looks the same. Pictures are PNGs (ISO/IEC 15948) of 8 bits a channel; only those that were drawn
here can be read back.
"""

from __future__ import annotations

import hashlib
import string
import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = 3

Rows = list[bytearray]
"""A picture: a row of red, green and blue bytes after the other, the top first."""


def draw(text: str, seed: int, width: int, height: int) -> Rows:
    """Return the picture of `text`; the seed turns the colours."""
    digest = hashlib.sha256(f"{seed} {text}".encode()).digest()
    background, bar = digest[:_CHANNELS], digest[_CHANNELS : 2 * _CHANNELS]
    lowered = text.lower()
    counts = [lowered.count(letter) for letter in string.ascii_lowercase]
    most = max(*counts, 1)
    heights = [count * height // most for count in counts]
    return [
        bytearray(
            channel
            for x in range(width)
            for channel in (bar if height - y <= heights[x * len(heights) // width] else background)
        )
        for y in range(height)
    ]


def invert(rows: Rows) -> Rows:
    """Return the picture with every colour turned into its opposite."""
    return [bytearray(255 - channel for channel in row) for row in rows]


def to_png(rows: Rows) -> bytes:
    """Return a picture as PNG."""
    head = struct.pack(">IIBBBBB", len(rows[0]) // _CHANNELS, len(rows), 8, 2, 0, 0, 0)
    lines = b"".join(b"\0" + bytes(row) for row in rows)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def from_png(image: bytes) -> Rows:
    """Return the picture in a PNG that `to_png` made.

    Raises:
        ValueError: It is another sort of image.
    """
    if not image.startswith(SIGNATURE):
        message = "the image is no PNG"
        raise ValueError(message)
    at, data, width = len(SIGNATURE), b"", 0
    while at < len(image):
        (length,) = struct.unpack_from(">I", image, at)
        kind, body = image[at + 4 : at + 8], image[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width = struct.unpack_from(">I", body)[0]
        elif kind == b"IDAT":
            data += body
        at += length + 12
    lines, stride = zlib.decompress(data), width * _CHANNELS + 1
    if not width or len(lines) % stride or any(lines[::stride]):
        message = "the image was not drawn here"
        raise ValueError(message)
    return [bytearray(lines[i + 1 : i + stride]) for i in range(0, len(lines), stride)]
