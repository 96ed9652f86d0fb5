"""`NumpyBackend`: arrays in main memory, and the kernels of the neighbouring files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from netspec.backends.base import Array, Backend, Context, Kernel
from netspec.backends.numpy import (  # each import registers its kernels
    checks,  # noqa: F401
    convolution,  # noqa: F401
    elementwise,  # noqa: F401
    layout,
    padding,  # noqa: F401
    pooling,  # noqa: F401
    products,  # noqa: F401
    random,  # noqa: F401
    reduction,  # noqa: F401
    resize,  # noqa: F401
    transposed,  # noqa: F401
)
from netspec.backends.numpy.arrays import scratch, sequence
from netspec.backends.numpy.finish import finisher
from netspec.backends.numpy.registry import EXACT, FINISHES, KERNELS
from netspec.backends.numpy.threads import Running, default_lanes
from netspec.operations import ArraySpec, Fused, Operation

FEWEST_CHANNELS = 20
"""Below this a run of channels is too short: one plane a channel is read faster."""

FEWEST_COMPILED = 16
"""The same for compiled kernels: one vector."""

GROUPS = Path("/sys/fs/cgroup")
MEMORY = Path("/proc/meminfo")


class NumpyBackend(Backend):
    """Kernels over numpy.ndarray; the reference that other backends are compared with."""

    name = "numpy"
    kernels = KERNELS

    def fewest_channels(self, dtype: str, precision: str, jit: bool) -> int | None:
        """Channels-last from there on, whatever the dtype."""
        return FEWEST_COMPILED if jit else FEWEST_CHANNELS

    def empty(self, spec: ArraySpec) -> Array:
        """An uninitialised, C-contiguous array."""
        return np.empty(spec.shape, spec.dtype)

    def asarray(self, array: Any, dtype: str | None = None) -> Array:
        """`array` as a NumPy array, without a copy where it is one already."""
        return np.asarray(array, dtype)

    def to_numpy(self, array: Array) -> Any:
        """A copy of `array`, safe to keep."""
        return np.array(array, order="C")

    def available_bytes(self) -> int | None:
        """What the machine and the control group still grant, or None where that is unknown."""
        known = [amount for amount in (_machine_bytes(), _group_bytes()) if amount is not None]
        return min(known, default=None)

    def view(self, operation: Operation, array: Array, spec: ArraySpec) -> Array | None:
        """The result of a layout operation as a view of `array`, or None where it needs a copy."""
        return layout.layout_view(operation, array, spec.shape)

    def bind(
        self, operation: Operation, inputs: Sequence[Array], outputs: Sequence[Array], context: Context
    ) -> Kernel:
        """The kernel of `operation`; floating point exceptions give inf and NaN without a word."""
        with np.errstate(all="ignore"):
            if context.jit and (kernel := _compiled(operation, inputs, outputs, context)) is not None:
                return kernel
            if isinstance(operation, Fused):
                return _fused(operation, inputs, outputs, context)
            bind = self.kernels[type(operation)]
            if type(operation) in EXACT:
                return bind(operation, inputs, outputs, context)
            return _with_single_precision(bind, operation, inputs, outputs, context)

    def default_lanes(self) -> int:
        """The processors that this process may use."""
        return default_lanes()

    def running(self) -> Running:
        """One BLAS thread for each of ours; floating point exceptions give inf and NaN without a word."""
        return Running()


def _compiled(
    operation: Operation, inputs: Sequence[Array], outputs: Sequence[Array], context: Context
) -> Kernel | None:
    """The kernel that the extra `jit` has for these arrays, or None."""
    from netspec.backends.numpy.jit.bind import bind

    return bind(operation, inputs, outputs, context)


def _fused(operation: Fused, inputs: Sequence[Array], outputs: Sequence[Array], context: Context) -> Kernel:
    """The main operation, which finishes its regions itself or has all of them finished afterwards."""
    main, bind = operation.main, KERNELS[type(operation.main)]
    finish = finisher(operation.stages, inputs, outputs[0], context)
    if type(main) in FINISHES:
        return bind(main, inputs[: operation.arity], outputs, context, finish)  # type: ignore[call-arg]
    return sequence([bind(main, inputs[: operation.arity], outputs, context)], finish(()))


def _with_single_precision(
    bind: Any, operation: Operation, inputs: Sequence[Array], outputs: Sequence[Array], context: Context
) -> Kernel:
    """Binds to float32 copies of the float16 arrays: computed in float32, rounded once."""
    copies: dict[int, Array] = {}  # id -> copy: an output that is also an input keeps one copy

    def single(array: Array) -> Array:
        if array.dtype != np.float16:
            return array
        if id(array) not in copies:
            copies[id(array)] = scratch(context, f"single{len(copies)}", array.shape, np.float32)
        return copies[id(array)]

    kernel: Kernel = bind(operation, [single(x) for x in inputs], [single(y) for y in outputs], context)
    if not copies:
        return kernel
    before = [partial(np.copyto, copies[id(x)], x) for x in inputs if id(x) in copies]
    after = [partial(np.copyto, y, copies[id(y)], casting="unsafe") for y in outputs if id(y) in copies]

    def run() -> None:
        for load in before:
            load()
        kernel()
        for store in after:
            store()

    return run


def _machine_bytes() -> int | None:
    """MemAvailable, or free physical pages where there is no /proc."""
    try:
        for line in MEMORY.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _group_bytes() -> int | None:
    """The control group's limit minus its use (v2, then v1), or None without a limit."""
    for folder, limit, usage in (
        ("", "memory.max", "memory.current"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        root = GROUPS / folder
        try:
            most, used = int((root / limit).read_text()), int((root / usage).read_text())
        except (OSError, ValueError):  # no such file, or "max"
            continue
        return max(0, most - used)
    return None
