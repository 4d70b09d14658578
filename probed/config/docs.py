"""Docstrings of settings: the string below each field of a class.

They are in the source only. Reading it takes time, so only `probed explain`, the JSON Schema and the
generated documentation do; each module is parsed once.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise


def field_docs(model: type) -> Mapping[str, str]:
    """Return the docstrings by field, inherited ones too; none where there is no source."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        found.update(_module_docs(cls.__module__).get(cls.__qualname__, {}))
    return found


@cache
def _module_docs(name: str) -> Mapping[str, Mapping[str, str]]:
    """Return the docstrings of all classes of a module, by their qualified names."""
    module = sys.modules.get(name)
    try:
        tree = ast.parse(inspect.getsource(module) if module is not None else "")
    except (OSError, TypeError, SyntaxError, ValueError):
        return {}
    return dict(_classes(tree, ""))


def _classes(node: ast.AST, prefix: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield each class below the node; of two with one name the last counts."""
    for child in ast.iter_child_nodes(node):
        inside = prefix
        if isinstance(child, ast.ClassDef):
            yield prefix + child.name, dict(_fields(child))
            inside = f"{prefix}{child.name}."
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = f"{prefix}{child.name}.<locals>."
        yield from _classes(child, inside)


def _fields(cls: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, text in pairwise(cls.body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            yield field.target.id, inspect.cleandoc(text.value.value)
