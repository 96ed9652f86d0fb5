"""The layers: one file a torch.nn family, one class a type. `REGISTRY` has them all by type name.

By class name, and functions by their own: netspec.layers.Conv2d, netspec.layers.cat.
"""

from typing import Any

from netspec.layers.base import REGISTRY, Layer

__all__ = ["REGISTRY", "Layer"]


def __getattr__(name: str) -> Any:
    if name in REGISTRY:
        return REGISTRY[name]
    if name[:1].isupper():  # the class of a function: Cat
        for cls in REGISTRY.values():
            if cls.__name__ == name:
                return cls
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *REGISTRY, *(cls.__name__ for cls in REGISTRY.values())})
