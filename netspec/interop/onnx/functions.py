"""Elementwise functions as ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from netspec.interop.onnx.writer import KINDS, Writer
from netspec.operations import Elementwise
from netspec.program.builder import Step

DIRECT = {
    "mul": "Mul", "pow": "Pow", "maximum": "Max", "minimum": "Min", "neg": "Neg", "relu": "Relu",
    "prelu": "PRelu", "mish": "Mish", "hardswish": "HardSwish", "softsign": "Softsign", "sigmoid": "Sigmoid",
    "tanh": "Tanh", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "abs": "Abs", "sin": "Sin", "cos": "Cos",
}  # fmt: skip
"""Functions that are one node without attributes."""


ARITHMETIC = ("add", "sub", "mul", "div", "div_floor", "div_trunc", "pow", "maximum", "minimum")
"""Functions that compute in the output's dtype, whatever their inputs are."""


class Expression:
    """Arithmetic on edges, written as nodes: `one - y * x`."""

    def __init__(self, w: Writer, edge: str, dtype: str) -> None:
        self.w, self.edge, self.dtype = w, edge, dtype

    def _with(self, kind: str, *others: Any, dtype: str | None = None, **attributes: Any) -> Expression:
        edges = [o.edge if isinstance(o, Expression) else self.w.number(o, self.dtype) for o in others]
        return Expression(self.w, self.w.op(kind, self.edge, *edges, **attributes), dtype or self.dtype)

    def __add__(self, other: Any) -> Expression:
        return self._with("Add", other)

    def __sub__(self, other: Any) -> Expression:
        return self._with("Sub", other)

    def __mul__(self, other: Any) -> Expression:
        return self._with("Mul", other)

    def __truediv__(self, other: Any) -> Expression:
        return self._with("Div", other)

    def __neg__(self) -> Expression:
        return self._with("Neg")

    def __gt__(self, other: Any) -> Expression:
        return self._with("Greater", other, dtype="bool")

    def __lt__(self, other: Any) -> Expression:
        return self._with("Less", other, dtype="bool")

    def equals(self, other: Any) -> Expression:
        """Where both are equal."""
        return self._with("Equal", other, dtype="bool")

    def apply(self, kind: str, *others: Any, **attributes: Any) -> Expression:
        """Any node with this edge as its first input."""
        return self._with(kind, *others, **attributes)

    def less_than(self, number: Any) -> Expression:
        """number - this."""
        edge = self.w.op("Sub", self.w.number(number, self.dtype), self.edge)
        return Expression(self.w, edge, self.dtype)


def where(condition: Expression, yes: Any, no: Any, dtype: str) -> Expression:
    """yes where the condition holds, else no; numbers are constants of `dtype`."""
    w = condition.w
    yes, no = (v.edge if isinstance(v, Expression) else w.number(v, dtype) for v in (yes, no))
    return Expression(w, w.op("Where", condition.edge, yes, no), dtype)


Formula = Callable[..., Expression]
"""(constants, x, y, ...) -> the result."""
FORMULAS: dict[str, Formula] = {}


def formula(function: Formula) -> Formula:
    """Registers a function under its own name."""
    FORMULAS[function.__name__.rstrip("_")] = function
    return function


def translate(w: Writer, op: Elementwise, step: Step) -> None:
    """The nodes of one elementwise operation."""
    out = step.outputs[0]
    dtype = w.dtype(out)
    operands = [Expression(w, w.name(v), w.dtype(v)) for v in step.inputs]
    if op.function in ARITHMETIC:
        if dtype == "bool":
            raise w.refuse("arithmetic of truth values")
        operands = [x if x.dtype == dtype else Expression(w, w.cast(x.edge, dtype), dtype) for x in operands]
    attributes = _attributes(op.function, op.constants)
    if attributes is not None:
        kind, values = attributes
        w.result(out, kind, operands[0].edge, **values)
    elif op.function == "relu" and "int" in dtype:
        w.result(out, "Clip", operands[0].edge, w.number(0, dtype))
    elif op.function == "clamp":
        limits = ["" if c is None else w.number(c, dtype) for c in op.constants]
        w.result(out, "Clip", operands[0].edge, *limits)
    elif op.function in DIRECT:
        w.result(out, DIRECT[op.function], *(x.edge for x in operands))
    elif op.function in ("add", "sub"):
        x, y = operands
        (factor,) = op.constants or (1,)
        kind = "Add" if op.function == "add" else "Sub"
        w.result(out, kind, x.edge, (y if factor == 1 else y * factor).edge)
    elif op.function in ("equal", "not_equal"):
        same = operands[0].equals(op.constants[0])
        same = same if op.function == "equal" else same.apply("Not")
        w.result(out, "Cast", same.edge, to=KINDS[dtype])
    elif op.function in FORMULAS:
        result = FORMULAS[op.function](op.constants, *operands)
        w.settle(out, result.edge if result.dtype == dtype else w.cast(result.edge, dtype))
    else:
        raise w.refuse(f"function {op.function}")


def _attributes(function: str, c: Sequence[Any]) -> tuple[str, dict[str, Any]] | None:
    """Functions that are one node with attributes."""
    if function == "leaky_relu":
        return "LeakyRelu", {"alpha": float(c[0])}
    if function == "gelu":
        return "Gelu", {"approximate": c[0]}
    if function == "hardsigmoid":
        return "HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}
    if function == "hardshrink":
        return "Shrink", {"lambd": float(c[0]), "bias": 0.0}
    if function == "softshrink":
        return "Shrink", {"lambd": float(c[0]), "bias": float(c[0])}
    if function == "elu" and c[2] == 1:
        alpha, scale = float(c[0]), float(c[1])
        return ("Elu", {"alpha": alpha}) if scale == 1 else ("Selu", {"alpha": alpha, "gamma": scale})
    return None


# --- formulas ---------------------------------------------------------------------------------------


@formula
def div(c: Any, x: Expression, y: Expression) -> Expression:
    """x / y."""
    return x / y


@formula
def div_floor(c: Any, x: Expression, y: Expression) -> Expression:
    """floor(x / y); ONNX divides integers towards zero, its remainder has the divisor's sign."""
    if "int" in x.dtype:
        return (x - x.apply("Mod", y)) / y
    return (x / y).apply("Floor")


@formula
def div_trunc(c: Any, x: Expression, y: Expression) -> Expression:
    """x / y towards zero."""
    quotient = x / y
    return quotient if "int" in x.dtype else quotient.apply("Sign") * quotient.apply("Abs").apply("Floor")


@formula
def square(c: Any, x: Expression) -> Expression:
    """x * x."""
    return x * x


@formula
def scale(c: Any, x: Expression) -> Expression:
    """a * x + b."""
    product = x if c[0] == 1 else x * c[0]
    return product if c[1] == 0 else product + c[1]


@formula
def elu(c: Any, x: Expression) -> Expression:
    """b * (x or a * (exp(c x) - 1))."""
    below = ((x * c[2]).apply("Exp") - 1) * (c[0] * c[1])
    return where(x > 0, x * c[1], below, x.dtype)


@formula
def silu(c: Any, x: Expression) -> Expression:
    """x * sigmoid(x)."""
    return x * x.apply("Sigmoid")


@formula
def softplus(c: Any, x: Expression) -> Expression:
    """log(1 + exp(a x)) / a; above the threshold x, from which it differs by less than a rounding at 20."""
    inner = x if c[0] == 1 else x * c[0]
    soft = inner.apply("Softplus")
    soft = soft if c[0] == 1 else soft / c[0]
    return soft if c[1] >= 20 else where(inner > c[1], x, soft, x.dtype)


@formula
def tanhshrink(c: Any, x: Expression) -> Expression:
    """x - tanh(x)."""
    return x - x.apply("Tanh")


@formula
def threshold(c: Any, x: Expression) -> Expression:
    """b up to a, else x: NaN stays."""
    return where(x.apply("LessOrEqual", c[0]), c[1], x, x.dtype)


@formula
def log_sigmoid(c: Any, x: Expression) -> Expression:
    """-softplus(-x)."""
    return -(-x).apply("Softplus")


@formula
def log1p(c: Any, x: Expression) -> Expression:
    """log(1 + x)."""
    return (x + 1).apply("Log")


@formula
def rsqrt(c: Any, x: Expression) -> Expression:
    """1 / sqrt(x)."""
    return x.apply("Sqrt").apply("Reciprocal")


@formula
def bce(c: Any, x: Expression, y: Expression) -> Expression:
    """-(y max(log x, -100) + (1 - y) max(log(1 - x), -100))."""
    hit = x.apply("Log").apply("Max", -100)
    miss = x.less_than(1).apply("Log").apply("Max", -100)
    return -(y * hit + y.less_than(1) * miss)


@formula
def bce_with_logits(c: Any, x: Expression, y: Expression, z: Expression | None = None) -> Expression:
    """(1 - y) x + (1 + (z - 1) y) softplus(-x)."""
    soft = (-x).apply("Softplus")
    return y.less_than(1) * x + (soft if z is None else ((z - 1) * y + 1) * soft)


@formula
def squared_error(c: Any, x: Expression, y: Expression) -> Expression:
    """(x - y)**2."""
    gap = x - y
    return gap * gap


@formula
def absolute_error(c: Any, x: Expression, y: Expression) -> Expression:
    """|x - y|."""
    return (x - y).apply("Abs")


@formula
def smooth_l1(c: Any, x: Expression, y: Expression) -> Expression:
    """d**2 / 2a below a, d - a/2 above it; a = 0: d."""
    gap = absolute_error(c, x, y)
    return gap if c[0] == 0 else where(gap < c[0], gap * gap * (0.5 / c[0]), gap - 0.5 * c[0], x.dtype)


@formula
def huber(c: Any, x: Expression, y: Expression) -> Expression:
    """d**2 / 2 up to a, a (d - a/2) above it."""
    gap = absolute_error(c, x, y)
    return where(gap > c[0], (gap - 0.5 * c[0]) * c[0], gap * gap * 0.5, x.dtype)


@formula
def kl_div(c: Any, x: Expression, y: Expression) -> Expression:
    """y (log y - x), 0 where y is 0; with a logarithmic target exp(y) (y - x)."""
    if c and c[0]:
        return y.apply("Exp") * (y - x)
    return where(y.equals(0), 0, y * (y.apply("Log") - x), y.dtype)


@formula
def xlogy(c: Any, x: Expression, y: Expression) -> Expression:
    """x log y, 0 where x is 0."""
    return where(x.equals(0), 0, x * y.apply("Log"), x.dtype)


@formula
def select(c: Any, x: Expression, y: Expression, z: Expression | None = None) -> Expression:
    """y where x is not 0, else z."""
    chosen = Expression(x.w, x.edge if x.dtype == "bool" else x.w.cast(x.edge, "bool"), "bool")
    return where(chosen, y, c[0] if z is None else z, y.dtype)
