"""Linear, Identity."""

from tests.layers.oracle import Arg, Case, Rejection

CASES = [
    Case("Linear", {"in_features": 5, "out_features": 3}, (Arg((4, 5)),)),
    Case("Linear", {"in_features": 5, "out_features": 3, "bias": False}, (Arg((4, 5)),)),
    Case("Linear", {"in_features": 5, "out_features": 3}, (Arg((5,)),)),
    Case("Linear", {"in_features": 5, "out_features": 3}, (Arg((2, 3, 4, 5)),)),
    Case("Linear", {"in_features": 5, "out_features": 3}, (Arg((0, 5)),)),
    Case("Linear", {"in_features": 5, "out_features": 3}, (Arg((4, 5), "float64"),), dtype="float64"),
    Case("Linear", {"in_features": 5, "out_features": 3}, (Arg((4, 5), "complex64"),), dtype="complex64"),
    Case("Identity", {}, (Arg((2, 3)),)),
    Case("Identity", {}, (Arg((), "int64"),)),
]
REJECTIONS = [
    Rejection(
        "Linear",
        {"in_features": 5, "out_features": 3},
        (Arg((4, 6)),),
        code="channel-mismatch",
        parameter="in_features",
    ),
    Rejection("Linear", {"in_features": 5, "out_features": 3}, (Arg(()),), code="wrong-rank"),
    Rejection("Linear", {"in_features": 5, "out_features": 3}, (Arg((4, 5), "int64"),), code="wrong-dtype"),
    Rejection(
        "Linear",
        {"in_features": 5, "out_features": -3},
        (Arg((4, 5)),),
        code="out-of-range",
        parameter="out_features",
    ),
    Rejection(
        "Linear",
        {"in_features": "five", "out_features": 3},
        (Arg((4, 5)),),
        code="wrong-type",
        parameter="in_features",
    ),
]
