"""A strict reader of the part of Graphviz's DOT language that quoted digraphs need.

Source: https://graphviz.org/doc/info/lang.html. In a quoted id a backslash escapes a quote and
nothing else; every other backslash stays in the id, doubled ones as two.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r'\s*(?:(->)|([{}\[\];,=])|"((?:[^"\\]|\\.)*)"|([A-Za-z_]\w*|-?\d+))', re.DOTALL
)


def read(text: str) -> tuple[list[str], list[tuple[str, str, dict[str, str]]]]:
    """Return the node ids and the edges with their attributes.

    Raises:
        ValueError: The text is not such a graph.
    """
    tokens = _tokens(text)
    if [kind for kind, _ in tokens[:3]] != ["name", "name", "{"] or tokens[0][1] != "digraph":
        raise ValueError("it does not begin as a digraph does")
    if tokens[-1][0] != "}":
        raise ValueError("it does not end")
    nodes: list[str] = []
    edges: list[tuple[str, str, dict[str, str]]] = []
    statement: list[tuple[str, str]] = []
    for kind, value in tokens[3:-1]:
        if kind != ";":
            statement.append((kind, value))
            continue
        _take(statement, nodes, edges)
        statement = []
    if statement:
        raise ValueError(f"a statement does not end: {statement}")
    return nodes, edges


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"no token at {text[at : at + 20]!r}")
        arrow, mark, quoted, name = match.groups()
        if quoted is not None:
            found.append(("quoted", quoted.replace('\\"', '"')))
        else:
            found.append(("name", name) if name else (arrow or mark, arrow or mark))
        at = match.end()
    return found


def _take(
    statement: list[tuple[str, str]],
    nodes: list[str],
    edges: list[tuple[str, str, dict[str, str]]],
) -> None:
    kinds = [kind for kind, _ in statement]
    values = [value for _, value in statement]
    if kinds[:2] == ["name", "="] or kinds[:2] == ["name", "["]:
        return  # a default of the graph or of its nodes
    if kinds[:3] == ["quoted", "->", "quoted"]:
        edges.append((values[0], values[2], _attributes(kinds[3:], values[3:])))
    elif kinds[:1] == ["quoted"]:
        nodes.append(values[0])
        _attributes(kinds[1:], values[1:])
    else:
        raise ValueError(f"no statement: {values}")


def _attributes(kinds: list[str], values: list[str]) -> dict[str, str]:
    if not kinds:
        return {}
    if kinds[0] != "[" or kinds[-1] != "]" or (len(kinds) - 1) % 4 not in {0, 3}:
        raise ValueError(f"no attributes: {values}")
    inner = list(range(1, len(kinds) - 1, 4))
    if any(kinds[i + 1] != "=" for i in inner):
        raise ValueError(f"no attributes: {values}")
    return {values[i]: values[i + 2] for i in inner}
