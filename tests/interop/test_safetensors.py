"""The safetensors format: what the safetensors package writes, and what it would refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netspec.diagnostics import WeightsError
from netspec.interop.checkpoints import open_checkpoint, read_checkpoint
from netspec.interop.safetensors import write_safetensors

GOLDEN = Path(__file__).parent / "golden"


def file(tmp_path: Path, header: Any, data: bytes = b"", text: str | None = None) -> Path:
    """A file with this header (a mapping, or its text)."""
    path = tmp_path / "x.safetensors"
    raw = (json.dumps(header) if text is None else text).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return path


def entry(dtype: str = "F32", shape: Any = (1,), begin: int = 0, end: int = 4) -> dict[str, Any]:
    """One tensor of the header."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_every_dtype_of_the_package() -> None:
    with np.load(GOLDEN / "expected.npz") as stored:
        expected = {k.removeprefix("kinds."): v for k, v in stored.items() if k.startswith("kinds.")}
    checkpoint = open_checkpoint(GOLDEN / "kinds.safetensors")
    assert set(checkpoint.arrays) == set(expected) - {"complex128", "conjugate", "negative"}
    for name, array in checkpoint.arrays.items():
        assert array.dtype == expected[name].dtype, name
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    assert checkpoint.dtype("bfloat16") == "bfloat16"
    assert checkpoint.dtype("float16") == "float16"


def test_eight_bit_floats_are_refused_by_name() -> None:
    with pytest.raises(WeightsError, match="tensor f has dtype F8_E5M2, which is not supported"):
        read_checkpoint(GOLDEN / "float8.safetensors")


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E8M0", "F4", "X"])
def test_unknown_dtypes(dtype: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"dtype {dtype}, which"):
        read_checkpoint(file(tmp_path, {"w": entry(dtype)}, bytes(4)))


@pytest.mark.parametrize(
    ("header", "size", "message"),
    [
        ({"a": entry(), "b": entry()}, 4, "tensor b overlaps a"),
        ({"a": entry(shape=[2], end=8), "b": entry(begin=4, end=8)}, 8, "tensor b overlaps a"),
        ({"a": entry(), "b": entry(begin=8, end=12)}, 12, "tensor b leaves a gap after a"),
        ({"a": entry(begin=4, end=8)}, 8, "tensor a leaves a gap after the header"),
        ({"a": entry()}, 8, "4 bytes after the last tensor belong to none"),
        ({"a": entry()}, 3, "the file is truncated: tensor a ends at byte 4 of 3"),
        ({"a": entry(shape=[10**10], end=4 * 10**10)}, 4, "the file is truncated"),
        ({"a": entry(shape=[2])}, 4, "has 4 bytes, its shape \\[2\\] needs 8"),
        ({"a": entry(shape=[-1])}, 4, "badly described"),
        ({"a": entry(shape=[True])}, 4, "badly described"),
        ({"a": entry(shape=[1.0])}, 4, "badly described"),
        ({"a": entry(shape=[0, 10**30], end=0)}, 0, "badly described"),
        ({"a": entry(shape=[1] * 100)}, 4, "badly described"),
        ({"a": entry(begin=4, end=0)}, 4, "needs 4"),
        ({"a": {"dtype": "F32"}}, 0, "badly described"),
        ({"a": 3}, 0, "badly described"),
        ({"a": entry(dtype=["F32"])}, 4, "badly described"),  # type: ignore[arg-type]
        ([1], 0, "not a mapping"),
    ],
)
def test_wrong_headers(header: Any, size: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(file(tmp_path, header, bytes(size)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": {}, "a": {}}', "`a` comes twice"),
        ('{"a": {"dtype": "F32", "dtype": "F64"}}', "`dtype` comes twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"a": ' + "1" * 10_000 + "}", "not JSON"),
        ("{", "not JSON"),
        ("\udcff", "not JSON"),
    ],
)
def test_wrong_json(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    raw = text.encode("utf-8", "surrogateescape")
    path.write_bytes(len(raw).to_bytes(8, "little") + raw)
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(path)


@pytest.mark.parametrize("data", [b"", b"\x00" * 7, b"\xff" * 8, (10**9).to_bytes(8, "little") + b"{}"])
def test_no_header(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="not a safetensors file"):
        read_checkpoint(path)


def test_what_we_write_comes_back(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6.0).reshape(2, 3).T, "b": np.float16(2).reshape(()), "big": np.arange(3, dtype=">i8"),
        "empty": np.zeros((0, 3), "f4"), "flags": np.array([True, False]), "c": np.ones(2, "c8"),
    }  # fmt: skip
    path = tmp_path / "x.safetensors"
    write_safetensors(path, arrays)
    found = read_checkpoint(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == array.shape


def test_the_package_reads_what_we_write(tmp_path: Path) -> None:
    package = pytest.importorskip("safetensors.numpy")
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(3)}
    write_safetensors(tmp_path / "x.safetensors", arrays)
    found = package.load_file(tmp_path / "x.safetensors")
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_we_read_what_the_package_writes(tmp_path: Path) -> None:
    package = pytest.importorskip("safetensors.numpy")
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(3), "c": np.zeros((0, 2), "f4")}
    package.save_file(arrays, tmp_path / "x.safetensors", metadata={"made": "by a test"})
    found = read_checkpoint(tmp_path / "x.safetensors")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
