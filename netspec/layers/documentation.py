"""Docstrings of layer classes and of their fields, read from their source when somebody asks.

Python drops the string under a field, and keeping it would cost every start of the program; the
schema, the reference and the editor are the only ones to need it.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import textwrap
from typing import Any


@functools.lru_cache
def _module_docs(module: str) -> dict[str, dict[str, str]]:
    """Class name -> field name -> docstring, for one module."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, KeyError, TypeError):  # built interactively
        return {}
    found: dict[str, dict[str, str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            fields = found.setdefault(node.name, {})
            for statement, following in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(statement, ast.AnnAssign)
                    and isinstance(statement.target, ast.Name)
                    and isinstance(following, ast.Expr)
                    and isinstance(following.value, ast.Constant)
                    and isinstance(following.value.value, str)
                ):
                    fields[statement.target.id] = inspect.cleandoc(following.value.value)
    return found


@functools.lru_cache
def field_docs(cls: type[Any]) -> dict[str, str]:
    """Key, as it is written -> its sentence; a subclass's own words win."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        docs.update(_module_docs(base.__module__).get(base.__name__, {}))
    written = {name: info.alias or name for name, info in getattr(cls, "model_fields", {}).items()}
    return {written.get(name, name): text for name, text in docs.items()}


def summary(cls: type[Any]) -> str:
    """The sentences of a class's docstring, without its example."""
    text = inspect.cleandoc(cls.__doc__ or "")
    return text.split("\n\nExample:")[0].strip()


def example(cls: type[Any]) -> str | None:
    """The YAML of a class's `Example:`, or None."""
    text = inspect.cleandoc(cls.__doc__ or "")
    if "Example:" not in text:
        return None
    shown = text.split("Example:", 1)[1].strip()
    return textwrap.dedent(shown).strip("`").strip()
