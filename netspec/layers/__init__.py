"""The layers: one file a torch.nn family, one class a type. `REGISTRY` has them all by type name."""

import importlib
import pkgutil

from netspec.layers.base import REGISTRY, Layer

# Every module of this folder is a family or a helper; importing them fills the registry, so that a new
# family is one new file and nothing else.
for _module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")
del _module

# By class name, and functions by their own: netspec.layers.Conv2d, netspec.layers.cat.
globals().update({cls.__name__: cls for cls in REGISTRY.values()} | REGISTRY)

__all__ = ["REGISTRY", "Layer", *sorted(cls.__name__ for cls in REGISTRY.values())]
