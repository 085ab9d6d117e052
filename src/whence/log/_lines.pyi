from typing import Any, Self

class Template:
    def __new__(
        cls, head: bytes, has_id: bool, fields: list[tuple[str, bytes, str, bool, object]], /
    ) -> Self: ...

class LineFile:
    def __init__(self, line_bytes: int) -> None: ...
    def put(
        self, template: Template, envelope: object, now_ns: int, /, *values: object
    ) -> str | bool | None: ...
    def put_fields(
        self,
        template: Template,
        envelope: object,
        now_ns: int,
        first: object,
        fields: dict[str, Any],
        serial: int,
        /,
    ) -> str | bool | tuple[str | bool, int] | None: ...
    def texts(self, values: list[Any], /) -> list[bytes] | None: ...

def are_plain(values: tuple[object, ...], /) -> bool: ...
