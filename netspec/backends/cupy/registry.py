"""The table of kernels, and the decorator that fills it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netspec.backends.base import Binder
from netspec.operations import Operation

KERNELS: dict[type[Operation], Binder] = {}
"""Operation -> the function that binds its kernel."""

ENDED: dict[type[Operation], Callable[..., Any]] = {}
"""Operations whose binder takes the stages that follow, and the arrays that these read, as two more arguments."""


def ended(operation: type[Operation]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated binder for `operation`, with stages behind it or without."""

    def register(binder: Callable[..., Any]) -> Callable[..., Any]:
        ENDED[operation] = binder
        KERNELS[operation] = lambda op, inputs, outputs, context: binder(
            op, inputs, outputs, context, (), inputs
        )
        return binder

    return register


def kernel(*operations: type[Operation]) -> Callable[[Binder], Binder]:
    """Register the decorated binder for each of `operations`."""

    def register(binder: Binder) -> Binder:
        KERNELS.update(dict.fromkeys(operations, binder))
        return binder

    return register
