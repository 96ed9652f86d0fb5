"""Functions of each element, softmax, detach."""

from typing import Any

from tests.layers.oracle import Arg, Case, Rejection

_TORCH = ("exp", "log", "sqrt", "rsqrt", "sin", "cos", "sigmoid", "tanh", "neg", "square", "abs", "clamp")
_FUNCTIONAL = (
    "relu",
    "leaky_relu",
    "elu",
    "gelu",
    "silu",
    "hardswish",
    "hardsigmoid",
    "softplus",
    "softmax",
    "log_softmax",
)


def _run(case: Any, tensors: list[Any]) -> Any:
    import torch

    if case.type == "detach":
        return tensors[0].detach()
    owner = torch if case.type in _TORCH else torch.nn.functional
    options = dict(case.parameters)
    if "dtype" in options:
        options["dtype"] = getattr(torch, options["dtype"])
    return getattr(owner, case.type)(tensors[0], **options)


TORCH = dict.fromkeys((*_TORCH, *_FUNCTIONAL, "detach"), _run)

_PLAIN = tuple(name for name in TORCH if name != "clamp" and "softmax" not in name)
_TO_FLOAT = ("exp", "log", "sqrt", "rsqrt", "sin", "cos", "sigmoid", "tanh")
_REAL = ("leaky_relu", "elu", "gelu", "silu", "hardswish", "hardsigmoid", "softplus")
_EDGE = Arg(values=[0.0, -0.0, 1e-30, -1e-30, 100.0, -100.0, 20.0, 25.0, -25.0, 3.0, -3.0, 2.9])

CASES = [
    *(Case(name) for name in _PLAIN),
    *(Case(name, {}, (_EDGE,)) for name in _PLAIN),
    # torch's gelu of an infinity depends on the instructions that the machine has
    *(Case(name, {}, (Arg((3, 4), kind="special"),)) for name in _PLAIN if name != "gelu"),
    Case("gelu", {}, (Arg(values=[float("nan"), 1.0]),), label="NaN"),
    *(Case(name, {}, (Arg(()),)) for name in _PLAIN),
    *(Case(name, {}, (Arg((0, 3)),)) for name in _PLAIN),
    *(Case(name, {}, (Arg((4,), "float64"),), dtype="float64", tolerance=1e-10) for name in _PLAIN),
    *(Case(name, {}, (Arg((4,), "float16"),), dtype="float16", tolerance=3e-3) for name in _PLAIN),
    *(Case(name, {}, (Arg((4,), dtype),)) for name in _TO_FLOAT for dtype in ("int64", "uint8", "bool")),
    *(
        Case(name, {}, (Arg((4,), "complex64"),))
        for name in (*_TO_FLOAT, "neg", "square", "abs", "silu", "detach")
    ),
    *(
        Case(name, {}, (Arg(values=[3, -4, 0, -128], dtype="int8"),))
        for name in ("neg", "square", "abs", "relu", "detach")
    ),
    *(Case(name, {}, (Arg((3,), "uint8"),)) for name in ("neg", "square", "abs", "relu")),
    Case("square", {}, (Arg((3,), "bool"),)),
    Case("detach", {}, (Arg((3,), "bool"),)),
    Case("leaky_relu", {"negative_slope": 0.2}),
    Case("leaky_relu", {"negative_slope": 2.0}),
    Case("leaky_relu", {"negative_slope": -0.5}),
    Case("elu", {"alpha": 0.5}),
    Case("elu", {"alpha": -1.0}),
    Case("gelu", {"approximate": "tanh"}),
    Case("gelu", {"approximate": "tanh"}, (_EDGE,)),
    Case("softplus", {"beta": 2, "threshold": 1}),
    Case("softplus", {"beta": -1.0}),
    Case("softplus", {"threshold": -5.0}),
    Case("relu", {"inplace": True}),
    Case("clamp", {"min": 0}),
    Case("clamp", {"max": 0.5}),
    Case("clamp", {"min": -0.5, "max": 0.5}, (Arg((3, 4), kind="special"),)),
    Case("clamp", {"min": 2, "max": 1}),
    Case("clamp", {"min": float("nan")}),
    Case("clamp", {"min": 1}, (Arg((4,), "int64"),)),
    Case("clamp", {"min": 1.5}, (Arg((4,), "int64"),)),
    Case("clamp", {"min": 1, "max": 2.5}, (Arg((4,), "int32"),)),
    Case("clamp", {"min": -1}, (Arg((4,), "uint8"),)),
    Case("clamp", {"min": 0, "max": 1}, (Arg((4,), "bool"),)),
    Case("clamp", {"min": 0.5}, (Arg((4,), "bool"),)),
    Case("clamp", {"min": True}),
    *(
        case
        for name in ("softmax", "log_softmax")
        for case in (
            Case(name, {"dim": 1}),
            Case(name, {"dim": -2}, (Arg((2, 3, 4)),)),
            Case(name, {"dim": 0}, (Arg(()),)),
            Case(name, {"dim": -1}, (Arg(()),)),
            Case(name, {"dim": 1}, (Arg((2, 0)),)),
            Case(name, {"dim": 0}, (Arg((0, 3)),)),
            Case(name, {}, (Arg((3,)),)),
            Case(name, {}, (Arg((2, 3)),)),
            Case(name, {}, (Arg((2, 3, 2)),)),
            Case(name, {}, (Arg((2, 3, 2, 1)),)),
            Case(name, {"dim": 1}, (Arg((3, 5), kind="special"),)),
            Case(name, {"dim": 0}, (Arg(values=[1000.0, 0.0, -1000.0, 999.0]),), label="large"),
            Case(name, {"dim": 0}, (Arg(values=[float("-inf"), 0.0, 1.0]),), label="infinite"),
            Case(name, {"dim": 0}, (Arg(values=[float("-inf"), float("-inf")]),), label="all infinite"),
            Case(name, {"dim": 0, "dtype": "float32"}, (Arg((4,), "int64"),)),
            Case(name, {"dim": 0, "dtype": "float64"}, (Arg((4,)),)),
            Case(name, {"dim": 1}, (Arg((2, 3), "float64"),), dtype="float64", tolerance=1e-12),
            Case(name, {"dim": 1}, (Arg((2, 3), "float16"),), dtype="float16", tolerance=3e-3),
        )
    ),
]

REJECTIONS = [
    *(
        Rejection(name, {}, (Arg((3,), dtype),), code="wrong-dtype")
        for name in _REAL
        for dtype in ("int64", "bool")
    ),
    *(
        Rejection(name, {}, (Arg((3,), "complex64"),), code="wrong-dtype")
        for name in (*_REAL, "relu")
        if name != "silu"
    ),
    *(Rejection(name, {}, (Arg((3,), "bool"),), code="wrong-dtype") for name in ("relu", "neg", "abs")),
    Rejection("gelu", {"approximate": "erf"}, code="unknown-value", parameter="approximate"),
    Rejection("leaky_relu", {"negative_slope": "steep"}, code="wrong-type", parameter="negative_slope"),
    Rejection("relu", {"alpha": 1}, code="unknown-key"),
    Rejection("clamp", {}, code="missing-key"),
    Rejection("clamp", {"min": 0}, (Arg((3,), "complex64"),), code="wrong-dtype"),
    Rejection("clamp", {"min": True}, (Arg((3,), "bool"),), code="wrong-dtype"),
    Rejection("clamp", {"max": 300}, (Arg((3,), "uint8"),), code="out-of-range", parameter="max"),
    Rejection("clamp", {"min": "low"}, code="wrong-type", parameter="min"),
    *(
        rejection
        for name in ("softmax", "log_softmax")
        for rejection in (
            Rejection(name, {"dim": 2}, code="axis-out-of-range", parameter="dim"),
            Rejection(name, {"dim": -3}, code="axis-out-of-range", parameter="dim"),
            Rejection(name, {"dim": 1}, (Arg(()),), code="axis-out-of-range", parameter="dim"),
            Rejection(name, {"dim": 0}, (Arg((3,), "int64"),), code="wrong-dtype"),
            Rejection(name, {"dim": 0}, (Arg((3,), "complex64"),), code="wrong-dtype"),
            Rejection(name, {"dim": 0, "dtype": "int64"}, code="wrong-dtype", parameter="dtype"),
        )
    ),
]
