"""Input nobody should send: an answer every time, quickly, and never a traceback."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.analysis import analyse
from netspec.document import read_bytes

HEAD = b"netspec: 1\ninputs: {x: [N, 4]}\nlayers:\n"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty-file"),
        (b"# nothing\n", "empty-file"),
        (bytes(range(256)), None),
        (b"\x89PNG\r\n\x1a\n\x00\x00", None),
        (b"[" * 100_000, None),
        (b"- " * 100_000, None),
        (b"{a: " * 100_000, None),
        (b"a: &a [*a]\n", "recursive-alias"),
        (b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
            b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 113)
        ), "too-many-nodes"),
        (HEAD + b"  - {type: Dropout, p: 1e999}\n", "float-too-large"),
        (HEAD + b"  - {type: Linear, out_features: " + b"9" * 5000 + b"}\n", "integer-too-large"),
        (HEAD + b"\t- {type: ReLU}\n", "tab-indentation"),
        (HEAD + b"  - {type: Linear, out_features: -1}\n", "out-of-range"),
        (HEAD + b"  - {type: Linear, out_features: 0}\n", "out-of-range"),
        (HEAD + b"  - {type: Linear, out_features: 9223372036854775807}\n", None),
        (HEAD + b"  - {type: ReLU, name: a, inputs: b}\n  - {type: ReLU, name: b, inputs: a}\n", "cycle"),
        (HEAD + b"  - {type: ReLU, name: a}\n  - {type: ReLU, name: a}\n", "duplicate-name"),
        (HEAD + b"  - {type: ReLU, inputs: y}\n", "unknown-reference"),
        (HEAD + b"  - {type: ReLU}\noutputs: [y]\n", "unknown-reference"),
        (HEAD + b"  - {type: ReLU}\n---\nnetspec: 1\n", "multiple-documents"),
        (b"\xef\xbb\xbf" + HEAD + b"  - {type: Relu6}\n", "unknown-type"),
        (HEAD + b"  - !!python/object:os.system {type: ReLU}\n", "unsupported-tag"),
        (HEAD + b"  - [[[[[]]]]]\n  - null\n  - 3\n  - {}\n  - {? [a]: b}\n", "wrong-type"),
        (b"netspec: 2\ninputs: 3\nlayers: {}\noutputs: 5\nname: [x]\nweights: {}\n", "unknown-version"),
        (b"netspec: 1\ninputs: {x: {shape: [1e3, true, null, -1, 'a b', .inf]}}\nlayers: [{type: ReLU}]\n",
         "wrong-type"),
    ],
)  # fmt: skip
def test_wrong_files_are_diagnosed(data: bytes, code: str | None) -> None:
    start = time.perf_counter()
    analysis = analyse(read_bytes(data, "net.yaml"))
    # Not a benchmark: a hang or quadratic blow-up would take minutes.
    assert time.perf_counter() - start < 90
    if code is None and data.startswith(HEAD):
        assert analysis.valid
        return
    assert not analysis.valid
    if code is not None:
        assert code in [d.code for d in analysis.diagnostics]


def test_a_byte_order_mark_does_not_move_columns() -> None:
    text = HEAD + b"  - {type: Relu7}\n"
    plain = analyse(read_bytes(text, "net.yaml")).diagnostics
    marked = analyse(read_bytes(b"\xef\xbb\xbf" + text, "net.yaml")).diagnostics
    assert [str(d.span) for d in plain] == [str(d.span) for d in marked]


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), float("-inf"), np.float32(3e38), np.float32(1e-45)], ids=str
)
def test_numbers_at_the_edge_run(value: Any) -> None:
    net = netspec.load(
        {
            "netspec": 1,
            "inputs": {"x": ["N", 1, 8, 8]},
            "layers": [
                {"type": "Conv2d", "out_channels": 2, "kernel_size": 3, "init": {"weight": 1.0, "bias": 0}},
                {"type": "BatchNorm2d"}, {"type": "ReLU"}, {"type": "MaxPool2d", "kernel_size": 2},
                {"type": "Sigmoid"}, {"type": "Flatten"}, {"type": "Softmax", "dim": 1},
            ],
        }
    )  # fmt: skip
    x = np.zeros((1, 1, 8, 8), np.float32)
    x[0, 0, 4, 4] = value
    y = net(x)
    assert y.shape == (1, 18)
    assert np.isnan(y).any() == bool(np.isnan(value))


def test_python_values_that_make_no_sense() -> None:
    loop: dict[str, Any] = {"netspec": 1}
    loop["inputs"] = loop
    for mapping in ({}, loop, {"netspec": 1, "inputs": {"x": [object()]}, "layers": [object()]},
                    {"netspec": True, "inputs": [], "layers": None}):  # fmt: skip
        with pytest.raises(netspec.SpecError):
            netspec.parse(mapping)
