"""Bytes to text, with every way in which that can fail as a diagnostic."""

from __future__ import annotations

import os

from netspec.diagnostics import Diagnostic, Source, Span
from netspec.document.nodes import Document, Limits
from netspec.document.recovery import read_source

_BOMS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def read_text(text: str, name: str = "<text>", limits: Limits | None = None) -> Document:
    """Reads YAML text. `name` is how diagnostics call it. Never raises for what is in the text."""
    limits = limits or Limits()
    text = text.removeprefix("\ufeff")  # positions count from the first visible character
    if len(text) > limits.bytes:
        return _refused(name, "file-too-large", _too_large(limits), text=text[:1000])
    return read_source(Source(name, text), limits)


def read_bytes(data: bytes, name: str = "<bytes>", limits: Limits | None = None) -> Document:
    """Reads the bytes of a YAML file, which must be UTF-8."""
    limits = limits or Limits()
    if len(data) > limits.bytes:
        return _refused(name, "file-too-large", _too_large(limits))
    for bom, encoding in _BOMS.items():
        if data.startswith(bom):
            return _refused(name, "not-utf8", f"the file is {encoding} text", "save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _not_utf8(data, name, error)
    return read_text(text, name, limits)


def read_file(path: str | os.PathLike[str], limits: Limits | None = None) -> Document:
    """Reads a YAML file. A file that cannot be read is a document without a root, with one diagnostic."""
    limits = limits or Limits()
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            # One byte more than allowed tells a large file from an allowed one without reading all of it.
            data = file.read(limits.bytes + 1)
    except FileNotFoundError:
        return _refused(name, "file-not-found", "no such file")
    except IsADirectoryError:
        return _refused(name, "file-unreadable", "this is a folder, not a file")
    except PermissionError:
        return _refused(name, "file-unreadable", "no permission to read this file")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        return _refused(name, "file-unreadable", f"cannot be read: {reason}")
    return read_bytes(data, name, limits)


def _not_utf8(data: bytes, name: str, error: UnicodeDecodeError) -> Document:
    if b"\0" in data[:1024]:
        return _refused(name, "binary-file", "this is a binary file, not YAML text")
    # Latin-1 maps every byte to one character, so the text before the bad byte keeps its columns when that
    # part is decoded properly and only the rest is not.
    text = (data[: error.start].decode("utf-8") + data[error.start :].decode("latin-1")).removeprefix(
        "\ufeff"
    )
    at = len(data[: error.start].decode("utf-8").removeprefix("\ufeff"))
    source = Source(name, text)
    message = f"byte 0x{data[error.start]:02x} is not UTF-8"
    found = Diagnostic("not-utf8", "error", message, Span(source, at, at + 1), help="save the file as UTF-8")
    return Document(None, [found], source)


def _refused(name: str, code: str, message: str, advice: str | None = None, text: str = "") -> Document:
    # The span lies in an empty source where there is no text: it still names the file.
    source = Source(name, text)
    return Document(None, [Diagnostic(code, "error", message, Span(source, 0, 0), help=advice)], source)


def _too_large(limits: Limits) -> str:
    return f"larger than {limits.bytes:,} bytes"
