"""Compiled kernels (extra `jit`) give what NumPy's give, and are really used where they apply."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.backends.base import Context
from netspec.backends.numpy import arrays as numpy_arrays
from netspec.operations import RUNNING, Affine, Convolution, Elementwise, Fused, Operation, Stage
from tests.backends.numpy.numpy_kernels import BACKEND, channels_last, scattered, values

pytest.importorskip("numba")

from netspec.backends.numpy.jit import compiler, depthwise, direct, linear

LENET = Path(__file__).resolve().parents[3] / "configs" / "lenet5.yaml"
RELU = Stage(Elementwise("relu"), (RUNNING,))
CLAMP = Stage(Elementwise("clamp", (0.0, 6.0)), (RUNNING,))


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the compiled kernels that were asked for."""
    names: list[str] = []
    original = compiler.kernel

    def recorded(text: str, name: str, arguments: int) -> Any:
        names.append(name)
        return original(text, name, arguments)

    for module in ("chains", "depthwise", "direct", "winograd"):
        monkeypatch.setattr(f"netspec.backends.numpy.jit.{module}.kernel", recorded)
    return names


def result(
    operation: Operation,
    inputs: list[Any],
    shape: tuple[int, ...],
    jit: bool,
    lanes: int = 1,
    last: bool = True,
    messy: bool = False,
    precision: str = "high",
) -> Any:
    """The output of one operation; bound to other values first, so that nothing can be baked in."""
    change = scattered if messy else channels_last if last else np.array
    bound = [change(np.ones_like(x)) for x in inputs]
    out = change(np.full(shape, 7, np.float32))
    context = Context(lanes=lanes, jit=jit, precision=precision)
    with np.errstate(all="ignore"):
        kernel = BACKEND.bind(operation, bound, [out], context)
        with BACKEND.running():
            kernel()
            for place, x in zip(bound, inputs, strict=True):
                place[...] = x
            kernel()
    for place, x in zip(bound, inputs, strict=True):
        np.testing.assert_array_equal(place, x)  # inputs are only read
    return np.array(out)


def normal(seed: int, *shape: int) -> Any:
    return values(seed, shape, np.float32)


# --- chains of elementwise stages ---------------------------------------------------------------------

X = RUNNING
CHAINS: dict[str, tuple[Stage, ...]] = {
    "relu": (RELU,),
    "bias and clamp": (Stage(Affine(1), (X, 1, 2)), CLAMP),
    "residual": (Stage(Elementwise("add", (0.5,)), (X, 3)), RELU),
    "from the right": (Stage(Elementwise("sub"), (3, X)), Stage(Elementwise("div"), (X, 3))),
    "one limit": (
        Stage(Elementwise("clamp", (None, 0.5)), (X,)),
        Stage(Elementwise("clamp", (-0.5, None)), (X,)),
    ),
    "leaky": (Stage(Elementwise("leaky_relu", (0.1,)), (X,)), Stage(Elementwise("scale", (2.0, 1.0)), (X,))),
    "prelu": (Stage(Elementwise("prelu"), (X, 4)),),
    "hard": (Stage(Elementwise("hardswish"), (X,)), Stage(Elementwise("hardsigmoid"), (X,))),
    "squeeze": (Stage(Elementwise("sigmoid"), (X,)), Stage(Elementwise("mul"), (X, 5))),
    "silu": (Stage(Elementwise("silu"), (X,)),),
    "extremes": (Stage(Elementwise("maximum"), (X, 3)), Stage(Elementwise("minimum"), (X, 4))),
    "single": (
        Stage(Elementwise("abs"), (X,)),
        Stage(Elementwise("sqrt"), (X,)),
        Stage(Elementwise("square"), (X,)),
        Stage(Elementwise("neg"), (X,)),
    ),
    "NumPy in between": (RELU, Stage(Elementwise("tanh"), (X,)), Stage(Elementwise("mul"), (X, 3))),
}
ROUNDED = ("squeeze", "silu", "hard")


def chain_inputs(shape: tuple[int, ...]) -> list[Any]:
    """x, a scale and a shift a channel, another x, one number a channel, one an image and channel."""
    n, c, *space = shape
    ones = (1,) * len(space)
    x = normal(0, *shape) * 4
    x.flat[:5] = [np.nan, np.inf, -np.inf, -0.0, 100.0]
    x.flat[5:7] = [-100.0, 1e-30]
    return [x, normal(1, c), normal(2, c), normal(3, *shape), normal(4, 1, c, *ones), normal(5, n, c, *ones)]


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize(
    ("shape", "last"), [((2, 21, 3, 5), True), ((1, 3, 7, 9), False), ((2, 16, 40), True)]
)
def test_chains_give_what_numpy_gives(name: str, shape: tuple[int, ...], last: bool, used: list[str]) -> None:
    """NaN, infinities and the sign of zero included; bit for bit but for exp."""
    inputs = chain_inputs(shape)
    operation = Fused(Elementwise("scale", (1.0, 0.0)), 1, CHAINS[name])
    expected = result(operation, inputs, shape, jit=False, last=last)
    assert not used
    found = result(operation, inputs, shape, jit=True, last=last)
    assert used
    if name in ROUNDED:
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-37)
    else:
        np.testing.assert_array_equal(found, expected)
    assert not name.startswith("NumPy") or used.count("chain") == 1


@pytest.mark.parametrize("shape", [(1, 5), (3,), (2, 3, 4, 5, 6, 7)])
def test_chains_of_any_rank(shape: tuple[int, ...]) -> None:
    x, y = normal(0, *shape), normal(1, *shape)
    operation = Fused(Elementwise("add"), 2, (RELU,))
    expected = np.maximum(x + y, 0)
    np.testing.assert_array_equal(result(operation, [x, y], shape, jit=True, last=False), expected)
    np.testing.assert_array_equal(result(operation, [x, y], shape, jit=True, messy=True), expected)


def test_what_does_not_fit_is_left_to_numpy(used: list[str]) -> None:
    """Other types, and memory without runs."""
    for dtype in (np.float64, np.int32):
        x = values(0, (4, 16, 3, 3), dtype)
        out = np.empty_like(x)
        BACKEND.bind(Fused(Elementwise("add"), 2, (RELU,)), [x, x], [out], Context(jit=True))()
        np.testing.assert_array_equal(out, np.maximum(x + x, 0))
    result(Elementwise("add"), [normal(0, 4, 4), normal(1, 4, 4)], (4, 4), jit=True, messy=True)
    assert not used


# --- convolutions -------------------------------------------------------------------------------------


def convolve(
    x: Any, o: int, k: tuple[int, ...], stride: int, padding: int, used: list[str], groups: int = 1,
    dilation: int = 1, precision: str = "high", stages: tuple[Stage, ...] = (RELU,), last: bool = True,
    tolerance: float = 2e-5,
) -> None:  # fmt: skip
    """Compiled against NumPy's strict form, with a bias, and on 2 and 3 lanes against 1."""
    depth = x.shape[1] // groups
    w = normal(1, o, depth, *k) / np.float32(np.sqrt(depth * np.prod(k)))
    bias = normal(2, o)
    size = [
        (s + 2 * padding - dilation * (t - 1) - 1) // stride + 1 for s, t in zip(x.shape[2:], k, strict=True)
    ]
    shape = (len(x), o, *size)
    rank = len(k)
    main = Convolution((stride,) * rank, ((padding, padding),) * rank, (dilation,) * rank, groups)
    operation = Fused(main, 3, stages)
    inputs = [x, w, bias, normal(3, *shape)]
    expected = result(operation, inputs, shape, jit=False, last=last, precision="highest")
    found = result(operation, inputs, shape, jit=True, last=last, precision=precision)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    for lanes in (2, 3):
        again = result(operation, inputs, shape, jit=True, last=last, precision=precision, lanes=lanes)
        np.testing.assert_array_equal(again, found)


@pytest.fixture
def always_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even small work is shared out."""
    monkeypatch.setattr(numpy_arrays, "SPREAD_ELEMENTS", 1)


@pytest.mark.usefixtures("always_spread")
class TestConvolutions:
    @pytest.mark.parametrize(
        ("channels", "size", "k", "stride", "padding"),
        [(16, (9, 11), 3, 1, 1), (24, (8, 13), 3, 2, 1), (37, (12, 12), 5, 1, 2), (16, (3, 3), 3, 1, 0),
         (48, (2, 2), 3, 1, 1), (16, (1, 6), 3, 1, 1), (32, (7, 7), 3, 1, 2)],
    )  # fmt: skip
    def test_depthwise(
        self, channels: int, size: tuple[int, int], k: int, stride: int, padding: int, used: list[str]
    ) -> None:
        x = normal(0, 2, channels, *size)
        convolve(x, channels, (k, k), stride, padding, used, groups=channels, stages=(CLAMP,))
        assert "depthwise" in used

    def test_depthwise_with_stages_for_numpy(self, used: list[str]) -> None:
        tanh = Stage(Elementwise("tanh"), (RUNNING,))
        convolve(normal(0, 1, 32, 9, 9), 32, (3, 3), 1, 1, used, groups=32, stages=(tanh, RELU))
        assert "depthwise" in used

    @pytest.mark.parametrize(
        ("n", "c", "size", "o", "k", "outputs"),
        [(1, 16, (13, 10), 32, 3, 4), (2, 21, (9, 7), 19, 3, 2), (1, 16, (11, 5), 16, 5, 2), (3, 16, (40,), 16, 3, 4),
         (1, 16, (4, 9, 9), 16, 3, 2)],
    )  # fmt: skip
    def test_winograd(
        self, n: int, c: int, size: tuple[int, ...], o: int, k: int, outputs: int, used: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        """Tiles cut off at the border, an added residual, one to three spatial axes."""
        from netspec.backends.numpy import convolution

        def costs(how: Any, weight: Any, out: Any) -> float:
            return 0.0 if how.outputs[0] == outputs else 1.0

        monkeypatch.setattr(convolution, "winograd_cost", costs)
        residual = (Stage(Elementwise("add"), (RUNNING, 3)), RELU)
        x = normal(0, n, c, *size)
        convolve(x, o, (k,) * len(size), 1, k // 2, used, stages=residual, tolerance=1e-4)
        assert {"carry", "give_back"} <= set(used)

    @pytest.mark.parametrize(
        ("n", "c", "size", "o", "k", "stride", "padding", "dilation"),
        [(2, 16, (9, 11), 40, 3, 2, 1, 1), (1, 64, (5, 4), 96, 1, 1, 0, 1), (1, 3, (23, 17), 24, 7, 2, 3, 1),
         (2, 24, (10, 10), 16, 1, 2, 0, 1), (1, 18, (12, 9), 33, 2, 1, 1, 2), (2, 16, (30,), 32, 4, 2, 1, 1),
         (1, 16, (2, 1), 17, 3, 1, 1, 1)],
    )  # fmt: skip
    def test_direct(
        self, n: int, c: int, size: tuple[int, ...], o: int, k: int, stride: int, padding: int, dilation: int,
        used: list[str], monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(direct, "cost", lambda op, weight, out: 0.0)
        if not direct.wide_registers():
            pytest.skip("tiles are laid out for AVX-512")
        x = normal(0, n, c, *size)
        residual = (Stage(Elementwise("add"), (RUNNING, 3)), RELU)
        more = {"dilation": dilation, "stages": residual, "precision": "highest"}
        convolve(x, o, (k,) * len(size), stride, padding, used, **more)  # type: ignore[arg-type]
        assert "direct" in used

    def test_nan_stays_where_it_is(self) -> None:
        """A NaN reaches the windows it is in and no other place."""
        x = normal(0, 1, 16, 9, 9)
        x[0, 3, 4, 4] = np.nan
        inputs = [x, normal(1, 16, 1, 3, 3), normal(2, 16)]
        main = Convolution((1, 1), ((1, 1),) * 2, (1, 1), 16)
        found = result(Fused(main, 3, (CLAMP,)), inputs, (1, 16, 9, 9), jit=True)
        wrong = np.argwhere(np.isnan(found))
        assert len(wrong) == 9
        assert set(wrong[:, 1]) == {3}
        assert (abs(wrong[:, 2:] - 4) <= 1).all()


def test_small_matrices_written_out() -> None:
    """The statements give the product, for every transform of Winograd's that there is."""
    from netspec.backends.numpy.winograd import transforms

    scope = {
        "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y,
        "fma": lambda x, y, z: x * y + z, "splat": float, "FLOAT": float,
    }  # fmt: skip
    for outputs, taps in ((2, 3), (4, 3), (2, 5)):
        for matrix in transforms(outputs, taps):
            vector = values(0, (matrix.shape[1],))
            lines = linear.Lines()
            names = [f"d{i}" for i in range(len(vector))]
            wanted = linear.product(lines, matrix, names)
            found = {**scope, **dict(zip(names, vector, strict=True))}
            exec("\n".join(lines.text), found)
            np.testing.assert_allclose(
                [found[name] for name in wanted], matrix @ vector, rtol=1e-12, atol=1e-12
            )


def test_channels_are_enough_for_a_vector() -> None:
    op = Convolution((1, 1), ((1, 1),) * 2, (1, 1), 12)
    x = channels_last(normal(0, 1, 12, 8, 8))
    assert not depthwise.applies(op, x, normal(1, 12, 1, 3, 3), channels_last(x))


# --- the switch ---------------------------------------------------------------------------------------

NETWORK = {
    "netspec": 1,
    "inputs": {"x": ["N", 3, 16, 16]},
    "layers": [
        {"type": "Conv2d", "in_channels": 3, "out_channels": 16, "kernel_size": 3, "stride": 2, "padding": 1},
        {"type": "Hardswish"},
        {"type": "Conv2d", "in_channels": 16, "out_channels": 16, "kernel_size": 3, "groups": 16},
        {"type": "ReLU6"},
        {"type": "Conv2d", "in_channels": 16, "out_channels": 24, "kernel_size": 1},
    ],
}


def test_a_network_gives_the_same(used: list[str]) -> None:
    x = normal(0, 2, 3, 16, 16)
    plain = netspec.load(NETWORK)
    expected = plain(x)
    assert not used
    net = netspec.load(NETWORK, weights=plain.state_dict(), jit=True)
    np.testing.assert_allclose(net(x), expected, rtol=1e-4, atol=1e-5)
    assert "depthwise" in used
    net["0"].weight = net["0"].weight * 2  # weights in panels follow
    plain["0"].weight = plain["0"].weight * 2
    np.testing.assert_allclose(net(x), plain(x), rtol=1e-4, atol=1e-5)


def test_without_numba_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "numba" else find(name))
    with pytest.raises(netspec.DeviceError, match=r'pip install "netspec-runner\[jit\]"'):
        netspec.load(NETWORK, jit=True)
    netspec.load(NETWORK, jit=False)


def test_the_command_line_without_numba(tmp_path: Path) -> None:
    """Exit code 3 and one line."""
    script = (
        "import importlib.util, sys; find = importlib.util.find_spec;"
        "importlib.util.find_spec = lambda name, *a: None if name == 'numba' else find(name, *a);"
        "sys.argv[1:] = ['run', sys.argv[1], '--input', sys.argv[2], '--jit'];"
        "from netspec.cli import main; main()"
    )
    image = tmp_path / "x.npy"
    np.save(image, np.zeros((1, 1, 28, 28), np.float32))
    command = [sys.executable, "-c", script, str(LENET), str(image)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("\n") == 1
    assert "netspec-runner[jit]" in done.stderr


def test_numba_is_imported_only_when_asked_for() -> None:
    script = (
        "import sys, numpy, netspec; net = netspec.load(sys.argv[1]);"
        "net(numpy.zeros((1, 1, 28, 28), 'f4')); assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, str(LENET)], check=True, timeout=60)


# --- what is kept on disk -----------------------------------------------------------------------------

KEPT = """
import sys, numpy, time
from netspec.backends.numpy.jit.compiler import kernel
from numba.core import caching
loads = []
original = caching.IndexDataCacheFile.load
def load(self, key):
    found = original(self, key); loads.append(found is not None); return found
caching.IndexDataCacheFile.load = load
x = numpy.arange(16, dtype='f4'); y = numpy.zeros(16, 'f4')
kernel("def double(x, y):\\n    v = load(x)\\n    store(y, add(v, v))\\n", "double", 2)(
    *(a.__array_interface__['data'][0] for a in (x, y)))
assert (y == 2 * x).all(), y
print(loads)
"""


def test_machine_code_is_kept_and_made_anew_when_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def run() -> str:
        command = [sys.executable, "-c", KEPT]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    assert run() == "[False]"
    assert run() == "[True]"
    for path in tmp_path.rglob("*.nbc"):
        path.write_bytes(b"damaged")
    run()
    assert run() == "[True]"


def test_a_cache_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netspec").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
