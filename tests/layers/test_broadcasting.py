"""Broadcasting of named sizes: which are allowed, and what comes out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netspec


def add(*shapes: list[Any], before: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Two inputs a and b (the last of them through the layers `before`) that are added."""
    layers = [
        *(before or []),
        {"name": "sum", "type": "add", "inputs": ["a", before[-1]["name"] if before else "b"]},
    ]
    return {"netspec": 1, "inputs": dict(zip("ab", shapes, strict=False)), "layers": layers}


@pytest.mark.parametrize(
    ("a", "b", "shape", "constraints"),
    [
        (["N", 3], ["N", 1], ["N", 3], []),
        (["N", 3], [3], ["N", 3], []),
        (["N", 1, "W"], ["H", 1], ["N", "H", "W"], []),
        (["N", 3], ["M", 3], ["max(M, N)", 3], ["M == N or N == 1 or M == 1"]),
        (["N", 4], ["N", "C"], ["N", 4], ["C == 1 or C == 4"]),
        (["N", 4], ["N", 3], None, None),
        (["N", 4], ["N", 0], None, None),
    ],
    ids=str,
)
def test_named_sizes(
    a: list[Any], b: list[Any], shape: list[Any] | None, constraints: list[str] | None
) -> None:
    if shape is None:
        with pytest.raises(netspec.SpecError):
            netspec.shapes(add(a, b))
        return
    found = netspec.shapes(add(a, b))
    assert found["outputs"]["sum"]["shape"] == shape
    assert found["constraints"] == constraints


def test_a_residual_branch_must_keep_the_size() -> None:
    # halved and doubled again, H comes back only where it is even; that it could be 1 is ruled out before
    branch = [
        {"name": "down", "type": "MaxPool2d", "inputs": "a", "kernel_size": 2},
        {"name": "up", "type": "Upsample", "scale_factor": 2},
    ]
    found = netspec.shapes(add(["N", 4, "H", "W"], before=branch))
    assert found["constraints"] == ["H >= 2", "H % 2 == 0", "W >= 2", "W % 2 == 0"]
    assert found["outputs"]["sum"]["shape"] == ["N", 4, "H", "W"]


def test_the_message_names_both_shapes_and_the_axis() -> None:
    with pytest.raises(netspec.SpecError) as caught:
        netspec.shapes(add(["N", 4, 5], ["N", 3, 5]))
    (error,) = (d for d in caught.value.diagnostics if d.code == "cannot-broadcast")
    assert (
        "shapes [N, 4, 5] and [N, 3, 5] do not broadcast: on axis -2 one is 4, the other 3" in error.message
    )


@pytest.mark.parametrize(("n", "m", "fits"), [(3, 3, True), (3, 1, True), (1, 3, True), (3, 2, False)])
def test_what_is_allowed_runs(n: int, m: int, fits: bool) -> None:
    net = netspec.load(add(["N", 3], ["M", 3]))
    a, b = np.ones((n, 3), np.float32), np.ones((m, 3), np.float32)
    if fits:
        assert net(a, b).shape == (max(n, m), 3)
    else:
        with pytest.raises(netspec.InputError):
            net(a, b)
