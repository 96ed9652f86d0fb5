"""Writing files so that nothing half-written is ever left under the final name."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


def temporary_beside(path: Path) -> str:
    """A new empty file beside `path`, with the permissions that `path` itself would get."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(name, 0o666 & ~mask)
    return name


@contextlib.contextmanager
def write_beside(path: Path) -> Iterator[IO[bytes]]:
    """A binary file beside `path` that takes its name when all has gone well, and vanishes otherwise."""
    temporary = temporary_beside(path)
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_npy(path: Path, array: Any) -> None:
    """One array as .npy."""
    import numpy as np

    with write_beside(path) as file:
        np.save(file, array, allow_pickle=False)


def write_npz(path: Path, arrays: dict[str, Any]) -> None:
    """Several arrays as .npz; unlike `np.savez`, any name will do (`file` is one)."""
    import zipfile

    import numpy as np

    with write_beside(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)
