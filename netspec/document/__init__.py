"""YAML text to values, each with the place it came from. Nothing here knows networks.

    read_file, read_bytes, read_text, from_python   ->  Document(root, diagnostics, source)
    reader      events of the YAML parser -> nodes, under limits
    syntax      the parser's complaint -> a plain sentence at the right place
    recovery    what to take out after a mistake so that the rest can be read

Wrong files never raise: what is wrong is in `Document.diagnostics`.
"""

from netspec.document.files import read_bytes, read_file, read_text
from netspec.document.nodes import (
    Broken,
    Document,
    Entry,
    Limits,
    Mapping,
    Node,
    Scalar,
    ScalarValue,
    Sequence,
    walk_path,
)
from netspec.document.python import from_python, to_python

__all__ = [
    "Broken",
    "Document",
    "Entry",
    "Limits",
    "Mapping",
    "Node",
    "Scalar",
    "ScalarValue",
    "Sequence",
    "from_python",
    "read_bytes",
    "read_file",
    "read_text",
    "to_python",
    "walk_path",
]
