"""`netspec lsp`."""

from __future__ import annotations

from netspec.diagnostics import DeviceError


def run_lsp() -> None:
    """Serve the Language Server Protocol on standard input and output. Raises `DeviceError`."""
    try:
        import pygls  # noqa: F401
    except ImportError:
        raise DeviceError("the language server needs pygls: pip install 'netspec-runner[lsp]'") from None
    from netspec.editor.server import serve

    serve()
