"""`POST /v1/traces` and `POST /v1/logs`: OTLP over HTTP, in protobuf or JSON, packed or not.

A request is answered when what it holds is in the log. Source: OTLP 1.9, "OTLP/HTTP Response": 200
with a partial success where spans were rejected, a Status message for errors in the encoding of the
request, 503 with Retry-After where the sender should come back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency  # noqa: TC002 - Litestar reads the annotations

from whence.errors import IngestError, StoreError
from whence.ingest.otlp_wire import TooLargeError
from whence.server import body
from whence.server.body import RefusedError, Room
from whence.server.intake import Intake  # noqa: TC001 - Litestar reads the annotations

if TYPE_CHECKING:
    from whence.server.intake import Answer

_PROTOBUF = "application/x-protobuf"
_JSON = "application/json"
_RETRY_S = 5
_TRACES = ("rejectedSpans", False)
_LOGS = ("rejectedLogRecords", True)
_VARINT_MORE = 0x80


@post("/v1/traces", status_code=200)
async def traces(
    request: Request[Any, Any, Any], intake: NamedDependency[Intake], room: NamedDependency[Room]
) -> Response[bytes]:
    """Take spans."""
    return await _take(request, intake, room, *_TRACES)


@post("/v1/logs", status_code=200)
async def logs(
    request: Request[Any, Any, Any], intake: NamedDependency[Intake], room: NamedDependency[Room]
) -> Response[bytes]:
    """Take log records."""
    return await _take(request, intake, room, *_LOGS)


async def _take(
    request: Request[Any, Any, Any],
    intake: Intake,
    room: Room,
    rejected_name: str,
    has_logs: bool,  # noqa: FBT001 - private, and called in two places
) -> Response[bytes]:
    is_json = _media(request) == _JSON
    try:
        is_gzip = _is_gzip(request)
        with room.held() as held:
            content = await body.read(request, room, held)
            answer = await intake.write(
                content, is_json=is_json, is_gzip=is_gzip, has_logs=has_logs
            )
    except RefusedError as error:
        return _error(error.status, str(error), error.retry_after_s, is_json=is_json)
    except TooLargeError as error:
        return _error(413, str(error), None, is_json=is_json)
    except IngestError as error:
        return _error(400, str(error), None, is_json=is_json)
    except StoreError as error:
        return _error(503, str(error), _RETRY_S, is_json=is_json)
    return _success(answer, rejected_name, is_json=is_json)


def _media(request: Request[Any, Any, Any]) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _is_gzip(request: Request[Any, Any, Any]) -> bool:
    """Whether the body of a request is packed, if it is one of ours at all."""
    if _media(request) not in {_JSON, _PROTOBUF}:
        raise RefusedError(415, f"the Content-Type has to be {_PROTOBUF} or {_JSON}")
    packing = request.headers.get("content-encoding", "identity").strip().lower()
    if packing not in {"identity", "gzip"}:
        raise RefusedError(415, "the Content-Encoding has to be gzip or identity")
    return packing == "gzip"


def _success(answer: Answer, rejected_name: str, *, is_json: bool) -> Response[bytes]:
    if is_json:
        partial = {rejected_name: str(answer.rejected), "errorMessage": answer.why}
        content = msgspec.json.encode({"partialSuccess": partial} if answer.rejected else {})
        return Response(content, media_type=_JSON)
    content = b""
    if answer.rejected:
        partial_success = b"\x08" + _varint(answer.rejected) + _text(2, answer.why)
        content = b"\x0a" + _varint(len(partial_success)) + partial_success
    return Response(content, media_type=_PROTOBUF)


def _error(status: int, why: str, retry_after_s: int | None, *, is_json: bool) -> Response[bytes]:
    """Return an answer with a google.rpc.Status, of which only the message is set."""
    content = msgspec.json.encode({"message": why}) if is_json else _text(2, why)
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    media = _JSON if is_json else _PROTOBUF
    return Response(content, status_code=status, media_type=media, headers=headers)


def _text(field: int, text: str) -> bytes:
    content = text.encode("utf-8", "backslashreplace")
    return bytes([field << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    made = bytearray()
    while number >= _VARINT_MORE:
        made.append(number & 0x7F | _VARINT_MORE)
        number >>= 7
    made.append(number)
    return bytes(made)
