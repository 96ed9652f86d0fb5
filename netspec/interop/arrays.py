"""Input files: .npy (mapped), .npz, pictures, folders and globs of them."""

from __future__ import annotations

import glob as globbing
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netspec.diagnostics import InputError
from netspec.network.picture import PictureSpec

PICTURES = (".png", ".jpg", ".jpeg")
ARRAYS = (".npy", ".npz")


def read_input(text: str, shape: Sequence[int | str], name: str, picture: PictureSpec | None = None) -> Any:
    """The array of input `name`, which is declared with `shape`; pictures are prepared as `picture` says.

    Raises `InputError`.
    """
    path = Path(text)
    if path.is_dir():
        files = sorted((p for p in path.iterdir() if p.suffix.lower() in (*PICTURES, *ARRAYS)), key=_natural)
        if not files:
            raise InputError(f"{path}: the folder has no .npy, .npz, .png or .jpg files")
        return _many(files, shape, name, picture)
    if not path.exists() and any(c in text for c in "*?["):
        files = sorted(map(Path, globbing.glob(text, recursive=True)), key=_natural)
        if not files:
            raise InputError(f"{text}: no file matches")
        return _many(files, shape, name, picture)
    return _one(path, shape, name, picture)


def _natural(path: Path) -> list[Any]:
    """Numbers in names by their value: x2 comes before x10."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", str(path))]


def _many(files: Sequence[Path], shape: Sequence[int | str], name: str, picture: PictureSpec | None) -> Any:
    import numpy as np

    arrays = [_one(file, shape, name, picture) for file in files]
    arrays = [a[None] if a.ndim == len(shape) - 1 else a for a in arrays]
    first = arrays[0]
    for file, array in zip(files, arrays, strict=True):
        if array.shape[1:] != first.shape[1:] or array.ndim != first.ndim or not array.ndim:
            raise InputError(
                f"{file} has shape {list(array.shape)}, {files[0]} has {list(first.shape)}: "
                "only the first axis may differ"
            )
    return np.concatenate(arrays)


def _one(path: Path, shape: Sequence[int | str], name: str, picture: PictureSpec | None) -> Any:
    if not path.exists():
        raise InputError(f"{path}: there is no such file")
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            return _npy(path)
        if suffix == ".npz":
            return _npz(path, name)
        if suffix in PICTURES:
            from netspec.interop.pictures import read_picture

            return read_picture(path, shape, picture)
    except PermissionError:
        raise InputError(f"{path}: no permission to read it") from None
    raise InputError(
        f"{path}: expected .npy, .npz, .png or .jpg, got {path.suffix or 'a file without an ending'}"
    )


def _npy(path: Path) -> Any:
    import numpy as np

    with path.open("rb") as file:
        magic = file.read(6)
    if not magic:
        raise InputError(f"{path}: the file is empty")
    if magic != b"\x93NUMPY":
        pickled = magic[:1] == b"\x80"
        raise InputError(
            f"{path}: "
            + (
                "is a pickle, which is never loaded"
                if pickled
                else "not a .npy file (its first bytes differ)"
            )
        )
    try:
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            if "mmap" not in str(error) and "empty" not in str(error):
                raise
            return np.load(path, allow_pickle=False)  # an empty array cannot be mapped
    except (ValueError, EOFError, OSError, SyntaxError) as error:
        if "object" in str(error).lower() or "pickle" in str(error):
            raise InputError(f"{path}: holds Python objects (a pickle), which are never loaded") from None
        raise InputError(f"{path}: the file is truncated or damaged ({error})") from None


def read_named(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """The arrays of an .npz that carry the names of inputs. Raises `InputError` if it has others."""
    arrays = _npz_arrays(path)
    unknown = [name for name in arrays if name not in names]
    if unknown or not arrays:
        raise InputError(f"{path}: has {', '.join(arrays) or 'no arrays'}; the inputs are {', '.join(names)}")
    return arrays


def _npz(path: Path, name: str) -> Any:
    arrays = _npz_arrays(path)
    if name in arrays:
        return arrays[name]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise InputError(f"{path}: has no array {name}; it has {', '.join(arrays) or 'none'}")


def _npz_arrays(path: Path) -> dict[str, Any]:
    from netspec.diagnostics import WeightsError
    from netspec.interop.checkpoints import read_npz

    try:
        return read_npz(path)
    except WeightsError as error:
        raise InputError(str(error)) from None
