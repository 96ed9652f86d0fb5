"""What a backend is: arrays, and a kernel for every operation.

A kernel is *bound* once, to the very arrays it will read and write, and then run many times:
whatever depends only on shapes, dtypes and strides (views, padded borders, scratch space, the choice
of an algorithm) is worked out while binding. `Binder` is the function that does it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from netspec.operations import ArraySpec, Operation

Array = Any
"""numpy.ndarray or cupy.ndarray."""

Kernel = Callable[[], None]
"""Reads the bound inputs, writes the bound outputs; allocates nothing that grows with the arrays."""


class KernelError(ValueError):
    """A value (not a shape) that the operation must refuse, such as an index outside its plane.

    label: the layer whose kernel refused it, once that is known.
    """

    label: str = ""


@dataclass(slots=True)
class Context:
    """What a kernel may need beyond its arrays; `rng` is set anew before each run.

    autotune: forms are measured, not estimated; jit: compiled kernels where there are any.
    lanes: threads that may share the work of one kernel; lane: the one that is being bound for,
    beside: with others working at the same time.
    scratch: memory of this executor, by name. prepared: weights in the forms that kernels read them in,
    shared by all executors of a network; origins: where the arrays that may be prepared are from.
    session: the executor's line to its device; label: the layer that is being bound.
    """

    rng: Any = None
    session: Any = None
    label: str = ""
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


def is_on_device(value: Any) -> bool:
    """Whether an array lies on a CUDA device (CuPy's, or another library's that tells where)."""
    kind = type(value)  # asked first: CuPy's own property asks the driver
    if not hasattr(kind, "__cuda_array_interface__"):
        return False
    return kind.__module__.partition(".")[0] == "cupy" or hasattr(value, "__cuda_array_interface__")


def from_device(value: Any) -> Any:
    """An array of a device as NumPy's; anything else as it is."""
    if not is_on_device(value):
        return value
    if hasattr(value, "get"):
        return value.get()
    import cupy

    return cupy.asnumpy(cupy.asarray(value))


class Session:
    """One executor's line to its device: inputs in, kernels run, results out.

    Here everything is done when it is asked for, in the calling thread; a device may do it later, in order.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def binding(self) -> AbstractContextManager[Any]:
        """Around everything that allocates and binds."""
        return nullcontext()

    def outgoing(self, array: Array, kernels: list[tuple[Kernel, str]]) -> Array:
        """The array that an output is read from; a kernel that fills it may be added."""
        return array

    def start(
        self,
        kernels: Sequence[tuple[Kernel, str]],
        inputs: Sequence[tuple[Array, Any]],
        outputs: Mapping[str, Array],
        keep: bool = False,
    ) -> None:
        """Copy the inputs to their arrays and run the kernels. keep: results stay on the device.

        Raises `KernelError` with the label of the layer, here or in `results`.
        """
        label = ""
        with self.backend.running():
            for target, source in inputs:
                target[...] = source
            try:
                for kernel, label in kernels:  # noqa: B007 - the label is read if a kernel raises
                    kernel()
            except KernelError as error:
                error.label = label
                raise

    def results(self, outputs: Mapping[str, Array]) -> dict[str, Any]:
        """The outputs of what was started, safe to keep: NumPy arrays, or the device's own."""
        return {name: self.backend.to_numpy(array) for name, array in outputs.items()}

    def timed(
        self, kernels: Sequence[tuple[Kernel, str]], inputs: Sequence[tuple[Array, Any]]
    ) -> Sequence[float]:
        """Seconds of each kernel in one run of all of them."""
        clock, taken = time.perf_counter, []
        with self.backend.running():
            for target, source in inputs:
                target[...] = source
            for kernel, _ in kernels:
                start = clock()
                kernel()
                taken.append(clock() - start)
        return taken

    def store(self, target: Array, source: Array) -> None:
        """Copy an array of the device to another one of its shape."""
        target[...] = source


class Backend:
    """Arrays of one kind and the kernels over them; subclasses fill in `kernels`."""

    name: str
    kernels: dict[type[Operation], Binder]
    fused_types: tuple[str, ...] = ("float32", "float64")
    """Dtypes whose elementwise chains are computed in one go, without rounding in between."""
    calls_ahead: int = 1
    """Calls that may be under way at a time: beyond one, inputs are copied while others are computed."""

    failures: tuple[type[Exception], ...] = (MemoryError,)
    """What is raised when the device itself fails or has no memory left."""

    def fewest_channels(self, dtype: str, precision: str, jit: bool) -> int | None:
        """From how many channels on arrays are best kept channels-last; None: never."""
        return None

    def session(self) -> Session:
        """A line to the device for one executor."""
        return Session(self)

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

    def on_host(self, array: Array) -> Any:
        """`array` as NumPy's, without a copy where it is one."""
        return array

    def available_bytes(self) -> int | None:
        """Memory that can still be allocated, or None where that is unknown."""
        raise NotImplementedError

    def view(self, operation: Operation, array: Array, spec: ArraySpec) -> Array | None:
        """The result of a layout operation as a view of `array`, or None where it needs a copy."""
        raise NotImplementedError

    def held_bytes(self) -> int | None:
        """Bytes of the device's memory that are taken, or None where that is the process's own."""
        return None

    def reachable(self, arrays: Mapping[str, Any]) -> Mapping[str, Any]:
        """Given arrays as this backend's sessions can read them: here those of a CUDA device are copied from it."""
        if not any(map(is_on_device, arrays.values())):
            return arrays
        return {name: from_device(value) for name, value in arrays.items()}

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
