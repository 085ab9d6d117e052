from typing import Self

class Template:
    def __new__(
        cls, head: bytes, has_id: bool, fields: list[tuple[bytes, str, bool, object]], /
    ) -> Self: ...

class LineFile:
    def __init__(self, line_bytes: int) -> None: ...
    def put(
        self, template: Template, envelope: object, now_ns: int, /, *values: object
    ) -> str | bool | None: ...

def are_plain(values: tuple[object, ...], /) -> bool: ...
