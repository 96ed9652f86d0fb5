"""Generated kernels: text -> machine code, kept on disk for the next process.

A kernel's text is written into the user's cache folder, where Numba keeps the machine code beside it. What
is compiled is always our own text, never what the file says.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

_lock = threading.Lock()
_compiled: dict[str, Any] = {}


def available() -> bool:
    """Whether Numba is installed."""
    return importlib.util.find_spec("numba") is not None


def kernel(text: str, name: str, arguments: int) -> Any:
    """The function `name` of `text`, which takes so many int64 and returns nothing; runs without the interpreter.

    The text sees everything of `vectors` and the constant FLOAT.
    """
    with _lock:
        if text not in _compiled:
            _compiled[text] = _compile(text, name, arguments)
        return _compiled[text]


def _compile(text: str, name: str, arguments: int) -> Any:
    import numba

    from netspec.backends.numpy.jit import vectors

    whole = f"# {_version()}\n{text}"
    path = _folder() / f"{name}_{hashlib.sha256(whole.encode()).hexdigest()[:24]}.py"
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
            file.write(whole)
        os.replace(file.name, path)
    scope = {key: value for key, value in vars(vectors).items() if not key.startswith("_")}
    scope["FLOAT"] = numba.float32
    scope["__name__"] = vectors.__name__  # what Numba imports when it reads the machine code back
    exec(compile(whole, str(path), "exec"), scope)
    signature = numba.void(*[numba.int64] * arguments)
    compiled = numba.njit(signature, nogil=True, cache=True, error_model="numpy")
    try:
        return compiled(scope[name])
    except Exception:  # what is kept cannot be read back: made anew
        for kept in path.parent.glob(f"__pycache__/{path.stem}.*"):
            kept.unlink(missing_ok=True)
        return compiled(scope[name])


@lru_cache(maxsize=1)
def _version() -> str:
    """Changes with what generated text builds on, which Numba does not look at."""
    from netspec.backends.numpy.jit import vectors

    sources = [Path(str(file)).read_bytes() for file in (vectors.__file__, __file__)]
    return hashlib.sha256(b"".join(sources)).hexdigest()[:16]


@lru_cache(maxsize=1)
def _folder() -> Path:
    """Ours alone, since machine code is read from it; a temporary one where the user has none."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(root) / "netspec" / "jit"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
        if not hasattr(os, "getuid") or _ours(folder.stat()):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="netspec-jit-"))


def _ours(found: os.stat_result) -> bool:
    return found.st_uid == os.getuid() and not found.st_mode & 0o022
