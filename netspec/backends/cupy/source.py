"""The CUDA C++ source of the kernels: a few files, each compiled for one element type at a time."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from netspec.backends.cupy.arguments import DTYPES, declarations

FOLDER = Path(__file__).parent / "kernels"

UNITS = tuple(sorted(path.stem for path in FOLDER.glob("*.cu")))
"""Names of the sources; each is compiled alone, when a program first needs one of its kernels."""

_C_TYPES = {"float32": "float", "float64": "double"}
"""Names of the types in C++ where they differ from NumPy's."""

_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"\n', re.MULTILINE)
_KERNEL = re.compile(r"^NETSPEC_(BLOCK_)?KERNEL\((\w+), (\w+)\)", re.MULTILINE)


@functools.cache
def text(unit: str, dtype: str) -> str:
    """The whole source of a unit for one element type; it includes nothing."""
    seen: set[str] = set()

    def included(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        return _INCLUDE.sub(lambda match: included(match[1]), (FOLDER / name).read_text(encoding="utf-8"))

    defined = (
        f"#define NETSPEC_TYPE {_C_TYPES.get(dtype, dtype)}\n#define NETSPEC_DTYPE {DTYPES.index(dtype)}\n"
    )
    return defined + declarations() + included("common.cuh") + included(f"{unit}.cu")


@functools.cache
def kernels() -> dict[str, tuple[str, str, bool]]:
    """Kernel -> its unit, the struct that it takes, and whether its threads meet at barriers."""
    found = {}
    for unit in UNITS:
        for block, name, struct in _KERNEL.findall((FOLDER / f"{unit}.cu").read_text(encoding="utf-8")):
            found[name] = (unit, struct, bool(block))
    return found
