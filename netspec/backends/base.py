"""What a backend is: arrays, and a kernel for every operation.

A kernel is *bound* once, to the very arrays it will read and write, and then run many times:
whatever depends only on shapes, dtypes and strides (views, padded borders, scratch space, the choice
of an algorithm) is worked out while binding. `Binder` is the function that does it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from netspec.operations import ArraySpec, Operation

Array = Any
"""numpy.ndarray or cupy.ndarray."""

Kernel = Callable[[], None]
"""Reads the bound inputs, writes the bound outputs; allocates nothing that grows with the arrays."""


class KernelError(ValueError):
    """A value (not a shape) that the operation must refuse, such as an index outside its plane."""


@dataclass(slots=True)
class Context:
    """What a kernel may need beyond its arrays; `rng` is set anew before each run.

    autotune: forms are measured, not estimated; jit: compiled kernels where there are any.
    lanes: threads that may share the work of one kernel; lane: the one that is being bound for,
    beside: with others working at the same time.
    scratch: memory of this executor, by name. prepared: weights in the forms that kernels read them in,
    shared by all executors of a network; origins: where the arrays that may be prepared are from.
    """

    rng: Any = None
    lanes: int = 1
    precision: str = "high"
    autotune: bool = False
    jit: bool = False
    lane: int = 0
    beside: bool = False
    scratch: dict[Hashable, Array] = field(default_factory=dict)
    prepared: dict[Hashable, Any] = field(default_factory=dict)
    origins: dict[int, Hashable] = field(default_factory=dict)

    @contextmanager
    def on_lane(self, lane: int) -> Iterator[None]:
        """What is bound inside runs on one thread, beside other lanes."""
        before = self.lane, self.lanes, self.beside
        self.lane, self.lanes, self.beside = lane, 1, True
        try:
            yield
        finally:
            self.lane, self.lanes, self.beside = before


Binder = Callable[[Any, Sequence[Array], Sequence[Array], Context], Kernel]
"""(operation, inputs, outputs, context) -> kernel."""


class Backend:
    """Arrays of one kind and the kernels over them; subclasses fill in `kernels`."""

    name: str
    kernels: dict[type[Operation], Binder]

    def empty(self, spec: ArraySpec) -> Array:
        """An uninitialised, C-contiguous array."""
        raise NotImplementedError

    def asarray(self, array: Any, dtype: str | None = None) -> Array:
        """`array` on this backend's device."""
        raise NotImplementedError

    def moved_channels(self, array: Array) -> Array:
        """The view (n, c, *s) of an array (n, *s, c)."""
        return array.transpose((0, array.ndim - 1, *range(1, array.ndim - 1)))

    def to_numpy(self, array: Array) -> Any:
        """A NumPy copy of `array`, safe to keep."""
        raise NotImplementedError

    def available_bytes(self) -> int | None:
        """Memory that can still be allocated, or None where that is unknown."""
        raise NotImplementedError

    def view(self, operation: Operation, array: Array, spec: ArraySpec) -> Array | None:
        """The result of a layout operation as a view of `array`, or None where it needs a copy."""
        raise NotImplementedError

    def default_lanes(self) -> int:
        """How many threads share a kernel's work where nobody says it."""
        return 1

    def running(self) -> AbstractContextManager[None]:
        """Around every run: whatever the kernels want of the process meanwhile."""
        return nullcontext()

    def bind(
        self, operation: Operation, inputs: Sequence[Array], outputs: Sequence[Array], context: Context
    ) -> Kernel:
        """The kernel of `operation` on these arrays."""
        return self.kernels[type(operation)](operation, inputs, outputs, context)
