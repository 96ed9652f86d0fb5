"""ZeroPad, ConstantPad, ReflectionPad, ReplicationPad and CircularPad, 1d to 3d."""

from typing import Any

from tests.layers.oracle import Arg, Case, Rejection

SIZES = {1: (5,), 2: (3, 4), 3: (2, 3, 4)}
INF = float("inf")


def pad(name: str, shape: tuple[int, ...], padding: Any, dtype: str = "float32", **parameters: Any) -> Case:
    """One padding of an array of this shape."""
    network = dtype if dtype.startswith(("float", "complex")) else "float32"
    return Case(name, {"padding": padding, **parameters}, (Arg(shape, dtype),), dtype=network)


def _constant(name: str) -> dict[str, Any]:
    return {"value": 3.5} if name == "Constant" else {}


CASES = [
    # any number of axes in front; any dtype
    *(
        pad(f"{name}Pad{rank}d", shape, padding, dtype, **_constant(name))
        for name in ("Zero", "Constant")
        for rank in (1, 2, 3)
        for shape, padding, dtype in [
            ((2, 3, *SIZES[rank]), 1, "float32"),
            ((2, *SIZES[rank]), list(range(1, 2 * rank + 1)), "float32"),
            (SIZES[rank], [0, 2, 1, 0, 0, 3][: 2 * rank], "float32"),
            ((1, 1, 2, *SIZES[rank]), 1, "float32"),
            ((2, *SIZES[rank]), 0, "float32"),
            ((2, *SIZES[rank]), -1, "float32"),
            ((2, *SIZES[rank]), [-1, 2, 1, -2, 2, -1][: 2 * rank], "float32"),
            ((2, *SIZES[rank]), [-2, -2, 3, 0, 0, 0][: 2 * rank], "float32"),
            ((0, 2, *SIZES[rank]), 1, "float32"),
            ((2, *SIZES[rank][:-1], 0), 2, "float32"),
            ((2, *SIZES[rank]), 1, "float64"),
            ((2, *SIZES[rank]), 1, "float16"),
            ((2, *SIZES[rank]), 1, "complex64"),
            ((2, *SIZES[rank]), 1, "int64"),
            ((2, *SIZES[rank]), 1, "uint8"),
            ((2, *SIZES[rank]), 1, "bool"),
        ]
    ),
    pad("ZeroPad1d", (4,), [-4, 7]),
    pad("ZeroPad1d", (4,), [-4, 0]),
    pad("ZeroPad2d", (4, 4), -2),
    pad("ConstantPad1d", (4,), 1, value=-7),
    pad("ConstantPad1d", (4,), 1, value=True),
    pad("ConstantPad1d", (4,), 1, value=INF),
    pad("ConstantPad1d", (4,), 1, value=float("nan")),
    pad("ConstantPad1d", (4,), 1, value=2),
    pad("ConstantPad1d", (4,), 1, "int64", value=-2.7),
    pad("ConstantPad1d", (4,), 1, "int8", value=-128),
    pad("ConstantPad1d", (4,), 1, "uint8", value=255),
    pad("ConstantPad1d", (4,), 1, "bool", value=0),
    pad("ConstantPad1d", (4,), 1, "float16", value=65504),
    pad("ConstantPad1d", (4,), 1, "float16", value=-INF),
    pad("ConstantPad1d", (4,), 1, "float64", value=1e300),
    # values from the input
    *(
        pad(f"{name}Pad{rank}d", shape, padding, dtype)
        for name in ("Reflection", "Replication", "Circular")
        for rank in (1, 2, 3)
        for shape, padding, dtype in [
            ((2, 3, *SIZES[rank]), 1, "float32"),
            ((2, *SIZES[rank]), [1, 2, 0, 1, 1, 0][: 2 * rank], "float32"),
            ((2, *SIZES[rank]), [3, 0, 2, 2, 1, 1][: 2 * rank], "float32"),
            ((2, *SIZES[rank]), 0, "float32"),
            ((2, *SIZES[rank]), [-1, 2, 1, 0, 1, 0][: 2 * rank], "float32"),
            ((2, *SIZES[rank]), [1, -2, -1, 1, 0, -1][: 2 * rank], "float32"),
            ((2, *SIZES[rank]), [-1, -1, -1, -1, 0, -1][: 2 * rank], "float32"),
            ((0, 2, *SIZES[rank]), 1, "float32"),
            ((2, *SIZES[rank]), 1, "float64"),
            ((2, *SIZES[rank]), 1, "float16"),
            ((2, *SIZES[rank]), 1, "complex64"),
            ((2, *SIZES[rank]), 1, "int64"),
            ((2, *SIZES[rank]), 1, "uint8"),
        ]
    ),
    # a crop looks at the whole input first, except for wrapping around
    *(
        pad("ReflectionPad1d", (2, 4), padding)
        for padding in ([3, 3], [-2, 3], [-3, 3], [-4, 3], [-5, 3], [3, -3], [3, -6], [-2, -1])
    ),
    *(
        pad("ReplicationPad1d", (2, 4), padding)
        for padding in ([9, 9], [-4, 2], [-5, 2], [2, -4], [2, -5], [-3, 0])
    ),
    pad("ReplicationPad2d", (1, 3, 4), [-1, 2, -4, 4]),
    pad("ReflectionPad2d", (1, 3, 4), [-1, -3, -1, 1]),
    pad("ReplicationPad3d", (1, 1, 1, 1), 2),
    pad("ReplicationPad3d", (1, 2, 3, 4), [-1, 2, -3, 4, 0, 1]),
    *(
        pad("CircularPad1d", (2, 4), padding)
        for padding in ([4, 4], [-1, 2], [-1, 3], [3, -1], [-2, -2], [-2, 2])
    ),
    pad("CircularPad1d", (2, 4), 1, "bool"),
    pad("CircularPad1d", (1, 0), 0),
    pad("CircularPad1d", (2, 0, 4), 1),
    pad("CircularPad1d", (0, 4), 1),
    pad("CircularPad3d", (1, 1, 3, 4, 5), [1, 2, 3, 0, 1, -1]),
    Case("ConstantPad1d", {"padding": -1, "value": float("nan")}, (Arg((4,), "int64"),), label="only crops"),
    Case("ConstantPad1d", {"padding": [-1, 0], "value": 300}, (Arg((4,), "int8"),), label="only crops"),
]


def bad(
    name: str,
    shape: tuple[int, ...],
    code: str,
    padding: Any,
    parameter: str | None = "padding",
    dtype: str = "float32",
    **parameters: Any,
) -> Rejection:
    """One refused padding."""
    return Rejection(
        name, {"padding": padding, **parameters}, (Arg(shape, dtype),), code=code, parameter=parameter
    )


REJECTIONS = [
    *(
        bad(f"{name}Pad{rank}d", (1, 2, *SIZES[rank]), code, padding, **_constant(name))
        for name in ("Zero", "Constant", "Reflection", "Replication", "Circular")
        for rank in (1, 2, 3)
        for padding, code in [
            (1.5, "wrong-type"),
            ([1] * (2 * rank + 1), "wrong-length"),
            ([1], "wrong-length"),
            ("same", "wrong-type"),
        ]
    ),
    *(
        bad(f"{name}Pad{rank}d", shape, "wrong-rank", 1, None)
        for name in ("Reflection", "Replication", "Circular")
        for rank in (1, 2, 3)
        for shape in [(4,) * rank, (1, 1, 2, *(4,) * rank)]
    ),
    *(
        bad(f"{name}Pad{rank}d", (4,) * (rank - 1), "wrong-rank", 1, None, **_constant(name))
        for name in ("Zero", "Constant")
        for rank in (1, 2, 3)
    ),
    *(
        bad(f"{name}Pad{rank}d", shape, "empty-axis", 0, None)
        for name in ("Reflection", "Replication")
        for rank in (1, 2, 3)
        for shape in [(2, 0, *(4,) * rank), (0, *(4,) * rank), (2, *(4,) * (rank - 1), 0)]
    ),
    bad("ReflectionPad1d", (2, 4), "padding-too-large", 4),
    bad("ReflectionPad1d", (2, 4), "padding-too-large", [0, 4]),
    bad("ReflectionPad2d", (2, 3, 4), "padding-too-large", [1, 2, 0, 3]),
    bad("ReflectionPad3d", (2, 3, 4, 1), "padding-too-large", 1),
    bad("CircularPad1d", (2, 4), "padding-too-large", 5),
    bad("CircularPad1d", (1, 4), "padding-too-large", [-1, 4]),
    bad("CircularPad1d", (1, 4), "padding-too-large", [3, -3]),
    bad("CircularPad2d", (2, 3, 4), "padding-too-large", [1, 2, 4, 0]),
    bad("CircularPad1d", (2, 4), "crop-too-large", [-3, -2]),
    bad("CircularPad1d", (2, 4), "crop-too-large", [-5, 4]),
    bad("ReflectionPad1d", (2, 4), "crop-too-large", -2),
    bad("ReplicationPad1d", (2, 4), "crop-too-large", -2),
    bad("ReplicationPad2d", (2, 3, 4), "crop-too-large", [-2, -2, -2, -1]),
    bad("ReflectionPad2d", (2, 3, 4), "crop-too-large", [-3, -2, 0, 0]),
    bad("ZeroPad1d", (4,), "crop-too-large", [-5, 2]),
    bad("ZeroPad1d", (4,), "crop-too-large", [2, -5]),
    bad("ZeroPad2d", (4, 4), "crop-too-large", -3),
    bad("ConstantPad2d", (4, 4), "crop-too-large", [0, 0, -3, -2], value=1),
    bad("ConstantPad1d", (4,), "out-of-range", 1, "value", "uint8", value=-1),
    bad("ConstantPad1d", (4,), "out-of-range", 1, "value", "uint8", value=300),
    bad("ConstantPad1d", (4,), "out-of-range", 1, "value", "int8", value=128),
    bad("ConstantPad1d", (4,), "out-of-range", 1, "value", "int64", value=float("nan")),
    bad("ConstantPad1d", (4,), "out-of-range", 1, "value", "int64", value=INF),
    bad("ConstantPad1d", (4,), "out-of-range", 1, "value", value=1e39),
    bad("ConstantPad1d", (4,), "missing-parameter", 1, "value"),
    bad("ConstantPad1d", (4,), "out-of-range", 1, "value", "int8", value=127.9),
    bad("ConstantPad1d", (4,), "out-of-range", 1, "value", "uint8", value=-0.5),
]
