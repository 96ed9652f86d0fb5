"""What `--device cuda` says where it cannot be had: one line, how to get it, exit code 3. This machine has no GPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import netspec

ROOT = Path(__file__).resolve().parents[3]
LENET = ROOT / "configs" / "lenet5.yaml"
SEVEN = ROOT / "configs" / "samples" / "seven.png"
HAS_GPU = Path("/dev/nvidiactl").exists()
HAS_CUPY = importlib.util.find_spec("cupy") is not None

pytestmark = pytest.mark.skipif(HAS_GPU, reason="this machine has a GPU: docs/gpu_report.py uses it")


def run_cli(*args: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "netspec", *map(str, args)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )


def without_cupy(folder: Path, error: str) -> dict[str, str]:
    """An environment in which importing cupy fails so."""
    (folder / "cupy").mkdir()
    (folder / "cupy" / "__init__.py").write_text(f"raise {error}\n")
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_run_says_what_is_missing(device: str, tmp_path: Path) -> None:
    output = tmp_path / "o.npy"
    result = run_cli("run", LENET, "--input", SEVEN, "--device", device, "--output", output)
    (line,) = result.stderr.splitlines()
    assert result.returncode == 3
    assert result.stdout == ""
    assert line.startswith(f"error: device {device}: ")
    assert (
        "no CUDA driver" if HAS_CUPY else 'CuPy is not installed: pip install "netspec-runner[cuda13]"'
    ) in line
    assert not output.exists()


def test_the_same_without_cupy(tmp_path: Path) -> None:
    missing = without_cupy(tmp_path, "ModuleNotFoundError(\"No module named 'cupy'\", name='cupy')")
    result = run_cli("run", LENET, "--input", SEVEN, "--device", "cuda", **missing)
    assert (result.returncode, result.stderr) == (
        3,
        'error: device cuda: CuPy is not installed: pip install "netspec-runner[cuda13]" '
        "(or [cuda12] for a driver older than 580)\n",
    )


def test_a_cupy_that_does_not_import_is_quoted(tmp_path: Path) -> None:
    broken = without_cupy(tmp_path, "ImportError('libcudart.so.13: cannot open shared object file')")
    result = run_cli("run", LENET, "--input", SEVEN, "--device", "cuda", **broken)
    assert result.returncode == 3
    assert (
        "CuPy does not import: libcudart.so.13: cannot open shared object file: pip install" in result.stderr
    )
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [["bench", LENET], ["serve", LENET]])
def test_other_commands_say_it_too(command: list[str | Path], tmp_path: Path) -> None:
    runner = tmp_path / "gpu.yaml"
    runner.write_text("runner: 1\ndevice: cuda\n")
    result = run_cli(*command, "--runner", runner)
    assert result.returncode in (1, 3)
    assert "device cuda: " in result.stderr
    assert "Traceback" not in result.stderr


def test_python_raises_a_device_error_and_leaves_the_network_as_it_was() -> None:
    with pytest.raises(netspec.DeviceError, match="device cuda:3: "):
        netspec.load(LENET, device="cuda:3")
    net = netspec.load(LENET)
    with pytest.raises(netspec.DeviceError, match="device cuda: "):
        net.to("cuda")
    assert net.device == "cpu"


@pytest.mark.parametrize("device", ["cuda:", "gpu", "cuda:x", 0])
def test_other_names_are_refused(device: object) -> None:
    with pytest.raises(netspec.InputError, match="device: expected cpu, cuda or cuda:N, got"):
        netspec.load(LENET, device=device)  # type: ignore[arg-type]


def test_bfloat16_is_for_cuda() -> None:
    result = run_cli("run", LENET, "--input", SEVEN, "--dtype", "bfloat16")
    assert result.returncode == 3
    assert result.stderr == "error: dtype bfloat16 runs on CUDA devices alone; on the CPU use float32\n"


def test_nothing_of_cuda_is_imported_for_the_cpu() -> None:
    code = (
        "import sys, netspec, numpy; net = netspec.load(sys.argv[1]); net(numpy.zeros((1, 1, 28, 28), 'f4')); "
        "print([m for m in sys.modules if m.split('.')[0] in ('cupy', 'cudnn', 'ml_dtypes') or 'backends.cupy' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(LENET)], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "[]\n", done.stderr


def test_a_wrong_cuda_key_is_shown_with_its_place(tmp_path: Path) -> None:
    runner = tmp_path / "gpu.yaml"
    runner.write_text("runner: 1\ncuda: {graph: false, memory_limit_mb: -1}\n")
    result = run_cli("validate", runner)
    assert result.returncode == 1
    assert f"{runner}:2:8" in result.stdout + result.stderr
    assert "did you mean `graphs`?" in result.stdout + result.stderr
    assert "a number of MiB between 0.001 and 1048576" in result.stdout + result.stderr
