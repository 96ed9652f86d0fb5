"""The forms of a convolution: each gives the same values, within the error that is stated for it."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netspec.backends.base import Context, KernelError
from netspec.backends.numpy import convolution, tuning, winograd
from netspec.backends.numpy.arrays import sequence
from netspec.backends.numpy.finish import nothing
from netspec.backends.numpy.threads import together
from netspec.operations import Convolution
from tests.backends.numpy.numpy_kernels import BACKEND, channels_last, values


def exact(op: Convolution, x: Any, weight: Any, bias: Any) -> Any:
    """The definition, in float64."""
    x = np.pad(x.astype(float), ((0, 0), (0, 0), *op.padding))
    kernel = weight.shape[2:]
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=tuple(range(2, x.ndim)))
    windows = windows[(slice(None), slice(None), *(slice(None, None, s) for s in op.stride))]
    rank = len(kernel)
    axes = [1, *range(2 + rank, 2 + 2 * rank)]
    result = np.tensordot(windows, weight.astype(float), axes=(axes, range(1, weight.ndim)))
    return np.moveaxis(result, -1, 1) + bias.reshape(-1, *(1,) * rank)


def form(how: Any, op: Convolution, x: Any, weight: Any, bias: Any, shape: Any, lanes: int = 1) -> Any:
    """What one form computes, on channels-last arrays."""
    x, out = channels_last(x), channels_last(np.full(shape, np.nan, x.dtype))
    context = Context(lanes=lanes)
    steps = sequence(how(op, x, weight, bias, out, context, nothing))
    with BACKEND.running():
        steps()
        steps()
    return out


CASES = [  # batch, channels, features, size, kernel, padding
    (1, 32, 32, (14, 14), (3, 3), (1, 1)),
    (2, 16, 48, (13, 9), (3, 3), (1, 1)),
    (3, 20, 24, (7, 7), (3, 3), (0, 2)),
    (1, 24, 32, (17, 30), (3, 3), (2, 0)),
    (2, 32, 32, (50,), (3,), (1,)),
    (1, 16, 20, (4, 11, 10), (3, 3, 3), (1, 1, 1)),
    (2, 16, 16, (3, 8, 8), (2, 3, 3), (0, 1, 1)),
]


@pytest.mark.parametrize("outputs", [2, 4])
@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize(("batch", "channels", "features", "size", "kernel", "padding"), CASES)
def test_winograd_is_as_exact_as_it_says(
    batch: int, channels: int, features: int, size: Any, kernel: Any, padding: Any, outputs: int, lanes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("netspec.backends.numpy.arrays.SPREAD_ELEMENTS", 1)
    monkeypatch.setattr(winograd, "BLOCK_BYTES", 1 << 17)  # several blocks
    rank = len(size)
    op = Convolution((1,) * rank, tuple((p, p) for p in padding), (1,) * rank, 1)
    x = values(0, (batch, channels, *size), np.float32)
    weight = values(1, (features, channels, *kernel), np.float32) / np.float32(
        (channels * np.prod(kernel)) ** 0.5
    )
    bias = values(2, (features,), np.float32)
    expected = exact(op, x, weight, bias)
    how = winograd.tiling(op, weight.shape, expected.shape, outputs)
    assert how is not None
    found = form(
        lambda *given: winograd.winograd(*given, how=how), op, x, weight, bias, expected.shape, lanes
    )
    assert np.abs(found - expected).max() < {2: 3e-6, 4: 1.5e-5}[outputs]


def test_winograd_transforms_are_exact_in_float64() -> None:
    rng = np.random.default_rng(0)
    for outputs, taps in ((2, 3), (4, 3), (2, 5)):
        back, filters, data = winograd.transforms(outputs, taps)
        d, g = rng.normal(size=outputs + taps - 1), rng.normal(size=taps)
        np.testing.assert_allclose(
            back @ ((filters @ g) * (data @ d)), np.correlate(d, g, "valid"), atol=1e-12
        )


def test_highest_precision_uses_no_winograd() -> None:
    op = Convolution((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    x = channels_last(values(0, (1, 64, 28, 28), np.float32))
    weight, out = values(1, (64, 64, 3, 3), np.float32), channels_last(np.zeros((1, 64, 28, 28), np.float32))
    names = {
        precision: [
            convolution._name(form)
            for form in convolution.candidates(op, x, weight, out, Context(precision=precision))
        ]
        for precision in ("high", "highest")
    }
    assert names["highest"] == ["unfolded"]
    assert names["high"][0].startswith("winograd")


class TestAutotune:
    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        tuning._measured.cache_clear()
        yield tmp_path
        tuning._measured.cache_clear()

    def test_measures_once_and_remembers(self) -> None:
        bound: list[str] = []

        def slow() -> Any:
            bound.append("slow")
            return lambda: threading.Event().wait(0.02)

        def fast() -> Any:
            bound.append("fast")
            return lambda: None

        forms = [("slow", slow), ("fast", fast)]
        assert tuning.fastest("a shape", forms) == 1
        assert tuning.fastest("a shape", forms) == 1
        tuning._measured.cache_clear()  # another process
        assert tuning.fastest("a shape", forms) == 1
        assert sorted(bound) == ["fast", "slow"]
        assert json.loads(tuning.path().read_text()) == {"a shape": "fast"}

    def test_a_damaged_file_is_measured_anew(self) -> None:
        tuning.path().parent.mkdir()
        tuning.path().write_text("{")
        assert tuning.fastest("a shape", [("only", lambda: lambda: None)]) == 0

    def test_a_network_keeps_its_values(self) -> None:
        op = Convolution((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
        x, weight = (
            values(0, (1, 32, 12, 12), np.float32),
            values(1, (32, 32, 3, 3), np.float32) / np.float32(17),
        )
        bias = values(2, (32,), np.float32)
        source, out = channels_last(x), channels_last(np.zeros((1, 32, 12, 12), np.float32))
        with BACKEND.running():
            BACKEND.bind(op, [source, weight, bias], [out], Context(autotune=True))()
        np.testing.assert_allclose(out, exact(op, x, weight, bias), atol=2e-5)
        (chosen,) = json.loads(tuning.path().read_text()).values()
        assert chosen.split()[0] in ("winograd", "unfolded")


class TestTogether:
    def test_runs_all_and_raises_what_one_raised(self) -> None:
        seen = []

        def refuse() -> None:
            raise KernelError("no")

        run = together([lambda: seen.append(1), refuse, lambda: seen.append(3)])
        for _ in range(3):
            with pytest.raises(KernelError, match="no"):
                run()
        assert sorted(seen) == [1, 1, 1, 3, 3, 3]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
    def test_works_in_a_forked_process(self) -> None:
        together([lambda: None, lambda: None])()  # there are worker threads now
        child = os.fork()
        if child == 0:
            done = []
            together([lambda: done.append(1), lambda: done.append(2)])()
            os._exit(0 if sorted(done) == [1, 2] else 1)
        for _ in range(600):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                break
            threading.Event().wait(0.1)
        else:
            os.kill(child, 9)
            pytest.fail("the forked process waits for threads that it does not have")
        assert status == 0
