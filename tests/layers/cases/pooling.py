"""MaxPool, AvgPool, LPPool, their adaptive forms and MaxUnpool, 1d to 3d."""

from typing import Any

from tests.layers.oracle import Arg, Case, Rejection

SIZES = {1: (9,), 2: (6, 5), 3: (4, 3, 5)}
UNPOOLED = {1: (9,), 2: (7, 6), 3: (4, 4, 6)}  # small enough that every index fits the natural size
NAN, INF = float("nan"), float("inf")


def pool(
    name: str, shape: tuple[int, ...], kind: str = "normal", dtype: str = "float32", **parameters: Any
) -> Case:
    """One pooling of an array of this shape."""
    network = dtype if dtype.startswith(("float", "complex")) else "float32"
    tolerance = {"float16": 2e-3, "float64": 1e-12}.get(dtype, 2e-5)
    return Case(name, parameters, (Arg(shape, dtype, kind),), dtype=network, tolerance=tolerance)


def literal(name: str, values: Any, label: str, **parameters: Any) -> Case:
    """One pooling of given values."""
    return Case(name, parameters, (Arg(values=values),), label=label)


def _complex(case: Case, tensors: list[Any]) -> Any:
    """torch's CPU build averages no complex numbers; real and imaginary parts are averaged alone."""
    import torch

    parameters = {k: tuple(v) if isinstance(v, list) else v for k, v in case.parameters.items()}
    module = getattr(torch.nn, case.type)(**parameters)
    (x,) = tensors
    return torch.complex(module(x.real), module(x.imag)) if x.is_complex() else module(x)


TORCH = {f"{name}{rank}d": _complex for name in ("AvgPool", "AdaptiveAvgPool") for rank in (1, 2, 3)}

CASES = [
    *(
        pool(f"MaxPool{rank}d", shape, kind, dtype, **{"kernel_size": 2, **parameters})
        for rank in (1, 2, 3)
        for shape, kind, dtype, parameters in [
            *(
                ((2, 2, *SIZES[rank]), "normal", "float32", parameters)
                for parameters in (
                    {},
                    {"stride": 1},
                    {"kernel_size": 3, "padding": 1},
                    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
                    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
                    {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True},
                    {"kernel_size": 1, "stride": 2, "ceil_mode": True},
                    {"dilation": 2},
                    {"kernel_size": 3, "dilation": 2, "padding": 1, "stride": 2},
                    {"kernel_size": 3, "dilation": 2, "padding": 1, "stride": 2, "ceil_mode": True},
                )
            ),
            ((2, 2, *SIZES[rank]), "normal", "float32", {"return_indices": True}),
            ((2, 2, *SIZES[rank]), "ties", "float32", {"return_indices": True}),
            ((2, 2, *SIZES[rank]), "special", "float32", {"return_indices": True}),
            (
                (2, 2, *SIZES[rank]),
                "ties",
                "float32",
                {"kernel_size": 3, "stride": 1, "padding": 1, "return_indices": True},
            ),
            (
                (2, 2, *SIZES[rank]),
                "special",
                "float32",
                {"kernel_size": 3, "stride": 2, "padding": 1, "return_indices": True, "ceil_mode": True},
            ),
            (
                (1, 2, *SIZES[rank]),
                "normal",
                "float32",
                {"kernel_size": 2, "dilation": 2, "stride": 1, "return_indices": True},
            ),
            ((3, *SIZES[rank]), "normal", "float32", {}),
            ((3, *SIZES[rank]), "normal", "float32", {"return_indices": True}),
            ((0, 2, *SIZES[rank]), "normal", "float32", {}),
            ((0, 2, *SIZES[rank]), "normal", "float32", {"return_indices": True}),
            ((2, 2, *SIZES[rank]), "normal", "float64", {}),
            ((2, 2, *SIZES[rank]), "normal", "float16", {}),
            ((2, 2, *SIZES[rank]), "ties", "float16", {"return_indices": True}),
            *([] if rank == 1 else [((2, 2, *SIZES[rank]), "integers", "int64", {})]),
            *([] if rank == 1 else [((2, 2, *SIZES[rank]), "integers", "uint8", {"return_indices": True})]),
        ]
    ),
    pool("MaxPool1d", (2, 2), kernel_size=3, ceil_mode=True),
    pool("MaxPool2d", (2, 1, 1), kernel_size=3, padding=1),
    pool("MaxPool2d", (1, 1, 1, 1), kernel_size=3, stride=3, ceil_mode=True),
    pool("MaxPool2d", (2, 3, 7, 6), kernel_size=[2, 3], stride=[1, 2], padding=[1, 0], dilation=[1, 2]),
    pool("MaxPool2d", (2, 3, 7, 6), kernel_size=[3], stride=[2], padding=[1]),
    pool("MaxPool2d", (1, 2, 14, 13), kernel_size=3, stride=2, padding=1),
    pool("MaxPool3d", (1, 2, 5, 4, 6), kernel_size=[1, 2, 3], stride=[2, 1, 2], padding=[0, 1, 1]),
    pool("MaxPool1d", (1, 2, 6), "integers", "int64", kernel_size=2, return_indices=True),
    literal(
        "MaxPool2d",
        [[[[-INF] * 3] * 3]],
        "all minus infinity",
        kernel_size=2,
        padding=1,
        stride=2,
        return_indices=True,
    ),
    literal(
        "MaxPool1d",
        [[NAN, NAN, 1.0, NAN, 3.0, INF]],
        "last NaN",
        kernel_size=3,
        stride=1,
        return_indices=True,
    ),
    literal("MaxPool1d", [[-INF, 1.0, 1.0, 2.0]], "minus infinity at the border", kernel_size=2, padding=1),
    *(
        pool(f"AvgPool{rank}d", shape, dtype=dtype, **{"kernel_size": 2, **parameters})
        for rank in (1, 2, 3)
        for shape, dtype, parameters in [
            *(
                ((2, 2, *SIZES[rank]), "float32", parameters)
                for parameters in (
                    {},
                    {"stride": 1},
                    {"kernel_size": 3, "padding": 1},
                    {"kernel_size": 3, "padding": 1, "count_include_pad": False},
                    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
                    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
                    {
                        "kernel_size": 3,
                        "stride": 2,
                        "padding": 1,
                        "ceil_mode": True,
                        "count_include_pad": False,
                    },
                    {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True},
                    *(
                        []
                        if rank == 1
                        else [
                            {"divisor_override": 3},
                            {"divisor_override": -2, "padding": 1},
                            {
                                "kernel_size": 3,
                                "stride": 2,
                                "padding": 1,
                                "ceil_mode": True,
                                "divisor_override": 5,
                            },
                        ]
                    ),
                )
            ),
            ((3, *SIZES[rank]), "float32", {}),
            ((0, 2, *SIZES[rank]), "float32", {}),
            ((2, 2, *SIZES[rank]), "float64", {"kernel_size": 3, "padding": 1}),
            *([((2, 2, *SIZES[rank]), "float16", {})] if rank < 3 else []),
            ((2, 2, *SIZES[rank]), "complex64", {"kernel_size": 3, "padding": 1}),
            ((2, 2, *SIZES[rank]), "int64", {"kernel_size": 3, "padding": 1}),
        ]
    ),
    literal(
        "AvgPool1d",
        [[1.0] * 6],
        "the last window is clipped",
        kernel_size=3,
        stride=2,
        padding=1,
        ceil_mode=True,
    ),
    literal("AvgPool2d", [[[NAN, 1.0, 2.0, INF], [1.0, 1.0, -INF, INF]]], "special", kernel_size=2, stride=1),
    Case(
        "AvgPool2d",
        {"kernel_size": 2, "divisor_override": 3},
        (Arg(values=[[[-7, -5, 3], [-4, -4, 2]]], dtype="int64"),),
        label="towards zero",
    ),
    pool("AvgPool2d", (1, 1, 1), kernel_size=5, padding=1, ceil_mode=True),
    pool("AvgPool2d", (2, 3, 7, 6), kernel_size=[2, 3], stride=[1, 2], padding=[1, 0]),
    pool("AvgPool2d", (2, 3, 7, 6), kernel_size=[2], stride=[3]),
    pool(
        "AvgPool3d",
        (1, 2, 5, 4, 6),
        kernel_size=[1, 2, 3],
        stride=[2, 1, 2],
        padding=[0, 1, 1],
        count_include_pad=False,
    ),
    *(
        pool(f"LPPool{rank}d", (*front, *SIZES[rank]), kind, kernel_size=2, **{"norm_type": 2, **parameters})
        for rank in (1, 2, 3)
        for front, kind, parameters in [
            ((2, 3), "normal", {}),
            ((2, 3), "normal", {"stride": 1}),
            ((2, 3), "normal", {"stride": 3, "ceil_mode": True}),
            ((3,), "normal", {}),
            ((2, 3), "positive", {"norm_type": 3}),
            ((2, 3), "normal", {"norm_type": 1}),
            ((2, 3), "positive", {"norm_type": 1.5}),
            ((2, 3), "normal", {"norm_type": INF}),
            ((2, 3), "normal", {"norm_type": -INF}),
        ]
    ),
    pool("LPPool2d", (1, 2, 5, 5), norm_type=2, kernel_size=[2, 3], stride=[1, 2], ceil_mode=True),
    pool("LPPool2d", (1, 2, 4, 4), dtype="float64", norm_type=2, kernel_size=2),
    # adaptive: windows overlap, sizes grow, null keeps
    *(
        pool(f"Adaptive{kind}Pool{rank}d", (*front, *SIZES[rank]), values, dtype, output_size=size)
        for kind in ("Avg", "Max")
        for rank in (1, 2, 3)
        for front, size, values, dtype in [
            ((2, 3), 1, "normal", "float32"),
            ((2, 3), 2, "normal", "float32"),
            ((2, 3), 4, "normal", "float32"),
            ((2, 1), 11, "normal", "float32"),
            ((2, 3), 0, "normal", "float32"),
            ((2, 3), list(SIZES[rank]), "normal", "float32"),
            ((2, 3), [5, 1, 2][:rank], "normal", "float32"),
            ((3,), 2, "normal", "float32"),
            ((3,), 1, "normal", "float32"),
            ((0, 3), 2, "normal", "float32"),
            ((0, 3), 1, "normal", "float32"),
            ((2, 3), 2, "normal", "float64"),
            ((2, 3), 3, "special", "float32"),
            *([((2, 3), 2, "normal", "complex64")] if kind == "Avg" else []),
            *([((2, 3), 2, "normal", "float16")] if rank < 3 else []),
        ]
    ),
    *(
        pool(f"AdaptiveMaxPool{rank}d", (*front, *SIZES[rank]), kind, output_size=size, return_indices=True)
        for rank in (1, 2, 3)
        for front, size, kind in [
            ((2, 2), 3, "normal"),
            ((2, 2), 2, "ties"),
            ((2, 2), 4, "special"),
            ((2,), 2, "ties"),
            ((0, 2), 2, "normal"),
        ]
    ),
    *(
        pool(f"Adaptive{kind}Pool{rank}d", (2, 2, *SIZES[rank]), output_size=size)
        for kind in ("Avg", "Max")
        for rank, size in [
            (2, [None, 2]),
            (2, [3, None]),
            (2, [None, None]),
            (3, [None, 2, 1]),
            (3, [2, None, None]),
        ]
    ),
    literal(
        "AdaptiveMaxPool2d", [[[-INF] * 3] * 3], "all minus infinity", output_size=2, return_indices=True
    ),
    pool("AdaptiveAvgPool1d", (2, 3, 0), output_size=1),
    pool("AdaptiveAvgPool1d", (2, 0, 3), output_size=2),
    pool("AdaptiveAvgPool2d", (2, 3, 0, 2), output_size=1),
    pool("AdaptiveAvgPool2d", (2, 3, 1, 0), output_size=[None, 1]),
    pool("AdaptiveAvgPool2d", (2, 0, 3, 3), output_size=2),
    pool("AdaptiveAvgPool3d", (2, 0, 3, 2, 2), output_size=1),
    pool("AdaptiveAvgPool3d", (0, 3, 2, 2), output_size=2),
    pool("AdaptiveMaxPool1d", (0, 4), output_size=2),
    pool("AdaptiveMaxPool2d", (0, 4, 3), output_size=2),
    *(
        Case(
            f"MaxUnpool{rank}d",
            {**parameters, **extra},
            (Arg((*front, *UNPOOLED[rank]), dtype),),
            dtype=dtype,
            indices_from=(f"MaxPool{rank}d", parameters),
        )
        for rank in (1, 2, 3)
        for front, dtype, parameters, extra in [
            ((2, 3), "float32", {"kernel_size": 2}, {}),
            ((2, 3), "float32", {"kernel_size": 2}, {"output_size": list(UNPOOLED[rank])}),
            ((2, 3), "float32", {"kernel_size": 2}, {"output_size": [2, 3, *UNPOOLED[rank]]}),
            ((2, 3), "float32", {"kernel_size": 3, "stride": 2}, {"output_size": list(UNPOOLED[rank])}),
            (
                (2, 3),
                "float32",
                {"kernel_size": 3, "stride": 2, "padding": 1},
                {"output_size": list(UNPOOLED[rank])},
            ),
            ((3,), "float32", {"kernel_size": 2}, {}),
            ((3,), "float32", {"kernel_size": 2}, {"output_size": list(UNPOOLED[rank])}),
            ((3,), "float32", {"kernel_size": 2}, {"output_size": [1, 1, *UNPOOLED[rank]]}),
            ((0, 3), "float32", {"kernel_size": 2}, {}),
            ((2, 3), "float64", {"kernel_size": 2}, {}),
        ]
    ),
    Case(
        "MaxUnpool1d",
        {"kernel_size": 2},
        (Arg(values=[[1.0, 2.0, 3.0]]), Arg(values=[[4, 4, 0]], dtype="int64")),
        label="the last of repeated indices wins",
    ),
    Case(
        "MaxUnpool2d",
        {"kernel_size": 2, "stride": 3},
        (Arg((1, 2, 2)), Arg(values=[[[0, 7], [3, 12]]], dtype="int64")),
        label="smaller than natural",
    ),
    Case("MaxUnpool2d", {"kernel_size": 2}, (Arg((0, 3, 3)), Arg((0, 3, 3), "int64")), label="no channels"),
    # what the generated calls of fuzz.py found
    *(
        pool(f"LPPool{rank}d", (2, *SIZES[rank]), dtype=dtype, norm_type=norm_type, kernel_size=2)
        for rank in (1, 2, 3)
        for norm_type, dtype in [
            (2, "int64"),
            (3, "int8"),
            (0.5, "uint8"),
            (1, "bool"),
            (INF, "complex64"),
            (-INF, "complex64"),
        ]
    ),
    pool("LPPool1d", (2, 6), norm_type=INF, kernel_size=[2]),
    pool("AdaptiveAvgPool2d", (2, 3, 2, 5, 2), output_size=1),
    pool("AdaptiveAvgPool3d", (2, 1, 3, 2, 5, 2), output_size=1),
    Case(
        "MaxUnpool1d",
        {"kernel_size": 2, "stride": 1, "padding": 2},
        (Arg((1, 3)), Arg(values=[[4, 0, 2]], dtype="int64")),
        label="nothing left",
    ),
]


def bad(
    name: str,
    shape: tuple[int, ...],
    code: str,
    parameter: str | None = None,
    dtype: str = "float32",
    **parameters: Any,
) -> Rejection:
    """One refused pooling."""
    return Rejection(name, parameters, (Arg(shape, dtype),), code=code, parameter=parameter)


def bad_unpool(
    name: str,
    shape: tuple[int, ...],
    code: str | None,
    parameter: str | None = None,
    indices: Any = None,
    dtype: str = "int64",
    **parameters: Any,
) -> Rejection:
    """One refused unpooling; indices: literal values, or the shape of zeros."""
    second = (
        Arg(shape, dtype, high=1)
        if indices is None
        else Arg(indices, dtype, high=1)
        if isinstance(indices, tuple)
        else Arg(values=indices, dtype=dtype)
    )
    return Rejection(
        name, {"kernel_size": 2, **parameters}, (Arg(shape), second), code=code, parameter=parameter
    )


REJECTIONS = [
    *(
        bad(f"{name}{rank}d", (1, 2, *(6,) * rank), code, parameter, **{"kernel_size": 2, parameter: value})
        for name in ("MaxPool", "AvgPool")
        for rank in (1, 2, 3)
        for parameter, value, code in [
            ("kernel_size", 0, "out-of-range"),
            ("kernel_size", -2, "out-of-range"),
            ("kernel_size", 2.5, "wrong-type"),
            ("kernel_size", [2] * (rank + 1), "wrong-length"),
            ("stride", 0, "out-of-range"),
            ("stride", [2] * (rank + 1), "wrong-length"),
            ("padding", -1, "out-of-range"),
            ("padding", 2, "padding-too-large"),
            *([("dilation", 0, "out-of-range")] if name == "MaxPool" else []),
            *([("divisor_override", 0, "out-of-range")] if name == "AvgPool" and rank > 1 else []),
            *([("divisor_override", 1.5, "wrong-type")] if name == "AvgPool" and rank > 1 else []),
            *([("divisor_override", 2, "unknown-key")] if name == "AvgPool" and rank == 1 else []),
        ]
    ),
    bad("MaxPool2d", (1, 2, 6, 6), "padding-too-large", "padding", kernel_size=3, padding=2, dilation=2),
    bad(
        "MaxPool1d",
        (1, 2, 6),
        "padding-too-large",
        "padding",
        kernel_size=3,
        padding=2,
        dilation=2,
        return_indices=True,
    ),
    bad("AvgPool2d", (1, 2, 6, 6), "padding-too-large", "padding", kernel_size=[4, 3], padding=[2, 2]),
    *(
        bad(f"{name}{rank}d", shape, "wrong-rank", kernel_size=2)
        for name in ("MaxPool", "AvgPool")
        for rank in (1, 2, 3)
        for shape in [(4,) * rank, (1, 1, 2, *(4,) * rank)]
    ),
    *(
        bad(f"{name}{rank}d", shape, "empty-axis", kernel_size=2)
        for name in ("MaxPool", "AvgPool")
        for rank in (1, 2, 3)
        for shape in [(2, 0, *(4,) * rank), (0, *(4,) * rank), (2, 2, *(4,) * (rank - 1), 0)]
    ),
    *(
        bad(f"{name}{rank}d", (1, 2, *(2,) * rank), "kernel-too-large", "kernel_size", kernel_size=3)
        for name in ("MaxPool", "AvgPool")
        for rank in (1, 2, 3)
    ),
    bad("MaxPool2d", (2, 1, 1), "kernel-too-large", "kernel_size", kernel_size=4, stride=1, ceil_mode=True),
    bad("MaxPool2d", (2, 4, 4), "kernel-too-large", "kernel_size", kernel_size=3, dilation=2),
    bad("AvgPool2d", (1, 1, 1), "kernel-too-large", "kernel_size", kernel_size=5, padding=1),
    bad("AvgPool2d", (1, 4, 2), "kernel-too-large", "kernel_size", kernel_size=[1, 3]),
    *(
        bad(f"MaxPool{rank}d", (2, *(4,) * rank), "wrong-dtype", dtype=dtype, kernel_size=2)
        for rank in (1, 2, 3)
        for dtype in ("bool", "complex64")
    ),
    *(
        bad(f"AvgPool{rank}d", (2, *(4,) * rank), "wrong-dtype", dtype=dtype, kernel_size=2)
        for rank in (1, 2, 3)
        for dtype in ("bool", "uint8")
    ),
    bad("LPPool2d", (1, 2, 4, 4), "out-of-range", "norm_type", norm_type=0, kernel_size=2),
    bad("LPPool2d", (1, 2, 4, 4), "out-of-range", "kernel_size", norm_type=2, kernel_size=0),
    bad("LPPool2d", (1, 2, 4, 4), "wrong-length", "kernel_size", norm_type=2, kernel_size=[2]),
    bad("LPPool2d", (1, 2, 4, 4), "out-of-range", "stride", norm_type=2, kernel_size=2, stride=0),
    bad("LPPool1d", (4,), "wrong-rank", norm_type=2, kernel_size=2),
    bad("LPPool1d", (2, 2), "kernel-too-large", "kernel_size", norm_type=2, kernel_size=3),
    bad("LPPool3d", (2, 0, 4, 4, 4), "empty-axis", norm_type=2, kernel_size=3),
    *(
        bad(f"Adaptive{kind}Pool{rank}d", (1, 2, *(4,) * rank), code, "output_size", output_size=size)
        for kind in ("Avg", "Max")
        for rank in (1, 2, 3)
        for size, code in [
            (-1, "out-of-range"),
            (1.5, "wrong-type"),
            (None, "wrong-type"),
            ([2] * (rank + 1), "wrong-length"),
            *([([2], "wrong-length")] if rank > 1 else [([None], "wrong-type")]),
        ]
    ),
    *(
        bad(f"Adaptive{kind}Pool{rank}d", shape, "wrong-rank", output_size=2)
        for kind in ("Avg", "Max")
        for rank in (1, 2, 3)
        for shape in [(4,) * rank, (1, 1, 2, *(4,) * rank)]
    ),
    *(
        bad(f"Adaptive{kind}Pool{rank}d", (2, 2, *(4,) * (rank - 1), 0), "empty-axis", output_size=2)
        for kind in ("Avg", "Max")
        for rank in (1, 2, 3)
    ),
    *(
        bad(f"AdaptiveMaxPool{rank}d", (2, 0, *(4,) * rank), "empty-axis", output_size=2)
        for rank in (1, 2, 3)
    ),
    bad("AdaptiveAvgPool3d", (2, 0, 4, 4, 4), "empty-axis", output_size=2),
    bad("AdaptiveAvgPool2d", (2, 3, 2, 0), "empty-axis", output_size=[None, 1]),
    bad("AdaptiveMaxPool2d", (2, 3, 0, 2), "empty-axis", output_size=0),
    *(
        bad(f"AdaptiveAvgPool{rank}d", (2, *(4,) * rank), "wrong-dtype", dtype="int64", output_size=size)
        for rank in (1, 2, 3)
        for size in (1, 2)
    ),
    bad("AdaptiveMaxPool2d", (2, 4, 4), "wrong-dtype", dtype="complex64", output_size=2),
    *(
        bad_unpool(f"MaxUnpool{rank}d", (1, 2, *(3,) * rank), code, parameter, **{parameter: value})
        for rank in (1, 2, 3)
        for parameter, value, code in [
            ("output_size", [4] * rank, "output-size-out-of-range"),
            ("output_size", [8] * rank, "output-size-out-of-range"),
            ("output_size", [6] * (rank + 1), "wrong-length"),
            ("padding", 4, "empty-output"),
        ]
    ),
    bad_unpool("MaxUnpool2d", (1, 2, 3, 3), "wrong-length", "kernel_size", kernel_size=[2]),
    bad_unpool("MaxUnpool2d", (1, 2, 3, 3), "wrong-length", "stride", stride=[2]),
    bad_unpool("MaxUnpool2d", (1, 2, 3, 3), "wrong-length", "padding", padding=[0]),
    bad_unpool("MaxUnpool2d", (2, 3, 3), "wrong-length", "output_size", output_size=[2, 6, 6]),
    bad_unpool("MaxUnpool2d", (3, 3), "wrong-rank"),
    bad_unpool("MaxUnpool1d", (3,), "wrong-rank"),
    bad_unpool("MaxUnpool3d", (3, 3, 3), "wrong-rank"),
    bad_unpool("MaxUnpool2d", (1, 2, 3, 3), "wrong-dtype", dtype="int32"),
    bad_unpool("MaxUnpool2d", (1, 2, 3, 3), "wrong-dtype", dtype="float32"),
    bad_unpool("MaxUnpool2d", (2, 3, 3), "shape-mismatch", indices=(2, 3, 4)),
    bad_unpool("MaxUnpool2d", (2, 3, 3), "shape-mismatch", indices=(1, 2, 3, 3)),
    bad_unpool("MaxUnpool2d", (2, 0, 3, 3), "empty-axis"),
    bad_unpool("MaxUnpool2d", (1, 2, 0, 3), "empty-axis"),
    bad_unpool("MaxUnpool3d", (1, 0, 2, 2, 2), "empty-axis"),
    bad_unpool("MaxUnpool1d", (1, 3), None, indices=[[0, 6, 1]]),
    bad_unpool("MaxUnpool1d", (1, 3), None, indices=[[0, -1, 1]]),
    bad_unpool("MaxUnpool2d", (1, 1, 1), None, indices=[[[4]]]),
    bad_unpool("MaxUnpool3d", (1, 1, 1, 1), None, indices=[[[[8]]]]),
    bad("AvgPool3d", (2, 2, 6, 4), "kernel-too-large", "kernel_size", kernel_size=3, padding=1),
    bad("AvgPool3d", (2, 2, 3, 1), "kernel-too-large", "kernel_size", kernel_size=2, ceil_mode=True),
    bad(
        "LPPool3d",
        (2, 1, 3, 8),
        "kernel-too-large",
        "kernel_size",
        norm_type=3,
        kernel_size=2,
        ceil_mode=True,
    ),
    bad("AdaptiveAvgPool2d", (2, 3, 2, 5, 2), "wrong-rank", output_size=[1, 2]),
    bad("LPPool1d", (2, 6), "wrong-type", "kernel_size", norm_type=2, kernel_size=[2]),
    bad("AdaptiveAvgPool2d", (5, 2), "wrong-rank", output_size=[1, 1]),
    bad("AdaptiveAvgPool2d", (5,), "wrong-rank", output_size=1),
]
