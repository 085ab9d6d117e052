"""The language reference as sections that can be cited.

In comes the text behind `help("try")`, which every CPython ships in `pydoc_data.topics`; out come
sections with an id, a title and passages, each passage prose, code, grammar or a table. A heading
opens a section, and so does the signature of a method or the term of a definition list. The text
is unwrapped and otherwise left alone, so that a quoted sentence is found again in its section
word for word.

The reference prints some sections twice: the page `compound` contains the page `try`. Both are
kept, and the one on the smaller page is called primary.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pydoc_data.topics import topics as _topics
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PassageKind = Literal["prose", "code", "grammar", "table"]

_UNDERLINE = re.compile(r"([*=\-~^\"])\1{2,}$")
_RUBRIC = re.compile(r"-\[ (.+) \]-$")
_SIGNATURE = re.compile(
    r"(?:(?:class|classmethod|staticmethod|coroutine|async|exception)\s+)?"
    r"[A-Za-z_][\w.*]*(?:\(.*\)[\w()]*)?(?:\s+\[.*\]|\s+\[?\w+\]?)?$"
)
_ITEM = re.compile(r"^(?:\*|\d+\.|\[\d+\])\s+")
_FOOTNOTE_MARK = re.compile(r"(?<=\S) +\[\d{1,2}\](?=[\s.,;:)]|$)")
_ADMONITION = re.compile(
    r"(?:Note|See also|Warning|Caution|Hint|Changed in version|CPython impl).*:$"
)
_CODE = re.compile(
    r">>>|^\s*(?:def|class|import|from|return|if|for|while|with|try|raise|print|async|await|del|"
    r"assert|match|case)\b|[=\[{(]\S.*[)\]}]$|\s=\s|^\s*[@#]",
    re.MULTILINE,
)
_SENTENCE_END = re.compile(
    r"(?<![. ][a-z])(?<!e\.g)(?<!i\.e)(?<!etc)(?<!vs)"  # what ends in a dot without being an end
    r"[.!?][\"\u201d\u2019)]*\s+(?=[\"\u201c(*]*[A-Z_\"\u201c])"
)

_PAGES = {
    "statements": """
        assert assignment augassign break class compound context-managers continue del else
        exprlists for function global if import nonlocal pass raise return try while with
    """,
    "expressions": """
        async atom-identifiers atom-literals attribute-references await binary bitwise
        booleans calls comparisons conversions in lambda operator-summary power shifting
        slicings subscriptions truth unary yield
    """,
    "data model": """
        attribute-access callable-types customization id-classes naming numeric-types
        objects sequence-types specialattrs specialnames types
    """,
    "built-in types": """
        bltin-code-objects bltin-ellipsis-object bltin-null-object bltin-type-objects dict
        lists string-methods typesfunctions typesmapping typesmethods typesmodules typesseq
        typesseq-mutable
    """,
    "execution": "debugger dynamic-features execmodel exceptions",
    "lexical": "floating formatstrings identifiers imaginary integers numbers strings",
}
FAMILIES = {page: family for family, pages in _PAGES.items() for page in pages.split()}
"""Page to the part of the reference it belongs to."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A run of text of one kind."""

    kind: PassageKind
    text: str
    lead_in: str = ""
    """For code: the sentence before it that announces it."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the reference that can be retrieved, quoted and cited."""

    id: str
    topic: str
    title: str
    path: tuple[str, ...]
    passages: tuple[Passage, ...]
    text: str
    digest: str
    primary: bool = True
    """False when a smaller page has the same text."""

    @property
    def family(self) -> str:
        """The part of the reference that the section belongs to."""
        return family_of(self.topic)

    @property
    def prose(self) -> str:
        """Its text without code, grammar and tables."""
        return "\n\n".join(passage.text for passage in self.passages if passage.kind == "prose")

    @property
    def label(self) -> str:
        """The title in the words of a citation: `try: "except" clause`."""
        return self.title if self.title == self.path[0] else f"{self.topic}: {self.title}"


def family_of(topic: str) -> str:
    """Return the part of the reference a page belongs to, `other` for pages of newer Pythons."""
    return FAMILIES.get(topic, "other")


@functools.cache
def load_sections() -> tuple[Section, ...]:
    """Return every section of the reference this Python ships, in a fixed order."""
    return parse_topics(_topics)


def parse_topics(topics: Mapping[str, str]) -> tuple[Section, ...]:
    """Return the sections of `topics`, a mapping from page name to text.

    Of sections with the same text, only the one on the smallest page is marked primary.
    """
    sections = [
        section for topic in sorted(topics) for section in _parse_page(topic, topics[topic])
    ]
    home: dict[str, Section] = {}
    for section in sorted(sections, key=lambda section: (len(topics[section.topic]), section.id)):
        home.setdefault(section.digest, section)
    return tuple(
        replace(section, primary=home[section.digest].id == section.id) for section in sections
    )


@functools.cache
def split_sentences(text: str) -> tuple[str, ...]:
    """Return the sentences of one prose passage; each occurs in `text` as it is."""
    starts = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    return tuple(text[a:b].strip() for a, b in pairwise(starts))


def _parse_page(topic: str, text: str) -> Iterator[Section]:
    taken: dict[str, int] = {}
    for path, passages in _iter_parts(text.split("\n"), ()):
        body = tuple(passages)
        joined = "\n\n".join(passage.text for passage in body)
        if not joined:
            continue
        slug = re.sub(r"[^a-z0-9_.*]+", "-", path[-1].split("(")[0].lower()).strip("-") or "part"
        taken[slug] = taken.get(slug, 0) + 1
        anchor = slug if taken[slug] == 1 else f"{slug}-{taken[slug]}"
        yield Section(
            id=topic if len(path) == 1 and taken[slug] == 1 else f"{topic}#{anchor}",
            topic=topic,
            title=path[-1],
            path=path,
            passages=body,
            text=joined,
            digest=hashlib.sha256(joined.encode()).hexdigest(),
        )


def _iter_parts(
    lines: Sequence[str], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], list[Passage]]]:
    """Split lines at headings and signatures; yield each part's titles and its passages."""
    levels: dict[str, int] = {}
    here, held, at = path, list[str](), 0
    while at < len(lines):
        heading = _find_heading(lines, at)
        if heading:
            yield here or ("Preface",), list(_iter_passages(held))
            mark, title, width = heading
            depth = levels.setdefault(mark, len(levels))
            here, held, at = (*here[: len(path) + depth], title), [], at + width
            continue
        signature = _find_definition(lines, at)
        if signature:
            titles, start, end = signature
            dedented = [
                line[3:] if line.startswith("   ") else line.lstrip() for line in lines[start:end]
            ]
            yield from _iter_parts(dedented, (*here, titles))
            at = end
            continue
        held.append(lines[at])
        at += 1
    yield here or ("Preface",), list(_iter_passages(held))


def _find_heading(lines: Sequence[str], at: int) -> tuple[str, str, int] | None:
    line = lines[at]
    if not line or line[0] == " ":
        return None
    rubric = _RUBRIC.match(line)
    if rubric:
        return "[", rubric[1], 1
    below = lines[at + 1] if at + 1 < len(lines) else ""
    underline = _UNDERLINE.match(below)
    return (
        (underline[1], line.replace('"', ""), 2) if underline and len(below) == len(line) else None
    )


def _find_definition(lines: Sequence[str], at: int) -> tuple[str, int, int] | None:
    """Find a definition that begins at `at`: its title, and where its body starts and ends."""
    first = lines[at]
    if not first or first[0] == " " or _ITEM.match(first) or (at and lines[at - 1][:1].strip()):
        return None
    start = at
    while start < len(lines) and lines[start] and lines[start][0] != " ":
        start += 1
    heads = lines[at:start]
    glued = len(heads) == 1 and start < len(lines) and bool(lines[start])
    while start < len(lines) and not lines[start]:
        start += 1
    if start >= len(lines) or not lines[start].startswith("   ") or first.endswith((":", ".", ",")):
        return None
    if not glued and not all(_SIGNATURE.match(head) for head in heads):
        return None
    end = start
    while end < len(lines) and (not lines[end] or lines[end][0] == " "):
        end += 1
    return heads[0].replace('"', ""), start, end


def _iter_passages(lines: Sequence[str]) -> Iterator[Passage]:
    last = ""
    for indented, block in _iter_blocks(lines):
        text = " ".join(line.strip() for line in block if line)
        if block[0].lstrip().startswith(("+-", "|")):
            yield Passage("table", "\n".join(block))
        elif "::=" in text:
            yield Passage("grammar", _dedent(block))
        elif indented and not _ADMONITION.match(last) and _CODE.search(code := _dedent(block)):
            yield Passage("code", code, lead_in=last)
        else:
            for item in _iter_items(block):
                last = _FOOTNOTE_MARK.sub("", _ITEM.sub("", item, count=1))
                yield Passage("prose", last)


def _iter_blocks(lines: Sequence[str]) -> Iterator[tuple[bool, list[str]]]:
    """Yield paragraphs; indented ones that follow each other are one, as code has blank lines."""
    grouped = groupby(lines, lambda line: not line.strip())
    paragraphs = [list(group) for blank, group in grouped if not blank]
    for indented, group in groupby(paragraphs, lambda paragraph: paragraph[0][0] == " "):
        if not indented:
            yield from ((False, paragraph) for paragraph in group)
            continue
        joined: list[str] = []
        for paragraph in group:
            joined += ["", *paragraph] if joined else paragraph
        yield True, joined


def _iter_items(block: Sequence[str]) -> Iterator[str]:
    held: list[str] = []
    for line in block:
        if held and (not line or _ITEM.match(line.lstrip())):
            yield " ".join(held)
            held = []
        if line:
            held.append(line.strip())
    if held:
        yield " ".join(held)


def _dedent(block: Sequence[str]) -> str:
    margin = min(len(line) - len(line.lstrip()) for line in block if line)
    return "\n".join(line[margin:].rstrip() for line in block)
