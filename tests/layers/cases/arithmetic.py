"""add, sub, mul, div, pow, maximum, minimum."""

from typing import Any

from tests.layers.oracle import Arg, Case, Rejection


def _binary(name: str) -> Any:
    def run(case: Any, tensors: list[Any]) -> Any:
        import torch

        options = dict(case.parameters)
        number = options.pop("other", options.pop("exponent", None))
        operands = [*tensors, *([] if number is None else [number])]
        if name in ("maximum", "minimum") and number is not None:
            # torch takes a tensor only: a number is a 0-d tensor of a kind that does not promote
            limit = {"maximum": "min", "minimum": "max"}[name]
            return torch.clamp(tensors[0], **{limit: number})
        return getattr(torch, name)(*operands, **options)

    return run


TORCH = {name: _binary(name) for name in ("add", "sub", "mul", "div", "pow", "maximum", "minimum")}

_AB = (Arg((2, 3)), Arg((2, 3)))
_BROADCAST = (
    (Arg((2, 3)), Arg((3,))),
    (Arg((4, 1, 3)), Arg((2, 1))),
    (Arg((2, 3)), Arg(())),
    (Arg((0, 3)), Arg((1, 3))),
    (Arg((1,)), Arg((0,))),
)
_INTS = (Arg(values=[7, -7, 3, -128, 0], dtype="int8"), Arg(values=[2, 2, -2, 5, 3], dtype="int8"))
_EDGES = (
    Arg(values=[1.0, -1.0, 0.0, float("inf"), float("nan"), 5.5, -5.5, 6.0]),
    Arg(values=[0.0, 0.0, 0.0, 2.0, 1.0, 2.0, 2.0, -4.0]),
)
_PROMOTED = (
    (Arg((3,)), Arg((3,), "int64")),
    (Arg((3,), "bool"), Arg((3,), "int32")),
    (Arg((3,), "uint8"), Arg((3,), "int8")),
    (Arg((3,), "complex64"), Arg((3,))),
    (Arg((3,), "int32"), Arg((), "int64")),
    (Arg((3,), "int32"), Arg(())),
)

CASES = [
    *(Case(name, {}, _AB) for name in TORCH),
    *(Case(name, {}, inputs) for name in ("add", "mul", "maximum") for inputs in _BROADCAST),
    *(Case(name, {}, inputs) for name in ("add", "mul", "div") for inputs in _PROMOTED),
    *(
        Case(name, {}, inputs)
        for name in ("maximum",)
        for inputs in _PROMOTED
        if inputs[0].dtype != "complex64"
    ),
    *(
        Case(name, {}, (Arg((3,), "float16"), Arg((3,), "float16")), dtype="float16", tolerance=2e-3)
        for name in TORCH
        if name != "pow"
    ),
    *(
        Case(name, {}, (Arg((3,), "float64"), Arg((3,), "float64")), dtype="float64", tolerance=1e-12)
        for name in TORCH
        if name != "pow"
    ),
    *(Case(name, {}, _INTS) for name in TORCH if name != "pow"),
    *(Case(name, {}, _EDGES) for name in TORCH),
    *(Case(name, {}, (Arg((2, 3), kind="special"), Arg((2, 3)))) for name in TORCH),
    Case("add", {"alpha": 2}, _AB),
    Case("add", {"alpha": -0.5}, _AB),
    Case("add", {"alpha": 3}, _INTS),
    Case("add", {"alpha": -1}, (Arg((3,), "uint8"), Arg((3,), "uint8"))),
    Case("add", {"other": 2}),
    Case("add", {"other": 2.5, "alpha": 2}),
    Case("add", {"other": 2.5, "alpha": 0.5}, (Arg((3,), "int64"),)),
    Case("add", {"other": 2}, (Arg((3,), "int32"),)),
    Case("add", {"other": True}, (Arg((3,), "int32"),)),
    Case("add", {"other": True}, (Arg((3,), "bool"),)),
    Case("add", {"other": 2}, (Arg((3,), "bool"),)),
    Case("add", {"other": 300}, (Arg((3,), "uint8"),)),
    Case("add", {"other": -1}, (Arg((3,), "uint8"),)),
    Case("add", {"other": 1099511627776}, (Arg((3,), "int32"),)),
    Case("add", {"other": 1.5}, (Arg((3,), "complex64"),)),
    Case("add", {}, (Arg((4,), "bool"), Arg((4,), "bool"))),
    Case("add", {"alpha": True}, (Arg((4,), "bool"), Arg((4,), "bool"))),
    Case("add", {"alpha": -1}, (Arg((4,), "bool"), Arg((4,), "bool"))),
    Case("add", {"other": 1e6}, (Arg((3,), "float16"),), dtype="float16"),
    Case("sub", {"alpha": 2}, _AB),
    Case("sub", {"other": 3}),
    Case("sub", {"other": 3}, (Arg((3,), "uint8"),)),
    Case("sub", {"alpha": 2}, (Arg((3,), "uint8"), Arg((3,), "uint8"))),
    Case("mul", {"other": 2}),
    Case("mul", {"other": 2.5}, (Arg((3,), "int64"),)),
    Case("mul", {"other": 2}, (Arg((3,), "bool"),)),
    Case("mul", {}, (Arg((4,), "bool"), Arg((4,), "bool"))),
    Case("mul", {"other": 0}, (Arg((2, 3), kind="special"),)),
    Case("mul", {"other": 2}, (Arg(()),)),
    Case("div", {"other": 2}),
    Case("div", {"other": 2}, (Arg((3,), "int64"),)),
    Case("div", {"other": 0}, (Arg((3,), "int64"),)),
    Case("div", {}, (Arg((4,), "bool"), Arg(values=[True, True, False, True], dtype="bool"))),
    Case("div", {}, (Arg((3,), "complex64"), Arg((3,), "complex64"))),
    *(Case("div", {"rounding_mode": mode}, inputs) for mode in ("floor", "trunc") for inputs in (_AB, _INTS)),
    Case("div", {"rounding_mode": "floor"}, _EDGES),
    Case("div", {"rounding_mode": "trunc"}, _EDGES),
    Case("div", {"rounding_mode": "floor", "other": -2}, (Arg((5,), "int64"),)),
    Case("div", {"rounding_mode": "trunc", "other": -2}, (Arg(values=[7, -7, 0], dtype="int64"),)),
    Case("div", {"rounding_mode": "floor", "other": 2}, (Arg((3,), "bool"),)),
    Case("div", {"rounding_mode": "floor", "other": 0.0}, (Arg((3,), "int64"),)),
    Case("div", {"rounding_mode": "floor", "other": 300}, (Arg((3,), "uint8"),)),
    Case("pow", {"exponent": 2}),
    Case("pow", {"exponent": 3}),
    Case("pow", {"exponent": 0}, (Arg((2, 3), kind="special"),)),
    Case("pow", {"exponent": -1}),
    Case("pow", {"exponent": 0.5}, (Arg((2, 3), kind="special"),)),
    Case("pow", {"exponent": -0.5}, (Arg((3,), kind="positive"),)),
    Case("pow", {"exponent": 1.7}, (Arg((3,), kind="positive"),)),
    Case("pow", {"exponent": 2}, (Arg((3,), "int64"),)),
    Case("pow", {"exponent": 0}, (Arg((3,), "int64"),)),
    Case("pow", {"exponent": 2.0}, (Arg((3,), "int64"),)),
    Case("pow", {"exponent": -1.0}, (Arg(values=[3, -4, 1], dtype="int64"),)),
    Case("pow", {"exponent": 2}, (Arg((3,), "bool"),)),
    Case("pow", {"exponent": True}, (Arg((3,), "bool"),)),
    Case("pow", {"exponent": False}, (Arg((3,), "bool"),)),
    Case("pow", {"exponent": 2}, (Arg((3,), "complex64"),)),
    Case("pow", {"exponent": 0}, (Arg(values=[0j, 1j, 2.0], dtype="complex64"),)),
    Case(
        "pow",
        {},
        (Arg(values=[0j, 1j, 0j], dtype="complex64"), Arg(values=[0j, 0j, 2.0], dtype="complex64")),
        label="zero to the power zero",
    ),
    Case(
        "pow",
        {},
        (Arg(values=[1, -1, 2, 0, 3], dtype="int64"), Arg(values=[-1, -3, -2, -1, 4], dtype="int64")),
    ),
    Case("pow", {}, (Arg((3,), kind="positive"), Arg((3,), "int64"))),
    Case("pow", {}, (Arg((3,), "bool"), Arg((3,), "int64"))),
    Case("pow", {}, (Arg((2, 1), kind="positive"), Arg((3,)))),
    Case("maximum", {}, (Arg((3,), "bool"), Arg((3,), "bool"))),
    Case("minimum", {}, (Arg((3,), "int64"), Arg(()))),
    Case("maximum", {"other": 0.5}),
    Case("minimum", {"other": 0}),
    Case("maximum", {"other": 2.5}, (Arg((3,), "int64"),)),
    Case("minimum", {"other": 2}, (Arg((3,), "int32"),)),
]

_BAD = (Arg((2, 3)), Arg((2,)))
REJECTIONS = [
    *(Rejection(name, {}, _BAD, code="cannot-broadcast") for name in TORCH),
    Rejection("add", {}, (Arg((2, 1, 3)), Arg((4, 2, 2))), code="cannot-broadcast"),
    Rejection("add", {}, (Arg((0,)), Arg((3,))), code="cannot-broadcast"),
    *(Rejection(name, {}, (Arg((2, 3)),), code="missing-operand") for name in ("add", "mul", "pow")),
    Rejection("add", {"other": "two"}, (Arg((3,)),), code="wrong-type", parameter="other"),
    Rejection(
        "add", {"alpha": 2.5}, (Arg((3,), "int64"), Arg((3,), "int64")), code="wrong-alpha", parameter="alpha"
    ),
    Rejection("add", {"alpha": True}, (Arg((3,)), Arg((3,))), code="wrong-alpha", parameter="alpha"),
    Rejection(
        "add", {"alpha": 2.5}, (Arg((3,), "bool"), Arg((3,), "bool")), code="wrong-alpha", parameter="alpha"
    ),
    Rejection(
        "add",
        {"alpha": 300},
        (Arg((3,), "uint8"), Arg((3,), "uint8")),
        code="out-of-range",
        parameter="alpha",
    ),
    Rejection("add", {"alpah": 2}, _AB, code="unknown-key"),
    Rejection("sub", {}, (Arg((3,), "bool"), Arg((3,), "bool")), code="wrong-dtype"),
    Rejection("sub", {}, (Arg((3,)), Arg((3,), "bool")), code="wrong-dtype"),
    Rejection("sub", {"other": True}, (Arg((3,)),), code="wrong-dtype"),
    Rejection("div", {"rounding_mode": "round"}, _AB, code="unknown-value", parameter="rounding_mode"),
    Rejection("div", {"rounding_mode": "floor"}, (Arg((3,), "bool"), Arg((3,), "bool")), code="wrong-dtype"),
    Rejection("div", {"rounding_mode": "floor"}, (Arg((3,), "complex64"), Arg((3,))), code="wrong-dtype"),
    Rejection(
        "div",
        {"rounding_mode": "floor", "other": 0},
        (Arg((3,), "int64"),),
        code="division-by-zero",
        parameter="other",
    ),
    Rejection(
        "div",
        {"rounding_mode": "trunc", "other": 256},
        (Arg((3,), "uint8"),),
        code="division-by-zero",
        parameter="other",
    ),
    Rejection("pow", {"exponent": -1}, (Arg((3,), "int64"),), code="negative-power", parameter="exponent"),
    Rejection("pow", {"exponent": 300}, (Arg((3,), "uint8"),), code="out-of-range", parameter="exponent"),
    Rejection("pow", {}, (Arg((3,), "bool"), Arg((3,), "bool")), code="wrong-dtype"),
    Rejection("maximum", {}, (Arg((3,), "complex64"), Arg((3,), "complex64")), code="wrong-dtype"),
    Rejection("minimum", {}, (Arg((3,)), Arg((3,), "complex64")), code="wrong-dtype"),
]
