"""Kernels as machine code for one kind of device: compiled by NVRTC, kept on disk.

`cupy.RawModule` would do both, but always adds -ftz=true: float32 numbers below 1.2e-38 would count as 0, and those
of bfloat16 with them, unlike in NumPy and in torch's kernels.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any


def machine_code(cupy: Any, text: str, options: Sequence[str]) -> bytes:
    """The source compiled for the thread's current device. Raises CuPy's CompileException."""
    made_for = (text, *options, cupy.cuda.Device().compute_capability, cupy.cuda.nvrtc.getVersion())
    file = _folder() / f"{hashlib.sha256(repr(made_for).encode()).hexdigest()[:32]}.cubin"
    found = _read(file)
    if found is None:
        found = bytes(cupy.cuda.compiler.compile_using_nvrtc(text, tuple(options), cache_in_memory=True)[0])
        _keep(file, found)
    return found


def _folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(root) / "netspec" / "cuda"


def _read(file: Path) -> bytes | None:
    """What was kept under this name, if it is whole and nobody else may have written it."""
    try:
        parent = file.parent.stat()
        if hasattr(os, "getuid") and (parent.st_uid != os.getuid() or parent.st_mode & 0o022):
            return None
        digest, code = (content := file.read_bytes())[:32], content[32:]
    except OSError:
        return None
    return code if hashlib.sha256(code).digest() == digest else None


def _keep(file: Path, code: bytes) -> None:
    """Written beside and renamed, its digest in front; a folder that cannot be written is no error."""
    with suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        try:
            with open(handle, "wb") as out:
                out.write(hashlib.sha256(code).digest() + code)
            os.replace(beside, file)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise
