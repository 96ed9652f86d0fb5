"""How many threads NumPy's matrix products use."""

from __future__ import annotations

import ctypes
import glob
import os
from functools import lru_cache
from typing import Any

import numpy as np

_SETTERS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
)


@lru_cache
def _setter() -> Any:
    """OpenBLAS's own switch in the library that NumPy's wheel brings, or None."""
    folder = os.path.join(os.path.dirname(os.path.dirname(np.__file__)), "numpy.libs")
    for path in sorted(glob.glob(os.path.join(folder, "*openblas*"))):
        library = ctypes.CDLL(path)
        for name in _SETTERS:
            if hasattr(library, name):
                return getattr(library, name)
    return None


def set_blas_threads(threads: int) -> bool:
    """Let matrix products of this process use so many threads; False where the library cannot be told."""
    setter = _setter()
    if setter is None:
        return False
    setter(ctypes.c_int(threads))
    return True
