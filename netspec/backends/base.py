"""What a backend is: arrays, and a kernel for every operation.

A kernel is *bound* once, to the very arrays it will read and write, and then run many times:
whatever depends only on shapes, dtypes and strides (views, padded borders, scratch space, the choice
of an algorithm) is worked out while binding. `Binder` is the function that does it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """What a kernel may need beyond its arrays; `rng` is set anew before each run."""

    rng: Any = None
    threads: int | None = None
    precision: str = "high"
    scratch: dict[tuple[str, int], Array] = field(default_factory=dict)


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

    def to_numpy(self, array: Array) -> Any:
        """A NumPy copy of `array`, safe to keep."""
        raise NotImplementedError

    def available_bytes(self) -> int | None:
        """Memory that can still be allocated, or None where that is unknown."""
        raise NotImplementedError

    def view(self, operation: Operation, array: Array, spec: ArraySpec) -> Array | None:
        """The result of a layout operation as a view of `array`, or None where it needs a copy."""
        raise NotImplementedError

    def bind(
        self, operation: Operation, inputs: Sequence[Array], outputs: Sequence[Array], context: Context
    ) -> Kernel:
        """The kernel of `operation` on these arrays."""
        return self.kernels[type(operation)](operation, inputs, outputs, context)
