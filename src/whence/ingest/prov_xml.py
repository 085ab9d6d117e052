"""Reads PROV-XML into the form of PROV-JSON, without ever following what it points to.

Comes in: a source. Goes out: the document as PROV-JSON would have it, and a `Skipped` for what of
it could not be read. Subtypes (`prov:person`, `prov:wasRevisionOf`) become their type with a
`prov:type`. A document type declaration is refused, and with it every entity that a file could
define: to read other files, to ask a network, or to unfold into gigabytes.

Source: PROV-XML (W3C note of 2013-04-30).
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from whence.errors import IngestError
from whence.ingest.base import Skipped
from whence.ingest.json_files import MAX_DOCUMENT_BYTES

if TYPE_CHECKING:
    from whence.ingest.base import Source
    from whence.ingest.loose import Fields

PROV = "http://www.w3.org/ns/prov#"
_KNOWN = {
    PROV: "prov",
    "http://www.w3.org/2001/XMLSchema-instance": "xsi",
    "http://www.w3.org/XML/1998/namespace": "xml",
}
_DEFAULT = "default"
_TYPED = frozenset({"prov:type", "prov:role"})
"""Attributes whose texts are names."""
_ROOT = re.compile(r"<(?:[\w.-]+:)?document[\s/>]")
_WIDE = (b"\xff\xfe", b"\xfe\xff")
_CHUNK_BYTES = 1 << 16
_MAX_DEPTH = 100
_SEPARATOR = " "
_SUBTYPES = {
    "person": ("agent", "prov:Person"),
    "organization": ("agent", "prov:Organization"),
    "softwareAgent": ("agent", "prov:SoftwareAgent"),
    "plan": ("entity", "prov:Plan"),
    "collection": ("entity", "prov:Collection"),
    "emptyCollection": ("entity", "prov:EmptyCollection"),
    "bundle": ("entity", "prov:Bundle"),
    "wasRevisionOf": ("wasDerivedFrom", "prov:Revision"),
    "wasQuotedFrom": ("wasDerivedFrom", "prov:Quotation"),
    "hadPrimarySource": ("wasDerivedFrom", "prov:PrimarySource"),
}
"""Element to the type of record that it is, and the `prov:type` that it says with its name."""


def is_xml(source: Source) -> bool:
    """Return whether a file begins as XML does."""
    return _beginning(source).lstrip("\ufeff \t\r\n").startswith("<")


def detect(source: Source) -> bool:
    """Return whether a file begins as PROV-XML does."""
    text = _beginning(source)
    return is_xml(source) and PROV in text and _ROOT.search(text) is not None


def _beginning(source: Source) -> str:
    wide = source.head.startswith(_WIDE)
    return source.head.decode("utf-16" if wide else "utf-8", "replace")


def document(source: Source) -> tuple[Fields, list[Skipped]]:
    """Return a document in the form of PROV-JSON, and what of it could not be read.

    Of a file that ends in the middle, what is complete is returned.

    Raises:
        IngestError: It is no PROV-XML, declares a document type, is nested too deeply, or longer
            than 256 MiB.
        OSError: The file cannot be read.
    """
    reader = _Reader(source.name)
    left = MAX_DOCUMENT_BYTES
    with source.open() as file:
        try:
            while chunk := file.read(_CHUNK_BYTES):
                left -= len(chunk)
                if left < 0:
                    raise IngestError(
                        f"{source.name} is longer than {MAX_DOCUMENT_BYTES >> 20} MiB"
                    )
                reader.parser.Parse(chunk, False)  # noqa: FBT003 - expat takes it by place
            reader.parser.Parse(b"", True)  # noqa: FBT003 - as above
        except (EOFError, zlib.error) as error:
            reader.left.append(Skipped(source.name, f"cannot be unpacked: {error}"))
        except (LookupError, ValueError) as error:
            raise IngestError(f"{source.name} is in an encoding not known: {error}") from error
        except expat.ExpatError as error:
            if not reader.is_prov:
                raise IngestError(f"{source.name} is not PROV-XML: {error}") from error
            where = f"{source.name}:{error.lineno}"
            reader.left.append(Skipped(where, f"the rest is lost: {error}"))
    if not reader.is_prov:
        raise IngestError(f"{source.name} is not PROV-XML: it has no `prov:document`")
    return reader.document, reader.left


class _Element:
    """An element of a record, while it is read."""

    __slots__ = ("attributes", "inner", "name", "texts")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.texts: list[str] = []
        self.inner: list[tuple[str, Any]] = []


class _Reader:
    """Takes the events of the parser; the document grows with every record that is complete.

    Args:
        name: What the file is called in reports.
    """

    def __init__(self, name: str) -> None:
        self.document: Fields = {"prefix": {}}
        self.left: list[Skipped] = []
        self.is_prov = False
        self._name = name
        self._section = self.document
        self._open: list[_Element] = []
        self._depth = 0
        self._count = 0
        self._spaces: dict[str, list[str]] = {}
        self.parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
        self.parser.namespace_prefixes = True
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartNamespaceDeclHandler = self._declare
        self.parser.EndNamespaceDeclHandler = self._forget
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def _doctype(self, *_: object) -> None:
        raise IngestError(
            f"{self._name} declares a document type, which may define entities; it is not read"
        )

    def _declare(self, prefix: str | None, space: str | None) -> None:
        self._spaces.setdefault(prefix or _DEFAULT, []).append(space or "")
        if space and (prefix or space != PROV):  # names of things are seldom in PROV's own
            self.document["prefix"].setdefault(prefix or _DEFAULT, space)

    def _forget(self, prefix: str | None) -> None:
        self._spaces[prefix or _DEFAULT].pop()

    def _written(self, name: str) -> str:
        """Return a qualified name so that the prefixes of the document hold for it."""
        prefix, colon, local = name.strip().partition(":")
        key = prefix if colon else _DEFAULT
        here = self._spaces.get(key) or [""]
        known = self.document["prefix"].get(key, here[-1])
        return name.strip() if known == here[-1] else here[-1] + (local if colon else prefix)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise IngestError(f"{self._name} is nested too deeply")
        name = _qualified(tag)
        given = {_qualified(key): value for key, value in attributes.items()}
        if self._depth == 1:
            if name != "prov:document":
                raise IngestError(f"{self._name} is not PROV-XML: it has no `prov:document`")
            self.is_prov = True
        elif name == "prov:bundleContent" and not self._open and self._section is self.document:
            self._enter(given)
        else:
            self._open.append(_Element(name, given))

    def _enter(self, given: dict[str, str]) -> None:
        """Begin a bundle: the records that follow are its own."""
        bundles: Fields = self.document.setdefault("bundle", {})
        key = self._written(given.get("prov:id", f"_:bundle{len(bundles) + 1}"))
        self._section = bundles.setdefault(key, {})

    def _text(self, text: str) -> None:
        if self._open:
            self._open[-1].texts.append(text)

    def _end(self, _tag: str) -> None:
        self._depth -= 1
        if not self._open:
            self._section = self.document
            return
        element = self._open.pop()
        if self._open:
            self._open[-1].inner.append((element.name, self._value(element)))
        else:
            self._take(element)

    def _value(self, element: _Element) -> Any:
        """Return an attribute, or an end of a relation, as PROV-JSON has it."""
        reference = element.attributes.get("prov:ref")
        if reference is not None:
            return self._written(reference)
        text = "".join(element.texts)
        stated = dict(element.attributes)
        kind, language = stated.pop("xsi:type", None), stated.pop("xml:lang", None)
        if kind is not None and kind.endswith(":QName"):
            text = self._written(text)
        if kind is None and language is None and not stated and not element.inner:
            return text if element.name not in _TYPED else self._written(text)
        made: Fields = {"$": text} if text.strip() or not element.inner else {}
        for key, value in (("type", kind), ("lang", language)):
            if value is not None:
                made[key] = value
        for key, value in (*stated.items(), *element.inner):
            _add(made, key, value)
        return made

    def _take(self, element: _Element) -> None:
        """Take a record that is complete."""
        prefix, _, local = element.name.partition(":")
        if prefix != "prov" or local in {"bundleContent", "prefix"}:
            where = f"{self._name}:{self.parser.CurrentLineNumber}"
            self.left.append(Skipped(where, f"`{element.name[:80]}` is no record of PROV here"))
            return
        kind, subtype = _SUBTYPES.get(local, (local, None))
        record: Fields = {} if subtype is None else {"prov:type": subtype}
        stated = dict(element.attributes)
        self._count += 1
        key = self._written(stated.pop("prov:id", f"_:{local}{self._count}"))
        for name, value in (*stated.items(), *element.inner):
            _add(record, name, value)
        text = "".join(element.texts).strip()
        if text:
            record["$"] = text
        known = self._section.setdefault(kind, {})
        _add(known, key, record)


def _qualified(tag: str) -> str:
    """Return what expat calls `space local prefix` as `prefix:local`."""
    space, *rest = tag.split(_SEPARATOR)
    if not rest:
        return tag
    prefix = _KNOWN.get(space) or (rest[1] if len(rest) > 1 else "")
    return f"{prefix}:{rest[0]}" if prefix else rest[0]


def _add(record: Fields, key: str, value: Any) -> None:
    """Add what is said under a key; what is said several times is a list."""
    if key not in record:
        record[key] = value
    elif isinstance(record[key], list):
        record[key].append(value)
    else:
        record[key] = [record[key], value]
