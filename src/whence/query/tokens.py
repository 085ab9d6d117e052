"""The words of a filter: text goes in, tokens with their offsets come out, one by one by a cursor.

Strings are unescaped here and quoted again by `quote`. Numbers stay text, because whether one fits
depends on the minus sign before it. Nothing here knows about tables or fields.
"""

from __future__ import annotations

import re
from typing import Literal, NoReturn

import msgspec

from whence.errors import FilterError

MAX_CHARACTERS = 20_000
"""Longest filter that is read."""

Kind = Literal["name", "string", "number", "duration", "symbol", "end"]

KEYWORDS = frozenset({"and", "or", "not", "in", "is", "null", "true", "false"})
"""Words that are never a field at the start of an operand; they may be written in capitals."""

_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<duration>[0-9]+[smhdw]\b)
    | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    | (?P<name>[^\W\d]\w*)
    | (?P<quote>["'])
    | (?P<foreign>&&|\|\||<>|=~|=>|=<|!(?![=~])|[+[])
    | (?P<symbol>!=|!~|<=|>=|==|[=<>~().,-])
    """,
    re.VERBOSE,
)
_STOP = {'"': re.compile(r'["\\]'), "'": re.compile(r"['\\]")}
_ESCAPES = {'"': '"', "'": "'", "\\": "\\", "n": "\n", "r": "\r", "t": "\t"}
_UNICODE_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_NUMBER_TAIL = re.compile(r"[\w.]+")
_FOREIGN = {
    "&&": "write `and`",
    "||": "write `or`",
    "<>": "write `!=`",
    "=~": "write `~` for contains",
    "=>": "write `>=`",
    "=<": "write `<=`",
    "!": "write `not`",
    "+": "only `now - 24h` is known to arithmetic",
    "[": "write keys after a dot, as in `attributes.tenant`",
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REWRITES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_LAST_OF_BASIC_PLANE = 0xFFFF


class Token(msgspec.Struct, frozen=True):
    """One word of a filter."""

    kind: Kind
    """What sort of word it is."""
    text: str
    """As written; for a string its content, unescaped."""
    position: int
    """Offset of its first character, from 0."""

    @property
    def keyword(self) -> str:
        """The keyword or symbol this token is, in lower case; empty if it is neither."""
        if self.kind == "symbol":
            return self.text
        lowered = self.text.lower()
        return lowered if self.kind == "name" and lowered in KEYWORDS else ""

    def __str__(self) -> str:
        """Return the token as an error message names it."""
        if self.kind == "end":
            return "the end of the filter"
        return quote(self.text) if self.kind == "string" else f"`{self.text}`"


class Cursor:
    """A place in the tokens of one filter; it lives as long as the parse and moves only forward."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = tokenize(text)
        self._at = 0

    @property
    def token(self) -> Token:
        """The token that has not been taken yet."""
        return self._tokens[self._at]

    @property
    def following(self) -> Token:
        """The token after that; the end token again at the end."""
        return self._tokens[min(self._at + 1, len(self._tokens) - 1)]

    def take(self) -> Token:
        """Return the token and move past it; the end is never passed."""
        token = self.token
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def take_if(self, *words: str) -> Token | None:
        """Return the token and move past it if it is one of the keywords or symbols, else None."""
        return self.take() if self.token.keyword in words else None

    def expect(self, word: str, why: str) -> Token:
        """Return the token if it is the keyword or symbol `word`, and move past it.

        Raises:
            FilterError: It is something else; the message ends with `why`.
        """
        if self.token.keyword != word:
            self.fail(f"Expected `{word}` but found {self.token}; {why}.")
        return self.take()

    def fail(self, message: str, at: Token | int | None = None) -> NoReturn:
        """Refuse the filter at the token or offset `at`, or where the cursor stands.

        Raises:
            FilterError: Always.
        """
        place = self.token if at is None else at
        position = place.position if isinstance(place, Token) else place
        raise FilterError(message, position=position, text=self.text)


def tokenize(text: str) -> tuple[Token, ...]:
    """Return the tokens of `text`, the last of them an end token.

    Raises:
        FilterError: The text is too long, or holds a character, number or string that is not one.
    """
    if len(text) > MAX_CHARACTERS:
        # Without the text: an error that prints a line this long would hide its own message.
        raise FilterError(
            f"The filter has {len(text)} characters, more than the {MAX_CHARACTERS} that are read; "
            "ask for less at once, or use sql().",
            position=MAX_CHARACTERS,
        )
    if stray := _SURROGATE.search(text):
        raise FilterError(
            f"Half of a surrogate pair, U+{ord(stray[0]):04X}, is not a character; remove it.",
            position=stray.start(),
        )
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        token, position = _token_at(text, position)
        if token is not None:
            tokens.append(token)
    return (*tokens, Token("end", "", len(text)))


def _token_at(text: str, position: int) -> tuple[Token | None, int]:
    found = _TOKEN.match(text, position)
    if found is None or found.lastgroup == "foreign":
        sign = text[position] if found is None else found[0]
        advice = _FOREIGN.get(sign, "put text in double quotes")
        message = f"{quote(sign)} is not part of the filter language; {advice}."
        raise FilterError(message, position=position, text=text)
    end = found.end()
    match found.lastgroup:
        case "quote":
            content, end = _string(text, position)
            return Token("string", content, position), end
        case "name" | "duration" | "symbol" as kind:
            return Token(kind, found[0], position), end
        case "number":
            if tail := _NUMBER_TAIL.match(text, end):
                message = (
                    f"`{found[0]}{tail[0]}` is not a number; write digits as in 5, 0.5 or 1e-3, "
                    "a duration as in 24h, and put text and odd keys in double quotes."
                )
                raise FilterError(message, position=position, text=text)
            return Token("number", found[0], position), end
        case _:
            return None, end


def _string(text: str, start: int) -> tuple[str, int]:
    mark = text[start]
    parts: list[str] = []
    position = start + 1
    while stop := _STOP[mark].search(text, position):
        parts.append(text[position : stop.start()])
        if stop[0] == mark:
            return "".join(parts), stop.end()
        character, position = _escape(text, stop.start())
        parts.append(character)
    message = f"The string that opens here has no end; close it with {mark}."
    raise FilterError(message, position=start, text=text)


def _escape(text: str, position: int) -> tuple[str, int]:
    simple = _ESCAPES.get(text[position + 1 : position + 2])
    if simple is not None:
        return simple, position + 2
    hexadecimal = _UNICODE_ESCAPE.match(text, position)
    if hexadecimal is None:
        message = (
            f"`{text[position : position + 2]}` is not an escape; "
            "write \\\\ for a backslash, or one of \\\" \\' \\n \\r \\t \\uXXXX."
        )
        raise FilterError(message, position=position, text=text)
    end = hexadecimal.end()
    character = chr(int(hexadecimal[1], 16))
    if _SURROGATE.match(character):
        second = _UNICODE_ESCAPE.match(text, end)
        pair = character + chr(int(second[1], 16)) if second else character
        character = pair.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if second is None or len(character) > 1 or character == "\ufffd":
            message = f"`{hexadecimal[0]}` is half of a surrogate pair; write both halves."
            raise FilterError(message, position=position, text=text)
        end = second.end()
    return character, end


def quote(text: str) -> str:
    """Return `text` as a string literal in double quotes, in printable characters only."""
    return f'"{"".join(map(_written, text))}"'


def key(text: str) -> str:
    """Return `text` as a key after a dot: bare where it is an ASCII word, quoted otherwise."""
    return text if _WORD.fullmatch(text) else quote(text)


def _written(character: str) -> str:
    if character in _REWRITES:
        return _REWRITES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code > _LAST_OF_BASIC_PLANE:
        units = character.encode("utf-16-be")
        return f"\\u{units[:2].hex()}\\u{units[2:].hex()}"
    return f"\\u{code:04x}"
