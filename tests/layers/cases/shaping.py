"""Flatten, Unflatten, flatten, unflatten, reshape, squeeze, unsqueeze, permute, transpose, cat, stack, split,
chunk, pad."""

from typing import Any

from tests.layers.oracle import Arg, Case, Rejection


def _one(case: Any, tensors: list[Any]) -> Any:
    import torch

    result = getattr(torch, case.type)(tensors[0], **case.parameters)
    return list(result) if isinstance(result, tuple) else result


def _squeeze(case: Any, tensors: list[Any]) -> Any:
    import torch

    dim = case.parameters.get("dim")
    return (
        torch.squeeze(tensors[0])
        if dim is None
        else torch.squeeze(tensors[0], tuple(dim) if isinstance(dim, list) else dim)
    )


def _many(case: Any, tensors: list[Any]) -> Any:
    import torch

    return getattr(torch, case.type)(tensors, **case.parameters)


def _pad(case: Any, tensors: list[Any]) -> Any:
    import torch

    return torch.nn.functional.pad(tensors[0], **case.parameters)


TORCH = {
    **dict.fromkeys(
        ("flatten", "unflatten", "reshape", "unsqueeze", "permute", "transpose", "split", "chunk"), _one
    ),
    "squeeze": _squeeze,
    "cat": _many,
    "stack": _many,
    "pad": _pad,
}

_X = Arg((2, 3, 4))
_RAMP = Arg(values=[[0.0, 1.0, 2.0]])
_MODES = ("reflect", "replicate", "circular")
_F0 = Arg((0,))

CASES = [
    Case("Flatten", {}, (_X,)),
    Case("Flatten", {}, (Arg((2, 3)),)),
    Case("Flatten", {}, (Arg((3, 0, 2)),)),
    Case("Flatten", {}, (Arg((0, 3, 2)),)),
    Case("Flatten", {"start_dim": 0}, (_X,)),
    Case("Flatten", {"start_dim": 0}, (Arg(()),)),
    Case("Flatten", {"start_dim": -1}, (Arg(()),)),
    Case("Flatten", {"start_dim": 0, "end_dim": 1}, (_X,)),
    Case("Flatten", {"start_dim": -2}, (Arg((2, 3, 4, 2)),)),
    Case("Flatten", {"start_dim": 1, "end_dim": -2}, (Arg((2, 3, 4, 2)),)),
    Case("Flatten", {"start_dim": 2, "end_dim": 2}, (_X,)),
    Case("Flatten", {}, (Arg((2, 3, 2), "int64"),)),
    Case("flatten", {}, (_X,)),
    Case("flatten", {}, (Arg(()),)),
    Case("flatten", {"start_dim": 1}, (_X,)),
    Case("flatten", {"start_dim": -3, "end_dim": -2}, (_X,)),
    Case("Unflatten", {"dim": 1, "unflattened_size": [2, 3]}, (Arg((2, 6)),)),
    Case("Unflatten", {"dim": -1, "unflattened_size": [2, -1]}, (Arg((2, 6)),)),
    Case("Unflatten", {"dim": 1, "unflattened_size": [6]}, (Arg((2, 6)),)),
    Case("Unflatten", {"dim": 1, "unflattened_size": [0, 5]}, (Arg((2, 0)),)),
    Case("Unflatten", {"dim": 1, "unflattened_size": [4, -1]}, (Arg((2, 0)),)),
    Case("Unflatten", {"dim": 0, "unflattened_size": [1, -1, 2]}, (Arg((6, 2)),)),
    Case("unflatten", {"dim": 1, "sizes": [3, -1]}, (Arg((2, 6)),)),
    Case("unflatten", {"dim": -2, "sizes": [1, 2]}, (Arg((2, 6)),)),
    Case("reshape", {"shape": [4, 6]}, (_X,)),
    Case("reshape", {"shape": [3, -1]}, (_X,)),
    Case("reshape", {"shape": [-1]}, (_X,)),
    Case("reshape", {"shape": []}, (Arg((1, 1)),)),
    Case("reshape", {"shape": [-1]}, (Arg(()),)),
    Case("reshape", {"shape": [3, -1]}, (Arg((0,)),)),
    Case("reshape", {"shape": [0, 5]}, (Arg((0, 3)),)),
    Case("reshape", {"shape": [2, -1, 1]}, (Arg((2, 3), "bool"),)),
    Case("squeeze", {}, (Arg((1, 2, 1)),)),
    Case("squeeze", {}, (Arg((2, 3)),)),
    Case("squeeze", {}, (Arg(()),)),
    Case("squeeze", {"dim": 0}, (Arg((1, 2, 1)),)),
    Case("squeeze", {"dim": 1}, (Arg((1, 2, 1)),)),
    Case("squeeze", {"dim": -1}, (Arg((1, 1, 3)),)),
    Case("squeeze", {"dim": 0}, (Arg(()),)),
    Case("squeeze", {"dim": [0, -1]}, (Arg((1, 2, 1)),)),
    Case("squeeze", {"dim": [0, 1]}, (Arg((1, 2, 1)),)),
    Case("squeeze", {"dim": []}, (Arg((1, 2, 1)),)),
    *(Case("unsqueeze", {"dim": dim}, (Arg((2, 3)),)) for dim in (0, 1, 2, -1, -2, -3)),
    Case("unsqueeze", {"dim": 0}, (Arg(()),)),
    Case("permute", {"dims": [0, 2, 1]}, (_X,)),
    Case("permute", {"dims": [-1, 0, -2]}, (_X,)),
    Case("permute", {"dims": []}, (Arg(()),)),
    Case("permute", {"dims": [1, 0]}, (Arg((0, 3), "int32"),)),
    Case("transpose", {"dim0": 0, "dim1": 2}, (_X,)),
    Case("transpose", {"dim0": -1, "dim1": -2}, (_X,)),
    Case("transpose", {"dim0": 1, "dim1": 1}, (_X,)),
    Case("transpose", {"dim0": 0, "dim1": -1}, (Arg(()),)),
    Case("cat", {}, (Arg((2, 3)), Arg((1, 3)))),
    Case("cat", {"dim": 1}, (Arg((2, 3)), Arg((2, 1)), Arg((2, 2)))),
    Case("cat", {"dim": -1}, (Arg((2, 3, 2)), Arg((2, 3, 1)))),
    Case("cat", {}, (Arg((2, 3)),)),
    Case("cat", {"dim": 1}, (Arg((2, 0)), Arg((2, 3)))),
    Case("cat", {}, (Arg((0, 3)), Arg((2, 3)))),
    Case("cat", {}, (Arg((2,)), _F0, Arg((3,)))),
    Case("cat", {}, (_F0, Arg((2,), "int64"))),
    Case("cat", {}, (Arg((2,), "bool"), Arg((2,), "int64"), Arg((2,)))),
    Case("cat", {}, (Arg((2,), "int32"), Arg((2,), "uint8"))),
    Case("cat", {}, (Arg((2,), "uint8"), Arg((2,), "int8"))),
    Case("cat", {}, (Arg((2,), "complex64"), Arg((2,)))),
    Case("cat", {"dim": 1}, (Arg((2, 2), "float16"), Arg((2, 1), "float16")), dtype="float16"),
    Case("stack", {}, (Arg((2, 3)), Arg((2, 3)))),
    Case("stack", {"dim": 1}, (Arg((2, 3)), Arg((2, 3)), Arg((2, 3)))),
    Case("stack", {"dim": -1}, (Arg((2, 3)), Arg((2, 3)))),
    Case("stack", {"dim": -3}, (Arg((2, 3)), Arg((2, 3)))),
    Case("stack", {}, (Arg(()), Arg((), "int64"))),
    Case("stack", {"dim": 1}, (Arg((3,)),)),
    Case("stack", {}, (Arg((3,)), Arg((3,), "int64"))),
    Case("stack", {}, (Arg((0, 2)), Arg((0, 2)))),
    Case("split", {"split_size_or_sections": 2}, (Arg((5, 2)),)),
    Case("split", {"split_size_or_sections": 9}, (Arg((5, 2)),)),
    Case("split", {"split_size_or_sections": [2, 3]}, (Arg((5, 2)),)),
    Case("split", {"split_size_or_sections": [1, 1, 0], "dim": 1}, (Arg((5, 2)),)),
    Case("split", {"split_size_or_sections": 1, "dim": -1}, (Arg((5, 3)),)),
    Case("chunk", {"chunks": 3}, (Arg((5, 2)),)),
    Case("chunk", {"chunks": 4}, (Arg((5, 2)),)),
    Case("chunk", {"chunks": 9}, (Arg((5, 2)),)),
    Case("chunk", {"chunks": 1}, (Arg((5, 2)),)),
    Case("chunk", {"chunks": 2, "dim": -1}, (Arg((3, 4)),)),
    Case("pad", {"pad": [1, 2]}, (Arg((2, 3)),)),
    Case("pad", {"pad": [1, 2, 0, 1]}, (Arg((2, 3)),)),
    Case("pad", {"pad": [1, 2, 0, 1, 1, 1], "value": -2}, (Arg((2, 3, 1)),)),
    Case("pad", {"pad": []}, (Arg(()),)),
    Case("pad", {"pad": [0, 0]}, (Arg((2, 3)),)),
    Case("pad", {"pad": [-1, -1], "value": 5}, (Arg((2, 3)),)),
    Case("pad", {"pad": [-1, 2, 1, -1], "value": 5}, (Arg((2, 3)),)),
    Case("pad", {"pad": [-1, -2]}, (Arg((2, 3)),)),
    Case("pad", {"pad": [1, 1]}, (Arg((2, 0)),)),
    Case("pad", {"pad": [1, 1]}, (Arg((2, 0, 3)),)),
    Case("pad", {"pad": [1, 1], "value": float("-inf")}, (Arg((2, 3)),)),
    Case("pad", {"pad": [1, 1], "value": 2.5}, (Arg((2, 3), "int32"),)),
    Case("pad", {"pad": [1, 1], "value": 0.5}, (Arg((2, 3), "bool"),)),
    Case("pad", {"pad": [1, 1], "value": 2}, (Arg((2, 3), "complex64"),)),
    Case("pad", {"pad": [1, 1], "value": 2}, (Arg((3,), "float16"),), dtype="float16"),
    *(
        Case("pad", {"pad": pad, "mode": mode}, inputs)
        for mode in _MODES
        for pad, inputs in (
            ([1, 1], (Arg((2, 3)),)),
            ([2, 1], (Arg((2, 2, 3)),)),
            ([2, 0, 1, 1], (Arg((2, 3, 4)),)),
            ([1, 1, 1, 0], (Arg((2, 1, 3, 3)),)),
            ([1, 1, 1, 0, 0, 1], (Arg((1, 3, 2, 2)),)),
            ([1, 1, 0, 1, 1, 0], (Arg((1, 1, 2, 2, 2)),)),
            ([1, -1], (_RAMP,)),
            ([-1, 1], (_RAMP,)),
            ([1, 1], (Arg((0, 2, 3)),)),
            ([1, 1], (Arg((2, 3), "int64"),)),
            ([1, 1], (Arg((2, 3), "complex64"),)),
        )
    ),
    Case("pad", {"pad": [1, 1], "mode": "circular"}, (Arg((2, 3), "bool"),)),
    Case("pad", {"pad": [2, -2], "mode": "reflect"}, (_RAMP,)),
    Case("pad", {"pad": [-1, 2], "mode": "reflect"}, (_RAMP,)),
    Case("pad", {"pad": [1, 1], "mode": "reflect", "value": 0}, (_RAMP,)),
    Case("pad", {"pad": [5, 4], "mode": "replicate"}, (_RAMP,)),
    Case("pad", {"pad": [2, -2], "mode": "replicate"}, (_RAMP,)),
    Case("pad", {"pad": [-3, 2], "mode": "replicate"}, (_RAMP,)),
    Case("pad", {"pad": [-5, 4], "mode": "replicate"}, (_RAMP,)),
    Case("pad", {"pad": [3, 3], "mode": "circular"}, (_RAMP,)),
    Case("pad", {"pad": [2, -1], "mode": "circular"}, (_RAMP,)),
    Case("pad", {"pad": [-1, 2], "mode": "circular"}, (_RAMP,)),
    Case("pad", {"pad": [1, 1], "mode": "circular"}, (Arg((2, 0, 3)),)),
]

REJECTIONS = [
    Rejection("Flatten", {}, (Arg((2,)),), code="axis-out-of-range"),
    Rejection("Flatten", {}, (Arg(()),), code="axis-out-of-range"),
    Rejection("Flatten", {"start_dim": 2, "end_dim": 1}, (_X,), code="wrong-axes", parameter="start_dim"),
    Rejection("Flatten", {"start_dim": -1, "end_dim": -2}, (_X,), code="wrong-axes", parameter="start_dim"),
    Rejection("Flatten", {"end_dim": 5}, (_X,), code="axis-out-of-range", parameter="end_dim"),
    Rejection("Flatten", {"start_dim": -4}, (_X,), code="axis-out-of-range", parameter="start_dim"),
    Rejection("Flatten", {"start": 1}, (_X,), code="unknown-key"),
    Rejection("flatten", {"start_dim": 3}, (_X,), code="axis-out-of-range", parameter="start_dim"),
    Rejection(
        "Unflatten",
        {"dim": 1, "unflattened_size": 6},
        (Arg((2, 6)),),
        code="wrong-type",
        parameter="unflattened_size",
    ),
    Rejection(
        "Unflatten",
        {"dim": 1, "unflattened_size": []},
        (Arg((2, 6)),),
        code="wrong-length",
        parameter="unflattened_size",
    ),
    Rejection(
        "Unflatten",
        {"dim": 1, "unflattened_size": [2, 2]},
        (Arg((2, 6)),),
        code="shape-mismatch",
        parameter="unflattened_size",
    ),
    Rejection(
        "Unflatten",
        {"dim": 1, "unflattened_size": [4, -1]},
        (Arg((2, 6)),),
        code="shape-mismatch",
        parameter="unflattened_size",
    ),
    Rejection(
        "Unflatten",
        {"dim": 1, "unflattened_size": [-1, -1]},
        (Arg((2, 6)),),
        code="wrong-shape",
        parameter="unflattened_size",
    ),
    Rejection(
        "Unflatten",
        {"dim": 1, "unflattened_size": [-2, -3]},
        (Arg((2, 6)),),
        code="wrong-shape",
        parameter="unflattened_size",
    ),
    Rejection(
        "Unflatten",
        {"dim": 1, "unflattened_size": [0, -1]},
        (Arg((2, 0)),),
        code="wrong-shape",
        parameter="unflattened_size",
    ),
    Rejection(
        "Unflatten",
        {"dim": 2, "unflattened_size": [2, 3]},
        (Arg((2, 6)),),
        code="axis-out-of-range",
        parameter="dim",
    ),
    Rejection("Unflatten", {"dim": 0, "unflattened_size": [1]}, (Arg(()),), code="wrong-rank"),
    Rejection(
        "unflatten", {"dim": 0, "sizes": [5, 1]}, (Arg((6,)),), code="shape-mismatch", parameter="sizes"
    ),
    Rejection("unflatten", {"dim": 0, "sizes": 6}, (Arg((6,)),), code="wrong-type", parameter="sizes"),
    Rejection("reshape", {"shape": [5, 2]}, (_X,), code="shape-mismatch", parameter="shape"),
    Rejection("reshape", {"shape": [5, -1]}, (_X,), code="shape-mismatch", parameter="shape"),
    Rejection("reshape", {"shape": [-1, -1]}, (_X,), code="wrong-shape", parameter="shape"),
    Rejection("reshape", {"shape": [-2, -12]}, (_X,), code="wrong-shape", parameter="shape"),
    Rejection("reshape", {"shape": []}, (_X,), code="shape-mismatch", parameter="shape"),
    Rejection("reshape", {"shape": [0, -1]}, (Arg((0,)),), code="wrong-shape", parameter="shape"),
    Rejection("reshape", {"shape": 24}, (_X,), code="wrong-type", parameter="shape"),
    Rejection("reshape", {"shape": [2.5]}, (_X,), code="wrong-type", parameter="shape"),
    Rejection("squeeze", {"dim": 3}, (Arg((1, 2, 1)),), code="axis-out-of-range", parameter="dim"),
    Rejection("squeeze", {"dim": [0, 0]}, (Arg((1, 2, 1)),), code="wrong-axes", parameter="dim"),
    Rejection("squeeze", {"dim": [0, -3]}, (Arg((1, 2, 1)),), code="wrong-axes", parameter="dim"),
    Rejection("squeeze", {"dim": 1}, (Arg(()),), code="axis-out-of-range", parameter="dim"),
    Rejection("unsqueeze", {"dim": 3}, (Arg((2, 3)),), code="axis-out-of-range", parameter="dim"),
    Rejection("unsqueeze", {"dim": -4}, (Arg((2, 3)),), code="axis-out-of-range", parameter="dim"),
    Rejection("unsqueeze", {}, (Arg((2, 3)),), code="missing-parameter"),
    Rejection("permute", {"dims": [0, 0]}, (Arg((2, 3)),), code="wrong-axes", parameter="dims"),
    Rejection("permute", {"dims": [1, -1]}, (Arg((2, 3)),), code="wrong-axes", parameter="dims"),
    Rejection("permute", {"dims": [0]}, (Arg((2, 3)),), code="wrong-length", parameter="dims"),
    Rejection("permute", {"dims": [0, 2]}, (Arg((2, 3)),), code="axis-out-of-range", parameter="dims"),
    Rejection("permute", {"dims": 0}, (Arg((2,)),), code="wrong-type", parameter="dims"),
    Rejection("permute", {"dims": [0]}, (Arg(()),), code="wrong-length", parameter="dims"),
    Rejection(
        "transpose", {"dim0": 0, "dim1": 2}, (Arg((2, 3)),), code="axis-out-of-range", parameter="dim1"
    ),
    Rejection("cat", {}, (Arg((2, 3)), Arg((1, 2))), code="shape-mismatch"),
    Rejection("cat", {"dim": 1}, (Arg((2, 3)), Arg((1, 3))), code="shape-mismatch"),
    Rejection("cat", {}, (Arg((2, 3)), Arg((2,))), code="wrong-rank"),
    Rejection("cat", {}, (Arg((2,)), Arg(())), code="wrong-rank"),
    Rejection("cat", {}, (Arg(()),), code="wrong-rank"),
    Rejection("cat", {"dim": 2}, (Arg((2, 3)), Arg((2, 3))), code="axis-out-of-range", parameter="dim"),
    Rejection("stack", {}, (Arg((2,)), Arg((3,))), code="shape-mismatch"),
    Rejection("stack", {}, (Arg((1,)), Arg((3,))), code="shape-mismatch"),
    Rejection("stack", {}, (Arg((2,)), Arg((2, 1))), code="shape-mismatch"),
    Rejection("stack", {"dim": 2}, (Arg((2,)), Arg((2,))), code="axis-out-of-range", parameter="dim"),
    Rejection(
        "split",
        {"split_size_or_sections": [2, 2]},
        (Arg((5, 2)),),
        code="shape-mismatch",
        parameter="split_size_or_sections",
    ),
    Rejection(
        "split",
        {"split_size_or_sections": [2, -1, 4]},
        (Arg((5, 2)),),
        code="out-of-range",
        parameter="split_size_or_sections",
    ),
    Rejection(
        "split",
        {"split_size_or_sections": 0},
        (Arg((5, 2)),),
        code="out-of-range",
        parameter="split_size_or_sections",
    ),
    Rejection(
        "split",
        {"split_size_or_sections": -1},
        (Arg((5, 2)),),
        code="out-of-range",
        parameter="split_size_or_sections",
    ),
    Rejection(
        "split",
        {"split_size_or_sections": []},
        (Arg((5, 2)),),
        code="out-of-range",
        parameter="split_size_or_sections",
    ),
    Rejection("split", {"split_size_or_sections": 1}, (Arg(()),), code="wrong-rank"),
    Rejection(
        "split",
        {"split_size_or_sections": 1, "dim": 2},
        (Arg((5, 2)),),
        code="axis-out-of-range",
        parameter="dim",
    ),
    Rejection("chunk", {"chunks": 0}, (Arg((5, 2)),), code="out-of-range", parameter="chunks"),
    Rejection("chunk", {"chunks": 1}, (Arg(()),), code="wrong-rank"),
    Rejection("chunk", {"chunks": 2, "dim": -3}, (Arg((5, 2)),), code="axis-out-of-range", parameter="dim"),
    Rejection("pad", {"pad": [1]}, code="wrong-length", parameter="pad"),
    Rejection("pad", {"pad": [1, 1, 1, 1, 1, 1]}, code="wrong-rank", parameter="pad"),
    Rejection("pad", {"pad": [1, 1]}, (Arg(()),), code="wrong-rank", parameter="pad"),
    Rejection("pad", {"pad": [-2, -2]}, code="empty-output", parameter="pad"),
    Rejection("pad", {"pad": [-4, 2]}, code="empty-output", parameter="pad"),
    Rejection("pad", {"pad": [1, 1], "mode": "wrap"}, code="unknown-value", parameter="mode"),
    Rejection("pad", {"pad": [1, 1], "mode": "reflect", "value": 1}, code="unused-value", parameter="value"),
    Rejection("pad", {"pad": [3, 1], "mode": "reflect"}, code="padding-too-large", parameter="pad"),
    Rejection("pad", {"pad": [4, 1], "mode": "circular"}, code="padding-too-large", parameter="pad"),
    Rejection("pad", {"pad": [-2, -2], "mode": "circular"}, code="padding-too-large", parameter="pad"),
    *(
        Rejection("pad", {"pad": [1, 1], "mode": mode}, (Arg((3,)),), code="wrong-rank", parameter="pad")
        for mode in _MODES
    ),
    *(
        Rejection(
            "pad", {"pad": [1, 1], "mode": mode}, (Arg((1, 2, 3, 4)),), code="wrong-rank", parameter="pad"
        )
        for mode in _MODES
    ),
    *(Rejection("pad", {"pad": [], "mode": mode}, code="wrong-rank", parameter="pad") for mode in _MODES),
    *(
        Rejection("pad", {"pad": [1, 1], "mode": mode}, (Arg((2, 0, 3)),), code="empty-axis")
        for mode in ("reflect", "replicate")
    ),
    *(Rejection("pad", {"pad": [1, 1], "mode": mode}, (Arg((2, 0)),)) for mode in _MODES),
    Rejection("pad", {"pad": [-3, 0], "mode": "replicate"}, code="empty-output", parameter="pad"),
    Rejection("pad", {"pad": [-5, 2], "mode": "reflect"}, code="empty-output", parameter="pad"),
    Rejection(
        "pad", {"pad": [1, 1], "value": 300}, (Arg((2, 3), "uint8"),), code="out-of-range", parameter="value"
    ),
    Rejection(
        "pad",
        {"pad": [1, 1], "value": float("nan")},
        (Arg((2, 3), "int32"),),
        code="out-of-range",
        parameter="value",
    ),
]
