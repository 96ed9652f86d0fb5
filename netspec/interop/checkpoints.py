"""Checkpoints of any known format as a mapping from names to arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from netspec.diagnostics import WeightsError


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Arrays by name from .safetensors or .npz. Raises `WeightsError`, and never runs pickled code."""
    if not path.exists():
        raise WeightsError(f"{path}: there is no such weights file")
    if path.is_dir():
        raise WeightsError(f"{path}: is a folder, not a weights file")
    try:
        if path.suffix == ".safetensors":
            from netspec.interop.safetensors import read_safetensors

            return read_safetensors(path)
        if path.suffix == ".npz":
            return read_npz(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from None
    raise WeightsError(f"{path}: expected a .safetensors or .npz file, got `{path.suffix or path.name}`")


def read_npz(path: Path) -> dict[str, Any]:
    """Every array of an .npz; arrays of Python objects (pickles) are refused."""
    import numpy as np

    try:
        # Opened here, since NumPy leaves a damaged archive open.
        with path.open("rb") as data, np.load(data, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        if "pickle" in str(error):
            raise WeightsError(f"{path}: holds Python objects (a pickle), which are never loaded") from None
        raise WeightsError(f"{path}: not a whole .npz file: {error}") from None
