"""What is wrong, where, and what to do about it: the vocabulary every stage reports in.

    Source, Span            a place in a text, in code points
    Diagnostic, Note        one finding, and the second places it mentions
    nearest, did_you_mean   the valid name that was probably meant
    NetspecError, ...       the exceptions of the public functions
    render_*                terminal text, JSON, GitHub annotations

Nothing here knows YAML or networks, and nothing here imports more than the standard library.
"""

from netspec.diagnostics.codes import CODES
from netspec.diagnostics.errors import DeviceError, InputError, NetspecError, SpecError, WeightsError
from netspec.diagnostics.github import render_github
from netspec.diagnostics.json import render_json
from netspec.diagnostics.model import (
    Diagnostic,
    Note,
    Severity,
    Source,
    Span,
    format_path,
    has_errors,
    sort_diagnostics,
)
from netspec.diagnostics.names import did_you_mean, meant, nearest
from netspec.diagnostics.text import escape, render_text

__all__ = [
    "CODES",
    "DeviceError",
    "Diagnostic",
    "InputError",
    "NetspecError",
    "Note",
    "Severity",
    "Source",
    "Span",
    "SpecError",
    "WeightsError",
    "did_you_mean",
    "escape",
    "format_path",
    "has_errors",
    "meant",
    "nearest",
    "render_github",
    "render_json",
    "render_text",
    "sort_diagnostics",
]
