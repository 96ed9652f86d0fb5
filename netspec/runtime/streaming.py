"""Arrays larger than memory: rows written as they come, mapped pages given back once they were read."""

from __future__ import annotations

import io
import mmap
from contextlib import suppress
from typing import IO, Any


def release(array: Any) -> None:
    """Give the pages of an array that is mapped for reading back; they are read again when they are needed.

    Without it a long pass over a mapped file is counted as memory of the size of the file. What is like an
    array and maps files itself is asked to do it; other arrays are left as they are.
    """
    import numpy as np

    if hasattr(array, "release"):
        array.release()
        return
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    if isinstance(array, np.memmap) and array.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        with suppress(OSError, ValueError):  # closed meanwhile, or not possible here: nothing is lost
            array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


class NpyWriter:
    """One array as .npy, its rows written one batch after the other."""

    def __init__(self, file: IO[bytes], rows: int) -> None:
        """file: open for writing; rows: how many will come."""
        self.file, self.rows = file, rows
        self.shape: tuple[int, ...] | None = None
        self.dtype: Any = None
        self.start = 0

    def write(self, rows: Any) -> None:
        """The next rows; the first ones say the dtype and the other axes."""
        import numpy as np

        if self.shape is None:
            self.shape, self.dtype = (self.rows, *rows.shape[1:]), rows.dtype
            descr = np.lib.format.dtype_to_descr(rows.dtype)
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(
                header, {"descr": descr, "fortran_order": False, "shape": self.shape}
            )
            self.start = self.file.write(header.getvalue())
        self.file.write(np.ascontiguousarray(rows, self.dtype).reshape(-1).view("u1").data)

    def mapped(self) -> Any:
        """All that was written, mapped for reading; the file may be closed or removed afterwards."""
        import numpy as np

        self.file.flush()
        assert self.shape is not None
        if 0 in self.shape:  # nothing cannot be mapped
            return np.zeros(self.shape, self.dtype)
        return np.memmap(self.file, self.dtype, "r", self.start, self.shape)
