"""Conv1d to 3d and ConvTranspose1d to 3d."""

from typing import Any

from tests.layers.oracle import Arg, Case, Rejection

SIZES = {1: (8,), 2: (4, 5), 3: (3, 4, 3)}
BATCH = {1: 2, 2: 1, 3: 1}
BASE: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "kernel_size": 3}
UP: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "kernel_size": 3}


def conv(rank: int, shape: tuple[int, ...] | None = None, dtype: str = "float32", **parameters: Any) -> Case:
    """One convolution of four channels, by default of two samples."""
    arg = Arg((BATCH[rank], 4, *SIZES[rank]) if shape is None else shape, dtype)
    tolerance = {"float16": 5e-3, "float64": 1e-10}.get(dtype, 2e-5)
    return Case(f"Conv{rank}d", {**BASE, **parameters}, (arg,), dtype=dtype, tolerance=tolerance)


def up(rank: int, shape: tuple[int, ...] | None = None, dtype: str = "float32", **parameters: Any) -> Case:
    """One transposed convolution of four channels, by default of two samples."""
    sizes = {1: (5,), 2: (3, 4), 3: (2, 2, 2)}[rank]
    arg = Arg((BATCH[rank], 4, *sizes) if shape is None else shape, dtype)
    tolerance = {"float16": 5e-3, "float64": 1e-10}.get(dtype, 2e-5)
    return Case(f"ConvTranspose{rank}d", {**UP, **parameters}, (arg,), dtype=dtype, tolerance=tolerance)


CASES = [
    # every rank: defaults, bias, stride, padding, dilation, groups, unbatched, empty batch, other dtypes
    *(
        conv(rank, **parameters)
        for rank in (1, 2, 3)
        for parameters in (
            {},
            {"bias": False},
            {"stride": 2},
            {"padding": 1},
            {"padding": 2, "stride": 3},
            {"padding": "same"},
            {"padding": "same", "kernel_size": 2},
            {"padding": "same", "kernel_size": 2, "dilation": 3},
            {"padding": "valid", "stride": 2},
            {"dilation": 2, "padding": 2},
            {"kernel_size": 1},
            {"kernel_size": 1, "stride": 2, "padding": 1},
            {"groups": 2},
            {"groups": 2, "stride": 2, "padding": 1, "bias": False},
            {"groups": 4, "padding": 1},
            {"groups": 4, "out_channels": 8, "stride": 2},
            {"shape": (4, *SIZES[rank]), "padding": 1},
            {"shape": (0, 4, *SIZES[rank]), "padding": 1},
            {"dtype": "float64", "padding": 1},
            {"dtype": "complex64", "padding": 1},
        )
    ),
    *(
        conv(rank, padding_mode=mode, **parameters)
        for rank in (1, 2, 3)
        for mode in ("reflect", "replicate", "circular")
        for parameters in (
            {"padding": 1},
            {"padding": 2, "kernel_size": 2, "stride": 2},
            {"padding": "same", "kernel_size": 4},
            {"padding": "same", "kernel_size": 2, "dilation": 3},
        )
    ),
    *(
        conv(2, padding_mode=mode, **parameters)
        for mode in ("reflect", "replicate", "circular")
        for parameters in (
            {"padding": [2, 0]},
            {"padding": "valid"},
            {"padding": 1, "groups": 2},
            {"padding": 1, "shape": (4, 4, 4)},
            {"padding": 1, "shape": (0, 4, 4, 4)},
            {"padding": 1, "dtype": "complex64"},
            {"padding": [1, 2], "dtype": "float64"},
        )
    ),
    conv(1, (2, 4, 2), padding=2, padding_mode="circular"),
    conv(1, (2, 4, 3), padding=2, padding_mode="reflect"),
    conv(1, (2, 4, 1), padding=5, padding_mode="replicate"),
    conv(1, (2, 4, 1), padding=1),
    conv(1, (2, 4, 3), stride=5),
    conv(1, (2, 4, 9), stride=4, kernel_size=2),
    conv(1, dtype="float16", padding=1),
    conv(2, kernel_size=[3, 2], stride=[2, 1], padding=[2, 0], dilation=[1, 3]),
    conv(2, kernel_size=[1, 5], padding=[0, 2]),
    conv(2, padding=[1], stride=[2], dilation=[1]),
    conv(2, (1, 4, 1, 1), padding=1),
    conv(2, (0, 4, 0, 3), padding=2),
    conv(2, (1, 4, 9, 11), padding=1, out_channels=3),
    conv(2, (1, 4, 9, 9), kernel_size=7, padding=3, stride=2, out_channels=3),
    conv(2, (1, 4, 12, 11), kernel_size=5, padding=2, out_channels=2),
    conv(2, dtype="float16", padding=1),
    conv(2, (1, 1, 5, 5), in_channels=1, out_channels=1, kernel_size=5),
    Case("Conv2d", {"out_channels": 3, "kernel_size": 3, "in_channels": 1}, (Arg((1, 5, 5)),)),
    Case("Conv2d", {**BASE, "padding": 1}, (Arg((1, 4, 5, 5), kind="special"),)),
    conv(3, kernel_size=[1, 2, 3], stride=[2, 1, 1], padding=[0, 1, 2], dilation=[1, 2, 1]),
    # the transposed ones
    *(
        up(rank, **parameters)
        for rank in (1, 2, 3)
        for parameters in (
            {},
            {"bias": False},
            {"stride": 2},
            {"stride": 2, "padding": 1, "output_padding": 1},
            {"stride": 3, "kernel_size": 2, "output_padding": 2},
            {"kernel_size": 1, "stride": 3, "output_padding": 2},
            {"dilation": 2},
            {"dilation": 3, "stride": 2, "output_padding": 2, "padding": 1},
            {"padding": 1},
            {"groups": 2, "stride": 2},
            {"groups": 4, "stride": 2, "padding": 1},
            {"groups": 4, "out_channels": 8},
            {"shape": (4, *{1: (5,), 2: (3, 4), 3: (2, 2, 2)}[rank]), "stride": 2},
            {"shape": (0, 4, *{1: (5,), 2: (3, 4), 3: (2, 2, 2)}[rank]), "stride": 2},
            {"dtype": "float64", "stride": 2},
            {"dtype": "complex64", "stride": 2},
        )
    ),
    up(1, stride=2, output_size=[11]),
    up(1, stride=2, output_size=[12]),
    up(1, stride=2, output_size=[2, 4, 12]),
    up(1, (4, 5), stride=2, output_size=[4, 12]),
    up(1, (4, 5), stride=2, padding=1, output_padding=5, output_size=[10]),
    up(1, stride=3, kernel_size=1, output_size=[15]),
    up(1, (2, 4, 1), padding=1),
    up(1, dtype="float16", stride=2),
    up(2, kernel_size=[3, 2], stride=[2, 3], padding=[1, 0], output_padding=[0, 2]),
    up(2, stride=2, padding=1, output_size=[5, 8]),
    up(2, stride=2, padding=1, output_size=[1, 4, 6, 7]),
    up(2, stride=[2], output_padding=[1], padding=[1]),
    up(2, (1, 4, 8, 9), kernel_size=4, stride=2, padding=1, out_channels=2),
    up(2, (1, 4, 6, 6), kernel_size=5, stride=1, padding=4, out_channels=2),
    up(2, dtype="float16", stride=2),
    up(3, kernel_size=[1, 2, 3], stride=[2, 1, 2], padding=[0, 1, 1], output_padding=[1, 0, 1]),
    up(3, stride=2, output_size=[5, 6, 6]),
]


def bad(
    name: str,
    shape: tuple[int, ...],
    code: str,
    parameter: str | None = None,
    dtype: str = "float32",
    **parameters: Any,
) -> Rejection:
    """One refused convolution of two channels."""
    base = {"in_channels": 2, "out_channels": 3, "kernel_size": 3}
    return Rejection(name, {**base, **parameters}, (Arg(shape, dtype),), code=code, parameter=parameter)


REJECTIONS = [
    *(
        bad(name, (2, 2, *(6,) * rank), code, parameter, **{parameter: value})
        for rank in (1, 2, 3)
        for name in (f"Conv{rank}d", f"ConvTranspose{rank}d")
        for parameter, value, code in [
            ("kernel_size", 0, "out-of-range"),
            ("kernel_size", -1, "out-of-range"),
            ("kernel_size", 1.5, "wrong-type"),
            ("kernel_size", [3] * (rank + 1), "wrong-length"),
            ("stride", 0, "out-of-range"),
            ("stride", [1] * (rank + 1), "wrong-length"),
            ("padding", -1, "out-of-range"),
            ("dilation", 0, "out-of-range"),
            ("groups", 0, "out-of-range"),
            ("groups", 2, "groups-do-not-divide"),
            ("out_channels", 0, "out-of-range"),
            ("in_channels", -2, "out-of-range"),
            ("padding_mode", "mirror", "unknown-value"),
        ]
    ),
    bad("Conv2d", (1, 2, 6, 6), "wrong-length", "kernel_size", kernel_size=[3]),
    bad("ConvTranspose2d", (1, 2, 6, 6), "wrong-length", "kernel_size", kernel_size=[3]),
    bad("Conv2d", (1, 2, 6, 6), "groups-do-not-divide", "groups", groups=3),
    bad("Conv2d", (1, 2, 6, 6), "unknown-value", "padding", padding="full"),
    bad("Conv1d", (1, 2, 6), "strided-same", "stride", padding="same", stride=2),
    bad("Conv2d", (1, 2, 6, 6), "strided-same", "stride", padding="same", stride=[1, 2]),
    *(
        bad(f"{name}{rank}d", shape, "wrong-rank")
        for name in ("Conv", "ConvTranspose")
        for rank in (1, 2, 3)
        for shape in [(6,) * rank, (1, 1, 2, *(6,) * rank)]
    ),
    *(
        bad(f"{name}{rank}d", (1, 5, *(6,) * rank), "channel-mismatch", "in_channels")
        for name in ("Conv", "ConvTranspose")
        for rank in (1, 2, 3)
    ),
    bad("Conv2d", (1, 2, 6), "channel-mismatch", "in_channels"),
    *(
        bad(name, (1, 2, 6, 6), "wrong-dtype", dtype=dtype)
        for name in ("Conv2d", "ConvTranspose2d")
        for dtype in ("int64", "complex64", "bool")
    ),
    bad("Conv1d", (1, 2, 2), "kernel-too-large", "kernel_size"),
    bad("Conv2d", (1, 2, 2, 5), "kernel-too-large", "kernel_size"),
    bad("Conv2d", (1, 2, 5, 4), "kernel-too-large", "kernel_size", dilation=[1, 2]),
    bad("Conv2d", (0, 2, 2, 5), "kernel-too-large", "kernel_size"),
    bad("Conv3d", (1, 2, 5, 5, 2), "kernel-too-large", "kernel_size"),
    bad("Conv1d", (1, 2, 0), "empty-axis", kernel_size=1, padding=1),
    bad("Conv2d", (1, 2, 0, 4), "empty-axis", padding=2),
    bad("Conv2d", (2, 0, 4), "empty-axis", padding=2),
    bad("Conv1d", (1, 2, 2), "padding-too-large", "padding", padding=2, padding_mode="reflect"),
    bad("Conv1d", (1, 2, 2), "padding-too-large", "padding", padding=3, padding_mode="circular"),
    bad(
        "Conv1d",
        (1, 2, 2),
        "padding-too-large",
        "padding",
        padding="same",
        kernel_size=4,
        padding_mode="reflect",
    ),
    bad(
        "Conv1d",
        (1, 2, 1),
        "padding-too-large",
        "padding",
        padding="same",
        kernel_size=4,
        padding_mode="circular",
    ),
    bad("Conv2d", (1, 2, 4, 1), "padding-too-large", "padding", padding=1, padding_mode="reflect"),
    bad("ConvTranspose2d", (1, 2, 4, 4), "unknown-value", "padding_mode", padding_mode="reflect"),
    bad("ConvTranspose1d", (1, 2, 5), "out-of-range", "output_padding", output_padding=-1, stride=3),
    bad(
        "ConvTranspose1d", (1, 2, 5), "output-padding-too-large", "output_padding", output_padding=2, stride=2
    ),
    bad(
        "ConvTranspose2d",
        (1, 2, 5, 5),
        "output-padding-too-large",
        "output_padding",
        output_padding=[1, 2],
        stride=2,
    ),
    bad("ConvTranspose3d", (1, 2, 2, 2, 2), "output-padding-too-large", "output_padding", output_padding=1),
    bad("ConvTranspose1d", (1, 2, 2), "empty-output", "padding", padding=2),
    bad("ConvTranspose2d", (1, 2, 2, 4), "empty-output", "padding", padding=3),
    bad("ConvTranspose1d", (1, 2, 1), "empty-output", "padding", padding=2, stride=2, output_padding=1),
    bad("ConvTranspose1d", (1, 2, 0), "empty-axis"),
    bad("ConvTranspose2d", (1, 2, 0, 4), "empty-axis"),
    *(
        bad("ConvTranspose1d", (1, 2, 4), code, "output_size", stride=2, output_size=size)
        for size, code in [
            ([8], "output-size-out-of-range"),
            ([11], "output-size-out-of-range"),
            ([9, 9], "wrong-length"),
            ([1, 1, 2, 9], "wrong-length"),
        ]
    ),
    bad("ConvTranspose1d", (2, 4), "wrong-length", "output_size", stride=2, output_size=[1, 3, 10]),
    bad(
        "ConvTranspose1d",
        (1, 2, 4),
        "output-size-out-of-range",
        "output_size",
        kernel_size=1,
        dilation=3,
        output_size=[5],
    ),
    bad(
        "ConvTranspose2d",
        (1, 2, 4, 4),
        "output-size-out-of-range",
        "output_size",
        stride=2,
        output_size=[9, 12],
    ),
    *(
        bad("Conv2d", (1, 2, 5, 5), "wrong-length", "padding", padding=[1], padding_mode=mode)
        for mode in ("reflect", "replicate", "circular")
    ),
]
