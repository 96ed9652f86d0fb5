"""The table of kernels, and the decorator that fills it."""

from __future__ import annotations

from collections.abc import Callable

from netspec.backends.base import Binder
from netspec.operations import Operation

KERNELS: dict[type[Operation], Binder] = {}
"""Operation -> the function that binds its kernel."""

EXACT: set[type[Operation]] = set()
"""Operations that only move or convert values: they handle float16 as it is."""


FINISHES: set[type[Operation]] = set()
"""Operations whose binder takes `finish`, the stages that follow, and calls it for each region it has made."""


def kernel(
    operation: type[Operation], *, exact: bool = False, finishes: bool = False
) -> Callable[[Binder], Binder]:
    """Register the decorated binder for `operation`.

    Others than `exact` ones never see float16: the backend hands them float32 copies instead.
    """

    def register(binder: Binder) -> Binder:
        KERNELS[operation] = binder
        if exact:
            EXACT.add(operation)
        if finishes:
            FINISHES.add(operation)
        return binder

    return register
