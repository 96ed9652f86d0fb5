"""Upsample, interpolate, UpsamplingNearest2d and UpsamplingBilinear2d; the shuffles."""

from typing import Any

from tests.layers.oracle import Arg, Case, Rejection

SIZES = {1: (5,), 2: (3, 4), 3: (2, 3, 2)}
SMOOTH = {1: ("linear",), 2: ("bilinear", "bicubic"), 3: ("trilinear",)}


def _interpolate(case: Case, tensors: list[Any]) -> Any:
    import torch

    parameters = {k: tuple(v) if isinstance(v, list) else v for k, v in case.parameters.items()}
    return torch.nn.functional.interpolate(tensors[0], **parameters)


def _complex(case: Case, tensors: list[Any]) -> Any:
    """torch's CPU build resamples no complex numbers; real and imaginary parts are resampled alone."""
    import torch

    parameters = {k: tuple(v) if isinstance(v, list) else v for k, v in case.parameters.items()}
    module = torch.nn.Upsample(**parameters)
    (x,) = tensors
    return torch.complex(module(x.real), module(x.imag)) if x.is_complex() else module(x)


TORCH = {"interpolate": _interpolate, "Upsample": _complex}


def up(name: str, shape: tuple[int, ...], dtype: str = "float32", **parameters: Any) -> Case:
    """One resampling."""
    network = dtype if dtype.startswith(("float", "complex")) else "float32"
    tolerance = {"float16": 2e-3, "float64": 1e-9}.get(dtype, 2e-5)
    return Case(name, parameters, (Arg(shape, dtype),), dtype=network, tolerance=tolerance)


CASES = [
    *(
        up("Upsample", (2, 1, *SIZES[rank]), mode=mode, **parameters)
        for rank in (1, 2, 3)
        for mode in ("nearest", "nearest-exact", "area", *SMOOTH[rank])
        for parameters in (
            {"scale_factor": 2},
            {"scale_factor": 1.5},
            {"scale_factor": 0.5},
            {"scale_factor": 0.7},
            {"scale_factor": 2.3},
            {"scale_factor": 1},
            {"scale_factor": 1.7, "recompute_scale_factor": True},
            {"scale_factor": 0.7, "recompute_scale_factor": True},
            {"scale_factor": 1.7, "recompute_scale_factor": False},
            {"scale_factor": [1.5, 2, 0.5][:rank]},
            {"size": 5},
            {"size": 1},
            {"size": [3, 5, 2][:rank]},
        )
    ),
    *(
        up("Upsample", (2, 1, *SIZES[rank]), mode=mode, align_corners=corners, **parameters)
        for rank in (1, 2, 3)
        for mode in SMOOTH[rank]
        for corners in (True, False)
        for parameters in (
            {"scale_factor": 2},
            {"scale_factor": 1.7},
            {"scale_factor": 0.6, "recompute_scale_factor": True},
            {"size": 1},
            {"size": [3, 5, 1][:rank]},
        )
    ),
    *(
        up("Upsample", shape, dtype, mode=mode, scale_factor=scale)
        for rank in (1, 2, 3)
        for mode in ("nearest", "nearest-exact", "area", *SMOOTH[rank])
        for shape, dtype, scale in [
            ((0, 2, *SIZES[rank]), "float32", 2),
            ((1, 1, *(1,) * rank), "float32", 3),
            ((1, 1, *SIZES[rank]), "float64", 1.7),
            ((1, 1, *SIZES[rank]), "complex64", 1.7),
            *([((1, 1, *SIZES[rank]), "float16", 2)] if mode != "area" or rank < 3 else []),
        ]
    ),
    up("Upsample", (1, 1, 3, 3), mode="area", scale_factor=0.1),
    up("Upsample", (1, 1, 2, 100), scale_factor=[1, 1.15]),
    up("Upsample", (1, 1, 30), scale_factor=1 / 3),
    up("Upsample", (1, 1, 3, 3), "uint8", scale_factor=2),
    Case(
        "Upsample",
        {"scale_factor": 2, "mode": "bicubic"},
        (Arg((1, 1, 4, 4), kind="special"),),
        label="special",
    ),
    *(
        up(name, (1, 2, 4, 5), dtype, **parameters)
        for name in ("UpsamplingNearest2d", "UpsamplingBilinear2d")
        for dtype, parameters in [
            ("float32", {"scale_factor": 2}),
            ("float32", {"scale_factor": 1.7}),
            ("float32", {"scale_factor": [1.5, 3]}),
            ("float32", {"size": 5}),
            ("float32", {"size": [3, 9]}),
            ("float64", {"scale_factor": 2}),
        ]
    ),
    up("UpsamplingNearest2d", (1, 2, 5), scale_factor=2),
    up("UpsamplingNearest2d", (1, 2, 3, 2, 2), size=4),
    *(
        up("interpolate", (1, 1, *SIZES[rank]), mode=mode, **parameters)
        for rank in (1, 2, 3)
        for mode in ("nearest", "nearest-exact", "area", *SMOOTH[rank])
        for parameters in ({"scale_factor": 2}, {"scale_factor": 0.7}, {"size": [3, 5, 2][:rank]})
    ),
    up("interpolate", (1, 2, 4, 5), size=6),
    up("interpolate", (1, 2, 4, 5), scale_factor=[2.0, 3.0]),
    up("interpolate", (1, 2, 4, 5), scale_factor=1.7, mode="bilinear", align_corners=True),
    up("interpolate", (1, 2, 4, 5), scale_factor=1.7, mode="bilinear", recompute_scale_factor=True),
    *(
        up("interpolate", (1, 2, 9, 7), dtype, mode=mode, antialias=True, **parameters)
        for mode in ("bilinear", "bicubic")
        for dtype, parameters in [
            ("float32", {"scale_factor": 0.5}),
            ("float32", {"scale_factor": 0.3}),
            ("float32", {"scale_factor": 1.7}),
            ("float32", {"scale_factor": 0.3, "recompute_scale_factor": True}),
            ("float32", {"size": [3, 10]}),
            ("float32", {"size": [4, 3], "align_corners": True}),
            ("float64", {"size": [4, 3]}),
        ]
    ),
    *(
        up(name, shape, dtype, **{parameter: factor})
        for name, parameter, cases in [
            (
                "PixelShuffle",
                "upscale_factor",
                [
                    ((8, 2, 3), 2),
                    ((1, 9, 2, 3), 3),
                    ((2, 1, 4, 2, 2), 2),
                    ((3, 2, 2), 1),
                    ((0, 2, 2), 2),
                    ((8, 0, 2), 2),
                    ((0, 8, 2, 2), 2),
                ],
            ),
            (
                "PixelUnshuffle",  # of an empty tensor torch gives the shape unchanged
                "downscale_factor",
                [
                    ((2, 4, 6), 2),
                    ((1, 1, 3, 6), 3),
                    ((2, 1, 2, 4, 2), 2),
                    ((3, 2, 2), 1),
                ],
            ),
            (
                "ChannelShuffle",
                "groups",
                [
                    ((1, 6, 2, 2), 2),
                    ((1, 6, 2, 2), 3),
                    ((4, 2, 2), 2),
                    ((1, 4, 3), 2),
                    ((1, 4, 1, 2, 2, 1), 4),
                    ((1, 3, 2), 1),
                    ((0, 4, 2), 2),
                    ((1, 0, 2), 2),
                    ((1, 4, 0), 2),
                ],
            ),
        ]
        for shape, factor in cases
        for dtype in ("float32",)
    ),
    *(
        up(name, (1, 4, 2, 2), dtype, **{parameter: 2})
        for name, parameter in [
            ("PixelShuffle", "upscale_factor"),
            ("PixelUnshuffle", "downscale_factor"),
            ("ChannelShuffle", "groups"),
        ]
        for dtype in ("int64", "complex64", "float16", "bool")
    ),
    Case(
        "Upsample",
        {"mode": "linear", "size": 3},
        (Arg((2, 1, 5), "complex128"),),
        dtype="complex128",
        tolerance=1e-12,
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
    """One refused change of size."""
    return Rejection(name, parameters, (Arg(shape, dtype),), code=code, parameter=parameter)


REJECTIONS = [
    *(
        bad(name, (1, 1, 3, 3), code, parameter, **parameters)
        for name in ("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d", "interpolate")
        for code, parameter, parameters in [
            ("missing-key", None, {}),
            ("conflicting-parameters", "scale_factor", {"size": 3, "scale_factor": 2}),
            ("out-of-range", "size", {"size": 0}),
            ("out-of-range", "size", {"size": -1}),
            ("wrong-type", "size", {"size": 2.5}),
            ("wrong-type", "size", {"size": [None, 3]}),
            ("wrong-length", "size", {"size": [3]}),
            ("wrong-length", "size", {"size": [3, 3, 3]}),
            ("out-of-range", "scale_factor", {"scale_factor": 0}),
            ("out-of-range", "scale_factor", {"scale_factor": -1.0}),
            ("out-of-range", "scale_factor", {"scale_factor": float("inf")}),
            ("out-of-range", "scale_factor", {"scale_factor": float("nan")}),
            ("wrong-type", "scale_factor", {"scale_factor": "two"}),
            ("wrong-length", "scale_factor", {"scale_factor": [2.0, 2.0, 2.0]}),
            ("empty-output", "scale_factor", {"scale_factor": 0.1}),
        ]
    ),
    *(
        bad(name, shape, "wrong-rank", None, scale_factor=2, mode=mode)
        for name in ("Upsample", "interpolate")
        for shape, mode in [
            ((1, 3), "nearest"),
            ((1, 1, 1, 1, 1, 3), "nearest"),
            ((1, 1, 3, 3), "linear"),
            ((1, 1, 3), "bilinear"),
            ((1, 1, 3, 3, 3), "bilinear"),
            ((1, 1, 3), "bicubic"),
            ((1, 1, 3, 3, 3), "bicubic"),
            ((1, 1, 3, 3), "trilinear"),
            ((1, 3), "area"),
        ]
    ),
    *(
        bad(
            name,
            (1, 1, 3, 3),
            "conflicting-parameters",
            "align_corners",
            scale_factor=2,
            mode=mode,
            align_corners=corners,
        )
        for name in ("Upsample", "interpolate")
        for mode in ("nearest", "nearest-exact", "area")
        for corners in (True, False)
    ),
    *(
        bad(
            name,
            (1, 1, 3, 3),
            "conflicting-parameters",
            "recompute_scale_factor",
            size=5,
            recompute_scale_factor=True,
        )
        for name in ("Upsample", "interpolate")
    ),
    *(
        bad(name, (1, 1, 3, 3), "unknown-value", "mode", scale_factor=2, mode="cubic")
        for name in ("Upsample", "interpolate")
    ),
    *(
        bad("Upsample", shape, "empty-axis", None, size=3, mode=mode)
        for mode, shape in [
            ("nearest", (1, 0, 3)),
            ("nearest", (1, 1, 0, 3)),
            ("nearest", (1, 0, 3, 3, 3)),
            ("nearest-exact", (1, 0, 3, 3)),
            ("linear", (1, 0, 3)),
            ("bilinear", (1, 0, 3, 3)),
            ("bicubic", (1, 1, 3, 0)),
            ("trilinear", (1, 0, 3, 3, 3)),
            ("area", (1, 1, 0, 3)),
            ("area", (1, 0, 3, 3, 3)),
        ]
    ),
    bad("UpsamplingNearest2d", (1, 3), "wrong-rank", None, scale_factor=2),
    bad("UpsamplingBilinear2d", (1, 1, 3), "wrong-rank", None, scale_factor=2),
    *(
        bad("Upsample", (1, 1, 3, 3), "wrong-dtype", None, "int64", scale_factor=2, mode=mode)
        for mode in ("bilinear", "bicubic", "area")
    ),
    bad("Upsample", (1, 1, 3, 3), "wrong-dtype", None, "bool", scale_factor=2),
    bad("interpolate", (1, 1, 3, 3), "conflicting-parameters", "antialias", scale_factor=0.5, antialias=True),
    bad(
        "interpolate",
        (1, 1, 3),
        "conflicting-parameters",
        "antialias",
        scale_factor=0.5,
        mode="linear",
        antialias=True,
    ),
    *(
        bad(name, shape, code, None if code == "wrong-rank" else parameter, **{parameter: value})
        for name, parameter, cases in [
            (
                "PixelShuffle",
                "upscale_factor",
                [
                    ((2, 2), 2, "wrong-rank"),
                    ((6, 2, 2), 2, "not-divisible"),
                    ((8, 2, 2), 0, "out-of-range"),
                    ((8, 2, 2), -2, "out-of-range"),
                    ((8, 2, 2), 2.0, "wrong-type"),
                ],
            ),
            (
                "PixelUnshuffle",  # of an empty tensor torch gives the shape unchanged
                "downscale_factor",
                [
                    ((2, 2), 2, "wrong-rank"),
                    ((2, 4, 5), 2, "not-divisible"),
                    ((2, 5, 4), 2, "not-divisible"),
                    ((2, 4, 4), 0, "out-of-range"),
                    ((2, 4, 4), -2, "out-of-range"),
                ],
            ),
            (
                "ChannelShuffle",
                "groups",
                [
                    ((1, 4), 2, "wrong-rank"),
                    ((1, 5, 2), 2, "groups-do-not-divide"),
                    ((1, 5, 2), 0, "out-of-range"),
                    ((1, 5, 2), -1, "out-of-range"),
                ],
            ),
        ]
        for shape, value, code in cases
    ),
]
