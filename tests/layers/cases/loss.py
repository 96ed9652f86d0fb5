"""Losses."""

from typing import Any

from tests.layers.oracle import Arg, Case, Rejection

_PAIR = (Arg((3, 4)), Arg((3, 4)))
_PROBABLE = (Arg((3, 4), kind="unit"), Arg((3, 4), kind="unit"))
_EDGE_PROBABLE = (Arg(values=[0.0, 1.0, 0.0, 1.0, 0.5]), Arg(values=[0.0, 0.0, 1.0, 1.0, 0.25]))
_SOFT = (Arg((3, 4)), Arg((3, 4), kind="unit"))
_EMPTY = (Arg((0, 4)), Arg((0, 4)))
_REDUCTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"reduction": "none"},
    {"reduction": "sum"},
    {"size_average": False},
    {"size_average": True, "reduction": "sum"},
    {"reduce": False},
    {"reduce": True, "reduction": "sum"},
    {"reduce": False, "size_average": True, "reduction": "sum"},
)


def _classes(*shape: int, high: int = 4, dtype: str = "int64") -> Arg:
    return Arg(shape, dtype, kind="integers", high=high)


_CLASS_INPUTS = (
    (Arg((5, 4)), _classes(5)),
    (Arg((2, 4, 3)), _classes(2, 3)),
    (Arg((2, 4, 3, 2)), _classes(2, 3, 2)),
    (Arg((1, 4, 2, 1, 2)), _classes(1, 2, 1, 2)),
    (Arg((4,)), _classes()),
    (Arg((4,)), _classes(1)),
    (Arg((5, 4)), _classes(5, dtype="uint8")),
    (Arg((0, 4)), _classes(0)),
    (Arg((0, 4, 2)), _classes(0, 2)),
)
_IGNORING = (Arg((4, 3)), Arg(values=[0, -100, 2, -100], dtype="int64"))
_ALL_IGNORED = (Arg((2, 3)), Arg(values=[-100, -100], dtype="int64"))
_W = {"weight": [0.5, 2.0, 1.0, 0.25]}
_W3 = {"weight": [0.5, 2.0, 1.0]}

CASES = [
    *(
        Case(name, options, _PAIR)
        for name in ("MSELoss", "L1Loss", "SmoothL1Loss")
        for options in _REDUCTIONS
    ),
    *(Case("HuberLoss", options, _PAIR) for options in _REDUCTIONS[:3]),
    *(Case("KLDivLoss", options, _SOFT) for options in (*_REDUCTIONS, {"reduction": "batchmean"})),
    *(Case("BCELoss", options, _PROBABLE) for options in _REDUCTIONS),
    *(Case("BCEWithLogitsLoss", options, _SOFT) for options in _REDUCTIONS),
    *(
        Case(name, options, _CLASS_INPUTS[0])
        for name in ("NLLLoss", "CrossEntropyLoss")
        for options in _REDUCTIONS[3:]
    ),
    # distances
    *(
        Case(name, options, inputs)
        for name in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")
        for options, inputs in (
            ({"reduction": "none"}, (Arg((3, 4)), Arg((4,)))),
            ({}, (Arg((2, 1)), Arg((3,)))),
            ({}, _EMPTY),
            ({"reduction": "sum"}, _EMPTY),
            ({}, (Arg(()), Arg(()))),
            ({"reduction": "none"}, (Arg((3, 4), kind="special"), Arg((3, 4)))),
            ({"reduction": "none"}, (Arg((3,)), Arg((3,), "int64"))),
        )
    ),
    *(
        Case(name, {}, (Arg((3,), dtype), Arg((3,), dtype)), dtype=dtype, tolerance=tolerance)
        for name in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCEWithLogitsLoss")
        for dtype, tolerance in (("float64", 1e-12), ("float16", 4e-3))
    ),
    Case("L1Loss", {}, (Arg((3,), "complex64"), Arg((3,), "complex64"))),
    Case("L1Loss", {"reduction": "none"}, (Arg((3,), "complex64"), Arg((3,)))),
    Case("L1Loss", {"reduction": "none"}, (Arg((3,), "int64"), Arg((3,), "int64"))),
    Case("L1Loss", {"reduction": "sum"}, (Arg((3,), "int32"), Arg((3,), "int32"))),
    Case("L1Loss", {"reduction": "sum"}, (Arg((6,), "uint8"), Arg((6,), "uint8"))),
    Case("MSELoss", {}, (Arg((3,), "int64"), Arg((3,)))),
    *(Case("SmoothL1Loss", {"beta": beta, "reduction": "none"}, _PAIR) for beta in (0, 0.3, 2.5)),
    *(Case("HuberLoss", {"delta": delta, "reduction": "none"}, _PAIR) for delta in (0.3, 2.5)),
    Case("KLDivLoss", {"log_target": True}, _PAIR),
    Case("KLDivLoss", {"log_target": True, "reduction": "batchmean"}, _PAIR),
    Case("KLDivLoss", {"reduction": "batchmean"}, (Arg((3,)), Arg((2, 3), kind="unit"))),
    Case("KLDivLoss", {"reduction": "batchmean"}, (Arg((2, 3)), Arg((3,), kind="unit"))),
    Case("KLDivLoss", {"reduction": "batchmean"}, (Arg(()), Arg((), kind="unit"))),
    Case("KLDivLoss", {"reduction": "batchmean"}, _EMPTY),
    Case("KLDivLoss", {"reduction": "none"}, (Arg((3,)), Arg(values=[0.0, -1.0, 1.0]))),
    # probabilities
    Case("BCELoss", {"reduction": "none"}, _EDGE_PROBABLE),
    Case("BCELoss", {}, _EDGE_PROBABLE),
    Case("BCELoss", {}, _EMPTY),
    Case("BCELoss", {"reduction": "sum"}, _EMPTY),
    Case("BCELoss", {}, (Arg((), kind="unit"), Arg((), kind="unit"))),
    Case("BCELoss", _W, _PROBABLE),
    Case("BCELoss", {"weight": [[0.5], [2.0], [1.0]], "reduction": "none"}, _PROBABLE),
    Case("BCELoss", {"weight": [[2.0]], "reduction": "sum"}, _PROBABLE),
    Case(
        "BCELoss",
        {},
        (Arg((3,), "float64", kind="unit"), Arg((3,), "float64", kind="unit")),
        dtype="float64",
        tolerance=1e-12,
    ),
    Case(
        "BCELoss",
        {},
        (Arg((3,), "float16", kind="unit"), Arg((3,), "float16", kind="unit")),
        dtype="float16",
        tolerance=4e-3,
    ),
    Case(
        "BCEWithLogitsLoss",
        {"reduction": "none"},
        (Arg(values=[100.0, -100.0, 0.0, 30.0, -30.0]), Arg(values=[0.0, 1.0, 1.0, 1.0, 0.0])),
    ),
    Case("BCEWithLogitsLoss", {"reduction": "none"}, (Arg((3, 4), kind="special"), Arg((3, 4), kind="unit"))),
    Case("BCEWithLogitsLoss", {}, (Arg((2,)), Arg(values=[5.0, -3.0]))),
    Case("BCEWithLogitsLoss", {}, _EMPTY),
    Case("BCEWithLogitsLoss", _W, _SOFT),
    Case("BCEWithLogitsLoss", {"weight": [[0.5], [2.0], [1.0]], "reduction": "none"}, _SOFT),
    Case("BCEWithLogitsLoss", {"pos_weight": [0.5, 2.0, 1.0, 3.0]}, _SOFT),
    Case("BCEWithLogitsLoss", {"pos_weight": [[0.5], [2.0], [1.0]], "reduction": "none"}, _SOFT),
    Case(
        "BCEWithLogitsLoss",
        {"pos_weight": [3.0], "reduction": "none"},
        (Arg(values=[100.0, -100.0, 0.0]), Arg(values=[0.0, 1.0, 1.0])),
    ),
    Case("BCEWithLogitsLoss", {**_W, "pos_weight": [1.0, 2.0, 3.0, 4.0], "reduction": "sum"}, _SOFT),
    # classes
    *(
        Case(name, {**options, "reduction": reduction}, inputs)
        for name in ("NLLLoss", "CrossEntropyLoss")
        for reduction in ("none", "mean", "sum")
        for options, inputs in (
            *(({}, inputs) for inputs in _CLASS_INPUTS),
            (_W, _CLASS_INPUTS[0]),
            (_W, _CLASS_INPUTS[2]),
            (_W, _CLASS_INPUTS[4]),
            ({}, _IGNORING),
            (_W3, _IGNORING),
            ({}, _ALL_IGNORED),
            (_W3, _ALL_IGNORED),
        )
    ),
    *(
        Case(
            name,
            {"ignore_index": index, **weight},
            (Arg((3, 3)), Arg(values=values, dtype="int64")),
            label=str(values),
        )
        for name in ("NLLLoss", "CrossEntropyLoss")
        for index, values in ((1, [1, 0, 2]), (7, [7, 0, 2]), (-1, [-1, -1, 2]))
        for weight in ({}, _W3)
    ),
    *(
        Case(name, {"weight": [0.0, 0.0, 0.0]}, (Arg((2, 3)), _classes(2, high=3)))
        for name in ("NLLLoss", "CrossEntropyLoss")
    ),
    Case(
        "NLLLoss", {"reduction": "none"}, (Arg((2, 3), kind="special"), Arg(values=[0, -100], dtype="int64"))
    ),
    *(
        Case("CrossEntropyLoss", {"label_smoothing": share, "reduction": reduction, **weight}, inputs)
        for share, weight, inputs in (
            (0.1, {}, _CLASS_INPUTS[0]),
            (0.1, _W, _CLASS_INPUTS[0]),
            (0.3, _W, _CLASS_INPUTS[2]),
            (0.3, {}, _CLASS_INPUTS[4]),
            (0.3, _W, _CLASS_INPUTS[4]),
            (0.1, {}, _IGNORING),
            (0.1, _W3, _IGNORING),
            (0.1, _W3, _ALL_IGNORED),
            (1, {}, _CLASS_INPUTS[0]),
        )
        for reduction in ("none", "mean", "sum")
    ),
    *(
        Case("CrossEntropyLoss", {**options, "reduction": reduction}, inputs)
        for options, inputs in (
            ({}, _SOFT),
            (_W, _SOFT),
            ({"label_smoothing": 0.2}, _SOFT),
            ({"label_smoothing": 0.2, **_W}, _SOFT),
            ({}, (Arg((2, 4, 3)), Arg((2, 4, 3), kind="unit"))),
            (_W, (Arg((2, 4, 3)), Arg((2, 4, 3), kind="unit"))),
            ({}, (Arg((4,)), Arg((4,), kind="unit"))),
            ({}, _EMPTY),
        )
        for reduction in ("none", "mean", "sum")
    ),
    Case("CrossEntropyLoss", {}, (Arg((3, 0)), Arg((3, 0)))),
    Case(
        "CrossEntropyLoss",
        {},
        (Arg(values=[[1000.0, 0.0], [-1000.0, 0.0]]), Arg(values=[1, 0], dtype="int64")),
    ),
    Case("CrossEntropyLoss", {}, (Arg((5, 4), "float64"), _classes(5)), dtype="float64", tolerance=1e-12),
    Case("CrossEntropyLoss", {}, (Arg((5, 4), "float16"), _classes(5)), dtype="float16", tolerance=4e-3),
    Case("NLLLoss", _W, (Arg((5, 4), "float64"), _classes(5)), dtype="float64", tolerance=1e-12),
    Case("SmoothL1Loss", {"beta": 0}, (Arg((2, 3), "complex64"), Arg((2, 3), "complex64"))),
    Case("SmoothL1Loss", {"beta": 0, "reduction": "none"}, (Arg((2, 3), "int64"), Arg((2, 3), "int64"))),
]

_BAD_CLASS = (Arg((2, 3)), Arg(values=[0, 3], dtype="int64"))
_NEGATIVE_CLASS = (Arg((2, 3)), Arg(values=[0, -1], dtype="int64"))
_ELEMENTWISE = ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "KLDivLoss", "BCELoss", "BCEWithLogitsLoss")
_ALL = (*_ELEMENTWISE, "NLLLoss", "CrossEntropyLoss")

REJECTIONS = [
    *(
        Rejection(name, {"reduction": "average"}, _PROBABLE, code="unknown-value", parameter="reduction")
        for name in _ELEMENTWISE
    ),
    *(
        Rejection(
            name, {"reduction": "batchmean"}, _CLASS_INPUTS[0], code="unknown-value", parameter="reduction"
        )
        for name in ("NLLLoss", "CrossEntropyLoss")
    ),
    *(Rejection(name, {"alpha": 1}, _PAIR, code="unknown-key") for name in _ALL),
    *(Rejection(name, {}, (Arg((2, 3)), Arg((2,))), code="cannot-broadcast") for name in _ELEMENTWISE[:5]),
    *(
        Rejection(name, {}, (Arg((3,), kind="unit"), Arg((1,), kind="unit")), code="shape-mismatch")
        for name in ("BCELoss", "BCEWithLogitsLoss")
    ),
    *(
        Rejection(name, {}, (Arg((3,), kind="unit"), Arg((1, 3), kind="unit")), code="shape-mismatch")
        for name in ("BCELoss", "BCEWithLogitsLoss")
    ),
    *(
        Rejection(name, {}, (Arg((3,), "int64"), Arg((3,), "int64")), code="wrong-dtype")
        for name in _ELEMENTWISE
    ),
    *(
        Rejection(name, {}, (Arg((3,), "complex64"), Arg((3,), "complex64")), code="wrong-dtype")
        for name in _ELEMENTWISE
        if name != "L1Loss"
    ),
    Rejection("L1Loss", {}, (Arg((3,), "bool"), Arg((3,))), code="wrong-dtype"),
    Rejection("HuberLoss", {"reduction": "none"}, (Arg((3,), "int64"), Arg((3,))), code="wrong-dtype"),
    Rejection("KLDivLoss", {}, (Arg((3,)), Arg((3,), "int64")), code="wrong-dtype"),
    Rejection("SmoothL1Loss", {"beta": -1}, _PAIR, code="out-of-range", parameter="beta"),
    Rejection("HuberLoss", {"delta": 0}, _PAIR, code="out-of-range", parameter="delta"),
    Rejection("HuberLoss", {"delta": -1.5}, _PAIR, code="out-of-range", parameter="delta"),
    Rejection("HuberLoss", {"size_average": False}, _PAIR, code="unknown-key"),
    Rejection("BCELoss", {}, (Arg(values=[1.5, 0.2]), Arg(values=[1.0, 0.0]))),
    Rejection("BCELoss", {}, (Arg(values=[-0.1, 0.2]), Arg(values=[1.0, 0.0]))),
    Rejection("BCELoss", {}, (Arg(values=[float("nan"), 0.2]), Arg(values=[1.0, 0.0])), label="NaN"),
    Rejection("BCELoss", {}, (Arg(values=[0.5, 0.2]), Arg(values=[2.0, 0.0])), label="target"),
    Rejection("BCELoss", {}, (Arg(values=[0.5, 0.2]), Arg(values=[float("nan"), 0.0])), label="NaN target"),
    Rejection(
        "BCELoss",
        {},
        (Arg(values=[0.5, 0.2]), Arg(values=[1, 0], dtype="int64")),
        code="dtype-mismatch",
        label="integers",
    ),
    *(
        Rejection(name, {"weight": weight}, _PROBABLE, code="cannot-broadcast", parameter="weight")
        for name in ("BCELoss", "BCEWithLogitsLoss")
        for weight in ([1.0, 2.0], [[[1.0]]])
    ),
    Rejection("BCELoss", {"weight": [[1.0, 2.0], [3.0]]}, _PROBABLE, code="ragged-list"),
    Rejection(
        "BCEWithLogitsLoss",
        {"pos_weight": [1.0, 2.0, 3.0]},
        _PROBABLE,
        code="cannot-broadcast",
        parameter="pos_weight",
    ),
    Rejection("BCEWithLogitsLoss", {}, (Arg((3,)), Arg((3,), "int64")), code="wrong-dtype"),
    Rejection("BCEWithLogitsLoss", {}, (Arg((3,)), Arg((3,), "bool")), code="wrong-dtype"),
    *(
        Rejection(name, parameters, inputs, code=code)
        for name in ("NLLLoss", "CrossEntropyLoss")
        for parameters, inputs, code in (
            ({}, _BAD_CLASS, None),
            ({}, _NEGATIVE_CLASS, None),
            ({"ignore_index": 1}, (Arg((2, 3)), Arg(values=[1, -100], dtype="int64")), None),
            ({}, (Arg((2, 3)), _classes(1)), "shape-mismatch"),
            ({}, (Arg((2, 3)), _classes()), "shape-mismatch"),
            ({}, (Arg((2, 3, 4)), _classes(2, 3, high=3)), "shape-mismatch"),
            ({}, (Arg((2, 3, 4)), _classes(2, high=3)), "shape-mismatch"),
            ({}, (Arg((2, 3, 2, 2)), _classes(2, 2, high=3)), "shape-mismatch"),
            ({}, (Arg((3,)), _classes(2, high=3)), "shape-mismatch"),
            ({}, (Arg(()), _classes(high=1)), "wrong-rank"),
            ({}, (Arg((2, 3)), Arg((2,), "int32")), "wrong-dtype"),
            ({}, (Arg((2, 3)), Arg((2,))), "wrong-dtype"),
            ({}, (Arg((2, 3)), Arg((2,), "bool")), "wrong-dtype"),
            ({}, (Arg((2, 3), "int64"), _classes(2, high=3)), "wrong-dtype"),
            ({}, (Arg((2, 3), "complex64"), _classes(2, high=3)), "wrong-dtype"),
            ({"weight": [1.0, 2.0]}, (Arg((2, 3)), _classes(2, high=3)), "shape-mismatch"),
            ({"weight": [[1.0, 2.0, 3.0]]}, (Arg((2, 3)), _classes(2, high=3)), "shape-mismatch"),
            ({"weight": 2.0}, (Arg((2, 3)), _classes(2, high=3)), "shape-mismatch"),
        )
    ),
    Rejection("NLLLoss", {}, (Arg((2, 3)), Arg((2, 3), kind="unit")), code="wrong-dtype"),
    Rejection("CrossEntropyLoss", {}, (Arg((2, 3)), _classes(2, 3)), code="wrong-dtype"),
    Rejection("CrossEntropyLoss", {}, (Arg((2, 3)), _classes(2, 1)), label="two axes"),
    Rejection(
        "CrossEntropyLoss",
        {"weight": [1.0, 2.0]},
        (Arg((2, 3)), Arg((2, 3), kind="unit")),
        code="shape-mismatch",
        parameter="weight",
    ),
    Rejection(
        "CrossEntropyLoss",
        {"ignore_index": 1},
        (Arg((2, 3)), Arg((2, 3), kind="unit")),
        code="unused-value",
        parameter="ignore_index",
    ),
    Rejection(
        "CrossEntropyLoss",
        {"label_smoothing": 1.5},
        _CLASS_INPUTS[0],
        code="out-of-range",
        parameter="label_smoothing",
    ),
    Rejection("CrossEntropyLoss", {"label_smoothing": 0.1}, (Arg((4,)), _classes(1)), code="shape-mismatch"),
    Rejection("SmoothL1Loss", {"beta": 0}, (Arg((2, 3), "int64"), Arg((2, 3), "int64")), code="wrong-dtype"),
]
