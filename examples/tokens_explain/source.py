"""The functions of a module of the standard library, and which of them call which."""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Function:
    """One function or method."""

    name: str
    """`TextWrapper.wrap`."""
    code: str
    """Its source."""
    doc: str
    """The first sentence of its docstring; empty without one."""
    parameters: tuple[str, ...]
    """Names of its parameters."""
    raises: tuple[str, ...]
    """Names of the exceptions it raises."""
    calls: tuple[str, ...]
    """Functions of the same module that it calls, in order."""


def load(module: str) -> dict[str, Function]:
    """Return the functions of a module by name.

    Raises:
        ModuleNotFoundError: There is no such module, or it is not written in Python.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        message = f"{module!r} is no module with Python source"
        raise ModuleNotFoundError(message)
    text = Path(spec.origin).read_text("utf-8")
    nodes = dict(_functions(ast.parse(text), ""))
    return {name: _function(name, node, text, nodes) for name, node in nodes.items()}


def _functions(tree: ast.AST, prefix: str) -> list[tuple[str, FunctionNode]]:
    found: list[tuple[str, FunctionNode]] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            found += _functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, FunctionNode):
            found.append((f"{prefix}{node.name}", node))
    return found


def _function(name: str, node: FunctionNode, text: str, nodes: dict[str, FunctionNode]) -> Function:
    given = node.args
    parameters = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    doc = " ".join((ast.get_docstring(node) or "").split())
    return Function(
        name=name,
        code=ast.get_source_segment(text, node) or "",
        doc=doc.partition(". ")[0].rstrip("."),
        parameters=tuple(one for one in parameters if one not in {"self", "cls"}),
        raises=tuple(dict.fromkeys(_raised(node))),
        calls=tuple(one for one in dict.fromkeys(_called(node, name)) if one in nodes),
    )


def _called(node: FunctionNode, name: str) -> list[str]:
    owner = name.rpartition(".")[0]
    found: list[str] = []
    for inner in ast.walk(node):
        match inner:
            case ast.Call(func=ast.Name(id=called)):
                found += [called, f"{called}.__init__"]
            case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=called)):
                found.append(f"{owner}.{called}")
    return [one for one in found if one != name]


def _raised(node: FunctionNode) -> list[str]:
    found: list[str] = []
    for inner in ast.walk(node):
        match inner:
            case ast.Raise(exc=ast.Call(func=ast.Name(id=name)) | ast.Name(id=name)):
                found.append(name)
    return found
