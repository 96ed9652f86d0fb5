"""Activations, Softmax and its relatives."""

from typing import Any

from tests.layers.oracle import Arg, Case, Rejection

# both sides of every threshold, and far enough to overflow a naive formula
EDGES = Arg(
    values=[-1000.0, -25.0, -3.0, -1.0, -0.5, -0.25, -0.0, 0.0, 0.25, 0.5, 1.0, 3.0, 6.0, 25.0, 1000.0]
)
SPECIAL = Arg((4, 5), kind="special")
HALF = Arg((3, 5), "float16")
DOUBLE = Arg((3, 5), "float64")
COMPLEX = Arg((3, 5), "complex64")
INTEGERS = Arg((3, 5), "int64", high=9)

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "ReLU": [{}, {"inplace": True}],
    "LeakyReLU": [{}, {"negative_slope": 0.2}, {"negative_slope": 2.0}, {"negative_slope": -1.0}],
    "ReLU6": [{}],
    "RReLU": [{}, {"lower": 0.1, "upper": 0.3}, {"lower": -0.5, "upper": -0.5}, {"lower": 1, "upper": 2}],
    "ELU": [{}, {"alpha": 0.5}, {"alpha": -1.0}, {"alpha": 0.0}],
    "CELU": [{}, {"alpha": 0.5}, {"alpha": -2.0}],
    "SELU": [{}],
    "GELU": [{}, {"approximate": "tanh"}],
    "SiLU": [{}],
    "Mish": [{}],
    "Hardswish": [{}],
    "Hardsigmoid": [{}],
    "Hardtanh": [{}, {"min_val": -2.0, "max_val": 0.5}, {"min_val": 1, "max_val": 2}],
    "Softplus": [{}, {"beta": 2.0}, {"beta": 0.5, "threshold": 1.0}, {"threshold": -20.0}],
    "Softsign": [{}],
    "Tanhshrink": [{}],
    "Hardshrink": [{}, {"lambd": 0.25}, {"lambd": -1.0}],
    "Softshrink": [{}, {"lambd": 0.0}, {"lambd": 1.0}],
    "Threshold": [{"threshold": 0.25, "value": 20.0}, {"threshold": -1, "value": -7, "inplace": True}],
    "LogSigmoid": [{}],
    "Sigmoid": [{}],
    "Tanh": [{}],
}
CASES = [
    Case(name, parameters, (arg,), dtype=dtype, tolerance=2e-3 if dtype == "float16" else 2e-5, label=label)
    for name, variants in VARIANTS.items()
    for number, parameters in enumerate(variants)
    for label, arg, dtype in [
        ("", Arg((2, 2, 3)), "float32"),
        ("edges", EDGES, "float32"),
        *(
            [
                # torch's vectorised erf makes NaN of gelu(inf), its scalar and float64 ones inf
                ("", Arg((4, 5), kind="ties") if name == "GELU" else SPECIAL, "float32"),
                ("", Arg(()), "float32"),
                ("", Arg((0, 3)), "float32"),
                ("", HALF, "float16"),
                ("", DOUBLE, "float64"),
            ]
            if number == 0
            else []
        ),
    ]
]
CASES += [
    Case(name, {}, (Arg((3, 5), dtype, high=9),))
    for name in ("ReLU", "ReLU6", "Softsign", "Tanhshrink", "Sigmoid", "Tanh")
    for dtype in ("int64", "uint8", "int16")
]
CASES += [
    Case("Hardtanh", {"min_val": 1.5, "max_val": 3.5}, (INTEGERS,)),
    Case("Hardtanh", {"min_val": 1.5, "max_val": 3.5}, (Arg((3, 5), "uint8"),)),
    Case("Hardtanh", {}, (Arg((3, 5), "int32"),)),
    Case("Threshold", {"threshold": 4.5, "value": 1.5}, (INTEGERS,)),
    Case("Sigmoid", {}, (Arg((3, 5), "bool"),)),
    Case("Tanh", {}, (Arg((3, 5), "bool"),)),
    *(
        Case(name, {}, (COMPLEX,), dtype="complex64")
        for name in ("SiLU", "Softsign", "Tanhshrink", "Sigmoid", "Tanh")
    ),
    # PReLU: channels are always axis 1
    Case("PReLU", {}, (Arg((2, 3, 4)),)),
    Case("PReLU", {"init": 0.1}, (EDGES,)),
    Case("PReLU", {}, (SPECIAL,)),
    Case("PReLU", {}, (Arg(()),)),
    Case("PReLU", {}, (Arg((0, 3)),)),
    Case("PReLU", {"num_parameters": 3}, (Arg((2, 3)),)),
    Case("PReLU", {"num_parameters": 3, "init": 0.5}, (Arg((2, 3, 4)),)),
    Case("PReLU", {"num_parameters": 3}, (Arg((2, 3, 2, 2)),)),
    Case("PReLU", {"num_parameters": 3}, (Arg((3, 3, 2)),)),
    Case("PReLU", {"num_parameters": 3}, (Arg((0, 3, 2)),)),
    Case("PReLU", {"num_parameters": 3}, (Arg((2, 3, 0)),)),
    Case("PReLU", {"num_parameters": 3}, (Arg((2, 3, 4), "float64"),), dtype="float64"),
    Case("PReLU", {"num_parameters": 3}, (Arg((2, 3, 4), "float16"),), dtype="float16", tolerance=2e-3),
    # RReLU in training draws a slope, unless there is only one
    Case("RReLU", {"lower": 0.25, "upper": 0.25}, (Arg((3, 4)),), mode="train"),
    Case("RReLU", {"lower": 0.25, "upper": 0.25}, (SPECIAL,), mode="train"),
    Case("GLU", {}, (Arg((2, 3, 4)),)),
    Case("GLU", {"dim": 0}, (Arg((2, 3, 4)),)),
    Case("GLU", {"dim": -3}, (Arg((4, 3, 4)),)),
    Case("GLU", {}, (Arg((6,)),)),
    Case("GLU", {"dim": 1}, (Arg((2, 0)),)),
    Case("GLU", {"dim": 1}, (Arg((0, 4)),)),
    Case("GLU", {}, (Arg((2, 4), "float64"),), dtype="float64"),
    Case("GLU", {}, (Arg((2, 4), "float16"),), dtype="float16", tolerance=2e-3),
    Case("GLU", {}, (Arg((3, 4), kind="special"),)),
    *(
        Case(name, parameters, (arg,), label=label)
        for name in ("Softmax", "LogSoftmax", "Softmin")
        for parameters, arg, label in [
            ({"dim": 1}, Arg((2, 3, 4)), ""),
            ({"dim": -1}, Arg((2, 3, 4)), ""),
            ({"dim": 0}, Arg((2, 3, 4)), ""),
            ({"dim": 0}, Arg((5,)), ""),
            ({"dim": 0}, Arg(()), ""),
            ({"dim": -1}, Arg(()), ""),
            ({"dim": 1}, Arg((2, 0)), ""),
            ({"dim": 1}, Arg((0, 3)), ""),
            ({}, Arg(()), ""),
            ({}, Arg((4,)), ""),
            ({}, Arg((2, 4)), ""),
            ({}, Arg((2, 3, 4)), ""),
            ({}, Arg((2, 3, 2, 2)), ""),
            ({"dim": 1}, Arg(values=[[1000.0, 999.0, -1000.0], [-1e30, 0.0, 1e30]]), "large"),
            ({"dim": 1}, Arg((4, 5), kind="special"), ""),
            ({"dim": 1}, Arg(values=[[-float("inf"), 0.0], [-float("inf"), -float("inf")]]), "infinite"),
        ]
    ),
    *(
        Case(name, {"dim": 1}, (Arg((3, 4), dtype),), dtype=dtype, tolerance=2e-3 if "16" in dtype else 2e-5)
        for name in ("Softmax", "LogSoftmax", "Softmin")
        for dtype in ("float16", "float64")
    ),
    Case("Softmax2d", {}, (Arg((2, 3, 2, 2)),)),
    Case("Softmax2d", {}, (Arg((3, 2, 2)),)),
    Case("Softmax2d", {}, (Arg((0, 3, 2, 2)),)),
    Case("Threshold", {"threshold": -3, "value": 3}, (Arg((5,), "uint8"),), label="wraps around"),
    Case("Threshold", {"threshold": 5, "value": -3}, (Arg((5,), "uint8"),), label="wraps around"),
]

REAL_ONLY = (
    "LeakyReLU",
    "RReLU",
    "ELU",
    "CELU",
    "SELU",
    "GELU",
    "Mish",
    "Hardswish",
    "Hardsigmoid",
    "Softplus",
    "Hardshrink",
    "Softshrink",
    "LogSigmoid",
    "GLU",
    "Softmax",
    "LogSoftmax",
    "Softmin",
)
REJECTIONS = [
    *(
        Rejection(name, {}, (Arg((2, 4), dtype),), code="wrong-dtype")
        for name in REAL_ONLY
        for dtype in ("int64", "bool")
    ),
    *(
        Rejection(name, {}, (Arg((2, 4), "complex64"),), code="wrong-dtype")
        for name in (*REAL_ONLY, "ReLU", "ReLU6", "Hardtanh", "PReLU")
    ),
    *(
        Rejection(name, {}, (Arg((2, 4), "bool"),), code="wrong-dtype")
        for name in ("ReLU", "ReLU6", "Hardtanh", "Softsign", "Tanhshrink", "PReLU")
    ),
    Rejection("Softmax2d", {}, (Arg((1, 3, 2, 2), "int64"),), code="wrong-dtype"),
    Rejection("Hardtanh", {"min_val": -1.0}, (Arg((3,), "uint8"),), code="wrong-dtype", parameter="min_val"),
    Rejection("Hardtanh", {"min_val": 1, "max_val": 1}, code="out-of-range", parameter="max_val"),
    Rejection("Hardtanh", {"min_val": 2, "max_val": 1}, code="out-of-range", parameter="max_val"),
    Rejection("Hardtanh", {"min_val": "low"}, code="wrong-type", parameter="min_val"),
    Rejection("CELU", {"alpha": 0.0}, code="out-of-range", parameter="alpha"),
    Rejection("ELU", {"alpha": "one"}, code="wrong-type", parameter="alpha"),
    Rejection("GELU", {"approximate": "erf"}, code="unknown-value", parameter="approximate"),
    Rejection("Softshrink", {"lambd": -1.0}, code="out-of-range", parameter="lambd"),
    Rejection("Softshrink", {"lambd": float("nan")}, code="out-of-range", parameter="lambd"),
    Rejection("Softshrink", {"lambd": float("inf")}, code="out-of-range", parameter="lambd"),
    Rejection("Threshold", {"threshold": 1.0}, code="missing-parameter", parameter="value"),
    Rejection("Threshold", {}, code="missing-parameter", parameter="threshold"),
    Rejection("RReLU", {"lower": 0.5, "upper": 0.2}, code="out-of-range", parameter="lower"),
    Rejection("RReLU", {"lower": 0.5, "upper": float("inf")}, code="out-of-range", parameter="upper"),
    Rejection("RReLU", {"lower": float("nan")}, code="out-of-range", parameter="lower"),
    Rejection("PReLU", {"num_parameters": -1}, code="out-of-range", parameter="num_parameters"),
    Rejection(
        "PReLU", {"num_parameters": 3}, (Arg((2, 4)),), code="channel-mismatch", parameter="num_parameters"
    ),
    Rejection(
        "PReLU", {"num_parameters": 3}, (Arg((3,)),), code="channel-mismatch", parameter="num_parameters"
    ),
    Rejection("PReLU", {"num_parameters": 3}, (Arg(()),), code="wrong-rank", parameter="num_parameters"),
    Rejection("GLU", {}, (Arg((2, 3)),), code="not-divisible"),
    Rejection("GLU", {"dim": 0}, (Arg((3, 2)),), code="not-divisible", parameter="dim"),
    Rejection("GLU", {"dim": 5}, (Arg((2, 4)),), code="axis-out-of-range", parameter="dim"),
    Rejection("GLU", {}, (Arg(()),), code="wrong-rank"),
    *(
        Rejection(name, {"dim": dim}, (Arg(shape),), code="axis-out-of-range", parameter="dim")
        for name in ("Softmax", "LogSoftmax", "Softmin")
        for dim, shape in [(2, (2, 3)), (-3, (2, 3)), (1, ())]
    ),
    Rejection("Softmax", {"dim": 1.5}, (Arg((2, 3)),), code="wrong-type", parameter="dim"),
    Rejection("Softmax2d", {}, (Arg((3, 2)),), code="wrong-rank"),
    Rejection("Softmax2d", {}, (Arg((1, 1, 3, 2, 2)),), code="wrong-rank"),
    Rejection("Hardtanh", {"max_val": 300}, (Arg((3,), "int8"),), code="out-of-range", parameter="max_val"),
    Rejection(
        "Hardtanh", {"min_val": -1e30}, (Arg((3,), "int64"),), code="out-of-range", parameter="min_val"
    ),
    Rejection(
        "Threshold",
        {"threshold": 300, "value": 0},
        (Arg((3,), "int8"),),
        code="out-of-range",
        parameter="threshold",
    ),
    Rejection(
        "Threshold",
        {"threshold": 1, "value": -3.7},
        (Arg((3,), "uint8"),),
        code="out-of-range",
        parameter="value",
    ),
]
