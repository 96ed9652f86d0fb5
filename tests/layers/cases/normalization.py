"""BatchNorm, InstanceNorm, GroupNorm, LayerNorm, RMSNorm, LocalResponseNorm."""

from typing import Any

from tests.layers.oracle import Arg, Case, Rejection

SIZES = {1: (4,), 2: (2, 3), 3: (2, 1, 2)}


def norm(
    name: str,
    shape: tuple[int, ...],
    dtype: str = "float32",
    mode: str = "eval",
    kind: str = "normal",
    **parameters: Any,
) -> Case:
    """One normalisation."""
    tolerance = {"float16": 5e-3, "float64": 1e-10}.get(dtype, 2e-5)
    return Case(name, parameters, (Arg(shape, dtype, kind),), mode=mode, dtype=dtype, tolerance=tolerance)


CASES = [
    *(
        norm(f"BatchNorm{rank}d", (*front, *SIZES[rank]), dtype, mode, num_features=3, **parameters)
        for rank in (1, 2, 3)
        for mode in ("eval", "train")
        for front, dtype, parameters in [
            ((3, 3), "float32", {}),
            ((3, 3), "float32", {"eps": 0.1}),
            ((3, 3), "float32", {"momentum": 0.3}),
            ((3, 3), "float32", {"momentum": None}),
            ((3, 3), "float32", {"momentum": 0}),
            ((3, 3), "float32", {"affine": False}),
            ((3, 3), "float32", {"bias": False}),
            ((3, 3), "float32", {"track_running_stats": False}),
            ((3, 3), "float32", {"affine": False, "track_running_stats": False}),
            ((1, 3), "float32", {}),
            ((0, 3), "float32", {}),
            ((0, 3), "float32", {"track_running_stats": False}),
            ((3, 3), "float64", {}),
            ((3, 3), "float64", {"momentum": None}),
        ]
    ),
    *(
        norm("BatchNorm1d", shape, mode=mode, num_features=3)
        for mode in ("eval", "train")
        for shape in [(3, 3), (0, 3), (2, 3, 0)]
    ),
    norm("BatchNorm1d", (1, 3), num_features=3),
    norm("BatchNorm1d", (1, 3, 2), num_features=3, track_running_stats=False),
    norm("BatchNorm1d", (1, 3, 2), mode="train", num_features=3),
    norm("BatchNorm1d", (3, 3), num_features=3, eps=0),
    norm("BatchNorm2d", (1, 3, 1, 1), num_features=3),
    norm("BatchNorm2d", (4, 3, 2, 2), "float16", num_features=3),
    norm("BatchNorm2d", (4, 3, 2, 2), kind="special", num_features=3),
    norm("BatchNorm2d", (4, 3, 2, 2), mode="train", kind="special", num_features=3),
    norm("BatchNorm2d", (4, 5, 2, 2), num_features=3, affine=False, track_running_stats=False),
    *(
        norm(f"InstanceNorm{rank}d", (*front, *SIZES[rank]), dtype, mode, num_features=3, **parameters)
        for rank in (1, 2, 3)
        for mode in ("eval", "train")
        for front, dtype, parameters in [
            ((2, 3), "float32", {}),
            ((2, 3), "float32", {"affine": True}),
            ((2, 3), "float32", {"affine": True, "bias": False}),
            ((2, 3), "float32", {"affine": True, "track_running_stats": True}),
            ((2, 3), "float32", {"track_running_stats": True, "momentum": 0.4}),
            ((2, 3), "float32", {"track_running_stats": True, "momentum": None}),
            ((2, 3), "float32", {"eps": 0.5}),
            ((3,), "float32", {"affine": True}),
            ((3,), "float32", {"track_running_stats": True}),
            ((0, 3), "float32", {}),
            ((2, 3), "float64", {"affine": True}),
        ]
    ),
    norm("InstanceNorm1d", (2, 4, 4), num_features=3),
    norm("InstanceNorm1d", (2, 3, 0), num_features=3),
    norm("InstanceNorm1d", (2, 3, 0), mode="train", num_features=3, track_running_stats=True),
    norm("InstanceNorm1d", (2, 3, 1), num_features=3, track_running_stats=True),
    norm("InstanceNorm1d", (2, 3, 4), num_features=3, eps=0),
    norm("InstanceNorm2d", (2, 3, 4, 4), "float16", num_features=3, affine=True),
    *(
        norm("GroupNorm", shape, dtype, num_groups=groups, num_channels=6, **parameters)
        for groups in (1, 2, 3, 6)
        for shape, dtype, parameters in [
            ((2, 6, 4), "float32", {}),
            ((2, 6, 2, 3), "float32", {"affine": False}),
        ]
    ),
    norm("GroupNorm", (2, 6), num_groups=2, num_channels=6),
    norm("GroupNorm", (1, 6), num_groups=2, num_channels=6),
    norm("GroupNorm", (2, 6, 1, 2, 2), num_groups=3, num_channels=6, eps=0.5),
    norm("GroupNorm", (2, 6, 4), num_groups=3, num_channels=6, bias=False),
    norm("GroupNorm", (0, 6, 4), num_groups=3, num_channels=6),
    norm("GroupNorm", (2, 6, 0), num_groups=3, num_channels=6),
    norm("GroupNorm", (2, 9, 4), num_groups=3, num_channels=6, affine=False),
    norm("GroupNorm", (2, 6, 4), "float64", num_groups=3, num_channels=6),
    norm("GroupNorm", (2, 6, 4), "float16", num_groups=3, num_channels=6),
    *(
        norm(name, shape, dtype, normalized_shape=sizes, **parameters)
        for name in ("LayerNorm", "RMSNorm")
        for shape, sizes, dtype, parameters in [
            ((2, 5), 5, "float32", {}),
            ((5,), 5, "float32", {}),
            ((2, 3, 5), 5, "float32", {}),
            ((2, 3, 5), [5], "float32", {}),
            ((2, 3, 5), [3, 5], "float32", {}),
            ((2, 3, 5), [2, 3, 5], "float32", {}),
            ((2, 3, 5), [3, 5], "float32", {"elementwise_affine": False}),
            ((2, 5), 5, "float32", {"eps": 0.5}),
            ((2, 5), 5, "float32", {"eps": 0}),
            ((2, 1), 1, "float32", {}),
            ((0, 5), 5, "float32", {}),
            ((2, 0), 0, "float32", {}),
            ((2, 5), 5, "float64", {}),
            ((2, 5), 5, "float16", {}),
        ]
    ),
    norm("LayerNorm", (2, 3, 5), normalized_shape=[3, 5], bias=False),
    norm("LayerNorm", (2, 5), normalized_shape=5, elementwise_affine=False, bias=True),
    Case(
        "RMSNorm",
        {"normalized_shape": 3},
        (Arg(values=[[0.0, 0.0, 0.0], [1e-4, -2e-4, 3e-4]]),),
        label="tiny",
    ),
    Case(
        "RMSNorm",
        {"normalized_shape": 3},
        (Arg(values=[[1e-4, -2e-4, 3e-4]], dtype="float16"),),
        dtype="float16",
        tolerance=5e-3,
        label="tiny",
    ),
    Case(
        "RMSNorm",
        {"normalized_shape": 3},
        (Arg(values=[[1e-9, -2e-9, 3e-9]], dtype="float64"),),
        dtype="float64",
        label="tiny",
    ),
    norm("RMSNorm", (2, 4), "complex64", normalized_shape=4),
    norm("RMSNorm", (2, 4), "complex64", normalized_shape=4, elementwise_affine=False),
    *(
        norm("LocalResponseNorm", shape, dtype, **{"size": 2, **parameters})
        for shape, dtype, parameters in [
            ((2, 5, 3), "float32", {}),
            ((2, 5, 3), "float32", {"size": 1}),
            ((2, 5, 3), "float32", {"size": 3}),
            ((2, 5, 3), "float32", {"size": 9}),
            ((2, 5, 3), "float32", {"size": 5, "alpha": 2.0, "beta": 0.5, "k": 3.0}),
            ((2, 5, 2, 3), "float32", {"size": 3, "alpha": 1.0}),
            ((2, 5, 2, 1, 2), "float32", {"size": 4, "alpha": 1.0}),
            ((0, 5, 3), "float32", {}),
            ((2, 0, 3), "float32", {}),
            ((2, 5, 3), "float64", {"alpha": 1.0}),
            ((2, 5, 3), "float16", {"alpha": 1.0}),
        ]
    ),
    Case("RMSNorm", {"normalized_shape": 4}, (Arg((2, 4), "complex64"),), label="real weight"),
    Case("LocalResponseNorm", {"size": 3, "alpha": 0.5}, (Arg((2, 4, 3), "int64"),)),
    Case("LocalResponseNorm", {"size": 2}, (Arg((2, 4, 3, 2), "int64"),)),
]


def bad(
    name: str,
    shape: tuple[int, ...],
    code: str,
    parameter: str | None = None,
    dtype: str = "float32",
    mode: str = "eval",
    **parameters: Any,
) -> Rejection:
    """One refused normalisation."""
    return Rejection(name, parameters, (Arg(shape, dtype),), mode, code, parameter)


REJECTIONS = [
    *(
        bad(
            f"{name}{rank}d",
            (2, 5, *SIZES[rank]),
            "channel-mismatch",
            "num_features",
            num_features=3,
            **parameters,
        )
        for name, parameters in [
            ("BatchNorm", {}),
            ("InstanceNorm", {"affine": True}),
            ("InstanceNorm", {"track_running_stats": True}),
        ]
        for rank in (1, 2, 3)
    ),
    bad("BatchNorm1d", (2, 5, 4), "channel-mismatch", "num_features", num_features=3, affine=False),
    bad(
        "BatchNorm1d",
        (2, 5, 4),
        "channel-mismatch",
        "num_features",
        num_features=3,
        track_running_stats=False,
    ),
    *(
        bad(f"BatchNorm{rank}d", shape, "wrong-rank", num_features=3)
        for rank in (1, 2, 3)
        for shape in [(3, *SIZES[rank][: 3 if rank > 1 else 0]), (1, 2, 3, *SIZES[rank])]
    ),
    *(
        bad(f"InstanceNorm{rank}d", shape, "wrong-rank", num_features=3)
        for rank in (1, 2, 3)
        for shape in [(3,) * rank, (1, 2, 3, *SIZES[rank])]
    ),
    *(
        bad(
            f"BatchNorm{rank}d",
            (1, 3, *(1,) * rank),
            "too-few-values",
            mode=mode,
            num_features=3,
            track_running_stats=tracked,
        )
        for rank in (1, 2, 3)
        for mode, tracked in [("train", True), ("train", False), ("eval", False)]
    ),
    bad("BatchNorm1d", (1, 3), "too-few-values", mode="train", num_features=3),
    *(
        bad(
            f"InstanceNorm{rank}d",
            (2, 3, *(1,) * rank),
            "too-few-values",
            mode=mode,
            num_features=3,
            track_running_stats=tracked,
        )
        for rank in (1, 2, 3)
        for mode, tracked in [("train", True), ("train", False), ("eval", False)]
    ),
    *(
        bad(name, (2, 3, *SIZES[int(name[-2])]), code, parameter, **{"num_features": 3, parameter: value})
        for name in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
        for parameter, value, code in [
            ("num_features", -1, "out-of-range"),
            ("num_features", 1.5, "wrong-type"),
            ("eps", -1.0, "out-of-range"),
            ("eps", "small", "wrong-type"),
        ]
    ),
    bad("BatchNorm2d", (2, 3, 2, 2), "out-of-range", "eps", mode="train", num_features=3, eps=0),
    bad(
        "BatchNorm2d", (2, 3, 2, 2), "out-of-range", "eps", num_features=3, eps=0.0, track_running_stats=False
    ),
    bad("BatchNorm2d", (2, 0, 2, 2), "out-of-range", "num_features", num_features=0),
    *(
        bad(name, (2, 3, 4), "wrong-dtype", dtype=dtype, num_features=3)
        for name in ("BatchNorm1d", "InstanceNorm1d")
        for dtype in ("int64", "complex64")
    ),
    *(
        bad("InstanceNorm1d", (0, 3, 4), "empty-axis", mode=m, num_features=3, affine=True)
        for m in ("eval", "train")
    ),
    bad("GroupNorm", (2, 5, 3), "groups-do-not-divide", "num_groups", num_groups=2, num_channels=5),
    bad("GroupNorm", (2, 5, 3), "out-of-range", "num_groups", num_groups=0, num_channels=5),
    bad("GroupNorm", (2, 5, 3), "out-of-range", "num_groups", num_groups=-1, num_channels=5),
    bad("GroupNorm", (2, 6, 3), "channel-mismatch", "num_channels", num_groups=2, num_channels=4),
    bad(
        "GroupNorm",
        (2, 5, 3),
        "groups-do-not-divide",
        "num_groups",
        num_groups=2,
        num_channels=4,
        affine=False,
    ),
    bad("GroupNorm", (4,), "wrong-rank", num_groups=2, num_channels=4),
    bad("GroupNorm", (1, 4), "too-few-values", num_groups=4, num_channels=4),
    bad("GroupNorm", (1, 4, 1), "too-few-values", num_groups=4, num_channels=4),
    bad("GroupNorm", (2, 4), "wrong-dtype", dtype="int64", num_groups=2, num_channels=4),
    *(
        bad(name, shape, code, "normalized_shape", normalized_shape=sizes)
        for name in ("LayerNorm", "RMSNorm")
        for shape, sizes, code in [
            ((2, 4), -1, "out-of-range"),
            ((2, 4), [], "out-of-range"),
            ((2, 4), 1.5, "wrong-type"),
            ((2, 4), 5, "shape-mismatch"),
            ((2, 4, 4), [3, 4], "shape-mismatch"),
            ((4,), [3, 4], "wrong-rank"),
            ((), 4, "wrong-rank"),
        ]
    ),
    *(
        bad(name, (2, 4), "wrong-dtype", dtype="int64", normalized_shape=4)
        for name in ("LayerNorm", "RMSNorm")
    ),
    bad("LocalResponseNorm", (2, 4), "wrong-rank", size=2),
    bad("LocalResponseNorm", (2, 4, 3), "out-of-range", "size", size=0),
    bad("LocalResponseNorm", (2, 4, 3), "out-of-range", "size", size=-1),
    bad("LocalResponseNorm", (2, 4, 3), "wrong-type", "size", size=3.5),
    bad("LocalResponseNorm", (2, 4, 3), "wrong-dtype", dtype="int32", size=2),
]
