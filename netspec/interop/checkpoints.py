"""Checkpoints of any known format as a mapping from names to arrays."""

from __future__ import annotations

import io
import logging
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netspec.diagnostics import WeightsError, escape

log = logging.getLogger("netspec")

TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".tar")
"""Endings that people give to what `torch.save` writes (`checkpoint.pth.tar`)."""
SUFFIXES = (".safetensors", ".npz", ".pt", ".pth")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Arrays by name, in the file's order.

    stored: the file's dtype of those that were widened (bfloat16); notes: where in the file the weights
    were found, and what was passed over.
    """

    arrays: dict[str, Any]
    stored: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def dtype(self, name: str) -> str:
        """The dtype of one array in the file."""
        return self.stored.get(name) or str(self.arrays[name].dtype.name)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Arrays by name, as `open_checkpoint` reads them; its notes are logged."""
    checkpoint = open_checkpoint(path)
    for note in checkpoint.notes:
        log.info("%s: %s", path, note)
    return checkpoint.arrays


def open_checkpoint(path: Path) -> Checkpoint:
    """What a `.safetensors`, `.npz` or PyTorch file holds. Raises `WeightsError`; never runs pickled code."""
    if not path.exists():
        raise WeightsError(f"{path}: there is no such weights file")
    if path.is_dir():
        raise WeightsError(f"{path}: is a folder, not a weights file")
    suffix = path.suffix.lower()
    try:
        if suffix == ".safetensors":
            from netspec.interop.safetensors import load_safetensors

            return Checkpoint(*load_safetensors(path))
        if suffix == ".npz":
            return Checkpoint(read_npz(path))
        if suffix in TORCH_SUFFIXES:
            from netspec.interop.torch_files import read_torch

            found = read_torch(path)
            return Checkpoint(found.arrays, found.stored, found.notes)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from None
    raise WeightsError(
        f"{path}: expected a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file, "
        f"got `{path.suffix or path.name}`"
    )


def read_npz(path: Path) -> dict[str, Any]:
    """Every array of an .npz, mapped where it is not compressed; Python objects (pickles) are refused."""
    from netspec.interop.archive import Archive

    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] != b"PK":
        raise WeightsError(f"{path}: not a whole .npz file: it is not a zip archive")
    archive = Archive(path)
    arrays: dict[str, Any] = {}
    for entry in archive.names:
        name = entry.removesuffix(".npy")
        if name in arrays:
            raise WeightsError(f"{path}: has two arrays {escape(name)}")
        arrays[name] = _npy(f"{path}: {escape(name)}", archive.view(entry, checksum=True))
    return arrays


def _npy(place: str, data: Any) -> Any:
    """The array of one entry; its size is compared with what its header claims before anything is made."""
    import numpy as np

    head = io.BytesIO(bytes(data[:70_000]))
    try:
        version = np.lib.format.read_magic(head)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(head)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(head)
        else:
            raise ValueError(f"version {version} of the .npy format is not supported")
        if dtype.hasobject:
            raise WeightsError(f"{place}: holds Python objects (a pickle), which are never loaded")
        size = math.prod(shape) * dtype.itemsize
        if size != len(data) - head.tell() or min(shape, default=0) < 0:
            raise ValueError(
                f"it claims {size:,} bytes, the file has {len(data) - head.tell():,} for it; it is truncated"
            )
        return np.ndarray(shape, dtype, data, head.tell(), order="F" if fortran else "C")
    except (ValueError, TypeError, SyntaxError, EOFError, OverflowError, MemoryError) as error:
        raise WeightsError(f"{place}: not a whole array: {error}") from None
