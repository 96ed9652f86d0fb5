"""The network as PyTorch's; runs where torch is installed, which the tests do not ask for."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from netspec.benchmark import torch_peer
from netspec.benchmark.problem import Problem, pose

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")

NETWORK = """\
netspec: 1
inputs: {x: [N, 4, H, W], target: {shape: [N], dtype: int64}}
layers:
  - {name: scale, type: Parameter, shape: [4, 1, 1], init: 2.0}
  - {name: scaled, type: mul, inputs: [x, scale]}
  - {name: conv, type: Conv2d, out_channels: 4, kernel_size: 3, padding: 1}
  - {name: again, use: conv, inputs: conv}
  - {name: halves, type: split, split_size_or_sections: 2, dim: 1}
  - {name: both, type: cat, inputs: [halves.1, halves.0], dim: 1}
  - {name: limited, type: maximum, other: 0.1}
  - {name: pool, type: MaxPool2d, kernel_size: 2, return_indices: true}
  - {name: up, type: MaxUnpool2d, kernel_size: 2, inputs: [pool, pool.indices], output_size: x}
  - {name: flat, type: reshape, shape: [N, "4*H*W"]}
  - {name: fc, type: Linear, in_features: 80, out_features: 3}
  - {name: loss, type: CrossEntropyLoss, inputs: [fc, target], weight: [1.0, 2.0, 0.5]}
outputs: {loss: loss, places: pool.indices, up: up}
"""


@pytest.mark.parametrize("setting", ["contiguous", "channels_last"])
def test_outputs_are_ours(tmp_path: Path, setting: str) -> None:
    file = tmp_path / "net.yaml"
    file.write_text(NETWORK)
    net, task = pose(Problem(str(file), 1, {"x": (2, 4, 5, 4), "target": (2,)}))
    assert setting in torch_peer.settings(task)
    found = torch_peer.make(task, setting).outputs()
    expected = net.run(task.inputs)
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6, err_msg=name)


def test_every_layer_is_timed(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_text(NETWORK)
    _, task = pose(Problem(str(file), 1, {"x": (2, 4, 5, 4), "target": (2,)}))
    times = torch_peer.layer_times(task, "contiguous", 0.0)
    assert {"conv", "again", "fc", "loss"} <= set(times)
    assert all(taken > 0 for taken in times.values())
