"""Names, values and types as PROV writes them, in JSON and in XML.

Comes in: qualified names with the prefixes that are declared for them, and attribute values, plain
or as `{"$": ..., "type": ..., "lang": ...}`. Goes out: the full name, whether it holds everywhere,
and plain texts. Nothing here raises, and no address is followed.

Source: PROV-JSON (W3C member submission of 2013-04-24), section 2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from whence.ingest import json_files, loose

if TYPE_CHECKING:
    from whence.ingest.loose import Fields

_EVERYWHERE = re.compile(r"(?:https?|ftp|s3|gs)://.|(?:urn|doi|swh|ark|arcp):.", re.IGNORECASE)
_MOST_CHARS = 1_000
"""Names that are longer are no names that anybody shares."""
_BUILT_IN = {"prov": "http://www.w3.org/ns/prov#", "xsd": "http://www.w3.org/2001/XMLSchema#"}
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PARTS = re.compile(r"[#/:]")


class Name(msgspec.Struct, frozen=True):
    """The name of one thing."""

    key: str
    """The full name, or what is written if its prefix is not declared."""
    public: str | None
    """The full name if it holds everywhere; None if it holds in its document alone."""


def is_public(name: str) -> bool:
    """Return whether a name is an address or another name that holds everywhere."""
    return len(name) <= _MOST_CHARS and _EVERYWHERE.match(name) is not None


class Prefixes:
    """The namespaces of one document or bundle.

    Args:
        declared: What the document says, prefix to namespace.
        outer: Those around it.
    """

    def __init__(self, declared: Fields, outer: Prefixes | None = None) -> None:
        self.spaces: dict[str, str] = dict(_BUILT_IN if outer is None else outer.spaces)
        self.spaces |= {key: space for key, space in declared.items() if isinstance(space, str)}

    def name(self, written: str) -> Name:
        """Return the full name of a qualified one."""
        prefix, colon, local = written.partition(":")
        space = self.spaces.get(prefix if colon else "default")
        full = written if space is None else space + (local if colon else written)
        return Name(full, full if is_public(full) else None)


def plain(value: Any) -> Any:
    """Return an attribute value without its type and language."""
    return loose.mapping(value).get("$") if isinstance(value, dict) else value


def values(stated: Any) -> list[Any]:
    """Return the plain values of an attribute, which may have one or several."""
    return [
        plain(one) for one in (loose.sequence(stated) if isinstance(stated, list) else [stated])
    ]


def texts(stated: Any) -> list[str]:
    """Return the values of an attribute that are texts or numbers, as texts."""
    return [text for one in values(stated) if (text := loose.name(one)) is not None]


def first(statement: Fields, *names: str) -> str | None:
    """Return the first value of the first attribute that has one, as text."""
    return next((text for name in names for text in texts(statement.get(name))), None)


def local(name: str) -> str:
    """Return the last part of a name: `Plan` of `prov:Plan` and of `http://.../ns/prov#Plan`."""
    return _PARTS.split(name.rstrip("#/:"))[-1] or name


def snake(name: str) -> str:
    """Return `retryOf` as `retry_of`."""
    return _WORDS.sub("_", name).lower()


def merged(statements: list[Fields]) -> Fields:
    """Return what several statements say of one thing; what they say differently is a list.

    Raises:
        IngestError: Something is nested too deeply.
    """
    if len(statements) == 1:
        return statements[0]
    said: dict[str, dict[str, Any]] = {}
    for statement in statements:
        for key, value in statement.items():
            for one in _listed(value):
                said.setdefault(key, {}).setdefault(json_files.fingerprint(one), one)
    made = {key: list(each.values()) for key, each in said.items()}
    return {key: each[0] if len(each) == 1 else each for key, each in made.items()}


def _listed(value: Any) -> list[Any]:
    return loose.sequence(value) if isinstance(value, list) else [value]
