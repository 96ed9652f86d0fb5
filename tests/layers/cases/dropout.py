"""The Dropout family: evaluation, and training where nothing is random (p of 0 and 1)."""

from tests.layers.oracle import Arg, Case, Rejection

NAMES = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")
SPECIAL = Arg((3, 5), kind="special")

CASES = [
    *(
        Case(name, parameters, (arg,), mode=mode, dtype=dtype)
        for name in NAMES
        for parameters, arg, mode, dtype in [
            ({}, Arg((2, 3)), "eval", "float32"),
            ({"p": 0.9, "inplace": True}, Arg((2, 3)), "eval", "float32"),
            ({"p": 1}, SPECIAL, "eval", "float32"),
            ({}, Arg((2, 3), "int64"), "eval", "float32"),
            ({}, Arg((2, 3), "complex64"), "eval", "complex64"),
            ({"p": 0}, Arg((2, 3)), "train", "float32"),
            ({"p": 0}, SPECIAL, "train", "float32"),
            ({"p": 0}, Arg((2, 3), "int64"), "train", "float32"),
            ({"p": 1}, Arg((2, 3)), "train", "float32"),
            ({"p": 1.0}, SPECIAL, "train", "float32"),
            ({"p": 1}, Arg((2, 3), "int64"), "train", "float32"),
            ({"p": 1}, Arg((2, 3), "float64"), "train", "float64"),
            ({"p": 1}, Arg((2, 3), "float16"), "train", "float16"),
            ({}, Arg((0, 3)), "train", "float32"),
            ({}, Arg((0, 3)), "eval", "float32"),
        ]
    ),
    *(
        Case(name, {}, (Arg(shape),))
        for name in NAMES
        if name != "Dropout1d"
        for shape in [(), (3,), (2, 3, 4, 5), (1, 2, 3, 2, 2, 1)]
    ),
    *(
        Case(name, {"p": p}, (Arg((4,)),), mode="train")
        for name in NAMES
        if name != "Dropout1d"
        for p in (0, 1)
    ),
    Case("Dropout1d", {}, (Arg((2, 3, 4)),)),
    Case("Dropout2d", {}, (Arg((0,)),), mode="train"),
]
REJECTIONS = [
    *(
        Rejection(name, {"p": p}, (Arg((2, 3)),), mode="train", code=code, parameter="p")
        for name in NAMES
        for p, code in [(1.5, "out-of-range"), (-0.1, "out-of-range"), ("half", "wrong-type")]
    ),
    *(
        Rejection(name, {}, (Arg((2, 3), dtype),), mode="train", code="wrong-dtype")
        for name in NAMES
        for dtype in ("int64", "bool")
    ),
    *(
        Rejection("Dropout1d", {}, (Arg(shape),), mode=mode, code="wrong-rank")
        for shape in [(3,), (2, 3, 4, 5)]
        for mode in ("eval", "train")
    ),
    *(
        Rejection(name, {}, (Arg(shape),), mode="train", code="wrong-rank")
        for name, shape in [
            ("Dropout2d", (3,)),
            ("Dropout2d", ()),
            ("Dropout3d", ()),
            ("FeatureAlphaDropout", (3,)),
            ("FeatureAlphaDropout", ()),
        ]
    ),
]
