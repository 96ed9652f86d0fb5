"""`REGISTRY`: every layer type by name, each family's module imported when one of its types is first asked for.

Building the classes of all families takes a tenth of a second; a network uses a few of them.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netspec.layers.base import Layer

_CLASS = re.compile(r'^class ([A-Za-z]\w*)\((?:[^)]*\btype="(\w+)")?', re.MULTILINE)
_HELPERS = frozenset(("__init__", "base", "registry"))


class Registry(Mapping[str, "type[Layer]"]):
    """Type name -> class, in the order of the families and of their definitions.

    Which family defines a type is read off the source, so that a new family is one new file and nothing
    else; what the source does not show is found by importing all families.
    """

    def __init__(self, folder: Path, package: str) -> None:
        self._folder, self._package = folder, package
        self._classes: dict[str, type[Layer]] = {}
        self._complete = False

    def add(self, name: str, cls: type[Layer]) -> None:
        """Enter a class; the classes themselves do it when they are made."""
        self._classes[name] = cls

    @cached_property
    def families(self) -> dict[str, str]:
        """Type name -> module, in order; empty where the source cannot be read."""
        found = {}
        for path in sorted(self._folder.glob("*.py")):
            if path.stem not in _HELPERS:
                for name, kind in _CLASS.findall(path.read_text(encoding="utf-8")):
                    found[kind or name] = path.stem
        return found

    def load(self) -> None:
        """Import every family."""
        if self._complete:
            return
        for module in sorted(info.name for info in pkgutil.iter_modules([str(self._folder)])):
            importlib.import_module(f"{self._package}.{module}")
        order = {name: place for place, name in enumerate(self.families)}
        self._classes = dict(sorted(self._classes.items(), key=lambda item: order.get(item[0], len(order))))
        self._complete = True

    def __getitem__(self, name: str) -> type[Layer]:
        if name not in self._classes:
            if name in self.families:
                importlib.import_module(f"{self._package}.{self.families[name]}")
            elif not self.families:
                self.load()
        return self._classes[name]

    def __contains__(self, name: object) -> bool:
        if not self.families:
            self.load()
        return name in self._classes or name in self.families

    def __iter__(self) -> Iterator[str]:
        self.load()
        return iter(self._classes)

    def __len__(self) -> int:
        self.load()
        return len(self._classes)
