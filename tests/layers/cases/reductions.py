"""sum, prod, mean, amax, amin, argmax."""

from typing import Any

from tests.layers.oracle import Arg, Case, Rejection


def _run(case: Any, tensors: list[Any]) -> Any:
    import torch

    options = {k: tuple(v) if isinstance(v, list) else v for k, v in case.parameters.items()}
    if "dtype" in options:
        options["dtype"] = getattr(torch, options["dtype"])
    if case.type in ("sum", "mean"):
        options.setdefault("dim", None)
    return getattr(torch, case.type)(tensors[0], **options)


_SEVERAL = ("sum", "mean", "amax", "amin")
TORCH = dict.fromkeys((*_SEVERAL, "prod", "argmax"), _run)
_X = Arg((2, 3, 4))
_SPECIAL = Arg(
    values=[[1.0, float("nan"), 3.0, float("nan")], [float("inf"), 2.0, float("inf"), float("-inf")]]
)

CASES = [
    *(
        Case(name, parameters, (_X,))
        for name in TORCH
        for parameters in ({}, {"dim": 0}, {"dim": -1}, {"dim": 1, "keepdim": True})
    ),
    *(
        Case(name, parameters, (_X,))
        for name in _SEVERAL
        for parameters in (
            {"dim": [0, 2]},
            {"dim": [-1, 0], "keepdim": True},
            {"dim": []},
            {"dim": [1]},
            {"keepdim": True},
        )
    ),
    *(Case(name, parameters, (Arg(()),)) for name in TORCH for parameters in ({}, {"dim": 0}, {"dim": -1})),
    *(Case(name, {"dim": 1}, (_SPECIAL,)) for name in TORCH),
    *(Case(name, {"dim": 1}, (Arg((0, 3)),)) for name in TORCH),
    *(Case(name, {}, (Arg((4, 5), kind="ties"),)) for name in TORCH),
    *(Case(name, {"dim": 0}, (Arg((4, 5), kind="ties"),)) for name in TORCH),
    *(Case(name, {"dim": 0}, (Arg((3, 2), "float64"),), dtype="float64", tolerance=1e-12) for name in TORCH),
    *(Case(name, {"dim": 0}, (Arg((3, 2), "float16"),), dtype="float16", tolerance=3e-3) for name in TORCH),
    *(
        Case(name, {}, (Arg((3, 2), dtype),))
        for name in TORCH
        if name != "mean"
        for dtype in ("int64", "int32", "uint8")
    ),
    *(Case(name, {}, (Arg((3, 2), "bool"),)) for name in ("sum", "prod", "amax", "amin")),
    *(Case(name, {"dim": 1}, (Arg((3, 2), "complex64"),)) for name in ("sum", "mean", "prod")),
    *(Case(name, {}, (Arg((0, 3)),)) for name in ("sum", "mean", "prod")),
    *(Case(name, {"dim": 0}, (Arg((0, 3)),)) for name in ("sum", "mean", "prod")),
    Case("argmax", {"keepdim": True}, (_X,)),
    Case("argmax", {"dim": 0}, (Arg((3, 0)),)),
    Case("sum", {"dtype": "float64"}, (_X,)),
    Case("sum", {"dim": 0, "dtype": "int64"}, (_X,)),
    Case("sum", {"dtype": "int32"}, (Arg((4,), "bool"),)),
    Case("mean", {"dtype": "float32"}, (Arg((5,), "int64"),)),
    Case("mean", {"dtype": "float64"}, (Arg((5,), "bool"),)),
    Case("prod", {"dtype": "float32"}, (Arg((5,), "int64"),)),
    Case("sum", {"dim": [2, 3]}, (Arg((1, 2, 9, 9)),)),
]

REJECTIONS = [
    *(Rejection(name, {"dim": 2}, code="axis-out-of-range", parameter="dim") for name in TORCH),
    *(Rejection(name, {"dim": 1}, (Arg(()),), code="axis-out-of-range", parameter="dim") for name in TORCH),
    *(Rejection(name, {"dim": [0, 0]}, code="wrong-axes", parameter="dim") for name in _SEVERAL),
    *(Rejection(name, {"dim": [0, -2]}, code="wrong-axes", parameter="dim") for name in _SEVERAL),
    *(Rejection(name, {"dim": [0]}, code="wrong-type", parameter="dim") for name in ("prod", "argmax")),
    *(Rejection("mean", {}, (Arg((3,), dtype),), code="wrong-dtype") for dtype in ("int64", "bool")),
    Rejection("mean", {"dtype": "int64"}, code="wrong-dtype", parameter="dtype"),
    Rejection("prod", {"keepdim": True}, code="missing-key", parameter="keepdim"),
    *(Rejection(name, {}, (Arg((0, 3)),), code="empty-axis") for name in ("amax", "amin", "argmax")),
    *(Rejection(name, {"dim": 0}, (Arg((0, 3)),), code="empty-axis") for name in ("amax", "amin", "argmax")),
    *(
        Rejection(name, {}, (Arg((3,), "complex64"),), code="wrong-dtype")
        for name in ("amax", "amin", "argmax")
    ),
    Rejection("argmax", {}, (Arg((3,), "bool"),), code="wrong-dtype"),
    Rejection("sum", {"dtype": "real"}, code="unknown-value", parameter="dtype"),
]
