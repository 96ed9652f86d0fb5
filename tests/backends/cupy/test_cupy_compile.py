"""The CUDA source as the compilers for real devices read it: to machine code, without a warning.

NVRTC, with which CuPy compiles when a network runs, needs no driver for that; nvcc stands in where only it is there.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from netspec.backends.cupy import source
from netspec.backends.cupy.arguments import DTYPES, STRUCTS
from netspec.backends.cupy.device import COMPILED_WITH

pytestmark = pytest.mark.compiler
PARAMETERS = 4096
"""Bytes that a kernel's arguments may have on every device."""


def nvrtc_cubin(text: str, architecture: str) -> tuple[bytes, str] | None:
    """Machine code and what the compiler said; None where NVRTC is not installed."""
    from cupy.cuda import nvrtc

    try:
        nvrtc.getVersion()
    except Exception:  # the loader's own kinds of error
        return None
    program = nvrtc.createProgram(text, "kernels.cu", (), ())
    try:
        nvrtc.compileProgram(program, (f"--gpu-architecture={architecture}", *COMPILED_WITH))
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program)[:4000])
    log = nvrtc.getProgramLog(program)
    cubin = nvrtc.getCUBIN(program)
    nvrtc.destroyProgram(program)
    return cubin, log


def nvcc_cubin(text: str, architecture: str, folder: Path) -> tuple[bytes, str] | None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return None
    (folder / "kernels.cu").write_text(text)
    command = [nvcc, "-std=c++17", f"-arch={architecture}", "-cubin", "-o", "kernels.cubin", "kernels.cu"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return (folder / "kernels.cubin").read_bytes(), done.stderr


def cubin(text: str, architecture: str, folder: Path) -> tuple[bytes, str]:
    found = nvrtc_cubin(text, architecture) or nvcc_cubin(text, architecture, folder)
    if found is None:
        pytest.skip("neither NVRTC nor nvcc is installed: extra cuda13")
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("unit", source.UNITS)
def test_every_source_compiles_for_hopper(unit: str, dtype: str, tmp_path: Path) -> None:
    code, said = cubin(source.text(unit, dtype), "sm_90", tmp_path)
    assert code[:4] == b"\x7fELF"
    for name, (home, _, _) in source.kernels().items():
        if home == unit:
            assert name.encode() in code
    warned = [line for line in said.splitlines() if re.search(r"\): (warning|error)", line)]
    # 177-D: a constant of the shared header that this source does not need; 186-D: x < 0 of an unsigned type
    assert not [line for line in warned if not re.search("177-D|186-D", line)], said


@pytest.mark.parametrize("architecture", ["sm_75", "sm_80", "sm_89", "sm_120"])
@pytest.mark.parametrize("unit", source.UNITS)
def test_float32_compiles_for_other_devices(unit: str, architecture: str, tmp_path: Path) -> None:
    """From Turing, the oldest that CUDA 13 knows, to Blackwell."""
    assert cubin(source.text(unit, "float32"), architecture, tmp_path)[0][:4] == b"\x7fELF"


def test_negative_numbers_wrap_round_in_uint8() -> None:
    """As NumPy's and torch's do: -1.0 becomes 255. Converted as an unsigned number a device makes it 0."""
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(source.text("elementwise", "uint8"), "kernels.cu", (), ())
    try:
        nvrtc.compileProgram(program, ("--gpu-architecture=compute_90", *COMPILED_WITH))
    except Exception:  # the loader's own kinds of error
        pytest.skip("NVRTC is not installed: extra cuda13")
    assert not re.search(r"cvt\.rzi\.u\d+\.f", nvrtc.getPTX(program).decode())


def test_arguments_fit_every_device() -> None:
    for name, struct in STRUCTS.items():
        assert struct.itemsize <= PARAMETERS, name


def test_sources_include_nothing_of_a_toolkit() -> None:
    """So that the wheels of CuPy and NVRTC are enough."""
    for unit in source.UNITS:
        assert "#include" not in source.text(unit, "float32")
