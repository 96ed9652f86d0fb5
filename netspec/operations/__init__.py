"""The small set of array operations that every layer lowers to.

A layer says *what* it computes as a sequence of these; a backend says *how*
(`netspec.backends`). An operation is a frozen value: its attributes are plain
numbers, its arrays are named elsewhere (`netspec.program`). Spatial operations
read (n, c, *spatial) arrays; the layer has already added a missing batch axis.

Output sizes are never recomputed here: the shape rule of the layer decided them,
and a kernel reads them off its output arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Pairs = tuple[tuple[int, int], ...]
"""(before, after) amounts, one pair an axis."""


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """Shape and dtype of one array; sizes in elements, dtype by NumPy's name."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Operation:
    """Base of all operations."""


# --- windows over space -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Convolution(Operation):
    """Cross-correlation: x (n, c, *s), weight (o, c/groups, *k), [bias (o,)] -> (n, o, *s').

    Zero padding, given before and after each spatial axis.
    """

    stride: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    groups: int


@dataclass(frozen=True, slots=True)
class TransposedConvolution(Operation):
    """Gradient of a convolution: x (n, c, *s), weight (c, o/groups, *k), [bias (o,)] -> (n, o, *s').

    `padding` is cut from both ends of the full result; what the output has beyond the full
    result on the right (output_padding) holds the bias alone.
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


@dataclass(frozen=True, slots=True)
class MaxPool(Operation):
    """Largest value of each window: x (n, c, *s) -> values [, int64 indices].

    Outside the input counts as -inf; NaN wins. Indices are flat within each unpadded spatial
    plane; the first of equal values, but the last of several NaN.
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AveragePool(Operation):
    """Mean of each window: x (n, c, *s) -> (n, c, *s').

    The divisor is `divisor`, or the number of elements of the window that lie inside the input
    (`count_include_pad` false) or inside input plus padding (true), as torch clips it.
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    count_include_pad: bool
    divisor: int | None = None


@dataclass(frozen=True, slots=True)
class AdaptiveAveragePool(Operation):
    """Mean over windows floor(i*L/o) to ceil((i+1)*L/o) on every axis after the first two."""


@dataclass(frozen=True, slots=True)
class AdaptiveMaxPool(Operation):
    """Maximum over the same windows: x -> values [, int64 indices as for MaxPool]."""


@dataclass(frozen=True, slots=True)
class MaxUnpool(Operation):
    """x, int64 indices (n, c, *s) -> zeros (n, c, *s') with x put at its flat indices; the last wins.

    An index outside the plane raises `KernelError`.
    """


@dataclass(frozen=True, slots=True)
class Pad(Operation):
    """Widen (or, with negative amounts, crop) each axis of x by `widths`."""

    widths: Pairs
    mode: Literal["constant", "reflect", "replicate", "circular"] = "constant"
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Resize(Operation):
    """Sample x (n, c, *s) onto the output's spatial size, torch's interpolate.

    `scales` is the scale factor an axis as the user gave it (output / input), or None where only
    sizes were given: torch maps coordinates with the factor as given.
    """

    mode: Literal["nearest", "nearest-exact", "linear", "cubic", "area"]
    scales: tuple[float | None, ...]
    align_corners: bool = False


# --- element by element -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Elementwise(Operation):
    """`function` of the broadcast inputs; `constants` are its scalar arguments.

    Computed in the output's dtype where the function's result type is its input type; the names and
    meanings are listed in `netspec.operations.elementwise`.
    """

    function: str
    constants: tuple[float | int | complex | bool | str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Affine(Operation):
    """x * scale + shift, with one scale and one shift for each index of `axis`."""

    axis: int


@dataclass(frozen=True, slots=True)
class Random(Operation):
    """No inputs: fresh random numbers of the output's shape at every run.

    bernoulli(p): 1 with probability p, else 0; uniform(low, high).
    """

    distribution: Literal["bernoulli", "uniform"]
    arguments: tuple[float, ...]


# --- over axes --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reduce(Operation):
    """sum, mean, max, min or prod over `axes` (kept as size 1 where the output keeps them)."""

    function: Literal["sum", "mean", "max", "min", "prod"]
    axes: tuple[int, ...]
    keepdims: bool = False


@dataclass(frozen=True, slots=True)
class ArgMax(Operation):
    """int64 index of the first largest value along `axis` (None: of the flattened array); NaN wins."""

    axis: int | None
    keepdims: bool = False


@dataclass(frozen=True, slots=True)
class Softmax(Operation):
    """Softmax along `axis`, or its logarithm."""

    axis: int
    log: bool = False


@dataclass(frozen=True, slots=True)
class Moments(Operation):
    """x -> mean, biased variance over `axes` (dropped)."""

    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Normalize(Operation):
    """(x - mean) / sqrt(variance + eps), both over `axes`, biased variance; `center` false: RMS."""

    axes: tuple[int, ...]
    eps: float
    center: bool = True


# --- products ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Linear(Operation):
    """x (*, i), weight (o, i), [bias (o,)] -> x @ weight.T + bias, shape (*, o)."""


@dataclass(frozen=True, slots=True)
class MatMul(Operation):
    """torch.matmul of two arrays, batch axes broadcast."""


@dataclass(frozen=True, slots=True)
class Einsum(Operation):
    """Einstein summation; `equation` is explicit (has `->`) and without ellipsis or spaces."""

    equation: str


# --- layout -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reshape(Operation):
    """The same elements in row-major order under the output's shape."""


@dataclass(frozen=True, slots=True)
class Transpose(Operation):
    """Axes reordered: output axis i is input axis axes[i]."""

    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Slice(Operation):
    """Elements start, start + step, ... below stop along `axis`."""

    axis: int
    start: int
    stop: int
    step: int = 1


@dataclass(frozen=True, slots=True)
class Broadcast(Operation):
    """x repeated along axes of size 1 to the output's shape."""


@dataclass(frozen=True, slots=True)
class Concat(Operation):
    """Inputs one after the other along `axis`."""

    axis: int


@dataclass(frozen=True, slots=True)
class Cast(Operation):
    """x in the output's dtype."""


@dataclass(frozen=True, slots=True)
class TakeAlong(Operation):
    """x (..., c at `axis`, ...), int64 index (the same without `axis`) -> x at that class."""

    axis: int


# --- checks of values -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Require(Operation):
    """No output: raises `KernelError(message)` unless every element of x is in [low, high].

    NaN fails, as in torch's own checks. `ignore` is one value that is always allowed.
    """

    low: float
    high: float
    message: str
    ignore: int | None = None


# --- several as one ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stage:
    """One elementwise operation on the running value of a `Fused` step.

    `operands` are its inputs in order: positions among the step's inputs, or RUNNING.
    """

    operation: Elementwise | Affine
    operands: tuple[int, ...]


RUNNING = -1
"""The operand of a `Stage` that is the value computed so far."""


@dataclass(frozen=True, slots=True)
class Fused(Operation):
    """`main` of the first `arity` inputs, then the stages one after the other, in place on its output."""

    main: Operation
    arity: int
    stages: tuple[Stage, ...]


VIEWS = (Reshape, Transpose, Slice, Broadcast)
"""Operations that a backend may answer with a view of its input instead of a copy."""
